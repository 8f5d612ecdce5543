/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The guard of format 1: each rule of pointers, flags and data is broken by
 * hand, on both sides of its limit.
 */

#include <config.h>

#include "service1-fixture.h"

static void
the_signature_stays (void **state)
{
  struct guarded g = start_guard ();
  unsigned char sector[S];

  (void) state;
  assert_refused (g.v, EINVAL, put_byte (g.a, 0, 0, S));
  assert_message ("stop the server");
  assert_refused (g.v, EINVAL, put_byte (g.a, S - 1, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, 0, 'M', 1));
  assert_refused (g.v, EINVAL, service_zero (g.a, S, 0, 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, S, 0, 0));
  /* What it is may be written. */
  assert_ok (service_pread (g.a, sector, S, 0));
  assert_ok (put_bytes (g.b, 0, sector, S));
  assert_ok (put_byte (g.a, 0, 'm', 1));
  assert_ok (service_zero (g.a, 10, 100, 0));
  stop_guard (&g);
}

static void
a_pointer_is_of_the_format (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, 100);
  assert_refused (g.v, EINVAL, put_producer (g.a, 102));
  assert_refused (g.v, EINVAL, put_producer (g.a, UINT64_C (1) << 63));
  assert_refused (g.v, EINVAL, put_producer (g.a, -4));
  assert_refused (g.v, EINVAL, put_pointer (g.a, SIDE_PRODUCER, 104, 0));
  assert_refused (g.v, EINVAL, put_pointer (g.a, SIDE_PRODUCER, 104, 3));
  assert_refused (g.v, EINVAL, put_consumer (g.a, 2));
  assert_refused (g.v, EINVAL, put_pointer (g.a, SIDE_CONSUMER, 0, 255));
  assert_refused (g.v, EINVAL, service_zero (g.a, S, S, 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, 1, S, 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, 1, 3 * S - 1, 0));
  assert_int_equal (get_pointer (g.a, SIDE_PRODUCER).position, 104);
  stop_guard (&g);
}

static void
the_producer_passes_only_what_was_written (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  /* Nothing was. */
  assert_refused (g.v, EINVAL, put_producer (g.a, 4));
  assert_refused (g.v, EINVAL, put_producer (g.a, AREA));
  /* One item; one word farther; to the middle of it. */
  assert_ok (put_item (g.a, 0, 100));
  assert_refused (g.v, EINVAL, put_producer (g.a, 108));
  assert_refused (g.v, EINVAL, put_producer (g.a, 100));
  assert_ok (put_producer (g.a, 104));
  /* Back. */
  assert_refused (g.v, EINVAL, put_producer (g.a, 0));
  assert_refused (g.v, EINVAL, put_producer (g.a, 100));
  assert_ok (put_producer (g.a, 104));
  /* With a hole in it. */
  assert_ok (put_item (g.a, 112, 50));
  assert_refused (g.v, EINVAL, put_producer (g.a, 112 + 56));
  assert_ok (put_item (g.a, 104, 4));
  assert_ok (put_producer (g.a, 112 + 56));
  stop_guard (&g);
}

/* The second lap: old items are there, well-formed, and not written anew. */
/* Item and pointer, and all between them, in one write. */
static int
push_in_one (struct service_client *c, uint64_t position, uint32_t length,
             uint64_t producer)
{
  const uint64_t at = DATA + position % AREA;
  unsigned char image[16 * S];

  assert_ok (service_pread (c, image, sizeof image, 0));
  memset (image + at, 'x', f1_item_size (length));
  put_le32 (image + at, length);
  put_le64 (image + S, producer);
  return put_bytes (c, S, image + S, at + f1_item_size (length) - S);
}

