/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A connection that is lost, at each point of a session, in both formats,
 * with nothing, a part or all of what was under way done by then, on a server
 * that keeps or loses what was not durable: nothing is lost and nothing
 * doubled.  When no connection can be made the error says what is known, and
 * when another has come meanwhile nothing of it is overwritten.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "cut-device.h"

#define STEPS 12
#define LARGEST 1500

/* Each call takes 30 ms, so that the other side is looked at now and then; or
 * so long that it is looked at behind each write. */
#define NOW_AND_THEN 30000000
#define EACH_TIME 200000000
static uint64_t call_takes = NOW_AND_THEN; /* ns */

static uint64_t
slow_now (void *opaque)
{
  return *(uint64_t *) opaque += call_takes;
}

static int
no_sleep (void *opaque, uint64_t ns)
{
  *(uint64_t *) opaque += ns;
  return 0;
}

struct session {
  unsigned format;
  uint64_t now;
  struct blkring_clock clock;
  struct cut_store *store;
  struct cut_device *mine;   /* of the side that is tested */
  struct cut_device *theirs; /* of the other one, which is never cut */
  blkring_producer *p;
  blkring_consumer *c;
  unsigned pushed, popped;   /* items */
};

static struct blkring_attach_options
options (struct session *s, const char *client)
{
  return (struct blkring_attach_options) {
    .queue = "q", .client = client, .clock = &s->clock,
  };
}

/* Else a durable write is two flights: a write, and a flush. */
static bool with_fua = true;

static void
begin (struct session *s, unsigned format)
{
  const struct blkring_create_options o = {
    .format = format, .block_size = format == 2 ? 512 : 0,
  };

  memset (s, 0, sizeof *s);
  s->format = format;
  s->clock = (struct blkring_clock) { slow_now, no_sleep, &s->now };
  s->store = cut_store_new (format == 1 ? 20 * 512 : 32768 + 24 * 512);
  s->mine = cut_device_new (s->store);
  s->theirs = cut_device_new (s->store);
  if (!with_fua)
    s->mine->geometry.flags &= ~BLKRING_DEVICE_FUA;
  assert_ok (blkring_create (s->theirs->device, &o));
}

static void
end (struct session *s)
{
  blkring_producer_free (s->p);
  blkring_consumer_free (s->c);
  cut_device_free (s->mine);
  cut_device_free (s->theirs);
  cut_store_free (s->store);
}

static size_t
length_of (unsigned seed)
{
  return seed % 5 == 4 ? LARGEST : 40 * (seed % 7);
}

/*---------------------------------------------------------------------*/
/* What the tested sides do.  0, or -1 where a call fails.               */

static int
append_batch (struct session *s, unsigned nr, bool expose)
{
  static unsigned char bytes[4][LARGEST];
  struct iovec items[4];
  blkring_position after;
  unsigned i;
  int r;

  for (i = 0; i < nr; ++i) {
    items[i] = (struct iovec) { bytes[i], length_of (s->pushed + i) };
    fill_payload (bytes[i], items[i].iov_len, s->pushed + i);
  }
  r = expose ? blkring_producer_appendv (s->p, items, nr, &after)
    : blkring_producer_pushv (s->p, items, nr, &after);
  if (r == -1)
    return -1;
  if (!expose && blkring_producer_advance (s->p, after) == -1)
    return -1;
  s->pushed += nr;
  return 0;
}

static int
attach_producer (struct session *s, struct cut_device *d)
{
  const struct blkring_attach_options o = options (s, "first");

  s->p = blkring_producer_attach (d->device, &o);
  return s->p ? 0 : -1;
}

static int
attach_consumer (struct session *s, struct cut_device *d)
{
  const struct blkring_attach_options o = options (s, "consumer");

  s->c = blkring_consumer_attach (d->device, &o);
  return s->c ? 0 : -1;
}

/* Take all that is there, advancing behind each third item and at the
 * end. */
static int
drain (struct session *s)
{
  struct blkring_item item;
  blkring_position from;
  unsigned n = 0;

  if (blkring_consumer_position (s->c, &from) == -1)
    return -1;
  while (blkring_consumer_pop (s->c, &from, &item) == 0) {
    assert_int_equal (item.length, length_of (s->popped + n));
    assert_true (is_payload (item.data, item.length, s->popped + n));
    from = item.next;
    if (++n % 3 != 0)
      continue;
    if (blkring_consumer_advance (s->c, from) == -1)
      return -1;
    s->popped += n;
    n = 0;
  }
  if (errno != EAGAIN ||
      (n > 0 && blkring_consumer_advance (s->c, from) == -1))
    return -1;
  s->popped += n;
  return 0;
}

