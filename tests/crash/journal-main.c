/* SPDX-License-Identifier: BSD-3-Clause
 *
 * journal
 *
 * A journal on a disk, and the power goes: whatever that leaves, each item
 * whose push has returned is performed at least once, in order, by the
 * journal that is started on it; and none again of which it was known that
 * it is freed.  The ring itself must keep its promise, too (judge.c).
 *
 * Explored are all workloads of a few operations, with the program and the
 * journal's thread taking turns in every order of their requests in which one
 * of them is stopped in the middle at most so often.  Then each point at
 * which a push, or the freeing of what was performed, makes something durable
 * is left out, and that must be found.
 */

#include <config.h>

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal-world.h"

/* Compiled once for each format. */
#ifndef RING_FORMAT
#define RING_FORMAT 1
#endif
/* What is explored in a moment. */
#define SOME_STARTS (RING_FORMAT == 1 ? 12 : 3)
#define SOME_TURNS (RING_FORMAT == 1 ? 2 : 1)
#define FEW_STARTS (RING_FORMAT == 1 ? 2 : 1)
#define MAX_SITES 64
#define SITE_STARTS 8
#define KNOWN (1 << 18)

static const char *const activity_names[ACTIVITIES] = {
  "start", "push", "sync", "shutdown", "freeing",
};

/* All of so many steps, until there is a problem. */
static void
explore_all (unsigned nr)
{
  enum step steps[8];
  uint64_t n, total = 1, i;
  unsigned k;

  for (k = 0; k < nr; ++k)
    total *= STEPS;
  for (n = 0; n < total && !x.problem[0]; ++n) {
    for (k = 0, i = n; k < nr; ++k, i /= STEPS)
      steps[k] = i % STEPS;
    explore_workload (steps, nr);
  }
}

/*---------------------------------------------------------------------*/

static void
open_start (const struct start *s)
{
  const size_t size = start_disk_size (s);
  struct world *w = &x.w;

  world_init (w, size, s->flags, start_region (s));
  start_make (s, w);
  x.image = malloc (size);
  x.hashes = malloc (size / SECTOR * sizeof x.hashes[0]);
  if (x.image == NULL || x.hashes == NULL)
    abort ();
  memcpy (x.image, w->disk.durable, size);
  memcpy (x.hashes, w->disk.hashes, size / SECTOR * sizeof x.hashes[0]);
  x.hash = w->disk.hash;
  x.model = w->model;
  memset (x.model.epoch, 0, sizeof x.model.epoch);
  w->disk.tracked = true;
  w->disk.written = journal_written;
  w->disk.yield = journal_yield;
  port_open (&x.port, &w->disk, NULL);
  judge_init (&x.j, &w->disk, KNOWN);
  x.j.tears = s->format == 2;
  x.j.recover_one_in = 4;
  x.j.also = restart_journal;
  x.problem[0] = '\0';
}

static void
close_start (void)
{
  x.w.disk.yield = NULL;
  judge_free (&x.j);
  port_close (&x.port);
  world_free (&x.w);
  free (x.image);
  free (x.hashes);
}

/* The rings to begin with: nobody is there, and there is room for a push. */
static bool
get_start (unsigned number, struct start *s)
{
  unsigned i, found = 0;

  for (i = 0; start_get (RING_FORMAT, i, s); ++i)
    if (s->sides == DETACHED && !s->ticks && s->sectors >= 3 &&
        s->fill <= PART && found++ == number)
      return true;
  return false;
}

static unsigned tests;
static bool all_ok = true;

static void
report (bool ok, const char *what, const char *more)
{
  printf ("%s %u - %s\n", ok ? "ok" : "not ok", ++tests, what);
  if (more[0])
    printf ("# %s\n", more);
  fflush (stdout);
  all_ok = all_ok && ok;
}