static void
the_producer_does_not_expose_the_lap_before (void **state)
{
  struct guarded g = start_guard ();
  unsigned i;

  (void) state;
  for (i = 0; i < AREA; i += S)
    push_item (g.a, i, S - 4);
  assert_refused (g.v, EINVAL, put_producer (g.a, AREA + S));
  assert_ok (put_consumer (g.b, 3 * S));
  assert_refused (g.v, EINVAL, put_producer (g.a, AREA + S));
  push_item (g.a, AREA, S - 4);
  assert_refused (g.v, EINVAL, put_producer (g.a, AREA + 2 * S));
  /* Farther than what is free. */
  assert_ok (put_item (g.a, AREA + S, S - 4));
  assert_ok (put_item (g.a, AREA + 2 * S, S - 4));
  assert_refused (g.v, EINVAL, put_producer (g.a, AREA + 4 * S));
  assert_ok (put_producer (g.a, AREA + 3 * S));
  /* What comes with the pointer counts, and no byte more. */
  assert_ok (put_consumer (g.b, 6 * S));
  assert_refused (g.v, EINVAL, push_in_one (g.a, AREA + 3 * S, S - 4,
                                            AREA + 5 * S));
  assert_ok (push_in_one (g.a, AREA + 3 * S, S - 4, AREA + 4 * S));
  stop_guard (&g);
}

static int
is_durable (struct guarded *g, uint64_t position, int byte)
{
  return g->v->rd->durable[DATA + position] == byte;
}

/* Before the server was started, too. */
static void
what_was_written_before_a_pointer_is_durable (void **state)
{
  struct guarded g = start_guard_on (BLKRING_DEVICE_FUA);

  (void) state;
  assert_ok (put_item (g.a, 0, 100));
  assert_false (is_durable (&g, 4, 'x'));
  leave (&g.a);
  leave (&g.b);
  serve_again (g.v);
  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  assert_ok (put_producer (g.a, 104));
  assert_true (is_durable (&g, 4, 'x'));
  stop_guard (&g);
}

/* What was pushed before the server was started anew is exposed behind
 * that; zeros, and what lies behind something newer, are not. */
static void
a_push_outlives_the_server (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  assert_ok (put_item (g.a, 0, 100));
  assert_ok (put_item (g.a, 104, 20));
  leave (&g.a);
  leave (&g.b);
  serve_again (g.v);
  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  assert_refused (g.v, EINVAL, put_producer (g.a, 132));
  assert_refused (g.v, EINVAL, put_producer (g.a, 120));
  assert_ok (put_producer (g.a, 104));
  assert_ok (put_producer (g.a, 128));
  assert_refused (g.v, EINVAL, put_producer (g.a, 132));
  /* Written since: it ends there. */
  assert_ok (put_item (g.a, 128, 0));
  assert_refused (g.v, EINVAL, put_producer (g.a, 136));
  assert_ok (put_producer (g.a, 132));
  stop_guard (&g);

  /* An empty item behind it is one if it was written since. */
  g = start_guard ();
  assert_ok (put_item (g.a, 0, 100));
  leave (&g.a);
  leave (&g.b);
  serve_again (g.v);
  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  assert_refused (g.v, EINVAL, put_producer (g.a, 108));
  assert_ok (put_item (g.a, 104, 0));
  assert_refused (g.v, EINVAL, put_producer (g.a, 112));
  assert_ok (put_producer (g.a, 108));
  stop_guard (&g);

  /* Pushed once more since: what lay behind it does not count. */
  g = start_guard ();
  assert_ok (put_item (g.a, 0, 100));
  assert_ok (put_item (g.a, 104, 20));
  leave (&g.a);
  leave (&g.b);
  serve_again (g.v);
  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  assert_ok (put_item (g.a, 0, 100));
  assert_refused (g.v, EINVAL, put_producer (g.a, 128));
  assert_ok (put_producer (g.a, 104));
  stop_guard (&g);
}

static void
the_consumer_goes_over_what_is_exposed (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, 100);
  push_item (g.a, 104, 40);
  assert_ok (put_item (g.a, 148, 4));
  assert_refused (g.v, EINVAL, put_consumer (g.b, 156));
  assert_refused (g.v, EINVAL, put_consumer (g.b, 152));
  assert_refused (g.v, EINVAL, put_consumer (g.b, 100));
  assert_refused (g.v, EINVAL, put_consumer (g.b, 4));
  assert_ok (put_consumer (g.b, 104));
  assert_refused (g.v, EINVAL, put_consumer (g.b, 0));
  assert_refused (g.v, EINVAL, put_consumer (g.b, 100));
  assert_ok (put_consumer (g.b, 104));
  assert_ok (put_consumer (g.b, 148));
  stop_guard (&g);
}

