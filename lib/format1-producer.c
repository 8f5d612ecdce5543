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
 * Where the device can have several requests in flight, that sector is read
 * beside the write before: around the place where a push of the same size
 * will end.  So a push and its advance wait for two answers and no third.
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
#define AHEAD (UINT64_C (16) << 10)

struct producer_state {
  unsigned char *sectors;    /* to read both pointer sectors */
  unsigned char *pointer;    /* our sector as it is on the device … */
  unsigned char *next;       /* … and as it is to be */
  bool in_doubt;             /* either of them is there */
  unsigned char *tail_sector; /* content of the sector that the tail is in,
                                 as far as the tail */
  bool tail_known;           /* tail_sector is valid */
  unsigned char *last_sector; /* what the sector that the items end in holds
                                 before they are written */
  unsigned char *buffer;
  size_t buffer_size;
  unsigned char *ahead;      /* stream positions ahead_start … ahead_end, as
                                they were before this lap; NULL: nothing is
                                read beside writes */
  uint64_t ahead_start, ahead_end;
  uint64_t ahead_connection; /* on which that was read */
};

/* Items on their way to the device, in parts of the buffer. */
struct writer {
  blkring_producer *p;
  struct producer_state *s;
  uint64_t first;            /* start of the tail's sector */
  uint64_t last;             /* start of the sector that the items end in */
  uint64_t end;              /* of the items */
  uint64_t start;            /* stream position of buffer[0] */
  size_t fill;               /* bytes of the buffer that are used */
  unsigned requests;
};

/* While there was no connection another producer may have come, and gone no
 * farther than we.  Its names and flag differ. */
