/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Between images.c, which makes the images that a crash can leave, and
 * judge.c, which looks at each.
 */

#ifndef CRASH_IMAGES_H
#define CRASH_IMAGES_H

#include "judge.h"

/* Each image that a crash of 'd' can leave, and that was not there yet, goes
 * to level[level].disk and to judge_image. */
extern void crash_images (struct judge *j, unsigned level,
                          const struct disk *d, const struct model *m);

/* The image at that level: does it keep the promise 'm'?  'hash' is of the
 * image. */
extern void judge_image (struct judge *j, unsigned level, uint64_t hash,
                         const struct model *m);

#endif /* CRASH_IMAGES_H */
