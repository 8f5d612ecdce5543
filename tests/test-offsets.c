/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Items at every place where one can start, of lengths around 0 and around
 * a sector or block, on a ring of few of them, so that they also cross the
 * end of the data area and end just before the oldest item.  In format 1
 * one can start at each multiple of 4, in format 2 in each block.
 *
 * Each round fills the ring once: a small item, whose end is where the
 * item under test starts, that item, and one that takes the rest.  A round
 * so ends where it began, and an empty item moves on to the next place.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "ring-fixture.h"

#define BEFORE 5             /* length of the small item */
#define MOST_DATA (4 * 4096)

static struct ring_kind format1_512 = {
  .format = 1, .unit = 512, .units = 4,
};
static struct ring_kind format1_4096 = {
  .format = 1, .unit = 4096, .units = 2,
};
static struct ring_kind format2_512 = {
  .format = 2, .unit = 512, .units = 5,
};
static struct ring_kind format2_4096 = {
  .format = 2, .unit = 4096, .units = 4,
};
static struct ring_kind format2_two = {
  .format = 2, .unit = 512, .units = 4, .consumers = 2,
};

struct round {
  struct test_ring *t;
  unsigned seed;
  unsigned char data[MOST_DATA], rest[MOST_DATA];
};

static void
read_data (const struct round *r, unsigned char *data)
{
  assert_ok (blkring_device_read (r->t->device, data, r->t->capacity,
                                  data_offset (r->t)));
}

/* Bytes of the stream from 'position' on are these. */
static void
assert_stream (const struct round *r, const unsigned char *data,
               uint64_t position, const void *expected, size_t n)
{
  const size_t at = position % r->t->capacity;
  const size_t first = n < r->t->capacity - at ? n : r->t->capacity - at;

  assert_memory_equal (data + at, expected, first);
  assert_memory_equal (data, (const char *) expected + first, n - first);
}

/* What fills up to where the next item starts.  In format 1 it has no
 * meaning (test-compat.c compares it with the original's), in format 2 it is
 * zero. */
static void
assert_padding (const struct round *r, const unsigned char *now,
                uint64_t start, uint64_t end)
{
  uint64_t at;
  size_t i;

  for (at = start; at < end; ++at) {
    i = at % r->t->capacity;
    assert_true (r->t->format == 1 || now[i] == 0);
  }
}

/* The push has changed the bytes of its own place alone, whoever owns those
 * around it. */
static void
assert_only_item_changed (struct round *r, uint64_t start, uint64_t end,
                          const unsigned char *item, uint32_t length)
{
  const unsigned char header[4] = { length, length >> 8 };
  const uint64_t payload = start + overhead (r->t);
  const size_t from = start % r->t->capacity, to = end % r->t->capacity;
  unsigned char now[MOST_DATA];

  read_data (r, now);
  assert_stream (r, now, payload - sizeof header, header, sizeof header);
  assert_stream (r, now, payload, item, length);
  assert_padding (r, now, payload + length, end);
  if (from < to) {
    assert_memory_equal (now, r->data, from);
    assert_memory_equal (now + to, r->data + to, r->t->capacity - to);
  }
  else
    assert_memory_equal (now + to, r->data + to, from - to);
}

static void
pop_next (struct round *r, blkring_position *at, const void *expected,
          size_t length)
{
  struct blkring_item item;

  assert_ok (blkring_consumer_pop (r->t->c, at, &item));
  assert_int_equal (item.position, *at);
  assert_int_equal (item.length, length);
  assert_memory_equal (item.data, expected, length);
  *at = item.next;
}

static void
run_round (struct round *r, blkring_position begin, size_t length)
{
  unsigned char before[BEFORE], item[MOST_DATA];
  const size_t size = push_size (r->t, length);
  const size_t rest = r->t->capacity - push_size (r->t, BEFORE) - size
    - overhead (r->t);
  blkring_position start, end, at = begin;

  r->seed++;
  fill_payload (before, BEFORE, r->seed);
  fill_payload (item, length, r->seed + 100);
  assert_ok (blkring_producer_append (r->t->p, before, BEFORE, &start));
  read_data (r, r->data);
  assert_ok (blkring_producer_push (r->t->p, item, length, &end));
  assert_int_equal (end, start + size);
  assert_only_item_changed (r, start, end, item, length);
  assert_ok (blkring_producer_append (r->t->p, r->rest, rest, NULL));
  assert_fails (EAGAIN, blkring_producer_push (r->t->p, "", 0, NULL));

  pop_next (r, &at, before, BEFORE);
  pop_next (r, &at, item, length);
  pop_next (r, &at, r->rest, rest);
  assert_int_equal (at, begin + r->t->capacity);
  assert_ok (free_up_to (r->t, at));
}

static void
item_at_every_offset_leaves_its_neighbours_alone (void **state)
{
  struct test_ring *t = *state;
  const size_t full = t->unit - overhead (t); /* ends where its unit ends */
  struct round *r = calloc (1, sizeof *r);
  blkring_position at = 0;
  uint64_t offset;
  size_t length;

  assert_non_null (r);
  r->t = t;
  assert_true (t->capacity <= MOST_DATA);
  fill_payload (r->rest, sizeof r->rest, 1000);
  attach_all (t, NULL);
  for (offset = 0; offset < t->capacity; offset += push_size (t, 0)) {
    assert_int_equal (at % t->capacity, offset);
    for (length = 0; length <= 8; ++length, at += t->capacity)
      run_round (r, at, length);
    for (length = full - 8; length <= full + 12; ++length, at += t->capacity)
      run_round (r, at, length);
    assert_ok (blkring_producer_append (t->p, "", 0, NULL));
    pop_next (r, &at, "", 0);
    assert_ok (free_up_to (t, at));
  }
  free (r);
}

#define ON(text, kind) \
  ON_KIND (item_at_every_offset_leaves_its_neighbours_alone, text, kind)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    ON ("format 1, sectors of 512", &format1_512),
    ON ("format 1, sectors of 4096", &format1_4096),
    ON ("format 2, blocks of 512", &format2_512),
    ON ("format 2, blocks of 4096", &format2_4096),
    ON ("format 2, two consumers", &format2_two),
  };

  return cmocka_run_group_tests_name ("offsets", tests, NULL, NULL);
}
