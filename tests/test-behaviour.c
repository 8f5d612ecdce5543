/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What producer and consumer do, as include/blkring.h promises it: items,
 * positions, the suspend protocol, waiting, threads.  Several openers of
 * one ring are in test-locks.c, durability is in test-contract.c.
 */

#include <config.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

/* What an item takes in the data area. */
static uint64_t
item_size (uint64_t length)
{
  return (4 + length + 3) / 4 * 4;
}

static void
assert_nothing_to_pop (blkring_consumer *c)
{
  struct blkring_item item;

  assert_fails (EAGAIN, blkring_consumer_pop (c, NULL, &item));
}

static enum blkring_state
ring_state (struct test_ring *t)
{
  struct blkring_info info;

  assert_ok (blkring_inspect (t->device, NULL, &info));
  return info.state;
}

/*---------------------------------------------------------------------*/
/* Items.                                                                */

static void
items_of_all_lengths_come_back_in_order (void **state)
{
  struct test_ring *t = *state;
  const size_t lengths[] = {
    0, 1, t->sector_size - 5, t->sector_size - 4, t->sector_size - 3, 2000,
  };
  blkring_position after = 0;
  size_t round, batch, i;

  attach_both (t, &fast);
  for (round = 0; round < 2 * RING_SECTORS; ++round)
    for (batch = 1; batch <= 5; ++batch) {
      for (i = 0; i < batch; ++i)
        assert_ok (push_seed (t->p, lengths[(round + i) % LENGTH (lengths)],
                              round + i, &after));
      assert_nothing_to_pop (t->c);
      assert_ok (blkring_producer_advance (t->p, after));
      for (i = 0; i < batch; ++i)
        take_seed (t->c, lengths[(round + i) % LENGTH (lengths)], round + i);
      assert_nothing_to_pop (t->c);
    }
  /* The ring was filled many times over. */
  assert_true (after > 3 * t->capacity);
}

static void
ring_takes_as_many_items_as_its_capacity_has_room_for (void **state)
{
  struct test_ring *t = *state;
  const uint64_t lengths[] = {
    0, 1, 100, t->sector_size - 4, 2000, t->capacity - 8, t->capacity - 4,
  };
  size_t i, k, n;

  attach_both (t, &fast);
  for (i = 0; i < LENGTH (lengths); ++i) {
    n = t->capacity / item_size (lengths[i]);
    for (k = 0; k < n; ++k)
      assert_ok (append_seed (t->p, lengths[i], k, NULL));
    assert_fails (EAGAIN, append_seed (t->p, lengths[i], k, NULL));
    take_seed (t->c, lengths[i], 0);
    assert_ok (append_seed (t->p, lengths[i], k, NULL));
    assert_fails (EAGAIN, append_seed (t->p, lengths[i], k, NULL));
    for (k = 1; k <= n; ++k)
      take_seed (t->c, lengths[i], k);
    assert_nothing_to_pop (t->c);
  }
}

static void
pushed_items_are_seen_after_advance_alone (void **state)
{
  struct test_ring *t = *state;
  blkring_position after[4], next;

  attach_both (t, NULL);
  assert_ok (push_seed (t->p, 10, 0, &after[0]));
  assert_ok (push_seed (t->p, 700, 1, &after[1]));
  assert_ok (push_seed (t->p, 0, 2, &after[2]));
  assert_nothing_to_pop (t->c);
  assert_ok (blkring_producer_advance (t->p, after[1]));
  next = pop_seed (t->c, NULL, 10, 0);
  assert_int_equal (next, after[0]);
  next = pop_seed (t->c, &next, 700, 1);
  assert_int_equal (next, after[1]);
  assert_fails (EAGAIN, blkring_consumer_pop (t->c, &next,
                                              &(struct blkring_item) { 0 }));
  assert_ok (blkring_producer_advance (t->p, after[2]));
  pop_seed (t->c, &next, 0, 2);
  /* Append exposes what was pushed before it. */
  assert_ok (push_seed (t->p, 5, 3, NULL));
  assert_ok (append_seed (t->p, 6, 4, &after[3]));
  next = pop_seed (t->c, &after[2], 5, 3);
  assert_int_equal (pop_seed (t->c, &next, 6, 4), after[3]);
}

static void
detach_drops_what_was_not_advanced (void **state)
{
  struct test_ring *t = *state;

  attach_both (t, NULL);
  assert_ok (append_seed (t->p, 10, 0, NULL));
  assert_ok (push_seed (t->p, 20, 1, NULL));
  blkring_producer_free (t->p);
  t->p = blkring_producer_attach (t->device, NULL);
  assert_handle (t->p);
  assert_ok (append_seed (t->p, 30, 2, NULL));
  take_seed (t->c, 10, 0);
  take_seed (t->c, 30, 2);
  assert_nothing_to_pop (t->c);
}

