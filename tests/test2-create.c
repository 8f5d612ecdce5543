/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Making rings of format 2: a power cut leaves no half ring, whatever was
 * there before; and the devices that they are made on, which may have large
 * sectors, grow, shrink, or be larger than the ring.
 */

#include <config.h>

#include "format2-fixture.h"

typedef int (*change_fn) (struct record_device *rd);
typedef struct record_device *(*make_fn) (void **state);

static int
create2 (struct record_device *rd)
{
  return create_ring (rd, &(struct shape) { .block = B });
}

static int
create1 (struct record_device *rd)
{
  const struct blkring_create_options o = {
    .flags = BLKRING_CREATE_FORCE,
    .format = 1,
  };

  return blkring_create (rd->device, &o);
}

static int
erase (struct record_device *rd)
{
  return blkring_erase (rd->device, "pattern", 7, NULL, NULL);
}

static struct record_device *
blank (void **state)
{
  return new_blank (&(struct shape) { .flags = *(unsigned *) *state });
}

/* An old ring with an item in it. */
static struct record_device *
with_item (struct record_device *rd)
{
  struct fixture f = start_on (rd, NULL, NULL);

  append (f.p, 'a', 1000);
  blkring_producer_free (f.p);
  blkring_consumer_free (f.c);
  record_device_forget (rd);
  return rd;
}

static struct record_device *
used2 (void **state)
{
  return with_item (new_ring (&(struct shape) {
    .flags = *(unsigned *) *state
  }));
}

static struct record_device *
used1 (void **state)
{
  struct record_device *rd = blank (state);

  assert_ok (create1 (rd));
  return with_item (rd);
}

static bool
choose (size_t nr_pending, unsigned n, uint64_t *survivors)
{
  if (nr_pending <= 6) {
    *survivors = n;
    return n < 1U << nr_pending;
  }
  *survivors = n == 0 ? 0 : n == 1 ? UINT64_MAX
    : n * UINT64_C (0x9e3779b97f4a7c15);
  return n < 60;
}

/* A whole ring, new and of use. */
static void
assert_new (struct record_device *rd)
{
  struct fixture f = { .rd = rd };

  f.c = attach_consumer (rd);
  f.p = attach_producer (rd);
  put (f.p, 'x', 700);
  assert_holds (f.c, "x");
  blkring_producer_free (f.p);
  blkring_consumer_free (f.c);
}

/* Cut the power at each request.  The old ring may be there, whole, until
 * request 'old' is done; a new one from the last but 'made' on, else none. */
static void
assert_never_half (void **state, make_fn make, change_fn change,
                   unsigned old, unsigned made)
{
  struct record_device *rd = make (state), *crashed;
  struct blkring_info *info = malloc (sizeof *info);
  unsigned request, n, last, seen = 0;
  uint64_t survivors;
  bool cut;

  assert_non_null (info);
  assert_ok (change (rd));
  last = rd->writes + rd->flushes;
  record_device_free (rd);

  for (request = 0, cut = true; cut; ++request) {
    rd = make (state);
    record_device_cut_power (rd, request);
    cut = change (rd) == -1;
    assert_int_equal (cut, request < last);
    for (n = 0; choose (rd->nr_pending, n, &survivors); ++n) {
      crashed = record_device_after_crash (rd, survivors);
      if (blkring_inspect (crashed->device, NULL, info) == -1)
        assert_error (EMEDIUMTYPE);
      else if (info->items == 1) {
        assert_true (request <= old);
        seen |= 1;
      }
      else {
        assert_int_equal (info->items, 0);
        assert_true (request + made >= last);
        assert_new (crashed);
        seen |= 2;
      }
      record_device_free (crashed);
    }
    record_device_free (rd);
  }
  assert_int_equal (seen, (make == blank ? 0 : 1) + (made ? 2 : 0));
  free (info);
}

/* The last requests of create are the superblocks, or of format 1 the
 * signature, and a flush. */
static void
create_leaves_no_half_ring (void **state)
{
  assert_never_half (state, blank, create2, 0, 3);
}

static void
create_over_a_ring_leaves_no_half_ring (void **state)
{
  assert_never_half (state, used2, create2, 4, 3);
  assert_never_half (state, used1, create2, 1, 3);
  assert_never_half (state, used2, create1, 3, 2);
}

static void
erase_leaves_no_half_ring (void **state)
{
  assert_never_half (state, used2, erase, 3, 0);
}

/* The signatures of the old ring are gone, durably, before records are
 * written, and they are durable before there is a superblock again. */
