/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: durable pushes into a journal by several threads, beside the
 * bare limit of one durable write at a time, and beside SQLite.
 *
 * Each round measures all of them, one after the other, and begins with
 * another one.  What is compared is what a push costs, so perform does
 * nothing; what the journal itself does to free what was performed goes on
 * meanwhile, and is part of the cost.
 */

#include <config.h>

#include <stdlib.h>

#include "bench.h"
#include "race.h"

static const unsigned thread_counts[NR_THREAD_COUNTS] = { 1, 2, MAX_RACERS };

struct journal_bench {
  struct bench *b;
  struct journal_result *results; /* by number of threads */
  struct test test;          /* the same operations, as the bare loops and
                                make_ring know them */
};

static int
perform_nothing (const struct blkring_item *items, size_t nr, void *opaque)
{
  (void) items;
  (void) nr;
  (void) opaque;
  return 0;
}

static void
push (void *handle, const void *operation)
{
  if (blkring_journal_push (handle, operation, OPERATION, 0, NULL) == -1)
    fail_ring ("journal");
}

/* Each position that the journal's consumer is about to write. */
static void
count_advances (void *opaque, enum blkring_trace_op op, const char *queue,
                const char *client, enum blkring_trace_field field,
                uint64_t value)
{
  uint64_t *advances = opaque;

  (void) queue;
  (void) client;
  (void) value;
  *advances += op == BLKRING_TRACE_SET && field == BLKRING_TRACE_CONSUMER;
}

static double
run_journal (struct journal_bench *jb, struct journal_result *r)
{
  struct bench *b = jb->b;
  struct race race = { .step = push, .seconds = b->seconds };
  blkring_journal *journal;
  double rate;
  unsigned i;

  make_ring (b, &jb->test);
  blkring_device_set_trace (b->device, count_advances, &r->advances);
  journal = blkring_journal_start (b->device, NULL, perform_nothing, NULL);
  if (journal == NULL)
    fail_ring ("cannot start a journal");
  settle (b);
  for (i = 0; i < r->threads; ++i)
    race.handles[i] = journal;
  rate = run_race (&race, r->threads);
  r->pushes += race.done;
  if (blkring_journal_shutdown (journal, BLKRING_JOURNAL_DRAIN) == -1)
    fail_ring ("journal");
  blkring_journal_free (journal);
  blkring_device_set_trace (b->device, NULL, NULL);
  return rate;
}

/*---------------------------------------------------------------------*/

static double
run (struct journal_bench *jb, struct journal_result *r, unsigned contender)
{
  switch (contender) {
  case JOURNAL:
    return run_journal (jb, r);
  case JOURNAL_SQLITE:
    settle (jb->b);
    return run_sqlite (r->threads, jb->b->seconds);
  default:
    return run_limit (jb->b, &jb->test, LIMIT_DSYNC + contender -
                      JOURNAL_DSYNC);
  }
}

/* The bare loops have no threads: they are measured once a round. */
static bool
is_measured (const struct bench *b, unsigned contender, unsigned count)
{
  switch (contender) {
  case JOURNAL:
    return true;
  case JOURNAL_SQLITE:
    return has_sqlite;
  case JOURNAL_DIRECT:
    return count == 0 && b->direct_fd >= 0;
  default:
    return count == 0;
  }
}

/* Those with as many threads lie close together: a thread stays on a processor
 * until others come in its way. */
static void
measure_round (struct journal_bench *jb, unsigned round)
{
  const unsigned nr = NR_CONTENDERS * NR_THREAD_COUNTS;
  struct journal_result *r;
  struct series *s;
  unsigned i, k;

  for (i = 0; i < nr; ++i) {
    k = (i + round) % nr;
    r = &jb->results[k / NR_CONTENDERS];
    s = &r->series[k % NR_CONTENDERS];
    if (s->rounds)
      s->rounds[round] = run (jb, r, k % NR_CONTENDERS);
  }
}

static void
allocate_rounds (const struct bench *b, const struct test *test,
                 struct journal_result *results)
{
  unsigned i, c;

  for (i = 0; i < NR_THREAD_COUNTS; ++i) {
    results[i].threads = thread_counts[i];
    results[i].block_size = test->block_size;
    for (c = 0; c < NR_CONTENDERS; ++c)
      if (is_measured (b, c, i))
        results[i].series[c].rounds = allocate (b->rounds * sizeof (double));
  }
}

/* Within each round, since the disk may be another one in the next. */
static void
divide (const struct bench *b, const struct series *by, const struct series *of,
        struct series *ratio)
{
  unsigned round;

  if (by->rounds == NULL)
    return;
  ratio->rounds = allocate (b->rounds * sizeof (double));
  for (round = 0; round < b->rounds; ++round)
    ratio->rounds[round] = of->rounds[round] / by->rounds[round];
  ratio->median = quantile (ratio->rounds, b->rounds, 0.5);
}

static void
compare (const struct bench *b, struct journal_result *results)
{
  struct series *limits = results[0].series, *s;
  struct journal_result *r;
  unsigned i, c, fastest = JOURNAL_DSYNC;

  for (i = 0; i < NR_THREAD_COUNTS; ++i)
    for (c = 0; c < NR_CONTENDERS; ++c) {
      s = &results[i].series[c];
      if (s->rounds)
        s->median = quantile (s->rounds, b->rounds, 0.5);
    }
  for (c = JOURNAL_FDATASYNC; c <= JOURNAL_DIRECT; ++c)
    if (limits[c].median > limits[fastest].median)
      fastest = c;
  for (i = 0; i < NR_THREAD_COUNTS; ++i) {
    r = &results[i];
    r->limit = fastest;
    divide (b, &limits[fastest], &r->series[JOURNAL], &r->of_limit);
    divide (b, &limits[JOURNAL], &r->series[JOURNAL], &r->of_one);
    divide (b, &r->series[JOURNAL_SQLITE], &r->series[JOURNAL],
            &r->of_sqlite);
  }
}

void
measure_journal (struct bench *b,
                 struct journal_result results[NR_THREAD_COUNTS])
{
  struct journal_bench jb = {
    .b = b, .results = results, .test = {
      .format = 2, .block_size = b->block_size ? b->block_size : 4096,
      .direction = PUSH, .durable = true, .length = OPERATION, .batch = 1,
    },
  };
  unsigned round, i;

  allocate_rounds (b, &jb.test, results);
  open_sqlite (b->dir, MAX_RACERS);
  /* To warm up: by then each has written its files as far as it needs. */
  measure_round (&jb, 0);
  for (i = 0; i < NR_THREAD_COUNTS; ++i)
    results[i].pushes = results[i].advances = 0;
  for (round = 0; round < b->rounds; ++round)
    measure_round (&jb, round);
  close_sqlite ();
  compare (b, results);
}

void
free_journal (struct journal_result results[NR_THREAD_COUNTS])
{
  unsigned i, c;

  for (i = 0; i < NR_THREAD_COUNTS; ++i) {
    for (c = 0; c < NR_CONTENDERS; ++c)
      free (results[i].series[c].rounds);
    free (results[i].of_limit.rounds);
    free (results[i].of_one.rounds);
    free (results[i].of_sqlite.rounds);
  }
}
