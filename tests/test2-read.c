/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How many requests a consumer of format 2 makes, and how much it reads; how
 * often either side looks at the records; and that looking writes nothing.
 */

#include <config.h>

#include "format2-fixture.h"

static struct fixture
start_usual (void **state)
{
  return start_shape (state, 4096, 2048);
}

/* Each read was of one block, or of the records. */
static void
assert_small_reads (const struct fixture *f, uint64_t data, uint32_t block)
{
  size_t i;

  for (i = 0; i < f->rd->nr_log; ++i) {
    if (f->rd->log[i].kind != RECORD_READ)
      continue;
    if (f->rd->log[i].offset >= data)
      assert_int_equal (f->rd->log[i].length, block);
    else
      assert_int_equal (f->rd->log[i].offset, RECORDS);
  }
}

/* The first tail of a consumer costs more: what lies behind it is searched
 * for a frame that came later. */
static void
reach_tail (struct fixture *f)
{
  drain (f->c);
  now += 1000 * NS_PER_MS;
  drain (f->c);
  record_device_forget (f->rd);
}

static void
polling_reads_one_block (void **state)
{
  struct fixture f = start_usual (state);
  const uint64_t data = ring_of (f.rd).data_offset;
  struct blkring_item item;
  unsigned i;

  put (f.p, 'a', 10000);
  reach_tail (&f);
  for (i = 0; i < 50; ++i)
    assert_fails (EAGAIN, blkring_consumer_pop (f.c, NULL, &item));
  assert_int_equal (f.rd->reads, 50);
  assert_int_equal (looks (f.rd), 0);
  assert_small_reads (&f, data, 4096);
  record_device_forget (f.rd);
  for (i = 0; i < 50; ++i) {
    now += 30 * NS_PER_MS;
    assert_fails (EAGAIN, blkring_consumer_pop (f.c, NULL, &item));
  }
  assert_int_equal (requests (f.rd, RECORD_READ, data, UINT64_MAX), 50);
  assert_in_range (looks (f.rd), 5, 15);
  assert_small_reads (&f, data, 4096);
  assert_int_equal (f.rd->writes + f.rd->flushes, 0);
  stop (&f);
}

static void
waiting_reads_one_block_a_poll (void **state)
{
  struct fixture f = start_usual (state);
  const uint64_t data = ring_of (f.rd).data_offset;

  put (f.p, 'a', 1);
  reach_tail (&f);
  assert_fails (ETIMEDOUT, blkring_consumer_wait (f.c, NULL, 10000));
  assert_in_range (requests (f.rd, RECORD_READ, data, UINT64_MAX), 100, 120);
  assert_in_range (looks (f.rd), 50, 100);
  assert_small_reads (&f, data, 4096);
  assert_int_equal (f.rd->writes + f.rd->flushes, 0);
  stop (&f);
}

/* Frames of one item of 'length' bytes, all around a ring of 8 MiB: fold
 * and popv read each byte about once, in large requests. */
static void
read_all (void **state, size_t length, unsigned percent)
{
  struct fixture f = start_shape (state, 4096, 2048);
  const uint64_t frame = round_up (F2_HEADER + 4 + length, 4096);
  const uint64_t data = ring_of (f.rd).data_offset;
  struct blkring_item items[10];
  uint64_t bytes = 0, popped = 0;
  blkring_position next;
  ssize_t n;

  put (f.p, '-', 3000000);
  drain (f.c);
  for (; bytes + frame <= 2048 * 4096; bytes += frame)
    put (f.p, 'a', length);
  assert_ok (blkring_consumer_position (f.c, &next));
  record_device_forget (f.rd);
  while ((n = blkring_consumer_popv (f.c, &next, items, LENGTH (items))) > 0) {
    next = items[n - 1].next;
    popped += n * frame;
  }
  assert_error (EAGAIN);
  assert_int_equal (popped, bytes);
  assert_true (f.rd->bytes_read <= bytes * percent / 100 + (512 << 10));
  assert_true (requests (f.rd, RECORD_READ, data, UINT64_MAX) <=
               2 * bytes / max_u64 (frame, 256 << 10) + 16);
  assert_true (looks (f.rd) <= 2);
  stop (&f);
}

