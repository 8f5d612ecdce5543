/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Those who replace somebody, and those who were replaced and write in
 * vain; see operation.h.
 */

#include <config.h>

#include <errno.h>

#include "format.h"
#include "operation.h"

void
judge_overtaken (struct actor *a, int r, int err, uint32_t id,
                 unsigned number, bool expose)
{
  struct model *m = &a->world->model;
  unsigned i;

  errno = err;
  if (r == -1 && err == EBUSY)
    a->refused = a->replaced = true;
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
                              op_lengths[a->op][0] };
  const int r = (expose ? blkring_producer_appendv : blkring_producer_pushv)
    (a->p, &item, 1, NULL);

  judge_overtaken (a, r, errno, id, UINT32_MAX, expose);
}

bool
is_undone (const struct actor *a)
{
  return a->world->undone && a->port.replaced;
}

void
begin_to_replace (struct actor *a)
{
  struct world *w = a->world;

  w->replacing = w->actors[ACTOR_PRODUCER].port.replaced = true;
  w->ends_before = w->model.ends;
  w->states_before = w->model.states;
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
 * is lost now, and nobody is told: see docs/format2.md.  No other loss is
 * let pass. */
void
note_claim (struct actor *a)
{
  struct world *w = a->world;
  unsigned i;

  if (!w->claimed && a->port.late_seen != w->disk.late_records) {
    w->undone = true;
    for (i = 0; i < w->ends_before.nr; ++i)
      bounds_add (&w->model.ends, w->ends_before.at[i]);
    w->model.states |= w->states_before | before_answer (w->model.states);
  }
  w->claimed = true;
}