static void
what_is_unread_stays (void **state)
{
  struct guarded g = start_guard ();
  unsigned char old[3 * S];

  (void) state;
  push_item (g.a, 0, 100);
  push_item (g.a, 104, 400);
  assert_ok (put_consumer (g.b, 104));
  /* [104, 508) is unread. */
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + 104, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + 507, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + 103, 1, 2));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + 507, 1, 2));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA, 1, AREA));
  assert_refused (g.v, EINVAL, service_zero (g.a, 1, DATA + 108, 0));
  assert_refused (g.v, EINVAL,
                  service_zero (g.a, 600, DATA + 507,
                                SERVICE_FLAG_MAY_TRIM));
  assert_refused (g.v, EINVAL, service_trim (g.a, 2, DATA + 507, 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, 5, DATA + 100, 0));
  assert_ok (put_byte (g.a, DATA, 1, 104));
  assert_ok (put_byte (g.a, DATA + 508, 1, AREA - 508));
  assert_ok (service_zero (g.a, 104, DATA, 0));
  assert_ok (service_trim (g.a, AREA - 508, DATA + 508, 0));
  /* What it is may be written, by anybody. */
  assert_ok (service_pread (g.b, old, sizeof old, DATA));
  assert_ok (put_bytes (g.a, DATA, old, sizeof old));
  assert_ok (put_bytes (g.b, DATA, old, sizeof old));
  stop_guard (&g);
}

/* The last free byte, where the area is full, and where it is all free. */
static void
the_end_of_free_space (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  assert_ok (put_byte (g.a, DATA, 7, AREA));
  push_item (g.a, 0, AREA - 8);
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + AREA - 5, 1, 1));
  assert_ok (put_byte (g.a, DATA + AREA - 4, 1, 4));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + AREA - 4, 1, 5));
  assert_ok (put_item (g.a, AREA - 4, 0));
  assert_ok (put_producer (g.a, AREA));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + AREA - 1, 1, 1));
  assert_ok (put_consumer (g.b, AREA));
  assert_ok (put_byte (g.a, DATA, 7, AREA));
  stop_guard (&g);
}

/*---------------------------------------------------------------------*/
/* Suspend.                                                                */

static void
flags_follow_the_protocol (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, 100);
  /* Nothing was asked for. */
  assert_refused (g.v, EINVAL, put_pointer (g.a, SIDE_PRODUCER, 104, 1));
  assert_ok (put_pointer (g.b, SIDE_CONSUMER, 0, 1));
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).flag, true);
  /* Not acknowledged yet. */
  assert_refused (g.v, EINVAL, put_pointer (g.b, SIDE_CONSUMER, 0, 2));
  assert_ok (put_pointer (g.a, SIDE_PRODUCER, 104, 1));
  assert_refused (g.v, EINVAL, put_pointer (g.a, SIDE_PRODUCER, 104, 2));
  assert_ok (put_pointer (g.b, SIDE_CONSUMER, 0, 2));
  assert_refused (g.v, EINVAL, put_pointer (g.b, SIDE_CONSUMER, 0, 1));
  assert_ok (put_pointer (g.a, SIDE_PRODUCER, 104, 2));
  stop_guard (&g);
}

static void
a_suspended_producer_pushes_nothing (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, 100);
  assert_ok (put_item (g.a, 104, 100));
  assert_ok (put_pointer (g.b, SIDE_CONSUMER, 0, 1));
  assert_ok (put_item (g.a, 208, 100));
  assert_ok (put_pointer (g.a, SIDE_PRODUCER, 104, 1));
  assert_refused (g.v, EINVAL, put_item (g.a, 312, 100));
  assert_message ("suspended");
  assert_refused (g.v, EINVAL, service_trim (g.a, S, DATA + S, 0));
  /* What is there is not written again, but for what is unread. */
  record_device_forget (g.v->rd);
  assert_ok (put_item (g.a, 208, 100));
  assert_ok (service_zero (g.a, S, DATA + 4 * S, 0));
  assert_int_equal (g.v->rd->writes, 0);
  assert_ok (put_item (g.a, 0, 100));
  assert_int_equal (g.v->rd->writes, 1);
  /* What was pushed may be exposed, and bytes that are there may come. */
  assert_ok (put_pointer (g.a, SIDE_PRODUCER, 208, 1));
  assert_ok (put_item (g.a, 208, 100));
  assert_ok (put_item (g.a, 0, 100));
  assert_ok (put_pointer (g.b, SIDE_CONSUMER, 0, 2));
  assert_ok (put_item (g.a, 312, 100));
  stop_guard (&g);
}

