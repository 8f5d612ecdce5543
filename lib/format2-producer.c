/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2, the producer's side.
 *
 * An append is one frame, written once and durably: one write, one flush.
 * A frame is written only after the one before it is durable, so that what
 * follows a frame that is not there is not there either; and no write
 * touches a block that holds anything unread.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format2.h"
#include "lock.h"

#define SMALLEST_BUFFER (UINT64_C (16) << 10)
/* A record is written after so much of the stream at the latest. */
#define RECORD_INTERVAL (UINT64_C (1) << 20)

/* Others can attach and detach while this one does. */
#define ATTACH_TRIES 4

/* Ends of pushes that are remembered: as many as producer.c does. */
#define MAX_STAGED 65536

/* Where a push ended. */
struct staged {
  uint64_t position;
  uint32_t chain;
};

struct producer_state {
  struct f2_records records;
  struct f2_record written;  /* our record, when the side is ours */
  uint32_t chain;            /* at the tail */
  uint32_t exposed_chain;    /* at 'exposed' */
  struct staged *staged;     /* pushed and not exposed, in order */
  size_t nr_staged, alloc_staged;
  unsigned char *buffer;     /* the frame */
  size_t buffer_size;
};

static struct f2_record *
mine (struct producer_state *s)
{
  return &s->records.record[F2_PRODUCER];
}

static void
trace (blkring_producer *p, enum blkring_trace_op op,
       enum blkring_trace_field field, uint64_t value)
{
  device_trace (p->h.ring.device, op, p->h.queue, p->h.client, field, value);
}

/* What the records say about the other side. */
static void
adopt (blkring_producer *p)
{
  struct producer_state *s = p->format_state;
  const struct f2_record *control = &s->records.record[F2_CONTROL];

  p->freed_seen = f2_lowest_frame (&s->records, p->tail);
  p->suspend = control->flags & F2_SUSPEND;
  p->suspend_ack = mine (s)->suspend == control->suspend ? p->suspend
    : !p->suspend;
  trace (p, BLKRING_TRACE_GET, BLKRING_TRACE_CONSUMER, p->freed_seen);
  trace (p, BLKRING_TRACE_GET, BLKRING_TRACE_SUSPEND, p->suspend);
}

int
f2_producer_look (blkring_producer *p)
{
  struct producer_state *s = p->format_state;
  struct handle *h = &p->h;
  /* It may take long, and what it tells is from its beginning. */
  const uint64_t now = h->clock.now (h->clock.opaque);

  if (f2_read_records (&h->ring, &s->records) == -1 ||
      f2_check_mine (h, &s->records, F2_PRODUCER, &s->written) == -1)
    return -1;
  adopt (p);
  if (p->freed_seen < p->freed) {
    set_corrupt (f2_record_offset (F2_CONSUMER, 0), "a consumer's position "
                 "went back from %" PRIu64 " to %" PRIu64, p->freed,
                 p->freed_seen);
    return poison (h);
  }
  if (p->tail - p->freed_seen > h->ring.capacity) {
    set_corrupt (f2_record_offset (F2_CONSUMER, 0), "a consumer's position %"
                 PRIu64 " is too far from the tail at %" PRIu64,
                 p->freed_seen, p->tail);
    return poison (h);
  }
  p->last_look = now;
  return 0;
}

/* A write that took longer than the poll interval may have been overtaken
 * by another producer: look before it counts as done. */
static int
confirm (blkring_producer *p)
{
  const uint64_t now = p->h.clock.now (p->h.clock.opaque);

  return now - p->last_look < p->h.poll_interval ? 0 : f2_producer_look (p);
}

/* Write our record: 'published' and its chain, and what was acknowledged.
 * Durable data stands before it: every frame was durable when written. */
static int
write_record (blkring_producer *p, bool look)
{
  struct producer_state *s = p->format_state;
  struct f2_record *r = mine (s);

  if (look && f2_producer_look (p) == -1)
    return -1;
  r->position = p->exposed;
  r->chain = s->exposed_chain;
  if (!p->h.flushes)
    r->flags |= F2_UNFLUSHED;
  trace (p, BLKRING_TRACE_SET, BLKRING_TRACE_PRODUCER, r->position);
  if (f2_write_record (&p->h.ring, &s->records, F2_PRODUCER, p->h.flushes)
      == -1)
    return poison (&p->h);
  s->written = *r;
  if (confirm (p) == 0)
    return 0;
  /* The record is there, and what it exposes. */
  if (errno == ENOTCONN)
    set_in_doubt ();
  return poison (&p->h);
}

