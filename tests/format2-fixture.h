/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the tests of format 2 have in common: rings of it on a recording
 * device, and items that are told apart by a name.
 */

#ifndef FORMAT2_FIXTURE_H
#define FORMAT2_FIXTURE_H

#include "format2-bytes.h"

#define B 512                /* bytes of a block, unless a test says */
#define BLOCKS 16            /* of the data area, likewise */
#define RECORDS (2 * F2_SLOT) /* where the one read of all begins */
#define NS_PER_MS UINT64_C (1000000)
#define LENGTH(array) (sizeof (array) / sizeof (array)[0])

/* Bytes of the item in a frame of one item that fills 'blocks' blocks. */
#define FILLS(block, blocks) ((block) * (blocks) - F2_HEADER - 4)

/* A ring; 0 = as usual. */
struct shape {
  uint32_t block, sector;    /* bytes */
  uint64_t blocks;           /* of the data area */
  uint64_t extra;            /* bytes of the device behind it */
  uint64_t largest_frame;
  unsigned consumers;
  unsigned flags;            /* of the device */
};

static inline uint64_t
shape_data_offset (const struct shape *s)
{
  const uint64_t block = s->block ? s->block : B;
  const unsigned consumers = s->consumers ? s->consumers : 1;

  return round_up (f2_record_offset (F2_CONSUMER + consumers, 0), block);
}

static inline struct record_device *
new_blank (const struct shape *s)
{
  const uint64_t blocks = s->blocks ? s->blocks : BLOCKS;
  const struct record_options o = {
    .size = shape_data_offset (s) + blocks * (s->block ? s->block : B) +
      s->extra,
    .sector_size = s->sector,
    .flags = s->flags,
  };

  return record_device_new (&o);
}

static inline int
create_ring (struct record_device *rd, const struct shape *s)
{
  const struct blkring_create_options o = {
    .flags = BLKRING_CREATE_FORCE,
    .format = 2,
    .block_size = s->block ? s->block : B,
    .consumers = s->consumers,
    .largest_frame = s->largest_frame,
  };

  return blkring_create (rd->device, &o);
}

static inline struct record_device *
new_ring (const struct shape *s)
{
  struct record_device *rd = new_blank (s);

  assert_ok (create_ring (rd, s));
  record_device_forget (rd);
  return rd;
}

/* A ring, with both sides attached and nothing recorded. */
static inline struct fixture
start2 (const struct shape *s, const struct blkring_attach_options *producer,
        const struct blkring_attach_options *consumer)
{
  return start_on (new_ring (s), producer, consumer);
}

/* The same storage, opened once more: other locks, other handles. */
static inline blkring_device *
open_again (struct record_device *rd)
{
  blkring_device *device = blkring_device_new (&rd->device->ops, rd);

  assert_non_null (device);
  return device;
}

static inline blkring_producer *
attach_producer (struct record_device *rd)
{
  blkring_producer *p = blkring_producer_attach (rd->device, NULL);

  if (p == NULL)
    fail_msg ("%s", blkring_get_error ());
  return p;
}

static inline blkring_consumer *
attach_consumer (struct record_device *rd)
{
  blkring_consumer *c = blkring_consumer_attach (rd->device, NULL);

  if (c == NULL)
    fail_msg ("%s", blkring_get_error ());
  return c;
}

/*---------------------------------------------------------------------*/

/* One item in a frame of its own, exposed by the same write. */
static inline int
try_put (blkring_producer *p, char name, size_t length)
{
  char *item = malloc (length ? length : 1);
  int r, saved;

  assert_non_null (item);
  memset (item, name, length);
  r = blkring_producer_append (p, item, length, NULL);
  saved = errno;
  free (item);
  errno = saved;
  return r;
}

static inline void
put (blkring_producer *p, char name, size_t length)
{
  assert_ok (try_put (p, name, length));
}

/* One item of 3 bytes for each name, as one frame. */
static inline void
put_batch (blkring_producer *p, const char *names)
{
  char data[32][3];
  struct iovec items[32];
  size_t i;

  for (i = 0; names[i]; ++i) {
    memset (data[i], names[i], 3);
    items[i] = (struct iovec) { data[i], 3 };
  }
  assert_ok (blkring_producer_appendv (p, items, i, NULL));
}