static int
produce (struct session *s, int (*meanwhile) (struct session *s))
{
  unsigned step;

  for (step = 0; step < STEPS; ++step) {
    if (append_batch (s, 1 + step % 3, step % 4 != 1) == -1)
      return -1;
    if (step % 3 == 2 && meanwhile && meanwhile (s) == -1)
      return -1;
  }
  return 0;
}

static int
consume (struct session *s)
{
  unsigned step;

  for (step = 0; step < STEPS; ++step) {
    assert_ok (append_batch (s, 1 + step % 3, true));
    if (drain (s) == -1)
      return -1;
  }
  return 0;
}

/*---------------------------------------------------------------------*/

static void
plan (struct cut_device *d, unsigned after, enum cut_where where, bool crash)
{
  d->cut = true;
  d->cut_after = after;
  d->where = where;
  d->crash = crash;
}

/* After a crash of the server now, the items that were not taken are
 * there. */
static void
check_durable (struct session *s)
{
  struct cut_store *store = cut_store_new (s->store->size);
  struct session after = *s;

  memcpy (store->content, s->store->durable, store->size);
  memcpy (store->durable, s->store->durable, store->size);
  after.store = store;
  after.mine = cut_device_new (store);
  assert_returns (0, blkring_check (after.mine->device, NULL, NULL, NULL));
  assert_ok (attach_consumer (&after, after.mine));
  assert_ok (drain (&after));
  assert_int_equal (after.popped, s->pushed);
  blkring_consumer_free (after.c);
  cut_device_free (after.mine);
  cut_store_free (store);
}

typedef bool (*run_fn) (unsigned format, unsigned after,
                        enum cut_where where, bool crash);

/* Cut each flight of a session, in all ways, until it is longer than
 * that. */
static void
each_cut (run_fn run)
{
  unsigned format, after, where, crash, fua;

  for (format = 1; format <= 2; ++format)
    for (where = CUT_BEFORE; where <= CUT_AFTER; ++where)
      for (crash = 0; crash <= 1; ++crash)
        for (fua = 0; fua <= 1; ++fua) {
          with_fua = fua;
          for (after = 0; run (format, after, where, crash); ++after)
            ;
          /* It is not over before it began. */
          assert_true (after > 15);
        }
  with_fua = true;
}

static bool
run_producer (unsigned format, unsigned after, enum cut_where where,
              bool crash)
{
  struct session s;
  bool was_cut;

  begin (&s, format);
  assert_ok (attach_consumer (&s, s.theirs));
  plan (s.mine, after, where, crash);
  assert_ok (attach_producer (&s, s.mine));
  assert_ok (produce (&s, drain));
  was_cut = !s.mine->cut;
  blkring_consumer_free (s.c);
  s.c = NULL;
  check_durable (&s);
  assert_ok (blkring_producer_detach (s.p));
  check_durable (&s);
  end (&s);
  return was_cut;
}

static void
producer_loses_and_doubles_nothing (void **state)
{
  (void) state;
  each_cut (run_producer);
}

static bool
run_consumer (unsigned format, unsigned after, enum cut_where where,
              bool crash)
{
  struct session s;
  bool was_cut;

  begin (&s, format);
  assert_ok (attach_producer (&s, s.theirs));
  plan (s.mine, after, where, crash);
  assert_ok (attach_consumer (&s, s.mine));
  assert_ok (consume (&s));
  was_cut = !s.mine->cut;
  assert_ok (blkring_consumer_detach (s.c));
  blkring_producer_free (s.p);
  s.p = NULL;
  assert_int_equal (s.popped, s.pushed);
  check_durable (&s);
  end (&s);
  return was_cut;
}

static void
consumer_frees_what_it_took_and_no_more (void **state)
{
  (void) state;
  each_cut (run_consumer);
}

/* Both sides of one device: each finds out by itself. */
static bool
run_both (unsigned format, unsigned after, enum cut_where where, bool crash)
{
  struct session s;
  bool was_cut;

  begin (&s, format);
  plan (s.mine, after, where, crash);
  assert_ok (attach_consumer (&s, s.mine));
  assert_ok (attach_producer (&s, s.mine));
  assert_ok (produce (&s, drain));
  was_cut = !s.mine->cut;
  assert_ok (blkring_producer_detach (s.p));
  assert_ok (blkring_consumer_detach (s.c));
  check_durable (&s);
  end (&s);
  return was_cut;
}

