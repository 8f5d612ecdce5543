/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2, the consumer's side: to own it, to deliver items, to free them,
 * and to ask for a suspend.  How frames are found is in format2-stream.c.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format2-stream.h"
#include "lock.h"

static int
check_owner (blkring_consumer *c)
{
  return f2_check_owner (&c->h.ring, f2_mine (c), "consumer", c->h.takeover);
}

static int
become_owner (blkring_consumer *c)
{
  struct consumer_state *s = c->format_state;
  struct handle *h = &c->h;
  struct f2_record claimed;
  int gone = check_owner (c);

  if (gone == 1) {
    if (f2_flush_record (h, &s->records, f2_kind (c)) == -1)
      return -1;
    gone = check_owner (c);
  }
  if (gone == -1 || (gone ? f2_claim : f2_take_over) (h, &s->records,
                                                      f2_kind (c)) == -1)
    return -1;
  claimed = *f2_mine (c);
  s->last_look = h->clock.now (h->clock.opaque);
  /* Two can claim at the same time. */
  if (f2_read_records (&h->ring, &s->records) == -1 ||
      f2_check_mine (h, &s->records, f2_kind (c), &claimed) == -1)
    return -1;
  s->written = claimed;
  return 0;
}

int
f2_consumer_open (blkring_consumer *c)
{
  const struct ring *ring = &c->h.ring;
  struct consumer_state *s = calloc (1, sizeof *s);

  if (s == NULL)
    return set_errno_error (ENOMEM, "cannot attach");
  c->format_state = s;
  s->w = &s->main;
  s->main.next_read = s->peek.next_read = ring->block_size;
  s->last_look = c->h.clock.now (c->h.clock.opaque);
  if (f2_records_init (&s->records, ring) == -1 ||
      f2_read_records (ring, &s->records) == -1)
    return -1;
  if (!(f2_mine (c)->flags & F2_ENABLED))
    return set_error (EINVAL, "consumer %u is disabled: enable it first",
                      c->index);
  if (!c->observer && become_owner (c) == -1)
    return -1;
  c->position = c->popped = f2_mine (c)->position;
  f2_consumer_adopt (c);
  return 0;
}

void
f2_consumer_close (blkring_consumer *c)
{
  struct consumer_state *s = c->format_state;

  if (s == NULL)
    return;
  if (s->written.epoch != 0 && c->h.poison_errno == 0 &&
      f2_consumer_look (c) == 0) {
    f2_mine (c)->flags |= F2_CLEAN;
    f2_write_record (&c->h.ring, &s->records, f2_kind (c), c->h.flushes);
  }
  f2_records_free (&s->records);
  free (s->main.data);
  free (s->peek.data);
  free (s);
  c->format_state = NULL;
}

/*---------------------------------------------------------------------*/

static uint64_t
item_offset (const struct seen *seen, uint64_t position)
{
  return position == seen->start ? 0 : position - seen->start - F2_HEADER;
}

static const unsigned char *
area (const struct consumer_state *s, const struct seen *seen)
{
  return s->w->data + (seen->start - s->w->start) + F2_HEADER;
}

/* Does an item begin at this position of the frame, which is in the
 * window?  1, 0, -1. */
static int
is_item (struct consumer_state *s, const struct seen *seen, uint64_t position)
{
  uint64_t offset = 0, wanted;
  uint32_t length;

  if (position == seen->start || position == s->boundary)
    return 1;
  if (position <= seen->start + F2_HEADER)
    return 0;
  wanted = item_offset (seen, position);
  while (offset < wanted && offset < seen->frame.length) {
    if (f2_item_length (area (s, seen), &seen->frame, offset, &length) == -1)
      return -1;
    offset += f2_item_size (length);
  }
  return offset == wanted && wanted < seen->frame.length;
}

/* The item at 'position': fills it, and says where the next one is. */
static int
take_item (blkring_consumer *c, const struct seen *seen, uint64_t position,
           struct blkring_item *item)
{
  struct consumer_state *s = c->format_state;
  uint64_t offset = item_offset (seen, position), after;
  uint32_t length;

  if (f2_item_length (area (s, seen), &seen->frame, offset, &length) == -1)
    return -1;
  after = offset + f2_item_size (length);
  item->length = length;
  item->position = position;
  item->next = after == seen->frame.length ? seen->end
    : seen->start + F2_HEADER + after;
  item->data = area (s, seen) + offset + 4;
  if (length > c->h.largest_item)
    return set_error (EMSGSIZE, "item at position %" PRIu64 " has %" PRIu32
                      " bytes, more than the largest item of %" PRIu64
                      " that was set at attach", position, length,
                      c->h.largest_item);
  s->boundary = item->next;
  return 0;
}

