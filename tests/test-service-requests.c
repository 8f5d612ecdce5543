/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service core: requests of any alignment, zero, trim and extents, and
 * what is let in without the guard.
 */

#include <config.h>

#include "service-rings.h"

/* Any alignment, on devices of any sector. */
static void
requests_of_any_alignment (void **state)
{
  const uint32_t sector = *(uint32_t *) *state;
  struct served *v = served_on (new_format1 (sector, BLKRING_DEVICE_FUA));
  struct service_client *c = join (v, "alice");
  const uint64_t data = 3 * (sector > 512 ? 4096 : 512), n = 40000;
  unsigned char *model = calloc (1, n), *buf = malloc (n);
  unsigned i, seed = 1, from, length, k;

  assert_ok (service_zero (c, n, data, 0));
  for (i = 0; i < 300; ++i) {
    seed = seed * 1103515245 + 12345;
    from = (seed >> 8) % n;
    seed = seed * 1103515245 + 12345;
    length = 1 + (seed >> 8) % (i % 3 ? 600 : 20000);
    if (length > n - from)
      length = n - from;
    for (k = 0; k < length; ++k)
      buf[k] = i % 5 ? i + k * 7 : 0;
    memcpy (model + from, buf, length);
    if (i % 5)
      assert_ok (service_pwrite (c, buf, length, data + from,
                                 i % 2 ? SERVICE_FLAG_FUA : 0));
    else
      assert_ok (service_zero (c, length, data + from,
                               i % 2 ? SERVICE_FLAG_FUA : 0));
    if (i % 2)
      assert_memory_equal (v->rd->durable + data + from, buf, length);
    seed = seed * 1103515245 + 12345;
    from = (seed >> 8) % n;
    length = (n - from) / (1 + i % 7);
    assert_ok (service_pread (c, buf, length, data + from));
    assert_memory_equal (buf, model + from, length);
  }
  free (model);
  free (buf);
  service_disconnect (c);
  served_free (v);
}

static unsigned zeroed, trimmed;

static int
do_zero (void *opaque, uint64_t count, uint64_t offset, unsigned flags)
{
  struct record_device *rd = opaque;

  if (zeroed++ == 0 && flags & SERVICE_FLAG_FAST_ZERO) {
    errno = ENOTSUP;
    return -1;
  }
  memset (rd->content + offset, 0, count);
  return 0;
}

static int
do_trim (void *opaque, uint64_t count, uint64_t offset)
{
  struct record_device *rd = opaque;

  trimmed++;
  memset (rd->content + offset, 0xff, count);
  return 0;
}

static void
zero_and_trim_of_the_device (void **state)
{
  struct served *v = served_new (new_format1 (512, 0));
  struct service_client *c;

  (void) state;
  serve (v);
  c = join (v, "alice");
  assert_fails (ENOTSUP, service_zero (c, 512, DATA, SERVICE_FLAG_FAST_ZERO));
  service_disconnect (c);
  service_close (v->s);
  v->options.device_ops.zero = do_zero;
  v->options.device_ops.trim = do_trim;
  v->options.device_opaque = v->rd;
  serve (v);
  c = join (v, "alice");
  assert_true (service_can (c, SERVICE_CAN_FAST_ZERO));
  assert_ok (put_byte (c, DATA, 'x', 4096));
  assert_fails (ENOTSUP, service_zero (c, 512, DATA, SERVICE_FLAG_FAST_ZERO));
  assert_reads (c, DATA, 'x', 512);
  assert_ok (service_zero (c, 512, DATA, SERVICE_FLAG_FAST_ZERO));
  assert_int_equal (zeroed, 2);
  assert_reads (c, DATA, 0, 512);
  assert_ok (service_trim (c, 1024, DATA + 512, 0));
  assert_int_equal (trimmed, 1);
  assert_reads (c, DATA + 512, 0, 1024);
  assert_reads (c, DATA + 1536, 'x', 512);
  /* Less than a sector is nothing that can be given back. */
  assert_ok (service_trim (c, 511, DATA + 2049, 0));
  assert_int_equal (trimmed, 1);
  service_disconnect (c);
  served_free (v);
}

static void
extents_are_clipped (void **state)
{
  struct served *v = served_on (new_format1 (512, 0));
  struct service_client *c = join (v, "alice");
  struct extents e = { 0 };

  (void) state;
  assert_ok (put_byte (c, DATA + 1024, 1, 512));
  assert_ok (service_extents (c, 3000, 1000, false, add_to_extents, &e));
  assert_int_equal (e.n, 4);
  assert_int_equal (e.v[0].offset, 1000);
  assert_int_equal (e.v[1].offset, DATA);
  assert_int_equal (e.v[3].offset + e.v[3].length, 4000);
  memset (&e, 0, sizeof e);
  assert_ok (service_extents (c, 3000, 2000, true, add_to_extents, &e));
  assert_int_equal (e.n, 1);
  assert_true (e.v[0].hole);
  assert_int_equal (e.v[0].length, DATA + 1024 - 2000);
  assert_fails (EINVAL, service_extents (c, 1, 65536, false, add_to_extents,
                                         &e));
  service_disconnect (c);
  served_free (v);
}