static void
batch_is_pushed_whole_or_not_at_all (void **state)
{
  struct test_ring *t = *state;
  char *big = calloc (1, t->capacity);
  const struct iovec too_much[] = { { "a", 1 }, { big, t->capacity - 20 } };
  const struct iovec never[] = { { big, t->capacity - 20 }, { big, 100 } };
  const struct iovec fits[] = { { "a", 1 }, { "", 0 }, { "ccc", 3 } };
  blkring_position before, after;
  struct blkring_item items[4];

  attach_both (t, NULL);
  assert_ok (append_seed (t->p, 10, 0, &before));
  assert_fails (EAGAIN, blkring_producer_pushv (t->p, too_much, 2, &after));
  assert_fails (EAGAIN, blkring_producer_appendv (t->p, too_much, 2,
                                                  &after));
  assert_fails (EMSGSIZE, blkring_producer_pushv (t->p, never, 2, &after));
  assert_fails (EINVAL, blkring_producer_pushv (t->p, fits, 0, &after));
  assert_ok (blkring_producer_pushv (t->p, fits, 3, &after));
  assert_int_equal (after, before + 8 + 4 + 8);
  assert_returns (1, blkring_consumer_popv (t->c, NULL, items, 4));
  assert_ok (blkring_producer_advance (t->p, after));
  assert_ok (blkring_producer_appendv (t->p, fits, 1, &after));
  assert_returns (4, blkring_consumer_popv (t->c, &before, items, 4));
  assert_int_equal (items[0].length + items[1].length + items[3].length, 2);
  assert_int_equal (items[2].length, 3);
  assert_memory_equal (items[2].data, "ccc", 3);
  assert_int_equal (items[3].next, after);
  free (big);
}

static void
popv_takes_what_is_at_hand (void **state)
{
  struct test_ring *t = *state;
  struct blkring_item items[8];
  blkring_position at = 0;
  unsigned i, seen = 0;
  ssize_t n, k;

  attach_both (t, &fast);
  for (i = 0; i < 7; ++i)
    assert_ok (append_seed (t->p, 100 * i, i, NULL));
  assert_fails (EINVAL, blkring_consumer_popv (t->c, NULL, items, 0));
  assert_returns (3, blkring_consumer_popv (t->c, NULL, items, 3));
  while ((n = blkring_consumer_popv (t->c, &at, items, 8)) != -1) {
    assert_in_range (n, 1, 7 - seen);
    for (k = 0; k < n; ++k, ++seen) {
      assert_int_equal (items[k].length, 100 * seen);
      assert_true (is_payload (items[k].data, items[k].length, seen));
      assert_int_equal (items[k].position, at);
      at = items[k].next;
    }
  }
  assert_int_equal (errno, EAGAIN);
  assert_int_equal (seen, 7);
  assert_ok (blkring_consumer_advance (t->c, at));
  assert_nothing_to_pop (t->c);
}

static void
pop_copy_needs_no_buffer_of_the_handle (void **state)
{
  struct test_ring *t = *state;
  char one[100], two[100];
  struct blkring_item item;
  blkring_position next;

  attach_both (t, NULL);
  assert_ok (append_seed (t->p, 100, 1, NULL));
  assert_ok (append_seed (t->p, 99, 2, NULL));
  item.length = 0;
  assert_fails (EMSGSIZE, blkring_consumer_pop_copy (t->c, NULL, one, 99,
                                                     &item));
  assert_int_equal (item.length, 100);
  assert_ok (blkring_consumer_pop_copy (t->c, NULL, one, 100, &item));
  assert_ptr_equal (item.data, one);
  next = item.next;
  assert_ok (blkring_consumer_pop_copy (t->c, &next, two, 99, &item));
  assert_ok (blkring_consumer_advance (t->c, item.next));
  assert_true (is_payload (one, 100, 1));
  assert_true (is_payload (two, 99, 2));
}

static void
popped_data_stays_until_the_next_pop (void **state)
{
  struct test_ring *t = *state;
  struct blkring_item item;

  attach_both (t, NULL);
  assert_ok (append_seed (t->p, 700, 1, NULL));
  assert_ok (blkring_consumer_pop (t->c, NULL, &item));
  assert_ok (blkring_consumer_advance (t->c, item.next));
  assert_ok (append_seed (t->p, t->capacity - 4, 2, NULL));
  assert_ok (blkring_consumer_wait (t->c, NULL, 0));
  assert_returns (BLKRING_RUNNING, blkring_consumer_state (t->c));
  assert_true (is_payload (item.data, 700, 1));
}

struct visits {
  unsigned nr, stop_at;
};

static int
visit (void *opaque, const struct blkring_item *item)
{
  struct visits *v = opaque;

  assert_int_equal (item->length, v->nr);
  assert_true (is_payload (item->data, item->length, v->nr));
  return ++v->nr == v->stop_at ? 42 : 0;
}

