/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Suspend and resume, as both sides see it, on a clock that stands still.
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

static enum blkring_state
ring_state (struct test_ring *t)
{
  return inspect (t).state;
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
  take (t, 10, 0);
  assert_nothing_to_pop (t);
  assert_fails (ESHUTDOWN, push_seed (t->p, 10, 1, NULL));

  assert_ok (blkring_consumer_resume (t->c));
  assert_returns (BLKRING_SUSPENDED, blkring_consumer_state (t->c));
  assert_int_equal (ring_state (t), BLKRING_RESUME_REQUESTED);
  assert_ok (append_seed (t->p, 10, 1, NULL));
  assert_returns (BLKRING_RUNNING, blkring_consumer_state (t->c));
  assert_returns (BLKRING_RUNNING, blkring_producer_state (t->p));
  assert_int_equal (ring_state (t), BLKRING_RUNNING);
  take (t, 10, 1);
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
  take (t, 10, 0);
  take (t, 10, 1);
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
      assert_ok (free_up_to (t, item.next));
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
    info = inspect (t);
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

/* What was pushed before can still be exposed, popped and freed. */
static void
suspend_keeps_from_pushing_alone (void **state)
{
  struct test_ring *t = *state;
  blkring_position after;

  attach_with_clock (t);
  assert_ok (push_seed (t->p, 10, 0, &after));
  assert_ok (blkring_consumer_suspend (t->c));
  assert_returns (BLKRING_SUSPENDED, blkring_producer_state (t->p));
  assert_fails (ESHUTDOWN, push_seed (t->p, 10, 1, NULL));
  assert_fails (ESHUTDOWN, append_seed (t->p, 10, 1, NULL));
  assert_fails (ETIMEDOUT, blkring_producer_wait (t->p, 0, 0));
  assert_nothing_to_pop (t);
  assert_ok (blkring_producer_advance (t->p, after));
  assert_int_equal (inspect (t).state, BLKRING_SUSPENDED);
  assert_ok (blkring_consumer_wait (t->c, NULL, 0));
  take (t, 10, 0);
  assert_nothing_to_pop (t);
}

/* A request is the ring's, not that of the consumer that made it. */
static void
consumers_share_the_state (void **state)
{
  struct test_ring *t = *state;

  attach_with_clock (t);
  assert_ok (blkring_consumer_suspend (t->c));
  assert_ok (blkring_consumer_suspend (t->other));
  assert_fails (EAGAIN, blkring_consumer_resume (t->other));
  assert_returns (BLKRING_SUSPENDED, blkring_producer_state (t->p));
  assert_returns (BLKRING_SUSPENDED, blkring_consumer_state (t->c));
  assert_returns (BLKRING_SUSPENDED, blkring_consumer_state (t->other));
  assert_ok (blkring_consumer_resume (t->other));
  assert_ok (blkring_consumer_resume (t->c));
  assert_fails (EAGAIN, blkring_consumer_suspend (t->c));
  assert_returns (BLKRING_RUNNING, blkring_producer_state (t->p));
  assert_ok (blkring_consumer_wait_state (t->c, BLKRING_RUNNING, 0));
  assert_ok (blkring_consumer_wait_state (t->other, BLKRING_RUNNING, 0));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_EACH_KIND (suspend_and_resume_step_by_step),
    IN_MEMORY (opposite_request_waits_for_the_acknowledgement),
    IN_MEMORY (wait_acknowledges),
    IN_MEMORY (suspend_keeps_from_pushing_alone),
    IN_MEMORY (attach_acknowledges_and_succeeds_on_a_suspended_ring),
    IN_MEMORY (flags_and_pointers_survive_each_other),
    WITH_TWO_CONSUMERS (consumers_share_the_state),
  };

  return cmocka_run_group_tests_name ("suspend", tests, NULL, NULL);
}
