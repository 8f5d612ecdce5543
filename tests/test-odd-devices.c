/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Devices that do less than one hopes for: short counts, EINTR, small
 * requests, large sectors, buffers that must be aligned, and an end that
 * comes nearer.  On all that work the same is done, and must leave the
 * same bytes; the recording device counts each request that breaks the
 * rules of its geometry.
 */

#include <config.h>

#include "record-fixture.h"

#define LARGE_SIZE (UINT64_C (1) << 20)

struct device_kind {
  const char *name;
  struct record_options options;
  size_t short_count;
  bool interrupts;
};

static const struct device_kind kinds[] = {
  { "one that does all at once", { .sector_size = 512 }, 0, false },
  { "one that is interrupted", { .sector_size = 512 }, 0, true },
  { "one that does a sector at a time", { .sector_size = 512 }, 512, false },
  { "one that does 7 bytes at a time", { .sector_size = 1 }, 7, false },
  { "one that does all of this", { .sector_size = 1 }, 100, true },
  { "one that takes requests of a sector", { .max_request = 512 }, 0, false },
  { "one that takes requests of 5000 bytes", { .max_request = 5000 },
    0, false },
  { "one that wants aligned buffers", { .memory_alignment = 4096 },
    0, false },
  { "one that has sectors of 4096 bytes",
    { .sector_size = 4096, .memory_alignment = 512, .max_request = 65536 },
    4096, true },
};
#define NR_KINDS (sizeof kinds / sizeof kinds[0])

static struct record_device *
make (const struct device_kind *kind, unsigned flags)
{
  struct record_options o = kind->options;
  struct record_device *rd;

  o.size = LARGE_SIZE;
  o.flags = flags;
  rd = record_device_new (&o);
  rd->short_count = kind->short_count;
  rd->interrupts = kind->interrupts;
  return rd;
}

static size_t
length_of (unsigned item)
{
  return item * 7919 % (item % 10 == 0 ? 300000 : 3000);
}

static void
append_item (blkring_producer *p, unsigned i, char *data)
{
  memset (data, i, length_of (i));
  if (blkring_producer_append (p, data, length_of (i), NULL) == -1)
    fail_msg ("item %u: %s", i, blkring_get_error ());
}

static void
take_item (blkring_consumer *c, unsigned i)
{
  struct blkring_item item;
  size_t k;

  if (blkring_consumer_pop (c, NULL, &item) == -1)
    fail_msg ("item %u: %s", i, blkring_get_error ());
  assert_int_equal (item.length, length_of (i));
  for (k = 0; k < item.length; ++k)
    assert_int_equal (((const unsigned char *) item.data)[k], i % 256);
  assert_int_equal (blkring_consumer_advance (c, item.next), 0);
}

static void
ignore_finding (void *opaque, const struct blkring_finding *finding)
{
  (void) opaque;
  (void) finding;
}

/* Everything that a ring can do, a few times around it. */
static void
use (struct record_device *rd)
{
  const struct blkring_create_options create = {
    .format = 1, .sector_size = 4096 };
  struct fixture f;
  struct iovec batch[3] = { { "a", 1 }, { "bb", 2 }, { NULL, 0 } };
  char *data = malloc (300000);
  unsigned i;

  assert_non_null (data);
  if (blkring_create (rd->device, &create) != 0)
    fail_msg ("%s", blkring_get_error ());
  f = start_on (rd, NULL, NULL);
  for (i = 0; i < 200; ++i) {
    append_item (f.p, i, data);
    if (i > 1)
      take_item (f.c, i - 2);
  }
  take_item (f.c, i - 2);
  assert_int_equal (blkring_consumer_suspend (f.c), 0);
  assert_int_equal (blkring_producer_state (f.p), BLKRING_SUSPENDED);
  assert_int_equal (blkring_consumer_resume (f.c), 0);
  assert_int_equal (blkring_producer_state (f.p), BLKRING_RUNNING);
  assert_int_equal (blkring_producer_appendv (f.p, batch, 3, NULL), 0);
  assert_int_equal (blkring_check (rd->device, NULL, ignore_finding, NULL),
                    0);
  assert_int_equal (rd->bad_requests, 0);
  blkring_producer_free (f.p);
  blkring_consumer_free (f.c);
  free (data);
}

static void
odd_devices_lose_nothing (void **state)
{
  struct record_device *plain = make (&kinds[0], *(unsigned *) *state), *rd;
  size_t i;

  use (plain);
  for (i = 1; i < NR_KINDS; ++i) {
    rd = make (&kinds[i], *(unsigned *) *state);
    use (rd);
    if (memcmp (rd->content, plain->content, LARGE_SIZE) != 0)
      fail_msg ("%s: other bytes", kinds[i].name);
    assert_int_equal (rd->nr_pending, 0);
    if (memcmp (rd->durable, plain->content, LARGE_SIZE) != 0)
      fail_msg ("%s: not durable", kinds[i].name);
    record_device_free (rd);
  }
  record_device_free (plain);
}

static void
requests_stay_inside_their_limits (void **state)
{
  struct record_device *rd = make (&kinds[8], *(unsigned *) *state);
  size_t i;

  use (rd);
  for (i = 0; i < rd->nr_log; ++i) {
    assert_int_equal (rd->log[i].offset % 4096, 0);
    assert_int_equal (rd->log[i].length % 4096, 0);
    assert_true (rd->log[i].length <= 65536);
  }
  record_device_free (rd);
}