static void
fold_visits_each_item_in_order (void **state)
{
  struct test_ring *t = *state;
  struct visits v = { 0, 0 };
  blkring_position third = 0, end;
  unsigned i;

  attach_both (t, &fast);
  assert_ok (blkring_consumer_fold (t->c, NULL, visit, &v));
  assert_int_equal (v.nr, 0);
  for (i = 0; i < 100; ++i)
    assert_ok (append_seed (t->p, i, i, i == 1 ? &third : &end));
  assert_ok (blkring_consumer_fold (t->c, NULL, visit, &v));
  assert_int_equal (v.nr, 100);
  v = (struct visits) { 0, 70 };
  assert_returns (42, blkring_consumer_fold (t->c, NULL, visit, &v));
  assert_int_equal (v.nr, 70);
  v = (struct visits) { 2, 0 };
  assert_ok (blkring_consumer_fold (t->c, &third, visit, &v));
  assert_int_equal (v.nr, 100);
  assert_ok (blkring_consumer_advance (t->c, end));
  assert_nothing_to_pop (t->c);
}

/*---------------------------------------------------------------------*/
/* What is refused.                                                      */

static void
items_that_never_fit_are_refused_with_numbers (void **state)
{
  struct test_ring *t = *state;
  const struct blkring_attach_options o = { .largest_item = 1000 };
  struct blkring_item item;
  char number[32];

  attach_both (t, NULL);
  assert_int_equal (blkring_producer_largest_item (t->p), t->capacity - 4);
  assert_fails (EMSGSIZE, push_seed (t->p, t->capacity - 3, 0, NULL));
  snprintf (number, sizeof number, "%d", (int) t->capacity - 3);
  assert_message (number);
  snprintf (number, sizeof number, "%d", (int) t->capacity);
  assert_message (number);
  assert_fails (EMSGSIZE, blkring_producer_wait (t->p, t->capacity, 0));
  assert_ok (append_seed (t->p, 1001, 1, NULL));
  detach_both (t);

  attach_both (t, &o);
  assert_int_equal (blkring_producer_largest_item (t->p), 1000);
  assert_fails (EMSGSIZE, push_seed (t->p, 1001, 0, NULL));
  assert_message ("1001");
  assert_message ("1000");
  assert_ok (append_seed (t->p, 1000, 2, NULL));
  assert_fails (EMSGSIZE, blkring_consumer_pop (t->c, NULL, &item));
  assert_message ("1001");
  assert_message ("1000");
  /* It can be left out. */
  assert_int_equal (item.length, 1001);
  assert_ok (blkring_consumer_advance (t->c, item.next));
  take_seed (t->c, 1000, 2);
}

static void
producer_advances_to_what_it_pushed_alone (void **state)
{
  struct test_ring *t = *state;
  blkring_position first, second;

  attach_both (t, NULL);
  assert_ok (push_seed (t->p, 8, 0, &first));
  assert_ok (push_seed (t->p, 8, 1, &second));
  assert_fails (EINVAL, blkring_producer_advance (t->p, second + 4));
  assert_fails (EINVAL, blkring_producer_advance (t->p, first + 4));
  assert_fails (EINVAL, blkring_producer_advance (t->p, first - 1));
  assert_fails (EINVAL, blkring_producer_advance (t->p, UINT64_MAX));
  assert_nothing_to_pop (t->c);
  assert_ok (blkring_producer_advance (t->p, second));
  assert_ok (blkring_producer_advance (t->p, second));
  assert_fails (EINVAL, blkring_producer_advance (t->p, first));
  take_seed (t->c, 8, 0);
  take_seed (t->c, 8, 1);
}

static void
consumer_advances_to_what_it_popped_alone (void **state)
{
  struct test_ring *t = *state;
  blkring_position first, second, third, at;

  attach_both (t, NULL);
  assert_ok (append_seed (t->p, 8, 0, &first));
  assert_ok (append_seed (t->p, 8, 1, &second));
  assert_ok (append_seed (t->p, 8, 2, &third));
  assert_fails (EINVAL, blkring_consumer_advance (t->c, first));
  pop_seed (t->c, NULL, 8, 0);
  pop_seed (t->c, &first, 8, 1);
  assert_fails (EINVAL, blkring_consumer_advance (t->c, third));
  assert_fails (EINVAL, blkring_consumer_advance (t->c, first + 4));
  assert_fails (EINVAL, blkring_consumer_advance (t->c, first - 1));
  assert_fails (EINVAL, blkring_consumer_advance (t->c, UINT64_MAX));
  assert_ok (blkring_consumer_position (t->c, &at));
  assert_int_equal (at, 0);
  assert_ok (blkring_consumer_advance (t->c, first));
  assert_fails (EINVAL, blkring_consumer_advance (t->c, 0));
  assert_ok (blkring_consumer_advance (t->c, second));
  assert_fails (EINVAL, blkring_consumer_advance (t->c, first));
  assert_ok (blkring_consumer_position (t->c, &at));
  assert_int_equal (at, second);
  take_seed (t->c, 8, 2);
}

static void
pop_starts_where_items_start_alone (void **state)
{
  struct test_ring *t = *state;
  blkring_position first, second, at;
  struct blkring_item item;

  attach_both (t, NULL);
  assert_ok (append_seed (t->p, 8, 0, &first));
  assert_ok (append_seed (t->p, 8, 1, &second));
  for (at = 1; at < second + 100; ++at)
    if (at != first && at != second)
      assert_fails (EINVAL, blkring_consumer_pop (t->c, &at, &item));
  pop_seed (t->c, &first, 8, 1);
  assert_fails (EAGAIN, blkring_consumer_pop (t->c, &second, &item));
  take_seed (t->c, 8, 0);
  at = 0;
  assert_fails (EINVAL, blkring_consumer_pop (t->c, &at, &item));
  assert_message ("freed");
  take_seed (t->c, 8, 1);
}

