/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A device whose bytes were made by somebody else: every structure of
 * format 2 has correct CRCs here, and fields that nobody would write.  No
 * call may crash, loop, or ask for anything outside the device, and what is
 * refused says why.
 */

#include <config.h>

#include "crc32c.h"
#include "format2-fixture.h"

static uint64_t seed;

static uint64_t
next_random (void)
{
  seed = seed * UINT64_C (6364136223846793005) + UINT64_C (1442695040888963407);
  return seed >> 33 ^ seed << 20;
}

/* Values that are at the edge of something. */
static uint64_t
odd_value (uint64_t old)
{
  static const uint64_t values[] = {
    0, 1, 2, 3, 4, 8, 60, 64, 68, 255, 511, 512, 513, 1024, 4092, 4096, 4100,
    7680, 8192, 8704, 16384, 32768, 65536, INT32_MAX, UINT32_MAX,
    UINT64_C (1) << 32, UINT64_C (1) << 62, INT64_MAX - 16384,
    INT64_MAX - 511, INT64_MAX, UINT64_C (1) << 63, UINT64_MAX - 511,
    UINT64_MAX - 3, UINT64_MAX,
  };

  switch (next_random () % 6) {
  case 0:
    return old + B * (next_random () % 40 - 20);
  case 1:
    return old + 4 * (next_random () % 40 - 20);
  case 2:
    return next_random ();
  default:
    return values[next_random () % LENGTH (values)];
  }
}

/* Change some fields of 4 or 8 bytes. */
static void
mutate (unsigned char *p, size_t size)
{
  unsigned n = 1 + next_random () % 3;
  size_t at;

  while (n-- > 0) {
    if (next_random () % 3) {
      at = next_random () % (size / 8) * 8;
      put_le64 (p + at, odd_value (get_le64 (p + at)));
    }
    else {
      at = next_random () % (size / 4) * 4;
      put_le32 (p + at, odd_value (get_le32 (p + at)));
    }
  }
}

static uint32_t
crc (const unsigned char *uuid, const unsigned char *p, size_t n)
{
  return crc32c_end (crc32c_add (crc32c_begin (uuid), p, n));
}

/*---------------------------------------------------------------------*/

/* What was refused was not because of a request that the device refused. */
static void
is_fine (int r)
{
  if (r != -1)
    return;
  assert_int_not_equal (errno, EIO);
  assert_int_not_equal (errno, 0);
  assert_true (blkring_get_error ()[0] != '\0');
}

static int
cover (void *opaque, const struct blkring_region *region)
{
  uint64_t *end = opaque;

  assert_int_equal (region->offset, *end);
  assert_true (region->length > 0);
  *end += region->length;
  return 0;
}

static void
use_consumer (struct record_device *rd, unsigned flags)
{
  const struct blkring_attach_options o = { .flags = flags };
  blkring_consumer *c = blkring_consumer_attach (rd->device, &o);
  struct blkring_item items[4];
  blkring_position next;
  volatile unsigned char sum = 0;
  unsigned i;
  ssize_t n, k;
  size_t b;

  is_fine (c ? 0 : -1);
  if (c == NULL)
    return;
  is_fine (blkring_consumer_wait (c, NULL, 0));
  assert_ok (blkring_consumer_position (c, &next));
  for (i = 0; i < 40; ++i) {
    n = blkring_consumer_popv (c, i ? &next : NULL, items, LENGTH (items));
    is_fine (n);
    for (k = 0; k < n; ++k)
      for (b = 0; b < items[k].length; ++b)
        sum += ((const unsigned char *) items[k].data)[b];
    if (n <= 0)
      break;
    next = items[n - 1].next;
  }
  if (!(flags & BLKRING_ATTACH_OBSERVER) && i > 0)
    is_fine (blkring_consumer_advance (c, next));
  is_fine (blkring_consumer_suspend (c));
  is_fine (blkring_consumer_resume (c));
  is_fine (blkring_consumer_state (c));
  blkring_consumer_free (c);
}

static void
use_producer (struct record_device *rd)
{
  const struct blkring_attach_options o = {
    .flags = BLKRING_ATTACH_TAKEOVER,
    .clock = with_clock ()->clock,
  };
  blkring_producer *p = blkring_producer_attach (rd->device, &o);
  blkring_position after = 0;
  unsigned i;

  is_fine (p ? 0 : -1);
  if (p == NULL)
    return;
  for (i = 0; i < 20; ++i)
    is_fine (try_put (p, 'p', 100 * i));
  if (blkring_producer_push (p, "x", 1, &after) == 0)
    is_fine (blkring_producer_advance (p, after));
  is_fine (blkring_producer_state (p));
  is_fine (blkring_producer_wait (p, 100, 0));
  blkring_producer_free (p);
}

