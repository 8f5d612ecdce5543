/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A set of stretches of the stream, each with a mark of who wrote it.
 */

#ifndef BLKRING_INTERVALS_H
#define BLKRING_INTERVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct interval {
  uint64_t start, end;
  uint64_t who;
};

/* Ordered, and none touches the next one that has the same mark. */
struct intervals {
  struct interval *v;
  size_t nr, alloc;
};

extern void intervals_free (struct intervals *set);

/* Have memory for so many more.  -1, ENOMEM. */
extern int intervals_reserve (struct intervals *set, size_t more);

/* Put [start, end) in; what was there of others is replaced.  -1, ENOMEM. */
extern int intervals_add (struct intervals *set, uint64_t start,
                          uint64_t end, uint64_t who);
/* Take [start, end) out.  Where that cuts an interval in two and there is no
 * memory, the second part goes too. */
extern void intervals_remove (struct intervals *set, uint64_t start,
                              uint64_t end);

/* The first interval that ends behind 'at'; NULL. */
extern const struct interval *intervals_at (const struct intervals *set,
                                            uint64_t at);
/* How far from 'start' on everything is in, at most 'end'. */
extern uint64_t intervals_covered (const struct intervals *set,
                                   uint64_t start, uint64_t end);

#endif /* BLKRING_INTERVALS_H */
