/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The operations: each is done by the library, and by the model of what the
 * ring promises, and the outcome must be one that the model allows.
 *
 * While an operation is under way the model allows what was true before and
 * what will be true after it.  An actor that is killed leaves it at that:
 * the next one that attaches finds out which it is.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "format.h"
#include "owner.h"
#include "operation.h"

const char *const op_names[OPS] = {
  [OP_PUSH_0] = "push 0", [OP_PUSH_1] = "push 1",
  [OP_PUSH_504] = "push 504", [OP_PUSH_508] = "push 508",
  [OP_PUSH_509] = "push 509", [OP_PUSH_1200] = "push 1200",
  [OP_PUSH_BATCH] = "push a batch", [OP_ADVANCE] = "advance",
  [OP_APPEND] = "append", [OP_APPEND_BATCH] = "append a batch",
  [OP_LOOK] = "look", [OP_ATTACH_PRODUCER] = "attach producer",
  [OP_DETACH_PRODUCER] = "detach producer",
  [OP_RESTART_PRODUCER] = "restart producer", [OP_POP] = "pop",
  [OP_FREE] = "consumer advance", [OP_TAKE] = "pop and advance",
  [OP_SUSPEND] = "suspend",
  [OP_RESUME] = "resume", [OP_ATTACH_CONSUMER] = "attach consumer",
  [OP_DETACH_CONSUMER] = "detach consumer",
  [OP_RESTART_CONSUMER] = "restart consumer", [OP_CREATE] = "create",
  [OP_APPEND_ALL] = "append all bytes",
  [OP_TAKE_OVER] = "take over", [OP_NEW_PUSH] = "successor's push",
  [OP_NEW_ADVANCE] = "successor's advance",
  [OP_NEW_APPEND] = "successor's append", [OP_NEW_LOOK] = "successor's look",
  [OP_NEW_DETACH] = "detach successor",
  [OP_THIRD_TAKE_OVER] = "a third one takes over",
  [OP_THIRD_APPEND] = "the third one's append",
  [OP_CONSUMER_TAKE_OVER] = "consumer is taken over",
  [OP_NEW_POP] = "new consumer's pop",
  [OP_NEW_FREE] = "new consumer's advance",
  [OP_NEW_TAKE] = "new consumer's pop and advance",
};

static const size_t lengths[OPS][BATCH] = {
  [OP_PUSH_0] = { 0 }, [OP_PUSH_1] = { 1 }, [OP_PUSH_504] = { 504 },
  [OP_PUSH_508] = { 508 }, [OP_PUSH_509] = { 509 },
  [OP_PUSH_1200] = { 1200 }, [OP_PUSH_BATCH] = { 7, 0, 300 },
  [OP_APPEND] = { 100 }, [OP_APPEND_BATCH] = { 200, 90, 250 },
  [OP_NEW_PUSH] = { 50 }, [OP_NEW_APPEND] = { 60 },
  [OP_THIRD_APPEND] = { 70 },
};

size_t
op_length (const struct world *w, enum op op, unsigned i)
{
  return op == OP_APPEND_ALL ? w->model.shape.largest_item : lengths[op][i];
}

unsigned
requests (const struct world *w)
{
  const struct actor *c = &w->actors[ACTOR_CONSUMER];

  return c->busy && (c->op == OP_SUSPEND || c->op == OP_RESUME) ? 0
    : w->model.requests + 1;
}

bool
saw_all (const struct world *w, unsigned requests_before)
{
  return requests_before != 0 && requests (w) == requests_before;
}

void
op_failed (struct actor *a)
{
  if (errno == EBADMSG && a->world->model.late) {
    a->refused = true;
    a->stopped = (a->p && a->p->h.poison_errno) ||
      (a->c && a->c->h.poison_errno);
  }
  else if (!a->port.dead)
    problem (a->world, "%s fails: %s", op_names[a->op], blkring_get_error ());
}

void
settle_owner (struct actor *a, bool clean)
{
  struct world *w = a->world;
  const unsigned side = actor_side (a);
  struct owner o;

  identity_alive[a->number + 1] = !clean;
  if (w->model.shape.format == 1)
    return;
  read_owner (w->disk.content, side, &o);
  w->model.clean[side] = clean;
  w->model.epoch[side] = o.epoch[o.counts];
}

/*---------------------------------------------------------------------*/

static void
create (struct actor *a)
{
  struct model *m = &a->world->model;
  const struct shape shape = m->shape;
  const struct blkring_create_options o = {
    .flags = BLKRING_CREATE_FORCE,
    .format = shape.format,
    .block_size = shape.format == 1 ? 0 : shape.block,
  };
  unsigned id = m->next_id;

  m->no_ring = m->new_ring = true;
  m->one_super = shape.format == 2;
  if (blkring_create (a->port.device, &o) == -1) {
    op_failed (a);
    return;
  }
  model_init (m, &shape, 0);
  m->next_id = id;
}

