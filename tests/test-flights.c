/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a ring costs on a device that has several requests in flight at once:
 * how often a push, an advance and a pop wait for an answer.  And that such
 * a device gets what another one gets.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "cut-device.h"

#define MIB (1 << 20)

static uint64_t
still (void *opaque)
{
  (void) opaque;
  return 1;
}

static int
no_sleep (void *opaque, uint64_t ns)
{
  (void) opaque;
  (void) ns;
  return 0;
}

/* Time stands still, so that nobody looks at the other side but for need. */
static const struct blkring_clock clock_that_stands = { still, no_sleep,
                                                        NULL };
static const struct blkring_attach_options options = {
  .clock = &clock_that_stands,
};

struct ring {
  struct cut_store *store;
  struct cut_device *d, *other;
  blkring_producer *p;
  blkring_consumer *c;
};

static void
begin (struct ring *r, unsigned format, uint64_t size)
{
  const struct blkring_create_options o = {
    .format = format, .block_size = format == 2 ? 512 : 0,
  };

  r->store = cut_store_new (size);
  r->d = cut_device_new (r->store);
  r->other = cut_device_new (r->store);
  assert_ok (blkring_create (r->d->device, &o));
  r->p = blkring_producer_attach (r->d->device, &options);
  r->c = blkring_consumer_attach (r->other->device, &options);
  assert_handle (r->p);
  assert_handle (r->c);
}

static void
end (struct ring *r)
{
  blkring_producer_free (r->p);
  blkring_consumer_free (r->c);
  cut_device_free (r->d);
  cut_device_free (r->other);
  cut_store_free (r->store);
}

static void
drain (struct ring *r)
{
  struct blkring_item item;

  while (blkring_consumer_pop (r->c, NULL, &item) == 0)
    assert_ok (blkring_consumer_advance (r->c, item.next));
  assert_int_equal (errno, EAGAIN);
}

/* Append batches of items until the ring has been gone around twice.
 * Returns how many appends took more than 'usual' flights. */
static unsigned
go_around (struct ring *r, size_t nr, size_t length, unsigned usual,
           unsigned *appends)
{
  static unsigned char payload[64 * 1024];
  struct iovec items[64];
  blkring_position after = 0, drained = 0;
  unsigned more = 0;
  size_t i;

  *appends = 0;
  r->d->most_parts = 0;
  for (i = 0; i < nr; ++i)
    items[i] = (struct iovec) { payload, length };
  while (after < 2 * r->store->size) {
    if (after - drained > r->store->size / 4) {
      drain (r);
      drained = after;
    }
    r->d->flights = 0;
    assert_ok (blkring_producer_appendv (r->p, items, nr, &after));
    ++*appends;
    if (r->d->flights > usual)
      more++;
    else
      assert_int_equal (r->d->flights, usual);
  }
  return more;
}

static const struct {
  size_t nr, length;
} batches[] = {
  { 1, 40 }, { 1, 508 }, { 1, 4000 }, { 1, 20000 }, { 64, 512 }, { 3, 10001 },
};

static void
format_1_push_and_advance_wait_twice (void **state)
{
  struct ring r;
  unsigned appends, i;

  (void) state;
  for (i = 0; i < LENGTH (batches); ++i) {
    begin (&r, 1, MIB);
    /* The first one, and each that has to look for space. */
    assert_true (go_around (&r, batches[i].nr, batches[i].length, 2,
                            &appends) <= 10);
    assert_true (appends > 30);
    /* Both ends of the ring, and what is read beside. */
    assert_in_range (r.d->most_parts, 2, 4);
    end (&r);
  }
}

/* Items of random length are mostly found in what was read around the place
 * where one of the last length would end. */
static void
format_1_items_of_various_lengths_seldom_wait_for_a_read (void **state)
{
  unsigned char payload[4096];
  unsigned i, more = 0;
  struct ring r;

  (void) state;
  begin (&r, 1, 4 * MIB);
  memset (payload, 'x', sizeof payload);
  srand (1);
  for (i = 0; i < 1000; ++i) {
    r.d->flights = 0;
    assert_ok (blkring_producer_append (r.p, payload, rand () % 4096, NULL));
    more += r.d->flights > 2;
  }
  assert_true (more <= 3);
  end (&r);
}

static void
format_2_append_waits_once (void **state)
{
  struct ring r;
  unsigned appends, i, more;

  (void) state;
  for (i = 0; i < LENGTH (batches); ++i) {
    begin (&r, 2, MIB);
    more = go_around (&r, batches[i].nr, batches[i].length, 1, &appends);
    /* A record with each eighth of the ring, and looks for space. */
    assert_true (more <= 2 * 8 + 10);
    assert_true (appends > 30);
    if (batches[i].length > 5000)
      assert_int_equal (r.d->most_parts, 2); /* around the end */
    end (&r);
  }
}

/*---------------------------------------------------------------------*/

