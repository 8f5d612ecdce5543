/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every number that a ring has on disk, at and around each limit that a
 * number can have: what is possible works, what is not is refused with the
 * errno that says so, and whatever it is, nothing that
 * fuzzing/hostile-device.h forbids happens.  All checksums are right.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"
#include "exercise.h"
#include "format2.h"
#include "images.h"

#define LENGTH(array) (sizeof (array) / sizeof (array)[0])

/* The rings "format1" and "format2-clean" of fuzzing/bases.c. */
enum { FORMAT1 = 0, FORMAT2 = 4 };

/* Format 1. */
#define S 512
#define DATA1 (3 * S)
#define CAPACITY1 (17 * S)
#define C1 1504              /* the oldest unread item */

/* Format 2. */
#define SUPER 0
#define PRODUCER 8192
#define CONTROL 16384
#define CONSUMER 24576
#define DATA2 32768
#define BLOCK 512
#define CAPACITY 8192        /* and of the largest frame */
#define FRAME 3584           /* of the oldest unread item, which is the second
                                of three, of 3, 0 and 4 bytes */
#define TAIL 5632

static const unsigned char *ring;
static size_t ring_size;

/* Around each limit; and, of the field itself, around what it says. */
static const uint64_t limits[] = {
  0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 255, 256, 511, 512, 513, 1024, 4095,
  4096, 4097, 8191, 8192, 8193, 8704, 65535, 65536, 65537, 131072,
  INT32_MAX - UINT64_C (1), INT32_MAX, UINT64_C (1) << 31,
  (UINT64_C (1) << 31) + 4, UINT32_MAX - 3, UINT32_MAX, UINT64_C (1) << 32,
  (UINT64_C (1) << 32) + 512, UINT64_C (1) << 61, UINT64_C (1) << 62,
  INT64_MAX - 2 * CAPACITY - 511, INT64_MAX - CAPACITY,
  INT64_MAX - CAPACITY1 - 3, INT64_MAX - 511,
  INT64_MAX - 3, INT64_MAX, UINT64_C (1) << 63, (UINT64_C (1) << 63) + 512,
  UINT64_MAX - 511, UINT64_MAX - 3, UINT64_MAX,
};
static const int64_t steps[] = { -8192, -512, -4, -1, 1, 4, 512, 8192 };

/* The errno that inspect must give for a value; 'old' is what was there. */
typedef int (*expected_fn) (const unsigned char *image, uint64_t value,
                            uint64_t old);

struct field {
  const char *name;
  uint64_t offset;           /* of its first copy */
  unsigned copies;           /* 4096 bytes apart */
  unsigned bytes;
  expected_fn expected;
};

#define RULE(name, condition, error) \
  static int \
  name (const unsigned char *image, uint64_t v, uint64_t old) \
  { \
    (void) image; \
    (void) v; \
    (void) old; \
    return (condition) ? 0 : (error); \
  }

RULE (anything, true, 0)
RULE (as_it_was, v == old, EBADMSG)
RULE (no_feature, v == 0, ENOTSUP)
/* Beyond the end of the device: it has shrunk. */
RULE (data_offset, v == old, v > old && v % BLOCK == 0 && v <= INT64_MAX / 2
      ? EINVAL : EBADMSG)
RULE (capacity, v == old, v > old && v % BLOCK == 0 && v <= INT64_MAX / 4
      ? EINVAL : EBADMSG)
/* The largest that is there has two blocks. */
RULE (largest_frame, v >= 2 * BLOCK && v <= CAPACITY && v % BLOCK == 0,
      EBADMSG)
/* It may be behind the tail. */
RULE (published, v <= TAIL && v % BLOCK == 0, EBADMSG)
RULE (since, v <= TAIL, EBADMSG)
RULE (position, v >= FRAME && v <= TAIL && v % 4 == 0, EBADMSG)
RULE (frame, v == 0 || v == 3072 || v == FRAME, EBADMSG)
/* That of the producer is 1. */
RULE (frame_epoch, v >= 1, EBADMSG)
/* 'since' is 0: frames of an earlier epoch are late wherever they are. */
RULE (epoch_of_frames, v <= 1, EBADMSG)
/* In the same 8 bytes. */
RULE (length_of_3_or_4, v >= 1 && v <= 4, EBADMSG)

/* What docs/format1.md says of the whole ring. */
static int
by_the_page (const unsigned char *image, uint64_t v, uint64_t old)
{
  const uint64_t p = get_le64 (image + S), c = get_le64 (image + 2 * S);
  uint64_t at, length;

  (void) v;
  (void) old;
  if (p % 4 || c % 4 || c > p || p - c > CAPACITY1 ||
      p > INT64_MAX - CAPACITY1 || image[S + 8] < 1 || image[S + 8] > 2 ||
      image[2 * S + 8] < 1 || image[2 * S + 8] > 2)
    return EBADMSG;
  for (at = c; at < p; at += 4 + (length + 3) / 4 * 4) {
    length = get_le32 (image + DATA1 + at % CAPACITY1);
    if (4 + length > p - at)
      return EBADMSG;
  }
  return 0;
}

static const struct field fields1[] = {
  { "producer", S, 1, 8, by_the_page },
  { "consumer", 2 * S, 1, 8, by_the_page },
  { "suspend_ack", S + 8, 1, 1, by_the_page },
  { "suspend", 2 * S + 8, 1, 1, by_the_page },
  { "length of the first item", DATA1 + C1, 1, 4, by_the_page },
  { "length of the second item", DATA1 + C1 + 204, 1, 4, by_the_page },
  { "length of the last item", DATA1 + C1 + 928, 1, 4, by_the_page },
};

