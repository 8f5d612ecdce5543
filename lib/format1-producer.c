/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 1, the producer's side.
 *
 * Writing items: the bytes from the start of the tail's sector to the end
 * of the last item's sector are put together in one buffer and written at
 * once, in two requests where they cross the end of the data area.  What
 * stands in the tail's sector before the tail is kept in memory (nobody
 * else writes there).  What stands in the last sector behind the items may
 * be the oldest unread item, and is read; a sector that is filled whole
 * never is.
 *
 * Two flushes an item: the items are durable before the pointer that
 * exposes them is written (rule 1 of docs/durability.md).
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format1.h"
#include "lock.h"

/* Pushes of more than this go through the buffer in parts. */
#define LARGEST_BUFFER (UINT64_C (4) << 20)
#define SMALLEST_BUFFER (UINT64_C (16) << 10)

struct producer_state {
  unsigned char *sectors;    /* one pointer sector, to write; two to read */
  unsigned char *tail_sector; /* content of the sector that the tail is in,
                                 as far as the tail */
  bool tail_known;           /* tail_sector is valid */
  unsigned char *last_sector; /* what the sector that the items end in holds
                                 before they are written */
  unsigned char *buffer;
  size_t buffer_size;
};

/* Items on their way to the device, in parts of the buffer. */
struct writer {
  blkring_producer *p;
  struct producer_state *s;
  uint64_t first;            /* start of the tail's sector */
  uint64_t last;             /* start of the sector that the items end in */
  uint64_t start;            /* stream position of buffer[0] */
  size_t fill;               /* bytes of the buffer that are used */
  unsigned requests;
};

int
f1_producer_look (blkring_producer *p)
{
  struct producer_state *s = p->format_state;
  struct handle *h = &p->h;
  struct f1_pointers v;

  if (f1_read_pointers (&h->ring, s->sectors, &v) == -1)
    return -1;
  device_trace (h->ring.device, BLKRING_TRACE_GET, h->queue, h->client,
                BLKRING_TRACE_CONSUMER, v.consumer.position);
  device_trace (h->ring.device, BLKRING_TRACE_GET, h->queue, h->client,
                BLKRING_TRACE_SUSPEND, v.consumer.flag);
  if (v.producer.position != p->exposed) {
    set_error (EBUSY, "another producer has moved the pointer from %" PRIu64
               " to %" PRIu64, p->exposed, v.producer.position);
    return poison (h);
  }
  if (v.consumer.position < p->freed) {
    set_corrupt (2 * h->ring.sector_size, "the consumer's position went back"
                 " from %" PRIu64 " to %" PRIu64, p->freed,
                 v.consumer.position);
    return poison (h);
  }
  p->freed_seen = v.consumer.position;
  p->suspend = v.consumer.flag;
  return 0;
}

int
f1_producer_open (blkring_producer *p)
{
  struct ring *ring = &p->h.ring;
  struct producer_state *s = calloc (1, sizeof *s);
  struct f1_pointers v;

  if (s == NULL)
    return set_errno_error (ENOMEM, "cannot attach");
  p->format_state = s;
  s->sectors = device_buffer (ring->device, 2 * ring->sector_size);
  s->tail_sector = device_buffer (ring->device, ring->sector_size);
  s->last_sector = device_buffer (ring->device, ring->sector_size);
  if (s->sectors == NULL || s->tail_sector == NULL ||
      s->last_sector == NULL ||
      f1_read_pointers (ring, s->sectors, &v) == -1)
    return -1;
  device_trace (ring->device, BLKRING_TRACE_GET, p->h.queue, p->h.client,
                BLKRING_TRACE_PRODUCER, v.producer.position);
  device_trace (ring->device, BLKRING_TRACE_GET, p->h.queue, p->h.client,
                BLKRING_TRACE_SUSPEND_ACK, v.producer.flag);
  p->tail = p->exposed = v.producer.position;
  p->freed = p->freed_seen = v.consumer.position;
  p->suspend = v.consumer.flag;
  p->suspend_ack = v.producer.flag;
  return 0;
}

void
f1_producer_close (blkring_producer *p)
{
  struct producer_state *s = p->format_state;

  if (s == NULL)
    return;
  free (s->sectors);
  free (s->tail_sector);
  free (s->last_sector);
  free (s->buffer);
  free (s);
  p->format_state = NULL;
}

/*---------------------------------------------------------------------*/