/* Fill the ring across its end, with items of 1000 bytes. */
static unsigned
fill_across_the_end (struct ring *r)
{
  unsigned n = 0, i;

  for (i = 0; i < 25; ++i)
    assert_ok (append_seed (r->p, 1000, i, NULL));
  drain (r);
  while (append_seed (r->p, 1000, n, NULL) == 0)
    n++;
  assert_int_equal (errno, EAGAIN);
  return n;
}

static void
pop_of_a_batch_waits_once_also_around_the_end (void **state)
{
  struct blkring_item items[64];
  unsigned format, n, i;
  ssize_t got;
  struct ring r;

  (void) state;
  for (format = 1; format <= 2; ++format) {
    begin (&r, format, 32768 * (format == 2) + 100 * 512);
    n = fill_across_the_end (&r);
    assert_in_range (n, 30, 64);
    /* The other side is looked at. */
    assert_ok (blkring_consumer_wait (r.c, NULL, 0));
    assert_returns (BLKRING_RUNNING, blkring_consumer_state (r.c));
    cut_device_forget (r.other);
    got = blkring_consumer_popv (r.c, NULL, items, 64);
    assert_int_equal (got, n);
    assert_int_equal (r.other->flights, 1);
    assert_int_equal (r.other->most_parts, 2);
    for (i = 0; i < n; ++i)
      assert_true (is_payload (items[i].data, 1000, i));
    end (&r);
  }
}

/*---------------------------------------------------------------------*/

static void
larger_requests_than_the_device_takes_fly_together (void **state)
{
  struct blkring_item item;
  unsigned format;
  struct ring r;

  (void) state;
  for (format = 1; format <= 2; ++format) {
    begin (&r, format, MIB);
    assert_ok (append_seed (r.p, 100, 0, NULL));
    take_seed (r.c, 100, 0);
    blkring_producer_free (r.p);
    blkring_consumer_free (r.c);
    r.d->geometry.max_request = r.other->geometry.max_request = 5000;
    r.p = blkring_producer_attach (r.d->device, &options);
    r.c = blkring_consumer_attach (r.other->device, &options);
    assert_handle (r.p);
    assert_handle (r.c);
    cut_device_forget (r.d);
    assert_ok (append_seed (r.p, 60000, 1, NULL));
    /* 60000 / 4608, rounded up. */
    assert_in_range (r.d->most_parts, 14, 20);
    assert_true (r.d->flights <= 5);
    assert_ok (blkring_consumer_wait (r.c, NULL, 0));
    cut_device_forget (r.other);
    assert_ok (blkring_consumer_pop (r.c, NULL, &item));
    assert_true (is_payload (item.data, 60000, 1));
    assert_true (r.other->flights <= 2);
    assert_true (r.other->most_parts >= 14);
    end (&r);
  }
}

/* Parts around the end of a ring are not aligned in memory as the whole
 * is. */
static void
buffers_are_as_aligned_as_the_device_needs_them (void **state)
{
  unsigned format, i;
  struct ring r;

  (void) state;
  for (format = 1; format <= 2; ++format) {
    begin (&r, format, 32768 * (format == 2) + 100 * 512);
    blkring_producer_free (r.p);
    blkring_consumer_free (r.c);
    r.d->geometry.memory_alignment = 4096;
    r.other->geometry.memory_alignment = 4096;
    r.p = blkring_producer_attach (r.d->device, &options);
    r.c = blkring_consumer_attach (r.other->device, &options);
    for (i = 0; i < 200; ++i) {
      assert_ok (append_seed (r.p, 3000, i, NULL));
      take_seed (r.c, 3000, i);
    }
    assert_int_equal (r.d->most_parts >= 2, 1);
    end (&r);
  }
}

/* The same calls leave the same bytes on both kinds of device. */
static void
what_is_read_beside_is_what_was_there (void **state)
{
  static unsigned char content[64 * 512];
  static unsigned char payload[13000];
  struct cut_store *store;
  struct cut_device *d;
  blkring_device *memory, *each[2];
  blkring_producer *p[2];
  blkring_consumer *c;
  struct blkring_item item;
  const char *data;
  unsigned i, k, fail;
  size_t length;

  (void) state;
  for (fail = 0; fail <= 1; ++fail) {
    store = cut_store_new (sizeof content);
    d = cut_device_new (store);
    memory = blkring_device_memory (sizeof content, 512);
    assert_handle (memory);
    /* What is there first must stay between the items. */
    memset (content, 0xa5, sizeof content);
    memcpy (store->content, content, sizeof content);
    assert_ok (blkring_device_write (memory, content, sizeof content, 0));
    each[0] = d->device;
    each[1] = memory;
    for (k = 0; k < 2; ++k) {
      const struct blkring_create_options o = {
        .format = 1, .flags = BLKRING_CREATE_FORCE,
      };

      assert_ok (blkring_create (each[k], &o));
      p[k] = blkring_producer_attach (each[k], &options);
      assert_handle (p[k]);
    }
    d->fail_reads = fail;
    srand (2);
    for (i = 0; i < 400; ++i) {
      length = rand () % (i % 5 ? 300 : 5000);
      if (i % 40 == 4)
        length = sizeof payload;
      fill_payload (payload, length, i);
      for (k = 0; k < 2; ++k) {
        assert_ok (blkring_producer_append (p[k], payload, length, NULL));
        if (i % 4 == 3) {
          c = blkring_consumer_attach (each[k], &options);
          while (blkring_consumer_pop (c, NULL, &item) == 0)
            assert_ok (blkring_consumer_advance (c, item.next));
          blkring_consumer_free (c);
        }
      }
      assert_ok (blkring_device_read (memory, content, sizeof content, 0));
      data = (const char *) store->content;
      assert_memory_equal (content, data, sizeof content);
    }
    for (k = 0; k < 2; ++k)
      blkring_producer_free (p[k]);
    cut_device_free (d);
    cut_store_free (store);
    blkring_device_close (memory);
  }
}