static void
without_the_guard_anything_goes (void **state)
{
  struct served *v = served_new (new_format1 (512, 0));
  struct service_client *a, *b;
  json_t *o;

  (void) state;
  v->options.guard = false;
  memset (v->rd->content + DATA, 0x55, 1024);
  serve (v);
  assert_log (v, "guard is off", "");
  a = join (v, "alice");
  b = join (v, "bob");
  assert_reads (a, DATA, 0x55, 1024);
  assert_ok (put_producer (a, 4096));
  assert_int_equal (durable_producer (v), 4096);
  assert_ok (put_producer (b, 0));
  assert_false (service_can (a, SERVICE_CAN_EXTENTS));
  o = get_status (v);
  assert_true (json_is_false (json_object_get (o, "guard")));
  assert_int_equal (number (o, "producer", "position"), 0);
  json_decref (o);
  assert_ok (put_byte (a, 0, 0, 512));
  assert_ok (service_trim (a, 512, 0, 0));
  service_disconnect (a);
  service_disconnect (b);
  served_free (v);
}

/* What belongs to a stopped server is told so. */
static void
create_erase_and_repair_are_refused (void **state)
{
  const struct blkring_create_options force = {
    .flags = BLKRING_CREATE_FORCE, .format = *(unsigned *) *state,
  };
  struct served *v = served_on (force.format == 1 ? new_format1 (512, 0)
                                : new_format2 (0));
  unsigned char *before = copy_content (v);
  blkring_device *d = connect_device (v, "administrator");
  blkring_producer *p;

  assert_fails (EINVAL, blkring_create (d, &force));
  assert_log (v, "administrator", "stop the server");
  forget_log (v);
  assert_fails (EINVAL, blkring_erase (d, NULL, 0, NULL, NULL));
  assert_log (v, "administrator", "stop the server");
  assert_memory_equal (before, v->rd->content, v->rd->allocated);
  free (before);
  /* What a producer that has gone had pushed. */
  p = blkring_producer_attach (d, NULL);
  assert_ok (blkring_producer_push (p, "staged", 6, NULL));
  record_device_fail (v->rd, RECORD_WRITE, 0, EIO);
  blkring_producer_free (p);
  blkring_device_close (d);
  d = connect_device (v, "administrator");
  before = copy_content (v);
  assert_int_equal (blkring_repair (d, NULL, BLKRING_REPAIR_LEAKS, NULL, NULL),
                    force.format == 1 ? 0 : -1);
  assert_memory_equal (before, v->rd->content, v->rd->allocated);
  free (before);
  blkring_device_close (d);
  served_free (v);
}

static void
a_vandal_does_not_fill_the_log (void **state)
{
  struct served *v = served_on (new_format1 (512, 0));
  struct service_client *c = join (v, "vandal"), *d;
  unsigned i;
  json_t *o;

  (void) state;
  for (i = 0; i < 1000; ++i)
    assert_int_equal (put_byte (c, 0, 1, 1), -1);
  assert_true (v->errors >= 16 && v->errors < 30);
  o = get_status (v);
  assert_int_equal (number (o, "rejected", "count"), 1000);
  json_decref (o);
  d = join (v, "other");
  assert_refused (v, EINVAL, put_byte (d, 0, 1, 1));
  service_disconnect (c);
  service_disconnect (d);
  served_free (v);
}

int
main (void)
{
  static uint32_t sectors[] = { 1, 512, 4096 };
  static unsigned one = 1, two = 2;
  const struct CMUnitTest tests[] = {
    { "requests of any alignment, bytes", requests_of_any_alignment, NULL,
      NULL, &sectors[0] },
    { "requests of any alignment, sectors of 512", requests_of_any_alignment,
      NULL, NULL, &sectors[1] },
    { "requests of any alignment, sectors of 4096", requests_of_any_alignment,
      NULL, NULL, &sectors[2] },
    cmocka_unit_test (zero_and_trim_of_the_device),
    cmocka_unit_test (extents_are_clipped),
    cmocka_unit_test (without_the_guard_anything_goes),
    { "create, erase and repair are refused, format 1",
      create_erase_and_repair_are_refused, NULL, NULL, &one },
    { "create, erase and repair are refused, format 2",
      create_erase_and_repair_are_refused, NULL, NULL, &two },
    cmocka_unit_test (a_vandal_does_not_fill_the_log),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
