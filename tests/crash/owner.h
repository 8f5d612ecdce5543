/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who owns a side of a ring of format 2, as its records say.
 */

#ifndef CRASH_OWNER_H
#define CRASH_OWNER_H

#include <stdbool.h>
#include <stdint.h>

struct owner {
  bool valid[2];             /* copies */
  uint64_t epoch[2];
  uint64_t sequence[2];
  unsigned counts;           /* which of the two … */
  bool clean;                /* … and what it says */
  uint64_t position;
};

/* 'side': 0 = producer, 1 = consumer. */
extern void read_owner (const unsigned char *image, unsigned side,
                        struct owner *o);

#endif /* CRASH_OWNER_H */
