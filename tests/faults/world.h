/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A ring on a disk that can fail, who uses it, and what it has promised:
 * which items must be in it, and which may be.
 *
 * Items are numbered from 0 as they are stored; length and content follow
 * from the number.
 */

#ifndef FAULTS_WORLD_H
#define FAULTS_WORLD_H

#include "disk.h"
#include "service/service.h"

#define ITEMS 64
#define LARGEST 65536

struct kind {
  const char *name;
  unsigned format;
  unsigned flags;            /* of the disk */
  unsigned consumers;
  bool served;               /* by the service core */
  bool submits;              /* see disk.h */
  uint32_t alignment, max_request;
};

struct world {
  const struct kind *kind;
  struct disk disk;
  blkring_device *device;    /* which handles use: the disk, or … */
  blkring_device *below;     /* … a client of a service on this */
  struct service *service;
  blkring_producer *p;
  blkring_consumer *c;
  /* On another host: one that takes over. */
  blkring_device *other;
  blkring_producer *p2;
  blkring_consumer *c2;
  blkring_journal *j;
  uint64_t now;              /* ns */

  blkring_position position; /* for an advance */
  unsigned exposed, freed;   /* items, by calls that returned … */
  size_t length[ITEMS];
  bool end[ITEMS], first[ITEMS]; /* … and what else may be */
  bool no_ring;              /* there may be none … */
  bool new_ring;             /* … or an empty one … */
  bool one_super;            /* … one of whose superblocks is not there */
  bool lossy;                /* it was damaged on purpose */
  char problem[1024];        /* "" = none */
};

/* What went wrong in the test, or with the ring; keeps the first. */
extern void problem (struct world *w, const char *fmt, ...)
  __attribute__ ((format (printf, 2, 3)));
/* A call of the preparation, where nothing fails. */
extern void must (int r, const char *what);
#define MUST(call) must ((call), #call)

extern void world_start (struct world *w, const struct kind *kind);
/* An empty disk, of that kind. */
extern void world_clear_disk (struct world *w);
/* Close all that is open: handles, devices, service. */
extern void world_close (struct world *w);
/* Open the device again, which was closed by world_close. */
extern void world_open (struct world *w);
/* All die at once: what they would write at the end is not there. */
extern void world_kill (struct world *w);
/* The options of an attach. */
extern const struct blkring_attach_options *
world_options (struct world *w, unsigned flags);

/* Content of an item. */
extern const void *item_content (unsigned number);
/* A number of items may be exposed, or freed; or is. */
extern void may_end (struct world *w, unsigned number);
extern void does_end (struct world *w, unsigned number);
extern void may_begin (struct world *w, unsigned number);
extern void does_begin (struct world *w, unsigned number);

/* Nobody is there any more, and all works again: is what it should be
 * there?  And if the power goes, then or when both sides have attached?
 * Which one first is a matter of 'order'. */
extern void world_judge (struct world *w, unsigned order);

#endif /* FAULTS_WORLD_H */
