/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: the tables for people.
 */

#include <config.h>

#include <stdio.h>

#include "bench.h"

#define MIB 1048576.0

const char *
direction_name (const struct test *t)
{
  return t->direction == POP ? "pop" : t->format == 1 ? "push" : "append";
}

const char *
durability_name (const struct test *t)
{
  return t->durable ? "full" : "none";
}

const char *
subject_name (enum subject s)
{
  static const char *const names[NR_SUBJECTS] = {
    [RING] = "ring",
    [LIMIT_PLAIN] = "plain",
    [LIMIT_DSYNC] = "dsync",
    [LIMIT_FDATASYNC] = "fdatasync",
    [LIMIT_DIRECT] = "direct",
    [BARE] = "bare",
    [CHECKSUM] = "checksum",
  };

  return names[s];
}

void
report_header (const struct bench *b)
{
  printf ("libblkring %s: ring of %u MiB%s, medians of %u rounds of %g s\n"
          "limit: the same bytes by bare system calls\n"
          "ratio: ring / limit, median and quartiles of the rounds' ratios\n"
          "crc: what of the ring's time is CRC32C\n\n"
          "%-7s %-6s %6s %5s %-7s %10s %8s %11s %-9s %5s %-9s %5s\n",
          blkring_version (), (unsigned) (RING_SIZE >> 20),
          b->direct ? " with O_DIRECT" : "", b->rounds, b->seconds,
          "format", "test", "size", "batch", "durable", "items/s", "MiB/s",
          "limit", "by", "ratio", "quartiles", "crc");
}

void
report_result (const struct bench *b, const struct result *r)
{
  const struct test *t = &r->test;
  const double ring = r->series[RING].median;
  char format[16] = "1";

  if (t->format == 2)
    snprintf (format, sizeof format, "2/%u", t->block_size);
  printf ("%-7s %-6s %6zu %5zu %-7s %10.0f %8.1f %11.0f %-9s %5.2f %4.2f-%4.2f",
          format, direction_name (t), t->length, t->batch,
          durability_name (t), ring, ring * t->length / MIB,
          r->series[r->limit].median, subject_name (r->limit), r->ratio.median,
          quantile (r->ratio.rounds, b->rounds, 0.25),
          quantile (r->ratio.rounds, b->rounds, 0.75));
  if (r->series[CHECKSUM].rounds)
    printf (" %4.1f%%", 100 * checksum_share (r));
  printf ("\n");
  fflush (stdout);
}

/*---------------------------------------------------------------------*/

static void
report_ways (const struct durable *d)
{
  unsigned way;

  printf ("%6zu %-10s", d->length, d->prewritten ? "prewritten" : "unwritten");
  for (way = 0; way < NR_WAYS; ++way)
    if (d->ways[way].median > 0)
      printf (" %16.0f", d->ways[way].median);
    else
      printf (" %16s", "-");
  printf ("\n");
}

/* What blkring does with a file, beside the plainest way. */
static void
report_gain (const struct durable *unwritten, const struct durable *prewritten)
{
  const double ours = prewritten->ways[DSYNC].median;
  const double plain = unwritten->ways[FDATASYNC].median;

  if (ours > 0 && plain > 0)
    printf ("%6zu %s, prewritten: %.2f times fdatasync, unwritten\n",
            prewritten->length, way_name (DSYNC), ours / plain);
}

void
report_durable (const struct durable durable[NR_DURABLE])
{
  unsigned i, way;

  printf ("\nfastest durable write, writes/s (a ring in a file: %s)\n"
          "%6s %-10s", way_name (DSYNC), "size", "blocks");
  for (way = 0; way < NR_WAYS; ++way)
    printf (" %16s", way_name (way));
  printf ("\n");
  for (i = 0; i < NR_DURABLE; ++i)
    report_ways (&durable[i]);
  for (i = 0; i < NR_DURABLE; i += 2)
    report_gain (&durable[i], &durable[i + 1]);
}

/*---------------------------------------------------------------------*/

static void
report_bare (const struct result *results, size_t nr)
{
  size_t i;

  for (i = 0; i < nr; ++i)
    if (results[i].test.bare)
      printf ("bare %s of %u bytes: %.0f/s\n",
              results[i].test.direction == PUSH ? "pwrite" : "pread",
              SECTOR, results[i].series[BARE].median);
}

void
report_targets (const struct result *results, size_t nr)
{
  struct target targets[MAX_TARGETS], *t;
  size_t nr_targets = find_targets (results, nr, targets);
  char where[48];

  printf ("\n");
  report_bare (results, nr);
  printf ("\ntargets\n");
  for (t = targets; t < targets + nr_targets; ++t) {
    where[0] = '\0';
    if (t->worst[0])
      snprintf (where, sizeof where, ", worst at %s", t->worst);
    printf ("  %-51s %5.2f >= %.2f  %s%s\n", t->name, t->measured, t->wanted,
            t->measured >= t->wanted ? "reached" : "missed", where);
  }
}
