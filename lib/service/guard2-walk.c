/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2: looking at frames on the device, in pieces whose size depends
 * neither on the ring nor on the largest frame.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "guard2.h"

bool
guard2_is_header (const struct service *s, const unsigned char *p)
{
  uint32_t state;

  if (memcmp (p, "BRFR", 4) != 0)
    return false;
  state = crc32c_add (crc32c_begin (s->ring.uuid), p, F2_HEADER - 4);
  return crc32c_end (state) == get_le32 (p + F2_HEADER - 4);
}

/* The CRC of the item area is right: 1, 0, -1. */
static int
check_area (struct service *s, const struct f2_frame *f)
{
  const struct ring *ring = &s->ring;
  uint64_t at = f->position + F2_HEADER, offset, n;
  const uint64_t end = at + f->length;
  uint32_t state = crc32c_begin (ring->uuid);
  unsigned char *buf = malloc (min_u64 (f->length, SERVICE_CHUNK));

  if (buf == NULL)
    return set_errno_error (ENOMEM, "cannot check a frame");
  for (; at < end; at += n) {
    offset = ring_offset (ring, at);
    n = min_u64 (min_u64 (end - at, SERVICE_CHUNK),
                 ring->data_offset + ring->capacity - offset);
    if (blkring_device_read (s->device, buf, n, offset) == -1) {
      free (buf);
      return -1;
    }
    state = crc32c_add (state, buf, n);
  }
  free (buf);
  return crc32c_end (state) == f->area_crc;
}

int
guard2_read_frame (struct service *s, uint64_t position, uint32_t chain,
                   bool whole, struct f2_frame *f)
{
  unsigned char header[F2_HEADER];

  if (blkring_device_read (s->device, header, sizeof header,
                           ring_offset (&s->ring, position)) == -1)
    return -1;
  if (!f2_decode_frame (header, &s->ring, position, f) || f->chain != chain)
    return 0;
  return whole ? check_area (s, f) : 1;
}

int
guard2_walk (struct service *s, uint64_t from, uint32_t *chain, uint64_t to,
             uint64_t *items)
{
  const unsigned char *p;
  struct window w;
  struct f2_frame f;
  uint64_t at = from, step = 0;
  int r = 1;

  if (window_open (&w, s, NULL) == -1)
    return -1;
  while (at < to) {
    p = window_at (&w, at, F2_HEADER, to, step);
    if (p == NULL)
      r = -1;
    else if (!f2_decode_frame (p, &s->ring, at, &f) || f.chain != *chain)
      r = 2;
    if (r != 1)
      break;
    *chain = f.crc;
    *items += f.items;
    step = f2_frame_size (&s->ring, f.length);
    at += step;
  }
  window_close (&w);
  return r == 1 ? at == to : r;
}

int
guard2_walk_items (struct service *s, const struct f2_frame *f, uint64_t from,
                   uint64_t to, uint64_t *items)
{
  const uint64_t area = f->position + F2_HEADER, end = area + f->length;
  uint64_t at = max_u64 (from, area), step = 0;
  const unsigned char *p;
  struct window w;
  uint32_t length;
  int r = 1;

  if (window_open (&w, s, NULL) == -1)
    return -1;
  while (at < to && r == 1) {
    p = at < end ? window_at (&w, at, 4, end, step) : NULL;
    if (at < end && p == NULL)
      r = -1;
    else if (p == NULL)
      r = 0;
    else {
      length = get_le32 (p);
      step = f2_item_size (length);
      at += step;
      ++*items;
    }
  }
  window_close (&w);
  return r == 1 ? at == to : r;
}

bool
guard2_has_items (const unsigned char *area, const struct f2_frame *f)
{
  uint64_t at = 0, size;
  uint32_t i;

  for (i = 0; i < f->items; ++i) {
    if (f->length - at < 4)
      return false;
    size = f2_item_size (get_le32 (area + at));
    if (size > f->length - at)
      return false;
    at += size;
  }
  return at == f->length;
}
