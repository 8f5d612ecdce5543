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

/* Of the records and of the header of the last frame that is passed. */
static void
assert_cheap_advance (struct fixture *f, blkring_position position)
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
  assert_int_equal (f->rd->flushes, fua ? 1 : 2);
}

static void
consumer_advance (void **state)
{
  struct fixture f = start_usual (state);
  struct blkring_item item;
  blkring_position next;
  unsigned i;

  put (f.p, 'a', 10000);
  put_batch (f.p, "bcdef");
  for (i = 0; i < 44; ++i)
    put (f.p, 'g', 10000);
  for (i = 0; i < 10; ++i) {
    assert_ok (blkring_consumer_pop (f.c, NULL, &item));
    assert_cheap_advance (&f, item.next);
  }
  assert_ok (blkring_consumer_position (f.c, &next));
  for (; i < 50; ++i) {
    assert_ok (blkring_consumer_pop (f.c, &next, &item));
    next = item.next;
  }
  assert_cheap_advance (&f, item.next);
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
    assert_cheap_advance (&f, items[i].next);
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
    EACH ("an advance takes two reads, one write, two flushes",
          consumer_advance),
    EACH ("an advance over part of what was popped takes no more",
          consumer_advance_over_a_part),
    EACH ("a side looks at the other once per poll interval", looks_are_rare),
    EACH ("looking writes nothing", looking_writes_nothing),
  };

  return cmocka_run_group_tests_name ("reads of format 2", tests, NULL, NULL);
}
