/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The power goes in the middle of each write and each flush in turn, and
 * of the sectors that were not durable yet any may have arrived, any not.
 * Whatever came of it, a ring must hold exactly the items that it promised:
 * those that were advanced, perhaps with the one whose advance was under
 * way; and a ring that was being made must be none until it is whole.
 */

#include <config.h>

#include "record-fixture.h"

enum action {
  APPEND,                    /* one item, of 'n' bytes */
  BATCH,                     /* three, of n, n + 1 and n + 2 bytes */
  PUSH,                      /* one item, of 'n' bytes */
  ADVANCE,                   /* all that was pushed */
  FREE,                      /* n items */
  SUSPEND,
  RESUME,
  STATE,                     /* of the producer, who acknowledges */
  REATTACH,                  /* both */
};

struct step {
  enum action action;
  size_t n;
};

/* Goes around the data area of 6656 bytes a few times. */
static const struct step steps[] = {
  { APPEND, 1 }, { PUSH, 700 }, { PUSH, 0 }, { ADVANCE, 0 }, { FREE, 2 },
  { APPEND, 508 - 8 - 4 }, { BATCH, 30 }, { FREE, 3 }, { APPEND, 4000 },
  { SUSPEND, 0 }, { STATE, 0 }, { FREE, 1 }, { RESUME, 0 }, { STATE, 0 },
  { APPEND, 1200 }, { FREE, 1 }, { FREE, 1 }, { PUSH, 2 }, { REATTACH, 0 },
  { APPEND, 5000 }, { FREE, 2 }, { BATCH, 1500 }, { FREE, 3 },
  { PUSH, 512 }, { APPEND, 508 }, { REATTACH, 0 }, { FREE, 1 },
  { APPEND, 6000 }, { FREE, 2 }, { APPEND, CAPACITY - 4 }, { FREE, 1 },
};
#define NR_STEPS (sizeof steps / sizeof steps[0])
#define MAX_ITEMS 64

/* What the ring promised when the power went. */
struct model {
  size_t length[MAX_ITEMS];  /* of each item that was pushed */
  size_t pushed;             /* number of items … */
  size_t exposed[2];         /* … that are visible: at least, at most */
  size_t freed[2];           /* … and that will not return */
};

static unsigned char
byte_of (size_t item, size_t i)
{
  return item * 37 + i * 7 + i / 256;
}

static void
fill (unsigned char *buf, size_t item, size_t length)
{
  size_t i;

  for (i = 0; i < length; ++i)
    buf[i] = byte_of (item, i);
}

/* Items that are pushed behind others that were not advanced and are
 * dropped take their numbers. */
static int
push_items (struct fixture *f, struct model *m, size_t nr, size_t n,
            bool expose)
{
  unsigned char data[3][CAPACITY];
  struct iovec items[3];
  size_t i;

  for (i = 0; i < nr; ++i) {
    assert_true (m->pushed + i < MAX_ITEMS);
    fill (data[i], m->pushed + i, n + i);
    items[i] = (struct iovec) { data[i], n + i };
    m->length[m->pushed + i] = n + i;
  }
  if (expose)
    m->exposed[1] = m->pushed + nr;
  if ((expose ? blkring_producer_appendv : blkring_producer_pushv)
      (f->p, items, nr, NULL) == -1)
    return -1;
  m->pushed += nr;
  if (expose)
    m->exposed[0] = m->exposed[1];
  return 0;
}

static int
free_items (struct fixture *f, struct model *m, size_t n)
{
  blkring_position next;
  struct blkring_item item;

  if (blkring_consumer_position (f->c, &next) == -1)
    return -1;
  while (n-- > 0) {
    if (blkring_consumer_pop (f->c, &next, &item) == -1)
      return -1;
    next = item.next;
    m->freed[1]++;
  }
  if (blkring_consumer_advance (f->c, next) == -1)
    return -1;
  m->freed[0] = m->freed[1];
  return 0;
}

static int
reattach (struct fixture *f, struct model *m)
{
  blkring_producer_free (f->p);
  blkring_consumer_free (f->c);
  m->pushed = m->exposed[1];
  f->p = blkring_producer_attach (f->rd->device, NULL);
  f->c = f->p ? blkring_consumer_attach (f->rd->device, NULL) : NULL;
  return f->c ? 0 : -1;
}

/* Position of the last push, for advance. */
static blkring_position pushed_to;