static void
pop_reads_in_proportion (void **state)
{
  read_all (state, 100, 105);
  read_all (state, 20000, 110);
  read_all (state, 300000, 200);
  read_all (state, 2000000, 130);
}

/* Nothing but the oldest item is ever there: what lies behind it is not
 * worth reading. */
static void
pop_in_step_reads_in_proportion (void **state)
{
  struct fixture f = start_usual (state);
  const uint64_t data = ring_of (f.rd).data_offset;
  uint64_t read = 0;
  unsigned i;
  size_t k;

  for (i = 0; i < 200; ++i) {
    put (f.p, 'a', 1000);
    free_one (f.c);
  }
  for (k = 0; k < f.rd->nr_log; ++k)
    if (f.rd->log[k].kind == RECORD_READ && f.rd->log[k].offset >= data)
      read += f.rd->log[k].length;
  /* Each frame to pop it, its header to free it. */
  assert_true (read <= 200 * 4 * 4096);
  stop (&f);
}

/* It reads the records and the header of the last frame that is passed.
 * With 'flushes' before that, and one more to make the write durable where
 * the device has no FUA. */
static void
assert_advance (struct fixture *f, blkring_position position,
                unsigned flushes)
{
  const bool fua = f->rd->geometry.flags & BLKRING_DEVICE_FUA;
  const uint64_t data = ring_of (f->rd).data_offset;

  record_device_forget (f->rd);
  assert_ok (blkring_consumer_advance (f->c, position));
  assert_int_equal (f->rd->reads, 2);
  assert_int_equal (looks (f->rd), 1);
  assert_small_reads (f, data, 4096);
  assert_int_equal (f->rd->writes, 1);
  assert_int_equal (f->rd->bytes_written, 512);
  assert_int_equal (f->rd->fua_writes, fua);
  assert_int_equal (f->rd->flushes, flushes + !fua);
}

/* Where the next frame is known it takes no flush: that it was begun says
 * that the one before it is durable.  It is known where it was read with
 * the one before it, as mostly. */
static void
consumer_advance (void **state)
{
  struct fixture f = start_usual (state);
  struct blkring_item item, ahead;
  unsigned i, flushes = 0;

  put (f.p, 'a', 10000);
  put_batch (f.p, "bcdef");
  for (i = 0; i < 44; ++i)
    put (f.p, 'g', 10000);
  for (i = 0; i < 10; ++i) {
    assert_ok (blkring_consumer_pop (f.c, NULL, &item));
    /* The last item of a frame: know the next one. */
    if (i == 0 || i >= 5)
      assert_ok (blkring_consumer_pop (f.c, &item.next, &ahead));
    assert_advance (&f, item.next, i > 0 && i < 5);
  }
  for (; i < 49; ++i) {
    assert_ok (blkring_consumer_pop (f.c, NULL, &item));
    record_device_forget (f.rd);
    assert_ok (blkring_consumer_advance (f.c, item.next));
    flushes += f.rd->flushes + f.rd->fua_writes - 1;
  }
  assert_true (flushes <= 3);
  assert_ok (blkring_consumer_pop (f.c, NULL, &item));
  assert_advance (&f, item.next, 1);
  stop (&f);
}

/* Frames that are larger than what is read ahead. */
static void
consumer_advance_over_large_frames (void **state)
{
  static const size_t lengths[] = { 5000, 260000, 300000, 1000000 };
  struct fixture f = start_usual (state);
  struct blkring_item item;
  size_t i, k;

  for (i = 0; i < LENGTH (lengths); ++i) {
    for (k = 0; k < 5; ++k)
      put (f.p, 'a', lengths[i]);
    for (k = 0; k < 5; ++k) {
      assert_ok (blkring_consumer_pop (f.c, NULL, &item));
      assert_advance (&f, item.next, k == 4);
    }
  }
  stop (&f);
}

