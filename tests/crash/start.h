/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The rings that workloads begin with.
 */

#ifndef CRASH_START_H
#define CRASH_START_H

#include "world.h"

enum fill { EMPTY, PART, NEARLY_FULL, FULL, FILLS };

struct start {
  unsigned format;
  uint64_t sectors;          /* of 512 bytes, of the data area */
  unsigned tail_sector;      /* the one that the next item goes to … */
  unsigned tail_offset;      /* … and where in it */
  enum fill fill;
  enum sides {
    DETACHED, ATTACHED,      /* both */
    POPPED,                  /* both attached, and all is popped */
    PRODUCER_ALONE, CONSUMER_ALONE,
    SIDES
  } sides;
  bool ticks;                /* each operation takes longer than the poll
                                interval */
  unsigned flags;            /* of the device */
};

extern size_t start_disk_size (const struct start *s);
extern enum region (*start_region (const struct start *s)) (uint64_t offset);
extern void start_describe (const struct start *s, char *text, size_t size);
/* Make the ring on the world's disk, once; the disk is then durable. */
extern void start_make (const struct start *s, struct world *w);
/* All of them for a format: start_get gives one and false behind the
 * last. */
extern bool start_get (unsigned format, unsigned number, struct start *s);

#endif /* CRASH_START_H */