/* Items that go all around the ring, and into the sector in which they
 * begin: the parts must not overlap, since they come in any order. */
static void
a_write_all_around_the_ring_has_parts_that_do_not_overlap (void **state)
{
  static unsigned char payload[20 * 512];
  struct blkring_item item;
  struct ring r;
  unsigned sectors, i;
  size_t length;

  (void) state;
  memset (payload, 'x', sizeof payload);
  for (sectors = 4; sectors <= 20; sectors += 4) {
    begin (&r, 1, sectors * 512);
    srand (sectors);
    for (i = 0; i < 200; ++i) {
      length = i % 2 ? (unsigned) rand () % 500
        : (sectors - 3) * 512 - 4 - rand () % 20;
      fill_payload (payload, length, i);
      assert_ok (blkring_producer_append (r.p, payload, length, NULL));
      assert_ok (blkring_consumer_pop (r.c, NULL, &item));
      assert_int_equal (item.length, length);
      assert_true (is_payload (item.data, length, i));
      assert_ok (blkring_consumer_advance (r.c, item.next));
    }
    end (&r);
  }
}

/*---------------------------------------------------------------------*/

static int
any_geometry (void *opaque, struct blkring_geometry *g)
{
  (void) opaque;
  g->size = MIB;
  return 0;
}

static ssize_t
any_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  (void) opaque;
  (void) offset;
  memset (buf, 0, count);
  return count;
}

static ssize_t
any_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
            unsigned flags)
{
  (void) opaque;
  (void) buf;
  (void) offset;
  (void) flags;
  return count;
}

static int
any_flush (void *opaque)
{
  (void) opaque;
  return 0;
}

static int
bad_submit (void *opaque, struct blkring_part *parts, size_t nr,
            uint64_t connection)
{
  (void) opaque;
  (void) parts;
  (void) nr;
  (void) connection;
  errno = EIO;
  return -1;
}

static uint64_t
any_connection (void *opaque)
{
  (void) opaque;
  return 1;
}

static void
a_program_of_before_submit_goes_on_working (void **state)
{
  struct blkring_device_ops ops = {
    .struct_size = offsetof (struct blkring_device_ops, submit),
    .geometry = any_geometry, .pread = any_pread, .pwrite = any_pwrite,
    .flush = any_flush, .submit = bad_submit,
  };
  blkring_device *device = blkring_device_new (&ops, NULL);
  char buf[16];

  (void) state;
  assert_handle (device);
  assert_ok (blkring_device_read (device, buf, sizeof buf, 0));
  blkring_device_close (device);

  ops.struct_size--;
  assert_no_handle (EINVAL, blkring_device_new (&ops, NULL));
  ops.struct_size = sizeof ops + 1;
  assert_no_handle (EINVAL, blkring_device_new (&ops, NULL));
  ops.struct_size = sizeof ops;
  device = blkring_device_new (&ops, NULL);
  assert_handle (device);
  assert_fails (EIO, blkring_device_read (device, buf, sizeof buf, 0));
  blkring_device_close (device);
  ops.connection = any_connection;
  ops.submit = NULL;
  assert_no_handle (EINVAL, blkring_device_new (&ops, NULL));
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    cmocka_unit_test (format_1_push_and_advance_wait_twice),
    cmocka_unit_test
      (format_1_items_of_various_lengths_seldom_wait_for_a_read),
    cmocka_unit_test (format_2_append_waits_once),
    cmocka_unit_test (pop_of_a_batch_waits_once_also_around_the_end),
    cmocka_unit_test (larger_requests_than_the_device_takes_fly_together),
    cmocka_unit_test (buffers_are_as_aligned_as_the_device_needs_them),
    cmocka_unit_test (what_is_read_beside_is_what_was_there),
    cmocka_unit_test
      (a_write_all_around_the_ring_has_parts_that_do_not_overlap),
    cmocka_unit_test (a_program_of_before_submit_goes_on_working),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
