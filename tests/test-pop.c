/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the consumer reads and frees: pop in its forms, fold, from where one
 * may read and to where one may advance.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "ring-fixture.h"

#define BATCH 7

/* Of the item of this seed. */
static size_t
length_of (unsigned seed)
{
  return seed % 32;
}

/* A batch, whose items have the seeds first, first + 1 … */
static blkring_position
append_batch (struct test_ring *t, unsigned first)
{
  struct iovec items[BATCH];
  blkring_position after;
  unsigned i;

  for (i = 0; i < BATCH; ++i) {
    items[i].iov_len = length_of (first + i);
    items[i].iov_base = malloc (items[i].iov_len + 1);
    assert_non_null (items[i].iov_base);
    fill_payload (items[i].iov_base, items[i].iov_len, first + i);
  }
  assert_ok (blkring_producer_appendv (t->p, items, BATCH, &after));
  for (i = 0; i < BATCH; ++i)
    free (items[i].iov_base);
  return after;
}

static void
popv_takes_what_is_at_hand (void **state)
{
  struct test_ring *t = *state;
  struct blkring_item items[BATCH + 2];
  blkring_position at = 0;
  unsigned seen = 0;
  ssize_t n, k;

  attach_all (t, &fast);
  append_batch (t, 0);
  assert_ok (append_seed (t->p, BATCH, BATCH, NULL));
  append_batch (t, BATCH + 1);
  assert_fails (EINVAL, blkring_consumer_popv (t->c, NULL, items, 0));
  assert_returns (3, blkring_consumer_popv (t->c, NULL, items, 3));
  while ((n = blkring_consumer_popv (t->c, &at, items, LENGTH (items)))
         != -1) {
    assert_in_range (n, 1, 2 * BATCH + 1 - seen);
    assert_in_range (n, 1, LENGTH (items));
    for (k = 0; k < n; ++k, ++seen) {
      assert_int_equal (items[k].length, length_of (seen));
      assert_true (is_payload (items[k].data, items[k].length, seen));
      assert_int_equal (items[k].position, at);
      at = items[k].next;
    }
  }
  assert_int_equal (errno, EAGAIN);
  assert_int_equal (seen, 2 * BATCH + 1);
  assert_ok (free_up_to (t, at));
  assert_nothing_to_pop (t);
}

static void
pop_copy_needs_no_buffer_of_the_handle (void **state)
{
  struct test_ring *t = *state;
  char one[100], two[100];
  struct blkring_item item;
  blkring_position next;

  attach_all (t, NULL);
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

  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 700, 1, NULL));
  assert_ok (blkring_consumer_pop (t->c, NULL, &item));
  assert_ok (free_up_to (t, item.next));
  assert_ok (append_seed (t->p, t->largest_item, 2, NULL));
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

  assert_int_equal (item->length, length_of (v->nr));
  assert_true (is_payload (item->data, item->length, v->nr));
  return ++v->nr == v->stop_at ? 42 : 0;
}

static void
fold_visits_each_item_in_order (void **state)
{
  struct test_ring *t = *state;
  const unsigned all = 13 * BATCH; /* more than it reads at once */
  struct visits v = { 0, 0 };
  blkring_position later = 0, end = 0;
  unsigned i;

  attach_all (t, &fast);
  assert_ok (blkring_consumer_fold (t->c, NULL, visit, &v));
  assert_int_equal (v.nr, 0);
  for (i = 0; i < all; i += BATCH) {
    if (i == 3 * BATCH)
      later = end;
    end = append_batch (t, i);
  }
  assert_ok (blkring_consumer_fold (t->c, NULL, visit, &v));
  assert_int_equal (v.nr, all);
  v = (struct visits) { 0, 70 };
  assert_returns (42, blkring_consumer_fold (t->c, NULL, visit, &v));
  assert_int_equal (v.nr, 70);
  v = (struct visits) { 3 * BATCH, 0 };
  assert_ok (blkring_consumer_fold (t->c, &later, visit, &v));
  assert_int_equal (v.nr, all);
  assert_ok (free_up_to (t, end));
  assert_nothing_to_pop (t);
}

/*---------------------------------------------------------------------*/