/*---------------------------------------------------------------------*/

/* Take over what the last owner exposed and its record does not tell.  If
 * it did not detach, a failed flush may have left frames in a cache alone,
 * so that they are written again. */
static int
recover (blkring_producer *p, bool rewrite)
{
  struct producer_state *s = p->format_state;
  const struct ring *ring = &p->h.ring;
  const struct f2_record *r = mine (s);
  uint32_t chain;
  uint64_t start = f2_highest_start (&s->records, &chain);
  uint64_t where = 0, offset, n, done, size;
  struct f2_scan scan;
  bool late = false;
  int found;

  if (f2_scan_begin (&scan, ring, start, chain,
                     f2_lowest_frame (&s->records, start) + ring->capacity)
      == -1)
    return -1;
  p->tail = start;
  while ((found = f2_scan_next (&scan)) == 1) {
    late = f2_is_late (r, &scan.frame);
    if (late || !(scan.frame.flags & F2_PUBLISHED))
      break;
    size = scan.at - p->tail;
    for (done = 0; rewrite && done < size; done += n) {
      offset = ring_offset (ring, p->tail + done);
      n = min_u64 (size - done, ring->data_offset + ring->capacity - offset);
      if (device_pwrite (ring->device, scan.bytes + done, n, offset) == -1) {
        found = -1;
        break;
      }
    }
    if (found == -1)
      break;
    p->tail = scan.at;
    chain = scan.chain;
  }
  f2_scan_end (&scan);
  if (found == -1)
    return -1;
  s->chain = s->exposed_chain = chain;
  p->exposed = p->tail;

  /* An owner that detached has said that nothing is here. */
  if (late && scan.frame.flags & F2_PUBLISHED && !(r->flags & F2_CLEAN))
    return set_corrupt (ring_offset (ring, p->tail), "the frame at position %"
                        PRIu64 " (byte %" PRIu64 ") is of a producer that had "
                        "been replaced, and may have destroyed another one "
                        "(repair drops it)", p->tail,
                        ring_offset (ring, p->tail));
  if (f2_check_tail (ring, &s->records, p->tail) == -1)
    return -1;
  found = f2_find_beyond (ring, p->tail, r->frame_epoch, &where);
  if (found == 1)
    return set_corrupt (ring_offset (ring, p->tail), "there is no valid frame"
                        " at position %" PRIu64 " (byte %" PRIu64 "), but one "
                        "that came later at %" PRIu64, p->tail,
                        ring_offset (ring, p->tail), where);
  return found;
}

static int
claim (blkring_producer *p)
{
  struct producer_state *s = p->format_state;
  struct f2_record *r = mine (s);

  r->position = r->since = p->tail;
  r->chain = s->chain;
  r->frame_epoch++;
  if (f2_claim (&p->h, &s->records, F2_PRODUCER) == -1)
    return -1;
  s->written = *r;
  return 0;
}

/* Everything before the claim.  1; 0 when somebody else was here meanwhile,
 * and what was found counts no more; -1.  '*replaces': an owner that may be
 * alive. */
static int
prepare (blkring_producer *p, bool *replaces)
{
  const struct ring *ring = &p->h.ring;
  struct producer_state *s = p->format_state;
  struct f2_record before;
  bool clean;
  int gone;

  if (f2_read_records (ring, &s->records) == -1)
    return -1;
  gone = f2_check_owner (ring, mine (s), "producer", p->h.takeover);
  if (gone == -1)
    return -1;
  *replaces = *replaces || !gone;
  clean = mine (s)->flags & F2_CLEAN;
  if (*replaces && f2_take_over (&p->h, &s->records, F2_PRODUCER) == -1)
    return -1;
  before = *mine (s);
  if (recover (p, !clean) == -1)
    return -1;
  /* Rule 3: what was read may not be durable yet. */
  if (handle_flush (&p->h) == -1 ||
      f2_read_records (ring, &s->records) == -1)
    return -1;
  return f2_same_write (mine (s), &before);
}

/* A frame of the owner that was replaced may have come where we have found
 * the end, and a consumer have freed it before it could see our claim.  Its
 * record is there two poll intervals later, or it looks once more.  1; 0
 * when the stream goes on behind that frame; -1. */
