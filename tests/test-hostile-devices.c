/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Devices that hold no ring, or a part of one, or one in another; that have
 * shrunk, grown, or got other sectors; and one that is made to keep a reader
 * busy.  Whatever it is, nothing that fuzzing/hostile-device.h forbids
 * happens.
 */

#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"
#include "crc32c.h"
#include "exercise.h"
#include "format2.h"
#include "images.h"

static struct hostile_options
options (const unsigned char *image, size_t length)
{
  return (struct hostile_options) {
    .image = image, .length = length, .size = length, .sector_size = 512,
    .memory_alignment = 1,
  };
}

static unsigned char *
copy_of (const void *p, size_t size)
{
  unsigned char *copy = malloc (size + 1);

  assert_non_null (copy);
  memcpy (copy, p, size);
  return copy;
}

static int
inspect (const struct hostile_options *o)
{
  struct hostile_device *d = hostile_new (o);
  struct blkring_info *info = malloc (sizeof *info);
  int r;

  assert_non_null (info);
  hostile_begin (d, 0, 0);
  r = blkring_inspect (d->device, NULL, info) == 0 ? 0 : errno;
  hostile_end (d);
  free (info);
  hostile_free (d);
  return r;
}

static void
assert_inspect (int expected, const struct hostile_options *o)
{
  const int found = inspect (o);

  if (found != expected)
    fail_msg ("errno %d, expected %d: %s", found, expected,
              blkring_get_error ());
}

static void
fill_random (unsigned char *p, size_t size, uint64_t seed)
{
  size_t i;

  for (i = 0; i < size; ++i) {
    seed = seed * UINT64_C (6364136223846793005) +
      UINT64_C (1442695040888963407);
    p[i] = seed >> 56;
  }
}

/*---------------------------------------------------------------------*/

static void
no_ring (void **state)
{
  static const size_t sizes[] = { 0, 512, 1024, 2048, 4096, 8192, 65536,
                                  1 << 20 };
  unsigned char *image = malloc (1 << 20);
  struct hostile_options o;
  unsigned kind, i;

  (void) state;
  assert_non_null (image);
  for (kind = 0; kind < 12; ++kind)
    for (i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
      if (kind < 2)
        memset (image, kind ? 0xff : 0, sizes[i]);
      else
        fill_random (image, sizes[i], kind);
      o = options (image, sizes[i]);
      assert_inspect (EMEDIUMTYPE, &o);
      exercise (&o, NULL, 0);
    }
  free (image);
}

/* Each 512 bytes of each ring, one after the other, become something else. */
static void
a_part_of_a_ring (void **state)
{
  const unsigned char *base;
  unsigned char *image;
  struct hostile_options o;
  size_t size, at;
  unsigned nr, kind;

  (void) state;
  for (nr = 0; nr < NR_BASES; ++nr) {
    base = base_image (nr, &size);
    for (at = 0; at < size; at += 512)
      for (kind = 0; kind < 4; ++kind) {
        image = copy_of (base, size);
        o = options (image, size);
        if (kind < 2)
          memset (image + at, kind ? 0xff : 0, 512);
        else if (kind == 2)
          fill_random (image + at, 512, at);
        else
          memcpy (image + at, base + (at + 512) % size, 512);
        exercise (&o, NULL, 0);
        free (image);
      }
  }
}

static void
shrunk_and_grown (void **state)
{
  const unsigned char *base;
  struct hostile_options o;
  size_t size, shorter;
  unsigned nr;
  bool sized;

  (void) state;
  for (nr = 0; nr < NR_BASES; ++nr) {
    base = base_image (nr, &size);
    sized = f2_has_magic (base);
    for (shorter = 0; shorter < size; shorter += 512) {
      o = options (base, shorter);
      exercise (&o, NULL, 0);
      if (sized && shorter >= 12288 && shorter < size - 4096)
        assert_inspect (EINVAL, &o);
    }
    o = options (base, size);
    assert_inspect (0, &o);
    for (o.size = size + 512; o.size < 4 * size;
         o.size += size / 2 / 512 * 512) {
      exercise (&o, NULL, 0);
      if (sized)
        assert_inspect (0, &o);
    }
    /* Far larger than what is there. */
    o.size = UINT64_C (1) << 62;
    if (sized)
      assert_inspect (0, &o);
    else
      inspect (&o);
  }
}

static void
other_sectors (void **state)
{
  static const uint32_t sectors[] = { 1, 512, 1024, 4096, 8192, 65536 };
  const unsigned char *base;
  struct hostile_options o;
  size_t size;
  unsigned nr, i, own;

  (void) state;
  for (nr = 0; nr < NR_BASES; ++nr) {
    base = base_image (nr, &size);
    own = strstr (base_name (nr), "4096") ? 4096 : 512;
    for (i = 0; i < sizeof sectors / sizeof sectors[0]; ++i) {
      o = options (base, size);
      o.sector_size = sectors[i];
      o.size = round_up (size, sectors[i]);
      exercise (&o, NULL, 0);
      assert_inspect (sectors[i] > 4096 ? EMEDIUMTYPE
                      : sectors[i] <= own ? 0 : EINVAL, &o);
    }
  }
}

/*---------------------------------------------------------------------*/