static void
consumer_advances_to_what_it_popped_alone (void **state)
{
  struct test_ring *t = *state;
  blkring_position first, second, third, at;

  attach_all (t, NULL);
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

/* The places where items start are told by what was popped before. */
static void
pop_starts_where_items_start_alone (void **state)
{
  struct test_ring *t = *state;
  blkring_position starts[BATCH + 2] = { 0 }, at;
  struct blkring_item item;
  unsigned i, n = BATCH + 1; /* items; starts[n] is the end */

  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 0, 0, NULL));
  append_batch (t, 1);
  for (i = 0; i < n; ++i)
    starts[i + 1] = pop_seed (t->c, &starts[i], i, i);
  for (at = 0, i = 0; at < starts[n] + 100; ++at)
    if (i <= n && at == starts[i])
      i++;
    else
      assert_fails (EINVAL, blkring_consumer_pop (t->c, &at, &item));
  for (i = 0; i < n; ++i)
    pop_seed (t->c, &starts[i], i, i);
  assert_fails (EAGAIN, blkring_consumer_pop (t->c, &starts[n], &item));
  take_seed (t->c, 0, 0);
  assert_fails (EINVAL, blkring_consumer_pop (t->c, &starts[0], &item));
  assert_message ("freed");
  take_seed (t->c, 1, 1);
}

/* Another handle has not popped what lies there. */
static void
pop_starts_in_the_middle_at_once (void **state)
{
  struct test_ring *t = *state;
  blkring_position starts[BATCH + 1] = { 0 }, at;
  struct blkring_item item;
  unsigned i;

  attach_all (t, NULL);
  append_batch (t, 0);
  for (i = 0; i < BATCH; ++i)
    starts[i + 1] = pop_seed (t->c, &starts[i], i, i);
  for (i = BATCH; i-- > 0;) {
    detach_all (t);
    attach_all (t, NULL);
    at = starts[i] + 4;
    if (at != starts[i + 1])
      assert_fails (EINVAL, blkring_consumer_pop (t->c, &at, &item));
    assert_int_equal (pop_seed (t->c, &starts[i], i, i), starts[i + 1]);
  }
}

static void
part_of_a_batch_can_be_freed (void **state)
{
  struct test_ring *t = *state;
  blkring_position at = 0, freed;
  unsigned i;

  attach_all (t, NULL);
  append_batch (t, 0);
  append_batch (t, BATCH);
  for (i = 0; i < 2 * BATCH; ++i) {
    at = pop_seed (t->c, NULL, i, i);
    assert_ok (free_up_to (t, at));
    assert_int_equal (inspect (t).items, 2 * BATCH - i - 1);
    detach_all (t);
    attach_all (t, NULL);
    assert_ok (blkring_consumer_position (t->c, &freed));
    assert_int_equal (freed, at);
  }
  assert_nothing_to_pop (t);
  assert_int_equal (inspect (t).used, 0);
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

/* What info tells of "the" consumer is that of the one farthest behind, be
 * it in the same frame. */
static void
info_is_of_the_consumer_farthest_behind (void **state)
{
  struct test_ring *t = *state;
  const struct blkring_attach_options me = { .client = "slow" };
  struct blkring_info info;
  blkring_position slow;

  attach_all (t, NULL);
  append_batch (t, 0);
  take_seed (t->other, length_of (0), 0);
  take_seed (t->other, length_of (1), 1);
  blkring_consumer_free (t->c);
  t->c = attach_consumer (t, t->device, &me);
  assert_handle (t->c);
  slow = pop_seed (t->c, NULL, length_of (0), 0);
  assert_ok (blkring_consumer_advance (t->c, slow));
  info = inspect (t);
  assert_int_equal (info.consumer, slow);
  assert_int_equal (info.items, BATCH - 1);
  assert_non_null (strstr (info.consumer_text, "slow"));
  assert_int_equal (info.consumers[0].items, BATCH - 2);
  assert_int_equal (info.consumers[1].items, BATCH - 1);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_EACH_KIND (popv_takes_what_is_at_hand),
    IN_EACH_KIND (fold_visits_each_item_in_order),
    IN_EACH_KIND (part_of_a_batch_can_be_freed),
    IN_MEMORY (pop_copy_needs_no_buffer_of_the_handle),
    IN_MEMORY (popped_data_stays_until_the_next_pop),
    IN_MEMORY (consumer_advances_to_what_it_popped_alone),
    IN_MEMORY (pop_starts_where_items_start_alone),
    IN_MEMORY (pop_starts_in_the_middle_at_once),
    WITH_TWO_CONSUMERS (info_is_of_the_consumer_farthest_behind),
    cmocka_unit_test (positions_compare_by_order),
  };

  return cmocka_run_group_tests_name ("pop", tests, NULL, NULL);
}