static int
look_back (blkring_producer *p)
{
  struct producer_state *s = p->format_state;
  const struct f2_record claimed = s->written;
  struct handle *h = &p->h;

  s->written.epoch = 0;      /* until we know */
  if (h->clock.sleep (h->clock.opaque, 2 * h->poll_interval) == -1)
    return set_errno_error (errno, "interrupted while taking over");
  if (f2_read_records (&h->ring, &s->records) == -1 ||
      f2_check_mine (h, &s->records, F2_PRODUCER, &claimed) == -1)
    return -1;
  if (f2_find_past (&s->records, p->tail) != 0)
    return 0;
  s->written = claimed;
  return 1;
}

int
f2_producer_open (blkring_producer *p)
{
  struct producer_state *s = calloc (1, sizeof *s);
  bool replaces = false;
  int r, tries;

  if (s == NULL)
    return set_errno_error (ENOMEM, "cannot attach");
  p->format_state = s;
  if (f2_records_init (&s->records, &p->h.ring) == -1)
    return -1;
  for (tries = 0;; ++tries) {
    if (tries > ATTACH_TRIES)
      return set_error (EBUSY, "other producers attach at the same time");
    r = prepare (p, &replaces);
    if (r == 1)
      r = claim (p) == -1 ? -1 : replaces ? look_back (p) : 1;
    if (r == -1)
      return -1;
    if (r == 1)
      break;
  }
  adopt (p);
  p->freed = p->freed_seen;
  trace (p, BLKRING_TRACE_GET, BLKRING_TRACE_PRODUCER, p->tail);
  return 0;
}

void
f2_producer_close (blkring_producer *p)
{
  struct producer_state *s = p->format_state;

  if (s == NULL)
    return;
  /* Say that nothing is under way; if that fails, the next one scans.  An
   * attach that failed in the middle knows nothing to say. */
  if (s->written.epoch != 0 && p->h.poison_errno == 0 &&
      f2_producer_look (p) == 0) {
    mine (s)->flags |= F2_CLEAN;
    write_record (p, false);
  }
  f2_records_free (&s->records);
  free (s->staged);
  free (s->buffer);
  free (s);
  p->format_state = NULL;
}

/*---------------------------------------------------------------------*/

int
f2_measure (blkring_producer *p, const struct iovec *items, size_t nr,
            uint64_t *needed)
{
  const struct ring *ring = &p->h.ring;
  const uint64_t area = ring->largest_frame - F2_HEADER;
  const uint64_t largest = min_u64 (ring->largest_item, p->h.largest_item);
  uint64_t sum = 0;
  size_t i;

  for (i = 0; i < nr; ++i) {
    if (items[i].iov_len > largest)
      return set_error (EMSGSIZE, "an item of %zu bytes needs %" PRIu64
                        " bytes, but the largest item here has %" PRIu64
                        " bytes and a frame %" PRIu64, items[i].iov_len,
                        f2_item_size (min_u64 (items[i].iov_len, INT64_MAX)),
                        largest, ring->largest_frame);
    sum += f2_item_size (items[i].iov_len);
    if (sum > area)
      return set_error (EMSGSIZE, "a batch of %zu items needs at least %"
                        PRIu64 " bytes, but a frame takes %" PRIu64, nr, sum,
                        area);
  }
  *needed = f2_frame_size (ring, sum);
  return 0;
}

static int
make_room (struct producer_state *s, const struct ring *ring, uint64_t needed)
{
  uint64_t size = SMALLEST_BUFFER;
  unsigned char *bigger;
  struct staged *staged;

  while (size < needed)
    size *= 2;
  if (s->buffer_size < needed) {
    bigger = device_buffer (ring->device, size);
    if (bigger == NULL)
      return -1;
    free (s->buffer);
    s->buffer = bigger;
    s->buffer_size = size;
  }
  if (s->nr_staged == MAX_STAGED) {
    s->nr_staged = MAX_STAGED / 2;
    memmove (s->staged, s->staged + MAX_STAGED / 2,
             s->nr_staged * sizeof s->staged[0]);
  }
  if (s->nr_staged < s->alloc_staged)
    return 0;
  staged = realloc (s->staged, 2 * (s->alloc_staged + 8) * sizeof *staged);
  if (staged == NULL)
    return set_errno_error (ENOMEM, "cannot remember the push");
  s->staged = staged;
  s->alloc_staged = 2 * (s->alloc_staged + 8);
  return 0;
}

