/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rings to begin with, and checksums that are right again after bytes were
 * changed: no fuzzer finds those.
 */

#ifndef IMAGES_H
#define IMAGES_H

#include <stddef.h>

/* Rings in several states, the same in each run. */
#define NR_BASES 9
extern const unsigned char *base_image (unsigned nr, size_t *size);
extern const char *base_name (unsigned nr);

/* Give each structure of format 2 that is there a checksum that is right,
 * and each frame from the oldest on the chain of the one before it. */
extern void fix_checksums (unsigned char *image, size_t size);

#endif /* IMAGES_H */
