/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How many requests each operation makes, on a device that is made durable
 * by flushes and on one that has FUA; and how often the producer looks at
 * the consumer.  What a consumer reads is in test-read-ahead.c.
 */

#include <config.h>

#include "record-fixture.h"

#define NS_PER_MS UINT64_C (1000000)

static uint64_t now;

static struct fixture
start_with_clock (void **state, uint32_t poll_interval)
{
  struct blkring_clock clock = record_clock (&now);
  const struct blkring_attach_options a = {
    .clock = &clock,
    .poll_interval = poll_interval,
  };
  const struct record_options o = {
    .size = SECTORS * S,
    .flags = *(unsigned *) *state,
  };

  return start_on (record_device_new_ring (&o, 0), &a, &a);
}

static struct fixture
start_small (void **state)
{
  return start_with_clock (state, 0);
}

/* Each write is made durable by itself, by a flush or by FUA. */
static void
assert_durable_writes (const struct fixture *f, unsigned writes)
{
  const bool fua = f->rd->geometry.flags & BLKRING_DEVICE_FUA;

  assert_int_equal (f->rd->writes, writes);
  assert_int_equal (f->rd->fua_writes, fua ? writes : 0);
  assert_int_equal (f->rd->flushes, fua ? 0 : writes);
}

static void
item_inside_its_sector (void **state)
{
  struct fixture f = start_small (state);

  append (f.p, 'a', 1);
  record_device_forget (f.rd);
  append (f.p, 'b', 100);
  assert_int_equal (f.rd->reads, 0);
  assert_durable_writes (&f, 2);
  assert_int_equal (f.rd->bytes_written, 2 * S);
  record_device_forget (f.rd);
  assert_int_equal (blkring_producer_append (f.p, "c", 1, NULL), 0);
  assert_int_equal (f.rd->reads, 0);
  assert_durable_writes (&f, 2);
  stop (&f);
}

static void
first_item_after_attach (void **state)
{
  struct fixture f = start_small (state);

  append (f.p, 'a', 1);
  blkring_producer_free (f.p);
  f.p = blkring_producer_attach (f.rd->device, NULL);
  record_device_forget (f.rd);
  append (f.p, 'b', 1);
  assert_true (f.rd->reads <= 1);
  assert_true (f.rd->bytes_read <= S);
  assert_durable_writes (&f, 2);
  stop (&f);
}

static void
item_into_a_new_sector (void **state)
{
  struct fixture f = start_small (state);
  unsigned i;

  for (i = 0; i < 30; ++i) {
    record_device_forget (f.rd);
    append (f.p, 'a', i % 2 ? 700 : 2000);
    assert_true (f.rd->reads <= 1);
    assert_true (f.rd->bytes_read <= S);
    assert_int_equal (f.rd->log[0].offset % S, 0);
    drain (f.c);
    /* Else the next push would have to look for space. */
    blkring_producer_free (f.p);
    f.p = blkring_producer_attach (f.rd->device, NULL);
    append (f.p, 'b', 1);
    drain (f.c);
  }
  stop (&f);
}

static void
item_that_fills_its_sectors (void **state)
{
  struct fixture f = start_small (state);

  append (f.p, 'a', S - 4);
  append (f.p, 'b', 3 * S - 4);
  assert_int_equal (f.rd->reads, 0);
  assert_durable_writes (&f, 4);
  append (f.p, 'c', 1);
  record_device_forget (f.rd);
  append (f.p, 'd', S - 8 - 4);
  append (f.p, 'e', S - 4);
  assert_int_equal (f.rd->reads, 0);
  assert_durable_writes (&f, 4);
  stop (&f);
}

/* Around the end a batch is one write more, and one flush for both. */
static void
batch (void **state)
{
  const bool fua = *(unsigned *) *state;
  struct fixture f = start_small (state);
  struct iovec items[50];
  blkring_position after;
  unsigned i;

  for (i = 0; i < 50; ++i)
    items[i] = (struct iovec) { "0123456789", i % 11 };
  append (f.p, 'a', 1);
  record_device_forget (f.rd);
  assert_int_equal (blkring_producer_pushv (f.p, items, 50, &after), 0);
  assert_int_equal (blkring_producer_advance (f.p, after), 0);
  assert_true (f.rd->reads <= 1);
  assert_durable_writes (&f, 2);
  record_device_forget (f.rd);
  assert_int_equal (blkring_producer_appendv (f.p, items, 50, NULL), 0);
  assert_true (f.rd->reads <= 1);
  assert_durable_writes (&f, 2);

  /* In format 1 a position is the number of bytes before it. */
  assert_int_equal (blkring_producer_appendv (f.p, items, 50, &after), 0);
  drain (f.c);
  append (f.p, 'a', CAPACITY - after - 200);
  drain (f.c);
  /* Else the next push would have to look for space, and flush. */
  blkring_producer_free (f.p);
  f.p = blkring_producer_attach (f.rd->device, NULL);
  append (f.p, 'b', 1);
  record_device_forget (f.rd);
  assert_int_equal (blkring_producer_appendv (f.p, items, 50, NULL), 0);
  assert_int_equal (f.rd->writes, 3);
  assert_int_equal (f.rd->flushes, fua ? 1 : 2);
  assert_int_equal (f.rd->fua_writes, fua);
  stop (&f);
}

/* Larger than the producer's buffer, and all around the ring: it ends in
 * the sector where it began. */
