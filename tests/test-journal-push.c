/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The journal: what is pushed is performed, in order, and durable before
 * that.
 */

#include <config.h>

#include <string.h>

#include "journal-fixture.h"

static void
pushed_items_are_performed_in_order (void **state)
{
  struct test_journal *t = *state;

  begin (t);
  sync_ok (t, push (t, "a"));
  check_log (t, "a|");
  close_gate (t);
  push (t, "b");
  await_log (t, "a| b");
  push (t, "c");
  push (t, "d");
  open_gate (t);
  sync_ok (t, push (t, "e"));
  assert_true (log_has (t, "a| b| c d e|") || log_has (t, "a| b| c d| e|"));
  end (t);
}

static void
what_was_synced_is_freed (void **state)
{
  struct test_journal *t = *state;

  begin (t);
  sync_ok (t, push (t, "a"));
  assert_int_equal (items_left (t), 0);
  t = reboot (t);
  begin (t);
  check_log (t, "");
}

static void
sync_waits_for_its_own_item_alone (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter a, b;

  t->options.batch_items = 1;
  begin (t);
  close_gate (t);
  a = push (t, "a");
  b = push (t, "b");
  await_log (t, "a");
  assert_fails (ETIMEDOUT, blkring_journal_sync (t->j, a, 0));
  open_gate (t);
  sync_ok (t, a);
  close_gate (t);
  sync_ok (t, a);
  assert_ok (blkring_journal_sync (t->j, a, 0));
  open_gate (t);
  sync_ok (t, b);
  check_log (t, "a| b|");
}

static void
a_push_that_returned_survives_a_crash (void **state)
{
  struct test_journal *t = *state;

  begin (t);
  close_gate (t);
  push (t, "a");
  await_log (t, "a");
  push (t, "b");
  t = reboot (t);
  begin (t);
  check_log (t, "a b|");
  assert_int_equal (items_left (t), 0);
}

static void
an_item_that_fits_never_is_refused (void **state)
{
  struct test_journal *t = *state;
  static char large[70 * UNIT];
  struct blkring_info info;
  blkring_journal_waiter waiter;

  memset (large, 'x', sizeof large);
  assert_ok (blkring_inspect (t->rd->device, NULL, &info));
  begin (t);
  assert_fails (EMSGSIZE, blkring_journal_push (t->j, large, sizeof large, 0,
                                                NULL));
  assert_fails (EMSGSIZE,
                blkring_journal_push (t->j, large, info.largest_item + 1,
                                      0, NULL));
  assert_message ("largest");
  assert_int_equal (t->calls, 0);
  assert_ok (blkring_journal_push (t->j, large, info.largest_item, 0,
                                   &waiter));
  sync_ok (t, waiter);
  sync_ok (t, push (t, "a"));
  check_log (t, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx| a|");
}

static void
the_largest_item_of_attach_holds (void **state)
{
  struct test_journal *t = *state;

  t->attach.largest_item = 3;
  begin (t);
  assert_fails (EMSGSIZE, try_push (t, "long", 0));
  sync_ok (t, push (t, "abc"));
  check_log (t, "abc|");
}

static void
an_empty_item_is_performed (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter waiter;

  begin (t);
  sync_ok (t, push (t, "a"));
  assert_ok (blkring_journal_push (t->j, NULL, 0, 0, &waiter));
  sync_ok (t, waiter);
  check_log (t, "a| |");
}

static void
push_after_shutdown_is_refused (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter a;

  begin (t);
  a = push (t, "a");
  sync_ok (t, a);
  assert_ok (blkring_journal_shutdown (t->j, 0));
  assert_fails (ECANCELED, try_push (t, "b", 0));
  assert_message ("shut down");
  assert_fails (ECANCELED, try_push (t, "b", BLKRING_JOURNAL_NONBLOCK));
  assert_ok (blkring_journal_sync (t->j, a, -1));
  assert_ok (blkring_journal_flush (t->j, a));
  assert_ok (blkring_journal_shutdown (t->j, BLKRING_JOURNAL_DRAIN));
  check_log (t, "a|");
  assert_int_equal (items_left (t), 0);
}

static unsigned expected;
static bool in_order;

static int
perform_number (const struct blkring_item *items, size_t nr, void *opaque)
{
  size_t i;
  unsigned number;

  (void) opaque;
  for (i = 0; i < nr; ++i) {
    memcpy (&number, items[i].data, sizeof number);
    in_order &= items[i].length == UNIT_ITEM - number % 7 &&
      number == expected++;
  }
  return 0;
}

static void
a_thousand_items_go_through_a_small_ring (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter waiter = 0;
  char item[UNIT_ITEM] = "";
  unsigned i;

  expected = 0;
  in_order = true;
  t->j = blkring_journal_start (t->rd->device, &t->options, perform_number,
                                t);
  assert_handle (t->j);
  for (i = 0; i < 1000; ++i) {
    memcpy (item, &i, sizeof i);
    assert_ok (blkring_journal_push (t->j, item, UNIT_ITEM - i % 7, 0,
                                     &waiter));
  }
  sync_ok (t, waiter);
  assert_true (in_order);
  assert_int_equal (expected, 1000);
  assert_int_equal (items_left (t), 0);
}

/*---------------------------------------------------------------------*/

static void
on_a_full_ring_push_waits_for_room (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "g" };

  begin (t);
  close_gate (t);
  assert_true (fill (t) >= 3);
  start_blocked (&pusher, t, call_push);
  await_sleep (t);
  open_gate (t);
  assert_ok (join_caller (&pusher));
  sync_ok (t, push (t, "h"));
  assert_true (log_has (t, "f0"));
  assert_true (log_has (t, " g| h|") || log_has (t, " g h|"));
}

