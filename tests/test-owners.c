/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Several openers of one ring, in this process and in others: who may
 * attach, and what create and erase keep away from.
 */

#include <config.h>

#include <signal.h>

#include "ring-fixture.h"

static const struct blkring_attach_options holder = {
  .queue = "orders", .client = "holder",
};

/* The producer, and the consumer of the case alone: its siblings own
 * nothing. */
static void
attach_two (struct test_ring *t, const struct blkring_attach_options *options)
{
  leave_others_out (t);
  t->p = blkring_producer_attach (t->device, options);
  assert_handle (t->p);
  t->c = attach_consumer (t, t->device, options);
  assert_handle (t->c);
}

static void
assert_both_sides_are_owned (struct test_ring *t, blkring_device *device)
{
  assert_no_handle (EBUSY, blkring_producer_attach (device, NULL));
  assert_message ("producer");
  assert_message ("orders used by holder");
  assert_no_handle (EBUSY, attach_consumer (t, device, NULL));
  assert_message ("consumer");
  assert_message ("orders used by holder");
}

static void
second_owner_in_this_process_is_refused (void **state)
{
  struct test_ring *t = *state;
  blkring_device *again = open_again (t);

  attach_two (t, &holder);
  assert_ok (append_seed (t->p, 10, 0, NULL));
  take (t, 10, 0);
  assert_both_sides_are_owned (t, t->device);
  assert_both_sides_are_owned (t, again);
  /* The refused attach has not taken the lock away. */
  assert_both_sides_are_owned (t, again);
  assert_ok (append_seed (t->p, 10, 1, NULL));
  take (t, 10, 1);

  blkring_producer_detach (t->p);
  blkring_producer_free (t->p);
  t->p = blkring_producer_attach (again, NULL);
  assert_handle (t->p);
  assert_ok (append_seed (t->p, 10, 2, NULL));
  take (t, 10, 2);
  detach_all (t);
  close_again (t, again);
}

static void
owner_without_a_text_yet_is_reported_too (void **state)
{
  struct test_ring *t = *state;

  attach_two (t, &holder);
  assert_no_handle (EBUSY, blkring_producer_attach (t->device, NULL));
  assert_message ("producer");
  assert_no_handle (EBUSY, attach_consumer (t, t->device, NULL));
  assert_message ("consumer");
}

/* Own both sides until told to go. */
static int
own_both (struct child *parent, void *arg)
{
  struct test_ring *t = arg;
  blkring_device *device = blkring_device_open (t->path, NULL);
  blkring_producer *p = blkring_producer_attach (device, &holder);
  blkring_consumer *c = attach_consumer (t, device, &holder);
  struct blkring_item item;

  if (blkring_producer_append (p, "one", 3, NULL) == -1 ||
      blkring_consumer_pop (c, NULL, &item) == -1 ||
      blkring_consumer_advance (c, item.next) == -1 ||
      blkring_producer_append (p, "two", 3, NULL) == -1)
    return 1;
  tell (parent, 'o');
  hear (parent);
  blkring_producer_free (p);
  blkring_consumer_free (c);
  blkring_device_close (device);
  return 0;
}

static void
assert_both_sides_are_free (struct test_ring *t)
{
  struct blkring_item item;

  attach_two (t, NULL);
  assert_ok (blkring_consumer_pop (t->c, NULL, &item));
  assert_int_equal (item.length, 3);
  assert_memory_equal (item.data, "two", 3);
  detach_all (t);
}

static void
second_owner_in_another_process_is_refused (void **state)
{
  struct test_ring *t = *state;
  struct child child;

  leave_others_out (t);
  start_child (&child, own_both, t);
  assert_int_equal (hear (&child), 'o');
  assert_both_sides_are_owned (t, t->device);
  tell (&child, 'g');
  assert_int_equal (join_child (&child), 0);
  assert_both_sides_are_free (t);
}

static void
killed_owner_leaves_no_lock (void **state)
{
  struct test_ring *t = *state;
  struct child child;

  leave_others_out (t);
  start_child (&child, own_both, t);
  assert_int_equal (hear (&child), 'o');
  assert_both_sides_are_owned (t, t->device);
  assert_int_equal (kill_child (&child), 128 + SIGKILL);
  assert_both_sides_are_free (t);
}

/* Each is owned by itself; create and erase keep away from any. */
static void
consumers_have_their_own_owners (void **state)
{
  struct test_ring *t = *state;
  struct blkring_create_options force = t->create;
  const struct blkring_attach_options first = { .client = "the first" };
  const struct blkring_attach_options last = {
    .client = "the last", .consumer = t->index,
  };

  force.flags = BLKRING_CREATE_FORCE;
  t->other = blkring_consumer_attach (t->device, &first);
  assert_handle (t->other);
  t->c = blkring_consumer_attach (t->device, &last);
  assert_handle (t->c);
  assert_no_handle (EBUSY, blkring_consumer_attach (t->device, NULL));
  assert_message ("the first");
  assert_no_handle (EBUSY, attach_consumer (t, t->device, NULL));
  assert_message ("the last");
  assert_ok (blkring_consumer_detach (t->other));
  assert_no_handle (EBUSY, attach_consumer (t, t->device, NULL));
  assert_fails (EBUSY, blkring_create (t->device, &force));
  assert_fails (EBUSY, blkring_erase (t->device, NULL, 0, NULL, NULL));
  blkring_consumer_free (t->other);
  t->other = blkring_consumer_attach (t->device, &first);
  assert_handle (t->other);
}

