/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2: where a consumer is, and what comes next.
 *
 * The consumer reads at its own position: the bytes there say whether there
 * is an item.  Reading goes through one window of the stream.  It begins
 * with one block at the tail, and doubles while frames follow, so that an
 * idle consumer reads a block a look and a busy one many frames a read.
 * What the window holds beyond the frames found in it may be from before
 * they were written, so that a place without a frame is always read anew
 * before it counts as empty.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format2-stream.h"

#define LARGEST_READ (UINT64_C (256) << 10)
#define PATIENCE 4

void
f2_forget_window (struct window *w)
{
  w->start = w->end = w->verified = 0;
}

void
f2_consumer_adopt (blkring_consumer *c)
{
  struct consumer_state *s = c->format_state;
  const struct f2_record *p = &s->records.record[F2_PRODUCER];
  const struct f2_record *control = &s->records.record[F2_CONTROL];

  s->published = p->position;
  c->limit = max_u64 (p->position, c->popped);
  c->suspend = control->flags & F2_SUSPEND;
  c->suspend_ack = p->suspend == control->suspend ? c->suspend : !c->suspend;
  if (c->observer && f2_mine (c)->position != c->position) {
    c->position = f2_mine (c)->position;
    if (c->popped < c->position)
      c->popped = c->position;
    if (s->nr_seen > 0 && s->seen[0].start < f2_mine (c)->frame)
      s->nr_seen = 0;
  }
  f2_trace (c, BLKRING_TRACE_GET, BLKRING_TRACE_PRODUCER, s->published);
  f2_trace (c, BLKRING_TRACE_GET, BLKRING_TRACE_SUSPEND_ACK, c->suspend_ack);
  f2_trace (c, BLKRING_TRACE_GET, BLKRING_TRACE_CONSUMER, c->position);
  f2_trace (c, BLKRING_TRACE_GET, BLKRING_TRACE_SUSPEND, c->suspend);
}

int
f2_consumer_look (blkring_consumer *c)
{
  struct consumer_state *s = c->format_state;
  /* It may take long, and what it tells is from its beginning. */
  const uint64_t now = c->h.clock.now (c->h.clock.opaque);

  if (f2_read_records (&c->h.ring, &s->records) == -1)
    return -1;
  if (!c->observer &&
      f2_check_mine (&c->h, &s->records, f2_kind (c), &s->written) == -1)
    return -1;
  s->last_look = now;
  f2_consumer_adopt (c);
  return 0;
}

/*---------------------------------------------------------------------*/

/* Read the window anew from 'at'. */
static int
fill_window (blkring_consumer *c, uint64_t at, uint64_t size)
{
  struct consumer_state *s = c->format_state;
  const struct ring *ring = &c->h.ring;
  struct window *w = s->w;
  unsigned char *data;

  size = min_u64 (size, ring->capacity);
  if (w->size < size) {
    data = device_buffer (ring->device, size);
    if (data == NULL)
      return -1;
    free (w->data);
    w->data = data;
    w->size = size;
  }
  f2_forget_window (w);
  w->final = s->published;
  if (ring_read (ring, w->data, at, at + size) == -1)
    return -1;
  w->start = w->verified = at;
  w->end = w->read_end = at + size;
  return 0;
}

int
f2_frame_in_window (blkring_consumer *c, uint64_t at, uint32_t chain,
                    struct f2_frame *f, uint64_t *needed)
{
  struct window *w = ((struct consumer_state *) c->format_state)->w;
  const struct ring *ring = &c->h.ring;
  const unsigned char *p;

  *needed = ring->block_size;
  if (at < w->start || at >= w->end || w->end - at < *needed)
    return 0;
  p = w->data + (at - w->start);
  if (!f2_decode_frame (p, ring, at, f) || !f2_continues (f, chain))
    return 0;
  *needed = f2_frame_size (ring, f->length);
  if (w->end - at < *needed)
    return 0;
  if (at < w->verified)
    return 1;
  if (!f2_area_is_valid (p, ring, f))
    return 0;
  w->verified = at + *needed;
  return 1;
}

