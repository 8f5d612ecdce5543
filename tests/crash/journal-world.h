/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A journal on a disk whose power may go: one world, since all of it is one
 * at a time.
 */

#ifndef CRASH_JOURNAL_H
#define CRASH_JOURNAL_H

#include "explore.h"
#include "threads.h"

#define MAX_PERFORMED 4096

enum step { PUSH, LARGE_PUSH, SYNC, DRAIN, STOP, KILL, FAIL, STEPS };

/* For sites. */
enum activity { START_, PUSH_, SYNC_, END_, PERFORM_, ACTIVITIES };

/* What of the port belongs to who runs. */
struct place {
  unsigned op;
  enum region last;
  unsigned sites[REGIONS];
  bool wrote;
};

struct journal_world {
  struct world w;            /* of which the disk and the model are used */
  struct judge j;
  struct port port;
  struct pair pair;
  struct place place[2];     /* of main, and of the thread */
  blkring_journal *journal;
  blkring_journal_waiter waiter;
  unsigned next;             /* item to be performed … */
  bool sure;                 /* … which is known, and not one of 'firsts' */
  bool performed[MAX_PERFORMED];
  unsigned failing;          /* attempts that will fail … */
  bool retries;              /* … and the last one did */

  struct choices choices;
  unsigned preemptions;      /* of a run … */
  unsigned left;             /* … and left in this one */
  unsigned char *image;
  uint64_t *hashes, hash;
  struct model model;
  uint64_t workloads, runs, restarts;
  char trail[1000];
  char problem[4096];
};

extern struct journal_world x;

/* Each run of the workload, until there is a problem. */
extern void explore_workload (const enum step *steps, unsigned nr);
/* What a crash left: see struct judge. */
extern void restart_journal (struct judge *j, const struct model *m);
extern void journal_written (struct port *port);
extern void journal_yield (struct port *port);
extern void journal_changed (struct pair *pair);

#endif /* CRASH_JOURNAL_H */
