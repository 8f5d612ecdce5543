/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The durability contract, seen in the order of requests: what is durable
 * when a call returns, and what must be durable before something is
 * written.  Every test runs on a device that is made durable by flushes,
 * and on one that has FUA.  test-crash.c cuts the power at every request,
 * test-poison.c lets requests fail.
 */

#include <config.h>

#include "record-fixture.h"

/* Index of the first write at or behind this byte of the device. */
static size_t
find_write (const struct record_device *rd, uint64_t offset)
{
  size_t i = 0;

  while ((i = record_device_find (rd, RECORD_WRITE, i)) < rd->nr_log &&
         rd->log[i].offset < offset)
    i++;
  return i;
}

static size_t
find_pointer_write (const struct record_device *rd, uint64_t offset)
{
  size_t i = find_write (rd, offset);

  while (i < rd->nr_log && (rd->log[i].kind != RECORD_WRITE ||
                            rd->log[i].offset != offset))
    i++;
  return i;
}

/* Was each write before log entry 'to' durable when that was sent? */
static void
assert_durable_before (const struct record_device *rd, size_t to)
{
  size_t i;

  for (i = 0; i < to; ++i)
    if (rd->log[i].kind == RECORD_WRITE && !rd->log[i].fua)
      assert_true (record_device_find (rd, RECORD_FLUSH, i) < to);
}

/*---------------------------------------------------------------------*/

static void
push_is_durable (void **state)
{
  static const size_t lengths[] = { 1, 508, 100, 2000, 508, 1500 };
  struct fixture f = start (state, NULL, NULL);
  size_t i;

  for (i = 0; i < sizeof lengths / sizeof lengths[0]; ++i) {
    record_device_forget (f.rd);
    push (f.p, 'a', lengths[i]);
    assert_true (f.rd->writes > 0);
    assert_true (find_write (f.rd, 3 * S) < f.rd->nr_log);
    assert_int_equal (f.rd->nr_pending, 0);
  }
  stop (&f);
}

static void
batch_is_durable (void **state)
{
  struct fixture f = start (state, NULL, NULL);
  struct iovec items[3] = { { "aaaa", 4 }, { "bbb", 3 }, { "c", 1 } };

  assert_int_equal (blkring_producer_pushv (f.p, items, 3, NULL), 0);
  assert_int_equal (f.rd->nr_pending, 0);
  assert_crash_leaves (&f, 0, "");
  assert_int_equal (blkring_producer_appendv (f.p, items, 3, NULL), 0);
  assert_int_equal (f.rd->nr_pending, 0);
  assert_crash_leaves (&f, 0, "abcabc");
  stop (&f);
}

/* Around the end of the data area a push is two writes. */
static void
wrapping_push_is_durable (void **state)
{
  struct fixture f = start (state, NULL, NULL);

  append (f.p, 'a', CAPACITY - 1000);
  drain (f.c);
  record_device_forget (f.rd);
  append (f.p, 'b', 2000);
  assert_int_equal (f.rd->writes, 3);
  assert_int_equal (f.rd->nr_pending, 0);
  assert_durable_before (f.rd, find_pointer_write (f.rd, S));
  assert_crash_leaves (&f, 0, "b");
  stop (&f);
}

static void
data_is_durable_before_its_pointer (void **state)
{
  struct fixture f = start (state, NULL, NULL);
  struct iovec items[2] = { { "aaaa", 4 }, { "bbb", 3 } };
  size_t pointer;
  unsigned i;

  for (i = 0; i < 20; ++i) {
    record_device_forget (f.rd);
    if (i % 3 == 0)
      append (f.p, 'a', 700);
    else if (i % 3 == 1)
      assert_int_equal (blkring_producer_append (f.p, "x", 1, NULL), 0);
    else
      assert_int_equal (blkring_producer_appendv (f.p, items, 2, NULL), 0);
    pointer = find_pointer_write (f.rd, S);
    assert_true (pointer < f.rd->nr_log);
    assert_true (find_write (f.rd, 3 * S) < pointer);
    assert_durable_before (f.rd, pointer);
    drain (f.c);
  }
  stop (&f);
}

