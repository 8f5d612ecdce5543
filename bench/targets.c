/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: what was measured beside what is wanted.
 *
 * Targets are ratios of numbers from one run, never numbers of their own:
 * those say more about the disk than about the ring.
 */

#include <config.h>

#include <stdio.h>

#include "bench.h"

/* Which tests a target is about, and what of them. */
struct goal {
  struct target target;
  unsigned format;
  enum direction direction;
  bool durable;
  size_t batch;
  size_t least, most;        /* length of the items */
  bool bare;                 /* items for each bare request, not the ratio
                                to the limit */
};

static const struct goal goals[] = {
  { { .name = "1: durable push, single: ring / limit", .wanted = 0.85 },
    1, PUSH, true, 1, 0, LARGEST_ITEM, false },
  { { .name = "1: durable push, batch: ring / limit", .wanted = 0.70 },
    1, PUSH, true, BATCH, 0, LARGEST_ITEM, false },
  { { .name = "1: push of 16 B, single, none: items / bare pwrite",
      .wanted = 200000.0 / 450000.0 },
    1, PUSH, false, 1, 0, LARGEST_ITEM, true },
  { { .name = "1: pop, batch, none: ring / limit", .wanted = 0.3 },
    1, POP, false, BATCH, 0, LARGEST_ITEM, false },
  { { .name = "1: pop of 16 B, batch, none: items / bare pread",
      .wanted = 1.0 },
    1, POP, false, BATCH, 0, LARGEST_ITEM, true },
  { { .name = "2: durable append, 512 B, 4 KiB, single: ring/limit",
      .wanted = 0.90 },
    2, PUSH, true, 1, 512, 4096, false },
  { { .name = "2: durable append, 512 B, batch: ring / limit",
      .wanted = 0.80 },
    2, PUSH, true, BATCH, 512, 512, false },
};

static bool
is_about (const struct goal *g, const struct test *t)
{
  return t->format == g->format && t->direction == g->direction &&
    t->durable == g->durable && t->batch == g->batch &&
    t->length >= g->least && t->length <= g->most && (t->bare || !g->bare);
}

static double
measured (const struct goal *g, const struct result *r)
{
  return g->bare ? r->series[RING].median / r->series[BARE].median : r->ratio.median;
}

/* The worst of all that the target is about. */
static void
find_worst (const struct goal *g, const struct result *results, size_t nr,
            struct target *target)
{
  const struct test *t;
  double value;
  size_t i;

  for (i = 0; i < nr; ++i) {
    t = &results[i].test;
    value = is_about (g, t) ? measured (g, &results[i]) : -1;
    if (value < 0 || (target->measured >= 0 && value >= target->measured))
      continue;
    target->measured = value;
    if (!g->bare && t->format == 1)
      snprintf (target->worst, sizeof target->worst, "%zu B", t->length);
    if (t->format == 2)
      snprintf (target->worst, sizeof target->worst, "%zu B in blocks of %u",
                t->length, t->block_size);
  }
}

/* Returns their number: those alone of which a test was run. */
size_t
find_targets (const struct result *results, size_t nr,
              struct target targets[MAX_TARGETS])
{
  size_t i, found = 0;

  for (i = 0; i < sizeof goals / sizeof goals[0]; ++i) {
    targets[found] = goals[i].target;
    targets[found].measured = -1;
    find_worst (&goals[i], results, nr, &targets[found]);
    if (targets[found].measured >= 0)
      found++;
  }
  return found;
}

/* SQLite's where it was measured. */
size_t
find_journal_targets (const struct journal_result results[NR_THREAD_COUNTS],
                      struct target targets[MAX_TARGETS], size_t found)
{
  const struct journal_result *one = &results[0];
  const struct journal_result *many = &results[NR_THREAD_COUNTS - 1];

  targets[found++] = (struct target) {
    .name = "2: journal, 1 thread: pushes / limit",
    .measured = one->of_limit.median, .wanted = 0.85,
  };
  targets[found++] = (struct target) {
    .name = "2: journal, 8 threads: pushes / of 1 thread",
    .measured = many->of_one.median, .wanted = 3,
  };
  if (one->of_sqlite.rounds == NULL)
    return found;
  targets[found++] = (struct target) {
    .name = "2: journal, 1 thread: pushes / SQLite",
    .measured = one->of_sqlite.median, .wanted = 1,
  };
  targets[found++] = (struct target) {
    .name = "2: journal, 8 threads: pushes / SQLite",
    .measured = many->of_sqlite.median, .wanted = 1,
  };
  return found;
}