static void
both_sides_on_one_device_go_on (void **state)
{
  (void) state;
  each_cut (run_both);
}

/* What the server would have of it after a crash. */
static enum blkring_state
durable_state (struct session *s)
{
  struct cut_store *store = cut_store_new (s->store->size);
  struct cut_device *d = cut_device_new (store);
  struct blkring_info info;

  memcpy (store->content, s->store->durable, store->size);
  assert_ok (blkring_inspect (d->device, NULL, &info));
  cut_device_free (d);
  cut_store_free (store);
  return info.state;
}

static bool
suspend_and_resume (unsigned format, unsigned after, enum cut_where where,
                    bool crash, bool producer_is_cut)
{
  struct session s;
  bool was_cut;
  int i;

  begin (&s, format);
  plan (s.mine, after, where, crash);
  assert_ok (attach_producer (&s, producer_is_cut ? s.mine : s.theirs));
  assert_ok (attach_consumer (&s, producer_is_cut ? s.theirs : s.mine));
  for (i = 0; i < 4; ++i) {
    assert_ok (blkring_consumer_suspend (s.c));
    assert_int_equal (durable_state (&s), BLKRING_SUSPEND_REQUESTED);
    assert_returns (BLKRING_SUSPENDED, blkring_producer_state (s.p));
    assert_int_equal (durable_state (&s), BLKRING_SUSPENDED);
    assert_returns (BLKRING_SUSPENDED, blkring_consumer_state (s.c));
    assert_ok (blkring_consumer_resume (s.c));
    assert_int_equal (durable_state (&s), BLKRING_RESUME_REQUESTED);
    assert_returns (BLKRING_RUNNING, blkring_producer_state (s.p));
    assert_int_equal (durable_state (&s), BLKRING_RUNNING);
    assert_returns (BLKRING_RUNNING, blkring_consumer_state (s.c));
  }
  was_cut = !s.mine->cut;
  end (&s);
  return was_cut;
}

static bool
run_request (unsigned format, unsigned after, enum cut_where where,
             bool crash)
{
  return suspend_and_resume (format, after, where, crash, false);
}

static void
requests_to_suspend_arrive_once (void **state)
{
  (void) state;
  each_cut (run_request);
}

static bool
run_acknowledge (unsigned format, unsigned after, enum cut_where where,
                 bool crash)
{
  return suspend_and_resume (format, after, where, crash, true);
}

static void
acknowledgements_arrive_once (void **state)
{
  (void) state;
  each_cut (run_acknowledge);
}

/*---------------------------------------------------------------------*/
/* No new connection.                                                    */

static int
count_item (void *opaque, const struct blkring_item *item)
{
  struct session *s = opaque;

  assert_true (is_payload (item->data, item->length, s->popped));
  assert_int_equal (item->length, length_of (s->popped));
  s->popped++;
  return 0;
}

/* All items that are in the ring, which was never consumed. */
static unsigned
items_in_ring (struct session *s)
{
  const struct blkring_attach_options o = {
    .flags = BLKRING_ATTACH_OBSERVER, .clock = &s->clock,
  };
  blkring_consumer *c = blkring_consumer_attach (s->theirs->device, &o);

  assert_handle (c);
  s->popped = 0;
  assert_ok (blkring_consumer_fold (c, NULL, count_item, s));
  blkring_consumer_free (c);
  return s->popped;
}

static int
count_any (void *opaque, const struct blkring_item *item)
{
  (void) item;
  ++*(unsigned *) opaque;
  return 0;
}

/* Items that were not freed. */
static unsigned
items_left (struct session *s)
{
  const struct blkring_attach_options o = {
    .flags = BLKRING_ATTACH_OBSERVER, .clock = &s->clock,
  };
  blkring_consumer *c = blkring_consumer_attach (s->theirs->device, &o);
  unsigned n = 0;

  assert_handle (c);
  assert_ok (blkring_consumer_fold (c, NULL, count_any, &n));
  blkring_consumer_free (c);
  return n;
}

static int
append_five (struct session *s)
{
  unsigned i;

  for (i = 0; i < 5; ++i)
    if (append_batch (s, 2, i % 2) == -1)
      return -1;
  return 0;
}