static void
crash_leaves_what_was_advanced (void **state)
{
  struct fixture f = start (state, NULL, NULL);
  blkring_position b, d;

  push (f.p, 'a', 100);
  assert_crash_leaves (&f, 0, "");
  b = push (f.p, 'b', 600);
  push (f.p, 'c', 3);
  assert_crash_leaves (&f, 0, "");
  assert_int_equal (blkring_producer_advance (f.p, b), 0);
  assert_int_equal (f.rd->nr_pending, 0);
  assert_crash_leaves (&f, 0, "ab");
  d = push (f.p, 'd', 1);
  assert_crash_leaves (&f, 0, "ab");
  assert_int_equal (blkring_producer_advance (f.p, d), 0);
  assert_crash_leaves (&f, 0, "abcd");
  push (f.p, 'e', 1);
  assert_int_equal (blkring_producer_append (f.p, "f", 1, NULL), 0);
  assert_crash_leaves (&f, 0, "abcdef");
  stop (&f);
}

static void
freed_items_do_not_return (void **state)
{
  struct fixture f = start (state, NULL, NULL);
  struct blkring_item item;

  append (f.p, 'a', 100);
  append (f.p, 'b', 600);
  append (f.p, 'c', 3);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), 0);
  assert_crash_leaves (&f, -1, "abc");
  assert_int_equal (blkring_consumer_advance (f.c, item.next), 0);
  assert_int_equal (f.rd->nr_pending, 0);
  assert_crash_leaves (&f, 0, "bc");
  drain (f.c);
  assert_crash_leaves (&f, 0, "");
  stop (&f);
}

/*---------------------------------------------------------------------*/

/* Attach writes its own pointer as it is, since that may be in a cache from
 * which a flush does not take it, and then flushes. */
static void
assert_writes_again (const struct record_device *rd, uint64_t offset)
{
  const size_t write = find_pointer_write (rd, offset);

  assert_int_equal (rd->writes, 1);
  assert_true (write < rd->nr_log);
  assert_true (record_device_find (rd, RECORD_FLUSH, write) < rd->nr_log);
  assert_int_equal (rd->nr_pending, 0);
}

/* An earlier producer has left an item and its pointer in a cache. */
static void
producer_makes_durable_what_it_attached_to (void **state)
{
  struct fixture f = start (state, &careless, NULL);

  append (f.p, 'a', 700);
  assert_crash_leaves (&f, 0, "");
  blkring_producer_free (f.p);
  record_device_forget (f.rd);
  f.p = blkring_producer_attach (f.rd->device, NULL);
  assert_non_null (f.p);
  assert_writes_again (f.rd, S);
  assert_crash_leaves (&f, 0, "a");
  append (f.p, 'b', 1);
  assert_crash_leaves (&f, 0, "ab");
  stop (&f);
}

static void
consumer_makes_durable_what_it_attached_to (void **state)
{
  struct fixture f = start (state, &careless, NULL);
  struct blkring_item item;

  append (f.p, 'a', 700);
  append (f.p, 'b', 1);
  blkring_consumer_free (f.c);
  record_device_forget (f.rd);
  f.c = blkring_consumer_attach (f.rd->device, NULL);
  assert_non_null (f.c);
  assert_writes_again (f.rd, 2 * S);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), 0);
  assert_int_equal (blkring_consumer_advance (f.c, item.next), 0);
  assert_crash_leaves (&f, 0, "b");
  stop (&f);
}

/* Between the last look at the pointers and the first write at or behind
 * 'offset' stands a flush. */
static void
assert_flush_before_write_at (const struct record_device *rd,
                              uint64_t offset)
{
  size_t write = find_write (rd, offset), i, look = 0, flush;

  assert_true (write < rd->nr_log);
  for (i = 0; i < write; ++i)
    if (rd->log[i].kind == RECORD_READ && rd->log[i].offset < 3 * S)
      look = i;
  assert_int_equal (rd->log[look].kind, RECORD_READ);
  flush = record_device_find (rd, RECORD_FLUSH, look);
  assert_true (flush < write);
}