/*---------------------------------------------------------------------*/

static void
assert_device_failed (void)
{
  assert_true (errno == EIO || errno == ENOSPC);
  assert_true (strlen (blkring_get_error ()) > 10);
}

/* The tail is at the end of the data area. */
static void
push_beyond_the_end (void **state)
{
  struct fixture f = start (state, NULL, NULL);

  append (f.p, 'a', CAPACITY - 1000);
  f.rd->geometry.size = SECTORS * S / 2;
  assert_int_equal (blkring_producer_append (f.p, "x", 1, NULL), -1);
  assert_device_failed ();
  assert_int_equal (blkring_producer_append (f.p, "x", 1, NULL), -1);
  assert_int_equal (errno, EIO);
  stop (&f);
}

static void
pop_beyond_the_end (void **state)
{
  struct fixture f = start (state, NULL, NULL);
  struct blkring_item item;

  append (f.p, 'a', CAPACITY - 1000);
  f.rd->geometry.size = SECTORS * S / 2;
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), -1);
  assert_device_failed ();
  assert_non_null (strstr (blkring_get_error (), "shrunk"));
  f.rd->geometry.size = SECTORS * S;
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), 0);
  stop (&f);
}

/* Somebody else has noticed that the device shrank: that makes it no
 * mistake of this caller's (EINVAL). */
static void
shrinking_is_no_mistake_of_the_caller (void **state)
{
  struct fixture f = start (state, NULL, NULL);
  struct blkring_item item;

  append (f.p, 'a', CAPACITY - 1000);
  f.rd->geometry.size = SECTORS * S / 2;
  (void) blkring_check (f.rd->device, NULL, ignore_finding, NULL);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), -1);
  assert_device_failed ();
  assert_int_equal (blkring_producer_append (f.p, "x", 1, NULL), -1);
  assert_device_failed ();
  stop (&f);
}

static int
ignore_region (void *opaque, const struct blkring_region *region)
{
  (void) opaque;
  (void) region;
  return 0;
}

/* Whatever is left: no crash, no request beyond the first end, and a
 * reason for each refusal. */
static void
any_shrunk_device_is_survived (void **state)
{
  const struct record_options o = {
    .size = SECTORS * S,
    .sector_size = 1,
    .flags = *(unsigned *) *state,
  };
  struct blkring_info info;
  struct blkring_item item;
  struct fixture f;
  uint64_t size;

  for (size = 0; size <= SECTORS * S; size += 128) {
    f = start_on (record_device_new_ring (&o, 0), NULL, NULL);
    append (f.p, 'a', CAPACITY - 2000);
    append (f.p, 'b', 500);
    f.rd->geometry.size = size;
    (void) blkring_consumer_pop (f.c, NULL, &item);
    (void) blkring_producer_append (f.p, "xyz", 3, NULL);
    (void) blkring_producer_state (f.p);
    (void) blkring_map (f.rd->device, NULL, ignore_region, NULL);
    (void) blkring_check (f.rd->device, NULL, ignore_finding, NULL);
    (void) blkring_consumer_state (f.c);
    blkring_producer_free (f.p);
    blkring_consumer_free (f.c);
    record_device_forget (f.rd);
    f.p = blkring_producer_attach (f.rd->device, NULL);
    f.c = blkring_consumer_attach (f.rd->device, NULL);
    if (size % S != 0 || size < 4 * S) {
      assert_null (f.p);
      assert_null (f.c);
      assert_int_equal (blkring_inspect (f.rd->device, NULL, &info), -1);
      assert_true (strlen (blkring_get_error ()) > 10);
      assert_int_equal (f.rd->writes, 0);
    }
    stop (&f);
  }
}

/* Format 1 has sectors of 512 or 4096 bytes.  On a device of larger ones
 * there is no ring. */
static void
larger_sectors_hold_no_ring (void **state)
{
  struct record_options o = { .size = LARGE_SIZE };
  struct record_device *rd;

  o.flags = *(unsigned *) *state;
  for (o.sector_size = 8192; o.sector_size <= 65536; o.sector_size *= 2) {
    rd = record_device_new (&o);
    assert_null (blkring_producer_attach (rd->device, NULL));
    assert_int_equal (errno, EMEDIUMTYPE);
    assert_int_equal (blkring_create (rd->device, FORMAT1), -1);
    assert_int_equal (errno, EINVAL);
    assert_non_null (strstr (blkring_get_error (), "4096"));
    assert_int_equal (rd->bad_requests, 0);
    record_device_free (rd);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    EACH ("short counts, EINTR and small requests lose nothing",
          odd_devices_lose_nothing),
    EACH ("requests stay inside the limits of the device",
          requests_stay_inside_their_limits),
    EACH ("a push beyond the end of a device that shrank fails",
          push_beyond_the_end),
    EACH ("a pop beyond the end of a device that shrank fails",
          pop_beyond_the_end),
    EACH ("a device that shrank is no mistake of the caller",
          shrinking_is_no_mistake_of_the_caller),
    EACH ("whatever is left of a device, nothing crashes",
          any_shrunk_device_is_survived),
    EACH ("a device of larger sectors holds no ring",
          larger_sectors_hold_no_ring),
  };

  return cmocka_run_group_tests_name ("odd devices", tests, NULL, NULL);
}
