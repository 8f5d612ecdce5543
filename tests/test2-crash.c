/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The power goes in the middle of each write and each flush in turn, and of
 * the sectors that were not durable yet any may have arrived, any not.
 * Whatever came of it, a ring of format 2 holds exactly the items whose
 * append or advance returned and that were not freed, perhaps with the whole
 * of the one under way; and it goes on, to its full capacity.  Making a
 * ring is cut in test2-create.c.
 */

#include <config.h>

#include "format2-fixture.h"

enum action {
  APPEND,                    /* one item, of 'n' bytes */
  BATCH,                     /* three, of n, n + 1 and n + 2 bytes */
  PUSH,                      /* one item, of 'n' bytes */
  PUSH_BATCH,                /* three */
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

#define CAP (BLOCKS * B)

/* Goes around the data area of 8192 bytes some times. */
static const struct step steps[] = {
  { APPEND, 1 }, { PUSH, 700 }, { PUSH, 0 }, { ADVANCE, 0 }, { FREE, 2 },
  { APPEND, FILLS (B, 1) }, { BATCH, 30 }, { FREE, 3 }, { APPEND, 4000 },
  { SUSPEND, 0 }, { STATE, 0 }, { FREE, 1 }, { RESUME, 0 }, { STATE, 0 },
  { APPEND, 1200 }, { FREE, 1 }, { FREE, 1 }, { PUSH, 2 }, { REATTACH, 0 },
  { APPEND, 5000 }, { FREE, 2 }, { PUSH_BATCH, 1500 }, { ADVANCE, 0 },
  { FREE, 2 }, { PUSH, 512 }, { APPEND, 508 }, { SUSPEND, 0 },
  { REATTACH, 0 }, { RESUME, 0 }, { STATE, 0 }, { FREE, 2 },
  { APPEND, 6000 }, { FREE, 2 }, { APPEND, 2 }, { FREE, 1 },
  { APPEND, FILLS (B, BLOCKS) }, { FREE, 1 }, { BATCH, 7 }, { FREE, 1 },
};
#define MAX_ITEMS 64

/* What the ring promised when the power went. */
struct model {
  size_t length[MAX_ITEMS];  /* of each item that was pushed */
  size_t pushed;             /* number of items … */
  size_t exposed[2];         /* … that are visible: at least, at most */
  size_t freed[2];           /* … and that will not return */
  blkring_position pushed_to; /* end of the last push */
};

static unsigned char
byte_of (size_t item, size_t i)
{
  return item * 37 + i * 7 + i / 256;
}

/* Items that are pushed behind others that were not advanced and are
 * dropped take their numbers. */
static int
push_items (struct fixture *f, struct model *m, size_t nr, size_t n,
            bool expose)
{
  static unsigned char data[3][CAP];
  struct iovec items[3];
  size_t i, k;

  for (i = 0; i < nr; ++i) {
    assert_true (m->pushed + i < MAX_ITEMS);
    for (k = 0; k < n + i; ++k)
      data[i][k] = byte_of (m->pushed + i, k);
    items[i] = (struct iovec) { data[i], n + i };
    m->length[m->pushed + i] = n + i;
  }
  if (expose)
    m->exposed[1] = m->pushed + nr;
  if ((expose ? blkring_producer_appendv : blkring_producer_pushv)
      (f->p, items, nr, &m->pushed_to) == -1)
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
take (struct fixture *f, struct model *m, const struct step *step,
      const struct blkring_attach_options *consumer)
{
  switch (step->action) {
  case APPEND:
  case BATCH:
    return push_items (f, m, step->action == BATCH ? 3 : 1, step->n, true);
  case PUSH:
  case PUSH_BATCH:
    return push_items (f, m, step->action == PUSH ? 1 : 3, step->n, false);
  case ADVANCE:
    m->exposed[1] = m->pushed;
    if (blkring_producer_advance (f->p, m->pushed_to) == -1)
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
    blkring_producer_free (f->p);
    blkring_consumer_free (f->c);
    m->pushed = m->exposed[1];
    f->p = blkring_producer_attach (f->rd->device, NULL);
    f->c = f->p ? blkring_consumer_attach (f->rd->device, consumer) : NULL;
    return f->c ? 0 : -1;
  }
  abort ();
}

/* Take the steps until the power goes; false when it did not. */
static bool
run (struct fixture *f, struct model *m,
     const struct blkring_attach_options *consumer)
{
  size_t i;

  for (i = 0; i < LENGTH (steps); ++i)
    if (take (f, m, &steps[i], consumer) == -1) {
      if (!record_device_is_cut (f->rd))
        fail_msg ("step %zu: %s", i, blkring_get_error ());
      return true;
    }
  return false;
}

/*---------------------------------------------------------------------*/

/* What was drained: lengths, and a sum that tells items apart. */
struct found {
  size_t nr;
  size_t length[MAX_ITEMS];
  unsigned char *data[MAX_ITEMS];
};

static int
keep_item (void *opaque, const struct blkring_item *item)
{
  struct found *found = opaque;

  assert_true (found->nr < MAX_ITEMS);
  found->length[found->nr] = item->length;
  found->data[found->nr] = malloc (item->length + 1);
  assert_non_null (found->data[found->nr]);
  if (item->length > 0)
    memcpy (found->data[found->nr], item->data, item->length);
  found->nr++;
  return 0;
}

static bool
is_item (const struct model *m, size_t item, const struct found *found,
         size_t n)
{
  size_t i;

  if (found->length[n] != m->length[item])
    return false;
  for (i = 0; i < m->length[item]; ++i)
    if (found->data[n][i] != byte_of (item, i))
      return false;
  return true;
}

/* The items from one that may be the first to one that may be the last. */
static bool
is_promised (const struct model *m, const struct found *found,
             size_t freed_at_least)
{
  size_t first, end, n;
  unsigned i;

  for (first = freed_at_least; first <= m->freed[1]; ++first)
    for (i = 0; i < 2; ++i) {
      end = m->exposed[i];
      if (end < first || end - first != found->nr)
        continue;
      for (n = 0; n < found->nr && is_item (m, first + n, found, n); ++n)
        ;
      if (n == found->nr)
        return true;
    }
  return false;
}

/* Every block can be used, and a frame of all. */
static void
assert_works (struct fixture *f)
{
  unsigned i;

  if (blkring_producer_state (f->p) == BLKRING_SUSPENDED)
    assert_ok (blkring_consumer_resume (f->c));
  assert_int_equal (blkring_producer_state (f->p), BLKRING_RUNNING);
  for (i = 0; i < BLOCKS; ++i)
    put (f->p, 'a' + i, 100);
  assert_fails (EAGAIN, try_put (f->p, 'z', 0));
  assert_holds (f->c, "abcdefghijklmnop");
  drain (f->c);
  put (f->p, 'z', FILLS (B, BLOCKS));
  assert_holds (f->c, "z");
}

static void
assert_promise_kept (struct record_device *rd, const struct model *m,
                     size_t freed_at_least, bool producer_first)
{
  struct fixture f = { .rd = rd };
  struct found found = { 0 };
  size_t i;

  assert_clean (rd);
  if (producer_first)
    f.p = attach_producer (rd);
  f.c = attach_consumer (rd);
  assert_ok (blkring_consumer_fold (f.c, NULL, keep_item, &found));
  if (!is_promised (m, &found, freed_at_least))
    fail_msg ("%zu items found, of %zu … %zu exposed and %zu … %zu freed",
              found.nr, m->exposed[0], m->exposed[1], freed_at_least,
              m->freed[1]);
  drain (f.c);
  if (!producer_first)
    f.p = attach_producer (rd);
  assert_works (&f);
  for (i = 0; i < found.nr; ++i)
    free (found.data[i]);
  stop (&f);
}

/* Survivors of a crash, the n-th choice: all of them where there are not
 * too many, else none, all, each one alone, all but one, and some. */
static bool
choose (size_t nr_pending, unsigned n, uint64_t *survivors)
{
  if (nr_pending <= 5) {
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
  const struct shape s = { .flags = *(unsigned *) *state };
  struct fixture f = start2 (&s, NULL, consumer);
  struct model m = { .pushed = 0 };
  uint64_t survivors;
  unsigned n;
  bool cut;

  record_device_cut_power (f.rd, request);
  cut = run (&f, &m, consumer);
  for (n = 0; choose (f.rd->nr_pending, n, &survivors); ++n)
    assert_promise_kept (record_device_after_crash (f.rd, survivors), &m,
                         consumer ? 0 : m.freed[0], (n + request) % 2);
  stop (&f);
  return cut;
}

static void
power_cut_keeps_the_promise (void **state)
{
  unsigned request = 0;

  while (cut_power_at (state, request, NULL))
    request++;
  assert_true (request > 60);
}

/* The consumer flushes nothing, so that it may fall back to any position
 * that it ever had: the items must be there still. */
static void
consumer_may_fall_back (void **state)
{
  unsigned request = 0;

  while (cut_power_at (state, request, &careless))
    request++;
  assert_true (request > 60);
}

/*---------------------------------------------------------------------*/

/* The power goes once more while both attach to what a crash left. */
static bool
cut_recovery_at (const struct record_device *crashed, unsigned request,
                 const struct model *m)
{
  struct fixture f = { .rd = record_device_after_crash (crashed, 0) };
  uint64_t survivors;
  unsigned n;
  bool cut;

  record_device_cut_power (f.rd, request);
  f.p = blkring_producer_attach (f.rd->device, NULL);
  f.c = blkring_consumer_attach (f.rd->device, NULL);
  blkring_producer_free (f.p);
  blkring_consumer_free (f.c);
  cut = record_device_is_cut (f.rd);
  for (n = 0; choose (f.rd->nr_pending, n, &survivors); ++n)
    assert_promise_kept (record_device_after_crash (f.rd, survivors), m,
                         m->freed[0], n % 2);
  record_device_free (f.rd);
  return cut;
}

static void
power_cut_while_recovering (void **state)
{
  const struct shape s = { .flags = *(unsigned *) *state };
  struct record_device *crashed;
  unsigned request = 0, again;
  bool cut = true;

  for (; cut; request += 5) {
    struct fixture f = start2 (&s, NULL, NULL);
    struct model m = { .pushed = 0 };

    record_device_cut_power (f.rd, request);
    cut = run (&f, &m, NULL);
    crashed = record_device_after_crash (f.rd, request % 2 ? UINT64_MAX : 5);
    for (again = 0; cut_recovery_at (crashed, again, &m); ++again)
      ;
    assert_true (again >= 4);
    record_device_free (crashed);
    stop (&f);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    EACH ("a power cut at any request keeps the promise",
          power_cut_keeps_the_promise),
    EACH ("a consumer that falls back finds its items",
          consumer_may_fall_back),
    EACH ("a power cut while recovering keeps the promise",
          power_cut_while_recovering),
  };

  return cmocka_run_group_tests_name ("crash of format 2", tests, NULL, NULL);
}
