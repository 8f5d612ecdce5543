/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every workload from a start, in every order of its requests, and every
 * crash of it.
 */

#ifndef CRASH_EXPLORE_H
#define CRASH_EXPLORE_H

#include "judge.h"
#include "start.h"

#define MAX_CHOICES 4096

/* What was chosen on the way: the next run differs in the last choice that
 * has something left. */
struct choices {
  unsigned nr, at;
  int changed;               /* the one in which this run differs */
  unsigned short taken[MAX_CHOICES], of[MAX_CHOICES];
};

struct limits {
  unsigned operations;       /* of a workload */
  unsigned preemptions;      /* how often somebody is stopped in the middle
                                of an operation, for another to go on */
  uint64_t runs;             /* from one start; 0 = all */
  bool at_random;            /* which: else one after the other, so that the
                                first ones all begin alike */
  uint64_t seed;             /* … from this */
  uint64_t also;             /* a bit for each operation from OPS_BY_ITSELF
                                on that is in it */
  uint64_t without;          /* a bit for each operation that is left out */
  unsigned with;             /* 1 + an operation that each workload has; 0 =
                                any */
};

struct explorer {
  struct world w;
  struct judge j;
  struct start start;
  struct limits limits;
  unsigned char *image;      /* what each run begins with … */
  uint64_t *hashes, hash;
  struct model model;
  struct choices choices;
  uint64_t random;           /* limits.at_random */
  unsigned operations_left, preemptions_left;
  bool has_it;               /* limits.with */
  bool stopped;              /* in the middle of an operation, in this run */
  uint64_t workloads, runs;
  char problem[4096];        /* and how it came to it; "" = none */
  /* May be NULL. */
  void (*at_site) (struct port *port, const struct site *site);
  /* As in struct disk. */
  enum fault fault;
  struct site broken[MAX_BROKEN];
  unsigned nr_broken;
};

extern void explorer_init (struct explorer *e, const struct start *s,
                           const struct limits *limits, size_t nr_known);
extern void explorer_free (struct explorer *e);
/* Until there is a problem. */
extern void explore (struct explorer *e);

#endif /* CRASH_EXPLORE_H */
