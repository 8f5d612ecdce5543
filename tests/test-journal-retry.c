/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The journal: what fails is tried again while what came later waits, also
 * by the next start; and what becomes of an item that never succeeds.
 */

#include <config.h>

#include <string.h>

#include "journal-fixture.h"

static void
a_failing_batch_is_tried_again_and_later_items_wait (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter a, c;

  t->options.retry_interval = 1000;
  t->fail = 2;
  begin (t);
  a = push (t, "a");
  await_log (t, "a!");
  push (t, "b");
  c = push (t, "c");
  await_sleep (t);
  move_clock (t, 999);
  await_sleep (t);
  check_log (t, "a!");
  move_clock (t, 1);
  await_log (t, "a! a!");
  await_sleep (t);
  check_log (t, "a! a!");
  assert_fails (ETIMEDOUT, blkring_journal_sync (t->j, a, 0));
  assert_int_equal (items_left (t), 3);
  move_clock (t, 1000);
  sync_ok (t, c);
  check_log (t, "a! a! a| b c|");
  assert_int_equal (items_left (t), 0);
}

static void
the_retry_interval_is_five_seconds (void **state)
{
  struct test_journal *t = *state;

  t->fail = 1;
  begin (t);
  push (t, "a");
  await_log (t, "a!");
  await_sleep (t);
  move_clock (t, 4999);
  await_sleep (t);
  check_log (t, "a!");
  move_clock (t, 1);
  await_log (t, "a! a|");
}

/* A flush is about items that wait for others, not for their retry. */
static void
flush_does_not_cut_the_retry_interval_short (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter a;

  t->fail = 1;
  begin (t);
  a = push (t, "a");
  await_log (t, "a!");
  assert_ok (blkring_journal_flush (t->j, a));
  await_sleep (t);
  check_log (t, "a!");
}

static void
what_failed_is_replayed_by_the_next_start (void **state)
{
  struct test_journal *t = *state;

  t->fail = 1;
  begin (t);
  push (t, "a");
  await_log (t, "a!");
  push (t, "b");
  restart (t);
  check_log (t, "a! a b|");
  assert_int_equal (items_left (t), 0);
  sync_ok (t, push (t, "c"));
  check_log (t, "a! a b| c|");
}

static void
what_failed_is_replayed_after_a_crash (void **state)
{
  struct test_journal *t = *state;

  t->options.batch_items = 1;
  t->bad = "b";
  begin (t);
  push (t, "a");
  push (t, "b");
  push (t, "c");
  await_log (t, "a| b!");
  t = reboot (t);
  begin (t);
  check_log (t, "b c|");
}

static void
start_replays_all_that_is_left (void **state)
{
  struct test_journal *t = *state;

  close_gate (t);
  begin (t);
  push (t, "a");
  await_log (t, "a");
  push (t, "b");
  push (t, "c");
  t = reboot (t);
  t->options.batch_items = 1;
  t->options.flush_interval = 1000; /* of pushes alone */
  begin (t);
  check_log (t, "a| b| c|");
}

static void
start_returns_when_the_first_attempt_has_failed (void **state)
{
  struct test_journal *t = *state;

  t->fail = 2;
  begin (t);
  push (t, "a");
  await_log (t, "a!");
  restart (t);
  check_log (t, "a! a!");
  /* What is pushed then has its place behind it. */
  push (t, "b");
  await_sleep (t);
  check_log (t, "a! a!");
  move_clock (t, 5000);
  await_log (t, "a! a! a| b|");
}

static void
start_does_not_wait_if_it_is_told_so (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter b;

  t->fail = 1;
  begin (t);
  push (t, "a");
  await_log (t, "a!");
  end (t);
  close_gate (t);
  t->options.flags = BLKRING_JOURNAL_NO_WAIT;
  begin (t);
  b = push (t, "b");
  assert_fails (ETIMEDOUT, blkring_journal_sync (t->j, b, 0));
  open_gate (t);
  sync_ok (t, b);
  check_log (t, "a! a| b|");
}

static void
start_on_an_empty_ring_performs_nothing (void **state)
{
  struct test_journal *t = *state;

  begin (t);
  restart (t);
  sync_ok (t, push (t, "a"));
  restart (t);
  check_log (t, "a|");
  assert_int_equal (t->calls, 1);
}

/*---------------------------------------------------------------------*/

static void
without_max_attempts_it_goes_on_for_ever (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter a;
  unsigned i;

  t->options.verdict = decide; /* not asked */
  t->fail = 50;
  t->keeps_no_log = true;
  begin (t);
  a = push (t, "a");
  for (i = 0; i < 50; ++i) {
    await_sleep (t);
    move_clock (t, 5000);
  }
  sync_ok (t, a);
  assert_int_equal (t->calls, 51);
  assert_int_equal (t->verdicts, 0);
}

