/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How many requests the producer of format 2 makes, on a device that is made
 * durable by flushes and on one that has FUA; and how many attach, detach
 * and durability none.  What a consumer makes is in test2-read.c.
 */

#include <config.h>

#include "format2-fixture.h"

static struct fixture
start_usual (void **state)
{
  return start_shape (state, 4096, 2048);
}

/* A producer that knows of all space. */
static void
renew_producer (struct fixture *f)
{
  blkring_producer_free (f->p);
  f->p = blkring_producer_attach (f->rd->device, with_clock ());
  assert_non_null (f->p);
  record_device_forget (f->rd);
}

/* Each write was made durable by itself, by a flush or by FUA. */
static void
assert_durable_writes (const struct fixture *f, unsigned writes)
{
  const bool fua = f->rd->geometry.flags & BLKRING_DEVICE_FUA;

  assert_int_equal (f->rd->writes, writes);
  assert_int_equal (f->rd->fua_writes, fua ? writes : 0);
  assert_int_equal (f->rd->flushes, fua ? 0 : writes);
}

static unsigned
records_written (const struct fixture *f)
{
  return requests (f->rd, RECORD_WRITE, f2_record_offset (F2_PRODUCER, 0),
                   f2_record_offset (F2_CONTROL, 0));
}

/*---------------------------------------------------------------------*/

static void
append_is_one_write (void **state)
{
  static const size_t lengths[] = { 0, 1, 4028, 4029, 10000, 100000, 7 };
  struct fixture f = start_usual (state);
  size_t i;

  for (i = 0; i < LENGTH (lengths); ++i) {
    put (f.p, 'a', lengths[i]);
    assert_int_equal (f.rd->reads, 0);
    assert_durable_writes (&f, 1);
    assert_int_equal (f.rd->bytes_written,
                      round_up (F2_HEADER + f2_item_size (lengths[i]), 4096));
    assert_int_equal (f.rd->nr_pending, 0);
    record_device_forget (f.rd);
  }
  stop (&f);
}

static void
batch_is_one_write (void **state)
{
  struct fixture f = start_usual (state);
  struct iovec items[500];
  size_t i;

  for (i = 0; i < LENGTH (items); ++i)
    items[i] = (struct iovec) { "0123456789", i % 11 };
  assert_ok (blkring_producer_appendv (f.p, items, LENGTH (items), NULL));
  assert_int_equal (f.rd->reads, 0);
  assert_durable_writes (&f, 1);
  record_device_forget (f.rd);
  assert_ok (blkring_producer_pushv (f.p, items, LENGTH (items), NULL));
  assert_int_equal (f.rd->reads, 0);
  assert_durable_writes (&f, 1);
  stop (&f);
}

/* Two writes, and one flush for both. */
static void
append_around_the_end (void **state)
{
  struct fixture f = start_shape (state, B, 64);
  unsigned i;

  for (i = 0; i < 15; ++i)
    put (f.p, 'a', FILLS (B, 4));
  drain (f.c);
  renew_producer (&f);
  put (f.p, 'b', FILLS (B, 6));
  assert_int_equal (f.rd->reads, 0);
  assert_int_equal (f.rd->writes, 2);
  assert_int_equal (f.rd->fua_writes, 0);
  assert_int_equal (f.rd->flushes, 1);
  assert_int_equal (f.rd->bytes_written, 6 * B);
  assert_holds (f.c, "b");
  stop (&f);
}

static void
records_are_rare (void **state, uint32_t block, uint64_t blocks, size_t length)
{
  struct fixture f = start_shape (state, block, blocks);
  const uint64_t capacity = blocks * block;
  const uint64_t interval = min_u64 (capacity / 8, UINT64_C (1) << 20);
  const uint64_t frame = round_up (F2_HEADER + 4 + length, block);
  unsigned char *item = calloc (1, length);
  blkring_position after = 0;
  struct f2_record r;

  assert_non_null (item);
  while (after < 3 * capacity) {
    assert_ok (blkring_producer_append (f.p, item, length, &after));
    if (after % capacity > capacity / 2)
      drain (f.c);
    assert_true (records_written (&f) <= after / interval);
    get_record (f.rd, F2_PRODUCER, &r);
    assert_true (after - r.position < interval + frame);
  }
  assert_true (records_written (&f) >= after / (interval + frame));
  free (item);
  stop (&f);
}