/* The names of what can be popped. */
static inline void
assert_holds (blkring_consumer *c, const char *expected)
{
  char names[200] = "";

  assert_ok (blkring_consumer_fold (c, NULL, add_name, names));
  assert_string_equal (names, expected);
}

/* Free the first item. */
static inline void
free_one (blkring_consumer *c)
{
  struct blkring_item item;

  assert_ok (blkring_consumer_pop (c, NULL, &item));
  assert_ok (blkring_consumer_advance (c, item.next));
}

/* A full ring, freed again: from then on there are old frames where new
 * ones will be. */
static inline void
fill_and_drain (struct fixture *f)
{
  while (try_put (f->p, '-', 1) == 0)
    ;
  assert_error (EAGAIN);
  drain (f->c);
}

static inline unsigned char *
copy_of (const void *p, size_t size)
{
  unsigned char *copy = malloc (size);

  assert_non_null (copy);
  memcpy (copy, p, size);
  return copy;
}

/* A device with this content. */
static inline struct record_device *
device_with (const unsigned char *image, size_t size)
{
  const struct record_options o = { .size = size, .image = image };

  return record_device_new (&o);
}

/* Both attach, find these items, and go on. */
static inline void
assert_goes_on (struct record_device *rd, const char *names)
{
  struct fixture f = { .rd = rd };
  char more[40] = "";

  f.c = attach_consumer (rd);
  assert_holds (f.c, names);
  f.p = attach_producer (rd);
  put (f.p, 'x', 1000);
  assert_true (strlen (names) < sizeof more - 1);
  strcpy (more, names);
  strcat (more, "x");
  assert_holds (f.c, more);
  blkring_producer_free (f.p);
  blkring_consumer_free (f.c);
}

/*---------------------------------------------------------------------*/

/* A clock that a test moves. */
static uint64_t now;

static inline const struct blkring_attach_options *
with_clock (void)
{
  static struct blkring_clock clock;
  static const struct blkring_attach_options o = { .clock = &clock };

  clock = record_clock (&now);
  return &o;
}

/* A ring whose both sides have that clock. */
static inline struct fixture
start_shape (void **state, uint32_t block, uint64_t blocks)
{
  const struct shape s = {
    .block = block,
    .blocks = blocks,
    .flags = *(unsigned *) *state,
  };

  return start2 (&s, with_clock (), with_clock ());
}

static inline struct fixture
start_small (void)
{
  return start2 (&(struct shape) { .block = B }, with_clock (),
                 with_clock ());
}

/* One in which the producer writes no record for some while. */
static inline struct fixture
start_large (void)
{
  return start2 (&(struct shape) { .blocks = 128 }, with_clock (),
                 with_clock ());
}

static inline void
reattach_producer (struct fixture *f)
{
  blkring_producer_free (f->p);
  f->p = attach_producer (f->rd);
}

static inline void
reattach_consumer (struct fixture *f)
{
  blkring_consumer_free (f->c);
  f->c = blkring_consumer_attach (f->rd->device, with_clock ());
  assert_non_null (f->c);
}

/* The producer dies: its record says that it is at work. */
static inline void
kill_producer (struct fixture *f)
{
  record_device_fail (f->rd, RECORD_READ, 0, EIO);
  blkring_producer_free (f->p);
  f->p = NULL;
  assert_false (f->rd->faults[RECORD_READ].armed);
}

/* The device as it is now, at a machine where nobody is attached. */
static inline struct fixture
elsewhere (struct fixture *f)
{
  struct fixture g = {
    .rd = device_with (f->rd->content, f->rd->allocated)
  };

  return g;
}

/* Requests of a kind that begin at or behind 'from' and before 'to'. */
static inline unsigned
requests (const struct record_device *rd, enum record_kind kind,
          uint64_t from, uint64_t to)
{
  unsigned n = 0;
  size_t i;

  for (i = 0; i < rd->nr_log; ++i)
    n += rd->log[i].kind == kind && rd->log[i].offset >= from &&
      rd->log[i].offset < to;
  return n;
}

/* How often the records were read. */
static inline unsigned
looks (const struct record_device *rd)
{
  return requests (rd, RECORD_READ, RECORDS, RECORDS + 1);
}

#endif /* FORMAT2_FIXTURE_H */
