/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service core on devices that fail in unusual places, and requests that
 * ask for nothing.
 */

#include <config.h>

#include "service-rings.h"

/* Of those who had an answer each hears once of a flush that failed, also by
 * a write of a pointer, and with the guard or without. */
static void
a_pointer_tells_of_a_flush_that_failed (void **state)
{
  struct served *v = served_new (new_format1 (512, 0));
  struct service_client *a, *b;

  v->options.guard = *(bool *) *state;
  serve (v);
  a = join (v, "alice");
  b = join (v, "bob");
  assert_ok (put_bytes (a, DATA, "\4\0\0\0abcd", 8));
  assert_ok (put_bytes (b, DATA + 8, "\4\0\0\0abcd", 8));
  record_device_fail (v->rd, RECORD_FLUSH, 0, EIO);
  assert_fails (EIO, service_flush (b));
  assert_fails (EIO, put_producer (a, 8));
  assert_message ("an earlier flush failed");
  assert_int_equal (durable_producer (v), 0);
  assert_ok (put_producer (a, 8));
  assert_int_equal (durable_producer (v), 8);
  service_disconnect (a);
  service_disconnect (b);
  served_free (v);
}

static int
zero_fails (void *opaque, uint64_t count, uint64_t offset, unsigned flags)
{
  (void) opaque;
  (void) count;
  (void) offset;
  (void) flags;
  errno = EIO;
  return -1;
}

static void
a_zero_that_fails_is_told (void **state)
{
  struct served *v = served_new (new_format1 (512, 0));
  struct service_client *c;

  (void) state;
  v->options.device_ops.zero = zero_fails;
  serve (v);
  c = join (v, "alice");
  assert_fails (EIO, service_zero (c, 1024, DATA, 0));
  assert_message ("zero of 1024 bytes");
  service_disconnect (c);
  served_free (v);
}

/* What others write there is read at each connection; if that is nothing
 * that can be understood, it is shown as it was. */
static void
what_is_served_read_only_may_get_damaged (void **state)
{
  struct served *v = served_new (new_format1 (512, 0));
  struct service_client *c;
  json_t *o;

  (void) state;
  v->rd->geometry.flags |= BLKRING_DEVICE_READ_ONLY;
  serve (v);
  record_device_poke (v->rd, S + 8, "\7", 1);
  c = join (v, "alice");
  assert_log (v, "shown as it was before", "corrupt");
  o = get_status (v);
  assert_int_equal (number (o, "producer", "position"), 0);
  json_decref (o);
  record_device_poke (v->rd, S + 8, "\2", 1);
  forget_log (v);
  service_disconnect (c);
  c = join (v, "alice");
  assert_int_equal (v->errors, 0);
  service_disconnect (c);
  served_free (v);
}

/* Without the guard anybody may damage it. */
static void
the_status_of_a_damaged_ring (void **state)
{
  struct served *v = served_new (new_format1 (512, 0));
  json_t *o;

  (void) state;
  v->options.guard = false;
  serve (v);
  record_device_poke (v->rd, S + 8, "\7", 1);
  o = get_status (v);
  assert_null (json_object_get (o, "producer"));
  assert_true (json_is_false (json_object_get (o, "guard")));
  json_decref (o);
  served_free (v);
}

static int
refuse_extent (void *opaque, uint64_t offset, uint64_t length, unsigned type)
{
  (void) offset;
  (void) length;
  (void) type;
  ++*(unsigned *) opaque;
  return -1;
}

static void
extents_that_nobody_wants (void **state)
{
  struct served *v = served_on (new_format1 (512, 0));
  struct service_client *c = join (v, "alice");
  unsigned calls = 0;

  (void) state;
  assert_ok (service_extents (c, 0, 512, false, refuse_extent, &calls));
  assert_int_equal (calls, 0);
  assert_int_equal (service_extents (c, 65536, 0, false, refuse_extent,
                                     &calls), -1);
  assert_int_equal (calls, 1);
  service_disconnect (c);
  served_free (v);
}

int
main (void)
{
  static bool on = true, off = false;
  const struct CMUnitTest tests[] = {
    { "a pointer tells of a flush that failed",
      a_pointer_tells_of_a_flush_that_failed, NULL, NULL, &on },
    { "a pointer tells of a flush that failed, without the guard",
      a_pointer_tells_of_a_flush_that_failed, NULL, NULL, &off },
    cmocka_unit_test (a_zero_that_fails_is_told),
    cmocka_unit_test (what_is_served_read_only_may_get_damaged),
    cmocka_unit_test (the_status_of_a_damaged_ring),
    cmocka_unit_test (extents_that_nobody_wants),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