/* The window is empty. */
static int
read_frame (blkring_consumer *c, uint64_t at, uint32_t chain,
            struct f2_frame *f)
{
  struct consumer_state *s = c->format_state;
  struct window *w = s->w;
  const uint64_t last_end = w->read_end;
  const uint64_t b = c->h.ring.block_size;
  uint64_t needed = b, ahead;
  int tries;

  /* Once for the header, and once more for the whole. */
  for (tries = 0; tries < 2; ++tries) {
    ahead = w->next_read;
    if (s->published > at)
      ahead = max_u64 (ahead, min_u64 (s->published - at, LARGEST_READ));
    if (tries == 1 && needed <= w->end - w->start)
      break;
    /* More than a look at the end: with the header that may follow. */
    if (max_u64 (ahead, needed) > b)
      ahead = max_u64 (ahead, needed) + b;
    if (fill_window (c, at, ahead) == -1)
      return -1;
    if (f2_frame_in_window (c, at, chain, f, &needed)) {
      /* More, if all that was read last was used: else this consumer goes
       * in step with the producer.  A frame like this one at least. */
      w->next_read = at + needed > last_end
        ? min_u64 (2 * w->next_read, max_u64 (LARGEST_READ, needed + b)) : b;
      return 1;
    }
  }
  w->next_read = b;
  return 0;
}

static int
corrupt_at (blkring_consumer *c, uint64_t at, uint64_t published)
{
  const struct ring *ring = &c->h.ring;

  return set_corrupt (ring_offset (ring, at), "there is no valid frame at "
                      "position %" PRIu64 " (byte %" PRIu64 "), though the "
                      "producer published up to %" PRIu64, at,
                      ring_offset (ring, at), published);
}

int
f2_set_late (blkring_consumer *c, uint64_t at)
{
  const struct ring *ring = &c->h.ring;

  return set_corrupt (ring_offset (ring, at), "the frame at position %" PRIu64
                      " (byte %" PRIu64 ") that was delivered is not there "
                      "any more, or was written by a producer that had been "
                      "replaced: its items are lost", at,
                      ring_offset (ring, at));
}

/* Some times the ring, and some times what was read of it since. */
static uint64_t
patience (struct consumer_state *s, const struct ring *ring, uint64_t at)
{
  uint64_t most;

  if (s->wasted == 0)
    s->wasted_since = at;
  most = PATIENCE * (ring->capacity + max_u64 (at, s->wasted_since) -
                     s->wasted_since);
  return s->wasted < most ? most - s->wasted : 0;
}

/* Salvage: 'at' and 'chain' of what is valid behind the damage. */
static int
skip_damage (blkring_consumer *c, uint64_t *at, uint32_t *chain)
{
  struct consumer_state *s = c->format_state;
  const struct f2_record *p = &s->records.record[F2_PRODUCER];
  const uint64_t from = *at;
  const uint64_t end = max_u64 (s->published, from + min_u64
                                (c->h.ring.largest_frame, c->h.ring.capacity));
  struct f2_scan scan;
  char why[512];
  const uint64_t left = patience (s, &c->h.ring, from);
  int r;

  snprintf (why, sizeof why, "%s", blkring_get_error ());
  if (f2_scan_begin (&scan, &c->h.ring, from, 0, UINT64_MAX) == -1)
    return -1;
  scan.patience = left;
  r = f2_scan_resync (&scan, from + c->h.ring.block_size, end);
  s->wasted += left - scan.patience;
  if (r == 1 && (scan.frame.flags & F2_PUBLISHED || scan.at < s->published)) {
    *at = scan.at;
    *chain = scan.chain;
  }
  else if (r != -1) {
    *at = s->published;
    *chain = p->chain;
    r = s->published > from;
  }
  f2_scan_end (&scan);
  if (r == 1) {
    if (from != s->skip_to)
      s->skip_from = from;
    s->skip_to = *at;
    s->skip_chain = *chain;
    device_log (c->h.ring.device, BLKRING_LOG_ERROR, "skipped from position %"
                PRIu64 " to %" PRIu64 ": %s", from, *at, why);
    if (c->skipped)
      c->skipped (c->skipped_opaque, from, *at, why);
  }
  return r;
}

bool
f2_is_visible (const struct window *w, const struct f2_frame *f, uint64_t end)
{
  return f->flags & F2_PUBLISHED || end <= w->final;
}