/* The suspend that attach acknowledges may be in a cache alone. */
static void
attach_flushes_before_it_acknowledges (void **state)
{
  struct fixture f = start (state, NULL, &careless);
  struct blkring_info info;
  struct record_device *crashed;
  size_t again, flush;

  assert_int_equal (blkring_consumer_suspend (f.c), 0);
  blkring_producer_free (f.p);
  record_device_forget (f.rd);
  f.p = blkring_producer_attach (f.rd->device, NULL);
  assert_non_null (f.p);
  /* The first is what was there. */
  assert_int_equal (f.rd->writes, 2);
  again = record_device_find (f.rd, RECORD_WRITE, 0);
  flush = record_device_find (f.rd, RECORD_FLUSH, again);
  assert_true (flush < record_device_find (f.rd, RECORD_WRITE, again + 1));
  crashed = record_device_after_crash (f.rd, 0);
  assert_int_equal (blkring_inspect (crashed->device, NULL, &info), 0);
  assert_int_equal (info.state, BLKRING_SUSPENDED);
  record_device_free (crashed);
  stop (&f);
}

/* The consumer's position is in a cache alone, and the producer wants the
 * space.  If it were taken at once, a crash could give the consumer its
 * old position back, and other items there. */
static void
producer_flushes_before_it_uses_freed_space (void **state)
{
  struct fixture f = start (state, NULL, &careless);
  const size_t half = CAPACITY / 2 - 4;

  append (f.p, 'a', half);
  append (f.p, 'b', half);
  assert_int_equal (blkring_producer_push (f.p, "c", 1, NULL), -1);
  assert_int_equal (errno, EAGAIN);
  drain (f.c);
  assert_crash_leaves (&f, 0, "ab");
  record_device_forget (f.rd);
  push (f.p, 'c', half);
  assert_flush_before_write_at (f.rd, 3 * S);
  assert_crash_leaves (&f, 0, "");
  stop (&f);
}

/* A look by itself, for the state, does not make the space usable. */
static void
look_at_the_state_does_not_replace_the_flush (void **state)
{
  struct fixture f = start (state, NULL, &careless);

  append (f.p, 'a', CAPACITY - 4);
  drain (f.c);
  assert_int_equal (blkring_producer_state (f.p), BLKRING_RUNNING);
  assert_crash_leaves (&f, 0, "a");
  push (f.p, 'c', 600);
  assert_crash_leaves (&f, 0, "");
  stop (&f);
}

/* The consumer frees everything: its position is the producer's. */
static void
free_from_another_host (struct record_device *rd)
{
  unsigned char sector[S];

  memcpy (sector, rd->content + 2 * S, S);
  memcpy (sector, rd->content + S, 8);
  record_device_write (rd, 2 * S, sector, S);
}

/* What is read after the flush of attach, that flush has not covered. */
static void
flush_covers_only_what_was_read_before (void **state)
{
  struct fixture f = start (state, NULL, NULL);

  append (f.p, 'x', 3000);
  drain (f.c);
  append (f.p, 'a', CAPACITY - 1000);
  blkring_producer_free (f.p);
  f.rd->behind_flush = free_from_another_host;
  f.p = blkring_producer_attach (f.rd->device, NULL);
  assert_non_null (f.p);
  assert_null (f.rd->behind_flush);
  assert_crash_leaves (&f, 0, "a");
  push (f.p, 'c', 2000);
  assert_crash_leaves (&f, 0, "");
  stop (&f);
}

static void
consumer_flushes_before_it_passes_what_is_durable (void **state)
{
  struct fixture f = start (state, &careless, NULL);
  struct blkring_item item;

  append (f.p, 'a', 100);
  append (f.p, 'b', 100);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), 0);
  record_device_forget (f.rd);
  assert_int_equal (blkring_consumer_advance (f.c, item.next), 0);
  assert_flush_before_write_at (f.rd, 2 * S);
  assert_crash_leaves (&f, 0, "b");
  stop (&f);
}

