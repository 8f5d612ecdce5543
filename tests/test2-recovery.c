/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a new owner of a ring of format 2 makes of what it finds: frames of
 * the last lap, staged frames, and frames that a producer left that crashed.
 * Damage is in test2-damage.c.
 */

#include <config.h>

#include "format2-fixture.h"

/*---------------------------------------------------------------------*/

static void
frames_of_the_last_lap_are_not_seen (void **state)
{
  struct fixture f = start_small ();
  unsigned i;

  (void) state;
  for (i = 0; i < 4 * BLOCKS; ++i) {
    assert_holds (f.c, "");
    put (f.p, 'a', FILLS (B, 1));
    if (i % 3 == 0)
      put (f.p, 'b', FILLS (B, 2));
    reattach_producer (&f);
    reattach_consumer (&f);
    assert_holds (f.c, i % 3 ? "a" : "ab");
    assert_clean (f.rd);
    drain (f.c);
  }
  stop (&f);
}

static void
staged_frames_are_dropped (void **state)
{
  struct fixture f = start_small (), g;
  struct blkring_info *info = malloc (sizeof *info);
  struct findings found;

  (void) state;
  assert_non_null (info);
  put (f.p, 'x', 1);
  push (f.p, 'a', 1);
  push (f.p, 'b', 700);
  push (f.p, 'c', 1);
  assert_holds (f.c, "x");

  /* Its owner has died … */
  g = elsewhere (&f);
  g.p = attach_producer (g.rd);
  g.c = attach_consumer (g.rd);
  assert_holds (g.c, "x");
  put (g.p, 'A', 2);
  assert_holds (g.c, "xA");
  stop (&g);

  /* … or detached. */
  blkring_producer_free (f.p);
  found = check (f.rd);
  assert_int_equal (found.leaks, 1);
  assert_int_equal (found.corruptions, 0);
  assert_ok (blkring_inspect (f.rd->device, NULL, info));
  assert_int_equal (info->staged, 4 * B);
  assert_int_equal (info->items, 1);
  f.p = attach_producer (f.rd);
  assert_holds (f.c, "x");
  /* As large as the one that was there, so that 'b' is behind it. */
  put (f.p, 'A', 2);
  assert_holds (f.c, "xA");
  push (f.p, 'B', 1);
  assert_holds (f.c, "xA");
  put (f.p, 'C', 1);
  assert_holds (f.c, "xABC");
  reattach_producer (&f);
  reattach_consumer (&f);
  assert_holds (f.c, "xABC");
  free (info);
  stop (&f);
}

/* A consumer that has read ahead holds a staged frame, which is dropped and
 * replaced by one as large. */
static void
dropped_frame_in_memory_is_not_seen (void **state)
{
  struct fixture f = start_small ();
  struct blkring_item x, item;
  blkring_position after;

  (void) state;
  put (f.p, 'w', 1);
  put (f.p, 'x', 1);
  push (f.p, 'a', 9);
  assert_ok (blkring_consumer_pop (f.c, NULL, &x));
  assert_ok (blkring_consumer_pop (f.c, &x.next, &x));
  assert_fails (EAGAIN, blkring_consumer_pop (f.c, &x.next, &item));
  reattach_producer (&f);
  after = push (f.p, 'A', 9);
  assert_fails (EAGAIN, blkring_consumer_pop (f.c, &x.next, &item));
  assert_ok (blkring_producer_advance (f.p, after));
  assert_int_equal (blkring_consumer_state (f.c), BLKRING_RUNNING);
  assert_ok (blkring_consumer_pop (f.c, &x.next, &item));
  assert_memory_equal (item.data, "AAAAAAAAA", 9);
  assert_ok (blkring_consumer_advance (f.c, item.next));
  stop (&f);
}

static void
frame_at_the_tail_is_seen_when_exposed (void **state)
{
  struct fixture f = start_small ();
  blkring_position a, b;

  (void) state;
  a = push (f.p, 'a', 1);
  b = push (f.p, 'b', 1);
  assert_holds (f.c, "");
  assert_fails (ETIMEDOUT, blkring_consumer_wait (f.c, NULL, 10));
  assert_ok (blkring_producer_advance (f.p, a));
  assert_holds (f.c, "a");
  assert_ok (blkring_producer_advance (f.p, b));
  assert_holds (f.c, "ab");
  stop (&f);
}

/*---------------------------------------------------------------------*/

/* A flush failed, and the system threw away what it had not written, though
 * it still gives it to readers. */
