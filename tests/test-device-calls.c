/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Devices that cannot be, requests that do not fit them, and callers that ask
 * for too much: each is refused with a reason, and nothing is read or written
 * that should not be.
 */

#include <config.h>

#include "record-fixture.h"
#include "common.h"
#include "cut-device.h"
#include "no-requests.h"

/*---------------------------------------------------------------------*/
/* Making a device.                                                      */

static int
tell_geometry (void *opaque, struct blkring_geometry *g)
{
  *g = *(struct blkring_geometry *) opaque;
  return 0;
}

static void *
no_watch (void *opaque)
{
  return opaque;
}

static uint64_t
no_connection (void *opaque)
{
  (void) opaque;
  return 1;
}

static struct blkring_device_ops
minimal_ops (void)
{
  return (struct blkring_device_ops) {
    .struct_size = sizeof (struct blkring_device_ops),
    .geometry = tell_geometry, .pread = no_pread, .pwrite = no_pwrite,
    .flush = no_flush,
  };
}

static void
impossible_geometry_is_refused (void **state)
{
  static struct blkring_geometry good = {
    .size = 65536, .sector_size = 512, .memory_alignment = 1,
  };
  static struct blkring_geometry bad[] = {
    { .size = 65536, .sector_size = 513, .memory_alignment = 1 },
    { .size = 65536, .sector_size = 0, .memory_alignment = 1 },
    { .size = 65536, .sector_size = 131072, .memory_alignment = 1 },
    { .size = 65536, .sector_size = 512, .memory_alignment = 3 },
    { .size = 65536, .sector_size = 512, .memory_alignment = 8192 },
    { .size = 65536, .sector_size = 4096, .memory_alignment = 1,
      .max_request = 4095 },
    { .size = UINT64_C (1) << 63, .sector_size = 512,
      .memory_alignment = 1 },
  };
  const struct blkring_device_ops ops = minimal_ops ();
  blkring_device *device = blkring_device_new (&ops, &good);
  size_t i;

  (void) state;
  assert_handle (device);
  for (i = 0; i < LENGTH (bad); ++i) {
    assert_no_handle (EINVAL, blkring_device_new (&ops, &bad[i]));
    assert_message ("impossible geometry");
  }
  blkring_device_close (device);
}

static void
functions_come_together (void **state)
{
  static struct blkring_geometry good = {
    .size = 65536, .sector_size = 512, .memory_alignment = 1,
  };
  struct blkring_device_ops ops = minimal_ops ();

  (void) state;
  ops.watch = no_watch;
  assert_no_handle (EINVAL, blkring_device_new (&ops, &good));
  assert_message ("watch_wait");
  ops = minimal_ops ();
  ops.connection = no_connection;
  assert_no_handle (EINVAL, blkring_device_new (&ops, &good));
  ops = minimal_ops ();
  ops.flush = NULL;
  assert_no_handle (EINVAL, blkring_device_new (&ops, &good));
}

/*---------------------------------------------------------------------*/
/* Requests of a caller.                                                 */

static void
requests_must_fit (void **state)
{
  const struct record_options o = { .size = 8192, .memory_alignment = 4096 };
  struct record_device *rd = record_device_new (&o);
  unsigned char buf[1025] __attribute__ ((aligned (16))), back[1024];

  (void) state;
  fill_payload (buf + 1, 1024, 3);
  assert_fails (EINVAL, blkring_device_read (rd->device, buf, 513, 7680));
  assert_message ("beyond the device's end");
  assert_fails (EINVAL, blkring_device_read (rd->device, buf, 1,
                                             UINT64_MAX));
  assert_fails (EINVAL, blkring_device_write (rd->device, buf, 512, 8192));
  assert_message ("beyond the device's end");
  assert_fails (EINVAL, blkring_device_write (rd->device, buf, 511, 512));
  assert_message ("sectors of 512");
  assert_fails (EINVAL, blkring_device_write (rd->device, buf, 512, 511));
  assert_int_equal (rd->writes + rd->reads, 0);
  /* A buffer that the device cannot take is copied, and so is an odd part. */
  assert_ok (blkring_device_write (rd->device, buf + 1, 1024, 512));
  assert_true (is_payload (rd->content + 512, 1024, 3));
  assert_ok (blkring_device_read (rd->device, back, 100, 700));
  assert_memory_equal (back, rd->content + 700, 100);
  assert_int_equal (rd->bad_requests, 0);
  record_device_free (rd);
}

static void
nothing_is_no_request (void **state)
{
  struct cut_store *store = cut_store_new (8192);
  struct cut_device *d = cut_device_new (store);
  char byte;

  (void) state;
  assert_ok (blkring_device_read (d->device, &byte, 0, 8192));
  assert_ok (blkring_device_write (d->device, &byte, 0, 0));
  assert_int_equal (d->flights, 0);
  cut_device_free (d);
  cut_store_free (store);
}

/*---------------------------------------------------------------------*/
/* Rings on devices that cannot hold them.                               */