int
f1_measure (blkring_producer *p, const struct iovec *items, size_t nr,
            uint64_t *needed)
{
  const struct ring *ring = &p->h.ring;
  const uint64_t largest = min_u64 (ring->largest_item, p->h.largest_item);
  uint64_t sum = 0;
  size_t i;

  for (i = 0; i < nr; ++i) {
    if (items[i].iov_len > largest)
      return set_error (EMSGSIZE, "an item of %zu bytes needs %" PRIu64
                        " bytes, but the largest item here has %" PRIu64
                        " bytes and the data area %" PRIu64,
                        items[i].iov_len,
                        f1_item_size (min_u64 (items[i].iov_len,
                                               INT64_MAX)),
                        largest, ring->capacity);
    sum += f1_item_size (items[i].iov_len);
    if (sum > ring->capacity)
      return set_error (EMSGSIZE, "a batch of %zu items needs at least %"
                        PRIu64 " bytes, but the data area has %" PRIu64,
                        nr, sum, ring->capacity);
  }
  *needed = sum;
  return 0;
}

static int
grow_buffer (struct producer_state *s, const struct ring *ring,
             uint64_t needed)
{
  uint64_t size = SMALLEST_BUFFER;
  unsigned char *buffer;

  needed = min_u64 (needed, LARGEST_BUFFER);
  if (needed <= s->buffer_size)
    return 0;
  while (size < needed)
    size *= 2;
  buffer = device_buffer (ring->device, size);
  if (buffer == NULL)
    return -1;
  free (s->buffer);
  s->buffer = buffer;
  s->buffer_size = size;
  return 0;
}

/* Have at hand what stands in the two sectors that are not filled: the
 * tail's, and the one that the items end in. */
static int
load_sectors (struct writer *w, uint64_t end)
{
  struct producer_state *s = w->s;
  const struct ring *ring = &w->p->h.ring;
  const uint32_t size = ring->sector_size;

  if (!s->tail_known && w->p->tail != w->first) {
    if (ring_read (ring, s->tail_sector, w->first,
                        w->first + size) == -1)
      return -1;
    s->tail_known = true;
  }
  if (end == w->last)
    return 0;
  /* The same sector: what stands behind the end is enough. */
  if (s->tail_known && w->last == w->first) {
    memcpy (s->last_sector + (end - w->last),
            s->tail_sector + (end - w->last), size - (end - w->last));
    return 0;
  }
  /* All around the ring, and in it again. */
  if (s->tail_known && w->last == w->first + ring->capacity) {
    memcpy (s->last_sector, s->tail_sector, size);
    return 0;
  }
  return ring_read (ring, s->last_sector, w->last, w->last + size);
}

/* Items that go all around the ring end in the sector that they began in:
 * the head of the first is what stands behind the end of the last. */
static void
keep_head (struct writer *w)
{
  const struct ring *ring = &w->p->h.ring;
  const size_t tail = w->p->tail - w->first;

  if (w->start == w->first && w->last == w->first + ring->capacity)
    memcpy (w->s->last_sector + tail, w->s->buffer + tail,
            ring->sector_size - tail);
}

/* Write what is in the buffer, whole sectors.  A single request is made
 * durable by itself, several by a flush. */
static int
write_out (struct writer *w, bool finish)
{
  const struct ring *ring = &w->p->h.ring;
  unsigned char *from = w->s->buffer;
  uint64_t offset, n;

  keep_head (w);
  while (w->fill > 0) {
    offset = ring_offset (ring, w->start);
    n = min_u64 (w->fill, ring->data_offset + ring->capacity - offset);
    if (finish && w->requests == 0 && n == w->fill)
      return handle_write_durable (&w->p->h, from, n, offset);
    if (device_pwrite (ring->device, from, n, offset) == -1)
      return poison (&w->p->h);
    w->requests++;
    w->start += n;
    w->fill -= n;
    from += n;
  }
  return finish ? handle_flush (&w->p->h) : 0;
}

static int
put_bytes (struct writer *w, const void *bytes, size_t n)
{
  const unsigned char *from = bytes;
  size_t part;

  while (n > 0) {
    if (w->fill == w->s->buffer_size && write_out (w, false) == -1)
      return -1;
    part = min_u64 (n, w->s->buffer_size - w->fill);
    memcpy (w->s->buffer + w->fill, from, part);
    w->fill += part;
    from += part;
    n -= part;
  }
  return 0;
}

