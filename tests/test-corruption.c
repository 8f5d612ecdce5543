/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A device that holds something which breaks format 1 when it is opened:
 * every way in fails with EBADMSG and names the byte, check finds just
 * that byte, and nothing is written.  And devices that hold no ring.
 * What breaks while handles are open is in test-corruption-live.c.
 */

#include <config.h>

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>

#include "record-fixture.h"

#define P 716                /* the producer's position, in each ring here */
#define C 104                /* the consumer's */
#define NONE UINT64_MAX      /* leave it */

/* Kinds of rings.  The ring's sector size is not on the device, and must be
 * found out of a damaged one, too. */
static struct shape {
  uint32_t ring, device;     /* bytes of a sector */
} small = { 512, 512 }, large = { 4096, 512 }, native = { 4096, 4096 };

#define SHAPES(text, function) \
  { text ", 512", function, NULL, NULL, &small }, \
  { text ", 4096 on 512", function, NULL, NULL, &large }, \
  { text ", 4096", function, NULL, NULL, &native }

static uint64_t
capacity (const struct shape *shape)
{
  return (SECTORS - 3) * (uint64_t) shape->ring;
}

/* Two unread items, of 600 bytes and of 3, behind one that was freed. */
static struct record_device *
make (const struct shape *shape)
{
  const struct record_options o = {
    .size = SECTORS * shape->ring,
    .sector_size = shape->device,
  };
  struct fixture f = start_on (record_device_new_ring (&o, shape->ring),
                               NULL, NULL);

  append (f.p, 'a', 100);
  drain (f.c);
  append (f.p, 'b', 600);
  assert_int_equal (append (f.p, 'c', 3), P);
  blkring_producer_free (f.p);
  blkring_consumer_free (f.c);
  record_device_forget (f.rd);
  return f.rd;
}

static void
poke64 (struct record_device *rd, uint64_t offset, uint64_t value)
{
  if (value == NONE)
    return;
  value = htole64 (value);
  record_device_poke (rd, offset, &value, sizeof value);
}

static void
poke32 (struct record_device *rd, uint64_t offset, uint32_t value)
{
  value = htole32 (value);
  record_device_poke (rd, offset, &value, sizeof value);
}

/* The last call has failed, and says that this byte is wrong. */
static void
assert_corrupt_at (uint64_t offset)
{
  char text[40];
  const char *p = blkring_get_error ();
  int n = snprintf (text, sizeof text, "byte %" PRIu64, offset);

  assert_int_equal (errno, EBADMSG);
  assert_int_equal (blkring_get_errno (), EBADMSG);
  while ((p = strstr (p, text)) != NULL) {
    p += n;
    if (*p < '0' || *p > '9')
      return;
  }
  fail_msg ("no %s in \"%s\"", text, blkring_get_error ());
}

static void
add_finding (void *opaque, const struct blkring_finding *finding)
{
  uint64_t *found = opaque;

  assert_true (finding->message[0] != '\0');
  found[++found[0]] = finding->offset;
}