static void
create_writes_in_order (void **state)
{
  static const unsigned expected[] = { 1, 2, 6, 2, 0 };
  struct record_device *rd = used2 (state);
  uint64_t offset = 0;
  unsigned phase = 0, writes[5] = { 0 };
  size_t i;

  assert_int_equal (create2 (rd), 0);
  for (i = 0; i < rd->nr_log; ++i) {
    offset = rd->log[i].offset;
    if (rd->log[i].kind == RECORD_FLUSH)
      phase++;
    else if (rd->log[i].kind == RECORD_WRITE) {
      assert_true (phase < LENGTH (writes));
      writes[phase]++;
      assert_int_equal (offset >= RECORDS, phase == 2);
      assert_true (offset < f2_record_offset (F2_CONSUMER + 1, 0));
    }
  }
  assert_memory_equal (writes, expected, sizeof expected);
  record_device_free (rd);
}

static void
create_keeps_a_valid_ring (void **state)
{
  const struct blkring_create_options o = { .format = 2, .block_size = B };
  struct record_device *rd = used2 (state);
  struct blkring_info *info = malloc (sizeof *info);

  assert_non_null (info);
  assert_int_equal (blkring_create (rd->device, &o), 1);
  damage (rd, 100);
  assert_int_equal (blkring_create (rd->device, &o), 1);
  assert_int_equal (rd->writes, 0);
  assert_ok (blkring_inspect (rd->device, NULL, info));
  assert_int_equal (info->items, 1);
  damage (rd, F2_SLOT + 100);
  assert_int_equal (blkring_create (rd->device, &o), -1);
  assert_int_equal (rd->writes, 0);
  assert_ok (create2 (rd));
  assert_new (rd);
  free (info);
  record_device_free (rd);
}

/*---------------------------------------------------------------------*/

/* Some times around, with frames of all sizes, and attached anew. */
static void
use (struct record_device *rd)
{
  struct fixture f = start_on (rd, NULL, NULL);
  const struct ring ring = ring_of (rd);
  const uint64_t capacity = ring.capacity;
  uint64_t done = 0, length, i;

  for (i = 0; done < 5 * capacity; ++i) {
    length = i * i * 97 % (ring.largest_frame - F2_HEADER - 3);
    put (f.p, 'a' + i % 26, length);
    done += f2_frame_size (&ring, length + 4);
    drain (f.c);
    put (f.p, 'A' + i % 26, 1);
    done += ring.block_size;
    drain (f.c);
    if (i % 5 == 0) {
      blkring_producer_free (f.p);
      f.p = attach_producer (rd);
    }
  }
  put (f.p, 'x', blkring_producer_largest_item (f.p));
  assert_clean (rd);
  drain (f.c);
  blkring_producer_free (f.p);
  blkring_consumer_free (f.c);
  assert_int_equal (rd->bad_requests, 0);
}

static void
sectors_and_blocks (void **state)
{
  static const struct shape shapes[] = {
    { .sector = 512, .block = 512 },
    { .sector = 512, .block = 4096 },
    { .sector = 4096, .block = 4096 },
    { .sector = 4096, .block = 65536, .blocks = 3 },
    { .sector = 512, .block = 65536, .blocks = 1 },
    { .sector = 1, .block = 512 },
    { .sector = 512, .block = 512, .largest_frame = 1024 },
    { .sector = 512, .block = 512, .blocks = 2, .extra = 511 * 512 },
    { .sector = 4096, .block = 4096, .consumers = 1, .extra = 4096 },
  };
  struct record_device *rd;
  struct shape s;
  size_t i;

  for (i = 0; i < LENGTH (shapes); ++i) {
    s = shapes[i];
    s.flags = *(unsigned *) *state;
    rd = new_ring (&s);
    use (rd);
    rd->geometry.memory_alignment = 4096;
    use (rd);
    rd->geometry.max_request = s.sector == 4096 ? 4096 : 1024;
    rd->short_count = max_u64 (s.sector, 512);
    use (rd);
    record_device_free (rd);
  }
}

static void
assert_refused (const struct blkring_create_options *o, uint64_t size,
                uint32_t sector)
{
  const struct record_options options = { .size = size,
                                          .sector_size = sector };
  struct record_device *rd = record_device_new (&options);

  assert_fails (EINVAL, blkring_create (rd->device, o));
  assert_fails (EINVAL, blkring_create_check (size, sector, o));
  assert_int_equal (rd->writes, 0);
  record_device_free (rd);
}

static void
impossible_rings_are_refused (void **state)
{
  static const struct blkring_create_options small[] = {
    { .block_size = 256 }, { .block_size = 131072 }, { .block_size = 1000 },
    { .consumers = 65 }, { .largest_frame = 1000 }, { .largest_frame = 2048 },
    { .largest_frame = 2 << 20 }, { .largest_frame = UINT64_C (1) << 63 },
    { .label = "12345678901234567890123456789012345678901234567890123456"
               "789012345" },
  }, large = { .format = 2, .block_size = 512 }, usual = { .format = 2 };
  struct blkring_create_options o;
  size_t i;

  (void) state;
  for (i = 0; i < LENGTH (small); ++i) {
    o = small[i];
    o.format = 2;
    assert_refused (&o, 1 << 20, 512);
  }
  assert_refused (&large, 1 << 20, 4096);
  assert_refused (&usual, 1 << 20, 8192);
  assert_refused (&usual, 36863, 1);
  assert_ok (blkring_create_check (36864, 512, &usual));
  o = usual;
  o.consumers = 64;
  assert_refused (&o, 135 * 4096 - 512, 512);
  assert_ok (blkring_create_check (135 * 4096, 512, &o));
}