static const struct field fields2[] = {
  { "version", SUPER + 8, 2, 4, as_it_was },
  { "features", SUPER + 12, 2, 4, no_feature },
  { "features to write", SUPER + 16, 2, 4, anything },
  { "other features", SUPER + 20, 2, 4, anything },
  /* Frames begin where they began. */
  { "block size", SUPER + 24, 2, 4, as_it_was },
  /* More would have their records in the data area. */
  { "consumers", SUPER + 28, 2, 4, as_it_was },
  { "data offset", SUPER + 32, 2, 8, data_offset },
  { "capacity", SUPER + 40, 2, 8, capacity },
  { "largest frame", SUPER + 48, 2, 8, largest_frame },
  { "time of creation", SUPER + 56, 2, 8, anything },
  { "kind", PRODUCER + 4, 2, 4, as_it_was },
  { "producer's flags", PRODUCER + 8, 2, 4, anything },
  { "producer's frame epoch", PRODUCER + 48, 2, 8, epoch_of_frames },
  { "producer's time", PRODUCER + 72, 2, 8, anything },
  { "producer's process", PRODUCER + 80, 2, 8, anything },
  { "producer's epoch", PRODUCER + 16, 2, 8, anything },
  { "producer's sequence", PRODUCER + 24, 2, 8, anything },
  { "published", PRODUCER + 32, 2, 8, published },
  { "since", PRODUCER + 56, 2, 8, since },
  { "acknowledged request", PRODUCER + 64, 2, 8, anything },
  { "control's flags", CONTROL + 8, 2, 4, anything },
  { "request", CONTROL + 64, 2, 8, anything },
  { "control's sequence", CONTROL + 24, 2, 8, anything },
  { "consumer's flags", CONSUMER + 8, 2, 4, anything },
  { "consumer's sequence", CONSUMER + 24, 2, 8, anything },
  { "consumer's epoch", CONSUMER + 16, 2, 8, anything },
  { "consumer's position", CONSUMER + 32, 2, 8, position },
  { "consumer's frame", CONSUMER + 40, 2, 8, frame },
  { "flags of a frame", DATA2 + FRAME + 4, 1, 4, anything },
  { "position of a frame", DATA2 + FRAME + 8, 1, 8, as_it_was },
  { "time of a frame", DATA2 + FRAME + 40, 1, 8, anything },
  { "epoch of a frame", DATA2 + FRAME + 16, 1, 8, frame_epoch },
  { "items of a frame", DATA2 + FRAME + 28, 1, 4, as_it_was },
  { "length of a frame", DATA2 + FRAME + 32, 1, 8, as_it_was },
  { "length of the first item", DATA2 + FRAME + 64, 1, 4, length_of_3_or_4 },
  { "length of the second item", DATA2 + FRAME + 72, 1, 4, as_it_was },
  { "length of the last item", DATA2 + FRAME + 76, 1, 4, length_of_3_or_4 },
};

static struct hostile_options
options (const unsigned char *image, size_t size)
{
  return (struct hostile_options) {
    .image = image, .length = size, .size = size, .sector_size = 512,
    .memory_alignment = 1,
  };
}

static void
put_number (unsigned char *p, unsigned bytes, uint64_t value)
{
  unsigned char number[8];

  put_le64 (number, value);
  memcpy (p, number, bytes);
}

static uint64_t
get_number (const unsigned char *p, unsigned bytes)
{
  unsigned char number[8] = { 0 };

  memcpy (number, p, bytes);
  return get_le64 (number);
}

static int
inspect (const unsigned char *image, size_t size)
{
  const struct hostile_options o = options (image, size);
  struct hostile_device *d = hostile_new (&o);
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

static unsigned
try (const struct field *f, uint64_t value, uint64_t old)
{
  unsigned char *image = malloc (ring_size);
  struct hostile_options o = options (image, ring_size);
  unsigned copy;
  int expected, found;

  assert_non_null (image);
  memcpy (image, ring, ring_size);
  for (copy = 0; copy < f->copies; ++copy)
    put_number (image + f->offset + copy * F2_SLOT, f->bytes, value);
  value = get_number (image + f->offset, f->bytes);
  fix_checksums (image, ring_size);
  expected = f->expected (image, value, old);
  found = inspect (image, ring_size);
  if (found != expected)
    print_message ("%s of %" PRIu64 " (was %" PRIu64 "): errno %d, expected "
                   "%d\n", f->name, value, old, found, expected);
  exercise (&o, NULL, 0);
  free (image);
  return found != expected;
}

static unsigned
try_limits (const struct field *f)
{
  const uint64_t old = get_number (ring + f->offset, f->bytes);
  unsigned wrong = 0;
  size_t i;

  for (i = 0; i < LENGTH (limits); ++i)
    wrong += try (f, limits[i], old);
  for (i = 0; i < LENGTH (steps); ++i)
    wrong += try (f, old + steps[i], old);
  return wrong;
}

static void
fields_of_format1 (void **state)
{
  unsigned wrong = 0;
  size_t i;

  (void) state;
  ring = base_image (FORMAT1, &ring_size);
  assert_int_equal (inspect (ring, ring_size), 0);
  for (i = 0; i < LENGTH (fields1); ++i)
    wrong += try_limits (&fields1[i]);
  assert_int_equal (wrong, 0);
}

static void
fields_of_format2 (void **state)
{
  unsigned wrong = 0;
  size_t i;

  (void) state;
  ring = base_image (FORMAT2, &ring_size);
  assert_int_equal (inspect (ring, ring_size), 0);
  for (i = 0; i < LENGTH (fields2); ++i)
    wrong += try_limits (&fields2[i]);
  assert_int_equal (wrong, 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (fields_of_format1),
    cmocka_unit_test (fields_of_format2),
  };

  return cmocka_run_group_tests_name ("hostile fields", tests, NULL, NULL);
}