static bool
session_ends (unsigned format, unsigned after, enum cut_where where,
              bool crash, bool twice)
{
  struct session s;
  unsigned there, known;
  bool was_cut, attached;
  int r, err;

  begin (&s, format);
  plan (s.mine, after, where, crash);
  s.mine->cut_is_final = !twice;
  s.mine->cut_twice = twice;
  r = attach_producer (&s, s.mine);
  attached = r == 0;
  if (r == 0)
    r = append_five (&s);
  err = errno;
  was_cut = !s.mine->cut;
  if (was_cut) {
    assert_int_equal (r, -1);
    assert_true (err == ENOTCONN || err == ECONNABORTED);
    /* What is in doubt says so, and the handle is of no use any more. */
    if (err == ECONNABORTED)
      assert_message ("not known");
    known = s.pushed;
    there = items_in_ring (&s);
    assert_true (there == known || (there == known + 2 && attached &&
                                    err == ECONNABORTED));
    if (attached && err == ECONNABORTED)
      assert_fails (EIO, append_batch (&s, 1, true));
  }
  else
    assert_ok (r);
  end (&s);
  return was_cut;
}

static bool
run_final (unsigned format, unsigned after, enum cut_where where, bool crash)
{
  return session_ends (format, after, where, crash, false);
}

/* A new one is there, and goes before the ring was looked at. */
static bool
run_final_again (unsigned format, unsigned after, enum cut_where where,
                 bool crash)
{
  return session_ends (format, after, where, crash, true);
}

static void
without_a_connection_the_error_tells_what_is_known (void **state)
{
  (void) state;
  each_cut (run_final);
  each_cut (run_final_again);
  call_takes = EACH_TIME;
  each_cut (run_final);
  call_takes = NOW_AND_THEN;
}

/* The same of a consumer that frees one by one. */
static bool
run_final_advance (unsigned format, unsigned after, enum cut_where where,
                   bool crash)
{
  struct blkring_item item;
  struct session s;
  unsigned freed = 0, gone;
  bool was_cut;
  int r = 0, err;

  begin (&s, format);
  assert_ok (attach_producer (&s, s.theirs));
  assert_ok (append_five (&s));
  assert_ok (attach_consumer (&s, s.mine));
  plan (s.mine, after, where, crash);
  s.mine->cut_is_final = true;
  while (freed < s.pushed &&
         (r = blkring_consumer_pop (s.c, NULL, &item)) == 0 &&
         (r = blkring_consumer_advance (s.c, item.next)) == 0)
    freed++;
  err = errno;
  was_cut = !s.mine->cut;
  if (was_cut) {
    assert_int_equal (r, -1);
    assert_true (err == ENOTCONN || err == ECONNABORTED);
    if (err == ECONNABORTED)
      assert_message ("not known");
    gone = s.pushed - items_left (&s);
    assert_true (gone == freed || (gone == freed + 1 &&
                                   err == ECONNABORTED));
  }
  else
    assert_ok (r);
  end (&s);
  return was_cut;
}

static void
without_a_connection_the_consumer_knows_what_is_freed (void **state)
{
  (void) state;
  each_cut (run_final_advance);
  call_takes = EACH_TIME;
  each_cut (run_final_advance);
  call_takes = NOW_AND_THEN;
}

/*---------------------------------------------------------------------*/
/* One connection after the other.                                       */

static void
lose_the_next_one (void *opaque)
{
  struct cut_device *d = opaque;

  d->cut = true;
  d->cut_after = 0;
}

static void
attach_does_not_try_for_ever (void **state)
{
  struct session s;
  unsigned format;

  (void) state;
  for (format = 1; format <= 2; ++format) {
    begin (&s, format);
    s.mine->meanwhile = lose_the_next_one;
    s.mine->opaque = s.mine;
    plan (s.mine, 0, CUT_BEFORE, false);
    assert_int_equal (attach_producer (&s, s.mine), -1);
    assert_int_equal (errno, ENOTCONN);
    assert_message ("again and again");
    assert_int_equal (attach_consumer (&s, s.mine), -1);
    assert_int_equal (errno, ENOTCONN);
    assert_in_range (s.mine->connection, 10, 200);
    s.mine->meanwhile = NULL;
    s.mine->cut = false;
    assert_ok (attach_producer (&s, s.mine));
    assert_ok (append_batch (&s, 1, true));
    end (&s);
  }
}

/*---------------------------------------------------------------------*/
/* Another comes meanwhile.                                              */

