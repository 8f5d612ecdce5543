/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: the tests.
 *
 * All peers are open as long as a test lasts.  Each round measures one after
 * the other, for a short time, and begins with another one, so that all see
 * the same disk in the same mood.  The first round is to warm up, and does
 * not count: by then each has written its files as far as it will need them.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peers.h"

#define WAKES 5              /* a round */
#define BLOCK 4096

struct run {
  const struct options *options;
  struct test *test;
  struct pair pairs[MAX_PEERS];
  uint64_t most;             /* items */
  uint64_t untaken[MAX_PEERS];
  double *from_begin[MAX_PEERS], *from_return[MAX_PEERS];
};

/*---------------------------------------------------------------------*/

/* All were asked for (NULL), or this one was. */
static bool
is_wanted (const char *names, const char *name)
{
  char *list, *rest, *word;
  bool wanted = names == NULL;

  if (wanted)
    return true;
  list = rest = strdup (names);
  while ((word = strsep (&rest, ",")) != NULL)
    wanted = wanted || strcmp (word, name) == 0;
  free (list);
  return wanted;
}

static bool
is_wanted_test (const struct options *options, const struct test *t)
{
  char name[32];

  snprintf (name, sizeof name, "%zux%zu", t->length, t->batch);
  return is_wanted (options->tests, name);
}

/* What is missing, or NULL. */
static const char *
missing_package (const struct entry *entry)
{
  char *program;

  if (entry->peer == NULL)
    return entry->package;
  if (entry->peer->program == NULL)
    return NULL;
  program = find_program (entry->peer->program);
  if (program == NULL)
    return entry->peer->package;
  free (program);
  return NULL;
}

static unsigned
find_peers (const struct options *options, const struct peer *peers[MAX_PEERS])
{
  const struct entry *e;
  const char *package;
  unsigned nr = 0;

  for (e = entries; e < entries + nr_entries; ++e) {
    if (e != entries && !is_wanted (options->peers, e->name))
      continue;
    package = missing_package (e);
    if (package != NULL)
      report_missing (e->name, package);
    else {
      report_peer (e->peer);
      peers[nr++] = e->peer;
    }
  }
  return nr;
}

/*---------------------------------------------------------------------*/

static void
enter (const char *dir)
{
  if (chdir (dir) == -1)
    fail_errno (dir);
}

static void
enter_new (const char *dir)
{
  if (mkdir (dir, 0700) == -1)
    fail_errno (dir);
  enter (dir);
}

