/* SPDX-License-Identifier: BSD-3-Clause
 *
 * self-test [all]
 *
 * Would the explorer notice?  Each point at which an operation makes
 * something durable is left out in turn: the disk takes the flush, or the
 * FUA, and does nothing; or does it only when the operation is over, so that
 * what comes next in the operation may land before it.  The explorer must
 * find that the promise is broken, each time.
 *
 * The points are those that a survey of all operations came by.  Of
 * operations that differ in a length one is tried; 'all' tries all.
 */

#include <config.h>

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explore.h"

/* Compiled once for each format. */
#ifndef RING_FORMAT
#define RING_FORMAT 1
#endif
#define MAX_SITES 256
#define ENOUGH_STARTS 60     /* to find it */
#define ENOUGH_TO_PASS 8     /* to come by it */

#define COVERED "the second write of the claim and the flush at the end of " \
  "attach are made durable one by the other"
#define ATTACH(op, region) \
  { 2, { op, region, 1 }, { op, region, 2 }, COVERED }, \
  { 2, { op, region, 2 }, { op, region, 1 }, COVERED }
#define RECORDS "only records were read, and the flush at the end of attach " \
  "comes before anything is built on them"
#define POSITION "what a consumer's record passes was durable before that was "\
  "written, and each advance flushes for itself"

#define TAKEOVERS (BIT (OP_TAKE_OVER) | BIT (OP_CONSUMER_TAKE_OVER))
#define REQUESTS (UINT64_C (1) << OP_SUSPEND | UINT64_C (1) << OP_RESUME)

struct known_site {
  struct site site;
  bool followed;             /* by a write of the same operation */
};

static struct known_site sites[MAX_SITES];
static unsigned nr_sites;
static unsigned nr_starts;
static unsigned tests;
static bool all_ok = true;

/* Those that break no promise when they alone are left out: together with
 * another one they do, or they never do (the same one again). */
static const struct {
  unsigned format;
  struct site site, with;
  const char *why;
} needless[] = {
  { 1, { OP_CREATE, PRODUCER, 0 }, { OP_CREATE, PRODUCER, 0 },
    "which pointer is there first is of no matter before the signature" },
  { 2, { OP_CREATE, HEAD, 0 }, { OP_CREATE, HEAD, 1 },
    "what was there of format 1 is zero before the records are written" },
  ATTACH (OP_ATTACH_PRODUCER, PRODUCER),
  ATTACH (OP_RESTART_PRODUCER, PRODUCER),
  ATTACH (OP_ATTACH_CONSUMER, CONSUMER),
  ATTACH (OP_RESTART_CONSUMER, CONSUMER),
  /* Where there is no frame to be written again: */
  { 2, { OP_ATTACH_PRODUCER, NOTHING, 0 }, { OP_ATTACH_PRODUCER, PRODUCER, 2 },
    RECORDS },
  { 2, { OP_RESTART_PRODUCER, NOTHING, 0 },
    { OP_RESTART_PRODUCER, PRODUCER, 2 }, RECORDS },
  { 2, { OP_ATTACH_CONSUMER, NOTHING, 0 }, { OP_ATTACH_CONSUMER, NOTHING, 0 },
    POSITION },
  { 2, { OP_RESTART_CONSUMER, NOTHING, 0 },
    { OP_RESTART_CONSUMER, NOTHING, 0 }, POSITION },
  /* A taker claims twice, before and behind its walk. */
  { 2, { OP_TAKE_OVER, PRODUCER, 1 }, { OP_TAKE_OVER, PRODUCER, 2 },
    "the second write of the claim is durable by the flush before the next "
    "one" },
  ATTACH (OP_CONSUMER_TAKE_OVER, CONSUMER),
};

static int
find_needless (const struct site *s)
{
  size_t i;

  for (i = 0; i < sizeof needless / sizeof needless[0]; ++i)
    if (RING_FORMAT == needless[i].format &&
        same_site (&needless[i].site, s))
      return i;
  return -1;
}

/*---------------------------------------------------------------------*/

static struct known_site *
find_site (const struct site *s)
{
  unsigned i;

  for (i = 0; i < nr_sites; ++i)
    if (same_site (&sites[i].site, s))
      return &sites[i];
  if (nr_sites == MAX_SITES)
    abort ();
  sites[nr_sites].site = *s;
  return &sites[nr_sites++];
}

/* The last site of each port. */
static struct {
  unsigned begun;
  struct known_site *site;
} before[ACTORS];

static void
survey_site (struct port *port, const struct site *s)
{
  const struct actor *a = port->opaque;
  const unsigned n = a->number;

  if (a->world->alone)
    return;
  if (port->wrote && before[n].site && before[n].begun == port->begun)
    before[n].site->followed = true;
  before[n].site = find_site (s);
  before[n].begun = port->begun;
}

static void
get_start (unsigned i, struct start *s)
{
  /* In an order that has all kinds soon. */
  start_get (RING_FORMAT, i * UINT64_C (7919) % nr_starts, s);
}

static void
survey (const struct limits *limits, unsigned step)
{
  static struct explorer e;
  struct start s;
  unsigned i;

  for (i = 0; i < nr_starts; i += step) {
    get_start (i, &s);
    explorer_init (&e, &s, limits, 1);
    e.at_site = survey_site;
    e.j.most = 0;
    explore (&e);
    if (e.problem[0]) {
      printf ("not ok - survey\n# %s\n", e.problem);
      exit (1);
    }
    explorer_free (&e);
    memset (before, 0, sizeof before);
  }
}

