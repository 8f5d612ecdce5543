/* SPDX-License-Identifier: BSD-3-Clause
 *
 * explore [SEED]
 *
 * A producer and a consumer on one disk, and the power goes.  Whatever
 * that leaves must keep the promise (judge.c).  Explored are all workloads
 * of a few operations in every order of their requests, from rings of each
 * kind (start.c); some of those in which one replaces another; and some long
 * ones at random.
 *
 * The seed is printed; BLKRING_SEED sets it, too.  Where it is not given, only
 * the long workloads are other ones each time.  BLKRING_IMAGES asks for
 * that many images at least: then the longer workloads from all rings, and
 * random ones until there are so many, but no longer than BLKRING_SECONDS
 * (0 = no limit).  BLKRING_SHARE is a percentage of the rings, for a slow
 * build.
 */

#include <config.h>

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "explore.h"
#include "random.h"

/* Compiled once for each format. */
#ifndef RING_FORMAT
#define RING_FORMAT 1
#endif
#define SOME_RANDOM 12
#define OPERATIONS 2000
#define KNOWN (1 << 18)

static struct {
  uint64_t workloads, runs, points, images, again, equal, sampled, reported,
    last_lost;
} total;

static unsigned tests;
static time_t begin;
static uint64_t wanted, seconds, share;
static bool all_ok = true;

#define TAKEOVERS (PRODUCER_TAKEOVER | CONSUMER_TAKEOVER | THIRD_PRODUCER)

/* What is explored, and how much of it for 200,000 images in a moment. */
static const struct part {
  unsigned format;           /* 0 = both */
  unsigned starts[2];        /* rings of format 1, and 2 */
  uint64_t some_runs;        /* from each, at random; 0 = as in 'limits' */
  struct limits limits;
} parts[] = {
  { 0, { 250, 50 }, 0, { .operations = 2, .preemptions = 1 } },
  { 0, { 40, 2 }, 0, { .operations = 3, .preemptions = 1 } },
  { 2, { 0, 40 }, 80,
    { .operations = 3, .preemptions = 1, .also = PRODUCER_TAKEOVER,
      .with = 1 + OP_TAKE_OVER } },
  { 2, { 0, 40 }, 80,
    { .operations = 5, .preemptions = 2,
      .also = PRODUCER_TAKEOVER | THIRD_PRODUCER, .with = 1 + OP_TAKE_OVER,
      .runs = 1000, .at_random = true } },
  { 2, { 0, 40 }, 80,
    { .operations = 5, .preemptions = 2, .also = CONSUMER_TAKEOVER,
      .with = 1 + OP_CONSUMER_TAKE_OVER, .runs = 1000, .at_random = true } },
  { 2, { 0, 40 }, 80,
    { .operations = 6, .preemptions = 3, .also = TAKEOVERS,
      .with = 1 + OP_CONSUMER_TAKE_OVER, .runs = 1000, .at_random = true } },
};
#define NR_PARTS (sizeof parts / sizeof parts[0])
/* Those of both formats come first; long random workloads last. */
#define PARTS (RING_FORMAT == 1 ? 3 : (unsigned) NR_PARTS + 1)

static bool
is_over (void)
{
  return seconds != 0 && (uint64_t) (time (NULL) - begin) >=
    seconds * (tests + 1) / PARTS;
}

static void
add_judge (const struct judge *j)
{
  total.points += j->points;
  total.images += j->images;
  total.again += j->again;
  total.equal += j->equal;
  total.sampled += j->sampled;
  total.reported += j->reported;
  total.last_lost += j->last_lost;
}

static void
report (const char *what, const char *problem_text)
{
  const bool ok = problem_text[0] == '\0';

  all_ok = all_ok && ok;
  printf ("%s %u - %s\n", ok ? "ok" : "not ok", ++tests, what);
  if (!ok)
    printf ("# %s\n", problem_text);
  printf ("# %" PRIu64 " workloads, %" PRIu64 " runs, %" PRIu64
          " crash points, %" PRIu64 " images (%" PRIu64 " of them after a "
          "crash while recovering), %" PRIu64 " equal ones not again\n",
          total.workloads, total.runs, total.points, total.images,
          total.again, total.equal);
  if (total.sampled > 0)
    printf ("# of %" PRIu64 " crash points some of the images\n",
            total.sampled);
  if (total.reported > 0)
    printf ("# of %" PRIu64 " images a loss by one that had been replaced was "
            "told; of %" PRIu64 " more nobody can tell, see docs/format2.md\n",
            total.reported - total.last_lost, total.last_lost);
  memset (&total, 0, sizeof total);
  fflush (stdout);
}

