/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Making and erasing rings: what create refuses to destroy, and which sizes
 * format 1 has.  Where a ring is already: test-create-again.c.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

#define MIB (1 << 20)
#define BIG (4 * MIB)
#define TAIL (64 << 10)      /* what must be zero at the end */

static const struct blkring_create_options force = { .format = 1,
  .flags = BLKRING_CREATE_FORCE,
};

static blkring_device *
memory (uint64_t size, uint32_t sector_size)
{
  blkring_device *device = blkring_device_memory (size, sector_size);

  assert_handle (device);
  return device;
}

/* Put bytes anywhere, without regard to sectors. */
static void
put (blkring_device *device, const void *bytes, size_t n, uint64_t offset)
{
  struct blkring_geometry g;
  unsigned char *copy;

  assert_ok (blkring_device_geometry (device, &g));
  copy = malloc (g.size);
  assert_non_null (copy);
  assert_ok (blkring_device_read (device, copy, g.size, 0));
  memcpy (copy + offset, bytes, n);
  assert_ok (blkring_device_write (device, copy, g.size, 0));
  free (copy);
}

static bool
is_ring (blkring_device *device)
{
  struct blkring_info info;

  if (blkring_inspect (device, NULL, &info) == 0)
    return true;
  assert_int_equal (errno, EMEDIUMTYPE);
  return false;
}

static void
assert_empty_ring (blkring_device *device, uint32_t sector_size)
{
  struct blkring_info info;
  struct blkring_geometry g;

  assert_ok (blkring_device_geometry (device, &g));
  assert_ok (blkring_inspect (device, NULL, &info));
  assert_int_equal (info.sector_size, sector_size);
  assert_int_equal (info.capacity, g.size - 3 * sector_size);
  assert_int_equal (info.producer, 0);
  assert_int_equal (info.consumer, 0);
  assert_int_equal (info.items, 0);
  assert_int_equal (info.state, BLKRING_RUNNING);
  assert_string_equal (info.producer_text, "");
  assert_string_equal (info.consumer_text, "");
}

/*---------------------------------------------------------------------*/
/* The blank rule.                                                       */

struct magic {
  const char *name;          /* in the message */
  uint64_t offset;
  const char *bytes;
  size_t length;
  uint64_t offset2;          /* what else libblkid wants to see */
  const char *bytes2;
  size_t length2;
};

#define MAGIC(offset, bytes) offset, bytes, sizeof bytes - 1

static const struct magic magics[] = {
  { "qcow2", MAGIC (0, "QFI\373\0\0\0\3"), MAGIC (0, "") },
  { "VHDX", MAGIC (0, "vhdxfile"), MAGIC (0, "") },
  { "VMDK", MAGIC (0, "KDMV"), MAGIC (0, "") },
  { "VDI", MAGIC (0x40, "\177\020\332\276"), MAGIC (0, "") },
  { "swap", MAGIC (4086, "SWAPSPACE2"), MAGIC (1024, "\1\0\0\0\377\3") },
  { "LVM1_member", MAGIC (0, "HM\1"), MAGIC (0, "") },
  { "partition table (dos)", MAGIC (510, "\125\252"),
    MAGIC (446, "\0\0\2\0\203\0\3\0\1\0\0\0\0\20\0\0") },
};

/* libblkid checks more than the magic of most: an ext2 with sizes that
 * make sense. */
static void
put_ext2 (blkring_device *device)
{
  static const struct {
    uint32_t inodes, blocks, reserved, free_blocks, free_inodes, first_block;
    uint32_t log_block_size, log_fragment_size, blocks_per_group;
    uint32_t fragments_per_group, inodes_per_group, times[2];
    uint16_t mounts, max_mounts, magic, state;
    uint32_t rest[4], revision;
  } superblock = {
    .inodes = 64, .blocks = 4096, .free_blocks = 4000, .free_inodes = 50,
    .first_block = 1, .blocks_per_group = 8192, .fragments_per_group = 8192,
    .inodes_per_group = 64, .magic = 0xef53, .state = 1, .revision = 1,
  };

  put (device, &superblock, sizeof superblock, 1024);
}

static void
assert_refused (blkring_device *device, const char *name)
{
  unsigned char *before = malloc (BIG), *after = malloc (BIG);

  assert_true (before && after);
  assert_ok (blkring_device_read (device, before, BIG, 0));
  assert_fails (EEXIST, blkring_create (device, FORMAT1));
  assert_message (name);
  assert_message ("force");
  assert_ok (blkring_device_read (device, after, BIG, 0));
  assert_memory_equal (before, after, BIG);
  free (before);
  free (after);
  assert_false (is_ring (device));
  assert_returns (0, blkring_create (device, &force));
  assert_empty_ring (device, 512);
  blkring_device_close (device);
}

