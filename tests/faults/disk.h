/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A disk in memory with a cache, of which one request can be made to fail:
 * the first, the second, … of all reads, writes and flushes.  It allocates
 * nothing, so that memory can be made to fail beside it.
 *
 *   content   what a read gives
 *   durable   what is left when the power goes
 *   dirty     sectors that the next flush makes durable
 *
 * A request that fails may have had no effect, or a part of it, or all.  A
 * flush that fails all the way does what Linux does: the sectors count as
 * written from then on, and are in the cache alone.
 */

#ifndef FAULTS_DISK_H
#define FAULTS_DISK_H

#include <limits.h>
#include <pthread.h>

#include "blkring.h"

#define SECTOR 512
#define DISK_SIZE (48 << 10)
#define NEVER UINT_MAX

enum request { A_READ, A_WRITE, A_FLUSH, KINDS };
enum effect { NO_EFFECT, PART_EFFECT, ALL_EFFECT, EFFECTS };

struct disk {
  unsigned flags;            /* BLKRING_DEVICE_* */
  bool submits;              /* requests come together, in a submit */
  uint32_t alignment;        /* buffers are so aligned */
  uint32_t max_request;      /* bytes; 0 = no limit */
  size_t short_count;        /* do at most so many bytes a request; 0 = all */
  bool interrupts;           /* each request fails with EINTR first */

  unsigned at;               /* the request that fails, from 0, or NEVER … */
  int error;                 /* … with this errno … */
  enum effect effect;        /* … after this much of it */
  bool fired;                /* it did … */
  enum request fired_kind;   /* … and was this … */
  bool beside;               /* … a read that came together with writes */
  unsigned count[KINDS];     /* since disk_arm */

  unsigned char content[DISK_SIZE], durable[DISK_SIZE];
  bool dirty[DISK_SIZE / SECTOR];
  bool interrupted;
  pthread_mutex_t lock;
};

extern void disk_clear (struct disk *d, unsigned flags);
/* From now on count, and fail request number 'at'. */
extern void disk_arm (struct disk *d, unsigned at, int error,
                      enum effect effect);
/* All works again. */
extern void disk_disarm (struct disk *d);
/* The power goes: what was not durable is lost. */
extern void disk_power_cut (struct disk *d);
/* A device on the disk; NULL and errno. */
extern blkring_device *disk_open (struct disk *d);

#endif /* FAULTS_DISK_H */