/* Put the frame together; returns its size. */
static uint64_t
build_frame (blkring_producer *p, const struct iovec *items, size_t nr,
             bool publish, struct f2_frame *frame)
{
  struct producer_state *s = p->format_state;
  unsigned char *to = s->buffer + F2_HEADER;
  uint64_t size;
  size_t i, length, padded;

  for (i = 0; i < nr; ++i) {
    length = items[i].iov_len;
    padded = f2_item_size (length);
    memset (to + padded - 4, 0, 4);
    put_le32 (to, length);
    if (length > 0)
      memcpy (to + 4, items[i].iov_base, length);
    to += padded;
  }
  *frame = (struct f2_frame) {
    .flags = publish ? F2_PUBLISHED : 0,
    .position = p->tail,
    .epoch = mine (s)->frame_epoch,
    .chain = s->chain,
    .items = nr,
    .length = to - s->buffer - F2_HEADER,
    .time = f2_wall_clock (),
  };
  f2_encode_frame (s->buffer, p->h.ring.uuid, frame);
  size = f2_frame_size (&p->h.ring, frame->length);
  memset (to, 0, s->buffer + size - to);
  return size;
}

/* One request, or two around the end of the data area. */
static int
write_frame (blkring_producer *p, uint64_t size)
{
  struct producer_state *s = p->format_state;
  const struct ring *ring = &p->h.ring;
  struct blkring_part parts[2];
  const size_t nr = ring_parts (ring, BLKRING_PART_WRITE, s->buffer, p->tail,
                                p->tail + size, parts);

  return handle_submit (&p->h, parts, nr, true);
}

/* What follows a frame that was written. */
static int
finish_write (blkring_producer *p, uint64_t size, uint32_t crc, bool publish,
              bool expose)
{
  struct producer_state *s = p->format_state;

  if (confirm (p) == -1)
    return -1;
  p->tail += size;
  s->chain = crc;
  if (publish) {
    p->exposed = p->tail;
    s->exposed_chain = s->chain;
    if (p->exposed - mine (s)->position >=
        min_u64 (p->h.ring.capacity / 8, RECORD_INTERVAL))
      return write_record (p, true);
    return 0;
  }
  s->staged[s->nr_staged++] = (struct staged) { p->tail, s->chain };
  return expose ? f2_expose (p, p->tail) : 0;
}

int
f2_write (blkring_producer *p, const struct iovec *items, size_t nr,
          uint64_t needed, bool expose)
{
  struct producer_state *s = p->format_state;
  const bool publish = expose && s->nr_staged == 0;
  struct f2_frame frame;
  uint64_t size;

  if (make_room (s, &p->h.ring, needed) == -1)
    return -1;
  size = build_frame (p, items, nr, publish, &frame);
  if (write_frame (p, size) == -1)
    return -1;
  if (finish_write (p, size, frame.crc, publish, expose) == 0)
    return 0;
  /* The frame is there, and the caller hears of a failure: another one in
   * its place would fork the stream, and one behind it store the items
   * twice. */
  if (errno == ENOTCONN)
    set_in_doubt ();
  return poison (&p->h);
}

int
f2_expose (blkring_producer *p, uint64_t position)
{
  struct producer_state *s = p->format_state;
  size_t n = 0;

  while (n < s->nr_staged && s->staged[n].position < position)
    n++;
  if (n == s->nr_staged || s->staged[n].position != position)
    return set_error (EINVAL, "advance to position %" PRIu64
                      ", which no push returned", position);
  /* The record is written from these, and they are true only then. */
  if (f2_producer_look (p) == -1)
    return -1;
  p->exposed = position;
  s->exposed_chain = s->staged[n].chain;
  s->nr_staged -= n + 1;
  memmove (s->staged, s->staged + n + 1, s->nr_staged * sizeof s->staged[0]);
  return write_record (p, false);
}

/* What is acknowledged was read, and may not be durable yet.  The flush may
 * have looked again, and found something else. */
int
f2_acknowledge (blkring_producer *p)
{
  struct producer_state *s = p->format_state;

  if (handle_flush (&p->h) == -1)
    return -1;
  mine (s)->suspend = s->records.record[F2_CONTROL].suspend;
  trace (p, BLKRING_TRACE_SET, BLKRING_TRACE_SUSPEND_ACK, p->suspend);
  if (write_record (p, false) == -1)
    return -1;
  p->suspend_ack = p->suspend;
  return 0;
}

/* Before the caller hears that the ring is full, for it may wait long. */
int
f2_full (blkring_producer *p)
{
  struct producer_state *s = p->format_state;

  return mine (s)->position == p->exposed ? 0 : write_record (p, false);
}
