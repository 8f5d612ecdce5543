/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The journal: pushes of several threads share durable writes.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "journal-fixture.h"

#define THREADS 8
#define ITEMS 50             /* of each thread */

/* One flush at a time is held back until it is let go. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held, let_go;

static void
hold (struct record_device *rd)
{
  (void) rd;
  pthread_mutex_lock (&lock);
  held = true;
  pthread_cond_broadcast (&changed);
  while (!let_go)
    pthread_cond_wait (&changed, &lock);
  pthread_mutex_unlock (&lock);
}

static void
await_hold (void)
{
  pthread_mutex_lock (&lock);
  while (!held)
    pthread_cond_wait (&changed, &lock);
  pthread_mutex_unlock (&lock);
}

static void
release (void)
{
  pthread_mutex_lock (&lock);
  let_go = true;
  pthread_cond_broadcast (&changed);
  pthread_mutex_unlock (&lock);
}

static int
push_text (struct caller *c)
{
  return blkring_journal_push (c->t->j, c->text, strlen (c->text), 0, NULL);
}

static const char *const names[THREADS] = {
  "a", "b", "c", "d", "e", "f", "g", "h",
};

/* One push is in its flush, and the others wait behind it. */
static void
queue_up (struct test_journal *t, struct caller callers[THREADS],
          int (*call) (struct caller *c))
{
  unsigned i;

  held = let_go = false;
  t->options.flush_interval = 1000000; /* nobody else writes */
  begin (t);
  t->rd->behind_flush = hold;
  for (i = 0; i < THREADS; ++i) {
    callers[i].text = names[i];
    if (i == 0) {
      start_caller (&callers[i], t, call);
      await_hold ();
    }
    else
      start_blocked (&callers[i], t, call);
  }
  record_device_forget (t->rd);
}

/* Items were written so often, not pointers or records. */
static unsigned
data_writes (const struct test_journal *t)
{
  const uint64_t begin = t->kind->format == 1 ? 3 * UNIT : 8 * 4096;
  unsigned n = 0;
  size_t i;

  for (i = 0; i < t->rd->nr_log; ++i)
    n += t->rd->log[i].kind == RECORD_WRITE && t->rd->log[i].offset >= begin;
  return n;
}

static void
pushes_that_wait_share_one_append (void **state)
{
  struct test_journal *t = *state;
  struct caller callers[THREADS];
  unsigned i;

  queue_up (t, callers, push_text);
  release ();
  for (i = 0; i < THREADS; ++i)
    assert_ok (join_caller (&callers[i]));
  /* Of format 1 an append is two durable writes, and that of the first push
   * was in the first of them. */
  assert_int_equal (t->rd->flushes, t->kind->format == 1 ? 1 + 2 : 1);
  assert_int_equal (data_writes (t), 1);
  assert_ok (blkring_journal_shutdown (t->j, BLKRING_JOURNAL_DRAIN));
  check_log (t, "a b c d e f g h|");
}

static void
a_group_is_no_larger_than_the_largest_frame (void **state)
{
  struct test_journal *t = *state;
  const struct blkring_create_options create = {
    .flags = BLKRING_CREATE_FORCE, .format = 2, .block_size = UNIT,
    .largest_frame = 2 * UNIT,
  };
  struct caller callers[THREADS];
  unsigned i;

  assert_ok (blkring_create (t->rd->device, &create));
  queue_up (t, callers, call_push);
  release ();
  for (i = 0; i < THREADS; ++i)
    assert_ok (join_caller (&callers[i]));
  /* 7 items, of which 2 fit in a frame. */
  assert_int_equal (data_writes (t), 4);
  assert_ok (blkring_journal_shutdown (t->j, BLKRING_JOURNAL_DRAIN));
  check_log (t, "a b c d e f g h|");
}

