/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See oracle.h.  It shares the decoding of single structures with the
 * library (lib/format2-layout.c), and nothing else.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "format1.h"
#include "format2.h"
#include "oracle.h"

#define NO_STREAM ((struct stream) { 1, 0 })

/* Positions.  Nothing is in it where 'from' is behind 'to'. */
struct stream {
  uint64_t from, to;
};

static struct {
  struct ring ring;          /* format 1: sector_size, data_offset, capacity */
  int format;                /* 0: none, or one that nobody can use */
  struct stream unread;      /* what the producer may not change */
  struct stream consumer[F2_MAX_CONSUMERS]; /* what each may get */
} view;

static bool
flag_fits (const struct hostile_device *d, uint64_t sector)
{
  unsigned char flag;

  if (sector + 8 >= d->geometry.size)
    return false;
  hostile_peek (d, &flag, 1, sector + 8);
  return flag == 1 || flag == 2;
}

static void
look_at_format1 (const struct hostile_device *d)
{
  const uint64_t s = flag_fits (d, 512) && flag_fits (d, 1024) ? 512 : 4096;
  unsigned char p[8], c[8];

  if (d->geometry.size < 4 * s || d->geometry.size % s != 0)
    return;
  hostile_peek (d, p, 8, s);
  hostile_peek (d, c, 8, 2 * s);
  view.format = 1;
  view.ring.sector_size = s;
  view.ring.data_offset = 3 * s;
  view.ring.capacity = d->geometry.size - 3 * s;
  view.ring.consumers = 1;
  view.unread = (struct stream) { get_le64 (c), get_le64 (p) };
  if (view.unread.to < view.unread.from ||
      view.unread.to - view.unread.from > view.ring.capacity)
    view.format = 0;
  view.consumer[0] = view.unread;
}

/*---------------------------------------------------------------------*/

static void
peek_stream (const struct hostile_device *d, unsigned char *buf,
             uint64_t position, uint64_t count)
{
  const struct ring *r = &view.ring;
  const uint64_t offset = r->data_offset + position % r->capacity;
  const uint64_t n = min_u64 (count, r->data_offset + r->capacity - offset);

  hostile_peek (d, buf, n, offset);
  if (n < count)
    peek_stream (d, buf + n, position + n, count - n);
}

static bool
read_record (const struct hostile_device *d, unsigned kind,
             struct f2_record *r)
{
  unsigned char content[F2_CONTENT];
  struct f2_record copy;
  bool found = false;
  unsigned i;

  for (i = 0; i < 2; ++i) {
    hostile_peek (d, content, sizeof content, f2_record_offset (kind, i));
    if (f2_decode_record (content, view.ring.uuid, kind, &copy) &&
        (!found || copy.epoch > r->epoch ||
         (copy.epoch == r->epoch && copy.sequence > r->sequence))) {
      *r = copy;
      found = true;
    }
  }
  return found;
}

/* The end of the frames that can be seen from here on. */
static uint64_t
walk (struct hostile_device *d, uint64_t at, uint32_t chain,
      uint64_t limit, const struct f2_record *producer, bool with_late)
{
  const struct ring *r = &view.ring;
  unsigned char header[F2_HEADER], *frame;
  struct f2_frame f;
  uint64_t size;
  bool valid;

  for (;;) {
    peek_stream (d, header, at, sizeof header);
    if (!f2_decode_frame (header, r, at, &f) || f.chain != chain)
      return at;
    size = f2_frame_size (r, f.length);
    if (size > limit - at ||
        (!(f.flags & F2_PUBLISHED) && at + size > producer->position) ||
        (!with_late && f.epoch < producer->frame_epoch &&
         at >= producer->since))
      return at;
    frame = malloc (F2_HEADER + f.length);
    if (frame == NULL)
      abort ();
    peek_stream (d, frame, at, F2_HEADER + f.length);
    valid = f2_area_is_valid (frame, r, &f);
    free (frame);
    if (!valid)
      return at;
    /* The producer goes on in the middle of what a consumer reads. */
    if (at < producer->position && producer->position < at + size)
      d->contradicts = true;
    at += size;
    chain = f.crc;
  }
}

static void
look_at_streams (struct hostile_device *d)
{
  const uint64_t capacity = view.ring.capacity;
  struct f2_record p, c;
  uint64_t lowest, start;
  uint32_t chain;
  unsigned k;

  if (!read_record (d, F2_PRODUCER, &p) ||
      p.position > INT64_MAX - 4 * capacity)
    return;
  lowest = UINT64_MAX;
  start = p.position;
  chain = p.chain;
  for (k = 0; k < view.ring.consumers; ++k) {
    if (!read_record (d, F2_CONSUMER + k, &c) ||
        c.frame > INT64_MAX - 4 * capacity)
      continue;
    view.consumer[k] = (struct stream) {
      c.position, walk (d, c.frame, c.chain, c.frame + capacity, &p, true)
    };
    if (!(c.flags & F2_ENABLED))
      continue;
    lowest = min_u64 (lowest, c.frame);
    if (c.frame > start) {
      start = c.frame;
      chain = c.chain;
    }
  }
  if (lowest == UINT64_MAX)
    lowest = start;
  if (start - lowest <= capacity)
    view.unread = (struct stream) {
      lowest, walk (d, start, chain, lowest + capacity, &p, false)
    };
}