static void
append_writes_a_record_now_and_then (void **state)
{
  records_are_rare (state, 512, 64, 1);
  records_are_rare (state, 512, 64, 3000);
  records_are_rare (state, 4096, 512, 9000);
  records_are_rare (state, 65536, 256, 1000);
}

/* Who is told that the ring is full may sleep long: its record is made to
 * say all, once. */
static void
full_ring_writes_a_record_once (void **state)
{
  struct fixture f = start_shape (state, B, 64);
  unsigned i;
  struct f2_record r;

  for (i = 0; i < 63; ++i)
    put (f.p, 'a', 1);
  record_device_forget (f.rd);
  assert_fails (EAGAIN, try_put (f.p, 'b', B));
  assert_durable_writes (&f, 1);
  assert_int_equal (looks (f.rd), 1);
  get_record (f.rd, F2_PRODUCER, &r);
  assert_int_equal (r.position, 63 * B);
  record_device_forget (f.rd);
  assert_fails (EAGAIN, try_put (f.p, 'b', B));
  assert_int_equal (f.rd->writes, 0);
  assert_int_equal (f.rd->flushes, 0);
  stop (&f);
}

static void
push_and_advance (void **state)
{
  struct fixture f = start_usual (state);
  blkring_position after = 0;
  unsigned i;

  for (i = 0; i < 20; ++i)
    after = push (f.p, 'a', 100 * i);
  assert_int_equal (f.rd->reads, 0);
  assert_durable_writes (&f, 20);
  record_device_forget (f.rd);
  assert_ok (blkring_producer_advance (f.p, after));
  assert_int_equal (f.rd->reads, 1);
  assert_int_equal (looks (f.rd), 1);
  assert_durable_writes (&f, 1);
  push (f.p, 'b', 1);
  record_device_forget (f.rd);
  put (f.p, 'c', 1);
  assert_int_equal (f.rd->reads, 1);
  assert_durable_writes (&f, 2);
  stop (&f);
}

/*---------------------------------------------------------------------*/

/* Writes that take longer than the poll interval are looked after once. */
static uint64_t
slow_now (void *opaque)
{
  (void) opaque;
  return now += 110 * NS_PER_MS;
}

static void
slow_writes_are_confirmed_once (void **state)
{
  const struct shape s = { .block = 4096, .blocks = 256,
                           .flags = *(unsigned *) *state };
  struct blkring_clock clock = record_clock (&now);
  const struct blkring_attach_options o = { .clock = &clock };
  struct fixture f;
  unsigned i;

  clock.now = slow_now;
  f = start2 (&s, &o, NULL);
  for (i = 0; i < 20; ++i) {
    record_device_forget (f.rd);
    put (f.p, 'a', 1);
    assert_int_equal (looks (f.rd), 2);
    assert_durable_writes (&f, 1);
  }
  stop (&f);
}

/*---------------------------------------------------------------------*/

static void
attach_and_detach (void **state)
{
  const bool fua = *(unsigned *) *state;
  struct fixture f = start_shape (state, 4096, 4096);
  unsigned i;

  for (i = 0; i < 600; ++i)
    put (f.p, 'a', 1);
  blkring_consumer_free (f.c);
  record_device_forget (f.rd);
  blkring_producer_free (f.p);
  assert_int_equal (f.rd->reads, 1);
  assert_durable_writes (&f, 1);

  /* The superblock, the records before, behind the flush and at the end, and one frame of the largest size,
   * where something could have come later. */
  record_device_forget (f.rd);
  f.p = blkring_producer_attach (f.rd->device, with_clock ());
  assert_non_null (f.p);
  assert_true (f.rd->reads <= 5 + (4 << 20) / (256 << 10) + 1);
  assert_true (f.rd->bytes_read <= (5 << 20));
  assert_int_equal (f.rd->writes, 2);
  assert_true (f.rd->flushes + f.rd->fua_writes <= 4);
  assert_int_equal (f.rd->fua_writes, fua ? 2 : 0);

  record_device_forget (f.rd);
  f.c = blkring_consumer_attach (f.rd->device, with_clock ());
  assert_non_null (f.c);
  assert_true (f.rd->reads <= 4);
  assert_int_equal (f.rd->writes, 2);
  assert_true (f.rd->flushes + f.rd->fua_writes <= 4);
  record_device_forget (f.rd);
  blkring_consumer_free (f.c);
  assert_int_equal (f.rd->reads, 1);
  assert_durable_writes (&f, 1);
  f.c = NULL;
  stop (&f);
}