/* What was removed and made before shall not be written meanwhile. */
static void
settle (void)
{
  const int fd = open (".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  if (fd == -1 || syncfs (fd) == -1)
    fail_errno ("cannot sync");
  close (fd);
}

static void
start_all (struct run *r)
{
  const struct test *t = r->test;
  const struct peer *peer;
  unsigned i;

  enter_new ("test");
  for (i = 0; i < t->nr; ++i) {
    peer = t->results[i].peer;
    enter_new (peer->name);
    if (peer->start != NULL)
      peer->start (r->options->size);
    pair_start (&r->pairs[i], peer, t->length, t->batch);
    enter ("..");
  }
  settle ();
}

static void
stop_all (struct run *r)
{
  const struct peer *peer;
  unsigned i;

  for (i = 0; i < r->test->nr; ++i) {
    peer = r->test->results[i].peer;
    pair_stop (&r->pairs[i]);
    if (peer->stop != NULL)
      peer->stop ();
  }
  enter ("..");
  remove_tree ("test");
}

/*---------------------------------------------------------------------*/

static double
rate (uint64_t items, uint64_t begin, uint64_t end)
{
  return items / ((end - begin) / 1e9);
}

/* Items per second.  A take is of what the last put left. */
static double
run_peer (struct run *r, unsigned i, enum what what)
{
  struct pair *pair = &r->pairs[i];
  const double seconds = r->options->seconds;
  struct done put, taken;

  switch (what) {
  case PUT:
    put = pair_put (pair, seconds, r->most);
    r->untaken[i] = put.items;
    return rate (put.items, put.begin, put.end);
  case TAKE:
    taken = pair_take (pair, r->untaken[i]);
    return rate (taken.items, taken.begin, taken.end);
  default:
    pair_both (pair, seconds, r->most, &put, &taken);
    return rate (taken.items, put.begin, taken.end);
  }
}

static void
measure_wakes (struct run *r, unsigned i, unsigned round)
{
  if (r->from_begin[i] != NULL)
    pair_wake (&r->pairs[i], WAKES, r->from_begin[i] + round * WAKES,
               r->from_return[i] + round * WAKES);
}

/* The same work of all peers lies close together. */
static void
measure_rounds (struct run *r)
{
  const unsigned nr = r->test->nr;
  unsigned round, what, i, k;

  for (what = 0; what < NR_WHATS; ++what)
    for (i = 0; i < nr; ++i)
      run_peer (r, i, what);
  for (round = 0; round < r->options->rounds; ++round) {
    for (what = 0; what < NR_WHATS; ++what)
      for (k = 0; k < nr; ++k) {
        i = (k + round) % nr;
        r->test->results[i].rate[what].rounds[round] = run_peer (r, i, what);
      }
    for (i = 0; i < nr; ++i)
      measure_wakes (r, i, round);
  }
}

static void
compare (const struct run *r, struct result *result)
{
  const struct result *ring = &r->test->results[0];
  const unsigned rounds = r->options->rounds;
  unsigned what, i;

  for (what = 0; what < NR_WHATS; ++what) {
    for (i = 0; i < rounds; ++i)
      result->ratio[what].rounds[i] = ring->rate[what].rounds[i] /
        result->rate[what].rounds[i];
    result->rate[what].median = quantile (result->rate[what].rounds, rounds,
                                          0.5);
    result->ratio[what].median = quantile (result->ratio[what].rounds, rounds,
                                           0.5);
  }
}

static void
measure (const struct options *options, struct test *test)
{
  struct run r = { .options = options, .test = test };
  const unsigned nr_wakes = options->rounds * WAKES;
  const uint64_t commit = (test->batch * (test->length + 16) + 2 * BLOCK - 1)
    / BLOCK * BLOCK;
  struct result *result;
  unsigned i, what;

  r.most = options->size / 8 * 5 / commit * test->batch;
  for (i = 0; i < test->nr; ++i) {
    result = &test->results[i];
    for (what = 0; what < NR_WHATS; ++what) {
      result->rate[what].rounds = allocate (options->rounds * sizeof (double));
      result->ratio[what].rounds = allocate (options->rounds *
                                             sizeof (double));
    }
    if (test->batch == 1) {
      r.from_begin[i] = allocate (nr_wakes * sizeof (double));
      r.from_return[i] = allocate (nr_wakes * sizeof (double));
    }
  }
  start_all (&r);
  measure_rounds (&r);
  stop_all (&r);
  for (i = 0; i < test->nr; ++i) {
    compare (&r, &test->results[i]);
    if (r.from_begin[i] == NULL)
      continue;
    test->results[i].from_begin = quantile (r.from_begin[i], nr_wakes, 0.5);
    test->results[i].from_return = quantile (r.from_return[i], nr_wakes, 0.5);
    free (r.from_begin[i]);
    free (r.from_return[i]);
  }
}

void
measure_all (const struct options *options)
{
  static struct test tests[] = {
    { .length = 512, .batch = 1 }, { .length = LARGEST_ITEM, .batch = 1 },
    { .length = 512, .batch = BATCH },
    { .length = LARGEST_ITEM, .batch = BATCH },
  };
  const unsigned nr_tests = sizeof tests / sizeof tests[0];
  const struct peer *peers[MAX_PEERS];
  unsigned nr, i, k;
  bool first = true;

  report_header (options);
  nr = find_peers (options, peers);
  for (i = 0; i < nr_tests; ++i) {
    if (!is_wanted_test (options, &tests[i]))
      continue;
    tests[i].nr = nr;
    for (k = 0; k < nr; ++k)
      tests[i].results[k].peer = peers[k];
    measure (options, &tests[i]);
    report_test (&tests[i], options->rounds, first);
    first = false;
  }
  for (i = 0; i < nr_tests; ++i)
    if (tests[i].batch == 1 && tests[i].nr > 0)
      report_wake (&tests[i]);
  report_targets (tests, nr_tests);
}