/* What the library refuses besides is its own affair. */
static void
look_at_format2 (struct hostile_device *d, const struct f2_super *s)
{
  unsigned k;

  if (s->consumers < 1 || s->consumers > F2_MAX_CONSUMERS ||
      s->block_size < F2_MIN_BLOCK || s->block_size > F2_MAX_BLOCK ||
      (s->block_size & (s->block_size - 1)) != 0 ||
      s->data_offset > d->geometry.size || s->capacity < s->block_size ||
      s->capacity > d->geometry.size - s->data_offset ||
      s->largest_frame < s->block_size || s->largest_frame > s->capacity)
    return;
  view.format = 2;
  view.ring.data_offset = s->data_offset;
  view.ring.capacity = s->capacity;
  view.ring.block_size = s->block_size;
  view.ring.largest_frame = s->largest_frame;
  view.ring.consumers = s->consumers;
  memcpy (view.ring.uuid, s->uuid, sizeof view.ring.uuid);
  view.unread = NO_STREAM;
  for (k = 0; k < F2_MAX_CONSUMERS; ++k)
    view.consumer[k] = NO_STREAM;
  look_at_streams (d);
}

void
oracle_begin (struct hostile_device *d)
{
  const uint64_t size = d->geometry.size;
  unsigned char content[F2_CONTENT];
  struct f2_super s;
  unsigned slot;

  memset (&view, 0, sizeof view);
  if (size < F1_MAGIC_LENGTH)
    return;
  hostile_peek (d, content, F1_MAGIC_LENGTH, 0);
  if (f1_is_signature (content)) {
    look_at_format1 (d);
    return;
  }
  for (slot = 0; slot < 2; ++slot) {
    if (size < slot * F2_SLOT + F2_CONTENT)
      break;
    hostile_peek (d, content, F2_CONTENT, slot * F2_SLOT);
    if (f2_decode_super (content, &s)) {
      look_at_format2 (d, &s);
      return;
    }
  }
}

/*---------------------------------------------------------------------*/

static bool
in_slot (uint64_t offset, unsigned kind)
{
  return offset >= f2_record_offset (kind, 0) &&
    offset < f2_record_offset (kind + 1, 0);
}

static bool
in_sector (uint64_t offset, unsigned sector)
{
  return offset / view.ring.sector_size == sector;
}

static bool
is_free (uint64_t offset)
{
  const struct ring *r = &view.ring;
  uint64_t behind;

  if (offset < r->data_offset || offset >= r->data_offset + r->capacity ||
      view.unread.from > view.unread.to)
    return false;
  behind = (offset - r->data_offset + r->capacity -
            view.unread.from % r->capacity) % r->capacity;
  return behind >= view.unread.to - view.unread.from;
}

bool
oracle_permits (const struct hostile_device *d, uint64_t offset)
{
  const unsigned may = d->may;

  if (may & MAY_ANYTHING)
    return true;
  if (view.format == 0 && !d->disturbed)
    return false;
  if (view.format == 1)
    return (may & MAY_PRODUCE && in_sector (offset, 1)) ||
      (may & (MAY_CONSUME | MAY_REQUEST) && in_sector (offset, 2)) ||
      (may & MAY_PRODUCE && (d->disturbed || is_free (offset)));
  if (view.format == 2)
    return (may & MAY_PRODUCE && in_slot (offset, F2_PRODUCER)) ||
      (may & MAY_REQUEST && in_slot (offset, F2_CONTROL)) ||
      (may & MAY_CONSUME && in_slot (offset, F2_CONSUMER + d->consumer)) ||
      (may & MAY_PRODUCE && (d->disturbed || is_free (offset)));
  return true;
}

static bool
is_item_at (const struct hostile_device *d, uint64_t at,
            const struct blkring_item *item)
{
  unsigned char header[4], *bytes;
  bool same;

  peek_stream (d, header, at, sizeof header);
  if (get_le32 (header) != item->length)
    return false;
  bytes = malloc (item->length + 1);
  if (bytes == NULL)
    abort ();
  peek_stream (d, bytes, at + 4, item->length);
  same = item->length == 0 || memcmp (bytes, item->data, item->length) == 0;
  free (bytes);
  return same;
}

void
oracle_check_item (const struct hostile_device *d, unsigned consumer,
                   bool salvage, const struct blkring_item *item)
{
  const struct stream *s = &view.consumer[consumer];

  if (d->disturbed || d->contradicts)
    return;
  if (view.format == 0)
    violation ("an item where there is no ring");
  if (item->position < s->from || item->next <= item->position ||
      (!salvage && item->next > s->to))
    violation ("item from %" PRIu64 " to %" PRIu64 ", but consumer %u may have"
               " %" PRIu64 " to %" PRIu64, item->position, item->next,
               consumer, s->from, s->to);
  if (item->length > item->next - item->position)
    violation ("item of %zu bytes between %" PRIu64 " and %" PRIu64,
               item->length, item->position, item->next);
  if (is_item_at (d, item->position, item))
    return;
  /* The first one of a frame is at the frame's start. */
  if (view.format == 2 && item->position % view.ring.block_size == 0 &&
      is_item_at (d, item->position + F2_HEADER, item))
    return;
  violation ("the item at %" PRIu64 " is not what is on the device",
             item->position);
}