/*---------------------------------------------------------------------*/

static unsigned passed;      /* how often the broken site was come by */
static struct site broken;

static void
count_site (struct port *port, const struct site *s)
{
  const struct actor *a = port->opaque;

  passed += !a->world->alone && same_site (&broken, s);
}

/* Can the operation be the first of a workload, or the second? */
static bool
suits (const struct start *s, enum op op)
{
  switch (op) {
  case OP_CREATE:
    return s->sides == DETACHED;
  case OP_ATTACH_PRODUCER:
    return s->sides == CONSUMER_ALONE;
  case OP_ATTACH_CONSUMER:
    return s->sides == PRODUCER_ALONE;
  default:
    return s->sides == ATTACHED || s->sides == POPPED;
  }
}

static struct limits
get_limits (enum op op, uint64_t without)
{
  struct limits l = {
    .operations = 3, .preemptions = 1, .without = without, .with = 1 + op,
  };

  if (op < OPS_BY_ITSELF)
    return l;
  /* It takes more of them, and so not all. */
  l.operations = 4;
  l.preemptions = 2;
  l.also = op == OP_TAKE_OVER ? PRODUCER_TAKEOVER : CONSUMER_TAKEOVER;
  l.at_random = true;
  l.runs = 1000;
  return l;
}

/* Does the explorer find that these are broken? */
static bool
finds (const struct site *site, const struct site *with, enum fault fault,
       uint64_t without, char *text, size_t size)
{
  const struct limits limits = get_limits (site->op, without);
  static struct explorer e;
  struct start s;
  bool found = false;
  unsigned i, tried = 0;

  broken = *site;
  passed = 0;
  for (i = 0; i < nr_starts && tried < ENOUGH_STARTS && !found; ++i) {
    get_start (i, &s);
    if (!suits (&s, site->op))
      continue;
    tried++;
    if (tried > ENOUGH_TO_PASS && passed == 0)
      break;
    explorer_init (&e, &s, &limits, 1 << 16);
    e.j.recover_one_in = 0;
    e.fault = fault;
    e.broken[0] = *site;
    e.broken[1] = *with;
    e.nr_broken = 2;
    e.at_site = count_site;
    explore (&e);
    found = e.problem[0];
    snprintf (text, size, "%s", e.problem);
    explorer_free (&e);
  }
  return found;
}

static void
test_site (const struct known_site *k, enum fault fault, uint64_t without)
{
  static const char *const regions[] = {
    "before it writes", "behind the head", "behind the producer's pointer",
    "behind the control record", "behind the consumer's pointer",
    "behind data"
  };
  const int n = find_needless (&k->site);
  const struct site *with = n == -1 ? &k->site : &needless[n].with;
  const bool skip = n != -1 && same_site (&k->site, with);
  static char text[4096];
  bool found = !skip && finds (&k->site, with, fault, without, text,
                               sizeof text);

  if (!skip && passed == 0)
    return;
  all_ok = all_ok && (found || skip);
  printf ("%s %u - %s: flush %u %s %s%s%s\n", found || skip ? "ok" : "not ok",
          ++tests, op_names[k->site.op], k->site.nth + 1,
          regions[k->site.region], fault == DROP ? "left out" : "too late",
          without ? ", without suspend" : "",
          skip ? " # SKIP it breaks no promise" : "");
  if (n != -1)
    printf ("# %s\n", needless[n].why);
  if (!skip)
    printf ("# %s\n", text);
  fflush (stdout);
}

static void
test_all_of (const struct known_site *k)
{
  const bool defer = k->followed && find_needless (&k->site) == -1;

  test_site (k, DROP, 0);
  if (defer)
    test_site (k, DEFER, 0);
  /* A flush for two reasons, of which one is to acknowledge. */
  if (k->site.region != NOTHING || REQUESTS >> k->site.op & 1)
    return;
  test_site (k, DROP, REQUESTS);
  if (defer)
    test_site (k, DEFER, REQUESTS);
}

/* Another one does the same.  So it is with what a taker does besides the
 * claims: to write frames again, and to acknowledge. */
static bool
is_alike (const struct site *s)
{
  const enum op op = s->op;

  return (op > OP_PUSH_0 && op <= OP_PUSH_1200) || op == OP_APPEND_BATCH ||
    op == OP_FREE || (op == OP_TAKE_OVER && (s->region == DATA ||
                                             s->nth > 4));
}

int
main (int argc, char **argv)
{
  static const struct limits two = { .operations = 2 };
  static const struct limits one = { .operations = 1, .also = TAKEOVERS };
  const bool all = argc > 1 && strcmp (argv[1], "all") == 0;
  struct start s;
  unsigned i;

  mallopt (M_MMAP_THRESHOLD, 64 << 20);
  mallopt (M_TRIM_THRESHOLD, 256 << 20);
  while (start_get (RING_FORMAT, nr_starts, &s))
    nr_starts++;
  survey (&two, 2);
  if (RING_FORMAT == 2)
    survey (&one, 8);
  for (i = 0; i < nr_sites; ++i)
    if (!is_alike (&sites[i].site) ||
        (all && sites[i].site.op < OPS_BY_ITSELF))
      test_all_of (&sites[i]);
  printf ("1..%u\n", tests);
  return all_ok ? 0 : 1;
}
