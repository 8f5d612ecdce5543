/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A disk in memory whose cache a crash loses.
 *
 *   content   what a read gives
 *   durable   what was flushed, or written with FUA
 *   pending   the sectors that were written since, each version of them:
 *             after a crash any of these may be there, or what was durable
 *
 * So writes without a flush between them may land in any order, and a
 * write of several sectors in any part.
 *
 * Who opens the disk does so through a port of its own.  A port can be told
 * to do without a flush, as if the program had forgotten it: that is for the
 * test of the tests.
 */

#ifndef CRASH_DISK_H
#define CRASH_DISK_H

#include <stdbool.h>

#include "blkring.h"

#define SECTOR 512

/* What a write is of, to tell flushes apart. */
enum region { NOTHING, HEAD, PRODUCER, CONTROL, CONSUMER, DATA, REGIONS };

struct version {
  unsigned sector;
  uint64_t write;            /* number of the write that it belongs to */
  uint64_t hash;             /* of the sector with this content */
  bool late;                 /* by one that was replaced */
  unsigned char bytes[SECTOR];
};

/* A point at which an operation makes something durable: the flush or FUA
 * that comes after the operation's last write to 'region' (NOTHING: before
 * its first write), 'nth' of those. */
struct site {
  unsigned op;
  enum region region;
  unsigned nth;
};

#define MAX_BROKEN 2

enum fault {
  SOUND,
  DROP,                      /* nothing becomes durable there */
  DEFER,                     /* it does when the operation is over, not before
                                the operation's next write */
};

extern bool same_site (const struct site *a, const struct site *b);

struct port;

struct disk {
  size_t size;               /* bytes */
  unsigned flags;            /* BLKRING_DEVICE_* */
  enum region (*region) (uint64_t offset);

  unsigned char *content, *durable;
  uint64_t *hashes;          /* of each sector of 'durable' … */
  uint64_t hash;             /* … and of all of it */
  struct version *pending;
  unsigned nr_pending, alloc_pending;
  uint64_t writes;
  bool tracked;              /* else everything is durable at once */

  unsigned late_records[REGIONS]; /* writes by one that was replaced */

  /* May be NULL.  Called before each request and before a FUA write becomes
   * durable: others may go first. */
  void (*yield) (struct port *port);
  /* May be NULL.  Called when there is something new to lose. */
  void (*written) (struct port *port);
  /* May be NULL.  Called when the records were read. */
  void (*looked) (struct port *port);
  /* May be NULL.  Told of each site as it is reached.  'port->wrote': there
   * was a write since the operation's last site. */
  void (*at_site) (struct port *port, const struct site *site);

  struct site broken[MAX_BROKEN]; /* those that do not work … */
  unsigned nr_broken;
  enum fault fault;          /* … and how */
};

#define MAX_SEEN 64

struct port {
  struct disk *disk;
  blkring_device *device;
  bool dead;                 /* nothing gets through any more */
  bool replaced;             /* what it writes is late */
  bool deferred;             /* something is to be flushed in the end */
  unsigned begun;            /* operations … */
  unsigned op;               /* … the one under way … */
  unsigned stops;            /* … how often others could have come first … */
  enum region last;          /* … its last write … */
  unsigned sites[REGIONS];   /* … the sites that it passed … */
  bool wrote;                /* … whether it wrote since the last one … */
  uint64_t seen[MAX_SEEN];   /* … and the writes whose bytes it read when
                                they were not durable */
  unsigned nr_seen;
  void *opaque;
};

extern void disk_init (struct disk *d, size_t size, unsigned flags);
extern void disk_free (struct disk *d);

/* Set the whole content, durable.  'hashes' is of each sector; NULL: count
 * them. */
extern void disk_load (struct disk *d, const unsigned char *image,
                       const uint64_t *hashes, uint64_t hash);
extern void disk_flush (struct disk *d);

extern void port_open (struct port *port, struct disk *d, void *opaque);
extern void port_close (struct port *port);
/* Is something that the operation read still not durable? */
extern bool port_saw_pending (const struct port *port);
/* An operation begins, or is over. */
extern void port_begin (struct port *port, unsigned op);
extern void port_end (struct port *port);

extern uint64_t sector_hash (unsigned sector, const unsigned char *bytes);
extern uint64_t mix (uint64_t x);

#endif /* CRASH_DISK_H */