static bool
suits (const struct limits *limits, const struct start *s)
{
  return ((limits->also & BIT (OP_TAKE_OVER)) == 0 ||
          (s->sides != DETACHED && s->sides != CONSUMER_ALONE)) &&
    ((limits->also & BIT (OP_CONSUMER_TAKE_OVER)) == 0 ||
     (s->sides != DETACHED && s->sides != PRODUCER_ALONE));
}

/* Who else is there. */
static const char *
cast (const struct limits *limits)
{
  return limits->also == TAKEOVERS
    ? ", with producers and a consumer that others replace"
    : limits->also & BIT (OP_THIRD_TAKE_OVER)
    ? ", with two producers that replace the one before them"
    : limits->also & BIT (OP_TAKE_OVER)
    ? ", with a producer that another one replaces"
    : limits->also ? ", with a consumer that another one replaces" : "";
}

/* All workloads from 'most' of the starts that suit; 0 = all. */
static uint64_t
explore_starts (const struct limits *limits, unsigned most)
{
  static struct explorer e;
  struct start s;
  unsigned nr = 0, i, n;
  uint64_t images;
  char what[240];

  while (start_get (RING_FORMAT, nr, &s))
    nr++;
  n = most != 0 && most < nr ? (most * share + 99) / 100 : nr;
  e.problem[0] = '\0';
  for (i = 0; i < n && !e.problem[0] && !is_over (); ++i) {
    /* Some of each kind. */
    start_get (RING_FORMAT, i * UINT64_C (7919) % nr, &s);
    if (!suits (limits, &s))
      continue;
    explorer_init (&e, &s, limits, KNOWN);
    if (most != 0)
      e.j.recover_one_in = 4;
    explore (&e);
    total.workloads += e.workloads;
    total.runs += e.runs;
    add_judge (&e.j);
    explorer_free (&e);
  }
  snprintf (what, sizeof what, "%s workloads of up to %u operations, %u times "
            "interrupted%s, from %u of %u rings keep the promise",
            limits->at_random ? "some" : "all", limits->operations,
            limits->preemptions, cast (limits), i, nr);
  images = total.images;
  report (what, e.problem);
  return images;
}

static uint64_t
explore_random (uint64_t seed, uint64_t images)
{
  static struct random_run r;
  uint64_t done, i;
  char what[200];

  r.problem[0] = '\0';
  for (i = 0; (i < (SOME_RANDOM * share + 99) / 100 ||
               total.images < images) && !r.problem[0] && !is_over (); ++i) {
    random_init (&r, RING_FORMAT, mix (seed + i));
    random_go (&r, OPERATIONS);
    total.workloads += r.operations;
    total.runs += r.crashes;
    add_judge (&r.j);
    random_free (&r);
  }
  done = total.images;
  snprintf (what, sizeof what, "%" PRIu64 " random workloads of %u operations "
            "each keep the promise, seed %" PRIu64, i, OPERATIONS, seed);
  report (what, r.problem);
  return done;
}

static uint64_t
number (const char *name, uint64_t otherwise)
{
  const char *value = getenv (name);

  return value && *value ? strtoull (value, NULL, 0) : otherwise;
}

int
main (int argc, char **argv)
{
  uint64_t seed = number ("BLKRING_SEED", time (NULL)), done = 0;
  const bool given = argc > 1 || number ("BLKRING_SEED", 0) != 0;
  const struct part *p;
  struct limits limits;

  if (argc > 1)
    seed = strtoull (argv[1], NULL, 0);
  /* Thousands of attaches a second: do not give memory back each time. */
  mallopt (M_MMAP_THRESHOLD, 64 << 20);
  mallopt (M_TRIM_THRESHOLD, 256 << 20);
  begin = time (NULL);
  wanted = number ("BLKRING_IMAGES", 0);
  seconds = number ("BLKRING_SECONDS", 0);
  share = number ("BLKRING_SHARE", 100);
  printf ("1..%u\n# format %u, seed %" PRIu64 "%s\n", PARTS, RING_FORMAT, seed,
          given || wanted ? "" : " (of the last part)");

  for (p = parts; p < parts + NR_PARTS; ++p) {
    if (p->format != 0 && p->format != RING_FORMAT)
      continue;
    limits = p->limits;
    limits.seed = given || wanted ? seed : 0;
    if (!wanted && p->some_runs) {
      limits.runs = p->some_runs;
      limits.at_random = true;
    }
    done += explore_starts (&limits, wanted ? 0 : p->starts[RING_FORMAT - 1]);
  }
  done += explore_random (seed, wanted > done ? wanted - done : 0);
  printf ("# %" PRIu64 " images in %ld s\n", done, (long)
          (time (NULL) - begin));
  return all_ok ? 0 : 1;
}
