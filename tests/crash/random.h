/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One long workload at random: operations, turns, kills and crashes.
 */

#ifndef CRASH_RANDOM_H
#define CRASH_RANDOM_H

#include "judge.h"
#include "start.h"

struct random_run {
  struct world w;
  struct judge j;
  uint64_t state;            /* of the random numbers */
  uint64_t operations, left; /* done, and to do */
  uint64_t crashes;          /* that it went on from */
  bool power_fails;          /* at the next choice */
  char problem[4096];        /* "" = none */
};

/* From a start that the seed chooses. */
extern void random_init (struct random_run *r, unsigned format,
                         uint64_t seed);
extern void random_free (struct random_run *r);
/* So many operations more, until there is a problem. */
extern void random_go (struct random_run *r, uint64_t operations);

#endif /* CRASH_RANDOM_H */
