/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What producers do; see operation.h.
 */

#include <config.h>

#include <errno.h>
#include <limits.h>
#include <inttypes.h>

#include "format.h"
#include "operation.h"

/* Could a push that needs so much fit, and could it not? */
static bool
may_fit (const struct model *m, uint64_t needed, unsigned freed)
{
  return needed != 0 &&
    m->tail - model_space (m, freed) + needed <= m->shape.capacity;
}

static void
judge_refusal (struct actor *a, int err, uint64_t needed, unsigned freed,
               unsigned states)
{
  const bool runs = states == STATE (BLKRING_RUNNING);

  /* Where a late record is over the one that frees the space, it is there
   * again when the consumer has found that out. */
  const bool may_be_full = !may_fit (&a->world->model, needed, freed) ||
    a->world->model.late & LATE (OF_CONSUMER);

  if ((err == EAGAIN && may_be_full) ||
      (err == EMSGSIZE && needed == 0) || (err == ESHUTDOWN && !runs))
    a->refused = true;
  else
    op_failed (a);
}

static void
exposed (struct actor *a)
{
  note_settled (a, a->world->model.pushed);
}

static bool
is_owner (const struct actor *a)
{
  return a->number == a->world->tenures[OF_PRODUCER].owner;
}

static void
push (struct actor *a, bool batch, bool expose)
{
  struct world *w = a->world;
  struct model *m = &w->model;
  const unsigned nr = batch ? BATCH : 1, before = m->pushed;
  const uint32_t id = m->next_id;
  const size_t lengths[BATCH] = { op_length (w, a->op, 0),
                                  op_length (w, a->op, 1),
                                  op_length (w, a->op, 2) };
  const uint64_t needed = model_plan (m, lengths, nr);
  const struct bounds ends = m->ends;
  const unsigned freed = bounds_min (&m->firsts);
  unsigned states = m->states, i;
  struct iovec items[BATCH];
  blkring_position after;
  int r, err;

  for (i = 0; i < nr; ++i) {
    const struct item *item = model_get (m, m->pushed + i);

    items[i].iov_base = (void *) item_content (item->id);
    items[i].iov_len = item->length;
  }
  if (expose)
    bounds_add (&m->ends, m->planned);
  model_acknowledge (m);
  r = (expose ? blkring_producer_appendv : blkring_producer_pushv)
    (a->p, items, nr, &after);
  err = errno;
  if (a->port.dead)
    return;
  if (!is_owner (a)) {
    judge_overtaken (a, r, err, id + nr - 1, before + nr, expose);
    return;
  }
  states |= m->states;
  /* What it wrote may be there. */
  if (r == -1 && err == EBUSY && may_be_busy (a)) {
    a->refused = a->stopped = true;
    return;
  }
  if (r == -1) {
    errno = err;
    judge_refusal (a, err, needed, freed, states);
    if (!a->stopped)
      m->ends = ends;
    return;
  }
  if (after != m->planned_tail)
    problem (w, "%s ends at %" PRIu64 ", not at %" PRIu64, op_names[a->op],
             after, m->planned_tail);
  if (!may_fit (m, needed, bounds_max (&m->firsts)))
    problem (w, "%s overwrites what is not freed", op_names[a->op]);
  if (states == STATE (BLKRING_SUSPENDED))
    problem (w, "%s works on a suspended ring", op_names[a->op]);
  model_pushed (m);
  if (expose)
    exposed (a);
}

void
do_push (struct actor *a, bool batch, bool expose)
{
  if (is_owner (a))
    push (a, batch, expose);
  else
    push_in_vain (a, expose);
}

void
do_producer_advance (struct actor *a)
{
  struct model *m = &a->world->model;
  const unsigned pushed = m->pushed;
  const uint32_t id = model_get (m, pushed - 1)->id;
  int r;

  model_acknowledge (m);
  bounds_add (&m->ends, m->pushed);
  r = blkring_producer_advance (a->p, m->tail);
  if (!is_owner (a))
    judge_overtaken (a, r, errno, id, pushed, true);
  else if (r == -1 && errno == EBUSY && may_be_busy (a))
    a->refused = a->stopped = true;
  else if (r == -1)
    op_failed (a);
  else
    exposed (a);
}

void
do_look (struct actor *a)
{
  struct model *m = &a->world->model;
  const unsigned seen = requests (a->world);
  int state;

  model_acknowledge (m);
  state = blkring_producer_state (a->p);
  if (state == -1) {
    a->refused = a->stopped = errno == EBUSY && may_be_busy (a);
    if (!a->refused)
      op_failed (a);
    return;
  }
  if (!saw_all (a->world, seen) || is_undone (a))
    return;
  if (!(m->states & STATE (state)))
    problem (a->world, "the producer's state is %d, which it cannot be",
             state);
  m->states = STATE (state);
}

/* Which of the possible ends is it? */
static void
settle_end (struct world *w, uint64_t tail)
{
  struct model *m = &w->model;
  unsigned end = UINT_MAX, i;

  /* What a consumer has freed is exposed, whatever was undone. */
  for (i = m->firsts.nr; i-- > 0;)
    if (m->firsts.at[i] > bounds_min (&m->ends))
      bounds_add (&m->ends, m->firsts.at[i]);
  /* The lowest: an end that 'before' kept of an append that was refused
   * behind it is nowhere else. */
  for (i = 0; i < m->ends.nr; ++i)
    if (model_space (m, m->ends.at[i]) == tail && m->ends.at[i] < end)
      end = m->ends.at[i];
  if (end != UINT_MAX) {
    model_drop (m, end);
    bounds_set (&m->ends, end);
    return;
  }
  /* A late frame that was staged is over the last one, and no record told of
   * that: nobody can tell.  See docs/format2.md, "Damage". */
  if (m->late_data && bounds_min (&m->ends) > 0) {
    i = model_last_frame (m, bounds_min (&m->ends));
    if (model_space (m, i) == tail) {
      model_drop (m, i);
      bounds_set (&m->ends, i);
      return;
    }
  }
  problem (w, "the producer attaches at %" PRIu64 ", where nothing ends",
           tail);
}
void
do_attach_producer (struct actor *a)
{
  struct world *w = a->world;
  struct blkring_attach_options o;
  struct model *m = &w->model;
  const unsigned seen = requests (w);

  world_options (w, &o);
  if (a->op >= OP_TAKE_OVER) {
    o.flags = BLKRING_ATTACH_TAKEOVER;
    begin_to_replace (a);
  }
  a->attached = true;
  m->clean[OF_PRODUCER] = false;
  model_acknowledge (m);
  a->p = blkring_producer_attach (a->port.device, &o);
  if (a->p == NULL) {
    judge_attach (a);
    return;
  }
  settle_owner (a, false);
  w->tenures[OF_PRODUCER].owner = a->number;
  settle_end (w, a->p->tail);
  if (saw_all (w, seen))
    m->states &= STATE (BLKRING_RUNNING) | STATE (BLKRING_SUSPENDED);
}

void
do_detach_producer (struct actor *a)
{
  struct model *m = &a->world->model;

  blkring_producer_free (a->p);
  a->p = NULL;
  if (a->port.dead)
    return;
  a->attached = false;
  /* Its successor says what is true. */
  if (a->port.replaced) {
    identity_alive[a->number + 1] = false;
    return;
  }
  settle_owner (a, true);
  model_drop (m, bounds_max (&m->ends));
}
