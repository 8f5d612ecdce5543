/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The journal: how long an item waits for others, and how large a batch
 * gets.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal-fixture.h"

static void
without_an_interval_items_are_performed_at_once (void **state)
{
  struct test_journal *t = *state;

  begin (t);
  sync_ok (t, push (t, "a"));
  sync_ok (t, push (t, "b"));
  check_log (t, "a| b|");
}

static void
items_of_an_interval_are_one_batch (void **state)
{
  struct test_journal *t = *state;
  unsigned i;

  t->options.flush_interval = 1000;
  begin (t);
  for (i = 0; i < 2; ++i) {
    push (t, "a");
    await_sleep (t);
    move_clock (t, 600);
    push (t, "b");
    await_sleep (t);
    move_clock (t, 399);
    push (t, "c");
    await_sleep (t);
    check_log (t, i == 0 ? "" : "a b c|");
    move_clock (t, 1);
    await_log (t, i == 0 ? "a b c|" : "a b c| a b c|");
  }
}

/* The interval is that of the first item that waits. */
static void
steady_pushing_does_not_put_it_off (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter waiter = 0;
  unsigned i;

  t->options.flush_interval = 1000;
  t->keeps_no_log = true;
  begin (t);
  for (i = 0; i < 25; ++i) {
    if (i % 10 == 0 && i > 0)
      sync_ok (t, waiter);
    waiter = push (t, "a");
    await_sleep (t);
    move_clock (t, 100);
  }
  assert_int_equal (t->calls, 2);
  assert_int_equal (t->items, 20);
}

/* Those that come while a batch is performed have an interval of their own. */
static void
the_interval_of_later_items_begins_with_them (void **state)
{
  struct test_journal *t = *state;

  t->options.flush_interval = 1000;
  begin (t);
  close_gate (t);
  push (t, "a");
  await_sleep (t);
  move_clock (t, 1000);
  await_log (t, "a");
  move_clock (t, 500);
  push (t, "b");
  move_clock (t, 700);
  open_gate (t);
  await_log (t, "a|");
  await_sleep (t);
  check_log (t, "a|");
  move_clock (t, 299);
  await_sleep (t);
  check_log (t, "a|");
  move_clock (t, 1);
  await_log (t, "a| b|");
}

static void
flush_ends_the_interval (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter b;

  t->options.flush_interval = 1000;
  begin (t);
  push (t, "a");
  b = push (t, "b");
  await_sleep (t);
  check_log (t, "");
  assert_ok (blkring_journal_flush (t->j, b));
  sync_ok (t, b);
  check_log (t, "a b|");
  /* Of what is done already: nothing else is hurried by that. */
  push (t, "c");
  assert_ok (blkring_journal_flush (t->j, b));
  await_sleep (t);
  check_log (t, "a b|");
}

static void
a_full_ring_ends_the_interval (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter waiter = 0;
  char item[UNIT_ITEM] = "x";
  unsigned i;

  t->options.flush_interval = 1000000;
  begin (t);
  for (i = 0; i < 100; ++i)
    assert_ok (blkring_journal_push (t->j, item, sizeof item, 0, &waiter));
  assert_fails (ETIMEDOUT, blkring_journal_sync (t->j, waiter, 0));
  assert_true (t->items >= 90);
}

static void
a_nonblocking_push_into_a_full_ring_ends_the_interval (void **state)
{
  struct test_journal *t = *state;

  t->options.flush_interval = 1000000;
  begin (t);
  fill (t);
  while (push_unit (t, "x", BLKRING_JOURNAL_NONBLOCK) == -1)
    assert_int_equal (errno, EAGAIN);
}

static void
shutdown_does_not_wait_for_the_interval (void **state)
{
  struct test_journal *t = *state;

  t->options.flush_interval = 1000000;
  begin (t);
  push (t, "a");
  await_sleep (t);
  assert_ok (blkring_journal_shutdown (t->j, 0));
  check_log (t, "");
  assert_int_equal (items_left (t), 1);
}

static void
a_drain_does_not_wait_for_the_interval (void **state)
{
  struct test_journal *t = *state;

  t->options.flush_interval = 1000000;
  begin (t);
  push (t, "a");
  push (t, "b");
  await_sleep (t);
  assert_ok (blkring_journal_shutdown (t->j, BLKRING_JOURNAL_DRAIN));
  check_log (t, "a b|");
  assert_int_equal (items_left (t), 0);
}

/* In the system's clock: no test of how long it is. */
static void
the_interval_passes_in_real_time (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter b;

  t->attach.clock = NULL;
  t->options.flush_interval = 30;
  t->options.retry_interval = 1;
  t->fail = 1;
  begin (t);
  push (t, "a");
  b = push (t, "b");
  assert_fails (ETIMEDOUT, blkring_journal_sync (t->j, b, 1));
  assert_ok (blkring_journal_sync (t->j, b, 60000));
  assert_true (log_has (t, "b!"));
}