static void
assert_check_finds (struct record_device *rd, uint64_t offset)
{
  uint64_t found[8] = { 0 };
  int n = blkring_check (rd->device, NULL, add_finding, found);

  /* Both pointers may be wrong: the producer's comes first. */
  assert_in_range (n, 1, 2);
  assert_int_equal (found[0], n);
  assert_int_equal (found[1], offset);
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

/* What is wrong with a pointer keeps everybody out. */
static void
assert_pointer_refused (struct record_device *rd, uint64_t offset)
{
  const struct blkring_attach_options observer = {
    .flags = BLKRING_ATTACH_OBSERVER,
  };
  struct blkring_info info;
  uint64_t end = 0;

  assert_null (blkring_producer_attach (rd->device, NULL));
  assert_corrupt_at (offset);
  assert_null (blkring_consumer_attach (rd->device, NULL));
  assert_corrupt_at (offset);
  assert_null (blkring_consumer_attach (rd->device, &observer));
  assert_corrupt_at (offset);
  assert_int_equal (blkring_inspect (rd->device, NULL, &info), -1);
  assert_corrupt_at (offset);
  assert_int_equal (blkring_map (rd->device, NULL, cover, &end), -1);
  assert_corrupt_at (offset);
  assert_int_equal (end, 0);
  assert_check_finds (rd, offset);
  assert_int_equal (blkring_create (rd->device, FORMAT1), -1);
  assert_int_equal (errno, EEXIST);
  assert_int_equal (rd->writes, 0);
}

/*---------------------------------------------------------------------*/

static void
flags (void **state)
{
  static const unsigned char values[] = { 0, 3, 4, 128, 255 };
  const struct shape *shape = *state;
  struct record_device *rd;
  uint64_t offset;
  unsigned i, sector;

  for (sector = 1; sector <= 2; ++sector)
    for (i = 0; i < sizeof values; ++i) {
      rd = make (shape);
      offset = sector * shape->ring + 8;
      record_device_poke (rd, offset, &values[i], 1);
      assert_pointer_refused (rd, offset);
      record_device_free (rd);
    }
}

/* Poke both positions; 'sector' is that of the one that is wrong. */
static void
refuse_positions (const struct shape *shape, uint64_t producer,
                  uint64_t consumer, unsigned sector)
{
  struct record_device *rd = make (shape);

  poke64 (rd, shape->ring, producer);
  poke64 (rd, 2 * shape->ring, consumer);
  assert_pointer_refused (rd, sector * shape->ring);
  record_device_free (rd);
}

static void
odd_positions (void **state)
{
  unsigned i;

  for (i = 1; i < 4; ++i) {
    refuse_positions (*state, P + i, NONE, 1);
    refuse_positions (*state, NONE, C + i, 2);
  }
}

static void
consumer_ahead (void **state)
{
  refuse_positions (*state, NONE, P + 4, 2);
  refuse_positions (*state, C - 4, NONE, 2);
  refuse_positions (*state, 0, NONE, 2);
  refuse_positions (*state, NONE, INT64_MAX - 3, 2);
}

static void
too_far_apart (void **state)
{
  const uint64_t most = capacity (*state);

  refuse_positions (*state, C + most + 4, NONE, 1);
  refuse_positions (*state, 1000 * most, NONE, 1);
  refuse_positions (*state, most + 4, 0, 1);
  refuse_positions (*state, INT64_MAX / 8 * 4, NONE, 1);
}

static void
positions_near_the_largest (void **state)
{
  const uint64_t half = UINT64_C (1) << 63;

  refuse_positions (*state, half, NONE, 1);
  refuse_positions (*state, half, half, 1);
  refuse_positions (*state, half - 4, NONE, 1);
  refuse_positions (*state, half - 4, half - 4, 1);
  refuse_positions (*state, half - 4, half - 1000, 1);
  refuse_positions (*state, half + 4, half - 4, 1);
  refuse_positions (*state, UINT64_MAX - 3, NONE, 1);
  refuse_positions (*state, UINT64_MAX - 3, UINT64_MAX - 3, 1);
  refuse_positions (*state, UINT64_MAX - 1, NONE, 1);
  refuse_positions (*state, 4, UINT64_MAX - 3, 2);
  refuse_positions (*state, NONE, half, 2);
}

/* The farthest apart that is right: full, and far along. */
static void
positions_at_the_limit (void **state)
{
  const struct shape *shape = *state;
  const uint64_t far = INT64_MAX / 4 * 4 - 10 * capacity (shape);
  struct record_device *rd = make (shape);
  blkring_producer *p;
  uint64_t end = 0;

  poke64 (rd, shape->ring, far + capacity (shape));
  poke64 (rd, 2 * shape->ring, far);
  p = blkring_producer_attach (rd->device, NULL);
  assert_non_null (p);
  assert_int_equal (blkring_producer_push (p, "x", 1, NULL), -1);
  assert_int_equal (errno, EAGAIN);
  blkring_producer_free (p);
  assert_int_equal (blkring_map (rd->device, NULL, cover, &end), 0);
  assert_int_equal (end, SECTORS * shape->ring);
  record_device_free (rd);
}

/*---------------------------------------------------------------------*/

/* The length of the item at this position is wrong: those before it can
 * be had, it and those behind it not. */
static void
refuse_length (const struct shape *shape, uint64_t position, uint32_t length)
{
  struct record_device *rd = make (shape);
  const uint64_t offset = 3 * shape->ring + position;
  struct blkring_info info;
  struct blkring_item items[3];
  char names[8] = "", buf[1000];
  blkring_producer *p;
  blkring_consumer *c;
  uint64_t end = 0, attached;

  poke32 (rd, offset, length);
  c = blkring_consumer_attach (rd->device, NULL);
  assert_non_null (c);
  attached = rd->writes;
  if (position != C) {
    assert_int_equal (blkring_consumer_popv (c, NULL, items, 3), 1);
    assert_int_equal (items[0].next, position);
  }
  assert_int_equal (blkring_consumer_pop (c, &position, items), -1);
  assert_corrupt_at (offset);
  assert_int_equal (blkring_consumer_pop_copy (c, &position, buf, sizeof buf,
                                               items), -1);
  assert_corrupt_at (offset);
  assert_int_equal (blkring_consumer_popv (c, &position, items, 3), -1);
  assert_corrupt_at (offset);
  assert_int_equal (blkring_consumer_fold (c, NULL, add_name, names), -1);
  assert_corrupt_at (offset);
  assert_string_equal (names, position == C ? "" : "b");
  assert_int_equal (blkring_consumer_advance (c, P), -1);
  assert_int_equal (blkring_inspect (rd->device, NULL, &info), -1);
  assert_corrupt_at (offset);
  assert_check_finds (rd, offset);
  assert_int_equal (blkring_map (rd->device, NULL, cover, &end), 0);
  assert_int_equal (end, SECTORS * shape->ring);
  assert_int_equal (rd->writes, attached);

  /* The producer never reads what is unread. */
  p = blkring_producer_attach (rd->device, NULL);
  assert_non_null (p);
  append (p, 'd', 10);
  blkring_producer_free (p);
  blkring_consumer_free (c);
  record_device_free (rd);
}

static void
lengths (void **state)
{
  static const uint32_t huge[] = {
    0x7ffffff8, 0x7ffffffc, 0x7fffffff, 0x80000000, 0xfffffff8, 0xfffffffc,
    0xffffffff,
  };
  unsigned i;

  refuse_length (*state, C, P - C - 3);
  refuse_length (*state, C, P - C);
  refuse_length (*state, C, capacity (*state) - 4);
  refuse_length (*state, P - 8, 5);
  refuse_length (*state, P - 8, 8);
  for (i = 0; i < sizeof huge / sizeof huge[0]; ++i) {
    refuse_length (*state, C, huge[i]);
    refuse_length (*state, P - 8, huge[i]);
  }
}

static void
items_larger_than_agreed (void **state)
{
  const struct blkring_attach_options o = { .largest_item = 599 };
  struct record_device *rd = make (*state);
  blkring_consumer *c = blkring_consumer_attach (rd->device, &o);
  const uint64_t attached = rd->writes;
  struct blkring_item items[3];

  assert_non_null (c);
  assert_int_equal (blkring_consumer_pop (c, NULL, items), -1);
  assert_int_equal (errno, EMSGSIZE);
  assert_non_null (strstr (blkring_get_error (), "600"));
  assert_int_equal (blkring_consumer_popv (c, NULL, items, 3), -1);
  assert_int_equal (errno, EMSGSIZE);
  assert_int_equal (rd->writes, attached);
  blkring_consumer_free (c);
  c = blkring_consumer_attach (rd->device, NULL);
  assert_int_equal (blkring_consumer_popv (c, NULL, items, 3), 2);
  blkring_consumer_free (c);
  record_device_free (rd);
}

/* Bytes behind the signature: a finding, and the ring works. */
static void
bytes_behind_the_signature (void **state)
{
  const struct shape *shape = *state;
  const uint64_t places[] = { 30, 31, 511, shape->ring - 1 };
  struct record_device *rd;
  uint64_t found[8] = { 0 };
  unsigned i;

  for (i = 0; i < sizeof places / sizeof places[0]; ++i) {
    rd = make (shape);
    record_device_poke (rd, places[i], "x", 1);
    assert_check_finds (rd, places[i]);
    record_device_free (rd);
  }
  rd = make (shape);
  record_device_poke (rd, 40, "x", 1);
  record_device_poke (rd, shape->ring + 8, "x", 1);
  assert_int_equal (blkring_check (rd->device, NULL, add_finding, found), 2);
  assert_int_equal (found[1], 40);
  assert_int_equal (found[2], shape->ring + 8);
  record_device_free (rd);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    SHAPES ("a flag is 1 or 2", flags),
    SHAPES ("a position is a multiple of 4", odd_positions),
    SHAPES ("the consumer is not ahead", consumer_ahead),
    SHAPES ("the pointers are not farther apart than the data area",
            too_far_apart),
    SHAPES ("positions end before 2^63", positions_near_the_largest),
    SHAPES ("a full ring far along is no corruption",
            positions_at_the_limit),
    SHAPES ("a length ends inside what is unread", lengths),
    SHAPES ("items larger than agreed are refused",
            items_larger_than_agreed),
    SHAPES ("bytes behind the signature are found",
            bytes_behind_the_signature),
  };

  return cmocka_run_group_tests_name ("corruption", tests, NULL, NULL);
}