/* It appends one item, of seed 1000. */
static void
other_appends (void *opaque)
{
  struct session *s = opaque;
  struct blkring_attach_options o = options (s, "second");
  blkring_producer *p;

  if (s->format == 2)
    o.flags = BLKRING_ATTACH_TAKEOVER;
  p = blkring_producer_attach (s->theirs->device, &o);
  assert_handle (p);
  assert_ok (append_seed (p, 100, 1000, NULL));
  blkring_producer_free (p);
}

static int
compare_with_other (void *opaque, const struct blkring_item *item)
{
  struct session *s = opaque;

  if (item->length == 100 && is_payload (item->data, 100, 1000))
    s->popped += 1000;
  else if (s->popped >= 1000)
    fail_msg ("an item came behind the other's");
  else
    return count_item (opaque, item);
  return 0;
}

/* 1000 for the other's item, and 1 for each of ours, which must stand before
 * it. */
static unsigned
items_of_both (struct session *s)
{
  const struct blkring_attach_options o = {
    .flags = BLKRING_ATTACH_OBSERVER, .clock = &s->clock,
  };
  blkring_consumer *c = blkring_consumer_attach (s->theirs->device, &o);

  assert_handle (c);
  s->popped = 0;
  assert_ok (blkring_consumer_fold (c, NULL, compare_with_other, s));
  blkring_consumer_free (c);
  assert_returns (0, blkring_check (s->theirs->device, NULL, NULL, NULL));
  return s->popped;
}

static bool
run_replaced (unsigned format, unsigned after, enum cut_where where,
              bool crash)
{
  struct session s;
  unsigned both;
  bool was_cut;
  int r;

  begin (&s, format);
  assert_ok (attach_producer (&s, s.mine));
  s.mine->meanwhile = other_appends;
  s.mine->opaque = &s;
  plan (s.mine, after, where, crash);
  r = append_five (&s);
  was_cut = !s.mine->cut;
  if (was_cut && r == 0)
    r = append_batch (&s, 1, true);
  if (was_cut) {
    assert_fails (EBUSY, r);
    both = items_of_both (&s);
    assert_true (both == 1000 + s.pushed || both == 1002 + s.pushed);
    assert_fails (EBUSY, append_batch (&s, 1, true));
    assert_int_equal (items_of_both (&s), both);
  }
  end (&s);
  return was_cut;
}

static void
another_producer_that_came_meanwhile_is_left_alone (void **state)
{
  unsigned where, after, format;

  (void) state;
  for (format = 1; format <= 2; ++format)
    for (where = CUT_BEFORE; where <= CUT_AFTER; ++where) {
      for (after = 0; run_replaced (format, after, where, false); ++after)
        ;
      assert_true (after > 4);
    }
}

/* One that came, and wrote no item. */
static void
other_acknowledges (void *opaque)
{
  struct session *s = opaque;
  struct blkring_attach_options o = options (s, "second");
  blkring_producer *p;

  o.flags = s->format == 2 ? BLKRING_ATTACH_TAKEOVER : 0;
  assert_ok (blkring_consumer_suspend (s->c));
  p = blkring_producer_attach (s->theirs->device, &o);
  assert_handle (p);
  assert_ok (blkring_consumer_resume (s->c));
  assert_returns (BLKRING_RUNNING, blkring_producer_state (p));
  blkring_producer_free (p);
}

static void
another_producer_at_the_same_position_is_noticed (void **state)
{
  struct session s;
  unsigned format;

  (void) state;
  for (format = 1; format <= 2; ++format) {
    begin (&s, format);
    assert_ok (attach_consumer (&s, s.theirs));
    assert_ok (attach_producer (&s, s.mine));
    assert_ok (append_batch (&s, 1, true));
    s.mine->meanwhile = other_acknowledges;
    s.mine->opaque = &s;
    plan (s.mine, 0, CUT_BEFORE, false);
    assert_fails (EBUSY, append_batch (&s, 1, true));
    assert_int_equal (items_in_ring (&s), 1);
    end (&s);
  }
}

static void
other_consumes (void *opaque)
{
  struct session *s = opaque;
  struct blkring_attach_options o = options (s, "second");
  struct blkring_item item;
  blkring_consumer *c;

  o.flags = s->format == 2 ? BLKRING_ATTACH_TAKEOVER : 0;
  c = blkring_consumer_attach (s->theirs->device, &o);
  assert_handle (c);
  while (blkring_consumer_pop (c, NULL, &item) == 0)
    assert_ok (blkring_consumer_advance (c, item.next));
  blkring_consumer_free (c);
}

