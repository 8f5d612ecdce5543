/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One long workload at random: operations, turns, kills and crashes.  Many
 * of the crash points are examined; and now and then the power does go, and
 * all goes on from what is left.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "random.h"

#define MAX_DECISIONS (OPS + ACTORS + 1)

static unsigned
below (struct random_run *r, unsigned n)
{
  r->state += UINT64_C (0x9e3779b97f4a7c15);
  return mix (r->state) % n;
}

/*---------------------------------------------------------------------*/

static void
look_for_problem (struct random_run *r)
{
  if (r->j.problem[0])
    problem (&r->w, "after a crash: %s", r->j.problem);
}

static void
written (struct port *port)
{
  struct actor *a = port->opaque;
  struct random_run *r = a->world->opaque;

  if (a->world->alone || a->world->problem[0])
    return;
  note_write (port);
  if (below (r, 4) > 0)
    return;
  judge_crash (&r->j, &r->w.disk, &r->w.model);
  look_for_problem (r);
}

static void
settled (struct world *w, struct actor *actor)
{
  struct random_run *r = w->opaque;

  r->operations++;
  note (w, actor->refused ? "refused" : "done");
  if (actor->refused || below (r, 4) > 0)
    return;
  judge_crash (&r->j, &w->disk, &w->model);
  look_for_problem (r);
}

/* Everybody is gone, and so is some of what was not durable. */
static void
lose_power (struct random_run *r)
{
  struct world *w = &r->w;
  struct disk *d = &w->disk;
  unsigned i, kept = 0;

  world_end (w);
  for (i = 0; i < d->nr_pending; ++i)
    if (below (r, 2))
      d->pending[kept++] = d->pending[i];
  d->nr_pending = kept;
  disk_flush (d);
  memcpy (d->content, d->durable, d->size);
  r->crashes++;
  note (w, "the power goes");
}

static bool
is_rare (enum op op)
{
  return op == OP_CREATE || op == OP_RESTART_PRODUCER ||
    op == OP_RESTART_CONSUMER || op == OP_DETACH_PRODUCER ||
    op == OP_DETACH_CONSUMER || op == OP_SUSPEND;
}

static unsigned
list_decisions (struct random_run *r, struct actor *current,
                struct decision *d)
{
  struct world *w = &r->w;
  struct actor *a;
  unsigned n = 0, i;
  enum op op;

  for (i = 0; i < ACTORS; ++i)
    if (w->actors[i].busy && &w->actors[i] != current)
      d[n++] = (struct decision) { RESUME, &w->actors[i], 0 };
  for (op = 0; op < OPS_BY_ITSELF; ++op) {
    a = world_actor (w, op);
    if (!op_is_possible (w, op) || (is_rare (op) && below (r, 4) > 0) ||
        (a->busy && op != OP_RESTART_PRODUCER && op != OP_RESTART_CONSUMER))
      continue;
    d[n++] = (struct decision) { START, a, op };
  }
  return n;
}

static struct decision
decide (struct world *w, struct actor *current)
{
  static const struct decision end = { END, NULL, 0 };
  struct random_run *r = w->opaque;
  struct decision d[MAX_DECISIONS];
  unsigned n;

  if (current && below (r, 8) > 0)
    return (struct decision) { CONTINUE, current, 0 };
  r->power_fails = below (r, 64) == 0;
  if (r->power_fails || r->left == 0)
    return end;
  n = list_decisions (r, current, d);
  if (n == 0)
    return current ? (struct decision) { CONTINUE, current, 0 } : end;
  n = below (r, n);
  r->left -= d[n].what == START;
  note_decision (w, &d[n]);
  return d[n];
}

void
random_go (struct random_run *r, uint64_t operations)
{
  struct world *w = &r->w;

  r->left = operations;
  while (r->left > 0 && !w->problem[0]) {
    world_run (w);
    if (r->power_fails && !w->problem[0])
      lose_power (r);
    r->power_fails = false;
  }
  if (w->problem[0])
    snprintf (r->problem, sizeof r->problem, "operation %" PRIu64
              ": … %s: %s", r->operations, w->trail, w->problem);
}

void
random_init (struct random_run *r, unsigned format, uint64_t seed)
{
  struct start s;
  unsigned nr = 0;

  memset (r, 0, sizeof *r);
  r->state = mix (seed);
  while (start_get (format, nr, &s))
    nr++;
  start_get (format, below (r, nr), &s);
  world_init (&r->w, start_disk_size (&s), s.flags, start_region (&s));
  r->w.opaque = r;
  r->w.decide = decide;
  r->w.settled = settled;
  start_make (&s, &r->w);
  r->w.disk.tracked = true;
  r->w.disk.written = written;
  judge_init (&r->j, &r->w.disk, 1 << 16);
  r->j.random = seed;
  r->j.most = 16;
  r->j.recover_one_in = 16;
  r->j.tears = format == 2;
}

void
random_free (struct random_run *r)
{
  judge_free (&r->j);
  world_free (&r->w);
}