static void
what_others_have_written_is_refused_by_name (void **state)
{
  blkring_device *device;
  size_t i;

  (void) state;
  for (i = 0; i < LENGTH (magics); ++i) {
    device = memory (BIG, 512);
    put (device, magics[i].bytes, magics[i].length, magics[i].offset);
    put (device, magics[i].bytes2, magics[i].length2, magics[i].offset2);
    assert_refused (device, magics[i].name);
  }
  device = memory (BIG, 512);
  put_ext2 (device);
  assert_refused (device, "ext2");
}

/* A file system made by its own tool, which is seen by more than its first
 * bytes. */
static void
file_system_is_refused (void **state)
{
  const struct blkring_open_options o = {
    .flags = BLKRING_OPEN_CREATE, .size = BIG,
  };
  blkring_device *device;
  char dir[128], path[160], command[512];
  int r;

  (void) state;
  make_scratch (dir, sizeof dir);
  snprintf (path, sizeof path, "%s/fs", dir);
  device = blkring_device_open (path, &o);
  assert_handle (device);
  snprintf (command, sizeof command, "PATH=$PATH:/usr/sbin:/sbin; "
            "command -v mke2fs >/dev/null || exit 77; "
            "mke2fs -q -F -t ext4 '%s' >/dev/null 2>&1", path);
  r = system (command);
  if (r != 0) {
    blkring_device_close (device);
    remove_scratch (dir);
    skip ();
  }
  assert_refused (device, "ext4");
  remove_scratch (dir);
}

static void
any_byte_at_the_beginning_or_the_end_is_refused (void **state)
{
  static const uint64_t offsets[] = {
    0, 1, 511, 512, 5000, MIB / 2 + 3, MIB - 1,
    BIG - TAIL, BIG - TAIL + 1, BIG - 512, BIG - 1,
  };
  blkring_device *device;
  char number[32];
  size_t i;

  (void) state;
  for (i = 0; i < LENGTH (offsets); ++i) {
    device = memory (BIG, 512);
    put (device, "\1", 1, offsets[i]);
    snprintf (number, sizeof number, "%d", (int) offsets[i]);
    assert_refused (device, number);
  }
}

static void
bytes_between_beginning_and_end_do_not_matter (void **state)
{
  static const uint64_t offsets[] = {
    MIB, MIB + 1, BIG / 2, BIG - TAIL - 1,
  };
  blkring_device *device;
  unsigned char byte;
  size_t i;

  (void) state;
  for (i = 0; i < LENGTH (offsets); ++i) {
    device = memory (BIG, 512);
    put (device, "\1", 1, offsets[i]);
    assert_returns (0, blkring_create (device, FORMAT1));
    assert_empty_ring (device, 512);
    assert_ok (blkring_device_read (device, &byte, 1, offsets[i]));
    assert_int_equal (byte, 1);
    blkring_device_close (device);
  }
}

/* All of a device that is smaller than what must be zero. */
static void
small_device_must_be_zero_throughout (void **state)
{
  blkring_device *device;
  uint64_t offset;

  (void) state;
  for (offset = 0; offset < 2048; offset += 89) {
    device = memory (2048, 512);
    put (device, "x", 1, offset);
    assert_fails (EEXIST, blkring_create (device, FORMAT1));
    blkring_device_close (device);
  }
}

static void
damaged_ring_is_refused_without_force (void **state)
{
  blkring_device *device = memory (10240, 512);

  (void) state;
  assert_returns (0, blkring_create (device, FORMAT1));
  put (device, "\7", 1, 512 + 8);
  assert_fails (EEXIST, blkring_create (device, FORMAT1));
  assert_message ("damaged");
  assert_returns (0, blkring_create (device, &force));
  assert_empty_ring (device, 512);
  blkring_device_close (device);
}

/*---------------------------------------------------------------------*/
/* Sizes.                                                                */

static void
assert_size_refused (uint64_t size, uint32_t device_sector, uint32_t sector,
                     const char *first, const char *second)
{
  const struct blkring_create_options o = {
    .format = 1, .sector_size = sector };
  blkring_device *device = memory (size, device_sector);

  assert_fails (EINVAL, blkring_create (device, &o));
  assert_message (first);
  assert_message (second);
  assert_fails (EINVAL, blkring_create_check (size, device_sector, &o));
  assert_message (first);
  assert_message (second);
  if (size > 0)
    assert_false (is_ring (device));
  blkring_device_close (device);
}

static void
impossible_sizes_are_refused_with_numbers (void **state)
{
  (void) state;
  assert_size_refused (0, 512, 0, "0 bytes", "2048");
  assert_size_refused (512, 512, 0, "512", "2048");
  assert_size_refused (1536, 512, 0, "1536", "2048");
  assert_size_refused (12288, 4096, 0, "12288", "16384");
  assert_size_refused (2048, 512, 4096, "2048", "4096");
  assert_size_refused (10240 + 512, 512, 4096, "10752", "12288");
  assert_size_refused (2049, 1, 0, "2049", "2560");
  assert_size_refused (2559, 1, 512, "2559", "2048");
}

