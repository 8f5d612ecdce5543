/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every workload from a start, in every order of its requests, and every
 * crash of it; see explore.h.
 *
 * A run is decided by a row of choices: which operation begins next, and,
 * before each request, who goes on.  The next run takes the same choices up
 * to the last one that has another possibility, and that; so all are had in
 * the end, and nothing but the row has to be kept.  Of a run only the part
 * behind the choice that is new is examined.
 *
 * Where these are too many to have them all, each choice is left to chance.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explore.h"

#define MAX_ALTERNATIVES (OPS + ACTORS + 1)

static unsigned
choose (struct choices *c, unsigned of)
{
  if (c->at == c->nr) {
    if (c->nr == MAX_CHOICES)
      abort ();
    c->taken[c->nr] = 0;
    c->of[c->nr++] = of;
  }
  if (c->of[c->at] != of) {
    fprintf (stderr, "explore.c: a run is not like the one before it\n");
    abort ();
  }
  return c->taken[c->at++];
}

/* By chance: seldom somebody else goes on, and those operations that are only
 * in what asks for them come more often than the other ones. */
static unsigned
choose_at_random (struct explorer *e, const struct decision *d, unsigned n)
{
  unsigned weights[MAX_ALTERNATIVES], sum = 0, i;

  for (i = d[0].what == CONTINUE; i < n; ++i) {
    weights[i] = d[i].what == RESUME ||
      (d[i].what == START && d[i].op >= OPS_BY_ITSELF) ? 4 : 1;
    sum += weights[i];
  }
  if (d[0].what == CONTINUE)
    sum += weights[0] = 7 * sum;
  e->random += UINT64_C (0x9e3779b97f4a7c15);
  sum = mix (e->random) % sum;
  for (i = 0; sum >= weights[i]; ++i)
    sum -= weights[i];
  return i;
}

/* The choices of the next run; false when there is none. */
static bool
next_run (struct choices *c)
{
  /* What was not reached is not chosen again. */
  c->nr = c->at;
  while (c->nr > 0 && c->taken[c->nr - 1] + 1 == c->of[c->nr - 1])
    c->nr--;
  if (c->nr == 0)
    return false;
  c->taken[c->nr - 1]++;
  c->changed = c->nr - 1;
  c->at = 0;
  return true;
}

static bool
is_fresh (const struct explorer *e)
{
  return (int) e->choices.at > e->choices.changed;
}

/*---------------------------------------------------------------------*/

/* Rule 3 by the letter, where nothing is read that the write does not rely
 * on.  A crash in which all die shows no harm of it: the other side may live
 * on, and its write come after all. */
static bool
relies_on_all (enum op op)
{
  return op == OP_SUSPEND || op == OP_RESUME || op == OP_LOOK;
}

static void
written (struct port *port)
{
  struct actor *a = port->opaque;
  struct explorer *e = a->world->opaque;

  if (a->world->alone || a->world->problem[0])
    return;
  note_write (port);
  if (relies_on_all (a->op) && port_saw_pending (port))
    problem (a->world, "it writes on the strength of what it read, which is "
             "not durable");
  if (is_fresh (e) && !a->world->problem[0])
    judge_crash (&e->j, &e->w.disk, &e->w.model);
  if (e->j.problem[0])
    problem (&e->w, "after a crash: %s", e->j.problem);
}

static void
settled (struct world *w, struct actor *actor)
{
  struct explorer *e = w->opaque;

  if (w->alone)
    return;
  note (w, actor->refused ? "refused" : "done");
  /* The like without it is explored, too. */
  if (actor->refused && actor->port.last == NOTHING)
    e->operations_left = 0;
  else if (is_fresh (e))
    judge_crash (&e->j, &w->disk, &w->model);
  if (e->j.problem[0])
    problem (w, "after a crash: %s", e->j.problem);
}

static bool
is_restart (enum op op)
{
  return op == OP_RESTART_PRODUCER || op == OP_RESTART_CONSUMER;
}

/* Who can go on when 'current' (NULL: nobody) has stopped in the middle. */
static unsigned
list_alternatives (struct explorer *e, const struct actor *current,
                   struct decision *d)
{
  struct world *w = &e->w;
  const bool preempt = current == NULL || e->preemptions_left > 0;
  struct actor *a;
  unsigned n = 0, i;
  enum op op;

