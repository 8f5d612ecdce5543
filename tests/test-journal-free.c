/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The journal: when what was performed is freed.  At once, but while a push is
 * under way: then it may wait for what is performed next, within the bounds of
 * one batch and as long as nobody needs it.
 *
 * Each flush takes 1 ms of the fake clock, so that to free takes some.
 */

#include <config.h>

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "journal-fixture.h"

#define A_WHILE 3            /* ms: the thread rests no longer, and does not
                                free for that long */
#define PATIENCE 60          /* seconds, before a test gives up */
#define LONG 100             /* ms: it does not put off freeing so long */

static struct test_journal *subject;
static _Thread_local bool holds; /* this thread's flush is held back */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held, let_go, gave_up;

static void
take_time (struct record_device *rd)
{
  struct timespec until;
  int r = 0;

  move_clock (subject, 1);
  pthread_mutex_lock (&rd->lock);
  rd->behind_flush = take_time;
  pthread_mutex_unlock (&rd->lock);
  if (!holds)
    return;
  holds = false;
  /* A test that has failed lets nobody go. */
  clock_gettime (CLOCK_REALTIME, &until);
  until.tv_sec += 2 * PATIENCE;
  pthread_mutex_lock (&lock);
  held = true;
  pthread_cond_broadcast (&changed);
  while (!let_go && r == 0)
    r = pthread_cond_timedwait (&changed, &lock, &until);
  gave_up |= r != 0;
  pthread_mutex_unlock (&lock);
}

/* A push is under way from when this returns until release. */
static int
push_held (struct caller *c)
{
  holds = true;
  return blkring_journal_push (c->t->j, c->text, strlen (c->text), 0, NULL);
}

static void
start_held (struct caller *c, struct test_journal *t)
{
  held = let_go = false;
  start_caller (c, t, push_held);
  pthread_mutex_lock (&lock);
  while (!held)
    pthread_cond_wait (&changed, &lock);
  pthread_mutex_unlock (&lock);
}

static void
release (struct caller *c)
{
  pthread_mutex_lock (&lock);
  let_go = true;
  pthread_cond_broadcast (&changed);
  assert_false (gave_up);
  pthread_mutex_unlock (&lock);
  assert_ok (join_caller (c));
}

static blkring_position
consumer_position (struct test_journal *t)
{
  struct blkring_info info;

  assert_ok (blkring_inspect (t->rd->device, NULL, &info));
  return info.consumer;
}

/* Something is freed that was not when the position was this. */
static void
await_free (struct test_journal *t, blkring_position before)
{
  const time_t began = time (NULL);

  while (consumer_position (t) == before) {
    assert_true (time (NULL) - began < PATIENCE);
    usleep (100);
  }
}

/* a is performed and freed, so that the journal knows what that costs, and
 * perform sits in b, which is stored. */
static blkring_journal_waiter
sit_in_b (struct test_journal *t)
{
  blkring_journal_waiter b;

  subject = t;
  t->rd->behind_flush = take_time;
  t->options.retry_interval = 1000000;
  begin (t);
  sync_ok (t, push (t, "a"));
  close_gate (t);
  b = push (t, "b");
  await_log (t, "a| b");
  return b;
}

/* And then b is performed, while a push is under way. */
static blkring_journal_waiter
perform_b (struct test_journal *t, struct caller *pusher,
           blkring_position *position)
{
  const blkring_journal_waiter b = sit_in_b (t);

  *position = consumer_position (t);
  start_held (pusher, t);
  open_gate (t);
  await_log (t, "a| b|");
  return b;
}

/* A test that has failed may have left somebody. */
static int
let_go_and_teardown (void **state)
{
  pthread_mutex_lock (&lock);
  let_go = true;
  pthread_cond_broadcast (&changed);
  pthread_mutex_unlock (&lock);
  return teardown_journal (state);
}

#undef ON_JOURNAL
#define ON_JOURNAL(function, text, kind) \
  { #function " (" text ")", function, setup_journal, let_go_and_teardown, \
    kind }

/*---------------------------------------------------------------------*/

static void
without_pushes_it_is_freed_at_once (void **state)
{
  struct test_journal *t = *state;
  blkring_position before;

  sit_in_b (t);
  before = consumer_position (t);
  open_gate (t);
  await_free (t, before);
  assert_int_equal (items_left (t), 0);
}

static void
while_a_push_is_under_way_it_is_put_off (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "c" };
  blkring_position before;

  perform_b (t, &pusher, &before);
  await_sleep (t);
  move_clock (t, A_WHILE);
  await_sleep (t);
  assert_int_equal (consumer_position (t), before);
  release (&pusher);
  await_free (t, before);
  await_log (t, "a| b| c|");
}

static void
it_is_not_put_off_for_long (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "c" };
  blkring_position before;

  perform_b (t, &pusher, &before);
  await_sleep (t);
  assert_int_equal (consumer_position (t), before);
  move_clock (t, LONG);
  await_free (t, before);
  release (&pusher);
}