/* There is not room for all of the group at once. */
static void
a_group_is_no_larger_than_the_ring (void **state)
{
  struct test_journal *t = *state;
  struct caller callers[THREADS];
  unsigned i;

  queue_up (t, callers, call_push);
  release ();
  for (i = 0; i < THREADS; ++i)
    assert_ok (join_caller (&callers[i]));
  assert_ok (blkring_journal_shutdown (t->j, BLKRING_JOURNAL_DRAIN));
  assert_int_equal (t->items, THREADS);
}

static void
a_failed_append_is_told_to_the_whole_group (void **state)
{
  struct test_journal *t = *state;
  struct caller callers[THREADS];
  unsigned i;

  queue_up (t, callers, push_text);
  record_device_fail (t->rd, RECORD_FLUSH, t->kind->format == 1 ? 1 : 0,
                      EIO);
  release ();
  assert_ok (join_caller (&callers[0]));
  for (i = 1; i < THREADS; ++i) {
    assert_int_equal (join_caller (&callers[i]), -1);
    assert_int_equal (errno, EIO);
  }
  assert_fails (EIO, blkring_journal_shutdown (t->j, 0));
}

/* What does not fit is refused alone. */
static void
one_item_does_not_fail_its_group (void **state)
{
  struct test_journal *t = *state;
  struct caller callers[THREADS];
  static char large[70 * UNIT];
  unsigned i;

  queue_up (t, callers, push_text);
  assert_fails (EMSGSIZE, blkring_journal_push (t->j, large, sizeof large, 0,
                                                NULL));
  release ();
  for (i = 0; i < THREADS; ++i)
    assert_ok (join_caller (&callers[i]));
}

/*---------------------------------------------------------------------*/

struct numbers {
  unsigned thread, index;
};

static unsigned next_index[THREADS];
static bool in_order;

static int
perform_numbers (const struct blkring_item *items, size_t nr, void *opaque)
{
  const struct numbers *n;
  size_t i;

  (void) opaque;
  for (i = 0; i < nr; ++i) {
    n = items[i].data;
    in_order &= items[i].length >= sizeof *n && n->thread < THREADS &&
      n->index == next_index[n->thread]++;
  }
  return 0;
}

static int
push_numbers (struct caller *c)
{
  struct numbers n = { c->waiter, 0 };
  int r = 0;

  for (; n.index < ITEMS && r == 0; ++n.index)
    r = blkring_journal_push (c->t->j, &n, sizeof n, 0, NULL);
  return r;
}

/* Not all the time, and not all of them wait for room. */
static int
push_numbers_now_and_then (struct caller *c)
{
  struct numbers n = { c->waiter, 0 };
  unsigned seed = c->waiter, flags;
  int r = 0;

  while (n.index < ITEMS && r == 0) {
    if (rand_r (&seed) % 3 == 0)
      usleep (rand_r (&seed) % 300);
    flags = rand_r (&seed) % 4 == 0 ? BLKRING_JOURNAL_NONBLOCK : 0;
    r = blkring_journal_push (c->t->j, &n, sizeof n, flags, NULL);
    if (r == 0)
      n.index++;
    else if (flags && errno == EAGAIN)
      r = 0;
  }
  return r;
}

/* A disk: each flush takes a while, and so does the next. */
static void
take_a_while (struct record_device *rd)
{
  const struct timespec a_while = { 0, 500000 };

  nanosleep (&a_while, NULL);
  pthread_mutex_lock (&rd->lock);
  rd->behind_flush = take_a_while;
  pthread_mutex_unlock (&rd->lock);
}