/* Its position is not taken back. */
static void
another_consumer_that_came_meanwhile_is_left_alone (void **state)
{
  struct session s;
  struct blkring_item item;
  blkring_position before;
  unsigned format, after;
  bool was_cut;
  int r;

  (void) state;
  for (format = 1; format <= 2; ++format)
    for (after = 0, was_cut = true; was_cut; ++after) {
      begin (&s, format);
      assert_ok (attach_producer (&s, s.theirs));
      assert_ok (append_batch (&s, 4, true));
      assert_ok (attach_consumer (&s, s.mine));
      assert_ok (blkring_consumer_pop (s.c, NULL, &item));
      s.mine->meanwhile = other_consumes;
      s.mine->opaque = &s;
      plan (s.mine, after, CUT_BEFORE, false);
      before = item.next;
      r = blkring_consumer_advance (s.c, before);
      was_cut = !s.mine->cut;
      if (was_cut) {
        assert_fails (EBUSY, r);
        assert_int_equal (items_in_ring (&s), 0);
      }
      else
        assert_ok (r);
      end (&s);
    }
}

/*---------------------------------------------------------------------*/

/* A producer that fails to attach says nothing about a ring that it has not
 * read. */
static void
a_takeover_that_fails_half_way_leaves_the_ring_whole (void **state)
{
  struct blkring_attach_options o;
  struct cut_device *third;
  struct session s;
  blkring_producer *p;
  unsigned after;
  bool failed = true;

  (void) state;
  for (after = 0; failed; ++after) {
    begin (&s, 2);
    assert_ok (attach_producer (&s, s.theirs));
    assert_ok (append_five (&s));
    assert_ok (blkring_producer_state (s.p));
    third = cut_device_new (s.store);
    third->fail = true;
    third->fail_after = after;
    o = options (&s, "third");
    o.flags = BLKRING_ATTACH_TAKEOVER;
    p = blkring_producer_attach (third->device, &o);
    failed = !third->fail;
    assert_true (failed == (p == NULL));
    blkring_producer_free (p);
    cut_device_free (third);
    assert_int_equal (items_in_ring (&s), 10);
    assert_returns (0, blkring_check (s.theirs->device, NULL, NULL, NULL));
    end (&s);
  }
  assert_true (after > 8);
}

/* The frame is there: who stored the items once more behind it would store
 * them twice. */
static void
a_look_that_fails_behind_a_write_ends_the_producer (void **state)
{
  struct session s;
  unsigned after, i;
  bool failed = true;
  int r;

  (void) state;
  for (after = 0; failed; ++after) {
    begin (&s, 2);
    assert_ok (attach_producer (&s, s.mine));
    s.mine->fail = true;
    s.mine->fail_after = after;
    for (i = 0, r = 0; i < 5 && r == 0; ++i)
      r = append_batch (&s, 1 + i % 3, true);
    failed = !s.mine->fail;
    if (failed) {
      assert_fails (EIO, r);
      if (items_in_ring (&s) != s.pushed)
        assert_fails (EIO, append_batch (&s, 1, true));
      else if (append_batch (&s, 1, true) == 0)
        assert_int_equal (items_in_ring (&s), s.pushed);
    }
    end (&s);
  }
  assert_true (after > 5);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    cmocka_unit_test (producer_loses_and_doubles_nothing),
    cmocka_unit_test (consumer_frees_what_it_took_and_no_more),
    cmocka_unit_test (both_sides_on_one_device_go_on),
    cmocka_unit_test (requests_to_suspend_arrive_once),
    cmocka_unit_test (acknowledgements_arrive_once),
    cmocka_unit_test (without_a_connection_the_error_tells_what_is_known),
    cmocka_unit_test (without_a_connection_the_consumer_knows_what_is_freed),
    cmocka_unit_test (attach_does_not_try_for_ever),
    cmocka_unit_test (another_producer_that_came_meanwhile_is_left_alone),
    cmocka_unit_test (another_producer_at_the_same_position_is_noticed),
    cmocka_unit_test (another_consumer_that_came_meanwhile_is_left_alone),
    cmocka_unit_test (a_takeover_that_fails_half_way_leaves_the_ring_whole),
    cmocka_unit_test (a_look_that_fails_behind_a_write_ends_the_producer),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