static bool
is_mine (const blkring_producer *p, uint64_t position)
{
  const struct producer_state *s = p->format_state;

  if (device_connection (p->h.ring.device) == p->h.connection)
    return position == p->exposed;
  return memcmp (s->sectors, s->pointer, F1_CONTENT) == 0 ||
    (s->in_doubt && memcmp (s->sectors, s->next, F1_CONTENT) == 0);
}

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
  if (!is_mine (p, v.producer.position)) {
    set_error (EBUSY, "another producer has written the pointer: it stood at "
               "%" PRIu64 ", and is at %" PRIu64 " now", p->exposed,
               v.producer.position);
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

/* A flush of the last owner may have failed, and have left its pointer in a
 * cache alone, from which no later flush takes it: what is read there would
 * be gone when the power goes.  So it is written again as it is; the flush of
 * attach makes it durable.  The data before it were durable first. */
static int
rewrite (blkring_producer *p)
{
  const struct producer_state *s = p->format_state;
  const uint32_t size = p->h.ring.sector_size;
  struct blkring_part part = write_part (s->pointer, size, size);

  return p->h.flushes ? handle_submit (&p->h, &part, 1, false) : 0;
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
  s->pointer = device_buffer (ring->device, ring->sector_size);
  s->next = device_buffer (ring->device, ring->sector_size);
  s->tail_sector = device_buffer (ring->device, ring->sector_size);
  s->last_sector = device_buffer (ring->device, ring->sector_size);
  if (device_submits (ring->device)) {
    s->ahead = device_buffer (ring->device, AHEAD);
    if (s->ahead == NULL)
      return -1;
  }
  if (s->sectors == NULL || s->pointer == NULL || s->next == NULL ||
      s->tail_sector == NULL || s->last_sector == NULL ||
      f1_read_pointers (ring, s->sectors, &v) == -1)
    return -1;
  device_trace (ring->device, BLKRING_TRACE_GET, p->h.queue, p->h.client,
                BLKRING_TRACE_PRODUCER, v.producer.position);
  device_trace (ring->device, BLKRING_TRACE_GET, p->h.queue, p->h.client,
                BLKRING_TRACE_SUSPEND_ACK, v.producer.flag);
  memcpy (s->pointer, s->sectors, ring->sector_size);
  p->tail = p->exposed = v.producer.position;
  p->freed = p->freed_seen = v.consumer.position;
  p->suspend = v.consumer.flag;
  p->suspend_ack = v.producer.flag;
  return rewrite (p);
}

void
f1_producer_close (blkring_producer *p)
{
  struct producer_state *s = p->format_state;

  if (s == NULL)
    return;
  free (s->sectors);
  free (s->pointer);
  free (s->next);
  free (s->tail_sector);
  free (s->last_sector);
  free (s->buffer);
  free (s->ahead);
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

static bool
has_ahead (const struct producer_state *s, uint64_t start, uint64_t end,
           uint64_t connection)
{
  return start >= s->ahead_start && end <= s->ahead_end &&
    connection == s->ahead_connection;
}

/* Have at hand what stands in the two sectors that are not filled: the
 * tail's, and the one that the items end in. */
static int
load_sectors (struct writer *w)
{
  struct producer_state *s = w->s;
  const struct ring *ring = &w->p->h.ring;
  const uint32_t size = ring->sector_size;
  const uint64_t end = w->end;

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
  if (has_ahead (s, w->last, w->last + size,
                 device_connection (ring->device))) {
    memcpy (s->last_sector, s->ahead + (w->last - s->ahead_start), size);
    return 0;
  }
  return ring_read (ring, s->last_sector, w->last, w->last + size);
}

/* The parts that read ahead, if that is of use: their number.  Small items
 * want what follows, and large ones the place where one of the last size
 * would end.  Nobody else writes there, and this write ends before. */
static size_t
plan_ahead (struct writer *w, struct blkring_part *parts, uint64_t *start,
            uint64_t *end)
{
  struct producer_state *s = w->s;
  const struct ring *ring = &w->p->h.ring;
  const uint32_t size = ring->sector_size;
  const uint64_t limit = w->first + ring->capacity;
  const uint64_t next = w->end + (w->end - w->p->tail);
  uint64_t from = round_up (w->end, size), to = from + AHEAD / 2;

  *start = from;
  if (next >= to) {
    from = round_down (next, size);
    to = from + size;
    *start = max_u64 (*start, from - AHEAD / 2);
  }
  *end = min_u64 (*start + AHEAD, limit);
  if (s->ahead == NULL || from >= limit ||
      has_ahead (s, from, min_u64 (to, limit), w->p->h.connection))
    return 0;
  return ring_parts (ring, BLKRING_PART_READ, s->ahead, *start, *end, parts);
}

/* Write the end of the items, durably, and read ahead beside it. */
static int
write_end (struct writer *w, struct blkring_part *parts, size_t nr)
{
  struct producer_state *s = w->s;
  uint64_t start = 0, end = 0;
  const size_t reads = plan_ahead (w, parts + nr, &start, &end);
  size_t i;

  if (reads > 0)
    s->ahead_start = s->ahead_end = 0;
  if (handle_submit (&w->p->h, parts, nr + reads, true) == -1)
    return -1;
  for (i = nr; i < nr + reads; ++i)
    if (parts[i].error != 0)
      return 0;
  if (reads > 0) {
    s->ahead_start = start;
    s->ahead_end = end;
    s->ahead_connection = w->p->h.connection;
  }
  return 0;
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

/* Write what is in the buffer, whole sectors.  On a device that has its
 * requests in flight together all of them are durable: what was written on a
 * connection that was lost since could not be written again.  Elsewhere a
 * single request is made durable by itself, and several by a flush. */
static int
write_out (struct writer *w, bool finish)
{
  const struct ring *ring = &w->p->h.ring;
  struct handle *h = &w->p->h;
  const bool each = device_submits (ring->device);
  /* All around the ring the first sector comes again as the last, with the
   * whole of its content. */
  const uint64_t skip = w->fill > ring->capacity ? ring->sector_size : 0;
  struct blkring_part parts[4];
  size_t nr;
  bool all;

  keep_head (w);
  nr = ring_parts (ring, BLKRING_PART_WRITE, w->s->buffer + skip,
                   w->start + skip, w->start + w->fill, parts);
  all = nr > 0 && w->requests == 0;
  w->start += w->fill;
  w->fill = 0;
  w->requests += nr;
  if (finish && all)
    return write_end (w, parts, nr);
  if (nr > 0 && handle_submit (h, parts, nr, each) == -1)
    return -1;
  return finish && !each ? handle_flush (h) : 0;
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
  w.end = end;
  if (grow_buffer (s, ring, round_up (end, size) - w.first) == -1 ||
      load_sectors (&w) == -1)
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
  unsigned char *swap;
  int r;

  f1_encode_pointer (s->next, h->ring.sector_size, SIDE_PRODUCER, &v,
                     h->queue, h->client);
  device_trace (h->ring.device, BLKRING_TRACE_SET, h->queue, h->client,
                BLKRING_TRACE_PRODUCER, position);
  device_trace (h->ring.device, BLKRING_TRACE_SET, h->queue, h->client,
                BLKRING_TRACE_SUSPEND_ACK, ack);
  s->in_doubt = true;
  r = handle_write_durable (h, s->next, h->ring.sector_size,
                            h->ring.sector_size);
  s->in_doubt = false;
  if (r == -1)
    return -1;
  swap = s->pointer;
  s->pointer = s->next;
  s->next = swap;
  p->exposed = position;
  p->suspend_ack = ack;
  return 0;
}

int
f1_expose (blkring_producer *p, uint64_t position)
{
  return write_pointer (p, position, p->suspend_ack);
}

/* What is acknowledged was read, and may not be durable yet.  The flush may
 * have looked again, and found something else. */
int
f1_acknowledge (blkring_producer *p)
{
  if (handle_flush (&p->h) == -1)
    return -1;
  return write_pointer (p, p->exposed, p->suspend);
}
