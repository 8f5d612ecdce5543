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
#include "world.h"

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
};

/* A batch has three lengths. */
static const size_t lengths[OPS][BATCH] = {
  [OP_PUSH_0] = { 0 }, [OP_PUSH_1] = { 1 }, [OP_PUSH_504] = { 504 },
  [OP_PUSH_508] = { 508 }, [OP_PUSH_509] = { 509 },
  [OP_PUSH_1200] = { 1200 }, [OP_PUSH_BATCH] = { 7, 0, 300 },
  [OP_APPEND] = { 100 }, [OP_APPEND_BATCH] = { 200, 90, 250 },
};

/* A number that changes with each request; 0 while one is under way. */
static unsigned
requests (const struct world *w)
{
  const struct actor *c = &w->actors[ACTOR_CONSUMER];

  return c->busy && (c->op == OP_SUSPEND || c->op == OP_RESUME) ? 0
    : w->model.requests + 1;
}

/* The producer saw all there was, and settled it. */
static bool
saw_all (const struct world *w, unsigned requests_before)
{
  return requests_before != 0 && requests (w) == requests_before;
}

/* What failed, and must not. */
static void
failed (struct actor *a)
{
  if (!a->port.dead)
    problem (a->world, "%s fails: %s", op_names[a->op], blkring_get_error ());
}

/* The ring knows who owns this side, or that nobody does. */
static void
settle_owner (struct actor *a, bool clean)
{
  struct world *w = a->world;
  const unsigned side = a->number;
  struct owner o;

  identity_alive[a->number + 1] = !clean;
  if (w->model.shape.format == 1)
    return;
  read_owner (w->disk.content, side, &o);
  w->model.clean[side] = clean;
  w->model.epoch[side] = o.epoch[0];
}

/*---------------------------------------------------------------------*/
/* Producer.                                                             */

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

  if ((err == EAGAIN && !may_fit (&a->world->model, needed, freed)) ||
      (err == EMSGSIZE && needed == 0) || (err == ESHUTDOWN && !runs))
    a->refused = true;
  else
    failed (a);
}

static void
push (struct actor *a, bool batch, bool expose)
{
  struct world *w = a->world;
  struct model *m = &w->model;
  const unsigned nr = batch ? BATCH : 1;
  const uint64_t needed = model_plan (m, lengths[a->op], nr);
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
  states |= m->states;
  if (r == -1) {
    m->ends = ends;
    judge_refusal (a, err, needed, freed, states);
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
    bounds_set (&m->ends, m->pushed);
}

static void
advance (struct actor *a)
{
  struct model *m = &a->world->model;
  int r;

  model_acknowledge (m);
  bounds_add (&m->ends, m->pushed);
  r = blkring_producer_advance (a->p, m->tail);
  if (r == -1)
    failed (a);
  else
    bounds_set (&m->ends, m->pushed);
}

static void
look (struct actor *a)
{
  struct model *m = &a->world->model;
  const unsigned seen = requests (a->world);
  int state;

  model_acknowledge (m);
  state = blkring_producer_state (a->p);
  if (state == -1) {
    failed (a);
    return;
  }
  if (!saw_all (a->world, seen))
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
  unsigned i;

  for (i = m->ends.nr; i-- > 0;)
    if (model_space (m, m->ends.at[i]) == tail) {
      model_drop (m, m->ends.at[i]);
      m->ends.nr = i + 1;
      return;
    }
  problem (w, "the producer attaches at %" PRIu64 ", where nothing ends",
           tail);
}

static void
attach_producer (struct actor *a)
{
  struct world *w = a->world;
  struct blkring_attach_options o;
  struct model *m = &w->model;
  const unsigned seen = requests (w);

  world_options (w, &o);
  a->attached = true;
  m->clean[a->number] = false;
  model_acknowledge (m);
  a->p = blkring_producer_attach (a->port.device, &o);
  if (a->p == NULL) {
    failed (a);
    return;
  }
  settle_owner (a, false);
  settle_end (w, a->p->tail);
  if (saw_all (w, seen))
    m->states &= STATE (BLKRING_RUNNING) | STATE (BLKRING_SUSPENDED);
}

static void
detach_producer (struct actor *a)
{
  struct model *m = &a->world->model;

  blkring_producer_free (a->p);
  a->p = NULL;
  if (a->port.dead)
    return;
  a->attached = false;
  settle_owner (a, true);
  model_drop (m, bounds_max (&m->ends));
}

/*---------------------------------------------------------------------*/
/* Consumer.                                                             */

static void
pop (struct actor *a)
{
  struct world *w = a->world;
  const struct model *m = &w->model;
  const bool must_be_there = a->popped < bounds_min (&m->ends);
  struct blkring_item item;

  if (blkring_consumer_pop (a->c, &a->next, &item) == -1 || a->port.dead) {
    a->refused = errno == EAGAIN && !must_be_there;
    if (!a->refused)
      failed (a);
    return;
  }
  if (a->popped >= bounds_max (&m->ends))
    problem (w, "item %u was popped, and was not exposed", a->popped);
  else if (item.position != model_position (m, a->popped) ||
           !item_is (model_get (m, a->popped), item.data, item.length))
    problem (w, "what was popped is not item %u", a->popped);
  a->popped++;
  a->next = item.next;
}

static void
consumer_advance (struct actor *a)
{
  struct model *m = &a->world->model;

  bounds_add (&m->firsts, a->popped);
  if (blkring_consumer_advance (a->c, a->next) == -1)
    failed (a);
  else
    bounds_set (&m->firsts, a->popped);
}

static void
take (struct actor *a)
{
  pop (a);
  if (!a->refused && !a->port.dead && !a->world->problem[0])
    consumer_advance (a);
}

static void
request (struct actor *a, bool suspend)
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
  if (w->actors[ACTOR_PRODUCER].busy)
    model_acknowledge (m);
  if ((suspend ? blkring_consumer_suspend : blkring_consumer_resume) (a->c)
      == 0)
    m->states &= asked | reached;
  else if (errno == EAGAIN && before & opposite) {
    a->refused = true;
    m->states = before;
    model_acknowledge (m);
  }
  else
    failed (a);
}

