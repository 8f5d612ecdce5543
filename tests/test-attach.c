/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Attach and detach of one who is alone: what attach refuses, and what is
 * left of a handle behind detach.  Several openers are in test-owners.c.
 */

#include <config.h>

#include "ring-fixture.h"

static void
ignore_debug (void *opaque, const char *key, const char *value)
{
  (void) opaque;
  (void) key;
  (void) value;
}

static int
ignore_item (void *opaque, const struct blkring_item *item)
{
  (void) opaque;
  (void) item;
  return 0;
}

static void
every_producer_call_fails_after_detach (void **state)
{
  struct test_ring *t = *state;
  const struct iovec iov = { "x", 1 };
  blkring_position after;

  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 1, 0, &after));
  assert_ok (blkring_producer_detach (t->p));
  assert_fails (EINVAL, blkring_producer_detach (t->p));
  assert_fails (EINVAL, blkring_producer_push (t->p, "x", 1, NULL));
  assert_fails (EINVAL, blkring_producer_pushv (t->p, &iov, 1, NULL));
  assert_fails (EINVAL, blkring_producer_append (t->p, "x", 1, NULL));
  assert_fails (EINVAL, blkring_producer_appendv (t->p, &iov, 1, NULL));
  assert_fails (EINVAL, blkring_producer_advance (t->p, after));
  assert_fails (EINVAL, blkring_producer_state (t->p));
  assert_fails (EINVAL, blkring_producer_wait (t->p, 1, 0));
  assert_fails (EINVAL, blkring_producer_debug_info (t->p, ignore_debug,
                                                     NULL));
  assert_message ("detached");
  assert_int_equal (blkring_producer_largest_item (t->p), t->largest_item);
}

static void
every_consumer_call_fails_after_detach (void **state)
{
  struct test_ring *t = *state;
  struct blkring_item item;
  blkring_position at;
  char buf[8];

  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 1, 0, NULL));
  assert_ok (blkring_consumer_detach (t->c));
  assert_fails (EINVAL, blkring_consumer_detach (t->c));
  assert_fails (EINVAL, blkring_consumer_pop (t->c, NULL, &item));
  assert_fails (EINVAL, blkring_consumer_popv (t->c, NULL, &item, 1));
  assert_fails (EINVAL, blkring_consumer_pop_copy (t->c, NULL, buf, 8,
                                                   &item));
  assert_fails (EINVAL, blkring_consumer_fold (t->c, NULL, ignore_item,
                                               NULL));
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
  assert_message ("detached");
}

/* Each by itself, and none of them leaves a lock. */
static void
unknown_options_are_refused (void **state)
{
  static const struct blkring_attach_options unknown[] = {
    { .flags = 1u << 31 },
    { .durability = 2 },
    { .reserved = { 1 } },
    { .reserved = { [7] = 1 } },
  };
  struct test_ring *t = *state;
  struct blkring_attach_options o = { .consumer = t->index + 1 };
  size_t i;

  for (i = 0; i < LENGTH (unknown); ++i) {
    assert_no_handle (EINVAL, blkring_producer_attach (t->device,
                                                       &unknown[i]));
    assert_no_handle (EINVAL, attach_consumer (t, t->device, &unknown[i]));
  }
  assert_no_handle (EINVAL, blkring_consumer_attach (t->device, &o));
  o.flags = BLKRING_ATTACH_OBSERVER;
  assert_no_handle (EINVAL, blkring_consumer_attach (t->device, &o));
  /* A flag of the consumer's. */
  assert_no_handle (EINVAL, blkring_producer_attach (t->device, &o));
  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 1, 0, NULL));
  take (t, 1, 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_MEMORY (every_producer_call_fails_after_detach),
    IN_MEMORY (every_consumer_call_fails_after_detach),
    IN_MEMORY (unknown_options_are_refused),
  };

  return cmocka_run_group_tests_name ("attach", tests, NULL, NULL);
}