/* However slow the disk is. */
static void
it_is_put_off_for_the_poll_interval_at_most (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "c" };
  blkring_position before;

  t->attach.poll_interval = 10;
  perform_b (t, &pusher, &before);
  await_sleep (t);
  assert_int_equal (consumer_position (t), before);
  move_clock (t, 10);
  await_free (t, before);
  release (&pusher);
}

static void
sync_has_it_freed_at_once (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "c" };
  blkring_position before;
  blkring_journal_waiter b = perform_b (t, &pusher, &before);

  await_sleep (t);
  sync_ok (t, b);
  assert_true (consumer_position (t) != before);
  release (&pusher);
}

/* What is stored meanwhile has to wait for the rest that the thread takes
 * instead of freeing, unless somebody waits for it. */
static void
sync_ends_the_rest (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "d" };
  blkring_journal_waiter c;

  sit_in_b (t);
  c = push (t, "c");
  start_held (&pusher, t);
  open_gate (t);
  await_log (t, "a| b|");
  await_sleep (t);
  check_log (t, "a| b|");
  sync_ok (t, c);
  check_log (t, "a| b| c|");
  release (&pusher);
}

static void
a_rest_ends_by_itself (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "d" };
  blkring_position before;

  sit_in_b (t);
  before = consumer_position (t);
  push (t, "c");
  start_held (&pusher, t);
  open_gate (t);
  await_log (t, "a| b|");
  await_sleep (t);
  move_clock (t, A_WHILE);
  await_log (t, "a| b| c|");
  await_sleep (t);
  assert_int_equal (consumer_position (t), before);
  release (&pusher);
}

/* So that it is not performed again with each attempt at the next one. */
static void
what_fails_has_what_is_before_it_freed (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "d" };
  blkring_position before;

  t->bad = "c";
  sit_in_b (t);
  before = consumer_position (t);
  push (t, "c");
  start_held (&pusher, t);
  open_gate (t);
  await_log (t, "a| b|");
  await_sleep (t);
  assert_int_equal (consumer_position (t), before);
  move_clock (t, A_WHILE);
  await_log (t, "a| b| c!");
  await_free (t, before);
  t = reboot (t);
  begin (t);
  assert_false (log_has (t, "b"));
  release (&pusher);
}

/* After a crash no more is performed again than a batch may have. */
static void
a_batch_that_is_full_is_not_put_off (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "d" };
  blkring_position before;

  t->options.batch_items = 2;
  sit_in_b (t);
  before = consumer_position (t);
  push (t, "c");
  start_held (&pusher, t);
  open_gate (t);
  await_log (t, "a| b|");
  await_sleep (t);
  assert_int_equal (consumer_position (t), before);
  move_clock (t, A_WHILE);
  await_log (t, "a| b| c|");
  await_free (t, before);
  release (&pusher);
}

static void
an_item_that_does_not_go_with_it_waits_until_it_is_freed (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "d" };
  blkring_position before;

  t->options.batch_bytes = 32; /* b has 16 in there */
  sit_in_b (t);
  before = consumer_position (t);
  push (t, "ccccccccccccccccc");
  start_held (&pusher, t);
  open_gate (t);
  await_log (t, "a| b|");
  await_sleep (t);
  assert_int_equal (consumer_position (t), before);
  t->rd->behind_flush = NULL;
  close_gate (t);
  move_clock (t, A_WHILE);
  await_log (t, "a| b| ccccccccccccccccc");
  assert_true (consumer_position (t) != before);
  open_gate (t);
  release (&pusher);
}

static void
with_single_items_each_is_freed_before_the_next (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "c" };
  blkring_position before;

  t->options.batch_items = 1;
  perform_b (t, &pusher, &before);
  await_free (t, before);
  release (&pusher);
}

static void
space_that_is_short_is_not_held_back (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "c" };
  blkring_position before;

  subject = t;
  t->rd->behind_flush = take_time;
  begin (t);
  sync_ok (t, push (t, "a"));
  close_gate (t);
  assert_ok (push_unit (t, "b", 0));
  await_log (t, "a| b");
  before = consumer_position (t);
  start_held (&pusher, t);
  open_gate (t);
  await_free (t, before);
  release (&pusher);
}

static void
a_push_that_waits_for_room_has_it_freed (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "x" };

  sit_in_b (t);
  t->rd->behind_flush = NULL; /* no time passes */
  fill (t);
  start_blocked (&pusher, t, call_push);
  await_sleep (t);
  open_gate (t);
  assert_ok (join_caller (&pusher));
}

static void
what_was_put_off_is_performed_again_after_a_crash (void **state)
{
  struct test_journal *t = *state, *rebooted;
  struct caller pusher = { .text = "c" };
  blkring_position before;

  perform_b (t, &pusher, &before);
  await_sleep (t);
  rebooted = reboot (t);
  begin (rebooted);
  assert_int_equal (strncmp (rebooted->log, "b", 1), 0);
  release (&pusher);
}