  for (i = 0; i < ACTORS && preempt; ++i) {
    a = &w->actors[i];
    if (a->busy && a != current)
      d[n++] = (struct decision) { RESUME, a, 0 };
  }
  if (e->operations_left == 0)
    return n;
  for (op = 0; op < OPS; ++op) {
    a = world_actor (w, op);
    if (e->limits.with && !e->has_it && e->operations_left == 1 &&
        op + 1 != e->limits.with)
      continue;
    /* To kill is no matter of turns. */
    if (is_restart (op) ? !preempt && a != current : a->busy || !preempt)
      continue;
    if ((op < OPS_BY_ITSELF || e->limits.also >> op & 1) &&
        !(e->limits.without >> op & 1) && op_is_possible (w, op))
      d[n++] = (struct decision) { START, a, op };
  }
  return n;
}

static struct decision
decide (struct world *w, struct actor *current)
{
  struct explorer *e = w->opaque;
  struct decision d[MAX_ALTERNATIVES];
  unsigned n = 0, taken;

  if (current) {
    d[n++] = (struct decision) { CONTINUE, current, 0 };
    /* Before its first request it need not have begun. */
    if (current->port.stops > 0)
      n += list_alternatives (e, current, d + n);
  }
  else
    n += list_alternatives (e, NULL, d);
  if (n == 0)
    return (struct decision) { END, NULL, 0 };
  taken = n == 1 ? 0 : e->limits.at_random ? choose_at_random (e, d, n)
    : choose (&e->choices, n);
  if (current && d[taken].what != CONTINUE && !is_restart (d[taken].op))
    e->preemptions_left--;
  if (d[taken].what == START) {
    e->operations_left--;
    e->has_it = e->has_it || d[taken].op + 1 == e->limits.with;
    e->workloads += is_fresh (e) && !e->stopped;
  }
  note_decision (w, &d[taken]);
  e->stopped = e->stopped || (current && d[taken].what != CONTINUE);
  return d[taken];
}

static void
run (struct explorer *e)
{
  struct world *w = &e->w;
  const enum sides sides = e->start.sides;
  unsigned i;

  disk_load (&w->disk, e->image, e->hashes, e->hash);
  w->model = e->model;
  w->now = UINT64_C (1000000000);
  w->problem[0] = w->trail[0] = '\0';
  world_reset (w);
  identity_uuid = 1;
  e->operations_left = e->limits.operations;
  e->preemptions_left = e->limits.preemptions;
  e->stopped = e->has_it = false;
  w->disk.fault = SOUND;
  if (sides != DETACHED && sides != CONSUMER_ALONE)
    world_do (w, OP_ATTACH_PRODUCER);
  if (sides != DETACHED && sides != PRODUCER_ALONE)
    world_do (w, OP_ATTACH_CONSUMER);
  disk_flush (&w->disk);
  for (i = bounds_max (&w->model.ends) - bounds_min (&w->model.firsts);
       i > 0 && sides == POPPED; --i)
    world_do (w, OP_POP);
  w->disk.fault = e->fault;
  w->disk.nr_broken = e->nr_broken;
  memcpy (w->disk.broken, e->broken, sizeof e->broken);
  w->disk.at_site = e->at_site;
  world_run (w);
  w->disk.at_site = NULL;
  w->disk.fault = SOUND;
  world_end (w);
  e->runs++;
}

void
explore (struct explorer *e)
{
  char text[200];

  e->choices.nr = e->choices.at = 0;
  e->choices.changed = -1;
  do
    run (e);
  while (!e->w.problem[0] && (e->limits.runs == 0 || e->runs < e->limits.runs)
         && (e->limits.at_random || next_run (&e->choices)));
  if (!e->w.problem[0])
    return;
  start_describe (&e->start, text, sizeof text);
  snprintf (e->problem, sizeof e->problem, "%s: %s: %s", text, e->w.trail,
            e->w.problem);
}

void
explorer_init (struct explorer *e, const struct start *s,
               const struct limits *limits, size_t nr_known)
{
  const size_t size = start_disk_size (s);
  struct world *w = &e->w;

  memset (e, 0, sizeof *e);
  e->start = *s;
  e->limits = *limits;
  e->random = mix (limits->seed + 1);
  world_init (w, size, s->flags, start_region (s));
  w->opaque = e;
  w->decide = decide;
  w->settled = settled;
  start_make (s, w);
  e->image = malloc (size);
  e->hashes = malloc (size / SECTOR * sizeof e->hashes[0]);
  if (e->image == NULL || e->hashes == NULL)
    abort ();
  memcpy (e->image, w->disk.durable, size);
  memcpy (e->hashes, w->disk.hashes, size / SECTOR * sizeof e->hashes[0]);
  e->hash = w->disk.hash;
  e->model = w->model;
  w->disk.tracked = true;
  w->disk.written = written;
  w->disk.looked = note_look;
  judge_init (&e->j, &w->disk, nr_known);
  e->j.tears = s->format == 2;
}

void
explorer_free (struct explorer *e)
{
  judge_free (&e->j);
  world_free (&e->w);
  free (e->image);
  free (e->hashes);
}