static void
impossible_sector_sizes_are_refused (void **state)
{
  static const uint32_t sizes[] = { 1, 256, 513, 1024, 8192, UINT32_MAX };
  size_t i;
  char number[32];

  (void) state;
  for (i = 0; i < LENGTH (sizes); ++i) {
    snprintf (number, sizeof number, "%u", sizes[i]);
    assert_size_refused (65536, 512, sizes[i], number, "4096");
  }
  /* Smaller than what the device can write. */
  assert_size_refused (65536, 4096, 512, "512", "4096");
}

static void
sector_size_is_the_device_s_or_the_caller_s (void **state)
{
  static const struct { uint32_t device, asked, made; } cases[] = {
    { 1, 0, 512 }, { 512, 0, 512 }, { 4096, 0, 4096 }, { 1, 4096, 4096 },
    { 512, 4096, 4096 }, { 512, 512, 512 }, { 4096, 4096, 4096 },
  };
  struct blkring_create_options o = { .format = 1, .flags = 0 };
  blkring_device *device;
  size_t i;

  (void) state;
  for (i = 0; i < LENGTH (cases); ++i) {
    device = memory (65536, cases[i].device);
    o.sector_size = cases[i].asked;
    assert_ok (blkring_create_check (65536, cases[i].device, &o));
    assert_returns (0, blkring_create (device, &o));
    assert_empty_ring (device, cases[i].made);
    assert_returns (1, blkring_create (device, FORMAT1));
    blkring_device_close (device);
  }
  device = memory (4 * 512, 512);
  assert_returns (0, blkring_create (device, FORMAT1));
  assert_empty_ring (device, 512);
  blkring_device_close (device);
}

static void
unknown_format_is_refused (void **state)
{
  const struct blkring_create_options one = { .format = 1 };
  const struct blkring_create_options other = { .format = 77 };
  blkring_device *device = memory (10240, 512);

  (void) state;
  assert_fails (EINVAL, blkring_create (device, &other));
  assert_message ("77");
  assert_returns (0, blkring_create (device, &one));
  blkring_device_close (device);
}

/*---------------------------------------------------------------------*/
/* Erasing, and devices that cannot be written.                          */

struct progress {
  uint64_t done, total;
  unsigned calls;
};

static void
see_progress (void *opaque, uint64_t done, uint64_t total)
{
  struct progress *p = opaque;

  assert_true (done > p->done && done <= total);
  p->done = done;
  p->total = total;
  p->calls++;
}

static void
erase_leaves_the_pattern_alone (void **state)
{
  static const char *const patterns[] = { "gone", "seven b", NULL, "" };
  const size_t size = 5 * MIB / 2;
  unsigned char *content = malloc (size);
  struct blkring_info info;
  struct progress p;
  blkring_device *device = memory (size, 512);
  size_t i, k, n;

  (void) state;
  assert_non_null (content);
  for (i = 0; i < LENGTH (patterns); ++i) {
    n = patterns[i] ? strlen (patterns[i]) : 0;
    p = (struct progress) { 0, 0, 0 };
    assert_returns (0, blkring_create (device, &force));
    assert_ok (blkring_erase (device, patterns[i], n, see_progress, &p));
    assert_int_equal (p.done, size);
    assert_int_equal (p.total, size);
    assert_true (p.calls > 1);
    assert_ok (blkring_device_read (device, content, size, 0));
    for (k = 0; k < size; ++k)
      if (content[k] != (n ? patterns[i][k % n] : 0))
        fail_msg ("byte %zu is %u", k, content[k]);
    assert_fails (EMEDIUMTYPE, blkring_inspect (device, NULL, &info));
    assert_no_handle (EMEDIUMTYPE, blkring_producer_attach (device, NULL));
    assert_no_handle (EMEDIUMTYPE, blkring_consumer_attach (device, NULL));
    assert_fails (EMEDIUMTYPE, blkring_check (device, NULL, NULL, NULL));
  }
  free (content);
  blkring_device_close (device);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (what_others_have_written_is_refused_by_name),
    cmocka_unit_test (file_system_is_refused),
    cmocka_unit_test (any_byte_at_the_beginning_or_the_end_is_refused),
    cmocka_unit_test (bytes_between_beginning_and_end_do_not_matter),
    cmocka_unit_test (small_device_must_be_zero_throughout),
    cmocka_unit_test (damaged_ring_is_refused_without_force),
    cmocka_unit_test (impossible_sizes_are_refused_with_numbers),
    cmocka_unit_test (impossible_sector_sizes_are_refused),
    cmocka_unit_test (sector_size_is_the_device_s_or_the_caller_s),
    cmocka_unit_test (unknown_format_is_refused),
    cmocka_unit_test (erase_leaves_the_pattern_alone),
  };

  return cmocka_run_group_tests_name ("create", tests, NULL, NULL);
}
