/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a crash can leave, and whether that keeps the promise.
 */

#ifndef CRASH_JUDGE_H
#define CRASH_JUDGE_H

#include "world.h"

struct judge {
  /* What it found. */
  uint64_t points;           /* crash points that were looked at */
  uint64_t images;           /* images that were examined … */
  uint64_t again;            /* … of crashes while recovering */
  uint64_t equal;            /* images that were known already */
  uint64_t reported;         /* images of which a loss was told */
  uint64_t last_lost;        /* … and of which it cannot be told */
  uint64_t sampled;          /* points with too many for all */
  char problem[2048];        /* "" = none */

  uint64_t most;             /* images of one point; of more, so many at
                                random */
  bool tears;                /* a sector of a record may also be half new:
                                format 2 relies on no write to be atomic */
  bool may_tell, told;       /* of the image at hand: something may be lost,
                                and was told … */
  bool cannot_tell;          /* … or nobody can */
  uint64_t published;        /* by the record, before anybody attaches */
  unsigned recover_one_in;   /* crashes while recovering: of so many images
                                one; 0 = none */
  /* May be NULL.  Called with each image of a first crash on level[0]'s
   * disk, which it may change. */
  void (*also) (struct judge *j, const struct model *m);
  uint64_t random;
  uint64_t *known;           /* hashes of images and promises; a cache */
  size_t nr_known;           /* a power of two */

  /* A ring with what a crash left of it, and with what a second one left
   * of that. */
  struct {
    struct disk disk;
    struct port producer, consumer;
    struct model model;
    unsigned torn;           /* sectors that are half new */
  } level[2];
};

/* The disk that the crashes happen to. */
extern void judge_init (struct judge *j, const struct disk *disk,
                        size_t nr_known);
extern void judge_free (struct judge *j);
/* The power goes now: each image that this can leave, that was not
 * examined yet. */
extern void judge_crash (struct judge *j, const struct disk *disk,
                         const struct model *model);
/* One image, of what is durable. */
extern void judge_durable (struct judge *j, const struct disk *disk,
                           const struct model *model);

#endif /* CRASH_JUDGE_H */
