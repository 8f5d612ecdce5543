/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: the table for people, and the targets.
 *
 * Targets are ratios of numbers from one run, never numbers of their own:
 * those say more about the disk than about the ring.
 */

#include <config.h>

#include <stdio.h>

#include "bench.h"

#define MIB 1048576.0

const char *
direction_name (const struct test *t)
{
  return t->direction == PUSH ? "push" : "pop";
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
    [BARE] = "bare",
  };

  return names[s];
}

void
report_header (const struct bench *b)
{
  printf ("libblkring %s: ring of %u MiB, medians of %u rounds of %g s\n"
          "(the limit is the same bytes by bare system calls)\n\n"
          "%-9s %6s %5s %-10s %11s %8s %11s %-9s %5s\n",
          blkring_version (), (unsigned) (RING_SIZE >> 20), b->rounds,
          b->seconds, "direction", "size", "batch", "durability", "items/s",
          "MiB/s", "limit", "by", "ratio");
}

void
report_result (const struct result *r)
{
  const struct test *t = &r->test;
  const double ring = r->series[RING].median;

  printf ("%-9s %6zu %5zu %-10s %11.0f %8.1f %11.0f %-9s %5.2f\n",
          direction_name (t), t->length, t->batch, durability_name (t),
          ring, ring * t->length / MIB, r->series[r->limit].median,
          subject_name (r->limit), r->ratio);
  fflush (stdout);
}

/*---------------------------------------------------------------------*/

static bool
is_test (const struct test *t, enum direction direction, bool durable,
         size_t batch)
{
  return t->direction == direction && t->durable == durable &&
    t->batch == batch;
}

/* The worst ratio of all sizes. */
static void
find_worst (const struct result *results, size_t nr, struct target *target,
            enum direction direction, bool durable, size_t batch)
{
  size_t i;

  target->measured = -1;
  for (i = 0; i < nr; ++i)
    if (is_test (&results[i].test, direction, durable, batch) &&
        (target->measured < 0 || results[i].ratio < target->measured)) {
      target->measured = results[i].ratio;
      snprintf (target->worst, sizeof target->worst, "%zu B",
                results[i].test.length);
    }
}

/* Items of the ring for each bare request. */
static void
find_bare (const struct result *results, size_t nr, struct target *target,
           enum direction direction)
{
  size_t i;

  for (i = 0; i < nr; ++i)
    if (results[i].test.direction == direction && results[i].test.bare)
      target->measured = results[i].series[RING].median /
        results[i].series[BARE].median;
}

void
find_targets (const struct result *results, size_t nr,
              struct target targets[NR_TARGETS])
{
  static const struct target all[NR_TARGETS] = {
    { .name = "durable push, single: ring / limit", .wanted = 0.85 },
    { .name = "durable push, batch: ring / limit", .wanted = 0.70 },
    { .name = "push of 16 B, single, none: items / bare pwrite",
      .wanted = 200000.0 / 450000.0 },
    { .name = "pop, batch, none: ring / limit", .wanted = 0.3 },
    { .name = "pop of 16 B, batch, none: items / bare pread",
      .wanted = 1.0 },
  };
  size_t i;

  for (i = 0; i < NR_TARGETS; ++i)
    targets[i] = all[i];
  find_worst (results, nr, &targets[0], PUSH, true, 1);
  find_worst (results, nr, &targets[1], PUSH, true, BATCH);
  find_bare (results, nr, &targets[2], PUSH);
  find_worst (results, nr, &targets[3], POP, false, BATCH);
  find_bare (results, nr, &targets[4], POP);
}

static void
print_bare (const struct result *results, size_t nr)
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
  struct target targets[NR_TARGETS], *t;
  char where[48];

  printf ("\n");
  print_bare (results, nr);
  printf ("\ntargets\n");
  find_targets (results, nr, targets);
  for (t = targets; t < targets + NR_TARGETS; ++t) {
    where[0] = '\0';
    if (t->worst[0])
      snprintf (where, sizeof where, ", worst at %s", t->worst);
    printf ("  %-48s %6.2f >= %.2f  %s%s\n", t->name, t->measured, t->wanted,
            t->measured >= t->wanted ? "reached" : "missed", where);
  }
}