ssize_t
f2_read (blkring_consumer *c, uint64_t from, struct blkring_item *items,
         size_t max)
{
  struct consumer_state *s = c->format_state;
  struct seen *seen;
  size_t n = 0;
  int r;

  while (n < max) {
    /* What was handed out must stay where it is. */
    if (n > 0 && from == items[n - 1].next &&
        !(s->nr_seen > 0 && from < s->seen[s->nr_seen - 1].end)) {
      struct f2_frame f;
      uint64_t needed;

      if (!f2_frame_in_window (c, from, s->seen[s->nr_seen - 1].crc, &f,
                               &needed) ||
          !f2_is_visible (s->w, &f, from + needed))
        break;
    }
    r = f2_find_frame (c, from, &seen);
    if (r == -1)
      return n > 0 ? (ssize_t) n : -1;
    if (r == 0)
      break;
    if (c->salvage && from < seen->start)
      from = seen->start;    /* behind what was skipped */
    if (!f2_holds_frame (s->w, seen)) {
      if (n > 0)
        break;
      if (f2_have_frame (c, seen) == -1)
        return -1;
    }
    r = is_item (s, seen, from);
    if (r == 0 && from == c->position)
      set_corrupt (f2_record_offset (f2_kind (c),
                                     s->records.copy[f2_kind (c)]),
                   "the consumer's position %" PRIu64 " is within the frame "
                   "at %" PRIu64 ", where no item starts", from, seen->start);
    else if (r == 0)
      set_error (EINVAL, "no item starts at position %" PRIu64, from);
    if (r != 1 || take_item (c, seen, from, &items[n]) == -1)
      return n > 0 ? (ssize_t) n : -1;
    from = items[n++].next;
  }
  if (n == 0)
    return set_error (EAGAIN, "there is nothing to pop at position %" PRIu64,
                      from);
  return n;
}

int
f2_has_item (blkring_consumer *c, uint64_t at)
{
  struct consumer_state *s = c->format_state;
  struct seen *seen;
  int r;

  s->w = &s->peek;
  r = f2_find_frame (c, at, &seen);
  s->w = &s->main;
  return r;
}

static int
is_boundary (blkring_consumer *c, uint64_t position)
{
  struct consumer_state *s = c->format_state;
  struct seen *seen;
  int r;

  if (position == f2_mine (c)->frame)
    return 1;
  r = f2_find_frame (c, position, &seen);
  if (r <= 0)
    /* The end of the last frame is one. */
    return r == 0 && s->nr_seen > 0 &&
      position == s->seen[s->nr_seen - 1].end ? 1 : r;
  if (f2_have_frame (c, seen) == -1)
    return -1;
  return is_item (s, seen, position);
}

int
f2_is_boundary (blkring_consumer *c, uint64_t position)
{
  struct consumer_state *s = c->format_state;
  int r;

  s->w = &s->peek;
  r = is_boundary (c, position);
  s->w = &s->main;
  return r;
}

/*---------------------------------------------------------------------*/

/* The frame whose last item, or one of whose items, ends at 'position'. */
static int
find_passed (blkring_consumer *c, uint64_t position, struct seen *passed)
{
  struct consumer_state *s = c->format_state;
  struct seen *seen;
  int r;

  if (s->nr_seen > 0 && position == s->seen[s->nr_seen - 1].end) {
    *passed = s->seen[s->nr_seen - 1];
    return 0;
  }
  s->w = &s->peek;
  r = f2_find_frame (c, position - 1, &seen);
  s->w = &s->main;
  /* It was delivered, and now the stream ends before it. */
  if (r == 0)
    return f2_set_late (c, s->nr_seen > 0 ? s->seen[s->nr_seen - 1].end
                        : f2_mine (c)->frame);
  if (r == -1)
    return -1;
  *passed = *seen;
  return 0;
}

/* Published is where a frame ends, and with which chain: one over that place
 * that does not end so came late, and is over the one that did. */
static bool
is_other_than_published (const struct f2_record *p, const struct seen *passed)
{
  return passed->start < p->position && passed->end >= p->position &&
    (passed->end > p->position || passed->crc != p->chain);
}

/* Is what was delivered still there, and not written by a producer that had
 * been replaced by then?  'freed': a newer one may be there by right.  1, 0,
 * -1. */
static int
is_there (blkring_consumer *c, const struct seen *passed, bool freed)
{
  struct consumer_state *s = c->format_state;
  const struct ring *ring = &c->h.ring;
  const struct f2_record *p = &s->records.record[F2_PRODUCER];
  unsigned char *block = device_buffer (ring->device, ring->block_size);
  struct f2_frame f;
  bool same;

  if (block == NULL)
    return -1;
  if (ring_read (ring, block, passed->start,
                 passed->start + ring->block_size) == -1) {
    free (block);
    return -1;
  }
  same = f2_decode_frame (block, ring, passed->start, &f)
    ? f.crc == passed->crc : freed;
  free (block);
  return same && !f2_is_late (p, &passed->frame) &&
    !is_other_than_published (p, passed);
}