static void
on_a_full_ring_nonblock_fails (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "g" };

  begin (t);
  close_gate (t);
  fill (t);
  assert_fails (EAGAIN, push_unit (t, "x", BLKRING_JOURNAL_NONBLOCK));
  assert_message ("full");
  /* Also behind one that waits. */
  start_blocked (&pusher, t, call_push);
  await_sleep (t);
  assert_fails (EAGAIN, push_unit (t, "y", BLKRING_JOURNAL_NONBLOCK));
  open_gate (t);
  assert_ok (join_caller (&pusher));
  assert_ok (blkring_journal_shutdown (t->j, BLKRING_JOURNAL_DRAIN));
  assert_true (log_has (t, " g|"));
  assert_false (log_has (t, "x"));
  assert_false (log_has (t, "y"));
}

static blkring_consumer *
observe (struct test_journal *t)
{
  const struct blkring_attach_options o = {
    .flags = BLKRING_ATTACH_OBSERVER,
  };
  blkring_consumer *c = blkring_consumer_attach (t->rd->device, &o);

  assert_handle (c);
  return c;
}

static void
on_a_suspended_ring_push_waits (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "g" };
  blkring_consumer *observer = observe (t);

  begin (t);
  sync_ok (t, push (t, "a"));
  assert_ok (blkring_consumer_suspend (observer));
  move_clock (t, 100);       /* the poll interval */
  assert_fails (ESHUTDOWN, try_push (t, "b", BLKRING_JOURNAL_NONBLOCK));
  assert_int_equal (blkring_consumer_state (observer), BLKRING_SUSPENDED);
  start_blocked (&pusher, t, call_push);
  await_sleep (t);
  assert_fails (ESHUTDOWN, try_push (t, "c", BLKRING_JOURNAL_NONBLOCK));
  assert_message ("suspended");
  assert_ok (blkring_consumer_resume (observer));
  move_clock (t, 100);
  assert_ok (join_caller (&pusher));
  sync_ok (t, push (t, "h"));
  assert_true (log_has (t, "a| g"));
  assert_false (log_has (t, "b"));
  assert_false (log_has (t, "c"));
  blkring_consumer_free (observer);
}

/* Whoever else gets the items holds back space. */
static void
push_sees_room_that_another_consumer_makes (void **state)
{
  struct test_journal *t = *state;
  const struct blkring_attach_options o = { .consumer = 1 };
  struct caller pusher = { .text = "g" };
  struct blkring_item item;
  blkring_consumer *other;

  begin (t);
  other = blkring_consumer_attach (t->rd->device, &o);
  assert_handle (other);
  fill (t);
  start_blocked (&pusher, t, call_push);
  await_sleep (t);
  assert_ok (blkring_consumer_pop (other, NULL, &item));
  assert_ok (blkring_consumer_advance (other, item.next));
  move_clock (t, 100);
  assert_ok (join_caller (&pusher));
  blkring_consumer_free (other);
}

/*---------------------------------------------------------------------*/

static void
push_inside (struct test_journal *t)
{
  t->in_perform = NULL;
  while ((t->result = push_unit (t, "i", 0)) == 0)
    ;
  t->error = errno;
}

