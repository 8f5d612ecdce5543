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
  [OP_TAKE_OVER] = "take over", [OP_NEW_PUSH] = "successor's push",
  [OP_NEW_ADVANCE] = "successor's advance",
  [OP_NEW_APPEND] = "successor's append", [OP_NEW_LOOK] = "successor's look",
};

/* A batch has three lengths. */
static const size_t lengths[OPS][BATCH] = {
  [OP_PUSH_0] = { 0 }, [OP_PUSH_1] = { 1 }, [OP_PUSH_504] = { 504 },
  [OP_PUSH_508] = { 508 }, [OP_PUSH_509] = { 509 },
  [OP_PUSH_1200] = { 1200 }, [OP_PUSH_BATCH] = { 7, 0, 300 },
  [OP_APPEND] = { 100 }, [OP_APPEND_BATCH] = { 200, 90, 250 },
  [OP_NEW_PUSH] = { 50 }, [OP_NEW_APPEND] = { 60 },
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

/* What failed, and must not; but damage by a producer that was replaced is
 * to be told. */
static void
failed (struct actor *a)
{
  if (errno == EBADMSG && a->world->model.late)
    a->refused = true;
  else if (!a->port.dead)
    problem (a->world, "%s fails: %s", op_names[a->op], blkring_get_error ());
}

/* The ring knows who owns this side, or that nobody does. */
static void
settle_owner (struct actor *a, bool clean)
{
  struct world *w = a->world;
  const unsigned side = a->number == ACTOR_CONSUMER;
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

/* A push of a producer that was replaced meanwhile, or had been before.  It
 * may work if its successor has taken it over. */
static void
judge_overtaken (struct actor *a, int r, int err, uint32_t id,
                 unsigned number, bool expose)
{
  struct model *m = &a->world->model;
  unsigned i;

  errno = err;
  if (r == -1 && err == EBUSY)
    a->refused = a->replaced = true;
  else if (r == -1)
    failed (a);
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

static void
push_in_vain (struct actor *a, bool expose)
{
  struct model *m = &a->world->model;
  const uint32_t id = m->next_id++;
  const struct iovec item = { (void *) item_content (id),
                              lengths[a->op][0] };
  const int r = (expose ? blkring_producer_appendv : blkring_producer_pushv)
    (a->p, &item, 1, NULL);

  judge_overtaken (a, r, errno, id, UINT32_MAX, expose);
}

static bool
is_undone (const struct actor *a)
{
  return a->world->undone && a->port.replaced;
}

static void
exposed (struct actor *a)
{
  if (!is_undone (a))
    bounds_set (&a->world->model.ends, a->world->model.pushed);
}

static void
push (struct actor *a, bool batch, bool expose)
{
  struct world *w = a->world;
  struct model *m = &w->model;
  const unsigned nr = batch ? BATCH : 1, before = m->pushed;
  const uint32_t id = m->next_id;
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
  if (a->number != w->owner) {
    judge_overtaken (a, r, err, id + nr - 1, before + nr, expose);
    return;
  }
  states |= m->states;
  /* What it wrote may be there. */
  if (r == -1 && err == EBUSY && w->replacing) {
    a->refused = a->replaced = true;
    return;
  }
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
    exposed (a);
}

static void
advance (struct actor *a)
{
  struct model *m = &a->world->model;
  const unsigned pushed = m->pushed;
  const uint32_t id = model_get (m, pushed - 1)->id;
  int r;

  model_acknowledge (m);
  bounds_add (&m->ends, m->pushed);
  r = blkring_producer_advance (a->p, m->tail);
  if (a->number != a->world->owner)
    judge_overtaken (a, r, errno, id, pushed, true);
  else if (r == -1 && errno == EBUSY && a->world->replacing)
    a->refused = a->replaced = true;
  else if (r == -1)
    failed (a);
  else
    exposed (a);
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
    a->refused = a->replaced = errno == EBUSY && a->world->replacing &&
      a->number == ACTOR_PRODUCER;
    if (!a->refused)
      failed (a);
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
begin_to_replace (struct world *w)
{
  w->replacing = w->actors[ACTOR_PRODUCER].port.replaced = true;
  w->ends_before = w->model.ends;
  w->states_before = w->model.states;
}

static void
attach_producer (struct actor *a)
{
  struct world *w = a->world;
  struct blkring_attach_options o;
  struct model *m = &w->model;
  const unsigned seen = requests (w);

  world_options (w, &o);
  if (a->op == OP_TAKE_OVER) {
    o.flags = BLKRING_ATTACH_TAKEOVER;
    begin_to_replace (w);
  }
  a->attached = true;
  m->clean[0] = false;
  model_acknowledge (m);
  a->p = blkring_producer_attach (a->port.device, &o);
  if (a->p == NULL) {
    failed (a);
    return;
  }
  settle_owner (a, false);
  w->owner = a->number;
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
  /* Its successor says what is true. */
  if (a->world->replacing && a->number == ACTOR_PRODUCER) {
    identity_alive[a->number + 1] = false;
    return;
  }
  settle_owner (a, true);
  model_drop (m, bounds_max (&m->ends));
}

/*---------------------------------------------------------------------*/
/* Consumer.                                                             */

#define NO_ID UINT32_MAX

static void
pop (struct actor *a)
{
  struct world *w = a->world;
  const struct model *m = &w->model;
  const bool must_be_there = a->popped < bounds_min (&m->ends);
  struct blkring_item item;
  bool is_it;

  if (blkring_consumer_pop (a->c, &a->next, &item) == -1 || a->port.dead) {
    a->refused = errno == EAGAIN && !must_be_there;
    if (!a->refused)
      failed (a);
    return;
  }
  is_it = a->popped < bounds_max (&m->ends) &&
    item.position == model_position (m, a->popped) &&
    item_is (model_get (m, a->popped), item.data, item.length);
  if (!is_it && !m->late)
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
consumer_advance (struct actor *a)
{
  struct model *m = &a->world->model;
  const struct bounds firsts = m->firsts;

  bounds_add (&m->firsts, a->popped);
  if (blkring_consumer_advance (a->c, a->next) == 0) {
    if (!popped_right (a))
      problem (a->world, "%s frees what is not there", op_names[a->op]);
    a->freed = a->popped;
    bounds_set (&m->firsts, a->freed);
    return;
  }
  failed (a);
  if (!a->refused)
    return;
  /* It begins anew. */
  m->firsts = firsts;
  a->popped = a->freed;
  a->next = a->c->position;
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
  if (w->actors[ACTOR_PRODUCER].busy || w->actors[ACTOR_SUCCESSOR].busy)
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
  m->clean[1] = false;
  a->c = blkring_consumer_attach (a->port.device, &o);
  if (a->c == NULL) {
    failed (a);
    return;
  }
  settle_owner (a, false);
  a->next = a->c->position;
  for (i = m->firsts.nr; i-- > 0;)
    if (model_position (m, m->firsts.at[i]) == a->next) {
      a->popped = a->freed = m->firsts.at[i];
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
  const struct actor *s = &w->actors[ACTOR_SUCCESSOR];
  const struct model *m = &w->model;

  if (world_actor ((struct world *) w, op)->replaced)
    return false;
  switch (op) {
  case OP_ADVANCE:
    return p->p && w->owner == ACTOR_PRODUCER && m->pushed > bounds_max (&m->ends);
  case OP_ATTACH_PRODUCER:
    return !p->attached && !p->busy && !m->no_ring && !w->replacing;
  case OP_RESTART_PRODUCER:
    return p->attached && !w->replacing;
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
    return !p->attached && !c->attached && !w->replacing;
  case OP_TAKE_OVER:
    return p->p && !s->attached;
  case OP_NEW_ADVANCE:
    return s->p && m->pushed > bounds_max (&m->ends);
  case OP_NEW_PUSH:
  case OP_NEW_APPEND:
  case OP_NEW_LOOK:
    return s->p;
  default:
    return p->p && 4 + lengths[op][0] <= m->shape.capacity;
  }
}

static void
push_or_in_vain (struct actor *a, bool batch, bool expose)
{
  if (a->number == a->world->owner)
    push (a, batch, expose);
  else
    push_in_vain (a, expose);
}

void
op_perform (struct actor *a)
{
  switch (a->op) {
  case OP_PUSH_BATCH:
    push_or_in_vain (a, true, false);
    break;
  case OP_APPEND:
  case OP_NEW_APPEND:
    push_or_in_vain (a, false, true);
    break;
  case OP_APPEND_BATCH:
    push_or_in_vain (a, true, true);
    break;
  case OP_ADVANCE:
  case OP_NEW_ADVANCE:
    advance (a);
    break;
  case OP_LOOK:
  case OP_NEW_LOOK:
    look (a);
    break;
  case OP_ATTACH_PRODUCER:
  case OP_RESTART_PRODUCER:
  case OP_TAKE_OVER:
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
    push_or_in_vain (a, false, false);
  }
}
