/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2: walking over frames, from a place whose chain value is known.
 * Recovery, info and check do; the consumer has its own read-ahead.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "error.h"
#include "format2.h"

#define CHUNK (UINT64_C (256) << 10)

int
f2_scan_begin (struct f2_scan *s, const struct ring *ring, uint64_t at,
               uint32_t chain, uint64_t limit)
{
  *s = (struct f2_scan) {
    .ring = ring, .at = at, .chain = chain, .limit = limit
  };
  s->size = min_u64 (max_u64 (CHUNK, ring->block_size), ring->capacity);
  s->buffer = device_buffer (ring->device, s->size);
  return s->buffer ? 0 : -1;
}

void
f2_scan_end (struct f2_scan *s)
{
  free (s->buffer);
  s->buffer = NULL;
}

/* Have [at, at + needed) in the buffer, and what fits behind it. */
static int
load (struct f2_scan *s, uint64_t needed)
{
  unsigned char *bigger;

  if (s->at >= s->start && s->at < s->end && needed <= s->end - s->at)
    return 0;
  if (s->size < needed) {
    bigger = device_buffer (s->ring->device, needed);
    if (bigger == NULL)
      return -1;
    free (s->buffer);
    s->buffer = bigger;
    s->size = needed;
  }
  s->start = s->end = s->at;
  if (ring_read (s->ring, s->buffer, s->at, s->at + s->size) == -1)
    return -1;
  s->end = s->at + s->size;
  return 0;
}

int
f2_scan_next (struct f2_scan *s)
{
  uint64_t size;

  if (s->at >= s->limit)
    return 0;
  if (load (s, s->ring->block_size) == -1)
    return -1;
  if (!f2_decode_frame (s->buffer + (s->at - s->start), s->ring, s->at,
                        &s->frame) || !f2_continues (&s->frame, s->chain))
    return 0;
  size = f2_frame_size (s->ring, s->frame.length);
  if (size > s->limit - s->at)
    return 0;
  if (load (s, size) == -1)
    return -1;
  s->bytes = s->buffer + (s->at - s->start);
  /* It may have been read anew: all of it is what counts. */
  if (!f2_decode_frame (s->bytes, s->ring, s->at, &s->frame) ||
      !f2_continues (&s->frame, s->chain) ||
      f2_frame_size (s->ring, s->frame.length) != size ||
      !f2_area_is_valid (s->bytes, s->ring, &s->frame))
    return 0;
  s->at += size;
  s->chain = s->frame.crc;
  return 1;
}

/* A header alone says that a frame may be as large as the largest.  Where
 * somebody has written one to each block, to read them all would take the
 * square of the ring. */
int
f2_scan_resync (struct f2_scan *s, uint64_t from, uint64_t end)
{
  const uint64_t b = s->ring->block_size;
  uint64_t size;
  int r;

  for (; from < end; from += b) {
    s->at = from;
    if (load (s, b) == -1)
      return -1;
    if (!f2_decode_frame (s->buffer + (from - s->start), s->ring, from,
                          &s->frame))
      continue;
    size = f2_frame_size (s->ring, s->frame.length);
    if (size > s->patience)
      return 0;
    s->chain = s->frame.chain;
    r = f2_scan_next (s);
    if (r == -1)
      return -1;
    if (r == 1) {
      s->at = from;
      s->chain = s->frame.chain;
      return 1;
    }
    s->patience -= size;
  }
  return 0;
}

bool
f2_is_late (const struct f2_record *producer, const struct f2_frame *f)
{
  return f->epoch < producer->frame_epoch && f->position >= producer->since;
}

int
f2_find_beyond (const struct ring *ring, uint64_t tail, uint64_t epoch,
                uint64_t *where)
{
  const uint64_t b = ring->block_size;
  const uint64_t end = tail + min_u64 (ring->largest_frame + b,
                                       ring->capacity);
  struct f2_frame frame;
  struct f2_scan s;
  int r = 0;

  if (f2_scan_begin (&s, ring, tail, 0, UINT64_MAX) == -1)
    return -1;
  for (s.at = tail + b; s.at < end && r == 0; s.at += b) {
    r = load (&s, b);
    if (r == 0 && f2_decode_frame (s.buffer + (s.at - s.start), ring, s.at,
                                   &frame) &&
        frame.epoch == epoch && frame.flags & F2_PUBLISHED) {
      *where = s.at;
      r = 1;
    }
  }
  f2_scan_end (&s);
  return r;
}