static void
ignore_debug (void *opaque, const char *key, const char *value)
{
  (void) opaque;
  (void) key;
  (void) value;
}

static void
every_call_fails_after_detach (void **state)
{
  struct test_ring *t = *state;
  const struct iovec iov = { "x", 1 };
  struct blkring_item item;
  struct visits v = { 0, 0 };
  blkring_position at = 0;
  char buf[8];

  attach_both (t, NULL);
  assert_ok (append_seed (t->p, 1, 0, NULL));
  assert_ok (blkring_producer_detach (t->p));
  assert_fails (EINVAL, blkring_producer_detach (t->p));
  assert_fails (EINVAL, blkring_producer_push (t->p, "x", 1, NULL));
  assert_fails (EINVAL, blkring_producer_pushv (t->p, &iov, 1, NULL));
  assert_fails (EINVAL, blkring_producer_append (t->p, "x", 1, NULL));
  assert_fails (EINVAL, blkring_producer_appendv (t->p, &iov, 1, NULL));
  assert_fails (EINVAL, blkring_producer_advance (t->p, 8));
  assert_fails (EINVAL, blkring_producer_state (t->p));
  assert_fails (EINVAL, blkring_producer_wait (t->p, 1, 0));
  assert_fails (EINVAL, blkring_producer_debug_info (t->p, ignore_debug,
                                                     NULL));
  assert_message ("detached");

  assert_ok (blkring_consumer_detach (t->c));
  assert_fails (EINVAL, blkring_consumer_detach (t->c));
  assert_fails (EINVAL, blkring_consumer_pop (t->c, NULL, &item));
  assert_fails (EINVAL, blkring_consumer_popv (t->c, NULL, &item, 1));
  assert_fails (EINVAL, blkring_consumer_pop_copy (t->c, NULL, buf, 8,
                                                   &item));
  assert_fails (EINVAL, blkring_consumer_fold (t->c, NULL, visit, &v));
  assert_fails (EINVAL, blkring_consumer_advance (t->c, 0));
  assert_fails (EINVAL, blkring_consumer_suspend (t->c));
  assert_fails (EINVAL, blkring_consumer_resume (t->c));
  assert_fails (EINVAL, blkring_consumer_state (t->c));
  assert_fails (EINVAL, blkring_consumer_wait (t->c, NULL, 0));
  assert_fails (EINVAL, blkring_consumer_wait_state (t->c, BLKRING_RUNNING,
                                                     0));
  assert_fails (EINVAL, blkring_consumer_position (t->c, &at));
  assert_fails (EINVAL, blkring_consumer_debug_info (t->c, ignore_debug,
                                                     NULL));
}

/*---------------------------------------------------------------------*/
/* Suspend and resume, on a clock that stands still.                     */

static struct test_clock time_;

static void
attach_with_clock (struct test_ring *t)
{
  const struct blkring_attach_options o = { .clock = &time_.clock };

  init_clock (&time_);
  attach_both (t, &o);
}

static void
suspend_and_resume_step_by_step (void **state)
{
  struct test_ring *t = *state;

  attach_with_clock (t);
  assert_returns (BLKRING_RUNNING, blkring_producer_state (t->p));
  assert_returns (BLKRING_RUNNING, blkring_consumer_state (t->c));
  assert_int_equal (ring_state (t), BLKRING_RUNNING);

  assert_ok (blkring_consumer_suspend (t->c));
  assert_returns (BLKRING_RUNNING, blkring_consumer_state (t->c));
  assert_int_equal (ring_state (t), BLKRING_SUSPEND_REQUESTED);
  /* The producer need not have looked yet. */
  assert_ok (append_seed (t->p, 10, 0, NULL));
  pass_time (&time_, 100);
  assert_fails (ESHUTDOWN, push_seed (t->p, 10, 1, NULL));
  assert_returns (BLKRING_SUSPENDED, blkring_consumer_state (t->c));
  assert_returns (BLKRING_SUSPENDED, blkring_producer_state (t->p));
  assert_int_equal (ring_state (t), BLKRING_SUSPENDED);
  /* The consumer goes on. */
  take_seed (t->c, 10, 0);
  assert_nothing_to_pop (t->c);
  assert_fails (ESHUTDOWN, push_seed (t->p, 10, 1, NULL));

  assert_ok (blkring_consumer_resume (t->c));
  assert_returns (BLKRING_SUSPENDED, blkring_consumer_state (t->c));
  assert_int_equal (ring_state (t), BLKRING_RESUME_REQUESTED);
  assert_ok (append_seed (t->p, 10, 1, NULL));
  assert_returns (BLKRING_RUNNING, blkring_consumer_state (t->c));
  assert_returns (BLKRING_RUNNING, blkring_producer_state (t->p));
  assert_int_equal (ring_state (t), BLKRING_RUNNING);
  take_seed (t->c, 10, 1);
}