/* Read a frame anew, and see whether it is visible. */
static int
read_visible (blkring_consumer *c, uint64_t at, uint32_t chain,
              struct f2_frame *f, bool *valid)
{
  struct consumer_state *s = c->format_state;
  int r;

  f2_forget_window (s->w);
  r = read_frame (c, at, chain, f);
  if (r == -1)
    return -1;
  *valid = r == 1;
  return r == 1 &&
    f2_is_visible (s->w, f, at + f2_frame_size (&c->h.ring, f->length));
}

/* Frames are durable in order: one that came later tells that what should
 * be here is damaged, and that this is not the end.  The producer's record
 * tells so too, but later: this is looked for once, at the first tail. */
static int
check_tail (blkring_consumer *c, uint64_t at, uint32_t chain,
            struct f2_frame *f)
{
  struct consumer_state *s = c->format_state;
  const struct ring *ring = &c->h.ring;
  uint64_t where;
  bool valid;
  int r;

  if (s->tail_checked)
    return 0;
  r = f2_find_beyond (ring, at, s->records.record[F2_PRODUCER].frame_epoch,
                      &where);
  s->tail_checked = r == 0;
  if (r != 1)
    return r;
  /* It may have been written only now. */
  r = read_visible (c, at, chain, f, &valid);
  if (r != 0 || valid)
    return r;
  return set_corrupt (ring_offset (ring, at), "there is no valid frame at "
                      "position %" PRIu64 " (byte %" PRIu64 "), but one that "
                      "came later at %" PRIu64, at, ring_offset (ring, at),
                      where);
}

/* The visible frame at 'at': 1; 0 when the stream ends here; -1. */
static int
visible_frame (blkring_consumer *c, uint64_t at, uint32_t chain,
               struct f2_frame *f)
{
  struct consumer_state *s = c->format_state;
  const uint64_t now = c->h.clock.now (c->h.clock.opaque);
  uint64_t needed;
  bool valid;
  int r;

  if (f2_frame_in_window (c, at, chain, f, &needed) &&
      f2_is_visible (s->w, f, at + needed))
    return 1;
  r = read_visible (c, at, chain, f, &valid);
  if (r != 0)
    return r;
  /* Staged, or not there: what does the producer say? */
  if (!valid && s->tail_checked && s->published <= at &&
      now - s->last_look < c->h.poll_interval)
    return 0;
  if (f2_consumer_look (c) == -1)
    return -1;
  if (s->published <= at)
    return valid ? 0 : check_tail (c, at, chain, f);
  r = read_visible (c, at, chain, f, &valid);
  /* A staged one that reaches behind 'published' is over one that ended
   * there. */
  if (r == 0)
    return corrupt_at (c, at, s->published);
  return r;
}

/* A producer begins a frame when the one before it is durable, with all
 * before that; and one that is exposed when the one before it is exposed,
 * or 'published' that passes it is durable. */
static bool
follows (const struct f2_frame *f, const struct seen *seen)
{
  return f->position == seen->end && f2_continues (f, seen->crc) &&
    (f->flags | seen->frame.flags) & F2_PUBLISHED;
}

bool
f2_is_followed (blkring_consumer *c, const struct seen *seen)
{
  struct consumer_state *s = c->format_state;
  const struct window *w = &s->main;
  struct f2_frame f;

  if (seen->followed)
    return true;
  /* Its header alone: it may be under way. */
  return seen->end >= w->start && seen->end < w->end &&
    f2_decode_frame (w->data + (seen->end - w->start), &c->h.ring, seen->end,
                     &f) && follows (&f, seen);
}

static void
remember (struct consumer_state *s, const struct f2_frame *f, uint64_t size)
{
  if (s->nr_seen > 0 && follows (f, &s->seen[s->nr_seen - 1]))
    s->seen[s->nr_seen - 1].followed = true;
  if (s->nr_seen == REMEMBERED) {
    s->nr_seen = REMEMBERED / 2;
    memmove (s->seen, s->seen + REMEMBERED / 2,
             s->nr_seen * sizeof s->seen[0]);
  }
  s->seen[s->nr_seen++] = (struct seen) {
    .start = f->position, .end = f->position + size, .epoch = f->epoch,
    .chain = f->chain, .crc = f->crc, .frame = *f,
  };
}

