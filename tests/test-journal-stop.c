/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The journal: shutdown, with and without a drain.
 */

#include <config.h>

#include <string.h>

#include "journal-fixture.h"

static void
shutdown_waits_for_the_perform_that_runs (void **state)
{
  struct test_journal *t = *state;
  struct caller stopper;

  close_gate (t);
  begin (t);
  push (t, "a");
  await_log (t, "a");
  push (t, "b");
  start_blocked (&stopper, t, call_shutdown);
  check_log (t, "a");
  open_gate (t);
  assert_ok (join_caller (&stopper));
  check_log (t, "a|");
  assert_int_equal (items_left (t), 1);
}

static void
what_shutdown_leaves_is_replayed (void **state)
{
  struct test_journal *t = *state;
  struct caller stopper;

  close_gate (t);
  begin (t);
  push (t, "a");
  await_log (t, "a");
  push (t, "b");
  push (t, "c");
  start_blocked (&stopper, t, call_shutdown);
  open_gate (t);
  assert_ok (join_caller (&stopper));
  blkring_journal_free (t->j);
  begin (t);
  check_log (t, "a| b c|");
}

static void
shutdown_ends_a_pending_sync (void **state)
{
  struct test_journal *t = *state;
  struct caller stopper, syncers[2];
  blkring_journal_waiter a;

  close_gate (t);
  begin (t);
  a = push (t, "a");
  await_log (t, "a");
  syncers[0].waiter = a;
  syncers[1].waiter = push (t, "b");
  start_blocked (&syncers[0], t, call_sync);
  start_blocked (&syncers[1], t, call_sync);
  start_caller (&stopper, t, call_shutdown);
  /* While perform still runs. */
  assert_int_equal (join_caller (&syncers[0]), -1);
  assert_int_equal (errno, ECANCELED);
  assert_int_equal (join_caller (&syncers[1]), -1);
  assert_int_equal (errno, ECANCELED);
  open_gate (t);
  assert_ok (join_caller (&stopper));
  assert_ok (blkring_journal_sync (t->j, a, -1));
  assert_fails (ECANCELED,
                blkring_journal_sync (t->j, syncers[1].waiter, -1));
  assert_fails (ECANCELED,
                blkring_journal_flush (t->j, syncers[1].waiter));
}

static void
shutdown_ends_a_blocked_push (void **state)
{
  struct test_journal *t = *state;
  struct caller stopper, pushers[3] = {
    { .text = "x" }, { .text = "y" }, { .text = "z" },
  };
  uint64_t left;
  unsigned i;

  close_gate (t);
  begin (t);
  fill (t);
  left = items_left (t);
  for (i = 0; i < LENGTH (pushers); ++i)
    start_blocked (&pushers[i], t, call_push);
  start_caller (&stopper, t, call_shutdown);
  /* While perform still runs. */
  for (i = 0; i < LENGTH (pushers); ++i) {
    assert_int_equal (join_caller (&pushers[i]), -1);
    assert_int_equal (errno, ECANCELED);
  }
  assert_int_equal (items_left (t), left);
  open_gate (t);
  assert_ok (join_caller (&stopper));
}

static void
shutdown_does_not_wait_for_a_retry (void **state)
{
  struct test_journal *t = *state;

  t->fail = 1;
  begin (t);
  push (t, "a");
  await_log (t, "a!");
  await_sleep (t);
  assert_ok (blkring_journal_shutdown (t->j, 0));
  check_log (t, "a!");
  assert_int_equal (items_left (t), 1);
}

static void
several_threads_can_shut_down_at_once (void **state)
{
  struct test_journal *t = *state;
  struct caller stoppers[3];
  unsigned i;

  close_gate (t);
  begin (t);
  push (t, "a");
  await_log (t, "a");
  for (i = 0; i < LENGTH (stoppers); ++i)
    start_blocked (&stoppers[i], t, call_shutdown);
  open_gate (t);
  for (i = 0; i < LENGTH (stoppers); ++i)
    assert_ok (join_caller (&stoppers[i]));
  assert_ok (blkring_journal_shutdown (t->j, 0));
}

/* One thread is detaching when another comes. */
static struct test_journal *detaching;
static struct caller second;
static atomic_bool second_is_done;

static int
call_shutdown_too (struct caller *c)
{
  const int r = call_shutdown (c);

  second_is_done = true;
  return r;
}

static void
shut_down_too (struct record_device *rd)
{
  (void) rd;
  start_blocked (&second, detaching, call_shutdown_too);
  assert_false (second_is_done);
}

static void
shutdown_waits_for_one_that_detaches (void **state)
{
  struct test_journal *t = *state;

  begin (t);
  sync_ok (t, push (t, "a"));
  detaching = t;
  t->rd->behind_flush = shut_down_too;
  assert_ok (blkring_journal_shutdown (t->j, 0));
  assert_null (t->rd->behind_flush);
  assert_ok (join_caller (&second));
}

