/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Actors and how they take turns; see world.h.
 */

#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operation.h"

#define STACK_SIZE (512 << 10)
#define ENOUGH_STEPS 1000000

void
problem (struct world *w, const char *fmt, ...)
{
  va_list args;

  if (w->problem[0])
    return;
  va_start (args, fmt);
  vsnprintf (w->problem, sizeof w->problem, fmt, args);
  va_end (args);
}

void
note (struct world *w, const char *text)
{
  size_t used = strlen (w->trail);

  /* Room for any text. */
  if (used > sizeof w->trail - 64) {
    used /= 2;
    memmove (w->trail, w->trail + used, strlen (w->trail + used) + 1);
    used = strlen (w->trail);
  }
  snprintf (w->trail + used, sizeof w->trail - used, "%s%s",
            used ? "; " : "", text);
}

void
note_decision (struct world *w, const struct decision *d)
{
  static const char *const names[ACTORS] = {
    "producer goes on", "consumer goes on", "successor goes on",
    "third producer goes on", "new consumer goes on"
  };

  if (d->what == START)
    note (w, op_names[d->op]);
  else if (d->what == RESUME)
    note (w, names[d->actor->number]);
}

void
note_write (const struct port *port)
{
  static const char *const regions[] = { "", "head", "producer", "control",
                                         "consumer", "data" };
  struct actor *a = port->opaque;
  struct world *w = a->world;

  note (w, regions[port->last]);
  if (port->last == PRODUCER || port->last == CONSUMER)
    note_claim (a);
  if (port->replaced)
    w->model.late |= LATE (actor_side (a));
  if (port->replaced && port->last == DATA)
    w->model.late_data = true;
}

/*---------------------------------------------------------------------*/

/* From an actor to the one who directs them. */
static void
leave (struct actor *a)
{
  const int saved = errno;

  swapcontext (&a->context, &a->world->main);
  errno = saved;
}

static void
enter (struct actor *a)
{
  identity_me = a->number + 1;
  swapcontext (&a->world->main, &a->context);
}

static void
yield (struct port *port)
{
  struct actor *a = port->opaque;
  struct world *w = a->world;

  if (w->alone || w->problem[0])
    return;
  w->decision = w->decide (w, a);
  if (w->decision.what != CONTINUE)
    leave (a);
}

/* makecontext hands over ints alone. */
static struct actor *newborn;

static void
live (void)
{
  struct actor *a = newborn;

  for (;;) {
    leave (a);
    op_perform (a);
    port_end (&a->port);
    a->busy = false;
    if (!a->port.dead && !a->world->problem[0] && a->world->settled)
      a->world->settled (a->world, a);
  }
}

static void
actor_init (struct world *w, unsigned number)
{
  struct actor *a = &w->actors[number];

  a->world = w;
  a->number = number;
  port_open (&a->port, &w->disk, a);
  a->stack = malloc (STACK_SIZE);
  if (a->stack == NULL || getcontext (&a->context) == -1)
    abort ();
  a->context.uc_stack.ss_sp = a->stack;
  a->context.uc_stack.ss_size = STACK_SIZE;
  makecontext (&a->context, live, 0);
  newborn = a;
  enter (a);
}

void
world_init (struct world *w, size_t size, unsigned flags,
            enum region (*region) (uint64_t offset))
{
  unsigned i;

  memset (w, 0, sizeof *w);
  disk_init (&w->disk, size, flags);
  w->disk.region = region;
  w->disk.yield = yield;
  w->alone = true;
  for (i = 0; i < ACTORS; ++i)
    actor_init (w, i);
  world_reset (w);
}

void
world_free (struct world *w)
{
  unsigned i;

  world_end (w);
  for (i = 0; i < ACTORS; ++i) {
    port_close (&w->actors[i].port);
    free (w->actors[i].stack);
  }
  disk_free (&w->disk);
}

/*---------------------------------------------------------------------*/

struct actor *
world_actor (struct world *w, enum op op)
{
  return &w->actors[op >= OP_CONSUMER_TAKE_OVER ? ACTOR_HEIR
                    : op >= OP_THIRD_TAKE_OVER ? ACTOR_THIRD
                    : op >= OP_TAKE_OVER ? ACTOR_SUCCESSOR
                    : op < OP_POP || op >= OP_CREATE ? ACTOR_PRODUCER
                    : ACTOR_CONSUMER];
}

unsigned
actor_side (const struct actor *a)
{
  return a->number == ACTOR_CONSUMER || a->number == ACTOR_HEIR ? OF_CONSUMER
    : OF_PRODUCER;
}

void
world_reset (struct world *w)
{
  unsigned i;

  memset (w->tenures, 0, sizeof w->tenures);
  w->tenures[OF_PRODUCER].owner = ACTOR_PRODUCER;
  w->tenures[OF_CONSUMER].owner = ACTOR_CONSUMER;
  for (i = 0; i < ACTORS; ++i)
    w->actors[i].port.replaced = false;
}

/* What it was doing fails, and it cannot tell anybody. */
void
actor_kill (struct actor *a)
{
  struct world *w = a->world;
  const bool alone = w->alone;

  a->port.dead = true;
  w->alone = true;
  if (a->busy)
    enter (a);
  blkring_producer_free (a->p);
  blkring_consumer_free (a->c);
  a->p = NULL;
  a->c = NULL;
  a->attached = a->stopped = false;
  w->alone = alone;
  a->port.dead = false;
  a->port.deferred = false;
  identity_alive[a->number + 1] = false;
}

static void
start (struct actor *a, enum op op)
{
  struct world *w = a->world;

  if (op == OP_RESTART_PRODUCER || op == OP_RESTART_CONSUMER)
    actor_kill (a);
  w->now += w->tick;
  a->op = op;
  a->busy = true;
  a->refused = false;
  port_begin (&a->port, op);
  enter (a);
}

void
world_do (struct world *w, enum op op)
{
  w->alone = true;
  start (world_actor (w, op), op);
}

void
world_run (struct world *w)
{
  struct decision d = { .what = CONTINUE };
  unsigned steps = 0;

  w->alone = false;
  while (!w->problem[0]) {
    if (++steps > ENOUGH_STEPS) {
      problem (w, "it does not come to an end");
      break;
    }
    /* Somebody stopped in the middle, and had this decided. */
    d = w->decision;
    w->decision.what = CONTINUE;
    if (d.what == CONTINUE)
      d = w->decide (w, NULL);
    if (d.what == END)
      break;
    if (d.what == START)
      start (d.actor, d.op);
    else
      enter (d.actor);
  }
  w->alone = true;
}

void
world_end (struct world *w)
{
  unsigned i;

  w->decision.what = CONTINUE;
  for (i = 0; i < ACTORS; ++i)
    actor_kill (&w->actors[i]);
}

/*---------------------------------------------------------------------*/

static uint64_t
now (void *opaque)
{
  struct world *w = opaque;

  return w->now;
}

static int
pass_time (void *opaque, uint64_t ns)
{
  struct world *w = opaque;

  w->now += ns;
  /* Others do not sleep. */
  yield (&w->actors[identity_me - 1].port);
  return 0;
}

void
world_options (struct world *w, struct blkring_attach_options *options)
{
  static struct blkring_clock clock;

  clock = (struct blkring_clock) { now, pass_time, w };
  memset (options, 0, sizeof *options);
  options->queue = "q";
  options->client = "c";
  options->clock = &clock;
}