static void
attach_consumer (struct actor *a)
{
  struct world *w = a->world;
  struct blkring_attach_options o;
  struct model *m = &w->model;
  unsigned i;

  world_options (w, &o);
  a->attached = true;
  m->clean[a->number] = false;
  a->c = blkring_consumer_attach (a->port.device, &o);
  if (a->c == NULL) {
    failed (a);
    return;
  }
  settle_owner (a, false);
  a->next = a->c->position;
  for (i = m->firsts.nr; i-- > 0;)
    if (model_position (m, m->firsts.at[i]) == a->next) {
      a->popped = m->firsts.at[i];
      m->firsts.nr = i + 1;
      return;
    }
  problem (w, "the consumer attaches at %" PRIu64 ", where it never was",
           a->next);
}

static void
detach_consumer (struct actor *a)
{
  blkring_consumer_free (a->c);
  a->c = NULL;
  if (a->port.dead)
    return;
  a->attached = false;
  settle_owner (a, true);
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
    failed (a);
    return;
  }
  model_init (m, &shape, 0);
  m->next_id = id;
}

bool
op_is_possible (const struct world *w, enum op op)
{
  const struct actor *p = &w->actors[ACTOR_PRODUCER];
  const struct actor *c = &w->actors[ACTOR_CONSUMER];
  const struct model *m = &w->model;

  switch (op) {
  case OP_ADVANCE:
    return p->p && m->pushed > bounds_max (&m->ends);
  case OP_ATTACH_PRODUCER:
    return !p->attached && !p->busy && !m->no_ring;
  case OP_RESTART_PRODUCER:
    return p->attached;
  case OP_FREE:
    return c->c && c->popped > bounds_max (&m->firsts);
  case OP_POP:
  case OP_TAKE:
  case OP_SUSPEND:
  case OP_RESUME:
  case OP_DETACH_CONSUMER:
    return c->c;
  case OP_ATTACH_CONSUMER:
    return !c->attached && !m->no_ring;
  case OP_RESTART_CONSUMER:
    return c->attached;
  case OP_CREATE:
    return !p->attached && !c->attached;
  default:
    return p->p && 4 + lengths[op][0] <= m->shape.capacity;
  }
}

void
op_perform (struct actor *a)
{
  switch (a->op) {
  case OP_PUSH_BATCH:
    push (a, true, false);
    break;
  case OP_APPEND:
    push (a, false, true);
    break;
  case OP_APPEND_BATCH:
    push (a, true, true);
    break;
  case OP_ADVANCE:
    advance (a);
    break;
  case OP_LOOK:
    look (a);
    break;
  case OP_ATTACH_PRODUCER:
  case OP_RESTART_PRODUCER:
    attach_producer (a);
    break;
  case OP_DETACH_PRODUCER:
    detach_producer (a);
    break;
  case OP_POP:
    pop (a);
    break;
  case OP_FREE:
    consumer_advance (a);
    break;
  case OP_TAKE:
    take (a);
    break;
  case OP_SUSPEND:
  case OP_RESUME:
    request (a, a->op == OP_SUSPEND);
    break;
  case OP_ATTACH_CONSUMER:
  case OP_RESTART_CONSUMER:
    attach_consumer (a);
    break;
  case OP_DETACH_CONSUMER:
    detach_consumer (a);
    break;
  case OP_CREATE:
    create (a);
    break;
  default:
    push (a, false, false);
  }
}