/* A write that moves a position leaves the flag as it is. */
static void
a_stale_flag_does_not_undo_a_request (void **state)
{
  struct guarded g = start_guard ();
  unsigned char sector[S];

  (void) state;
  push_item (g.a, 0, 100);
  push_item (g.a, 104, 100);
  assert_ok (put_consumer (g.b, 0));
  /* An administrator, who owns nothing. */
  assert_ok (put_pointer (g.a, SIDE_CONSUMER, 0, 1));
  /* The consumer does not know, and says "2". */
  assert_ok (put_consumer (g.b, 104));
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).flag, true);
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).position, 104);
  assert_ok (service_pread (g.b, sector, S, 2 * S));
  assert_non_null (strstr ((char *) sector + F1_TEXT_OFFSET,
                           " used by c; consumer = 104; suspend = true"));
  /* Likewise the producer, before it has seen it … */
  assert_ok (put_pointer (g.a, SIDE_PRODUCER, 208, 1));
  assert_int_equal (get_pointer (g.a, SIDE_PRODUCER).flag, true);
  /* … and with a flag that it must not set. */
  assert_ok (put_pointer (g.b, SIDE_CONSUMER, 104, 2));
  push_item (g.a, 208, 8);
  assert_int_equal (get_pointer (g.a, SIDE_PRODUCER).flag, true);
  stop_guard (&g);
}

/* Who asks read the position a moment ago, and the consumer has gone on. */
static void
a_request_beside_a_running_consumer (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.b, 0, 100);
  push_item (g.b, 104, 100);
  assert_ok (put_consumer (g.b, 0));
  assert_int_equal (get_pointer (g.a, SIDE_CONSUMER).position, 0);
  assert_ok (put_consumer (g.b, 104));
  assert_ok (put_pointer (g.a, SIDE_CONSUMER, 0, 1));
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).flag, true);
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).position, 104);
  assert_ok (put_pointer (g.b, SIDE_PRODUCER, 208, 1));
  /* A position that it never read, or no other flag: a second consumer. */
  assert_int_equal (get_pointer (g.a, SIDE_CONSUMER).position, 104);
  assert_ok (put_consumer (g.b, 208));
  assert_refused (g.v, EPERM, put_pointer (g.a, SIDE_CONSUMER, 0, 2));
  assert_refused (g.v, EPERM, put_pointer (g.a, SIDE_CONSUMER, 104, 1));
  assert_ok (put_pointer (g.a, SIDE_CONSUMER, 104, 2));
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).position, 208);
  assert_ok (put_pointer (g.b, SIDE_PRODUCER, 208, 2));
  /* Its own owner's stale position is no request. */
  push_item (g.b, 208, 4);
  assert_ok (put_consumer (g.b, 216));
  assert_refused (g.v, EINVAL, put_pointer (g.b, SIDE_CONSUMER, 208, 1));
  stop_guard (&g);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (the_signature_stays),
    cmocka_unit_test (a_pointer_is_of_the_format),
    cmocka_unit_test (the_producer_passes_only_what_was_written),
    cmocka_unit_test (the_producer_does_not_expose_the_lap_before),
    cmocka_unit_test (what_was_written_before_a_pointer_is_durable),
    cmocka_unit_test (a_push_outlives_the_server),
    cmocka_unit_test (the_consumer_goes_over_what_is_exposed),
    cmocka_unit_test (what_is_unread_stays),
    cmocka_unit_test (the_end_of_free_space),
    cmocka_unit_test (flags_follow_the_protocol),
    cmocka_unit_test (a_suspended_producer_pushes_nothing),
    cmocka_unit_test (a_stale_flag_does_not_undo_a_request),
    cmocka_unit_test (a_request_beside_a_running_consumer),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