/* The number of durable writes that it took. */
static unsigned
push_from_many (struct test_journal *t, int (*call) (struct caller *c))
{
  struct caller callers[THREADS];
  unsigned i, flushes;

  memset (next_index, 0, sizeof next_index);
  in_order = true;
  t->attach.clock = NULL;
  t->j = blkring_journal_start (t->rd->device, &t->options, perform_numbers,
                                t);
  assert_handle (t->j);
  record_device_forget (t->rd);
  for (i = 0; i < THREADS; ++i) {
    callers[i].waiter = i;
    start_caller (&callers[i], t, call);
  }
  for (i = 0; i < THREADS; ++i)
    assert_ok (join_caller (&callers[i]));
  pthread_mutex_lock (&t->rd->lock);
  flushes = t->rd->flushes;
  pthread_mutex_unlock (&t->rd->lock);
  assert_ok (blkring_journal_shutdown (t->j, BLKRING_JOURNAL_DRAIN));
  assert_true (in_order);
  for (i = 0; i < THREADS; ++i)
    assert_int_equal (next_index[i], ITEMS);
  return flushes;
}

/* In a ring that holds all of it, so that only pushes write.  In format 1
 * an append takes two. */
static void
eight_threads_need_fewer_flushes_than_pushes (void **state)
{
  struct test_journal *t = *state;
  unsigned flushes;

  t->rd->behind_flush = take_a_while;
  t->options.flush_interval = 1000000;
  flushes = push_from_many (t, push_numbers);
  print_message ("# %u flushes for %u pushes\n", flushes, THREADS * ITEMS);
  assert_true (flushes < (t->kind->format == 1 ? 2 : 1) * THREADS * ITEMS / 3);
}

static void
each_thread_keeps_its_order (void **state)
{
  push_from_many (*state, push_numbers);
}

static void
each_thread_keeps_its_order_in_a_small_ring (void **state)
{
  push_from_many (*state, push_numbers);
}

/* Whom a leader expects, and who does not come, holds nobody up. */
static void
pushes_of_threads_that_come_and_go_all_return (void **state)
{
  struct test_journal *t = *state;

  t->rd->behind_flush = take_a_while;
  push_from_many (t, push_numbers_now_and_then);
}

static int
push_a_few (struct caller *c)
{
  unsigned i;
  int r = 0;

  for (i = 0; i < c->waiter && r == 0; ++i)
    r = push_text (c);
  return r;
}

/* Those who push last are not waited for by others, nor wait themselves. */
static void
the_last_pushes_return (void **state)
{
  struct test_journal *t = *state;
  struct caller callers[3];
  unsigned round, i;

  t->attach.clock = NULL;
  t->keeps_no_log = true;
  t->rd->behind_flush = take_a_while;
  begin (t);
  for (round = 0; round < 200; ++round) {
    for (i = 0; i < LENGTH (callers); ++i) {
      callers[i].text = names[i];
      callers[i].waiter = 1 + (round + i) % 3;
      start_caller (&callers[i], t, push_a_few);
    }
    for (i = 0; i < LENGTH (callers); ++i)
      assert_ok (join_caller (&callers[i]));
  }
  end (t);
}

int
main (void)
{
  static struct journal_kind large1 = { .format = 1, .units = 1024 };
  static struct journal_kind large2 = { .format = 2, .units = 1024 };
  const struct CMUnitTest tests[] = {
    IN_BOTH (pushes_that_wait_share_one_append),
    ON_JOURNAL (a_group_is_no_larger_than_the_largest_frame, "format 2",
                &roomy2),
    IN_TIGHT (a_group_is_no_larger_than_the_ring),
    IN_BOTH (a_failed_append_is_told_to_the_whole_group),
    IN_BOTH (one_item_does_not_fail_its_group),
    ON_JOURNAL (eight_threads_need_fewer_flushes_than_pushes, "format 1",
                &large1),
    ON_JOURNAL (eight_threads_need_fewer_flushes_than_pushes, "format 2",
                &large2),
    IN_BOTH (each_thread_keeps_its_order),
    IN_TIGHT (each_thread_keeps_its_order_in_a_small_ring),
    IN_BOTH (pushes_of_threads_that_come_and_go_all_return),
    ON_JOURNAL (pushes_of_threads_that_come_and_go_all_return,
                "format 1, small", &tight1),
    ON_JOURNAL (pushes_of_threads_that_come_and_go_all_return,
                "format 2, small", &tight2),
    IN_BOTH (the_last_pushes_return),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