static void
verdict_retry_goes_on (void **state)
{
  struct test_journal *t = *state;

  t->options.verdict = decide;
  t->options.max_attempts = 2;
  t->verdict = BLKRING_VERDICT_RETRY;
  t->fail = 3;
  begin (t);
  push (t, "a");
  await_log (t, "a!");
  await_sleep (t);
  move_clock (t, 5000);
  await_log (t, "a! a!?a2");
  await_sleep (t);
  move_clock (t, 5000);
  await_log (t, "a! a!?a2 a!?a3");
  await_sleep (t);
  move_clock (t, 5000);
  await_log (t, "a! a!?a2 a!?a3 a|");
}

static char logged[2048];

static void
keep_log (void *opaque, enum blkring_log_level level, const char *message)
{
  (void) opaque;
  if (level == BLKRING_LOG_ERROR)
    strncat (logged, message, sizeof logged - strlen (logged) - 1);
}

static void
verdict_skip_frees_the_item_and_says_so (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter bad, c;

  logged[0] = '\0';
  blkring_device_set_log (t->rd->device, keep_log, NULL);
  t->options.verdict = decide;
  t->options.max_attempts = 1;
  t->verdict = BLKRING_VERDICT_SKIP;
  t->bad = "bad";
  begin (t);
  sync_ok (t, push (t, "a"));
  bad = push (t, "bad");
  sync_ok (t, bad);
  c = push (t, "c");
  sync_ok (t, c);
  check_log (t, "a| bad!?bad1 c|");
  assert_int_equal (items_left (t), 0);
  end (t);
  assert_non_null (strstr (logged, "skipped the item of 3 bytes"));
  assert_non_null (strstr (logged, "failed 1 times"));
}

/* Good items are not lost with a bad one, nor performed out of order. */
static void
a_batch_is_taken_apart_before_an_item_is_skipped (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter e;

  t->options.verdict = decide;
  t->options.max_attempts = 2;
  t->verdict = BLKRING_VERDICT_SKIP;
  begin (t);
  close_gate (t);
  push (t, "a");
  await_log (t, "a");
  push (t, "b");
  push (t, "X");
  push (t, "d");
  pthread_mutex_lock (&t->lock);
  t->bad = "X";
  pthread_mutex_unlock (&t->lock);
  open_gate (t);
  await_log (t, "a| b X d!");
  e = push (t, "e");
  await_sleep (t);
  move_clock (t, 5000);
  await_log (t, "a| b X d! b X d!");
  assert_int_equal (t->verdicts, 0);
  await_sleep (t);
  move_clock (t, 5000);
  await_log (t, "a| b X d! b X d! b| X!");
  await_sleep (t);
  move_clock (t, 5000);
  sync_ok (t, e);
  check_log (t, "a| b X d! b X d! b| X! X!?X2 d| e|");
}

static void
verdict_stop_stops_the_journal_and_keeps_the_item (void **state)
{
  struct test_journal *t = *state;
  struct caller syncer;

  t->options.verdict = decide;
  t->options.max_attempts = 1;
  t->verdict = BLKRING_VERDICT_STOP;
  t->bad = "bad";
  begin (t);
  close_gate (t);
  syncer.waiter = push (t, "bad");
  await_log (t, "bad");
  start_blocked (&syncer, t, call_sync);
  open_gate (t);
  assert_int_equal (join_caller (&syncer), -1);
  assert_int_equal (errno, ECANCELED);
  assert_fails (ECANCELED, try_push (t, "c", 0));
  assert_message ("failed 1 times");
  assert_fails (ECANCELED, blkring_journal_shutdown (t->j, 0));
  assert_message ("failed 1 times");
  check_log (t, "bad!?bad1");
  assert_int_equal (items_left (t), 1);
}

static void
verdict_stop_in_the_replay_fails_start (void **state)
{
  struct test_journal *t = *state;

  t->options.verdict = decide;
  t->options.max_attempts = 2;
  t->verdict = BLKRING_VERDICT_STOP;
  t->bad = "bad";
  begin (t);
  push (t, "bad");
  await_log (t, "bad!");
  end (t);
  t->options.max_attempts = 1;
  assert_no_handle (ECANCELED, blkring_journal_start (t->rd->device,
                                                      &t->options, perform,
                                                      t));
  assert_int_equal (items_left (t), 1);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_BOTH (a_failing_batch_is_tried_again_and_later_items_wait),
    IN_BOTH (the_retry_interval_is_five_seconds),
    IN_BOTH (flush_does_not_cut_the_retry_interval_short),
    IN_BOTH (what_failed_is_replayed_by_the_next_start),
    IN_BOTH (what_failed_is_replayed_after_a_crash),
    IN_BOTH (start_replays_all_that_is_left),
    IN_BOTH (start_returns_when_the_first_attempt_has_failed),
    IN_BOTH (start_does_not_wait_if_it_is_told_so),
    IN_BOTH (start_on_an_empty_ring_performs_nothing),
    IN_BOTH (without_max_attempts_it_goes_on_for_ever),
    IN_BOTH (verdict_retry_goes_on),
    IN_BOTH (verdict_skip_frees_the_item_and_says_so),
    IN_BOTH (a_batch_is_taken_apart_before_an_item_is_skipped),
    IN_BOTH (verdict_stop_stops_the_journal_and_keeps_the_item),
    IN_BOTH (verdict_stop_in_the_replay_fails_start),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