/* Pad bytes keep what was there in the sectors that are at hand anyway.
 * In a sector that is filled whole, and so is never read, they are 0. */
static int
put_padding (struct writer *w, size_t n)
{
  static const unsigned char zeros[4];
  const uint32_t size = w->p->h.ring.sector_size;
  const uint64_t at = w->start + w->fill;
  const uint64_t sector = round_down (at, size);
  const unsigned char *from = zeros;

  if (n == 0)
    return 0;
  if (sector == w->first && w->s->tail_known)
    from = w->s->tail_sector + (at - sector);
  else if (sector == w->last)
    from = w->s->last_sector + (at - sector);
  return put_bytes (w, from, n);
}

static int
put_items (struct writer *w, const struct iovec *items, size_t nr)
{
  unsigned char header[F1_HEADER];
  size_t i, length;

  for (i = 0; i < nr; ++i) {
    length = items[i].iov_len;
    put_le32 (header, length);
    if (put_bytes (w, header, sizeof header) == -1 ||
        put_bytes (w, items[i].iov_base, length) == -1 ||
        put_padding (w, f1_item_size (length) - F1_HEADER - length) == -1)
      return -1;
  }
  return 0;
}

/* The rest of the sector that the items end in stays as it is: it may be
 * the oldest unread item, or, all around the ring, the head of the item
 * that was just put together.  Keeps a copy of the sector as it will be. */
static int
put_rest (struct writer *w, uint64_t end)
{
  struct producer_state *s = w->s;
  const struct ring *ring = &w->p->h.ring;
  const uint32_t size = ring->sector_size;
  const size_t inside = end - w->last;

  if (inside == 0)
    return 0;
  if (w->last == w->first + ring->capacity)
    keep_head (w);
  if (put_bytes (w, s->last_sector + inside, size - inside) == -1)
    return -1;
  memcpy (s->last_sector, s->buffer + w->fill - size, size);
  return 0;
}

int
f1_write (blkring_producer *p, const struct iovec *items, size_t nr,
          uint64_t needed, bool expose)
{
  struct producer_state *s = p->format_state;
  const struct ring *ring = &p->h.ring;
  const uint32_t size = ring->sector_size;
  struct writer w = { .p = p, .s = s };
  const uint64_t end = p->tail + needed;
  unsigned char *swap;

  w.first = w.start = round_down (p->tail, size);
  w.last = round_down (end, size);
  if (grow_buffer (s, ring, round_up (end, size) - w.first) == -1 ||
      load_sectors (&w, end) == -1)
    return -1;
  if (put_bytes (&w, s->tail_sector, p->tail - w.first) == -1)
    return -1;

  if (put_items (&w, items, nr) == -1 ||
      put_rest (&w, end) == -1 ||
      write_out (&w, true) == -1)
    return -1;

  s->tail_known = end != w.last;
  swap = s->tail_sector;
  s->tail_sector = s->last_sector;
  s->last_sector = swap;
  p->tail = end;
  return expose ? f1_expose (p, end) : 0;
}

/*---------------------------------------------------------------------*/

/* The producer's sector has no other writer than the owner, so it is
 * written from what this handle knows: no lock, no read. */
static int
write_pointer (blkring_producer *p, uint64_t position, bool ack)
{
  struct producer_state *s = p->format_state;
  struct handle *h = &p->h;
  const struct f1_pointer v = { position, ack };

  f1_encode_pointer (s->sectors, h->ring.sector_size, SIDE_PRODUCER, &v,
                     h->queue, h->client);
  device_trace (h->ring.device, BLKRING_TRACE_SET, h->queue, h->client,
                BLKRING_TRACE_PRODUCER, position);
  device_trace (h->ring.device, BLKRING_TRACE_SET, h->queue, h->client,
                BLKRING_TRACE_SUSPEND_ACK, ack);
  if (handle_write_durable (h, s->sectors, h->ring.sector_size,
                            h->ring.sector_size) == -1)
    return -1;
  p->exposed = position;
  p->suspend_ack = ack;
  return 0;
}

int
f1_expose (blkring_producer *p, uint64_t position)
{
  return write_pointer (p, position, p->suspend_ack);
}

/* What is acknowledged was read, and may not be durable yet. */
int
f1_acknowledge (blkring_producer *p, bool suspend)
{
  if (handle_flush (&p->h) == -1)
    return -1;
  return write_pointer (p, p->exposed, suspend);
}
