/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A ring for each case (see ring-fixture.h).  What is known about the
 * layout here is in docs/format1.md and docs/format2.md.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring-fixture.h"

#define ITEM_HEADER 4
#define FRAME_HEADER 64      /* format 2 */
#define SLOT 4096

struct ring_kind memory1_512 = { .format = 1, .unit = 512 };
struct ring_kind memory1_4096 = { .format = 1, .unit = 4096 };
struct ring_kind file1_512 = { .format = 1, .unit = 512, .file = true };
struct ring_kind file1_4096 = { .format = 1, .unit = 4096, .file = true };
struct ring_kind memory2_512 = { .format = 2, .unit = 512 };
struct ring_kind memory2_4096 = { .format = 2, .unit = 4096 };
struct ring_kind file2_512 = { .format = 2, .unit = 512, .file = true };
struct ring_kind file2_4096 = { .format = 2, .unit = 4096, .file = true };
struct ring_kind memory2_two = {
  .format = 2, .unit = 512, .consumers = 2,
};
struct ring_kind file2_two = {
  .format = 2, .unit = 512, .consumers = 2, .file = true,
};

const struct blkring_attach_options fast = {
  .durability = BLKRING_DURABILITY_NONE,
};

static uint64_t
round_up (uint64_t n, uint64_t multiple)
{
  return (n + multiple - 1) / multiple * multiple;
}

/*---------------------------------------------------------------------*/

uint64_t
data_offset (const struct test_ring *t)
{
  const unsigned consumers = t->kind->consumers ? t->kind->consumers : 1;

  return t->format == 1 ? 3 * t->unit
    : round_up ((6 + 2 * consumers) * SLOT, t->unit);
}

uint64_t
overhead (const struct test_ring *t)
{
  return t->format == 1 ? ITEM_HEADER : FRAME_HEADER + ITEM_HEADER;
}

uint64_t
batch_size (const struct test_ring *t, const struct iovec *items, size_t nr)
{
  uint64_t size = 0;
  size_t i;

  for (i = 0; i < nr; ++i)
    size += round_up (ITEM_HEADER + items[i].iov_len, 4);
  return t->format == 1 ? size : round_up (FRAME_HEADER + size, t->unit);
}

uint64_t
push_size (const struct test_ring *t, uint64_t length)
{
  return batch_size (t, &(struct iovec) { NULL, length }, 1);
}

/*---------------------------------------------------------------------*/

static void
open_device (struct test_ring *t, uint64_t size)
{
  const struct blkring_open_options open = {
    .flags = BLKRING_OPEN_CREATE, .size = size,
  };

  if (t->kind->file) {
    make_scratch (t->dir, sizeof t->dir);
    snprintf (t->path, sizeof t->path, "%s/ring", t->dir);
    t->device = blkring_device_open (t->path, &open);
  }
  else
    t->device = blkring_device_memory (size, t->unit);
  assert_handle (t->device);
}

int
setup_ring (void **state)
{
  const struct ring_kind *kind = *state;
  struct test_ring *t = calloc (1, sizeof *t);
  struct blkring_info info;

  assert_non_null (t);
  t->kind = kind;
  t->format = t->create.format = kind->format;
  t->unit = kind->unit;
  if (t->format == 1)
    t->create.sector_size = t->unit;
  else {
    t->create.block_size = t->unit;
    t->create.consumers = kind->consumers;
  }
  t->index = kind->consumers ? kind->consumers - 1 : 0;
  t->capacity = (kind->units ? kind->units : RING_UNITS) * t->unit;
  open_device (t, data_offset (t) + t->capacity);
  assert_ok (blkring_create (t->device, &t->create));
  info = inspect (t);
  assert_int_equal (info.format, t->format);
  assert_int_equal (info.capacity, t->capacity);
  t->largest_item = info.largest_item;
  assert_int_equal (t->largest_item, t->capacity - overhead (t));
  *state = t;
  return 0;
}

int
teardown_ring (void **state)
{
  struct test_ring *t = *state;

  detach_all (t);
  blkring_device_close (t->device);
  if (t->dir[0])
    remove_scratch (t->dir);
  free (t);
  return 0;
}

blkring_device *
open_again (struct test_ring *t)
{
  blkring_device *device = t->kind->file
    ? blkring_device_open (t->path, NULL) : t->device;

  assert_handle (device);
  return device;
}

void
close_again (struct test_ring *t, blkring_device *device)
{
  if (device != t->device)
    blkring_device_close (device);
}

/*---------------------------------------------------------------------*/

static blkring_consumer *
attach_index (blkring_device *device, unsigned index,
              const struct blkring_attach_options *options)
{
  struct blkring_attach_options o = { .flags = 0 };

  if (options)
    o = *options;
  o.consumer = index;
  return blkring_consumer_attach (device, &o);
}

blkring_consumer *
attach_consumer (const struct test_ring *t, blkring_device *device,
                 const struct blkring_attach_options *options)
{
  return attach_index (device, t->index, options);
}

void
attach_all (struct test_ring *t, const struct blkring_attach_options *options)
{
  t->p = blkring_producer_attach (t->device, options);
  assert_handle (t->p);
  t->c = attach_consumer (t, t->device, options);
  assert_handle (t->c);
  if (t->index > 0) {
    t->other = attach_index (t->device, 0, options);
    assert_handle (t->other);
  }
}

void
detach_all (struct test_ring *t)
{
  blkring_producer_free (t->p);
  blkring_consumer_free (t->c);
  blkring_consumer_free (t->other);
  t->p = NULL;
  t->c = t->other = NULL;
}

void
take (struct test_ring *t, size_t length, unsigned seed)
{
  take_seed (t->c, length, seed);
  if (t->other)
    take_seed (t->other, length, seed);
}

int
free_up_to (struct test_ring *t, blkring_position position)
{
  struct blkring_item item = { .next = 0 };
  int r = blkring_consumer_advance (t->c, position);

  if (r == -1 || t->other == NULL)
    return r;
  assert_ok (blkring_consumer_position (t->other, &item.next));
  while (item.next != position)
    assert_ok (blkring_consumer_pop (t->other, &item.next, &item));
  assert_ok (blkring_consumer_advance (t->other, position));
  return 0;
}

void
leave_others_out (struct test_ring *t)
{
  unsigned i;

  for (i = 0; i < t->index; ++i)
    assert_ok (blkring_consumer_enable (t->device, i, false));
}

void
assert_nothing_to_pop (struct test_ring *t)
{
  struct blkring_item item;

  assert_fails (EAGAIN, blkring_consumer_pop (t->c, NULL, &item));
  if (t->other)
    assert_fails (EAGAIN, blkring_consumer_pop (t->other, NULL, &item));
}

struct blkring_info
inspect (const struct test_ring *t)
{
  struct blkring_info info;

  assert_ok (blkring_inspect (t->device, NULL, &info));
  return info;
}
