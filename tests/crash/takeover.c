/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Those who replace somebody, and those who were replaced and write in
 * vain; see operation.h.
 */

#include <config.h>

#include <errno.h>

#include "format.h"
#include "operation.h"

bool
may_be_busy (const struct actor *a)
{
  return a->port.replaced || a->world->model.late & LATE (actor_side (a));
}

void
judge_overtaken (struct actor *a, int r, int err, uint32_t id,
                 unsigned number, bool expose)
{
  struct model *m = &a->world->model;
  unsigned i;

  errno = err;
  if (r == -1 && err == EBUSY)
    a->refused = a->stopped = true;
  else if (r == -1)
    op_failed (a);
  else if (!expose)
    return;
  else if (number > m->pushed || model_get (m, number - 1)->id != id)
    problem (a->world, "%s works, but its successor has dropped it",
             op_names[a->op]);
  else
    for (i = 0; i < m->ends.nr;)
      if (m->ends.at[i] < number)
        bounds_remove (&m->ends, i);
      else
        i++;
}

void
push_in_vain (struct actor *a, bool expose)
{
  struct model *m = &a->world->model;
  const uint32_t id = m->next_id++;
  const struct iovec item = { (void *) item_content (id),
                              op_length (a->world, a->op, 0) };
  const int r = (expose ? blkring_producer_appendv : blkring_producer_pushv)
    (a->p, &item, 1, NULL);

  judge_overtaken (a, r, errno, id, UINT32_MAX, expose);
}

/* What it freed is its successor's to free.  It may have written that before
 * its successor looked. */
void
judge_overtaken_advance (struct actor *a, int r)
{
  const struct model *m = &a->world->model;

  if (a->port.dead)
    return;
  if (r == -1 && (errno == EBUSY || errno == EBADMSG))
    a->refused = a->stopped = true;
  else if (r == -1)
    op_failed (a);
  else if (bounds_min (&m->firsts) < a->popped && !is_undone (a))
    problem (a->world, "%s works, but its successor does not know of it",
             op_names[a->op]);
  else
    a->freed = a->popped;
}

void
advance_in_vain (struct actor *a)
{
  judge_overtaken_advance (a, blkring_consumer_advance (a->c, a->next));
}

/* A frame of one before the last owner, over one of the last owner's, is
 * found out where the next one does not follow. */
bool
may_tell_later (const struct actor *a)
{
  const struct world *w = a->world;

  return w->model.late & LATE (OF_PRODUCER) &&
    w->tenures[OF_PRODUCER].takers > 1;
}

bool
is_undone (const struct actor *a)
{
  return a->world->tenures[actor_side (a)].undone && a->port.replaced;
}

void
begin_to_replace (struct actor *a)
{
  struct world *w = a->world;
  const unsigned side = actor_side (a);
  struct tenure *t = &w->tenures[side];
  unsigned i;

  for (i = 0; i < ACTORS; ++i)
    if (&w->actors[i] != a && actor_side (&w->actors[i]) == side)
      w->actors[i].port.replaced = true;
  a->port.replaced = false;
  t->taker = a->number;
  t->takers++;
  t->claims = 0;
}

/* A late record over its claim looks like a claim by another one. */
void
judge_attach (struct actor *a)
{
  if (errno == EBUSY && a->op >= OPS_BY_ITSELF && may_be_busy (a))
    a->refused = true;
  else
    op_failed (a);
}

static const enum region record_of[] = { PRODUCER, CONSUMER };

static struct bounds *
bounds_of (struct world *w, unsigned side)
{
  return side == OF_PRODUCER ? &w->model.ends : &w->model.firsts;
}

/* Until its successor has claimed any of its records can be the one that is
 * left. */
void
note_settled (struct actor *a, unsigned number)
{
  struct world *w = a->world;
  const unsigned side = actor_side (a);

  if (a->port.replaced)
    bounds_add (&w->tenures[side].before, number);
  if (!is_undone (a))
    bounds_set (bounds_of (w, side), number);
}

void
note_look (struct port *port)
{
  struct actor *a = port->opaque;
  struct world *w = a->world;
  const unsigned side = actor_side (a);
  struct tenure *t = &w->tenures[side];

  if (t->takers == 0 || t->taker != a->number || t->claims > 0)
    return;
  t->late_seen = w->disk.late_records[record_of[side]];
  t->before = *bounds_of (w, side);
  t->states_before = w->model.states;
}

/* The states that these answer. */
static unsigned
before_answer (unsigned states)
{
  return (states & STATE (BLKRING_SUSPENDED)
          ? STATE (BLKRING_SUSPEND_REQUESTED) : 0) |
    (states & STATE (BLKRING_RUNNING) ? STATE (BLKRING_RESUME_REQUESTED) : 0);
}

/* What the one before it wrote into its record since the successor read that
 * is lost now, and nobody is told: see docs/format2.md.  The two write to the
 * copies by turns, so that the second write of the claim destroys only what
 * the other one wrote second.  No other loss is let pass. */
void
note_claim (struct actor *a)
{
  struct world *w = a->world;
  const unsigned side = actor_side (a);
  struct tenure *t = &w->tenures[side];
  unsigned i;

  if (t->takers == 0 || t->taker != a->number || ++t->claims > 2 ||
      w->disk.late_records[record_of[side]] - t->late_seen < t->claims)
    return;
  t->undone = true;
  for (i = 0; i < t->before.nr; ++i)
    bounds_add (bounds_of (w, side), t->before.at[i]);
  if (side == OF_CONSUMER)
    w->model.went_back = true;
  else
    w->model.states |= t->states_before | before_answer (w->model.states);
}