/* All that can be done with a ring. */
static void
exercise (struct record_device *rd)
{
  struct blkring_info *info = malloc (sizeof *info);
  uint64_t end = 0;
  int r;

  assert_non_null (info);
  r = blkring_inspect (rd->device, NULL, info);
  is_fine (r);
  if (r == 0) {
    assert_true (info->used <= info->capacity);
    assert_true (info->free <= info->capacity);
  }
  is_fine (blkring_check (rd->device, NULL, NULL, NULL));
  r = blkring_map (rd->device, NULL, cover, &end);
  is_fine (r);
  if (r == 0)
    assert_int_equal (end, rd->geometry.size);
  use_consumer (rd, BLKRING_ATTACH_OBSERVER);
  use_consumer (rd, 0);
  use_producer (rd);
  use_consumer (rd, BLKRING_ATTACH_TAKEOVER);
  is_fine (blkring_inspect (rd->device, NULL, info));
  assert_int_equal (rd->bad_requests, 0);
  assert_true (rd->reads < 1000);
  free (info);
}

/* Some frames of one item, one of three, and a staged one; unclean. */
static struct record_device *
victim (void)
{
  struct fixture f = start_small (), g;

  put (f.p, 'o', 1000);
  drain (f.c);
  put (f.p, 'a', 200);
  put_batch (f.p, "bcd");
  append (f.p, 'e', 700);
  put (f.p, 'f', 1);
  push (f.p, 'g', 1);
  free_one (f.c);
  free_one (f.c);
  g = elsewhere (&f);
  stop (&f);
  return g.rd;
}

static void
for_each_mutation (unsigned nr, void (*change) (struct record_device *rd,
                                                unsigned n))
{
  struct record_device *rd = victim (), *mutant;
  unsigned n;

  for (n = 0; n < nr; ++n) {
    seed = n;
    next_random ();
    mutant = device_with (rd->content, rd->allocated);
    change (mutant, n);
    exercise (mutant);
    record_device_free (mutant);
  }
  record_device_free (rd);
}

static void
change_super (struct record_device *rd, unsigned n)
{
  unsigned char *p = rd->content;

  mutate (p + 8, 64);
  put_le32 (p + 508, crc (p + 64, p, 508));
  if (n % 2)
    memcpy (p + F2_SLOT, p, F2_CONTENT);
}

static void
hostile_superblock (void **state)
{
  (void) state;
  for_each_mutation (400, change_super);
}

static void
change_record (struct record_device *rd, unsigned n)
{
  const struct ring ring = ring_of (rd);
  const unsigned kind = n % 3;
  struct f2_record ignored;
  unsigned char *p = rd->content +
    f2_record_offset (kind, get_record (rd, kind, &ignored));

  mutate (p + 8, n % 5 ? 72 : 500);
  put_le32 (p + 508, crc (ring.uuid, p, 508));
}

static void
hostile_record (void **state)
{
  (void) state;
  for_each_mutation (1000, change_record);
}

/* Those that are unread, in the blocks where they begin. */
static void
change_frame (struct record_device *rd, unsigned n)
{
  const struct ring ring = ring_of (rd);
  static const unsigned starts[] = { 4, 5, 7 };
  unsigned char *p = rd->content + ring.data_offset + B * starts[n % 3];
  uint64_t length;

  if (n % 2)
    mutate (p + F2_HEADER, 32);
  else
    mutate (p + 4, n % 4 ? 44 : 56);
  length = get_le64 (p + 32);
  if (length < 8 * B)
    put_le32 (p + 48, crc (ring.uuid, p + F2_HEADER, length));
  put_le32 (p + 60, crc (ring.uuid, p, 60));
}

static void
hostile_frame (void **state)
{
  struct record_device *rd = victim ();
  struct f2_frame f;

  (void) state;
  assert_true (get_frame (rd, 4 * B, &f));
  assert_int_equal (f.items, 3);
  assert_true (get_frame (rd, 7 * B, &f));
  record_device_free (rd);
  for_each_mutation (1000, change_frame);
}

/*---------------------------------------------------------------------*/