static int
take (struct fixture *f, struct model *m, const struct step *step)
{
  unsigned char data[CAPACITY];

  switch (step->action) {
  case APPEND:
    return push_items (f, m, 1, step->n, true);
  case BATCH:
    return push_items (f, m, 3, step->n, true);
  case PUSH:
    fill (data, m->pushed, step->n);
    m->length[m->pushed] = step->n;
    if (blkring_producer_push (f->p, data, step->n, &pushed_to) == -1)
      return -1;
    m->pushed++;
    return 0;
  case ADVANCE:
    m->exposed[1] = m->pushed;
    if (blkring_producer_advance (f->p, pushed_to) == -1)
      return -1;
    m->exposed[0] = m->pushed;
    return 0;
  case FREE:
    return free_items (f, m, step->n);
  case SUSPEND:
    return blkring_consumer_suspend (f->c);
  case RESUME:
    return blkring_consumer_resume (f->c);
  case STATE:
    return blkring_producer_state (f->p) == -1 ? -1 : 0;
  case REATTACH:
    return reattach (f, m);
  }
  abort ();
}

/* Take the steps until the power goes; false when it did not. */
static bool
run (struct fixture *f, struct model *m)
{
  size_t i;

  for (i = 0; i < NR_STEPS; ++i)
    if (take (f, m, &steps[i]) == -1) {
      if (!record_device_is_cut (f->rd))
        fail_msg ("step %zu: %s", i, blkring_get_error ());
      return true;
    }
  return false;
}

/*---------------------------------------------------------------------*/

struct walk {
  const struct model *m;
  size_t item;
  unsigned wrong;
};

static int
check_item (void *opaque, const struct blkring_item *item)
{
  struct walk *w = opaque;
  const unsigned char *data = item->data;
  size_t i;

  if (item->length != w->m->length[w->item])
    w->wrong++;
  for (i = 0; i < item->length; ++i)
    w->wrong += data[i] != byte_of (w->item, i);
  w->item++;
  return 0;
}

static uint64_t
position_of (const struct model *m, size_t item)
{
  uint64_t position = 0;
  size_t i;

  for (i = 0; i < item; ++i)
    position += (4 + m->length[i] + 3) / 4 * 4;
  return position;
}

/* The positions must be ones that were promised, what is between them must
 * be the items, and the ring must go on. */
static void
assert_promise_kept (struct record_device *rd, const struct model *m,
                     size_t freed_at_least)
{
  struct walk w = { m, freed_at_least, 0 };
  struct blkring_info info;
  blkring_producer *p;
  blkring_consumer *c;

  if (blkring_inspect (rd->device, NULL, &info) == -1)
    fail_msg ("%s", blkring_get_error ());
  while (w.item < m->freed[1] && info.consumer != position_of (m, w.item))
    w.item++;
  assert_int_equal (info.consumer, position_of (m, w.item));
  assert_true (info.producer == position_of (m, m->exposed[0]) ||
               info.producer == position_of (m, m->exposed[1]));

  c = blkring_consumer_attach (rd->device, NULL);
  p = blkring_producer_attach (rd->device, NULL);
  assert_non_null (p);
  assert_non_null (c);
  assert_int_equal (blkring_consumer_fold (c, NULL, check_item, &w), 0);
  assert_int_equal (w.wrong, 0);
  assert_true (w.item == m->exposed[0] || w.item == m->exposed[1]);
  drain (c);
  if (blkring_producer_state (p) == BLKRING_RUNNING)
    append (p, 'x', 1000);
  blkring_producer_free (p);
  blkring_consumer_free (c);
}

/* Survivors of a crash, the n-th choice: all of them where there are not
 * too many, else none, all, each one alone, all but one, and some. */
static bool
choose (size_t nr_pending, unsigned n, uint64_t *survivors)
{
  if (nr_pending <= 6) {
    *survivors = n;
    return n < 1U << nr_pending;
  }
  if (n < 2)
    *survivors = n == 0 ? 0 : UINT64_MAX;
  else if (n < 2 + 2 * nr_pending)
    *survivors = (UINT64_C (1) << (n - 2) / 2) ^ (n % 2 ? UINT64_MAX : 0);
  else
    *survivors = n * UINT64_C (0x9e3779b97f4a7c15);
  return n < 2 + 2 * nr_pending + 20;
}

/* Returns false when there is no request so late. */
static bool
cut_power_at (void **state, unsigned request,
              const struct blkring_attach_options *consumer)
{
  struct fixture f = start (state, NULL, consumer);
  struct model m = { .pushed = 0 };
  struct record_device *crashed;
  uint64_t survivors;
  unsigned n;
  bool cut;

  record_device_cut_power (f.rd, request);
  cut = run (&f, &m);
  for (n = 0; choose (f.rd->nr_pending, n, &survivors); ++n) {
    crashed = record_device_after_crash (f.rd, survivors);
    assert_promise_kept (crashed, &m, consumer ? 0 : m.freed[0]);
    record_device_free (crashed);
  }
  stop (&f);
  return cut;
}

static void
power_cut_keeps_the_promise (void **state)
{
  unsigned request = 0;

  while (cut_power_at (state, request, NULL))
    request++;
  assert_true (request > 50);
}

/* The consumer flushes nothing, so that it may fall back to any position
 * that it ever had: the items must be there still. */