static void
adopted_frames_are_written_again (void **state)
{
  struct fixture f = start_small ();
  struct record_device *crashed;
  struct f2_record before;
  size_t i, first_record, flush;

  (void) state;
  put (f.p, 'a', 1);
  record_device_fail (f.rd, RECORD_FLUSH, 0, EIO);
  assert_fails (EIO, try_put (f.p, 'b', 700));
  f.rd->nr_pending = 0;
  get_record (f.rd, F2_PRODUCER, &before);
  blkring_producer_free (f.p);
  record_device_forget (f.rd);
  f.p = attach_producer (f.rd);

  first_record = f.rd->nr_log;
  for (i = f.rd->nr_log; i-- > 0;)
    if (f.rd->log[i].kind == RECORD_WRITE && f.rd->log[i].offset <
        f2_record_offset (F2_CONSUMER + 1, 0))
      first_record = i;
  assert_true (first_record < f.rd->nr_log);
  /* 'a', 'b', the record's two copies. */
  assert_int_equal (f.rd->writes, 4);
  i = record_device_find (f.rd, RECORD_WRITE, 0);
  i = record_device_find (f.rd, RECORD_WRITE, i + 1);
  assert_true (i < first_record);
  flush = record_device_find (f.rd, RECORD_FLUSH, i);
  assert_true (flush < first_record);

  crashed = record_device_after_crash (f.rd, 0);
  blkring_consumer_free (f.c);
  f.c = attach_consumer (crashed);
  assert_holds (f.c, "ab");
  blkring_consumer_free (f.c);
  f.c = NULL;
  record_device_free (crashed);
  stop (&f);
}

static void
adopted_frame_around_the_end (void **state)
{
  struct fixture f = start_large (), g;
  unsigned i;

  (void) state;
  for (i = 0; i < 61; ++i) {
    put (f.p, '-', FILLS (B, 2));
    drain (f.c);
  }
  reattach_producer (&f);
  put (f.p, 'a', FILLS (B, 9));
  g = elsewhere (&f);
  memset (g.rd->durable + ring_of (g.rd).data_offset, 0, 128 * B);
  g.p = attach_producer (g.rd);
  assert_int_equal (g.rd->nr_pending, 0);
  blkring_producer_free (g.p);
  g.p = NULL;
  memcpy (g.rd->content, g.rd->durable, g.rd->allocated);
  g.c = attach_consumer (g.rd);
  assert_holds (g.c, "a");
  stop (&g);
  stop (&f);
}

static void
detached_owner_left_nothing_to_write (void **state)
{
  struct fixture f = start_small ();
  const uint64_t data = ring_of (f.rd).data_offset;

  (void) state;
  put (f.p, 'a', 1);
  blkring_producer_free (f.p);
  record_device_forget (f.rd);
  f.p = attach_producer (f.rd);
  assert_int_equal (requests (f.rd, RECORD_WRITE, data, UINT64_MAX), 0);
  stop (&f);
}

/*---------------------------------------------------------------------*/

static uint64_t step;

static uint64_t
slow_now (void *opaque)
{
  (void) opaque;
  return now += step;
}

/* An append wrote its frame, and then a read failed.  Either nothing goes on
 * without a new attach, or the item is not there; and nothing is written over
 * it, for a consumer may have seen it.  'reads' is how many of the append's
 * reads work. */
static void
fail_read (const char *before, bool staged, unsigned reads, bool seen)
{
  struct blkring_clock clock = record_clock (&now);
  const struct blkring_attach_options o = { .clock = &clock };
  struct fixture f = start2 (&(struct shape) { .blocks = 128 }, NULL,
                             with_clock ());
  bool there;

  blkring_producer_free (f.p);
  clock.now = slow_now;
  f.p = blkring_producer_attach (f.rd->device, &o);
  assert_non_null (f.p);
  for (; *before; ++before)
    put (f.p, '-', 1);
  drain (f.c);
  if (staged)
    push (f.p, 's', 1);
  record_device_fail (f.rd, RECORD_READ, reads, EIO);
  assert_fails (EIO, try_put (f.p, 'b', 1));
  if (seen)
    drain (f.c);
  there = try_put (f.p, 'c', 1) == -1;
  if (there) {
    assert_error (EIO);
    reattach_producer (&f);
    put (f.p, 'c', 1);
  }
  assert_holds (f.c, there && !seen && !staged ? "bc"
                : staged && !there ? "sc" : "c");
  drain (f.c);
  assert_clean (f.rd);
  stop (&f);
}

static void
failed_read_behind_a_write (void **state)
{
  (void) state;
  /* Looks before and behind the write. */
  step = 110 * NS_PER_MS;
  fail_read ("-", false, 1, true);
  fail_read ("-", false, 1, false);
  /* Of the 16th frame there is a record, for which one looks. */
  step = 0;
  fail_read ("---------------", false, 0, true);
  fail_read ("---------------", false, 0, false);
  /* Behind a staged frame an append writes one, too. */
  fail_read ("-", true, 0, true);
  fail_read ("-", true, 0, false);
}

/*---------------------------------------------------------------------*/

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (frames_of_the_last_lap_are_not_seen),
    cmocka_unit_test (staged_frames_are_dropped),
    cmocka_unit_test (dropped_frame_in_memory_is_not_seen),
    cmocka_unit_test (frame_at_the_tail_is_seen_when_exposed),
    cmocka_unit_test (adopted_frames_are_written_again),
    cmocka_unit_test (adopted_frame_around_the_end),
    cmocka_unit_test (detached_owner_left_nothing_to_write),
    cmocka_unit_test (failed_read_behind_a_write),
  };

  return cmocka_run_group_tests_name ("recovery of format 2", tests, NULL,
                                      NULL);
}