/* What is about to be freed. */
static int
check_passed (blkring_consumer *c, const struct seen *passed)
{
  struct consumer_state *s = c->format_state;
  const int r = is_there (c, passed, false);

  if (r != 0)
    return r == 1 ? 0 : -1;
  f2_forget_window (&s->main);
  f2_forget_window (&s->peek);
  s->nr_seen = 0;
  s->boundary = 0;
  c->popped = c->position;
  return f2_set_late (c, passed->start);
}

static bool
goes_without_flushes (const struct f2_records *rs)
{
  unsigned k;

  for (k = 0; k < rs->nr; ++k)
    if (rs->record[k].flags & F2_UNFLUSHED)
      return true;
  return false;
}

/* Rule 3: what is passed may be in a cache alone, unless another frame
 * follows.  Then look, for the flush may take long. */
static int
make_durable (blkring_consumer *c, const struct seen *passed)
{
  struct consumer_state *s = c->format_state;
  const bool spare = f2_is_followed (c, passed);

  if (!spare && handle_flush (&c->h) == -1)
    return -1;
  if (f2_consumer_look (c) == -1)
    return -1;
  if (!spare || !c->h.flushes || !goes_without_flushes (&s->records))
    return 0;
  return handle_flush (&c->h) == -1 ? -1 : f2_consumer_look (c);
}

/* A write that took longer than the poll interval: was a producer that had
 * been replaced meanwhile the one who wrote what is freed now?  Its successor
 * may have begun at that place, or it may have destroyed what is there. */
static int
confirm (blkring_consumer *c, const struct seen *passed, bool freed)
{
  struct consumer_state *s = c->format_state;
  const uint64_t now = c->h.clock.now (c->h.clock.opaque);
  int r;

  if (now - s->last_look < c->h.poll_interval)
    return 0;
  r = f2_consumer_look (c);
  if (r == 0)
    r = is_there (c, passed, freed);
  if (r == 1)
    return 0;
  if (r == 0)
    f2_set_late (c, passed->start);
  else if (errno == ENOTCONN)
    set_in_doubt ();
  return poison (&c->h);
}

static void
forget_freed (struct consumer_state *s, uint64_t frame)
{
  unsigned n = 0;

  while (n < s->nr_seen && s->seen[n].end <= frame)
    n++;
  s->nr_seen -= n;
  memmove (s->seen, s->seen + n, s->nr_seen * sizeof s->seen[0]);
}

int
f2_free_to (blkring_consumer *c, uint64_t position)
{
  struct consumer_state *s = c->format_state;
  struct handle *h = &c->h;
  struct seen passed = { 0 };
  struct f2_record *r = f2_mine (c);

  if (find_passed (c, position, &passed) == -1 ||
      make_durable (c, &passed) == -1 || check_passed (c, &passed) == -1)
    return -1;
  r->position = position;
  r->frame = position == passed.end ? passed.end : passed.start;
  r->chain = position == passed.end ? passed.crc : passed.chain;
  f2_trace (c, BLKRING_TRACE_SET, BLKRING_TRACE_CONSUMER, position);
  if (f2_write_record (&h->ring, &s->records, f2_kind (c), h->flushes) == -1)
    return poison (h);
  s->written = *r;
  c->position = position;
  forget_freed (s, r->frame);
  return confirm (c, &passed, position == passed.end);
}

static int
request_locked (blkring_consumer *c, bool suspend)
{
  struct consumer_state *s = c->format_state;
  struct f2_record *control = &s->records.record[F2_CONTROL];
  struct handle *h = &c->h;

  if (h->ring.read_only)
    return set_error (EROFS, "the ring has features that forbid this version "
                      "to write");
  if (f2_consumer_look (c) == -1)
    return -1;
  if (c->suspend == suspend)
    return 0;
  if (c->suspend != c->suspend_ack)
    return set_error (EAGAIN, "the producer has not acknowledged the %s yet",
                      c->suspend ? "suspend" : "resume");
  if (handle_flush (h) == -1)
    return -1;
  control->suspend++;
  control->flags = suspend ? F2_SUSPEND : 0;
  f2_identify (&control->owner);
  strncpy (control->queue, h->queue, F2_NAME);
  strncpy (control->client, h->client, F2_NAME);
  f2_trace (c, BLKRING_TRACE_SET, BLKRING_TRACE_SUSPEND, suspend);
  if (f2_write_record (&h->ring, &s->records, F2_CONTROL, h->flushes) == -1)
    return poison (h);
  c->suspend = suspend;
  return 0;
}

int
f2_request (blkring_consumer *c, bool suspend)
{
  blkring_device *device = c->h.ring.device;
  int r;

  if (record_lock (device, SIDE_CONSUMER) == -1)
    return -1;
  r = request_locked (c, suspend);
  record_unlock (device, SIDE_CONSUMER);
  return r;
}