/* One that goes with the producer meets the end each time. */
static void
consumer_advance_at_the_end (void **state)
{
  struct fixture f = start_usual (state);
  struct blkring_item item;
  unsigned i;

  for (i = 0; i < 10; ++i) {
    put_batch (f.p, "abc");
    assert_ok (blkring_consumer_pop (f.c, NULL, &item));
    assert_advance (&f, item.next, 1);
    assert_ok (blkring_consumer_pop (f.c, &item.next, &item));
    assert_ok (blkring_consumer_pop (f.c, &item.next, &item));
    assert_advance (&f, item.next, 1);
  }
  stop (&f);
}

/* What follows a staged frame says that this is durable, not that it is
 * visible for ever: unless it is exposed itself. */
static void
consumer_advance_over_what_was_staged (void **state)
{
  struct fixture f = start_usual (state);
  struct blkring_item item, ahead;
  blkring_position after[3];

  after[0] = push (f.p, 'a', 1);
  after[1] = push (f.p, 'b', 1);
  after[2] = push (f.p, 'c', 1);
  assert_ok (blkring_producer_advance (f.p, after[1]));
  assert_ok (blkring_consumer_pop (f.c, NULL, &item));
  assert_ok (blkring_consumer_pop (f.c, &item.next, &ahead));
  assert_advance (&f, item.next, 1);
  assert_ok (blkring_producer_advance (f.p, after[2]));
  put (f.p, 'd', 1);
  assert_ok (blkring_consumer_pop (f.c, NULL, &item));
  assert_ok (blkring_consumer_pop (f.c, &item.next, &ahead));
  assert_advance (&f, item.next, 1);
  assert_ok (blkring_consumer_pop (f.c, NULL, &item));
  assert_ok (blkring_consumer_pop (f.c, &item.next, &ahead));
  assert_advance (&f, item.next, 0);
  stop (&f);
}

/* Without flushes a frame says nothing of the one before it: as soon as
 * somebody has ever gone so. */
static void
consumer_advance_where_somebody_does_not_flush (void **state)
{
  struct fixture f = start_usual (state);
  struct blkring_item item;
  unsigned i;

  blkring_producer_free (f.p);
  f.p = blkring_producer_attach (f.rd->device, &careless);
  assert_non_null (f.p);
  for (i = 0; i < 4; ++i)
    put (f.p, 'a', 1);
  assert_ok (blkring_consumer_pop (f.c, NULL, &item));
  record_device_forget (f.rd);
  assert_ok (blkring_consumer_advance (f.c, item.next));
  assert_in_range (looks (f.rd), 1, 2);
  assert_int_equal (f.rd->flushes + f.rd->fua_writes, 2);
  /* Not a byte of what is passed was in a cache alone. */
  assert_int_equal (f.rd->nr_pending, 0);
  blkring_producer_free (f.p);
  f.p = attach_producer (f.rd);
  put (f.p, 'a', 1);
  assert_ok (blkring_consumer_pop (f.c, NULL, &item));
  record_device_forget (f.rd);
  assert_ok (blkring_consumer_advance (f.c, item.next));
  assert_int_equal (f.rd->flushes + f.rd->fua_writes, 2);
  stop (&f);
}

/* A write that takes longer than the poll interval is looked after. */
static uint64_t
slow_now (void *opaque)
{
  (void) opaque;
  return now += 110 * NS_PER_MS;
}

static void
slow_advance_looks_behind (void **state)
{
  struct fixture f = start_usual (state);
  struct blkring_clock clock = record_clock (&now);
  const struct blkring_attach_options o = { .clock = &clock };
  struct blkring_item item;

  put (f.p, 'a', 1);
  put (f.p, 'b', 1);
  blkring_consumer_free (f.c);
  clock.now = slow_now;
  f.c = blkring_consumer_attach (f.rd->device, &o);
  assert_non_null (f.c);
  assert_ok (blkring_consumer_pop (f.c, NULL, &item));
  record_device_forget (f.rd);
  assert_ok (blkring_consumer_advance (f.c, item.next));
  assert_int_equal (f.rd->reads, 4);
  assert_int_equal (looks (f.rd), 2);
  assert_int_equal (f.rd->writes, 1);
  stop (&f);
}