static void
explore_starts (unsigned starts, unsigned steps, unsigned preemptions)
{
  uint64_t points = 0, images = 0, restarts;
  char what[200], text[200];
  struct start s;
  unsigned i, n = 0;

  while (get_start (n, &s))
    n++;
  if (starts > n)
    starts = n;
  x.workloads = x.runs = x.restarts = 0;
  x.preemptions = preemptions;
  x.problem[0] = '\0';
  for (i = 0; i < starts && !x.problem[0]; ++i) {
    get_start (i * 7 % n, &s);
    open_start (&s);
    explore_all (steps);
    points += x.j.points;
    images += x.j.images;
    close_start ();
  }
  restarts = x.restarts;
  snprintf (what, sizeof what, "workloads of %u steps, %u times interrupted, "
            "from %u of %u rings: all is performed", steps, preemptions, i,
            n);
  if (x.problem[0]) {
    start_describe (&s, text, sizeof text);
    printf ("# %s\n", text);
  }
  report (x.problem[0] == '\0', what, x.problem);
  printf ("# %" PRIu64 " workloads, %" PRIu64 " runs, %" PRIu64 " crash "
          "points, %" PRIu64 " images, %" PRIu64 " journals started on one\n",
          x.workloads, x.runs, points, images, restarts);
}

/*---------------------------------------------------------------------*/
/* Would it notice?                                                       */

static struct site sites[MAX_SITES];
static unsigned nr_sites;

static void
survey_site (struct port *port, const struct site *s)
{
  unsigned i;

  (void) port;
  if (s->op != PUSH_ && s->op != PERFORM_)
    return;
  for (i = 0; i < nr_sites; ++i)
    if (same_site (&sites[i], s))
      return;
  if (nr_sites == MAX_SITES)
    abort ();
  sites[nr_sites++] = *s;
}

static void
survey (void)
{
  struct start s;

  x.preemptions = 0;
  get_start (0, &s);
  open_start (&s);
  x.j.most = 0;
  x.w.disk.at_site = survey_site;
  explore_all (3);
  if (x.problem[0])
    report (false, "survey", x.problem);
  close_start ();
}

/* A flush before the first write is for what the other side had not made
 * durable.  A journal performs only what is, and takes only the room that its
 * own consumer has made, so that it does no harm to leave it out. */
static bool
is_needless (const struct site *s)
{
  return s->region == NOTHING;
}

static void
test_site (const struct site *site)
{
  static const char *const regions[REGIONS] = {
    "before it writes", "behind the head", "behind the producer's pointer",
    "behind the control record", "behind the consumer's pointer",
    "behind data"
  };
  char what[200];
  struct start s;
  unsigned i;

  snprintf (what, sizeof what, "%s: flush %u %s left out is found",
            activity_names[site->op], site->nth + 1, regions[site->region]);
  if (is_needless (site)) {
    strcat (what, " # SKIP it breaks no promise");
    report (true, what, "");
    return;
  }
  x.problem[0] = '\0';
  /* The shortest that shows it comes first. */
  for (i = 0; i < 4 * SITE_STARTS && !x.problem[0]; ++i) {
    x.preemptions = i / SITE_STARTS % 2;
    if (!get_start (i % SITE_STARTS * 3, &s))
      continue;
    open_start (&s);
    x.j.recover_one_in = 0;
    x.w.disk.fault = DROP;
    x.w.disk.broken[0] = *site;
    x.w.disk.nr_broken = 1;
    explore_all (2 + i / (2 * SITE_STARTS));
    x.w.disk.fault = SOUND;
    close_start ();
  }
  report (x.problem[0], what, x.problem);
  x.problem[0] = '\0';
}

int
main (void)
{
  const bool all = getenv ("BLKRING_IMAGES") != NULL;
  unsigned i;

  mallopt (M_MMAP_THRESHOLD, 64 << 20);
  mallopt (M_TRIM_THRESHOLD, 256 << 20);
  pair_init (&x.pair);
  x.pair.changed = journal_changed;
  pair_use (&x.pair);
  explore_starts (all ? 1000 : SOME_STARTS, 2, all ? 2 : SOME_TURNS);
  explore_starts (all ? 1000 : FEW_STARTS, 3, 1);
  if (all)
    explore_starts (12, 4, 1);
  survey ();
  for (i = 0; i < nr_sites; ++i)
    test_site (&sites[i]);
  report (nr_sites >= 2, "there is something to leave out", "");
  printf ("1..%u\n", tests);
  return all_ok ? 0 : 1;
}
