/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2, the consumer's side.
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
#include "format2.h"
#include "lock.h"

#define LARGEST_READ (UINT64_C (256) << 10)
/* Frames that are remembered between the oldest item and the last one that
 * was popped; those behind are found again by walking. */
#define REMEMBERED 1024

/* A frame that was read and found valid. */
struct seen {
  uint64_t start, end;
  uint64_t epoch;
  uint32_t chain, crc;
  struct f2_frame frame;
};

/* A part of the stream, in memory. */
struct window {
  unsigned char *data;       /* stream positions start … end */
  size_t size;
  uint64_t start, end;
  uint64_t verified;         /* frames that lie in start … here are valid */
  uint64_t final;            /* 'published' as it was before the window was
                                read: a staged frame behind it may have been
                                dropped and written anew since */
  uint64_t next_read;        /* bytes to read ahead */
  uint64_t read_end;         /* of the stream, where the last read ended */
};

struct consumer_state {
  struct f2_records records;
  struct f2_record written;  /* our record, when the side is ours */
  uint64_t published;        /* as last read */
  uint64_t last_look;        /* ns, at the records */
  struct window main;        /* what pop hands out lies in it */
  struct window peek;        /* for everything else */
  struct window *w;          /* the one in use */
  struct seen seen[REMEMBERED];
  unsigned nr_seen;          /* adjoining frames, in order */
  uint64_t boundary;         /* an item is known to begin here */
  bool tail_checked;         /* nothing came behind the first tail we saw */
  uint64_t skip_from, skip_to; /* salvage: what was left out last … */
  uint32_t skip_chain;       /* … and the chain behind it */
};

static unsigned
kind (const blkring_consumer *c)
{
  return F2_CONSUMER + c->index;
}

static struct f2_record *
mine (blkring_consumer *c)
{
  struct consumer_state *s = c->format_state;

  return &s->records.record[kind (c)];
}

static void
trace (blkring_consumer *c, enum blkring_trace_op op,
       enum blkring_trace_field field, uint64_t value)
{
  device_trace (c->h.ring.device, op, c->h.queue, c->h.client, field, value);
}

static void
forget_window (struct window *w)
{
  w->start = w->end = w->verified = 0;
}

static void
adopt (blkring_consumer *c)
{
  struct consumer_state *s = c->format_state;
  const struct f2_record *p = &s->records.record[F2_PRODUCER];
  const struct f2_record *control = &s->records.record[F2_CONTROL];

  s->published = p->position;
  s->last_look = c->h.clock.now (c->h.clock.opaque);
  c->limit = max_u64 (p->position, c->popped);
  c->suspend = control->flags & F2_SUSPEND;
  c->suspend_ack = p->suspend == control->suspend ? c->suspend : !c->suspend;
  if (c->observer && mine (c)->position != c->position) {
    c->position = mine (c)->position;
    if (c->popped < c->position)
      c->popped = c->position;
    if (s->nr_seen > 0 && s->seen[0].start < mine (c)->frame)
      s->nr_seen = 0;
  }
  trace (c, BLKRING_TRACE_GET, BLKRING_TRACE_PRODUCER, s->published);
  trace (c, BLKRING_TRACE_GET, BLKRING_TRACE_SUSPEND_ACK, c->suspend_ack);
  trace (c, BLKRING_TRACE_GET, BLKRING_TRACE_CONSUMER, c->position);
  trace (c, BLKRING_TRACE_GET, BLKRING_TRACE_SUSPEND, c->suspend);
}

int
f2_consumer_look (blkring_consumer *c)
{
  struct consumer_state *s = c->format_state;

  if (f2_read_records (&c->h.ring, &s->records) == -1)
    return -1;
  if (!c->observer &&
      f2_check_mine (&c->h, &s->records, kind (c), &s->written) == -1)
    return -1;
  adopt (c);
  return 0;
}

static int
become_owner (blkring_consumer *c)
{
  struct consumer_state *s = c->format_state;
  struct handle *h = &c->h;
  const bool shared = h->ring.device->geometry.flags & BLKRING_DEVICE_SHARED;
  struct f2_record claimed;
  bool free_to_take;

  /* The flush may take long, and its owner go on meanwhile. */
  if (f2_check_owner (mine (c), "consumer", shared, h->takeover) == -1 ||
      handle_flush (h) == -1 ||
      f2_read_records (&h->ring, &s->records) == -1 ||
      f2_check_owner (mine (c), "consumer", shared, h->takeover) == -1)
    return -1;
  free_to_take = mine (c)->flags & F2_CLEAN ||
    f2_is_dead (&mine (c)->owner, shared);
  if (f2_claim (h, &s->records, kind (c)) == -1)
    return -1;
  claimed = *mine (c);
  /* A live owner must notice before anything is built on its position. */
  if (!free_to_take &&
      h->clock.sleep (h->clock.opaque, 2 * h->poll_interval) == -1)
    return set_errno_error (errno, "interrupted while taking over");
  /* Two can claim at the same time. */
  if (f2_read_records (&h->ring, &s->records) == -1 ||
      f2_check_mine (h, &s->records, kind (c), &claimed) == -1)
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
  if (f2_records_init (&s->records, ring) == -1 ||
      f2_read_records (ring, &s->records) == -1)
    return -1;
  if (!c->observer && become_owner (c) == -1)
    return -1;
  c->position = c->popped = mine (c)->position;
  adopt (c);
  return 0;
}