static void
push_in_perform_does_not_wait (void **state)
{
  struct test_journal *t = *state;

  t->in_perform = push_inside;
  begin (t);
  sync_ok (t, push (t, "a"));
  assert_int_equal (t->error, EAGAIN);
  assert_ok (blkring_journal_shutdown (t->j, BLKRING_JOURNAL_DRAIN));
  assert_true (log_has (t, "a|"));
  assert_true (log_has (t, " i"));
}

static blkring_journal_waiter inside;

static void
sync_inside (struct test_journal *t)
{
  t->in_perform = NULL;
  t->result = blkring_journal_sync (t->j, inside, -1);
  t->error = errno;
}

static void
shutdown_inside (struct test_journal *t)
{
  t->in_perform = NULL;
  t->result = blkring_journal_shutdown (t->j, 0);
  t->error = errno;
}

static void
perform_cannot_wait_for_itself (void **state)
{
  struct test_journal *t = *state;

  inside = 1;
  begin (t);
  t->in_perform = sync_inside;
  sync_ok (t, push (t, "a"));
  assert_int_equal (t->result, -1);
  assert_int_equal (t->error, EDEADLK);
  t->in_perform = sync_inside; /* of what is done already */
  sync_ok (t, push (t, "b"));
  assert_int_equal (t->result, 0);
  t->in_perform = shutdown_inside;
  sync_ok (t, push (t, "c"));
  assert_int_equal (t->result, -1);
  assert_int_equal (t->error, EDEADLK);
  sync_ok (t, push (t, "d"));
  check_log (t, "a| b| c| d|");
}

static void
mistakes_are_told (void **state)
{
  struct test_journal *t = *state;
  const struct blkring_create_options force = {
    .flags = BLKRING_CREATE_FORCE,
  };
  struct blkring_journal_options o = t->options;

  assert_no_handle (EINVAL, blkring_journal_start (t->rd->device, &o, NULL,
                                                   t));
  o.flags = 1U << 31;
  assert_no_handle (EINVAL, blkring_journal_start (t->rd->device, &o,
                                                   perform, t));
  o = t->options;
  o.reserved[7] = 1;
  assert_no_handle (EINVAL, blkring_journal_start (t->rd->device, &o,
                                                   perform, t));
  o = t->options;
  o.max_attempts = 1;
  assert_no_handle (EINVAL, blkring_journal_start (t->rd->device, &o,
                                                   perform, t));
  o = t->options;
  o.create = &force;
  o.flags = BLKRING_JOURNAL_CREATE;
  assert_no_handle (EINVAL, blkring_journal_start (t->rd->device, &o,
                                                   perform, t));
  begin (t);
  assert_fails (EINVAL, blkring_journal_sync (t->j, 0, -1));
  assert_fails (EINVAL, blkring_journal_sync (t->j, 1, -1));
  assert_fails (EINVAL, blkring_journal_flush (t->j, 1));
  assert_fails (EINVAL, try_push (t, "a", 2));
  assert_fails (EINVAL, blkring_journal_shutdown (t->j, 2));
  assert_no_handle (EBUSY, blkring_journal_start (t->rd->device, &t->options,
                                                  perform, t));
  sync_ok (t, push (t, "a"));
  blkring_journal_free (NULL);
}

int
main (void)
{
  static struct journal_kind two = {
    .format = 2, .units = 4, .consumers = 2,
  };
  const struct CMUnitTest tests[] = {
    IN_BOTH (pushed_items_are_performed_in_order),
    IN_BOTH (what_was_synced_is_freed),
    IN_BOTH (sync_waits_for_its_own_item_alone),
    IN_BOTH (a_push_that_returned_survives_a_crash),
    IN_BOTH (an_item_that_fits_never_is_refused),
    IN_BOTH (the_largest_item_of_attach_holds),
    IN_BOTH (an_empty_item_is_performed),
    IN_BOTH (push_after_shutdown_is_refused),
    IN_TIGHT (a_thousand_items_go_through_a_small_ring),
    IN_TIGHT (on_a_full_ring_push_waits_for_room),
    IN_TIGHT (on_a_full_ring_nonblock_fails),
    IN_BOTH (on_a_suspended_ring_push_waits),
    ON_JOURNAL (push_sees_room_that_another_consumer_makes,
                "format 2, two consumers", &two),
    IN_TIGHT (push_in_perform_does_not_wait),
    IN_BOTH (perform_cannot_wait_for_itself),
    IN_BOTH (mistakes_are_told),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