static void
opposite_request_waits_for_the_acknowledgement (void **state)
{
  struct test_ring *t = *state;

  attach_with_clock (t);
  assert_ok (blkring_consumer_resume (t->c));
  assert_int_equal (ring_state (t), BLKRING_RUNNING);
  assert_ok (blkring_consumer_suspend (t->c));
  assert_ok (blkring_consumer_suspend (t->c));
  assert_fails (EAGAIN, blkring_consumer_resume (t->c));
  assert_int_equal (ring_state (t), BLKRING_SUSPEND_REQUESTED);
  assert_returns (BLKRING_SUSPENDED, blkring_producer_state (t->p));
  assert_ok (blkring_consumer_suspend (t->c));
  assert_int_equal (ring_state (t), BLKRING_SUSPENDED);
  assert_ok (blkring_consumer_resume (t->c));
  assert_ok (blkring_consumer_resume (t->c));
  assert_fails (EAGAIN, blkring_consumer_suspend (t->c));
  assert_int_equal (ring_state (t), BLKRING_RESUME_REQUESTED);
  assert_returns (BLKRING_RUNNING, blkring_producer_state (t->p));
  assert_ok (blkring_consumer_suspend (t->c));
}

static void
wait_acknowledges (void **state)
{
  struct test_ring *t = *state;

  attach_with_clock (t);
  assert_ok (blkring_consumer_suspend (t->c));
  assert_fails (ETIMEDOUT, blkring_producer_wait (t->p, 10, 5));
  assert_int_equal (ring_state (t), BLKRING_SUSPENDED);
  assert_ok (blkring_consumer_resume (t->c));
  assert_ok (blkring_producer_wait (t->p, (size_t) -1, 5));
  assert_int_equal (ring_state (t), BLKRING_RUNNING);
}

static void
attach_acknowledges_and_succeeds_on_a_suspended_ring (void **state)
{
  struct test_ring *t = *state;
  unsigned i;

  attach_with_clock (t);
  assert_ok (append_seed (t->p, 10, 0, NULL));
  blkring_producer_free (t->p);
  t->p = NULL;
  assert_ok (blkring_consumer_suspend (t->c));
  assert_int_equal (ring_state (t), BLKRING_SUSPEND_REQUESTED);
  for (i = 0; i < 2; ++i) {
    t->p = blkring_producer_attach (t->device, NULL);
    assert_handle (t->p);
    assert_int_equal (ring_state (t), BLKRING_SUSPENDED);
    assert_fails (ESHUTDOWN, append_seed (t->p, 10, 1, NULL));
    blkring_producer_free (t->p);
  }
  assert_ok (blkring_consumer_resume (t->c));
  t->p = blkring_producer_attach (t->device, NULL);
  assert_handle (t->p);
  assert_int_equal (ring_state (t), BLKRING_RUNNING);
  assert_ok (append_seed (t->p, 10, 1, NULL));
  take_seed (t->c, 10, 0);
  take_seed (t->c, 10, 1);
}

/* Whatever comes between: each side keeps its flag through an advance, and
 * its pointer through a request. */
static void
flags_and_pointers_survive_each_other (void **state)
{
  struct test_ring *t = *state;
  bool suspend = false, ack = false;
  blkring_position pushed = 0, exposed = 0, freed = 0;
  struct blkring_info info;
  struct blkring_item item;
  unsigned i, random = 1;

  attach_with_clock (t);
  for (i = 0; i < 2000; ++i) {
    random = random * 1103515245 + 12345;
    switch (random >> 16 & 7) {
    case 0:
    case 1:
      if (push_seed (t->p, i % 300, i, &pushed) == -1)
        assert_true (errno == EAGAIN || (errno == ESHUTDOWN && suspend));
      break;
    case 2:
      assert_ok (blkring_producer_advance (t->p, pushed));
      exposed = pushed;
      break;
    case 3:
    case 4:
      if (blkring_consumer_pop (t->c, NULL, &item) == -1)
        break;
      assert_ok (blkring_consumer_advance (t->c, item.next));
      freed = item.next;
      break;
    case 5:
      if (suspend == ack)
        assert_ok (suspend ? blkring_consumer_resume (t->c)
                   : blkring_consumer_suspend (t->c));
      else
        assert_fails (EAGAIN, suspend ? blkring_consumer_resume (t->c)
                      : blkring_consumer_suspend (t->c));
      suspend = suspend == ack ? !suspend : suspend;
      break;
    case 6:
      assert_returns (suspend ? BLKRING_SUSPENDED : BLKRING_RUNNING,
                      blkring_producer_state (t->p));
      break;
    }
    assert_ok (blkring_inspect (t->device, NULL, &info));
    /* A push may have acknowledged: it had to look for space. */
    if (info.state == BLKRING_RUNNING || info.state == BLKRING_SUSPENDED)
      ack = suspend;
    assert_int_equal (info.producer, exposed);
    assert_int_equal (info.consumer, freed);
    assert_int_equal (info.state == BLKRING_SUSPENDED ||
                      info.state == BLKRING_SUSPEND_REQUESTED, suspend);
    assert_int_equal (info.state == BLKRING_SUSPENDED ||
                      info.state == BLKRING_RESUME_REQUESTED, ack);
  }
  assert_true (freed > 3 * t->capacity);
}

