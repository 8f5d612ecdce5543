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

void
report_bare (const struct result *results, size_t nr)
{
  size_t i;

  if (nr > 0)
    printf ("\n");
  for (i = 0; i < nr; ++i)
    if (results[i].test.bare)
      printf ("bare %s of %u bytes: %.0f/s\n",
              results[i].test.direction == PUSH ? "pwrite" : "pread",
              SECTOR, results[i].series[BARE].median);
}

void
report_targets (const struct target *targets, size_t nr)
{
  const struct target *t;
  char where[48];

  printf ("\ntargets\n");
  for (t = targets; t < targets + nr; ++t) {
    where[0] = '\0';
    if (t->worst[0])
      snprintf (where, sizeof where, ", worst at %s", t->worst);
    printf ("  %-51s %5.2f >= %.2f  %s%s\n", t->name, t->measured, t->wanted,
            t->measured >= t->wanted ? "reached" : "missed", where);
  }
}

/*---------------------------------------------------------------------*/

static void
report_ratio (const struct bench *b, const struct series *s)
{
  if (s->rounds)
    printf (" %6.2f %5.2f-%-5.2f", s->median,
            quantile (s->rounds, b->rounds, 0.25),
            quantile (s->rounds, b->rounds, 0.75));
  else
    printf (" %6s %5s %-5s", "-", "", "");
}

static const char *
contender_name (unsigned contender)
{
  return contender == JOURNAL ? "journal"
    : contender == JOURNAL_SQLITE ? "sqlite"
    : subject_name (LIMIT_DSYNC + contender - JOURNAL_DSYNC);
}

void
report_journal (const struct bench *b, const struct
                journal_result results[NR_THREAD_COUNTS])
{
  const struct journal_result *r;
  unsigned c;

  printf ("\njournal, format 2/%u: durable pushes of 128 bytes, items/s; "
          "perform does nothing\n"
          "freed: pushes for each time that what was performed was freed\n",
          results->block_size);
  for (c = JOURNAL_DSYNC; c <= JOURNAL_DIRECT; ++c)
    if (results->series[c].rounds)
      printf ("one durable write at a time, by %s: %.0f/s%s\n",
              contender_name (c), results->series[c].median,
              c == results->limit ? " (the limit)" : "");
  printf ("%7s %10s %7s %6s %-11s %6s %-11s %8s %6s %-11s\n", "threads",
          "pushes/s", "freed", "/limit", "quartiles", "/one", "quartiles",
          "SQLite", "/SQLite", "quartiles");
  for (r = results; r < results + NR_THREAD_COUNTS; ++r) {
    printf ("%7u %10.0f %7.1f", r->threads, r->series[JOURNAL].median,
            (double) r->pushes / r->advances);
    report_ratio (b, &r->of_limit);
    report_ratio (b, &r->of_one);
    if (r->series[JOURNAL_SQLITE].rounds)
      printf (" %8.0f", r->series[JOURNAL_SQLITE].median);
    else
      printf (" %8s", "-");
    report_ratio (b, &r->of_sqlite);
    printf ("\n");
  }
  if (results->series[JOURNAL_SQLITE].rounds == NULL)
    printf ("SQLite is left out: the package libsqlite3-dev was missing when "
            "this was built\n");
}