/* What cannot be made destroys nothing. */
static void
refused_ring_leaves_the_old_one (void **state)
{
  static const struct blkring_create_options impossible[] = {
    { .flags = BLKRING_CREATE_FORCE, .format = 2, .block_size = 1000 },
    { .flags = BLKRING_CREATE_FORCE, .format = 2, .consumers = 65 },
    { .flags = BLKRING_CREATE_FORCE, .format = 1, .sector_size = 1000 },
    { .flags = BLKRING_CREATE_FORCE, .format = 3 },
  };
  struct record_device *rd;
  size_t i;

  for (i = 0; i < 2 * LENGTH (impossible); ++i) {
    rd = i % 2 ? used1 (state) : used2 (state);
    assert_fails (EINVAL, blkring_create (rd->device, &impossible[i / 2]));
    assert_int_equal (rd->writes, 0);
    record_device_free (rd);
  }
}

/*---------------------------------------------------------------------*/

/* Both ways: a device that grew, and one that was too large for blocks. */
static void
what_lies_behind_is_not_touched (void **state)
{
  unsigned char pattern[300];
  struct shape s = { .extra = sizeof pattern, .sector = 1 };
  struct record_device *rd;
  uint64_t end;

  s.flags = *(unsigned *) *state;
  rd = new_blank (&s);
  end = shape_data_offset (&s) + BLOCKS * B;
  memset (pattern, 0x5a, sizeof pattern);
  record_device_poke (rd, end, pattern, sizeof pattern);
  assert_ok (create_ring (rd, &s));
  assert_int_equal (ring_of (rd).capacity, BLOCKS * B);
  use (rd);
  assert_memory_equal (rd->content + end, pattern, sizeof pattern);
  record_device_free (rd);

  s.extra = 0;
  rd = new_blank (&(struct shape) { .blocks = 100, .sector = 1 });
  memset (rd->content, 0x5a, rd->allocated);
  rd->geometry.size = end;
  assert_ok (create_ring (rd, &s));
  use (rd);
  rd->geometry.size = rd->allocated;
  use (rd);
  assert_int_equal (ring_of (rd).capacity, BLOCKS * B);
  assert_memory_equal (rd->content + end, pattern, sizeof pattern);
  assert_int_equal (rd->content[rd->allocated - 1], 0x5a);
  record_device_free (rd);
}

static void
shrunk_device_is_no_damage (void **state)
{
  struct record_device *rd = used2 (state);
  struct blkring_info *info = malloc (sizeof *info);
  const uint64_t size = rd->geometry.size;
  struct findings findings = { 0 };

  assert_non_null (info);
  rd->geometry.size -= 512;
  assert_no_handle (EINVAL, blkring_producer_attach (rd->device, NULL));
  assert_message ("shrunk");
  assert_no_handle (EINVAL, blkring_consumer_attach (rd->device, NULL));
  assert_fails (EINVAL, blkring_inspect (rd->device, NULL, info));
  assert_message ("shrunk");
  assert_fails (EINVAL, blkring_check (rd->device, NULL, add_finding2,
                                       &findings));
  assert_int_equal (findings.corruptions, 0);
  assert_fails (EINVAL, blkring_create (rd->device, NULL));
  rd->geometry.size = 5000;
  assert_fails (EINVAL, blkring_inspect (rd->device, NULL, info));
  assert_int_equal (rd->writes, 0);
  rd->geometry.size = size;
  assert_ok (blkring_inspect (rd->device, NULL, info));
  assert_int_equal (info->items, 1);
  free (info);
  record_device_free (rd);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    EACH ("a power cut while a ring is made leaves none or all of it",
          create_leaves_no_half_ring),
    EACH ("a power cut while a ring is made over another leaves no half",
          create_over_a_ring_leaves_no_half_ring),
    EACH ("a power cut while a ring is erased leaves no half",
          erase_leaves_no_half_ring),
    EACH ("create writes in the order that leaves no half ring",
          create_writes_in_order),
    EACH ("create keeps a valid ring", create_keeps_a_valid_ring),
    EACH ("all sectors and blocks work", sectors_and_blocks),
    cmocka_unit_test (impossible_rings_are_refused),
    EACH ("a ring that is refused leaves the old one",
          refused_ring_leaves_the_old_one),
    EACH ("what lies behind the ring is not touched",
          what_lies_behind_is_not_touched),
    EACH ("a device that has shrunk is told so", shrunk_device_is_no_damage),
  };

  return cmocka_run_group_tests_name ("create of format 2", tests, NULL,
                                      NULL);
}
