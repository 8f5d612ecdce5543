/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Waiting of both sides, on a clock that only sleep moves.  How another
 * process is noticed is in test-wake.c.
 */

#include <config.h>

#include "ring-fixture.h"

static struct test_clock time_;

static void
attach_with_clock (struct test_ring *t)
{
  const struct blkring_attach_options o = { .clock = &time_.clock };

  init_clock (&time_);
  attach_all (t, &o);
}

static void
wait_ends_at_once_or_at_its_time (void **state)
{
  struct test_ring *t = *state;
  uint64_t begin;

  attach_with_clock (t);
  assert_ok (blkring_producer_wait (t->p, t->largest_item, 0));
  assert_fails (ETIMEDOUT, blkring_consumer_wait (t->c, NULL, 0));
  assert_ok (blkring_consumer_wait_state (t->c, BLKRING_RUNNING, 0));
  assert_fails (EINVAL, blkring_consumer_wait_state (
                  t->c, BLKRING_SUSPEND_REQUESTED, 0));
  assert_int_equal (time_.nr_sleeps, 0);
  begin = time_.now;
  assert_fails (ETIMEDOUT, blkring_consumer_wait (t->c, NULL, 1234));
  assert_int_equal (time_.now - begin, 1234 * UINT64_C (1000000));
  assert_ok (append_seed (t->p, t->largest_item, 0, NULL));
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
  attach_all (t, &o);
  assert_fails (ETIMEDOUT, blkring_consumer_wait (t->c, NULL, 100));
  assert_int_equal (time_.nr_sleeps, LENGTH (ms));
  for (i = 0; i < LENGTH (ms); ++i)
    assert_int_equal (time_.sleeps[i], ms[i] * UINT64_C (1000000));
  detach_all (t);

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

  take (t, t->largest_item, 0);
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
  assert_ok (append_seed (t->p, t->largest_item, 0, NULL));
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

static void
wait_is_for_what_is_exposed (void **state)
{
  struct test_ring *t = *state;
  blkring_position first, second;

  attach_with_clock (t);
  assert_ok (push_seed (t->p, 10, 0, &first));
  assert_ok (push_seed (t->p, 10, 1, &second));
  assert_fails (ETIMEDOUT, blkring_consumer_wait (t->c, NULL, 300));
  assert_ok (blkring_producer_advance (t->p, first));
  assert_ok (blkring_consumer_wait (t->c, NULL, 0));
  pop_seed (t->c, NULL, 10, 0);
  assert_fails (ETIMEDOUT, blkring_consumer_wait (t->c, &first, 300));
  assert_ok (blkring_producer_advance (t->p, second));
  assert_ok (blkring_consumer_wait (t->c, &first, 0));
  pop_seed (t->c, &first, 10, 1);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_EACH_KIND (wait_ends_when_the_other_side_did_it),
    IN_MEMORY (wait_is_for_what_is_exposed),
    IN_MEMORY (wait_ends_at_once_or_at_its_time),
    IN_MEMORY (wait_polls_ever_slower_up_to_the_limit),
  };

  return cmocka_run_group_tests_name ("wait", tests, NULL, NULL);
}