static void
acknowledge_flushes_first (void **state)
{
  struct fixture f = start (state, NULL, &careless);

  assert_int_equal (blkring_consumer_suspend (f.c), 0);
  record_device_forget (f.rd);
  assert_int_equal (blkring_producer_state (f.p), BLKRING_SUSPENDED);
  assert_flush_before_write_at (f.rd, S);
  assert_int_equal (f.rd->nr_pending, 0);
  stop (&f);
}

static void
suspend_and_resume_flush_first (void **state)
{
  struct fixture f = start (state, &careless, NULL);

  assert_int_equal (blkring_consumer_suspend (f.c), 0);
  assert_flush_before_write_at (f.rd, 2 * S);
  assert_int_equal (f.rd->nr_pending, 0);
  assert_int_equal (blkring_producer_state (f.p), BLKRING_SUSPENDED);
  record_device_forget (f.rd);
  assert_int_equal (blkring_consumer_resume (f.c), 0);
  assert_flush_before_write_at (f.rd, 2 * S);
  assert_int_equal (f.rd->nr_pending, 0);
  stop (&f);
}

/*---------------------------------------------------------------------*/

static void
durability_none_neither_flushes_nor_uses_fua (void **state)
{
  struct fixture f = start (state, &careless, &careless);
  unsigned i;

  blkring_producer_free (f.p);
  blkring_consumer_free (f.c);
  record_device_forget (f.rd);
  f.p = blkring_producer_attach (f.rd->device, &careless);
  f.c = blkring_consumer_attach (f.rd->device, &careless);
  for (i = 0; i < 10; ++i) {
    append (f.p, 'a', 1500);
    append (f.p, 'b', 1);
    drain (f.c);
  }
  assert_int_equal (blkring_consumer_suspend (f.c), 0);
  assert_int_equal (blkring_producer_state (f.p), BLKRING_SUSPENDED);
  assert_int_equal (blkring_consumer_resume (f.c), 0);
  assert_int_equal (blkring_producer_state (f.p), BLKRING_RUNNING);
  assert_true (f.rd->writes > 50);
  assert_int_equal (f.rd->flushes, 0);
  assert_int_equal (f.rd->fua_writes, 0);
  stop (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    EACH ("a push is durable when it returns", push_is_durable),
    EACH ("a batch is durable when it returns", batch_is_durable),
    EACH ("a push around the end is durable when it returns",
          wrapping_push_is_durable),
    EACH ("items are durable before the pointer that exposes them",
          data_is_durable_before_its_pointer),
    EACH ("a crash leaves exactly what was advanced",
          crash_leaves_what_was_advanced),
    EACH ("freed items do not return", freed_items_do_not_return),
    EACH ("attach makes durable what an earlier producer left",
          producer_makes_durable_what_it_attached_to),
    EACH ("attach makes durable what a consumer relies on",
          consumer_makes_durable_what_it_attached_to),
    EACH ("attach flushes before it acknowledges a suspend",
          attach_flushes_before_it_acknowledges),
    EACH ("the producer flushes before it writes into freed space",
          producer_flushes_before_it_uses_freed_space),
    EACH ("looking at the state does not replace that flush",
          look_at_the_state_does_not_replace_the_flush),
    EACH ("a flush covers only what was read before it",
          flush_covers_only_what_was_read_before),
    EACH ("the consumer flushes before it frees what may not be durable",
          consumer_flushes_before_it_passes_what_is_durable),
    EACH ("the producer flushes before it acknowledges",
          acknowledge_flushes_first),
    EACH ("the consumer flushes before it suspends or resumes",
          suspend_and_resume_flush_first),
    EACH ("durability none neither flushes nor uses FUA",
          durability_none_neither_flushes_nor_uses_fua),
  };

  return cmocka_run_group_tests_name ("contract", tests, NULL, NULL);
}
