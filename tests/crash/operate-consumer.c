/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What consumers do; see operation.h.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "format.h"
#include "operation.h"


#define NO_ID UINT32_MAX

/* So many items.  Over those of the last frame there may be a late one that is
 * staged, until a record tells of it. */
static unsigned
surely_exposed (const struct model *m)
{
  const unsigned end = bounds_min (&m->ends);

  return m->late_data && end > 0 ? model_last_frame (m, end) : end;
}

void
do_pop (struct actor *a)
{
  struct world *w = a->world;
  const struct model *m = &w->model;
  const bool was_there = a->popped < surely_exposed (m);
  struct blkring_item item;
  bool is_it, must_be_there;

  if (blkring_consumer_pop (a->c, &a->next, &item) == -1 || a->port.dead) {
    must_be_there = was_there && a->popped < surely_exposed (m);
    /* One that was replaced may know no better, or go by what is gone. */
    a->stopped = (errno == EBUSY && may_be_busy (a)) ||
      (errno == EBADMSG && a->port.replaced);
    a->refused = a->stopped ||
      (errno == EAGAIN && (!must_be_there || a->port.replaced));
    if (!a->refused)
      op_failed (a);
    return;
  }
  is_it = a->popped < bounds_max (&m->ends) &&
    item.position == model_position (m, a->popped) &&
    item_is (model_get (m, a->popped), item.data, item.length);
  if (!is_it && !(m->late & LATE (OF_PRODUCER)))
    problem (w, "what was popped is not item %u, or that was not exposed",
             a->popped);
  a->ids[a->popped % MAX_POPPED] =
    is_it ? model_get (m, a->popped)->id : NO_ID;
  a->popped++;
  a->next = item.next;
}

/* Is what was popped still what the ring holds? */
static bool
popped_right (const struct actor *a)
{
  const struct model *m = &a->world->model;
  unsigned i;

  for (i = a->freed; i < a->popped; ++i)
    if (i >= bounds_max (&m->ends) ||
        a->ids[i % MAX_POPPED] != model_get (m, i)->id)
      return false;
  return true;
}

static void
freed (struct actor *a)
{
  struct model *m = &a->world->model;

  if (!popped_right (a)) {
    m->lost = may_tell_later (a);
    if (!m->lost)
      problem (a->world, "%s frees what is not there", op_names[a->op]);
  }
  a->freed = a->popped;
  note_settled (a, a->freed);
}

static bool
is_owner (const struct actor *a)
{
  return a->number == a->world->tenures[OF_CONSUMER].owner;
}

void
do_consumer_advance (struct actor *a)
{
  struct model *m = &a->world->model;
  const struct bounds firsts = m->firsts;
  int r;

  if (!is_owner (a)) {
    advance_in_vain (a);
    return;
  }
  bounds_add (&m->firsts, a->popped);
  r = blkring_consumer_advance (a->c, a->next);
  if (!is_owner (a)) {
    judge_overtaken_advance (a, r);
    return;
  }
  if (r == 0) {
    freed (a);
    return;
  }
  /* What it wrote may be there. */
  if (errno == EBUSY && may_be_busy (a)) {
    a->refused = a->stopped = true;
    return;
  }
  op_failed (a);
  /* If it has written, its position may be there. */
  if (!a->refused || a->stopped)
    return;
  /* It begins anew. */
  m->firsts = firsts;
  a->popped = a->freed;
  a->next = a->c->position;
}

void
do_take (struct actor *a)
{
  do_pop (a);
  if (!a->refused && !a->port.dead && !a->world->problem[0])
    do_consumer_advance (a);
}

void
do_request (struct actor *a, bool suspend)
{
  struct world *w = a->world;
  struct model *m = &w->model;
  const unsigned before = m->states;
  const unsigned from = STATE (suspend ? BLKRING_RUNNING : BLKRING_SUSPENDED);
  const unsigned asked = STATE (suspend ? BLKRING_SUSPEND_REQUESTED
                                : BLKRING_RESUME_REQUESTED);
  const unsigned reached = STATE (suspend ? BLKRING_SUSPENDED
                                  : BLKRING_RUNNING);
  const unsigned opposite = STATE (suspend ? BLKRING_RESUME_REQUESTED
                                   : BLKRING_SUSPEND_REQUESTED);

  m->requests++;
  /* The one before it may be acknowledged meanwhile. */
  if (m->states & (from | opposite))
    m->states |= asked;
  if (w->actors[ACTOR_PRODUCER].busy || w->actors[ACTOR_SUCCESSOR].busy ||
      w->actors[ACTOR_THIRD].busy)
    model_acknowledge (m);
  if ((suspend ? blkring_consumer_suspend : blkring_consumer_resume) (a->c)
      == 0)
    m->states &= asked | reached;
  else if (errno == EAGAIN &&
           (before & opposite || m->late & LATE (OF_PRODUCER))) {
    a->refused = true;
    m->states = before;
    model_acknowledge (m);
  }
  else if (errno == EBUSY && may_be_busy (a))
    a->refused = a->stopped = true;
  else
    op_failed (a);
}

void
do_attach_consumer (struct actor *a)
{
  struct world *w = a->world;
  struct blkring_attach_options o;
  struct model *m = &w->model;
  unsigned i;

  world_options (w, &o);
  if (a->op >= OP_TAKE_OVER) {
    o.flags = BLKRING_ATTACH_TAKEOVER;
    begin_to_replace (a);
  }
  a->attached = true;
  m->clean[OF_CONSUMER] = false;
  a->c = blkring_consumer_attach (a->port.device, &o);
  if (a->c == NULL) {
    judge_attach (a);
    return;
  }
  settle_owner (a, false);
  w->tenures[OF_CONSUMER].owner = a->number;
  a->next = a->c->position;
  for (i = m->firsts.nr; i-- > 0;)
    if (model_position (m, m->firsts.at[i]) == a->next) {
      a->popped = a->freed = m->firsts.at[i];
      bounds_set (&m->firsts, a->freed);
      return;
    }
  problem (w, "the consumer attaches at %" PRIu64 ", where it never was",
           a->next);
}

void
do_detach_consumer (struct actor *a)
{
  blkring_consumer_free (a->c);
  a->c = NULL;
  if (a->port.dead)
    return;
  a->attached = false;
  /* Its successor says what is true. */
  if (a->port.replaced)
    identity_alive[a->number + 1] = false;
  else
    settle_owner (a, true);
}