/* The producer, and nobody else is. */
static bool
owns (const struct world *w, unsigned number)
{
  return w->tenures[OF_PRODUCER].owner == number;
}

static bool
was_replaced (const struct world *w, unsigned side)
{
  return w->tenures[side].takers > 0;
}

static bool
can_take_over (const struct world *w, enum op op)
{
  const struct actor *a = world_actor ((struct world *) w, op);

  if (a->attached || a->busy)
    return false;
  switch (op) {
  case OP_TAKE_OVER:
    return w->actors[ACTOR_PRODUCER].p && owns (w, ACTOR_PRODUCER);
  case OP_THIRD_TAKE_OVER:
    return owns (w, ACTOR_SUCCESSOR);
  default:
    return w->actors[ACTOR_CONSUMER].c != NULL;
  }
}

/* Of those who take over, and were one once. */
static bool
can_go_on (const struct world *w, enum op op)
{
  const struct actor *a = world_actor ((struct world *) w, op);
  const struct model *m = &w->model;

  switch (op) {
  case OP_NEW_ADVANCE:
    return a->p && owns (w, a->number) && m->pushed > bounds_max (&m->ends);
  case OP_NEW_POP:
  case OP_NEW_TAKE:
    return a->c;
  case OP_NEW_FREE:
    return a->c && a->popped > a->freed;
  default:
    return a->p;
  }
}

bool
op_is_possible (const struct world *w, enum op op)
{
  const struct actor *p = &w->actors[ACTOR_PRODUCER];
  const struct actor *c = &w->actors[ACTOR_CONSUMER];
  const struct model *m = &w->model;

  if (world_actor ((struct world *) w, op)->stopped)
    return false;
  switch (op) {
  case OP_ADVANCE:
    return p->p && owns (w, ACTOR_PRODUCER) &&
      m->pushed > bounds_max (&m->ends);
  case OP_ATTACH_PRODUCER:
    return !p->attached && !p->busy && !m->no_ring &&
      !was_replaced (w, OF_PRODUCER);
  case OP_RESTART_PRODUCER:
    return p->attached && !was_replaced (w, OF_PRODUCER);
  case OP_FREE:
    return c->c && c->popped > c->freed;
  case OP_POP:
  case OP_TAKE:
  case OP_SUSPEND:
  case OP_RESUME:
  case OP_DETACH_CONSUMER:
    return c->c;
  case OP_ATTACH_CONSUMER:
    return !c->attached && !m->no_ring && !was_replaced (w, OF_CONSUMER);
  case OP_RESTART_CONSUMER:
    return c->attached && !was_replaced (w, OF_CONSUMER);
  case OP_CREATE:
    return !p->attached && !c->attached && !was_replaced (w, OF_PRODUCER) &&
      !was_replaced (w, OF_CONSUMER);
  case OP_TAKE_OVER:
  case OP_THIRD_TAKE_OVER:
  case OP_CONSUMER_TAKE_OVER:
    return can_take_over (w, op);
  default:
    return op > OP_TAKE_OVER ? can_go_on (w, op)
      : p->p && 4 + op_length (w, op, 0) <= m->shape.capacity;
  }
}

void
op_perform (struct actor *a)
{
  switch (a->op) {
  case OP_PUSH_BATCH:
    do_push (a, true, false);
    break;
  case OP_APPEND:
  case OP_APPEND_ALL:
  case OP_NEW_APPEND:
  case OP_THIRD_APPEND:
    do_push (a, false, true);
    break;
  case OP_APPEND_BATCH:
    do_push (a, true, true);
    break;
  case OP_ADVANCE:
  case OP_NEW_ADVANCE:
    do_producer_advance (a);
    break;
  case OP_LOOK:
  case OP_NEW_LOOK:
    do_look (a);
    break;
  case OP_ATTACH_PRODUCER:
  case OP_RESTART_PRODUCER:
  case OP_TAKE_OVER:
  case OP_THIRD_TAKE_OVER:
    do_attach_producer (a);
    break;
  case OP_DETACH_PRODUCER:
  case OP_NEW_DETACH:
    do_detach_producer (a);
    break;
  case OP_POP:
  case OP_NEW_POP:
    do_pop (a);
    break;
  case OP_FREE:
  case OP_NEW_FREE:
    do_consumer_advance (a);
    break;
  case OP_TAKE:
  case OP_NEW_TAKE:
    do_take (a);
    break;
  case OP_SUSPEND:
  case OP_RESUME:
    do_request (a, a->op == OP_SUSPEND);
    break;
  case OP_ATTACH_CONSUMER:
  case OP_RESTART_CONSUMER:
  case OP_CONSUMER_TAKE_OVER:
    do_attach_consumer (a);
    break;
  case OP_DETACH_CONSUMER:
    do_detach_consumer (a);
    break;
  case OP_CREATE:
    create (a);
    break;
  default:
    do_push (a, false, false);
  }
}