static void
shutdown_frees_what_was_put_off (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "c" }, stopper;
  blkring_position before;

  perform_b (t, &pusher, &before);
  await_sleep (t);
  start_caller (&stopper, t, call_shutdown);
  await_free (t, before);
  release (&pusher);
  assert_ok (join_caller (&stopper));
  assert_int_equal (items_left (t), log_has (t, "c|") ? 0 : 1);
}

static blkring_journal_waiter inside;

static void
sync_inside (struct test_journal *t)
{
  t->in_perform = NULL;
  t->result = blkring_journal_sync (t->j, inside, -1);
}

/* That cannot wait until perform returns. */
static void
sync_in_perform_frees_what_was_put_off (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "d" };
  blkring_position before;

  inside = sit_in_b (t);
  before = consumer_position (t);
  push (t, "c");
  start_held (&pusher, t);
  open_gate (t);
  await_log (t, "a| b|");
  await_sleep (t);
  assert_int_equal (consumer_position (t), before);
  t->result = -1;
  t->in_perform = sync_inside;
  move_clock (t, A_WHILE);
  await_log (t, "a| b| c|");
  assert_int_equal (t->result, 0);
  assert_true (consumer_position (t) != before);
  release (&pusher);
}

static void
sync_inside_fails (struct test_journal *t)
{
  t->in_perform = NULL;
  record_device_fail (t->rd, RECORD_FLUSH, 0, EIO);
  t->result = blkring_journal_sync (t->j, inside, -1);
  t->error = errno;
}

/* Its caller hears of it, and so does everybody after that. */
static void
sync_in_perform_fails (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "d" };

  inside = sit_in_b (t);
  push (t, "c");
  start_held (&pusher, t);
  open_gate (t);
  await_log (t, "a| b|");
  await_sleep (t);
  t->result = 0;
  t->in_perform = sync_inside_fails;
  move_clock (t, A_WHILE);
  await_log (t, "a| b| c|");
  release (&pusher);
  assert_int_equal (t->result, -1);
  assert_int_equal (t->error, EIO);
  assert_fails (EIO, try_push (t, "e", 0));
  assert_fails (EIO, blkring_journal_shutdown (t->j, 0));
}

/* An attempt fails, and then so does the freeing of what went well before. */
static void
fail_to_free (struct test_journal *t)
{
  t->in_perform = NULL;
  record_device_fail (t->rd, RECORD_FLUSH, 0, EIO);
}

static void
to_free_behind_a_failed_attempt_fails (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "d" };
  blkring_journal_waiter c;

  t->bad = "c";
  sit_in_b (t);
  c = push (t, "c");
  start_held (&pusher, t);
  open_gate (t);
  await_log (t, "a| b|");
  await_sleep (t);
  t->in_perform = fail_to_free;
  move_clock (t, A_WHILE);
  await_log (t, "a| b| c!");
  assert_fails (EIO, blkring_journal_sync (t->j, c, -1));
  release (&pusher);
  assert_fails (EIO, blkring_journal_shutdown (t->j, BLKRING_JOURNAL_DRAIN));
  check_log (t, "a| b| c!");
}

static void
to_free_what_was_put_off_fails (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "c" };
  blkring_position before;
  blkring_journal_waiter b = perform_b (t, &pusher, &before);

  await_sleep (t);
  record_device_fail (t->rd, RECORD_FLUSH, 0, EIO);
  assert_fails (EIO, blkring_journal_sync (t->j, b, -1));
  assert_fails (EIO, try_push (t, "x", 0));
  release (&pusher);
  assert_fails (EIO, blkring_journal_shutdown (t->j, 0));
}

int
main (void)
{
  static struct journal_kind short1 = { .format = 1, .units = 3 };
  static struct journal_kind short2 = { .format = 2, .units = 3 };
  const struct CMUnitTest tests[] = {
    IN_BOTH (without_pushes_it_is_freed_at_once),
    IN_BOTH (while_a_push_is_under_way_it_is_put_off),
    IN_BOTH (it_is_not_put_off_for_long),
    IN_BOTH (it_is_put_off_for_the_poll_interval_at_most),
    IN_BOTH (sync_has_it_freed_at_once),
    IN_BOTH (sync_ends_the_rest),
    IN_BOTH (a_rest_ends_by_itself),
    IN_BOTH (what_fails_has_what_is_before_it_freed),
    IN_BOTH (a_batch_that_is_full_is_not_put_off),
    IN_BOTH (an_item_that_does_not_go_with_it_waits_until_it_is_freed),
    IN_BOTH (with_single_items_each_is_freed_before_the_next),
    ON_JOURNAL (space_that_is_short_is_not_held_back, "format 1", &short1),
    ON_JOURNAL (space_that_is_short_is_not_held_back, "format 2", &short2),
    IN_BOTH (a_push_that_waits_for_room_has_it_freed),
    IN_BOTH (what_was_put_off_is_performed_again_after_a_crash),
    IN_BOTH (shutdown_frees_what_was_put_off),
    IN_BOTH (sync_in_perform_frees_what_was_put_off),
    IN_BOTH (sync_in_perform_fails),
    IN_BOTH (to_free_behind_a_failed_attempt_fails),
    IN_BOTH (to_free_what_was_put_off_fails),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