/*---------------------------------------------------------------------*/
/* Waiting, on a clock that only sleep moves.                            */

static void
wait_ends_at_once_or_at_its_time (void **state)
{
  struct test_ring *t = *state;
  uint64_t begin;

  attach_with_clock (t);
  assert_ok (blkring_producer_wait (t->p, t->capacity - 4, 0));
  assert_fails (ETIMEDOUT, blkring_consumer_wait (t->c, NULL, 0));
  assert_ok (blkring_consumer_wait_state (t->c, BLKRING_RUNNING, 0));
  assert_fails (EINVAL, blkring_consumer_wait_state (
                  t->c, BLKRING_SUSPEND_REQUESTED, 0));
  assert_int_equal (time_.nr_sleeps, 0);
  begin = time_.now;
  assert_fails (ETIMEDOUT, blkring_consumer_wait (t->c, NULL, 1234));
  assert_int_equal (time_.now - begin, 1234 * UINT64_C (1000000));
  assert_ok (append_seed (t->p, t->capacity - 4, 0, NULL));
  time_.nr_sleeps = 0;
  assert_ok (blkring_consumer_wait (t->c, NULL, -1));
  assert_ok (blkring_producer_wait (t->p, (size_t) -1, -1));
  assert_int_equal (time_.nr_sleeps, 0);
  assert_fails (ETIMEDOUT, blkring_producer_wait (t->p, 0, 1));
}

static void
wait_polls_ever_slower_up_to_the_limit (void **state)
{
  static const unsigned ms[] = { 1, 2, 4, 8, 16, 30, 30, 9 };
  struct test_ring *t = *state;
  const struct blkring_attach_options o = {
    .clock = &time_.clock, .poll_limit = 30,
  };
  unsigned i;

  init_clock (&time_);
  attach_both (t, &o);
  assert_fails (ETIMEDOUT, blkring_consumer_wait (t->c, NULL, 100));
  assert_int_equal (time_.nr_sleeps, LENGTH (ms));
  for (i = 0; i < LENGTH (ms); ++i)
    assert_int_equal (time_.sleeps[i], ms[i] * UINT64_C (1000000));
  detach_both (t);

  /* 1 + 2 + … + 64 = 127, and the default limit is 100. */
  attach_with_clock (t);
  assert_fails (ETIMEDOUT, blkring_consumer_wait (t->c, NULL, 1000));
  assert_int_equal (time_.nr_sleeps, 7 + 9);
  assert_int_equal (time_.sleeps[7], UINT64_C (100000000));
  assert_int_equal (time_.sleeps[14], UINT64_C (100000000));
}

static void
append_one (void *opaque)
{
  struct test_ring *t = opaque;

  assert_ok (append_seed (t->p, 10, 1, NULL));
}

static void
take_one (void *opaque)
{
  struct test_ring *t = opaque;

  take_seed (t->c, t->capacity - 4, 0);
}

static void
acknowledge (void *opaque)
{
  struct test_ring *t = opaque;

  assert_int_not_equal (blkring_producer_state (t->p), -1);
}

static void
resume (void *opaque)
{
  struct test_ring *t = opaque;

  assert_ok (blkring_consumer_resume (t->c));
}

static void
meanwhile (struct test_ring *t, void (*fn) (void *opaque))
{
  time_.nr_sleeps = 0;
  time_.after = 3;
  time_.meanwhile = fn;
  time_.opaque = t;
}

static void
wait_ends_when_the_other_side_did_it (void **state)
{
  struct test_ring *t = *state;
  blkring_position next;

  attach_with_clock (t);
  assert_ok (append_seed (t->p, t->capacity - 4, 0, NULL));
  meanwhile (t, take_one);
  assert_ok (blkring_producer_wait (t->p, 1, -1));
  assert_int_equal (time_.nr_sleeps, 3);
  meanwhile (t, append_one);
  assert_ok (blkring_consumer_wait (t->c, NULL, -1));
  assert_int_equal (time_.nr_sleeps, 3);
  next = pop_seed (t->c, NULL, 10, 1);
  assert_ok (blkring_consumer_wait (t->c, NULL, 0));
  meanwhile (t, append_one);
  assert_ok (blkring_consumer_wait (t->c, &next, -1));
  assert_int_equal (time_.nr_sleeps, 3);
  pop_seed (t->c, &next, 10, 1);

  assert_ok (blkring_consumer_suspend (t->c));
  meanwhile (t, acknowledge);
  assert_ok (blkring_consumer_wait_state (t->c, BLKRING_SUSPENDED, -1));
  assert_int_equal (time_.nr_sleeps, 3);
  meanwhile (t, resume);
  assert_ok (blkring_producer_wait (t->p, (size_t) -1, -1));
  assert_int_equal (time_.nr_sleeps, 3);
  assert_returns (BLKRING_RUNNING, blkring_consumer_state (t->c));
}

