/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a consumer reads: many items with one large request, each byte about
 * once; and what pop gave stays as long as is promised.
 */

#include <config.h>

#include "record-fixture.h"

#define LARGE_SIZE (UINT64_C (4) << 20)
#define LARGE_CAPACITY (LARGE_SIZE - 3 * S)
#define READ_AHEAD (64 << 10)

static struct fixture
start_large (void **state)
{
  const struct record_options o = {
    .size = LARGE_SIZE,
    .flags = *(unsigned *) *state,
  };

  return start_on (record_device_new_ring (&o, 0), NULL, NULL);
}

/* A large ring with items of 'length' bytes in it, around the end of the
 * data area, and a consumer that has read nothing.  The number of items in
 * *nr, their bytes in *bytes. */
static struct fixture
start_full (void **state, size_t length, size_t *nr, uint64_t *bytes)
{
  struct fixture f = start_large (state);
  const size_t taken = (4 + length + 3) / 4 * 4;
  char *data = calloc (1, LARGE_CAPACITY);
  struct iovec *items;
  size_t i;

  assert_non_null (data);
  assert_int_equal (blkring_producer_append (f.p, data, LARGE_CAPACITY / 3,
                                             NULL), 0);
  drain (f.c);
  *nr = LARGE_CAPACITY / taken;
  *bytes = *nr * taken;
  items = calloc (*nr, sizeof *items);
  assert_non_null (items);
  for (i = 0; i < *nr; ++i)
    items[i] = (struct iovec) { data, length };
  assert_int_equal (blkring_producer_appendv (f.p, items, *nr, NULL), 0);
  free (items);
  free (data);
  blkring_consumer_free (f.c);
  f.c = blkring_consumer_attach (f.rd->device, NULL);
  assert_non_null (f.c);
  record_device_forget (f.rd);
  return f;
}

/* Were the unread bytes read in large requests, and about once?  Only at
 * the end of the data area and of what is unread may one be small. */
static void
assert_read_in_proportion (const struct fixture *f, uint64_t bytes)
{
  const struct record_request *r;
  uint64_t all = 0;
  unsigned small = 0, reads = 0;
  size_t i;

  for (i = 0; i < f->rd->nr_log; ++i) {
    r = &f->rd->log[i];
    if (r->kind != RECORD_READ || r->offset < 3 * S)
      continue;
    reads++;
    all += r->length;
    small += r->length < READ_AHEAD;
  }
  assert_true (small <= 4);
  assert_true (reads <= bytes / READ_AHEAD + 4);
  assert_true (all <= bytes + bytes / 10);
}

static void
pop_reads_ahead (void **state)
{
  size_t nr, i;
  uint64_t bytes;
  struct fixture f = start_full (state, 100, &nr, &bytes);
  struct blkring_item item;
  const blkring_position *from = NULL;
  blkring_position next;

  for (i = 0; i < nr; ++i) {
    assert_int_equal (blkring_consumer_pop (f.c, from, &item), 0);
    assert_int_equal (item.length, 100);
    next = item.next;
    from = &next;
    if (i == 0)
      record_device_forget (f.rd);
    if (i == READ_AHEAD / 104 - 5)
      assert_int_equal (f.rd->reads, 0);
  }
  assert_read_in_proportion (&f, bytes);
  assert_int_equal (blkring_consumer_pop (f.c, from, &item), -1);
  assert_int_equal (errno, EAGAIN);
  stop (&f);
}

static void
popv_reads_ahead (void **state)
{
  size_t nr, i;
  uint64_t bytes;
  struct fixture f = start_full (state, 37, &nr, &bytes);
  struct blkring_item items[100];
  ssize_t n;

  for (i = 0; i < nr; i += n) {
    n = blkring_consumer_popv (f.c, NULL, items, 100);
    assert_true (n > 0);
    assert_int_equal (blkring_consumer_advance (f.c, items[n - 1].next), 0);
  }
  assert_int_equal (i, nr);
  assert_read_in_proportion (&f, bytes);
  stop (&f);
}

static int
count_item (void *opaque, const struct blkring_item *item)
{
  size_t *nr = opaque;

  (void) item;
  ++*nr;
  return 0;
}

static void
fold_reads_ahead (void **state)
{
  size_t nr, n = 0;
  uint64_t bytes;
  struct fixture f = start_full (state, 0, &nr, &bytes);

  assert_int_equal (blkring_consumer_fold (f.c, NULL, count_item, &n), 0);
  assert_int_equal (n, nr);
  assert_read_in_proportion (&f, bytes);
  stop (&f);
}

/* Of what is not there yet nothing is read. */
static void
pop_reads_what_is_unread (void **state)
{
  struct fixture f = start_large (state);
  struct blkring_item item;

  append (f.p, 'a', 100);
  record_device_forget (f.rd);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), 0);
  assert_int_equal (f.rd->reads, 2);
  assert_int_equal (f.rd->bytes_read, 3 * S);
  stop (&f);
}

static void
large_items_are_read_twice_at_most (void **state)
{
  static const size_t lengths[] = { 130000, 300000, 1000000 };
  size_t nr, i;
  uint64_t bytes;
  struct fixture f;

  for (i = 0; i < sizeof lengths / sizeof lengths[0]; ++i) {
    f = start_full (state, lengths[i], &nr, &bytes);
    drain (f.c);
    assert_true (f.rd->bytes_read <= 2 * bytes + nr * 4 * S);
    stop (&f);
  }
}

/* What pop gave stays valid until the next pop, fold or free; so neither
 * an advance nor a wait may read over it. */
static void
advance_and_wait_leave_popped_data_alone (void **state, bool wait)
{
  struct fixture f = start_large (state);
  static char big[1 << 20];
  struct blkring_item a, b, c;
  unsigned i;

  append (f.p, 'a', 1000);
  memset (big, 'b', sizeof big);
  assert_int_equal (blkring_producer_append (f.p, big, 500000, NULL), 0);
  append (f.p, 'c', 1000);
  memset (big, 'd', sizeof big);
  assert_int_equal (blkring_producer_append (f.p, big, 500000, NULL), 0);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &a), 0);
  assert_int_equal (blkring_consumer_pop (f.c, &a.next, &b), 0);
  assert_int_equal (blkring_consumer_pop (f.c, &b.next, &c), 0);
  if (wait)
    assert_int_equal (blkring_consumer_wait (f.c, &c.next, 0), 0);
  else
    assert_int_equal (blkring_consumer_advance (f.c, a.next), 0);
  for (i = 0; i < 1000; ++i)
    assert_int_equal (((const char *) c.data)[i], 'c');
  stop (&f);
}

static void
advance_leaves_popped_data_alone (void **state)
{
  advance_and_wait_leave_popped_data_alone (state, false);
}

static void
wait_leaves_popped_data_alone (void **state)
{
  advance_and_wait_leave_popped_data_alone (state, true);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    EACH ("pop reads ahead", pop_reads_ahead),
    EACH ("popv reads ahead", popv_reads_ahead),
    EACH ("fold reads ahead", fold_reads_ahead),
    EACH ("pop reads what is unread alone", pop_reads_what_is_unread),
    EACH ("large items are read twice at most",
          large_items_are_read_twice_at_most),
    EACH ("advance leaves popped data alone",
          advance_leaves_popped_data_alone),
    EACH ("wait leaves popped data alone", wait_leaves_popped_data_alone),
  };

  return cmocka_run_group_tests_name ("read-ahead", tests, NULL, NULL);
}
