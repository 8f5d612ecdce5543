/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Items at every place where one can start, of lengths around 0 and around
 * a sector, on a ring of few sectors, so that they also cross the end of
 * the data area and end in the sector where the oldest item begins.
 *
 * Each round fills the ring once: a small item, whose end is where the
 * item under test starts, that item, and one that takes the rest.  A round
 * so ends where it began, and an empty item moves on by 4 bytes.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "common.h"

#define BEFORE 5             /* length of the small item, it takes 12 */
#define MOST_DATA (2 * 4096)

struct offsets {
  uint32_t sector_size;
  unsigned sectors;          /* of the data area */
};

static struct offsets offsets_512 = { 512, 4 };
static struct offsets offsets_4096 = { 4096, 2 };

struct round {
  blkring_device *device;
  blkring_producer *p;
  blkring_consumer *c;
  uint64_t data_offset, capacity;
  unsigned seed;
  unsigned char data[MOST_DATA], rest[MOST_DATA];
};

static void
read_data (const struct round *r, unsigned char *data)
{
  assert_ok (blkring_device_read (r->device, data, r->capacity,
                                  r->data_offset));
}

/* Bytes of the stream from 'position' on are these. */
static void
assert_stream (const struct round *r, const unsigned char *data,
               uint64_t position, const void *expected, size_t n)
{
  const size_t at = position % r->capacity;
  const size_t first = n < r->capacity - at ? n : r->capacity - at;

  assert_memory_equal (data + at, expected, first);
  assert_memory_equal (data, (const char *) expected + first, n - first);
}

/* The push has changed the bytes of its item alone, whoever owns those
 * around it. */
static void
assert_only_item_changed (struct round *r, uint64_t start, uint64_t end,
                          const unsigned char *item, uint32_t length)
{
  const unsigned char header[4] = { length, length >> 8 };
  const size_t from = start % r->capacity, to = end % r->capacity;
  unsigned char now[MOST_DATA];

  read_data (r, now);
  assert_stream (r, now, start, header, sizeof header);
  assert_stream (r, now, start + 4, item, length);
  if (from < to) {
    assert_memory_equal (now, r->data, from);
    assert_memory_equal (now + to, r->data + to, r->capacity - to);
  }
  else
    assert_memory_equal (now + to, r->data + to, from - to);
}

static void
take (struct round *r, blkring_position *at, const void *expected,
      size_t length)
{
  struct blkring_item item;

  assert_ok (blkring_consumer_pop (r->c, at, &item));
  assert_int_equal (item.position, *at);
  assert_int_equal (item.length, length);
  assert_memory_equal (item.data, expected, length);
  *at = item.next;
}

static void
run_round (struct round *r, blkring_position begin, size_t length)
{
  unsigned char before[BEFORE], item[MOST_DATA];
  const size_t size = (4 + length + 3) / 4 * 4;
  const size_t rest = r->capacity - 12 - size - 4;
  blkring_position start, end, at = begin;

  r->seed++;
  fill_payload (before, BEFORE, r->seed);
  fill_payload (item, length, r->seed + 100);
  assert_ok (blkring_producer_append (r->p, before, BEFORE, &start));
  read_data (r, r->data);
  assert_ok (blkring_producer_push (r->p, item, length, &end));
  assert_int_equal (end, start + size);
  assert_only_item_changed (r, start, end, item, length);
  assert_ok (blkring_producer_append (r->p, r->rest, rest, NULL));
  assert_fails (EAGAIN, blkring_producer_push (r->p, "", 0, NULL));

  take (r, &at, before, BEFORE);
  take (r, &at, item, length);
  take (r, &at, r->rest, rest);
  assert_int_equal (at, begin + r->capacity);
  assert_ok (blkring_consumer_advance (r->c, at));
}

static void
item_at_every_offset_leaves_its_neighbours_alone (void **state)
{
  const struct blkring_create_options create = { .format = 1 };
  const struct offsets *o = *state;
  const uint32_t s = o->sector_size;
  struct round *r = calloc (1, sizeof *r);
  blkring_position at = 0;
  uint64_t offset;
  size_t length;

  assert_non_null (r);
  r->data_offset = 3 * s;
  r->capacity = o->sectors * s;
  r->device = blkring_device_memory (r->data_offset + r->capacity, s);
  assert_handle (r->device);
  assert_ok (blkring_create (r->device, &create));
  r->p = blkring_producer_attach (r->device, NULL);
  r->c = blkring_consumer_attach (r->device, NULL);
  assert_handle (r->p);
  assert_handle (r->c);
  fill_payload (r->rest, sizeof r->rest, 1000);

  for (offset = 0; offset < r->capacity; offset += 4) {
    for (length = 0; length <= 8; ++length, at += r->capacity)
      run_round (r, at, length);
    for (length = s - 12; length <= s + 8; ++length, at += r->capacity)
      run_round (r, at, length);
    assert_ok (blkring_producer_append (r->p, "", 0, NULL));
    take (r, &at, "", 0);
    assert_ok (blkring_consumer_advance (r->c, at));
  }
  blkring_producer_free (r->p);
  blkring_consumer_free (r->c);
  blkring_device_close (r->device);
  free (r);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    { "item_at_every_offset_leaves_its_neighbours_alone: sectors of 512",
      item_at_every_offset_leaves_its_neighbours_alone, NULL, NULL,
      &offsets_512 },
    { "item_at_every_offset_leaves_its_neighbours_alone: sectors of 4096",
      item_at_every_offset_leaves_its_neighbours_alone, NULL, NULL,
      &offsets_4096 },
  };

  return cmocka_run_group_tests_name ("offsets", tests, NULL, NULL);
}