static void
consumer_may_fall_back (void **state)
{
  unsigned request = 0;

  while (cut_power_at (state, request, &careless))
    request++;
  assert_true (request > 50);
}

/*---------------------------------------------------------------------*/

typedef int (*change_fn) (struct record_device *rd);

static int
create_small (struct record_device *rd)
{
  return blkring_create (rd->device, FORMAT1);
}

static int
create_forced (struct record_device *rd)
{
  const struct blkring_create_options o = { .format = 1,
    .flags = BLKRING_CREATE_FORCE,
  };

  return blkring_create (rd->device, &o);
}

static int
erase (struct record_device *rd)
{
  return blkring_erase (rd->device, "pattern", 7, NULL, NULL);
}

static struct record_device *
blank_device (void **state)
{
  const struct record_options o = {
    .size = SECTORS * S,
    .flags = *(unsigned *) *state,
  };

  return record_device_new (&o);
}

/* An old ring with an item in it. */
static struct record_device *
used_ring (void **state)
{
  struct fixture f = start (state, NULL, NULL);

  append (f.p, 'a', 1000);
  blkring_producer_free (f.p);
  blkring_consumer_free (f.c);
  record_device_forget (f.rd);
  return f.rd;
}

/* Cut the power at each request of 'change'.  Until its first flush the
 * old ring may be there, whole.  Before its last write none may be. */
static void
assert_never_half (void **state, struct record_device *(*make) (void **),
                   change_fn change, bool makes_ring)
{
  struct record_device *rd = make (state), *crashed;
  struct blkring_info info;
  unsigned request, n, last;
  uint64_t survivors;
  bool cut;

  assert_int_equal (change (rd), 0);
  last = rd->writes + rd->flushes;
  record_device_free (rd);

  for (request = 0, cut = true; cut; ++request) {
    rd = make (state);
    record_device_cut_power (rd, request);
    cut = change (rd) == -1;
    assert_int_equal (cut, request < last);
    for (n = 0; choose (rd->nr_pending, n, &survivors); ++n) {
      crashed = record_device_after_crash (rd, survivors);
      if (blkring_inspect (crashed->device, NULL, &info) == -1)
        assert_int_equal (errno, EMEDIUMTYPE);
      else if (info.items == 1)
        assert_true (request <= 1);
      else {
        assert_true (makes_ring && request >= last - 2);
        assert_int_equal (info.producer, 0);
        assert_int_equal (info.consumer, 0);
      }
      record_device_free (crashed);
    }
    record_device_free (rd);
  }
}

static void
create_leaves_no_half_ring (void **state)
{
  assert_never_half (state, blank_device, create_small, true);
}

static void
create_over_a_ring_leaves_no_half_ring (void **state)
{
  assert_never_half (state, used_ring, create_forced, true);
}

static void
erase_leaves_no_half_ring (void **state)
{
  struct record_device *rd = used_ring (state);

  assert_never_half (state, used_ring, erase, false);
  assert_int_equal (erase (rd), 0);
  assert_int_equal (rd->nr_pending, 0);
  assert_memory_equal (rd->durable, "patternpattern", 14);
  record_device_free (rd);
}

static void
create_writes_in_order (void **state)
{
  static const struct {
    enum record_kind kind;
    uint64_t offset;
  } expected[] = {
    { RECORD_WRITE, 0 }, { RECORD_FLUSH, 0 },
    { RECORD_WRITE, S }, { RECORD_FLUSH, 0 },
    { RECORD_WRITE, 2 * S }, { RECORD_FLUSH, 0 },
    { RECORD_WRITE, 0 }, { RECORD_FLUSH, 0 },
  };
  struct record_device *rd = used_ring (state);
  size_t i, n = 0;

  assert_int_equal (create_forced (rd), 0);
  for (i = 0; i < rd->nr_log; ++i) {
    if (rd->log[i].kind == RECORD_READ)
      continue;
    assert_true (n < sizeof expected / sizeof expected[0]);
    assert_int_equal (rd->log[i].kind, expected[n].kind);
    assert_int_equal (rd->log[i].offset, expected[n].offset);
    n++;
  }
  assert_int_equal (n, sizeof expected / sizeof expected[0]);
  record_device_free (rd);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    EACH ("a power cut at any request keeps the promise",
          power_cut_keeps_the_promise),
    EACH ("a consumer that falls back finds its items",
          consumer_may_fall_back),
    EACH ("create writes in the order that leaves no half ring",
          create_writes_in_order),
    EACH ("a power cut while a ring is made leaves none or all of it",
          create_leaves_no_half_ring),
    EACH ("a power cut while a ring is made over another leaves no half",
          create_over_a_ring_leaves_no_half_ring),
    EACH ("a power cut while a ring is erased leaves no half",
          erase_leaves_no_half_ring),
  };

  return cmocka_run_group_tests_name ("crash", tests, NULL, NULL);
}
