/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2: the stream as a consumer finds it, and the state that its files
 * share.
 */

#ifndef BLKRING_FORMAT2_STREAM_H
#define BLKRING_FORMAT2_STREAM_H

#include "format2.h"

/* Frames that are remembered between the oldest item and the last one that
 * was popped; those behind are found again by walking. */
#define REMEMBERED 1024

/* A frame that was read and found valid. */
struct seen {
  uint64_t start, end;
  uint64_t epoch;
  uint32_t chain, crc;
  bool followed;             /* see f2_is_followed */
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
  uint64_t wasted;           /* bytes of frames that were not valid … */
  uint64_t wasted_since;     /* … and where that began */
};

static inline unsigned
f2_kind (const blkring_consumer *c)
{
  return F2_CONSUMER + c->index;
}

static inline struct f2_record *
f2_mine (blkring_consumer *c)
{
  struct consumer_state *s = c->format_state;

  return &s->records.record[f2_kind (c)];
}

static inline void
f2_trace (blkring_consumer *c, enum blkring_trace_op op,
          enum blkring_trace_field field, uint64_t value)
{
  device_trace (c->h.ring.device, op, c->h.queue, c->h.client, field, value);
}

/* Let the state be what the records say. */
extern void f2_consumer_adopt (blkring_consumer *c);
/* What is in memory may be from before something was written. */
extern void f2_forget_window (struct window *w);
/* The frame at 'at' as the window has it: 1; 0 if there is none, or not
 * all of it and *needed says how much it takes. */
extern int f2_frame_in_window (blkring_consumer *c, uint64_t at,
                               uint32_t chain, struct f2_frame *f,
                               uint64_t *needed);
/* May this frame of the window, which ends there, be delivered? */
extern bool f2_is_visible (const struct window *w, const struct f2_frame *f,
                           uint64_t end);
/* The frame that a position is in.  1 and *found; 0: the stream ends before
 * it; -1.  The end of a frame is in the next one. */
extern int f2_find_frame (blkring_consumer *c, uint64_t position,
                          struct seen **found);
/* Is it this very frame that the window holds?  It could be a staged one
 * that was dropped since. */
extern bool f2_holds_frame (const struct window *w, const struct seen *seen);
/* Have a frame that was seen in the window again. */
extern int f2_have_frame (blkring_consumer *c, const struct seen *seen);
/* Has the next frame been begun?  Then all up to the end of this one is
 * durable, and will be visible for ever, unless somebody goes without
 * flushes. */
extern bool f2_is_followed (blkring_consumer *c, const struct seen *seen);
/* EBADMSG: what was delivered from 'at' is lost; -1. */
extern int f2_set_late (blkring_consumer *c, uint64_t at);

#endif /* BLKRING_FORMAT2_STREAM_H */
