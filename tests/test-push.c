/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the producer stores: items and batches of all lengths, how many of
 * them fit, what of them is seen when, and what is refused.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "ring-fixture.h"

static void
items_of_all_lengths_come_back_in_order (void **state)
{
  struct test_ring *t = *state;
  const size_t full = t->unit - overhead (t); /* ends where its unit ends */
  const size_t lengths[] = { 0, 1, full - 1, full, full + 1, 2000 };
  blkring_position after = 0;
  size_t round, batch, i;

  attach_all (t, &fast);
  for (round = 0; after <= 3 * t->capacity || round < 40; ++round)
    for (batch = 1; batch <= 5; ++batch) {
      for (i = 0; i < batch; ++i)
        assert_ok (push_seed (t->p, lengths[(round + i) % LENGTH (lengths)],
                              round + i, &after));
      assert_nothing_to_pop (t);
      assert_ok (blkring_producer_advance (t->p, after));
      for (i = 0; i < batch; ++i)
        take (t, lengths[(round + i) % LENGTH (lengths)], round + i);
      assert_nothing_to_pop (t);
    }
}

static void
ring_takes_as_many_items_as_its_capacity_has_room_for (void **state)
{
  struct test_ring *t = *state;
  const uint64_t lengths[] = {
    0, 1, 100, t->unit - overhead (t), 2000, t->largest_item - 4,
    t->largest_item,
  };
  size_t i, k, n;

  attach_all (t, &fast);
  for (i = 0; i < LENGTH (lengths); ++i) {
    n = t->capacity / push_size (t, lengths[i]);
    for (k = 0; k < n; ++k)
      assert_ok (append_seed (t->p, lengths[i], k, NULL));
    assert_fails (EAGAIN, append_seed (t->p, lengths[i], k, NULL));
    take (t, lengths[i], 0);
    assert_ok (append_seed (t->p, lengths[i], k, NULL));
    assert_fails (EAGAIN, append_seed (t->p, lengths[i], k, NULL));
    for (k = 1; k <= n; ++k)
      take (t, lengths[i], k);
    assert_nothing_to_pop (t);
  }
}

static void
pushed_items_are_seen_after_advance_alone (void **state)
{
  struct test_ring *t = *state;
  blkring_position after[4], next;
  struct blkring_item item;

  attach_all (t, NULL);
  assert_ok (push_seed (t->p, 10, 0, &after[0]));
  assert_ok (push_seed (t->p, 700, 1, &after[1]));
  assert_ok (push_seed (t->p, 0, 2, &after[2]));
  assert_nothing_to_pop (t);
  assert_ok (blkring_producer_advance (t->p, after[1]));
  next = pop_seed (t->c, NULL, 10, 0);
  assert_int_equal (next, after[0]);
  next = pop_seed (t->c, &next, 700, 1);
  assert_int_equal (next, after[1]);
  assert_fails (EAGAIN, blkring_consumer_pop (t->c, &next, &item));
  assert_ok (blkring_producer_advance (t->p, after[2]));
  pop_seed (t->c, &next, 0, 2);
  /* Append exposes what was pushed before it. */
  assert_ok (push_seed (t->p, 5, 3, NULL));
  assert_ok (append_seed (t->p, 6, 4, &after[3]));
  next = pop_seed (t->c, &after[2], 5, 3);
  assert_int_equal (pop_seed (t->c, &next, 6, 4), after[3]);
}

static void
position_behind_a_push_tells_what_it_takes (void **state)
{
  struct test_ring *t = *state;
  const struct iovec batch[] = { { "a", 1 }, { "", 0 }, { "ccc", 3 } };
  blkring_position at = 0, after;
  size_t length;

  attach_all (t, NULL);
  for (length = 0; length <= t->unit; length += t->unit / 6) {
    assert_ok (push_seed (t->p, length, 0, &after));
    assert_int_equal (after, at + push_size (t, length));
    at = after;
  }
  assert_ok (blkring_producer_appendv (t->p, batch, 3, &after));
  assert_int_equal (after, at + batch_size (t, batch, 3));
  assert_int_equal (inspect (t).used, after);
}

static void
detach_drops_what_was_not_advanced (void **state)
{
  struct test_ring *t = *state;

  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 10, 0, NULL));
  assert_ok (push_seed (t->p, 20, 1, NULL));
  blkring_producer_free (t->p);
  t->p = blkring_producer_attach (t->device, NULL);
  assert_handle (t->p);
  assert_ok (append_seed (t->p, 30, 2, NULL));
  take (t, 10, 0);
  take (t, 30, 2);
  assert_nothing_to_pop (t);
}

static void
batch_is_pushed_whole_or_not_at_all (void **state)
{
  struct test_ring *t = *state;
  char *big = calloc (1, t->capacity);
  /* The one takes the whole ring, the other more. */
  const struct iovec too_much[] = { { "a", 1 }, { big, t->largest_item - 8 } };
  const struct iovec never[] = { { big, t->largest_item - 8 }, { big, 100 } };
  const struct iovec fits[] = { { "a", 1 }, { "", 0 }, { "ccc", 3 } };
  blkring_position before, after, at;
  struct blkring_item item;
  size_t i;

  assert_int_equal (batch_size (t, too_much, 2), t->capacity);
  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 10, 0, &before));
  assert_fails (EAGAIN, blkring_producer_pushv (t->p, too_much, 2, &after));
  assert_fails (EAGAIN, blkring_producer_appendv (t->p, too_much, 2,
                                                  &after));
  assert_fails (EMSGSIZE, blkring_producer_pushv (t->p, never, 2, &after));
  assert_fails (EINVAL, blkring_producer_pushv (t->p, fits, 0, &after));
  assert_ok (blkring_producer_pushv (t->p, fits, 3, &after));
  assert_int_equal (after, before + batch_size (t, fits, 3));
  assert_fails (EAGAIN, blkring_consumer_pop (t->c, &before, &item));
  assert_ok (blkring_producer_advance (t->p, after));
  assert_ok (blkring_producer_appendv (t->p, fits, 1, &after));
  for (i = 0, at = before; i < 4; ++i, at = item.next) {
    assert_ok (blkring_consumer_pop (t->c, &at, &item));
    assert_int_equal (item.length, fits[i % 3].iov_len);
    if (item.length > 0)
      assert_memory_equal (item.data, fits[i % 3].iov_base, item.length);
  }
  assert_int_equal (at, after);
  free (big);
}

