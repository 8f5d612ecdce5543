/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: the tables.
 */

#include <config.h>

#include <stdio.h>

#include "blkring.h"
#include "peers.h"

void
report_header (const struct options *options)
{
  printf ("libblkring %s: medians of %u rounds of %g s\n\n",
          blkring_version (), options->rounds, options->seconds);
}

void
report_peer (const struct peer *peer)
{
  printf ("%-15s %s%s\n", peer->name, peer->how,
          peer->no_batch ? "; no batches: 64 are pipelined" : "");
}

void
report_missing (const char *name, const char *package)
{
  printf ("%-15s left out: the package %s is missing\n", name, package);
}

/*---------------------------------------------------------------------*/

static void
report_rate (const struct result *r, enum what what, unsigned rounds)
{
  const struct series *ratio = &r->ratio[what];

  printf (" %9.0f %5.2f %5.2f-%-5.2f", r->rate[what].median, ratio->median,
          quantile (ratio->rounds, rounds, 0.25),
          quantile (ratio->rounds, rounds, 0.75));
}

void
report_test (const struct test *t, unsigned rounds, bool first)
{
  const struct result *r;
  unsigned what;

  if (first)
    printf ("\nitems/s of put, of take with acknowledgement, and of both at "
            "the same time\n"
            "ratio: blkring / peer, median and quartiles of the rounds' "
            "ratios\n\n"
            "%4s %5s %-14s %9s %5s %-11s %9s %5s %-11s %9s %5s %-11s\n",
            "size", "batch", "peer", "put", "ratio", "quartiles", "take",
            "ratio", "quartiles", "both", "ratio", "quartiles");
  for (r = t->results; r < t->results + t->nr; ++r) {
    printf ("%4zu %5zu %-14s", t->length, t->batch, r->peer->name);
    for (what = 0; what < NR_WHATS; ++what)
      report_rate (r, what, rounds);
    printf ("\n");
  }
  fflush (stdout);
}

void
report_wake (const struct test *t)
{
  const struct result *r;

  printf ("\nwake-up of a waiting consumer, %zu B, microseconds to the "
          "delivery\n%-14s %10s %11s  %s\n", t->length, "peer", "from begin",
          "from return", "by");
  for (r = t->results; r < t->results + t->nr; ++r)
    printf ("%-14s %10.0f %11.0f  %s\n", r->peer->name, r->from_begin / 1e3,
            r->from_return / 1e3, r->peer->waits);
}

/*---------------------------------------------------------------------*/

/* The one that blkring is the least ahead of, or NULL. */
static const struct result *
find_best (const struct test *t, enum what what)
{
  const struct result *best = NULL, *r;

  for (r = t->results; r < t->results + t->nr; ++r)
    if (!r->peer->no_peer &&
        (best == NULL || r->ratio[what].median < best->ratio[what].median))
      best = r;
  return best;
}

static double
wanted (const struct test *t, enum what what)
{
  if (what == BOTH)
    return 2;
  return t->batch == 1 ? 1 : t->length < LARGEST_ITEM ? 2 : 4;
}

static void
report_target (const struct test *t, enum what what)
{
  static const char *const names[] = { "put", "take", "both" };
  const struct result *best = find_best (t, what);
  const double least = wanted (t, what);

  if (best == NULL)
    return;
  printf ("  %4zu B, %2zu a commit, %-4s  %6.2f >= %.2f  %s, best peer: %s\n",
          t->length, t->batch, names[what], best->ratio[what].median, least,
          best->ratio[what].median >= least ? "reached" : "missed ",
          best->peer->name);
}

void
report_targets (const struct test *tests, unsigned nr)
{
  unsigned i, what;

  printf ("\ntargets: blkring / the best of the others\n");
  for (what = 0; what < NR_WHATS; ++what)
    for (i = 0; i < nr; ++i)
      report_target (&tests[i], what);
}