/* While somebody counts on the set of consumers it does not change. */
static void
consumers_are_left_out_while_nobody_minds (void **state)
{
  struct test_ring *t = *state;

  attach_all (t, NULL);
  assert_fails (EBUSY, blkring_consumer_enable (t->device, 0, false));
  assert_ok (blkring_consumer_detach (t->other));
  assert_fails (EBUSY, blkring_consumer_enable (t->device, 0, false));
  assert_message ("suspend");
  assert_ok (blkring_consumer_suspend (t->c));
  assert_returns (BLKRING_SUSPENDED, blkring_producer_state (t->p));
  assert_ok (blkring_consumer_enable (t->device, 0, false));
  assert_ok (blkring_consumer_enable (t->device, 0, false));
  assert_false (inspect (t).consumers[0].enabled);
  blkring_consumer_free (t->other);
  t->other = NULL;
  assert_ok (blkring_consumer_resume (t->c));
  /* Its space counts no more. */
  assert_ok (append_seed (t->p, t->largest_item, 0, NULL));
  take (t, t->largest_item, 0);
  assert_ok (append_seed (t->p, t->largest_item, 1, NULL));
  take (t, t->largest_item, 1);
  blkring_producer_free (t->p);
  t->p = NULL;
  assert_fails (EBUSY, blkring_consumer_enable (t->device, t->index, false));
  assert_ok (blkring_consumer_detach (t->c));
  assert_fails (EINVAL, blkring_consumer_enable (t->device, t->index, false));
  assert_message ("last");
  assert_fails (EINVAL, blkring_consumer_enable (t->device, t->index + 1,
                                                 true));
  /* It begins with what comes from then on. */
  assert_ok (blkring_consumer_enable (t->device, 0, true));
  blkring_consumer_free (t->c);
  attach_all (t, NULL);
  assert_nothing_to_pop (t);
  assert_ok (append_seed (t->p, 10, 2, NULL));
  take (t, 10, 2);
}

static void
create_and_erase_keep_away_from_owners (void **state)
{
  struct test_ring *t = *state;
  struct blkring_create_options force = t->create;
  blkring_device *again = open_again (t);
  unsigned i;

  force.flags = BLKRING_CREATE_FORCE;
  attach_two (t, NULL);
  assert_ok (append_seed (t->p, 10, 0, NULL));
  for (i = 0; i < 2; ++i) {
    /* Without force the ring is kept, and that is no error. */
    assert_returns (1, blkring_create (t->device, &t->create));
    assert_fails (EBUSY, blkring_create (again, &force));
    assert_fails (EBUSY, blkring_erase (t->device, NULL, 0, NULL, NULL));
    assert_fails (EBUSY, blkring_erase (again, NULL, 0, NULL, NULL));
    /* Once more with the consumer alone, and after that the producer. */
    blkring_producer_free (t->p);
    t->p = NULL;
  }
  pop_seed (t->c, NULL, 10, 0);
  blkring_consumer_free (t->c);
  t->c = NULL;
  t->p = blkring_producer_attach (t->device, NULL);
  assert_handle (t->p);
  assert_fails (EBUSY, blkring_create (again, &force));
  assert_fails (EBUSY, blkring_erase (again, NULL, 0, NULL, NULL));
  blkring_producer_free (t->p);
  t->p = NULL;
  assert_returns (1, blkring_create (again, &t->create));
  assert_int_equal (inspect (t).items, 1);
  assert_ok (blkring_create (again, &force));
  assert_int_equal (inspect (t).items, 0);
  assert_ok (blkring_erase (again, NULL, 0, NULL, NULL));
  close_again (t, again);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_MEMORY (second_owner_in_this_process_is_refused),
    IN_FILE (second_owner_in_this_process_is_refused),
    IN_MEMORY (owner_without_a_text_yet_is_reported_too),
    IN_FILE (second_owner_in_another_process_is_refused),
    IN_FILE (killed_owner_leaves_no_lock),
    IN_MEMORY (create_and_erase_keep_away_from_owners),
    IN_FILE (create_and_erase_keep_away_from_owners),
    WITH_TWO_CONSUMERS (consumers_have_their_own_owners),
    WITH_TWO_CONSUMERS (consumers_are_left_out_while_nobody_minds),
  };

  return cmocka_run_group_tests_name ("owners", tests, NULL, NULL);
}
