/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: threads that begin at once, and the queues they push into.
 */

#ifndef BLKRING_BENCH_RACE_H
#define BLKRING_BENCH_RACE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common.h"

#define MAX_RACERS 8
#define OPERATION 128        /* bytes of what they push */

struct race {
  void (*step) (void *handle, const void *operation);
  void *handles[MAX_RACERS]; /* of each thread */
  double seconds;
  pthread_barrier_t begin;
  atomic_uint_fast64_t done;
};

/* race.c: steps per second, of all of them. */
extern double run_race (struct race *race, unsigned threads);

/* journal-sqlite.c: so many connections to a new database in the directory of
 * the benchmark; nothing where it was built without. */
extern const bool has_sqlite;
extern void open_sqlite (const char *dir, unsigned connections);
extern double run_sqlite (unsigned threads, double seconds);
extern void close_sqlite (void);

#endif /* BLKRING_BENCH_RACE_H */