static void
free_shuts_down (void **state)
{
  struct test_journal *t = *state;

  begin (t);
  sync_ok (t, push (t, "a"));
  blkring_journal_free (t->j);
  begin (t);                 /* nobody is attached any more */
  check_log (t, "a|");
}

/*---------------------------------------------------------------------*/

static void
a_drain_performs_what_is_left (void **state)
{
  struct test_journal *t = *state;
  struct caller stopper, syncer;

  t->options.batch_items = 1;
  close_gate (t);
  begin (t);
  push (t, "a");
  await_log (t, "a");
  push (t, "b");
  syncer.waiter = push (t, "c");
  start_blocked (&syncer, t, call_sync);
  start_blocked (&stopper, t, call_drain);
  assert_fails (ECANCELED, try_push (t, "d", 0));
  open_gate (t);
  assert_ok (join_caller (&stopper));
  assert_ok (join_caller (&syncer));
  check_log (t, "a| b| c|");
  assert_int_equal (items_left (t), 0);
}

static void
a_drain_cancels_a_blocked_push (void **state)
{
  struct test_journal *t = *state;
  struct caller stopper, pusher = { .text = "x" };

  close_gate (t);
  begin (t);
  fill (t);
  start_blocked (&pusher, t, call_push);
  start_caller (&stopper, t, call_drain);
  assert_int_equal (join_caller (&pusher), -1);
  assert_int_equal (errno, ECANCELED);
  open_gate (t);
  assert_ok (join_caller (&stopper));
  assert_false (log_has (t, "x"));
  assert_int_equal (items_left (t), 0);
}

static void
a_drain_ends_when_an_attempt_fails (void **state)
{
  struct test_journal *t = *state;
  struct caller stopper;

  t->options.batch_items = 1;
  t->bad = "b";
  close_gate (t);
  begin (t);
  push (t, "a");
  await_log (t, "a");
  push (t, "b");
  push (t, "c");
  start_blocked (&stopper, t, call_drain);
  open_gate (t);
  assert_int_equal (join_caller (&stopper), -1);
  assert_int_equal (errno, EAGAIN);
  check_log (t, "a| b!");
  assert_int_equal (items_left (t), 2);
  assert_fails (EAGAIN, blkring_journal_shutdown (t->j, 0));
}

static void
a_drain_makes_the_attempt_that_was_waited_for (void **state)
{
  struct test_journal *t = *state;

  t->fail = 1;
  begin (t);
  push (t, "a");
  await_log (t, "a!");
  push (t, "b");
  await_sleep (t);
  assert_ok (blkring_journal_shutdown (t->j, BLKRING_JOURNAL_DRAIN));
  check_log (t, "a! a| b|");
  assert_int_equal (items_left (t), 0);
}

static void
a_drain_skips_what_the_verdict_says (void **state)
{
  struct test_journal *t = *state;

  t->options.batch_items = 1;
  t->options.flush_interval = 1000;
  t->options.max_attempts = 1;
  t->options.verdict = decide;
  t->verdict = BLKRING_VERDICT_SKIP;
  t->bad = "X";
  begin (t);
  push (t, "a");
  push (t, "X");
  push (t, "b");
  assert_ok (blkring_journal_shutdown (t->j, BLKRING_JOURNAL_DRAIN));
  check_log (t, "a| X!?X1 b|");
  assert_int_equal (items_left (t), 0);
}

static void
shutdown_cuts_a_drain_short (void **state)
{
  struct test_journal *t = *state;
  struct caller drainer, stopper;

  t->options.batch_items = 1;
  close_gate (t);
  begin (t);
  push (t, "a");
  await_log (t, "a");
  push (t, "b");
  start_blocked (&drainer, t, call_drain);
  start_blocked (&stopper, t, call_shutdown);
  open_gate (t);
  assert_int_equal (join_caller (&drainer), -1);
  assert_int_equal (errno, EAGAIN);
  assert_int_equal (join_caller (&stopper), -1);
  assert_int_equal (errno, EAGAIN);
  check_log (t, "a|");
  assert_int_equal (items_left (t), 1);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_BOTH (shutdown_waits_for_the_perform_that_runs),
    IN_BOTH (what_shutdown_leaves_is_replayed),
    IN_BOTH (shutdown_ends_a_pending_sync),
    IN_TIGHT (shutdown_ends_a_blocked_push),
    IN_BOTH (shutdown_does_not_wait_for_a_retry),
    IN_BOTH (several_threads_can_shut_down_at_once),
    ON_JOURNAL (shutdown_waits_for_one_that_detaches, "format 2", &roomy2),
    IN_BOTH (free_shuts_down),
    IN_BOTH (a_drain_performs_what_is_left),
    IN_TIGHT (a_drain_cancels_a_blocked_push),
    IN_BOTH (a_drain_ends_when_an_attempt_fails),
    IN_BOTH (a_drain_makes_the_attempt_that_was_waited_for),
    IN_BOTH (a_drain_skips_what_the_verdict_says),
    IN_BOTH (shutdown_cuts_a_drain_short),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