static void
feature_that_is_not_known (void **state)
{
  const struct blkring_attach_options observer = {
    .flags = BLKRING_ATTACH_OBSERVER,
  };
  struct record_device *rd = victim ();
  struct blkring_info *info = malloc (sizeof *info);
  struct f2_super s;
  blkring_consumer *c;
  unsigned i;

  (void) state;
  assert_non_null (info);
  for (i = 0; i < 3; ++i) {
    assert_true (f2_decode_super (rd->content, &s));
    s.incompat = i == 0 ? 4 : 0;
    s.ro_compat = i == 1 ? 1U << 31 : 0;
    s.compat = i == 2 ? 1 : 0;
    f2_encode_super (rd->content, &s);
    f2_encode_super (rd->content + F2_SLOT, &s);
    record_device_forget (rd);
    if (i == 0) {
      assert_fails (ENOTSUP, blkring_inspect (rd->device, NULL, info));
      assert_no_handle (ENOTSUP, blkring_consumer_attach (rd->device,
                                                          &observer));
    }
    if (i < 2) {
      assert_no_handle (i ? EROFS : ENOTSUP,
                        blkring_producer_attach (rd->device, NULL));
      assert_no_handle (i ? EROFS : ENOTSUP,
                        blkring_consumer_attach (rd->device, NULL));
      assert_int_equal (blkring_create (rd->device, NULL), i ? 1 : -1);
    }
    if (i > 0) {
      assert_ok (blkring_inspect (rd->device, NULL, info));
      c = blkring_consumer_attach (rd->device, &observer);
      assert_non_null (c);
      assert_holds (c, "cdef");
      if (i == 1)
        assert_fails (EROFS, blkring_consumer_suspend (c));
      blkring_consumer_free (c);
    }
    assert_int_equal (rd->writes, 0);
  }
  assert_goes_on (rd, "cdef");
  free (info);
  record_device_free (rd);
}

/* What is in the frame does not fit it. */
static void
lengths_of_items (void **state)
{
  static const uint32_t lengths[] = { 5, 444, 445, 0x7fffffff, 0xfffffffc,
                                      0xffffffff };
  struct blkring_info *info = malloc (sizeof *info);
  size_t i;

  (void) state;
  assert_non_null (info);
  for (i = 0; i < LENGTH (lengths); ++i) {
    struct record_device *rd = victim ();
    const struct ring ring = ring_of (rd);
    unsigned char *p = rd->content + ring.data_offset + 4 * B;
    blkring_consumer *c = attach_consumer (rd);
    struct blkring_item item;

    put_le32 (p + F2_HEADER + 16, lengths[i]); /* of 'd' */
    put_le32 (p + 48, crc (ring.uuid, p + F2_HEADER, 24));
    put_le32 (p + 60, crc (ring.uuid, p, 60));
    assert_ok (blkring_consumer_pop (c, NULL, &item));
    assert_fails (EBADMSG, blkring_consumer_pop (c, &item.next, &item));
    assert_fails (EBADMSG, blkring_inspect (rd->device, NULL, info));
    assert_int_equal (check (rd).corruptions, 1);
    blkring_consumer_free (c);
    record_device_free (rd);
  }
  free (info);
}

/* Two frames that take more than there is: what the second one wraps around
 * to is what the first one begins with. */
static void
frames_that_overlap (void **state)
{
  struct fixture f = start2 (&(struct shape) { .blocks = 8 }, NULL, NULL), g;
  const struct ring ring = ring_of (f.rd);
  struct f2_frame a = {
    .flags = F2_PUBLISHED, .epoch = 1, .items = 1,
    .length = 7 * B - F2_HEADER,
  }, b = {
    .flags = F2_PUBLISHED, .epoch = 1, .items = 1,
    .length = 2 * B - F2_HEADER, .position = 7 * B,
  };
  unsigned char *p, last[2 * B] = { 0 };

  (void) state;
  g = elsewhere (&f);
  p = g.rd->content + ring.data_offset;
  put_le32 (p + F2_HEADER, FILLS (B, 7));
  f2_encode_frame (p, ring.uuid, &a);
  b.chain = a.crc;
  put_le32 (last + F2_HEADER, FILLS (B, 2));
  memcpy (last + B, p, B);
  f2_encode_frame (last, ring.uuid, &b);
  memcpy (p + 7 * B, last, B);
  exercise (g.rd);
  stop (&g);
  stop (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (hostile_superblock),
    cmocka_unit_test (hostile_record),
    cmocka_unit_test (hostile_frame),
    cmocka_unit_test (feature_that_is_not_known),
    cmocka_unit_test (lengths_of_items),
    cmocka_unit_test (frames_that_overlap),
  };

  return cmocka_run_group_tests_name ("hostile bytes in format 2", tests,
                                      NULL, NULL);
}