/*---------------------------------------------------------------------*/
/* Looking in.                                                           */

static char seen[64][96];
static unsigned nr_seen;

static bool
was_seen (const char *text)
{
  unsigned i;

  for (i = 0; i < nr_seen; ++i)
    if (strcmp (seen[i], text) == 0)
      return true;
  return false;
}

static char *
next_seen (void)
{
  assert_true (nr_seen < LENGTH (seen));
  return seen[nr_seen++];
}

static void
see_trace (void *opaque, enum blkring_trace_op op, const char *queue,
           const char *client, enum blkring_trace_field field, uint64_t value)
{
  static const char *const fields[] = {
    "producer", "consumer", "suspend", "suspend_ack",
  };

  assert_ptr_equal (opaque, seen);
  snprintf (next_seen (), sizeof seen[0], "%s %s %s %s %d",
            op == BLKRING_TRACE_GET ? "get" : "set", queue, client,
            fields[field], (int) value);
}

static void
trace_tells_each_pointer_and_flag (void **state)
{
  struct test_ring *t = *state;
  const struct blkring_attach_options o = { .queue = "q", .client = "me" };

  blkring_device_set_trace (t->device, see_trace, seen);
  nr_seen = 0;
  attach_both (t, &o);
  assert_true (was_seen ("get q me producer 0"));
  assert_true (was_seen ("get q me consumer 0"));
  assert_true (was_seen ("get q me suspend 0"));
  assert_true (was_seen ("get q me suspend_ack 0"));
  nr_seen = 0;
  assert_ok (append_seed (t->p, 8, 0, NULL));
  assert_true (was_seen ("set q me producer 12"));
  assert_true (was_seen ("set q me suspend_ack 0"));
  nr_seen = 0;
  take_seed (t->c, 8, 0);
  assert_true (was_seen ("get q me producer 12"));
  assert_true (was_seen ("set q me consumer 12"));
  nr_seen = 0;
  assert_ok (blkring_consumer_suspend (t->c));
  assert_true (was_seen ("set q me suspend 1"));
  assert_true (was_seen ("set q me consumer 12"));
  nr_seen = 0;
  assert_returns (BLKRING_SUSPENDED, blkring_producer_state (t->p));
  assert_true (was_seen ("get q me suspend 1"));
  assert_true (was_seen ("set q me suspend_ack 1"));
  detach_both (t);
  blkring_device_set_trace (t->device, NULL, NULL);
}

static void
see_pair (void *opaque, const char *key, const char *value)
{
  assert_ptr_equal (opaque, seen);
  snprintf (next_seen (), sizeof seen[0], "%s %s", key, value);
}

static void
debug_info_has_both_pointers_and_flags (void **state)
{
  struct test_ring *t = *state;
  unsigned side;

  attach_both (t, NULL);
  assert_ok (append_seed (t->p, 8, 0, NULL));
  assert_ok (append_seed (t->p, 8, 0, NULL));
  take_seed (t->c, 8, 0);
  assert_ok (blkring_consumer_suspend (t->c));
  for (side = 0; side < 2; ++side) {
    nr_seen = 0;
    assert_ok (side ? blkring_producer_debug_info (t->p, see_pair, seen)
               : blkring_consumer_debug_info (t->c, see_pair, seen));
    assert_true (was_seen ("producer/offset 24"));
    assert_true (was_seen ("consumer/offset 12"));
    assert_true (was_seen ("consumer/suspend 1"));
    assert_true (was_seen ("producer/suspend_ack 2"));
  }
}

static void
see_log (void *opaque, enum blkring_log_level level, const char *message)
{
  assert_ptr_equal (opaque, seen);
  assert_true (level <= BLKRING_LOG_DEBUG);
  assert_null (strchr (message, '\n'));
  snprintf (next_seen (), sizeof seen[0], "%s", message);
}

static void
log_tells_who_attached (void **state)
{
  struct test_ring *t = *state;

  blkring_device_set_log (t->device, see_log, seen);
  nr_seen = 0;
  attach_both (t, NULL);
  assert_true (nr_seen >= 2);
  blkring_device_set_log (t->device, NULL, NULL);
}

static void
positions_compare_by_order (void **state)
{
  (void) state;
  assert_int_equal (blkring_position_compare (7, 7), 0);
  assert_true (blkring_position_compare (7, 8) < 0);
  assert_true (blkring_position_compare (8, 7) > 0);
  assert_true (blkring_position_compare (0, UINT64_MAX) < 0);
  assert_true (blkring_position_compare (UINT64_MAX, 0) > 0);
}

/*---------------------------------------------------------------------*/
/* Threads.                                                              */

#define THREADS 4
#define ITEMS_PER_THREAD 2000

struct message {
  unsigned thread, index;
  unsigned char rest[200];
};

struct pusher {
  pthread_t id;
  blkring_producer *p;
  unsigned thread;
};

static size_t
message_length (unsigned thread, unsigned index)
{
  return offsetof (struct message, rest) + (thread * 31 + index * 17) % 200;
}