/* Less than was popped: whole frames, which need no look at their items. */
static void
consumer_advance_over_a_part (void **state)
{
  struct fixture f = start_usual (state);
  struct blkring_item items[50];
  unsigned i;

  for (i = 0; i < 50; ++i)
    put (f.p, 'g', 10000);
  for (i = 0; i < 50; ++i)
    assert_ok (blkring_consumer_pop (f.c, i ? &items[i - 1].next : NULL,
                                     &items[i]));
  for (i = 0; i < 50; i += 7)
    assert_advance (&f, items[i].next, i == 49);
  stop (&f);
}

/*---------------------------------------------------------------------*/

/* A look for a suspend and for another owner, by either side. */
static void
looks_are_rare (void **state)
{
  struct fixture f = start_usual (state);
  struct blkring_item item;
  unsigned i;

  for (i = 0; i < 40; ++i) {
    put (f.p, 'a', 1);
    assert_int_equal (looks (f.rd), 0);
  }
  now += 99 * NS_PER_MS;
  put (f.p, 'a', 1);
  assert_int_equal (looks (f.rd), 0);
  now += 1 * NS_PER_MS;
  put (f.p, 'a', 1);
  assert_int_equal (looks (f.rd), 1);
  record_device_forget (f.rd);
  for (i = 0; i < 100; ++i) {
    now += 10 * NS_PER_MS;
    put (f.p, 'a', 1);
  }
  assert_in_range (looks (f.rd), 9, 10);
  reach_tail (&f);
  for (i = 0; i < 100; ++i) {
    now += 10 * NS_PER_MS;
    assert_fails (EAGAIN, blkring_consumer_pop (f.c, NULL, &item));
  }
  assert_in_range (looks (f.rd), 9, 10);
  stop (&f);
}

static void
looking_writes_nothing (void **state)
{
  const struct blkring_attach_options observer = {
    .flags = BLKRING_ATTACH_OBSERVER,
  };
  struct fixture f = start_usual (state);
  struct blkring_info *info = malloc (sizeof *info);
  blkring_consumer *o;

  assert_non_null (info);
  put (f.p, 'a', 1);
  record_device_forget (f.rd);
  assert_int_equal (blkring_producer_state (f.p), BLKRING_RUNNING);
  assert_int_equal (f.rd->reads, 1);
  assert_int_equal (blkring_consumer_state (f.c), BLKRING_RUNNING);
  assert_int_equal (f.rd->reads, 2);
  assert_ok (blkring_producer_wait (f.p, 1, 1000));
  assert_ok (blkring_consumer_wait (f.c, NULL, 1000));
  o = blkring_consumer_attach (f.rd->device, &observer);
  assert_non_null (o);
  assert_holds (o, "a");
  blkring_consumer_free (o);
  assert_ok (blkring_inspect (f.rd->device, NULL, info));
  assert_clean (f.rd);
  assert_int_equal (f.rd->writes, 0);
  assert_int_equal (f.rd->flushes, 0);
  free (info);
  stop (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    EACH ("polling at the tail reads one block", polling_reads_one_block),
    EACH ("waiting at the tail reads one block a poll",
          waiting_reads_one_block_a_poll),
    EACH ("pop reads in proportion", pop_reads_in_proportion),
    EACH ("pop in step with the producer reads in proportion",
          pop_in_step_reads_in_proportion),
    EACH ("an advance takes two reads, one write, a flush more at the end",
          consumer_advance),
    EACH ("an advance over large frames takes no more",
          consumer_advance_over_large_frames),
    EACH ("an advance at the end takes a flush more",
          consumer_advance_at_the_end),
    EACH ("an advance over what was staged takes a flush more",
          consumer_advance_over_what_was_staged),
    EACH ("an advance where somebody does not flush takes a flush more",
          consumer_advance_where_somebody_does_not_flush),
    EACH ("an advance that takes long looks behind it",
          slow_advance_looks_behind),
    EACH ("an advance over part of what was popped takes no more",
          consumer_advance_over_a_part),
    EACH ("a side looks at the other once per poll interval", looks_are_rare),
    EACH ("looking writes nothing", looking_writes_nothing),
  };

  return cmocka_run_group_tests_name ("reads of format 2", tests, NULL, NULL);
}