/* What the last owner left is read and written once, in few requests, and
 * what its record tells is not read at all. */
static void
attach_after_a_crash (void **state)
{
  struct fixture f = start_shape (state, 4096, 4096);
  struct record_device *rd;
  unsigned i;

  for (i = 0; i < 256 + 100; ++i)
    put (f.p, 'a', 1);
  rd = record_device_after_crash (f.rd, 0);
  stop (&f);
  f = (struct fixture) { .rd = rd };
  f.p = attach_producer (rd);
  assert_int_equal (requests (f.rd, RECORD_WRITE, ring_of (rd).data_offset,
                              UINT64_MAX), 100);
  assert_int_equal (rd->writes, 102);
  assert_true (rd->flushes + rd->fua_writes <= 4);
  assert_true (rd->bytes_read <= (6 << 20));
  stop (&f);
}

/*---------------------------------------------------------------------*/

static void
durability_none_never_flushes (void **state)
{
  const struct shape s = { .flags = *(unsigned *) *state };
  struct fixture f = start2 (&s, &careless, &careless);
  unsigned i;

  blkring_producer_free (f.p);
  blkring_consumer_free (f.c);
  f.p = blkring_producer_attach (f.rd->device, &careless);
  f.c = blkring_consumer_attach (f.rd->device, &careless);
  for (i = 0; i < 10; ++i) {
    put (f.p, 'a', 3 * B);
    append (f.p, 'b', 1);
    drain (f.c);
  }
  fill_and_drain (&f);
  assert_ok (blkring_consumer_suspend (f.c));
  assert_int_equal (blkring_producer_state (f.p), BLKRING_SUSPENDED);
  assert_ok (blkring_consumer_resume (f.c));
  assert_int_equal (blkring_producer_state (f.p), BLKRING_RUNNING);
  blkring_producer_free (f.p);
  blkring_consumer_free (f.c);
  assert_true (f.rd->writes > 50);
  assert_int_equal (f.rd->flushes, 0);
  assert_int_equal (f.rd->fua_writes, 0);
  f.p = NULL;
  f.c = NULL;
  stop (&f);
}

/* From the first item on, since any of them may be missing later. */
static void
durability_none_is_told (void **state)
{
  const struct shape s = { .flags = *(unsigned *) *state };
  struct fixture f = start2 (&s, NULL, NULL);
  struct blkring_info *info = malloc (sizeof *info);

  assert_non_null (info);
  put (f.p, 'a', 1);
  blkring_producer_free (f.p);
  assert_ok (blkring_inspect (f.rd->device, NULL, info));
  assert_false (info->unflushed);
  f.p = blkring_producer_attach (f.rd->device, &careless);
  assert_non_null (f.p);
  put (f.p, 'b', 1);
  assert_ok (blkring_inspect (f.rd->device, NULL, info));
  assert_true (info->unflushed);
  free (info);
  stop (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    EACH ("an append is one durable write and no read", append_is_one_write),
    EACH ("a batch is one durable write and no read", batch_is_one_write),
    EACH ("an append around the end is two writes and one flush",
          append_around_the_end),
    EACH ("append writes a record now and then",
          append_writes_a_record_now_and_then),
    EACH ("a full ring writes a record, once", full_ring_writes_a_record_once),
    EACH ("a push is one durable write, an advance one more",
          push_and_advance),
    EACH ("slow writes are confirmed once", slow_writes_are_confirmed_once),
    EACH ("attach and detach take few requests", attach_and_detach),
    EACH ("attach after a crash writes what it adopts once",
          attach_after_a_crash),
    EACH ("durability none never flushes", durability_none_never_flushes),
    EACH ("durability none is told from the first item on",
          durability_none_is_told),
  };

  return cmocka_run_group_tests_name ("economy of format 2", tests, NULL,
                                      NULL);
}