/*---------------------------------------------------------------------*/

static void
items_that_never_fit_are_refused_with_numbers (void **state)
{
  struct test_ring *t = *state;
  const struct blkring_attach_options o = { .largest_item = 1000 };
  struct blkring_item item;
  char number[32];

  attach_all (t, NULL);
  assert_int_equal (blkring_producer_largest_item (t->p), t->largest_item);
  assert_fails (EMSGSIZE, push_seed (t->p, t->largest_item + 1, 0, NULL));
  snprintf (number, sizeof number, "%d", (int) t->largest_item + 1);
  assert_message (number);
  snprintf (number, sizeof number, "%d", (int) t->capacity);
  assert_message (number);
  assert_fails (EMSGSIZE, blkring_producer_wait (t->p, t->capacity, 0));
  assert_ok (append_seed (t->p, 1001, 1, NULL));
  detach_all (t);

  attach_all (t, &o);
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
  assert_int_equal (item.position, 0);
  assert_int_equal (item.next, push_size (t, 1001));
  assert_ok (blkring_consumer_advance (t->c, item.next));
  take_seed (t->c, 1000, 2);
}

static void
producer_advances_to_what_it_pushed_alone (void **state)
{
  struct test_ring *t = *state;
  blkring_position first, second;

  attach_all (t, NULL);
  assert_ok (push_seed (t->p, 8, 0, &first));
  assert_ok (push_seed (t->p, 8, 1, &second));
  assert_fails (EINVAL, blkring_producer_advance (t->p, second + 4));
  assert_fails (EINVAL, blkring_producer_advance (t->p, first + 4));
  assert_fails (EINVAL, blkring_producer_advance (t->p, first - 1));
  assert_fails (EINVAL, blkring_producer_advance (t->p, UINT64_MAX));
  assert_nothing_to_pop (t);
  assert_ok (blkring_producer_advance (t->p, second));
  assert_ok (blkring_producer_advance (t->p, second));
  assert_fails (EINVAL, blkring_producer_advance (t->p, first));
  take (t, 8, 0);
  take (t, 8, 1);
}

static void
batch_is_exposed_whole (void **state)
{
  struct test_ring *t = *state;
  const struct iovec batch[] = { { "a", 1 }, { "bb", 2 } };
  blkring_position first, at, after;

  attach_all (t, NULL);
  assert_ok (blkring_producer_pushv (t->p, batch, 2, &after));
  assert_ok (blkring_producer_pushv (t->p, batch, 2, NULL));
  first = after;
  for (at = 1; at < first; ++at)
    assert_fails (EINVAL, blkring_producer_advance (t->p, at));
  assert_nothing_to_pop (t);
  assert_ok (blkring_producer_advance (t->p, first));
  assert_int_equal (inspect (t).items, 2);
}

static void
slowest_consumer_holds_back_space (void **state)
{
  struct test_ring *t = *state;
  blkring_consumer *slow[2], *fast_one[2];
  unsigned i;

  attach_all (t, NULL);
  slow[0] = fast_one[1] = t->c;
  slow[1] = fast_one[0] = t->other;
  for (i = 0; i < 2; ++i) {
    assert_ok (append_seed (t->p, t->largest_item, 0, NULL));
    assert_fails (EAGAIN, append_seed (t->p, 0, 1, NULL));
    take_seed (fast_one[i], t->largest_item, 0);
    assert_fails (EAGAIN, append_seed (t->p, 0, 1, NULL));
    assert_fails (ETIMEDOUT, blkring_producer_wait (t->p, 0, 0));
    assert_int_equal (inspect (t).free, 0);
    take_seed (slow[i], t->largest_item, 0);
    assert_int_equal (inspect (t).used, 0);
    assert_ok (append_seed (t->p, 0, 1, NULL));
    take (t, 0, 1);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_EACH_KIND (items_of_all_lengths_come_back_in_order),
    IN_EACH_KIND (ring_takes_as_many_items_as_its_capacity_has_room_for),
    IN_EACH_KIND (pushed_items_are_seen_after_advance_alone),
    IN_EACH_KIND (position_behind_a_push_tells_what_it_takes),
    IN_EACH_KIND (batch_is_pushed_whole_or_not_at_all),
    IN_MEMORY (detach_drops_what_was_not_advanced),
    IN_MEMORY (items_that_never_fit_are_refused_with_numbers),
    IN_MEMORY (producer_advances_to_what_it_pushed_alone),
    IN_MEMORY (batch_is_exposed_whole),
    WITH_TWO_CONSUMERS (slowest_consumer_holds_back_space),
  };

  return cmocka_run_group_tests_name ("push", tests, NULL, NULL);
}