static void
item_as_large_as_the_ring (void **state)
{
  const uint64_t size = (9 << 20) + S;
  const struct record_options o = {
    .size = size,
    .flags = *(unsigned *) *state,
  };
  struct fixture f = start_on (record_device_new_ring (&o, 0), NULL, NULL);
  const size_t length = size - 3 * S - 4;
  unsigned char *data = malloc (length);
  struct blkring_item item;
  size_t i;

  assert_non_null (data);
  for (i = 0; i < length; ++i)
    data[i] = i % 251;
  append (f.p, 'a', 1);
  drain (f.c);
  record_device_forget (f.rd);
  assert_int_equal (blkring_producer_append (f.p, data, length, NULL), 0);
  assert_true (f.rd->writes <= length / (4 << 20) + 4);
  assert_true (f.rd->bytes_written <= length + 3 * S);
  assert_int_equal (f.rd->nr_pending, 0);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), 0);
  assert_int_equal (item.length, length);
  assert_memory_equal (item.data, data, length);
  free (data);
  stop (&f);
}

static void
pushes_under_one_advance (void **state)
{
  struct fixture f = start_small (state);
  blkring_position after;
  unsigned i;

  append (f.p, 'a', 1);
  record_device_forget (f.rd);
  for (i = 0; i < 20; ++i)
    after = push (f.p, 'b', 8);
  assert_int_equal (blkring_producer_advance (f.p, after), 0);
  assert_int_equal (f.rd->reads, 0);
  assert_durable_writes (&f, 21);
  stop (&f);
}

static void
consumer_advance (void **state)
{
  struct fixture f = start_small (state);
  struct blkring_item item;
  unsigned i;

  for (i = 0; i < 20; ++i)
    append (f.p, 'a', 100);
  for (i = 0; i < 20; ++i) {
    assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), 0);
    record_device_forget (f.rd);
    assert_int_equal (blkring_consumer_advance (f.c, item.next), 0);
    assert_int_equal (f.rd->writes, 1);
    assert_int_equal (f.rd->bytes_written, S);
    assert_true (f.rd->reads <= 1);
    assert_true (f.rd->bytes_read <= 2 * S);
    assert_true (f.rd->flushes + f.rd->fua_writes <= 2);
  }
  stop (&f);
}

/*---------------------------------------------------------------------*/

/* Looks at the consumer, by the producer. */
static unsigned
looks (const struct fixture *f)
{
  unsigned n = 0;
  size_t i;

  for (i = 0; i < f->rd->nr_log; ++i)
    n += f->rd->log[i].kind == RECORD_READ && f->rd->log[i].offset < 3 * S;
  return n;
}

static void
producer_looks (void **state, uint32_t poll_interval, uint64_t interval)
{
  struct fixture f = start_with_clock (state, poll_interval);

  record_device_forget (f.rd);
  append (f.p, 'a', 1);
  append (f.p, 'a', 1000);
  now += (interval - 1) * NS_PER_MS;
  append (f.p, 'a', 1);
  assert_int_equal (looks (&f), 0);
  now += 2 * NS_PER_MS;
  append (f.p, 'a', 1);
  assert_int_equal (looks (&f), 1);
  now += (interval - 1) * NS_PER_MS;
  append (f.p, 'a', 1);
  assert_int_equal (looks (&f), 1);
  assert_int_equal (blkring_producer_state (f.p), BLKRING_RUNNING);
  assert_int_equal (looks (&f), 2);
  now += (interval - 1) * NS_PER_MS;
  append (f.p, 'a', 1);
  assert_int_equal (looks (&f), 2);
  stop (&f);
}

static void
producer_looks_when_its_last_look_is_old (void **state)
{
  producer_looks (state, 0, 100);
  producer_looks (state, 7, 7);
  producer_looks (state, 60000, 60000);
}

static void
producer_looks_when_space_is_short (void **state)
{
  struct fixture f = start_with_clock (state, 0);

  append (f.p, 'a', CAPACITY / 2);
  drain (f.c);
  record_device_forget (f.rd);
  append (f.p, 'a', CAPACITY / 4);
  assert_int_equal (looks (&f), 0);
  append (f.p, 'a', CAPACITY / 2);
  assert_int_equal (looks (&f), 1);
  append (f.p, 'a', 100);
  assert_int_equal (looks (&f), 1);
  assert_int_equal (blkring_producer_push (f.p, "", CAPACITY / 2, NULL), -1);
  assert_int_equal (errno, EAGAIN);
  assert_int_equal (looks (&f), 2);
  stop (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    EACH ("an item inside its sector takes two writes and no read",
          item_inside_its_sector),
    EACH ("the first item after attach reads its sector at most",
          first_item_after_attach),
    EACH ("an item into a new sector reads that at most",
          item_into_a_new_sector),
    EACH ("an item that fills its sectors reads nothing",
          item_that_fills_its_sectors),
    EACH ("a batch takes two writes, three around the end", batch),
    EACH ("an item as large as the ring is written in few parts",
          item_as_large_as_the_ring),
    EACH ("pushes under one advance share its write",
          pushes_under_one_advance),
    EACH ("the consumer's advance takes one write and one read",
          consumer_advance),
    EACH ("the producer looks when its last look is old",
          producer_looks_when_its_last_look_is_old),
    EACH ("the producer looks when space is short",
          producer_looks_when_space_is_short),
  };

  return cmocka_run_group_tests_name ("economy", tests, NULL, NULL);
}
