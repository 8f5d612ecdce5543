/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: how fast is the ring, and how fast could it be?
 *
 * Each test is measured in rounds, and each round measures the ring and
 * at once what the system can do with the same bytes.  So both see the same
 * disk in the same mood, and their ratio means something where the numbers
 * alone do not.  The rounds are short and many: a mood may last half a
 * second.
 */

#include <config.h>

#include <stdlib.h>

#include "bench.h"

const char program_name[] = "blkring-bench";

#define NR_TESTS 32          /* 2 directions, 2 durabilities, 4 sizes, 2
                                batches */
#define NR_SMALL 8           /* 2 directions, 2 sizes, 2 batches */
#define MAX_TESTS (2 * NR_TESTS + NR_SMALL)

static const size_t lengths[] = { 16, 512, 4096, LARGEST_ITEM };

static size_t
add_tests (struct result *results, unsigned format, uint32_t block_size)
{
  struct test *t;
  unsigned i;

  for (i = 0; i < NR_TESTS; ++i) {
    t = &results[i].test;
    t->format = format;
    t->block_size = block_size;
    t->direction = i & 16 ? POP : PUSH;
    t->durable = !(i & 8);
    t->batch = i & 4 ? BATCH : 1;
    t->length = lengths[i & 3];
    /* Where a target compares with it. */
    t->bare = format == 1 && !t->durable && t->length == 16 &&
      t->batch == (t->direction == PUSH ? 1 : BATCH);
  }
  return NR_TESTS;
}

/* Small items in small blocks. */
static size_t
add_small_tests (struct result *results)
{
  struct test *t;
  unsigned i;

  for (i = 0; i < NR_SMALL; ++i) {
    t = &results[i].test;
    t->format = 2;
    t->block_size = 512;
    t->direction = i & 4 ? POP : PUSH;
    t->durable = true;
    t->batch = i & 2 ? BATCH : 1;
    t->length = lengths[i & 1];
  }
  return NR_SMALL;
}

static size_t
make_tests (const struct bench *b, struct result results[MAX_TESTS])
{
  size_t nr = 0;

  if (b->format != 2)
    nr += add_tests (results, 1, 0);
  if (b->format != 1) {
    nr += add_tests (results + nr, 2, b->block_size ? b->block_size : 4096);
    if (b->block_size == 0)
      nr += add_small_tests (results + nr);
  }
  return nr;
}

/*---------------------------------------------------------------------*/

static bool
is_measured (const struct bench *b, const struct test *t, unsigned subject)
{
  switch (subject) {
  case RING:
    return true;
  case LIMIT_PLAIN:
    return !t->durable;
  case LIMIT_DSYNC:
  case LIMIT_FDATASYNC:
    return t->durable;
  case LIMIT_DIRECT:
    return t->durable && b->direct_fd >= 0 && (t->format == 2 || b->direct);
  case CHECKSUM:
    return t->format == 2;
  default:
    return t->bare;
  }
}

unsigned
stride (const struct test *t)
{
  return t->durable || t->batch * t->length >= LARGEST_ITEM ? 1 : 16;
}

static double
run (struct bench *b, struct result *r, unsigned subject)
{
  switch (subject) {
  case RING:
    return run_ring (b, r);
  case BARE:
    return run_bare (b, &r->test);
  case CHECKSUM:
    return run_checksum (b, &r->test);
  default:
    return run_limit (b, &r->test, subject);
  }
}

/* Each round begins with another subject, so that none is always behind
 * the same. */
static void
measure_rounds (struct bench *b, struct result *r)
{
  unsigned round, i, s;

  for (round = 0; round < b->rounds; ++round)
    for (i = 0; i < NR_SUBJECTS; ++i) {
      s = (i + round) % NR_SUBJECTS;
      if (r->series[s].rounds)
        r->series[s].rounds[round] = run (b, r, s);
    }
}

/* The ratio is taken within each round: from one round to the next the
 * disk may have become twice as fast. */
static void
compare_with_limit (const struct bench *b, struct result *r)
{
  unsigned round, s;

  r->limit = LIMIT_PLAIN;
  for (s = LIMIT_DSYNC; s <= LIMIT_DIRECT; ++s)
    if (r->series[s].median > r->series[r->limit].median)
      r->limit = s;
  r->ratio.rounds = allocate (b->rounds * sizeof (double));
  for (round = 0; round < b->rounds; ++round)
    r->ratio.rounds[round] = r->series[RING].rounds[round] /
      r->series[r->limit].rounds[round];
  r->ratio.median = quantile (r->ratio.rounds, b->rounds, 0.5);
}

static void
measure (struct bench *b, struct result *r)
{
  unsigned s;

  for (s = 0; s < NR_SUBJECTS; ++s)
    if (is_measured (b, &r->test, s))
      r->series[s].rounds = allocate (b->rounds * sizeof (double));
  measure_rounds (b, r);
  for (s = 0; s < NR_SUBJECTS; ++s)
    if (r->series[s].rounds)
      r->series[s].median = quantile (r->series[s].rounds, b->rounds, 0.5);
  compare_with_limit (b, r);
}

static void
free_results (struct result *results, size_t nr)
{
  size_t i;
  unsigned s;

  for (i = 0; i < nr; ++i) {
    for (s = 0; s < NR_SUBJECTS; ++s)
      free (results[i].series[s].rounds);
    free (results[i].ratio.rounds);
  }
}

static void
measure_tests (struct bench *b, struct result *results, size_t nr)
{
  size_t i;

  if (!b->json)
    report_header (b);
  for (i = 0; i < nr; ++i) {
    measure (b, &results[i]);
    if (!b->json)
      report_result (b, &results[i]);
  }
}

static void
measure_all (struct bench *b)
{
  static struct result results[MAX_TESTS];
  static struct durable durable[NR_DURABLE];
  static struct journal_result journal[NR_THREAD_COUNTS];
  struct target targets[MAX_TARGETS];
  const size_t nr = b->sections & SECTION_RING ? make_tests (b, results) : 0;
  size_t nr_targets;

  if (nr > 0)
    measure_tests (b, results, nr);
  nr_targets = find_targets (results, nr, targets);
  if (b->sections & SECTION_WRITES)
    measure_durable (b, durable);
  if (b->sections & SECTION_WRITES && !b->json)
    report_durable (durable);
  if (b->sections & SECTION_JOURNAL) {
    measure_journal (b, journal);
    nr_targets = find_journal_targets (journal, targets, nr_targets);
  }
  if (b->sections & SECTION_JOURNAL && !b->json)
    report_journal (b, journal);
  if (b->json)
    report_json (b, results, nr, durable, journal, targets, nr_targets);
  else {
    report_bare (results, nr);
    report_targets (targets, nr_targets);
  }
  free_results (results, nr);
  free_durable (durable);
  free_journal (journal);
}

int
main (int argc, char *argv[])
{
  struct bench b = {
    .dir = ".", .seconds = 0.05, .rounds = 21,
    .sections = SECTION_RING | SECTION_WRITES | SECTION_JOURNAL,
  };

  parse_options (argc, argv, &b);
  /* A journal is measured on format 2. */
  if (b.format == 1)
    b.sections &= ~SECTION_JOURNAL;
  open_files (&b);
  measure_all (&b);
  close_files (&b);
  finish_output ();
  return EXIT_SUCCESS;
}
