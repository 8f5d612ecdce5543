/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the ring has promised: which items it holds, as far as a call that
 * returned has settled that, and what may be true because a call is under
 * way or was cut off.
 *
 * Items are counted from 0 as they are pushed.  Those that were pushed and
 * dropped give their numbers to what is pushed after them.
 */

#ifndef CRASH_MODEL_H
#define CRASH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blkring.h"

#define MODEL_ITEMS 1024     /* that are remembered, the newest */
#define MODEL_BOUNDS 32
#define BATCH 3

/* What is known of the ring and does not change. */
struct shape {
  unsigned format;
  uint64_t capacity;         /* bytes of the data area */
  uint64_t block;            /* bytes, of format 2 */
  uint64_t largest_item;
};

struct item {
  uint32_t id;               /* its content follows from that */
  uint32_t length;
  uint64_t position;
  uint64_t frame;            /* where the space that it needs begins */
};

/* One of these. */
struct bounds {
  unsigned nr;
  unsigned at[MODEL_BOUNDS]; /* ascending */
};

/* Of a ring. */
enum { OF_PRODUCER, OF_CONSUMER, SIDES_OF_RING };
#define LATE(side) (1u << (side))

/* Bits of model.states. */
#define STATE(s) (1u << (s))
#define ANY_STATE 15u

struct model {
  struct shape shape;
  struct item items[MODEL_ITEMS]; /* by number modulo that */
  unsigned next_id;
  unsigned pushed;           /* items, exposed or not … */
  uint64_t tail;             /* … and the position behind them */
  unsigned planned;          /* with those of the push under way … */
  uint64_t planned_tail;     /* … and the position behind these */
  struct bounds ends;        /* number of items that are exposed */
  struct bounds firsts;      /* … and freed */
  unsigned states;           /* a STATE for each that the ring may be in */
  /* Format 2, of each side: its owner detached, or else has at least this
   * epoch in its record. */
  bool clean[SIDES_OF_RING];
  uint64_t epoch[SIDES_OF_RING];
  unsigned requests;         /* to suspend or resume, that were made */
  unsigned late;             /* a bit for each side of which one that was
                                replaced has written: what it destroyed must
                                be reported */
  bool late_data;            /* … a frame, perhaps over the last one of all */
  bool lost;                 /* something was destroyed so, and nobody told of
                                it yet */
  bool went_back;            /* consumer: an advance may be undone, after the
                                producer has seen it */
  bool no_ring;              /* there may be none: one is being made */
  bool new_ring;             /* … or a new one … */
  bool one_super;            /* … of whose two superblocks one is missing */
};

extern void model_init (struct model *m, const struct shape *shape,
                        uint64_t position);
extern struct item *model_item (struct model *m, unsigned number);
extern const struct item *model_get (const struct model *m, unsigned number);

/* Plan a push of these lengths behind what was pushed: returns the bytes
 * that they take, or 0 when they can never fit. */
extern uint64_t model_plan (struct model *m, const size_t *lengths,
                            unsigned nr);
/* The planned push is done. */
extern void model_pushed (struct model *m);
/* Nothing is behind this number of items: what was is dropped. */
extern void model_drop (struct model *m, unsigned number);
/* Where the space begins that the items from this number on need. */
extern uint64_t model_space (const struct model *m, unsigned number);
/* The first item of the frame that the last one of these is in. */
extern unsigned model_last_frame (const struct model *m, unsigned number);
/* Where the consumer stands that has freed so many. */
extern uint64_t model_position (const struct model *m, unsigned number);

/* Content of an item. */
extern const void *item_content (uint32_t id);
extern bool item_is (const struct item *item, const void *data,
                     size_t length);

extern void bounds_set (struct bounds *b, unsigned at);
extern void bounds_add (struct bounds *b, unsigned at);
extern void bounds_remove (struct bounds *b, unsigned i);
extern bool bounds_have (const struct bounds *b, unsigned at);
extern unsigned bounds_min (const struct bounds *b);
extern unsigned bounds_max (const struct bounds *b);

/* The producer may acknowledge. */
extern void model_acknowledge (struct model *m);

/* Of all that matters after a crash. */
extern uint64_t model_hash (const struct model *m);

#endif /* CRASH_MODEL_H */
