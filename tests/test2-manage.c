/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2: what an administrator does when owners have died, and a consumer
 * is to begin where the others are, or a late frame is to go.
 */

#include <config.h>

#include <stdio.h>

#include "format2-shared.h"

/* What a dead producer appended no record tells; and what the others freed of
 * it may be overwritten. */
static void
enabled_consumer_begins_where_the_others_are (void **state)
{
  struct record_device *rd = new_ring (&(struct shape) {
      .blocks = 128, .consumers = 2 });
  struct blkring_attach_options second = *with_clock ();
  struct fixture f;
  struct f2_record r, other;

  (void) state;
  assert_ok (blkring_consumer_enable (rd->device, 1, false));
  f = start_on (rd, with_clock (), with_clock ());
  put (f.p, 'a', 1);
  put (f.p, 'b', 1);
  put (f.p, 'c', 1);
  free_one (f.c);
  free_one (f.c);
  kill_producer (&f);
  blkring_consumer_free (f.c);
  get_record (rd, F2_PRODUCER, &r);
  assert_int_equal (r.position, 0);
  assert_ok (blkring_consumer_enable (rd->device, 1, true));
  get_record (rd, F2_CONSUMER, &other);
  get_record (rd, F2_CONSUMER + 1, &r);
  assert_int_equal (r.frame, 2 * B);
  assert_int_equal (r.frame, other.frame);
  assert_int_equal (r.chain, other.chain);
  second.consumer = 1;
  f.c = blkring_consumer_attach (rd->device, &second);
  assert_non_null (f.c);
  assert_holds (f.c, "c");
  f.p = attach_producer (rd);
  put (f.p, 'd', 1);
  assert_holds (f.c, "cd");
  stop (&f);
}

static void
keep_message (void *opaque, const struct blkring_finding *finding)
{
  snprintf (opaque, 400, "%s", finding->message);
}

/* A frame of a producer that was replaced lies where one of its dead successor
 * was: it is dropped, and what it says is what was lost. */
static void
late_frame_is_dropped (void **state)
{
  struct shared h = start_shared (with_frozen_clock (), with_clock ());
  struct fixture g;
  char message[400] = "";

  (void) state;
  put (h.f.p, 'a', 1);
  take_over_producer (&h);
  put (h.g.p, 'b', 1);
  put (h.f.p, 'z', 1);
  g = elsewhere (&h.f);
  assert_no_handle (EBADMSG, blkring_producer_attach (g.rd->device, NULL));
  assert_int_equal (check (g.rd).corruptions, 1);
  assert_int_equal (blkring_repair (g.rd->device, NULL, BLKRING_REPAIR_LEAKS,
                                    keep_message, message), 0);
  assert_int_equal (blkring_repair (g.rd->device, NULL, BLKRING_REPAIR_ALL,
                                    keep_message, message), 1);
  assert_non_null (strstr (message, "a producer that had been replaced"));
  assert_int_equal (check (g.rd).corruptions, 0);
  assert_memory_equal (g.rd->content, g.rd->durable, g.rd->allocated);
  g.p = attach_producer (g.rd);
  g.c = attach_consumer (g.rd);
  assert_holds (g.c, "a");
  put (g.p, 'c', 1);
  assert_holds (g.c, "ac");
  stop (&g);
  stop_shared (&h);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (enabled_consumer_begins_where_the_others_are),
    cmocka_unit_test (late_frame_is_dropped),
  };

  return cmocka_run_group_tests_name ("manage", tests, NULL, NULL);
}