/* A pointer could not be written at once. */
static void
tiny_requests_hold_no_ring (void **state)
{
  const struct record_options o = {
    .size = 131072, .sector_size = 1, .max_request = 256,
  };
  const unsigned *format = *state;
  const struct blkring_create_options create = { .format = *format };
  struct record_device *rd = record_device_new (&o);

  rd->geometry.max_request = 512;
  assert_ok (blkring_create (rd->device, &create));
  rd->geometry.max_request = 256;
  assert_no_handle (EINVAL, blkring_producer_attach (rd->device, NULL));
  assert_message ("smaller than a pointer");
  record_device_free (rd);
}

static void
large_sectors_hold_no_ring (void **state)
{
  const struct record_options o = { .size = 1 << 20, .sector_size = 8192 };
  const struct blkring_create_options create = { .block_size = 16384 };
  struct record_device *rd = record_device_new (&o);

  (void) state;
  assert_fails (EINVAL, blkring_create (rd->device, NULL));
  assert_fails (EINVAL, blkring_create (rd->device, &create));
  assert_message ("8192 bytes, more than the 4096");
  assert_int_equal (rd->writes, 0);
  record_device_free (rd);
}

static void
less_than_a_sector_is_erased (void **state)
{
  static const char zeros[100];
  const struct record_options o = { .size = 100, .sector_size = 1 };
  struct record_device *rd = record_device_new (&o);

  (void) state;
  memset (rd->content, 'x', 100);
  assert_ok (blkring_erase (rd->device, NULL, 0, NULL, NULL));
  assert_memory_equal (rd->durable, zeros, 100);
  record_device_free (rd);
}

/*---------------------------------------------------------------------*/

static int
stop_at_the_third (void *opaque, const struct blkring_region *region)
{
  (void) region;
  return ++*(unsigned *) opaque == 3 ? 42 : 0;
}

static void
map_ends_when_told (void **state)
{
  const unsigned *format = *state;
  const struct blkring_create_options create = { .format = *format };
  blkring_device *device = blkring_device_memory (1 << 20, 512);
  unsigned calls = 0;

  assert_handle (device);
  assert_ok (blkring_create (device, &create));
  assert_returns (42, blkring_map (device, NULL, stop_at_the_third, &calls));
  assert_int_equal (calls, 3);
  blkring_device_close (device);
}

static const struct blkring_attach_options hasty = {
  .durability = BLKRING_DURABILITY_NONE, .largest_item = 64 << 20,
};

static int
count (void *opaque, const struct blkring_item *item)
{
  (void) item;
  ++*(unsigned *) opaque;
  return 0;
}

/* The positions of most of them are remembered, all are exposed. */
static void
many_pushes_before_one_advance (void **state)
{
  enum { PUSHES = 70000 };
  const unsigned *format = *state;
  const struct blkring_create_options create = {
    .format = *format, .block_size = *format == 2 ? 512 : 0,
  };
  blkring_device *device = blkring_device_memory (37 << 20, 512);
  blkring_position first = 0, middle = 0, after = 0;
  blkring_producer *p;
  blkring_consumer *c;
  unsigned i, n = 0;

  assert_handle (device);
  assert_ok (blkring_create (device, &create));
  p = blkring_producer_attach (device, &hasty);
  c = blkring_consumer_attach (device, &hasty);
  assert_handle (p);
  assert_handle (c);
  for (i = 0; i < PUSHES; ++i) {
    assert_ok (blkring_producer_push (p, "x", 1, &after));
    if (i == 0)
      first = after;
    if (i == 50000)
      middle = after;
  }
  assert_fails (EINVAL, blkring_producer_advance (p, first));
  assert_message ("no push returned");
  assert_ok (blkring_producer_advance (p, middle));
  assert_ok (blkring_consumer_fold (c, NULL, count, &n));
  assert_int_equal (n, 50001);
  assert_ok (blkring_producer_advance (p, after));
  n = 0;
  assert_ok (blkring_consumer_fold (c, NULL, count, &n));
  assert_int_equal (n, PUSHES);
  blkring_producer_free (p);
  blkring_consumer_free (c);
  blkring_device_close (device);
}

int
main (void)
{
  static unsigned one = 1, two = 2;
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (impossible_geometry_is_refused),
    cmocka_unit_test (functions_come_together),
    cmocka_unit_test (requests_must_fit),
    cmocka_unit_test (nothing_is_no_request),
    cmocka_unit_test_prestate (tiny_requests_hold_no_ring, &one),
    cmocka_unit_test_prestate (tiny_requests_hold_no_ring, &two),
    cmocka_unit_test (large_sectors_hold_no_ring),
    cmocka_unit_test (less_than_a_sector_is_erased),
    cmocka_unit_test_prestate (map_ends_when_told, &one),
    cmocka_unit_test_prestate (map_ends_when_told, &two),
    cmocka_unit_test_prestate (many_pushes_before_one_advance, &one),
    cmocka_unit_test_prestate (many_pushes_before_one_advance, &two),
  };

  return cmocka_run_group_tests_name ("calls of a device", tests, NULL,
                                      NULL);
}