void
f2_consumer_close (blkring_consumer *c)
{
  struct consumer_state *s = c->format_state;

  if (s == NULL)
    return;
  if (s->written.epoch != 0 && c->h.poison_errno == 0 && f2_consumer_look (c) == 0) {
    mine (c)->flags |= F2_CLEAN;
    f2_write_record (&c->h.ring, &s->records, kind (c), c->h.flushes);
  }
  f2_records_free (&s->records);
  free (s->main.data);
  free (s->peek.data);
  free (s);
  c->format_state = NULL;
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
  forget_window (w);
  w->final = s->published;
  if (ring_read (ring, w->data, at, at + size) == -1)
    return -1;
  w->start = w->verified = at;
  w->end = w->read_end = at + size;
  return 0;
}

/* The frame at 'at' as the window has it: 1; 0 if there is none, or not
 * all of it and *needed says how much it takes. */
static int
frame_in_window (blkring_consumer *c, uint64_t at, uint32_t chain,
                 struct f2_frame *f, uint64_t *needed)
{
  struct window *w = ((struct consumer_state *) c->format_state)->w;
  const struct ring *ring = &c->h.ring;
  const unsigned char *p;

  *needed = ring->block_size;
  if (at < w->start || at >= w->end || w->end - at < *needed)
    return 0;
  p = w->data + (at - w->start);
  if (!f2_decode_frame (p, ring, at, f) || f->chain != chain)
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

static int
read_frame (blkring_consumer *c, uint64_t at, uint32_t chain,
            struct f2_frame *f)
{
  struct consumer_state *s = c->format_state;
  struct window *w = s->w;
  const uint64_t last_end = w->read_end;
  uint64_t needed, ahead;
  int tries;