/* cmocka knows only the thread that runs the test: others count. */
static void *
push_many (void *arg)
{
  struct pusher *w = arg;
  struct message m;
  blkring_position after = 0;
  unsigned i;
  size_t n;
  int r;

  for (i = 0; i < ITEMS_PER_THREAD; ++i) {
    m.thread = w->thread;
    m.index = i;
    n = message_length (w->thread, i);
    fill_payload (m.rest, sizeof m.rest, i);
    while ((r = i % 3 == 1
            ? blkring_producer_push (w->p, &m, n, &after)
            : blkring_producer_append (w->p, &m, n, &after)) == -1) {
      if (errno != EAGAIN)
        return "push failed";
      /* What was pushed may fill the ring and be not exposed yet; it is an
       * error that is meant if another thread has exposed it. */
      blkring_producer_advance (w->p, after);
      if (blkring_producer_wait (w->p, n, 60000) == -1)
        return "wait failed";
    }
  }
  blkring_producer_advance (w->p, after);
  return NULL;
}

static void *
take_many (void *arg)
{
  blkring_consumer *c = arg;
  unsigned next[THREADS] = { 0 };
  struct blkring_item item;
  struct message m;
  unsigned n;

  for (n = 0; n < THREADS * ITEMS_PER_THREAD; ++n) {
    if (blkring_consumer_wait (c, NULL, 60000) == -1 ||
        blkring_consumer_pop (c, NULL, &item) == -1)
      return "pop failed";
    memcpy (&m, item.data, item.length < sizeof m ? item.length : sizeof m);
    if (m.thread >= THREADS || m.index != next[m.thread]++ ||
        item.length != message_length (m.thread, m.index) ||
        !is_payload (m.rest, item.length - offsetof (struct message, rest),
                     m.index))
      return "an item is lost, twice there or damaged";
    if (blkring_consumer_advance (c, item.next) == -1)
      return "advance failed";
  }
  return NULL;
}

static void
threads_share_a_producer (void **state)
{
  struct test_ring *t = *state;
  struct pusher pushers[THREADS];
  const struct blkring_attach_options o = {
    .durability = BLKRING_DURABILITY_NONE, .poll_limit = 1,
  };
  pthread_t taker;
  void *result;
  unsigned i;

  attach_both (t, &o);
  assert_int_equal (pthread_create (&taker, NULL, take_many, t->c), 0);
  for (i = 0; i < THREADS; ++i) {
    pushers[i] = (struct pusher) { .p = t->p, .thread = i };
    assert_int_equal (pthread_create (&pushers[i].id, NULL, push_many,
                                      &pushers[i]), 0);
  }
  for (i = 0; i < THREADS; ++i) {
    assert_int_equal (pthread_join (pushers[i].id, &result), 0);
    if (result)
      fail_msg ("producer thread %u: %s", i, (char *) result);
  }
  assert_int_equal (pthread_join (taker, &result), 0);
  if (result)
    fail_msg ("consumer thread: %s", (char *) result);
  assert_nothing_to_pop (t->c);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_EACH_KIND (items_of_all_lengths_come_back_in_order),
    IN_EACH_KIND (ring_takes_as_many_items_as_its_capacity_has_room_for),
    IN_EACH_KIND (pushed_items_are_seen_after_advance_alone),
    IN_EACH_KIND (batch_is_pushed_whole_or_not_at_all),
    IN_EACH_KIND (popv_takes_what_is_at_hand),
    IN_EACH_KIND (fold_visits_each_item_in_order),
    IN_EACH_KIND (suspend_and_resume_step_by_step),
    IN_EACH_KIND (wait_ends_when_the_other_side_did_it),
    IN_MEMORY (pop_copy_needs_no_buffer_of_the_handle),
    IN_MEMORY (popped_data_stays_until_the_next_pop),
    IN_MEMORY (detach_drops_what_was_not_advanced),
    IN_MEMORY (items_that_never_fit_are_refused_with_numbers),
    IN_MEMORY (producer_advances_to_what_it_pushed_alone),
    IN_MEMORY (consumer_advances_to_what_it_popped_alone),
    IN_MEMORY (pop_starts_where_items_start_alone),
    IN_MEMORY (every_call_fails_after_detach),
    IN_MEMORY (opposite_request_waits_for_the_acknowledgement),
    IN_MEMORY (wait_acknowledges),
    IN_MEMORY (attach_acknowledges_and_succeeds_on_a_suspended_ring),
    IN_MEMORY (flags_and_pointers_survive_each_other),
    IN_MEMORY (wait_ends_at_once_or_at_its_time),
    IN_MEMORY (wait_polls_ever_slower_up_to_the_limit),
    IN_MEMORY (trace_tells_each_pointer_and_flag),
    IN_MEMORY (debug_info_has_both_pointers_and_flags),
    IN_MEMORY (log_tells_who_attached),
    IN_MEMORY (threads_share_a_producer),
    IN_FILE (threads_share_a_producer),
    cmocka_unit_test (positions_compare_by_order),
  };

  return cmocka_run_group_tests_name ("behaviour", tests, NULL, NULL);
}
