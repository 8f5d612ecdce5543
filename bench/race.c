/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: several threads that do the same thing, again and again, and
 * how often they get it done.
 */

#include <config.h>

#include "race.h"

struct racer {
  struct race *race;
  void *handle;
  pthread_t id;
};

static void *
run_racer (void *arg)
{
  const struct racer *r = arg;
  char operation[OPERATION] = "operation";
  struct stopwatch watch;
  uint64_t done = 0;

  pthread_barrier_wait (&r->race->begin);
  stopwatch_init (&watch, r->race->seconds);
  stopwatch_start (&watch);
  do {
    r->race->step (r->handle, operation);
    done++;
  } while (!stopwatch_over (&watch));
  r->race->done += done;
  return NULL;
}

/* The caller is the first of them: which processor a thread is on decides what
 * a write takes, and the bare loops are the caller's. */
double
run_race (struct race *race, unsigned threads)
{
  struct racer racers[MAX_RACERS];
  uint64_t begin;
  unsigned i;

  race->done = 0;
  pthread_barrier_init (&race->begin, NULL, threads);
  for (i = 0; i < threads; ++i) {
    racers[i] = (struct racer) { .race = race, .handle = race->handles[i] };
    if (i > 0 &&
        pthread_create (&racers[i].id, NULL, run_racer, &racers[i]) != 0)
      fail ("cannot start a thread");
  }
  begin = now ();
  run_racer (&racers[0]);
  for (i = 1; i < threads; ++i)
    pthread_join (racers[i].id, NULL);
  pthread_barrier_destroy (&race->begin);
  return race->done / ((now () - begin) / 1e9);
}