static int
call_sync_for_a_second (struct caller *c)
{
  return blkring_journal_sync (c->t->j, c->waiter, 1000);
}

static void
sync_times_out (void **state)
{
  struct test_journal *t = *state;
  struct caller syncer;
  blkring_journal_waiter a;

  t->options.flush_interval = 5000;
  begin (t);
  a = push (t, "a");
  assert_fails (ETIMEDOUT, blkring_journal_sync (t->j, a, 0));
  syncer.waiter = a;
  start_blocked (&syncer, t, call_sync_for_a_second);
  move_clock (t, 999);
  await_sleep (t);
  move_clock (t, 1);
  assert_int_equal (join_caller (&syncer), -1);
  assert_int_equal (errno, ETIMEDOUT);
  check_log (t, "");
  start_blocked (&syncer, t, call_sync);
  move_clock (t, 4000);
  assert_ok (join_caller (&syncer));
}

/*---------------------------------------------------------------------*/

static void
a_batch_has_at_most_so_many_items (void **state)
{
  struct test_journal *t = *state;

  t->options.flush_interval = 1000;
  t->options.batch_items = 2;
  begin (t);
  push (t, "a");
  push (t, "b");
  push (t, "c");
  push (t, "d");
  push (t, "e");
  await_sleep (t);
  move_clock (t, 1000);
  await_log (t, "a b| c d| e|");
}

static void
a_batch_has_at_most_so_many_bytes (void **state)
{
  struct test_journal *t = *state;

  t->options.flush_interval = 1000;
  t->options.batch_bytes = 40;
  begin (t);
  push (t, "aaaaaaaaaaaaaaaa");
  push (t, "bbbbbbbbbbbbbbbb");
  push (t, "cccccccccccccccc");
  /* More than a batch may have: alone. */
  push (t, "dddddddddddddddddddddddddddddddddddddddddddddddd");
  push (t, "e");
  push (t, "f");
  await_sleep (t);
  move_clock (t, 1000);
  await_log (t, "aaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbb| cccccccccccccccc| "
             "dddddddddddddddddddddddddddddddddddddddd| e f|");
}

/* More than what a consumer gives at once. */
static void
a_batch_gathers_all_that_waits (void **state)
{
  struct test_journal *t = *state;
  unsigned i;

  t->options.flush_interval = 1000;
  t->keeps_no_log = true;
  begin (t);
  for (i = 0; i < 60; ++i)
    push (t, "item");
  await_sleep (t);
  move_clock (t, 1000);
  sync_ok (t, 60);
  assert_int_equal (t->items, 60);
  assert_int_equal (t->calls, 1);
}

static void
a_batch_is_bounded_without_options (void **state)
{
  struct test_journal *t = *state;
  char item[4096] = "";
  blkring_journal_waiter waiter = 0;
  struct blkring_create_options create = {
    .format = t->kind->format, .flags = BLKRING_CREATE_FORCE,
  };
  unsigned i;
  blkring_device *large = blkring_device_memory (16 << 20, 512);

  assert_handle (large);
  assert_ok (blkring_create (large, &create));
  t->options.flush_interval = 1000;
  t->keeps_no_log = true;
  t->j = blkring_journal_start (large, &t->options, perform, t);
  assert_handle (t->j);
  for (i = 0; i < 1500; ++i)
    assert_ok (blkring_journal_push (t->j, item, 1, 0, &waiter));
  assert_ok (blkring_journal_flush (t->j, waiter));
  sync_ok (t, waiter);
  assert_int_equal (t->calls, 2);
  for (i = 0; i < 300; ++i)
    assert_ok (blkring_journal_push (t->j, item, sizeof item, 0, &waiter));
  assert_ok (blkring_journal_flush (t->j, waiter));
  sync_ok (t, waiter);
  assert_int_equal (t->calls, 4);
  assert_ok (blkring_journal_shutdown (t->j, 0));
  blkring_journal_free (t->j);
  t->j = NULL;
  blkring_device_close (large);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_BOTH (without_an_interval_items_are_performed_at_once),
    IN_BOTH (items_of_an_interval_are_one_batch),
    IN_BOTH (steady_pushing_does_not_put_it_off),
    IN_BOTH (the_interval_of_later_items_begins_with_them),
    IN_BOTH (flush_ends_the_interval),
    IN_TIGHT (a_full_ring_ends_the_interval),
    IN_TIGHT (a_nonblocking_push_into_a_full_ring_ends_the_interval),
    IN_BOTH (shutdown_does_not_wait_for_the_interval),
    IN_BOTH (a_drain_does_not_wait_for_the_interval),
    IN_BOTH (the_interval_passes_in_real_time),
    IN_BOTH (sync_times_out),
    IN_BOTH (a_batch_has_at_most_so_many_items),
    IN_BOTH (a_batch_has_at_most_so_many_bytes),
    IN_BOTH (a_batch_gathers_all_that_waits),
    IN_BOTH (a_batch_is_bounded_without_options),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