  if (frame_in_window (c, at, chain, f, &needed))
    return 1;
  /* Once for the header, and once more for the whole. */
  for (tries = 0; tries < 2; ++tries) {
    ahead = w->next_read;
    if (s->published > at)
      ahead = max_u64 (ahead, min_u64 (s->published - at, LARGEST_READ));
    if (tries == 1 && needed <= w->end - w->start)
      break;
    if (fill_window (c, at, max_u64 (ahead, needed)) == -1)
      return -1;
    if (frame_in_window (c, at, chain, f, &needed)) {
      /* More, if all that was read last was used: else this consumer goes
       * in step with the producer. */
      w->next_read = at + needed > last_end
        ? min_u64 (2 * w->next_read, LARGEST_READ) : c->h.ring.block_size;
      return 1;
    }
  }
  w->next_read = c->h.ring.block_size;
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

static int
set_late (blkring_consumer *c, uint64_t at)
{
  const struct ring *ring = &c->h.ring;

  return set_corrupt (ring_offset (ring, at), "the frame at position %" PRIu64
                      " (byte %" PRIu64 ") that was delivered is not there "
                      "any more, or was written by a producer that had been "
                      "replaced: its items are lost", at,
                      ring_offset (ring, at));
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
  int r;

  snprintf (why, sizeof why, "%s", blkring_get_error ());
  if (f2_scan_begin (&scan, &c->h.ring, from, 0, UINT64_MAX) == -1)
    return -1;
  r = f2_scan_resync (&scan, from + c->h.ring.block_size, end);
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

static bool
is_visible (const struct window *w, const struct f2_frame *f, uint64_t end)
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

  forget_window (s->w);
  r = read_frame (c, at, chain, f);
  if (r == -1)
    return -1;
  *valid = r == 1;
  return r == 1 &&
    is_visible (s->w, f, at + f2_frame_size (&c->h.ring, f->length));
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
  s->tail_checked = true;
  r = f2_find_beyond (ring, at, s->records.record[F2_PRODUCER].frame_epoch,
                      &where);
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

  if (frame_in_window (c, at, chain, f, &needed) &&
      is_visible (s->w, f, at + needed))
    return 1;
  r = read_visible (c, at, chain, f, &valid);
  if (r != 0)
    return r;
  /* Staged, or not there: what does the producer say? */
  if (!valid && s->published <= at &&
      now - s->last_look < c->h.poll_interval)
    return 0;
  if (f2_consumer_look (c) == -1)
    return -1;
  if (s->published <= at)
    return valid ? 0 : check_tail (c, at, chain, f);
  r = read_visible (c, at, chain, f, &valid);
  if (r == 0 && !valid)
    return corrupt_at (c, at, s->published);
  return r;
}

static void
remember (struct consumer_state *s, const struct f2_frame *f, uint64_t size)
{
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
    set_late (c, f->position);
    return true;
  }
  return r == -1 && errno == EBADMSG;
}

/* The frame that a position is in.  1 and *found; 0: the stream ends before
 * it; -1.  The end of a frame is in the next one. */
static int
find_frame (blkring_consumer *c, uint64_t position, struct seen **found)
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
    at = s->nr_seen ? s->seen[s->nr_seen - 1].end : mine (c)->frame;
    chain = s->nr_seen ? s->seen[s->nr_seen - 1].crc : mine (c)->chain;
    if (s->skip_to > at && s->skip_from == at) {
      at = s->skip_to;
      chain = s->skip_chain;
    }
    r = visible_frame (c, at, chain, &f);
    while (c->salvage && is_lost (c, r, &f)) {
      r = skip_damage (c, &at, &chain);
      if (r == 1)
        r = visible_frame (c, at, chain, &f);
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

/* Is it this very frame that the window holds?  It could be a staged one
 * that was dropped since. */
static bool
holds_frame (const struct window *w, const struct seen *seen)
{
  return seen->start >= w->start && seen->end <= w->verified &&
    get_le32 (w->data + (seen->start - w->start) + F2_HEADER - 4)
    == seen->crc;
}

/* Have a frame that was seen in the window again. */
static int
have_frame (blkring_consumer *c, const struct seen *seen)
{
  struct window *w = ((struct consumer_state *) c->format_state)->w;
  struct f2_frame f;
  int r;

  if (holds_frame (w, seen))
    return 0;
  forget_window (w);
  r = read_frame (c, seen->start, seen->chain, &f);
  if (r == 0 || (r == 1 && f.crc != seen->crc))
    return set_corrupt (ring_offset (&c->h.ring, seen->start), "the frame at "
                        "position %" PRIu64 " (byte %" PRIu64 ") was valid, "
                        "and is not any more", seen->start,
                        ring_offset (&c->h.ring, seen->start));
  return r == 1 ? 0 : -1;
}

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

      if (!frame_in_window (c, from, s->seen[s->nr_seen - 1].crc, &f,
                            &needed) ||
          !is_visible (s->w, &f, from + needed))
        break;
    }
    r = find_frame (c, from, &seen);
    if (r == -1)
      return n > 0 ? (ssize_t) n : -1;
    if (r == 0)
      break;
    if (c->salvage && from < seen->start)
      from = seen->start;    /* behind what was skipped */
    if (!holds_frame (s->w, seen)) {
      if (n > 0)
        break;
      if (have_frame (c, seen) == -1)
        return -1;
    }
    r = is_item (s, seen, from);
    if (r == 0 && from == c->position)
      set_corrupt (f2_record_offset (kind (c), s->records.copy[kind (c)]),
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
  r = find_frame (c, at, &seen);
  s->w = &s->main;
  return r;
}

static int
is_boundary (blkring_consumer *c, uint64_t position)
{
  struct consumer_state *s = c->format_state;
  struct seen *seen;
  int r;

  if (position == mine (c)->frame)
    return 1;
  r = find_frame (c, position, &seen);
  if (r <= 0)
    /* The end of the last frame is one. */
    return r == 0 && s->nr_seen > 0 &&
      position == s->seen[s->nr_seen - 1].end ? 1 : r;
  if (have_frame (c, seen) == -1)
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
  r = find_frame (c, position - 1, &seen);
  s->w = &s->main;
  if (r == 0)
    return set_error (EINVAL, "no item ends at position %" PRIu64, position);
  if (r == -1)
    return -1;
  *passed = *seen;
  return 0;
}

/* What is about to be freed must be what was delivered, and must not have
 * been written by a producer that had been replaced by then. */
static int
check_passed (blkring_consumer *c, const struct seen *passed)
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
  same = f2_decode_frame (block, ring, passed->start, &f) &&
    f.crc == passed->crc && !f2_is_late (p, &f) &&
    !(passed->end == p->position && f.crc != p->chain);
  free (block);
  if (same)
    return 0;
  forget_window (&s->main);
  forget_window (&s->peek);
  s->nr_seen = 0;
  s->boundary = 0;
  c->popped = c->position;
  return set_late (c, passed->start);
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
  struct f2_record *r = mine (c);

  if (find_passed (c, position, &passed) == -1 ||
      /* Rule 3: the frames may be in a cache alone. */
      handle_flush (h) == -1 ||
      f2_consumer_look (c) == -1 || check_passed (c, &passed) == -1)
    return -1;
  r->position = position;
  r->frame = position == passed.end ? passed.end : passed.start;
  r->chain = position == passed.end ? passed.crc : passed.chain;
  trace (c, BLKRING_TRACE_SET, BLKRING_TRACE_CONSUMER, position);
  if (f2_write_record (&h->ring, &s->records, kind (c), h->flushes) == -1)
    return poison (h);
  s->written = *r;
  c->position = position;
  forget_freed (s, r->frame);
  return 0;
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
  trace (c, BLKRING_TRACE_SET, BLKRING_TRACE_SUSPEND, suspend);
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