/* Is there no frame that could ever be freed, in spite of what
 * visible_frame () said, which is 'r'? */
static bool
is_lost (blkring_consumer *c, int r, const struct f2_frame *f)
{
  struct consumer_state *s = c->format_state;

  if (r == 1 && f2_is_late (&s->records.record[F2_PRODUCER], f)) {
    f2_set_late (c, f->position);
    return true;
  }
  return r == -1 && errno == EBADMSG;
}

/* No frame can reach into what the consumer has not freed.  An observer may
 * not know yet that the owner went on.  1; -1. */
static int
check_bounds (blkring_consumer *c, const struct f2_frame *f)
{
  const struct ring *ring = &c->h.ring;
  const uint64_t end = f->position + f2_frame_size (ring, f->length);

  if (end - f2_mine (c)->frame <= ring->capacity)
    return 1;
  if (f2_consumer_look (c) == -1)
    return -1;
  if (end - f2_mine (c)->frame <= ring->capacity)
    return 1;
  /* It may be overwritten, before it can be right. */
  f2_forget_window (((struct consumer_state *) c->format_state)->w);
  return set_corrupt (ring_offset (ring, f->position), "the frame at position "
                      "%" PRIu64 " (byte %" PRIu64 ") ends at %" PRIu64
                      ", over what the consumer has not freed, from %" PRIu64,
                      f->position, ring_offset (ring, f->position), end,
                      f2_mine (c)->frame);
}

/* The frame that is to be delivered next. */
static int
next_frame (blkring_consumer *c, uint64_t at, uint32_t chain,
            struct f2_frame *f)
{
  const int r = visible_frame (c, at, chain, f);

  return r == 1 ? check_bounds (c, f) : r;
}

int
f2_find_frame (blkring_consumer *c, uint64_t position, struct seen **found)
{
  struct consumer_state *s = c->format_state;
  struct f2_frame f;
  uint64_t at;
  uint32_t chain;
  unsigned low, high, middle;
  int r;

  if (s->nr_seen > 0 && position < s->seen[0].start)
    s->nr_seen = 0;
  for (;;) {
    if (s->nr_seen > 0 && position < s->seen[s->nr_seen - 1].end)
      break;
    at = s->nr_seen ? s->seen[s->nr_seen - 1].end : f2_mine (c)->frame;
    chain = s->nr_seen ? s->seen[s->nr_seen - 1].crc : f2_mine (c)->chain;
    if (s->skip_to > at && s->skip_from == at) {
      at = s->skip_to;
      chain = s->skip_chain;
    }
    r = next_frame (c, at, chain, &f);
    while (c->salvage && is_lost (c, r, &f)) {
      r = skip_damage (c, &at, &chain);
      if (r == 1)
        r = next_frame (c, at, chain, &f);
    }
    if (r <= 0)
      return r;
    remember (s, &f, f2_frame_size (&c->h.ring, f.length));
  }
  for (low = 0, high = s->nr_seen - 1; low < high;) {
    middle = low + (high - low) / 2;
    if (position < s->seen[middle].end)
      high = middle;
    else
      low = middle + 1;
  }
  *found = &s->seen[low];
  return 1;
}

bool
f2_holds_frame (const struct window *w, const struct seen *seen)
{
  return seen->start >= w->start && seen->end <= w->verified &&
    get_le32 (w->data + (seen->start - w->start) + F2_HEADER - 4)
    == seen->crc;
}

int
f2_have_frame (blkring_consumer *c, const struct seen *seen)
{
  struct window *w = ((struct consumer_state *) c->format_state)->w;
  struct f2_frame f;
  int r;

  if (f2_holds_frame (w, seen))
    return 0;
  f2_forget_window (w);
  r = read_frame (c, seen->start, seen->chain, &f);
  if (r == 0 || (r == 1 && f.crc != seen->crc))
    return set_corrupt (ring_offset (&c->h.ring, seen->start), "the frame at "
                        "position %" PRIu64 " (byte %" PRIu64 ") was valid, "
                        "and is not any more", seen->start,
                        ring_offset (&c->h.ring, seen->start));
  return r == 1 ? 0 : -1;
}