/* A device with a new ring, and this item in it. */
static unsigned char *
ring_with (unsigned format, size_t size, const void *item, size_t length)
{
  const struct blkring_create_options o = {
    .format = format, .block_size = format == 2 ? 512 : 0,
  };
  blkring_device *device = blkring_device_memory (size, 512);
  unsigned char *image = malloc (size);
  blkring_producer *p;

  assert_non_null (device);
  assert_non_null (image);
  assert_int_equal (blkring_create (device, &o), 0);
  p = blkring_producer_attach (device, NULL);
  assert_non_null (p);
  assert_int_equal (blkring_producer_append (p, item, length, NULL), 0);
  blkring_producer_free (p);
  assert_int_equal (blkring_device_read (device, image, size, 0), 0);
  blkring_device_close (device);
  return image;
}

static void
assert_holds (unsigned format, const unsigned char *image, size_t size,
              const void *bytes, size_t length)
{
  const struct hostile_options o = options (image, size);
  const struct blkring_attach_options a = { .flags = BLKRING_ATTACH_OBSERVER };
  struct hostile_device *d = hostile_new (&o);
  struct blkring_info *info = malloc (sizeof *info);
  struct blkring_item item;
  blkring_consumer *c;

  assert_non_null (info);
  hostile_begin (d, 0, 0);
  if (blkring_inspect (d->device, NULL, info) == -1)
    fail_msg ("%s", blkring_get_error ());
  assert_int_equal (info->format, format);
  assert_int_equal (info->items, 1);
  c = blkring_consumer_attach (d->device, &a);
  assert_non_null (c);
  assert_int_equal (blkring_consumer_pop (c, NULL, &item), 0);
  assert_int_equal (item.length, length);
  assert_memory_equal (item.data, bytes, length);
  blkring_consumer_free (c);
  hostile_end (d);
  free (info);
  hostile_free (d);
}

static void
ring_in_a_ring (void **state)
{
  /* The last two put what is inner at the start of a sector, or block. */
  static const size_t shifts[] = { 0, 4, 444, 508 };
  const size_t size = 256 << 10;
  const unsigned char *inner;
  unsigned char *item, *image;
  struct hostile_options o;
  size_t length, shift;
  unsigned nr, i, format;

  (void) state;
  for (nr = 0; nr < NR_BASES; ++nr)
    for (i = 0; i < sizeof shifts / sizeof shifts[0]; ++i) {
      inner = base_image (nr, &length);
      shift = shifts[i];
      item = calloc (1, shift + length);
      assert_non_null (item);
      memcpy (item + shift, inner, length);
      for (format = 1; format <= 2; ++format) {
        image = ring_with (format, size, item, shift + length);
        assert_holds (format, image, size, item, shift + length);
        o = options (image, size);
        exercise (&o, NULL, 0);
        free (image);
      }
      free (item);
    }
}

/* What an item holds is not what the device holds: in a ring of format 1 the
 * place of the second superblock is in the data area. */
static void
superblock_in_an_item (void **state)
{
  const size_t size = 256 << 10, begin = 3 * 512 + 4;
  const unsigned char *inner;
  unsigned char item[8192] = { 0 }, *image;
  struct hostile_options o;
  size_t length;

  (void) state;
  inner = base_image (6, &length);
  assert_true (f2_has_magic (inner));
  memcpy (item + F2_SLOT - begin, inner, F2_CONTENT);
  image = ring_with (1, size, item, sizeof item);
  assert_true (f2_has_magic (image + F2_SLOT));
  assert_holds (1, image, size, item, sizeof item);
  o = options (image, size);
  exercise (&o, NULL, 0);
  free (image);

  /* Nor is its magic alone. */
  memset (item + F2_SLOT - begin + 8, 0, 8);
  image = ring_with (1, size, item, sizeof item);
  assert_holds (1, image, size, item, sizeof item);
  free (image);
}

/*---------------------------------------------------------------------*/

/* Each block begins with the header of a frame that is as large as there can
 * be, and has another checksum: who looks for a frame that is valid must not
 * read all of each. */
static void
headers_everywhere (void **state)
{
  const uint64_t capacity = 8 << 20, data = 32768;
  const size_t size = data + capacity;
  unsigned char *image = ring_with (2, size, "x", 1);
  static const unsigned char salvage[] = {
    10, 0, 0,                /* attach with salvage */
    25, 0,                   /* pop and free what there is */
  };
  struct hostile_options o;
  struct f2_super super;
  unsigned char *f;
  uint64_t at;

  (void) state;
  assert_true (f2_decode_super (image, &super));
  for (at = 0; at < capacity; at += 512) {
    f = image + data + at;
    memset (f, 0, F2_HEADER);
    memcpy (f, "BRFR", 4);
    put_le32 (f + 4, F2_PUBLISHED);
    put_le64 (f + 8, at);
    put_le64 (f + 16, 1);
    put_le32 (f + 28, 1);
    put_le64 (f + 32, super.largest_frame - F2_HEADER);
    put_le32 (f + 60, crc32c_end (crc32c_add (crc32c_begin (super.uuid), f,
                                              60)));
  }
  /* Nothing is valid up to the end that the producer has published. */
  for (at = 8192; at < 16384; at += 4096) {
    f = image + at;
    put_le64 (f + 32, capacity);
    put_le32 (f + 508, crc32c_end (crc32c_add (crc32c_begin (super.uuid), f,
                                               508)));
  }
  o = options (image, size);
  exercise (&o, salvage, sizeof salvage);
  exercise (&o, NULL, 0);
  free (image);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (no_ring),
    cmocka_unit_test (a_part_of_a_ring),
    cmocka_unit_test (shrunk_and_grown),
    cmocka_unit_test (other_sectors),
    cmocka_unit_test (ring_in_a_ring),
    cmocka_unit_test (superblock_in_an_item),
    cmocka_unit_test (headers_everywhere),
  };

  return cmocka_run_group_tests_name ("hostile devices", tests, NULL, NULL);
}
