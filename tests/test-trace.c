/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a program can see of a ring while it runs: trace, debug_info, log.
 */

#include <config.h>

#include <stdio.h>
#include <string.h>

#include "ring-fixture.h"

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
assert_traced (const char *op, const char *field, uint64_t value)
{
  char text[96];

  snprintf (text, sizeof text, "%s q me %s %d", op, field, (int) value);
  if (!was_seen (text))
    fail_msg ("not traced: %s", text);
}

static const struct blkring_attach_options me = {
  .queue = "q", .client = "me",
};

static void
trace_tells_each_pointer_and_flag (void **state)
{
  struct test_ring *t = *state;
  blkring_position after;

  blkring_device_set_trace (t->device, see_trace, seen);
  nr_seen = 0;
  attach_all (t, &me);
  assert_traced ("get", "producer", 0);
  assert_traced ("get", "consumer", 0);
  assert_traced ("get", "suspend", 0);
  assert_traced ("get", "suspend_ack", 0);
  nr_seen = 0;
  assert_ok (push_seed (t->p, 8, 0, &after));
  assert_ok (blkring_producer_advance (t->p, after));
  assert_traced ("set", "producer", after);
  nr_seen = 0;
  take (t, 8, 0);
  assert_traced ("get", "producer", after);
  assert_traced ("set", "consumer", after);
  nr_seen = 0;
  assert_ok (blkring_consumer_suspend (t->c));
  assert_traced ("set", "suspend", 1);
  nr_seen = 0;
  assert_returns (BLKRING_SUSPENDED, blkring_producer_state (t->p));
  assert_traced ("get", "consumer", after);
  assert_traced ("get", "suspend", 1);
  assert_traced ("set", "suspend_ack", 1);
  nr_seen = 0;
  assert_returns (BLKRING_SUSPENDED, blkring_consumer_state (t->c));
  assert_traced ("get", "suspend_ack", 1);
  nr_seen = 0;
  assert_ok (blkring_consumer_resume (t->c));
  assert_traced ("set", "suspend", 0);
  nr_seen = 0;
  assert_returns (BLKRING_RUNNING, blkring_producer_state (t->p));
  assert_traced ("set", "suspend_ack", 0);
  detach_all (t);
  blkring_device_set_trace (t->device, NULL, NULL);
}

/* In format 1 they are in the same sector, so that none is written without
 * the other. */
static void
pointer_is_traced_with_its_flag (void **state)
{
  struct test_ring *t = *state;
  blkring_position after;

  attach_all (t, &me);
  blkring_device_set_trace (t->device, see_trace, seen);
  nr_seen = 0;
  assert_ok (append_seed (t->p, 8, 0, &after));
  assert_traced ("set", "producer", after);
  assert_traced ("set", "suspend_ack", 0);
  nr_seen = 0;
  take (t, 8, 0);
  assert_traced ("set", "consumer", after);
  assert_traced ("set", "suspend", 0);
  nr_seen = 0;
  assert_ok (blkring_consumer_suspend (t->c));
  assert_traced ("set", "consumer", after);
  assert_traced ("set", "suspend", 1);
  detach_all (t);
  blkring_device_set_trace (t->device, NULL, NULL);
}

/*---------------------------------------------------------------------*/

static void
see_pair (void *opaque, const char *key, const char *value)
{
  assert_ptr_equal (opaque, seen);
  snprintf (next_seen (), sizeof seen[0], "%s %s", key, value);
}

static void
assert_told (const char *key, uint64_t value)
{
  char text[96];

  snprintf (text, sizeof text, "%s %d", key, (int) value);
  if (!was_seen (text))
    fail_msg ("debug_info does not tell: %s", text);
}

/* Format 1 has flags, 1 for true and 2 for false, and format 2 counts the
 * requests. */
static void
assert_all_told (const struct test_ring *t, uint64_t producer,
                 uint64_t consumer, bool acknowledged)
{
  unsigned side;

  for (side = 0; side < 2; ++side) {
    nr_seen = 0;
    assert_ok (side ? blkring_producer_debug_info (t->p, see_pair, seen)
               : blkring_consumer_debug_info (t->c, see_pair, seen));
    assert_told ("producer/offset", producer);
    assert_told ("consumer/offset", consumer);
    assert_told ("consumer/suspend", 1);
    assert_told ("producer/suspend_ack",
                 acknowledged ? 1 : t->format == 1 ? 2 : 0);
    assert_told ("format", t->format);
    assert_told ("capacity", t->capacity);
    assert_told (t->format == 1 ? "sector-size" : "block-size", t->unit);
  }
}

static void
debug_info_has_both_pointers_and_flags (void **state)
{
  struct test_ring *t = *state;
  blkring_position first, second;

  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 8, 0, &first));
  assert_ok (append_seed (t->p, 8, 0, &second));
  take (t, 8, 0);
  assert_ok (blkring_consumer_suspend (t->c));
  assert_all_told (t, second, first, false);
  assert_returns (BLKRING_SUSPENDED, blkring_producer_state (t->p));
  assert_all_told (t, second, first, true);
  /* Behind what was exposed there may be more. */
  assert_ok (blkring_consumer_resume (t->c));
  assert_ok (push_seed (t->p, 8, 1, NULL));
  assert_ok (blkring_consumer_suspend (t->c));
  nr_seen = 0;
  assert_ok (blkring_consumer_debug_info (t->c, see_pair, seen));
  assert_told ("producer/offset", second);
}

static void
debug_info_of_a_consumer_is_its_own (void **state)
{
  struct test_ring *t = *state;
  blkring_position first, second;

  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 8, 0, &first));
  assert_ok (append_seed (t->p, 8, 1, &second));
  take (t, 8, 0);
  take_seed (t->c, 8, 1);
  nr_seen = 0;
  assert_ok (blkring_consumer_debug_info (t->c, see_pair, seen));
  assert_told ("consumer/offset", second);
  nr_seen = 0;
  assert_ok (blkring_consumer_debug_info (t->other, see_pair, seen));
  assert_told ("consumer/offset", first);
  /* The producer is told of the one that holds back most space. */
  nr_seen = 0;
  assert_ok (blkring_producer_debug_info (t->p, see_pair, seen));
  assert_told ("consumer/offset", first);
}

/*---------------------------------------------------------------------*/

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
  attach_all (t, NULL);
  assert_true (nr_seen >= 2);
  blkring_device_set_log (t->device, NULL, NULL);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_MEMORY (trace_tells_each_pointer_and_flag),
    IN_FORMAT1 (pointer_is_traced_with_its_flag),
    IN_MEMORY (debug_info_has_both_pointers_and_flags),
    WITH_TWO_CONSUMERS (debug_info_of_a_consumer_is_its_own),
    IN_MEMORY (log_tells_who_attached),
  };

  return cmocka_run_group_tests_name ("trace", tests, NULL, NULL);
}
