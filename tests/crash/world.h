/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A ring on a disk, those who use it, and what it has promised them.
 *
 * Each user ('actor') is a coroutine that stops before each request to the
 * disk, so that another can go first or the actor be killed: in one thread,
 * and so that every order can be had, and had again.
 */

#ifndef CRASH_WORLD_H
#define CRASH_WORLD_H

#include <ucontext.h>

#include "disk.h"
#include "model.h"

enum op {
  OP_PUSH_0, OP_PUSH_1, OP_PUSH_504, OP_PUSH_508, OP_PUSH_509, OP_PUSH_1200,
  OP_PUSH_BATCH, OP_ADVANCE, OP_APPEND, OP_APPEND_BATCH, OP_LOOK,
  OP_ATTACH_PRODUCER, OP_DETACH_PRODUCER, OP_RESTART_PRODUCER,
  OP_POP, OP_FREE, OP_TAKE, OP_SUSPEND, OP_RESUME,
  OP_ATTACH_CONSUMER, OP_DETACH_CONSUMER, OP_RESTART_CONSUMER,
  OP_CREATE,
  /* From here on only in workloads that ask for them (limits.also). */
  OP_APPEND_ALL,             /* the largest frame */
  /* Of a producer on another host, which takes over, … */
  OP_TAKE_OVER, OP_NEW_PUSH, OP_NEW_ADVANCE, OP_NEW_APPEND, OP_NEW_LOOK,
  OP_NEW_DETACH,
  /* … of one that comes after that one … */
  OP_THIRD_TAKE_OVER, OP_THIRD_APPEND,
  /* … and of a consumer. */
  OP_CONSUMER_TAKE_OVER, OP_NEW_POP, OP_NEW_FREE, OP_NEW_TAKE,
  OPS
};
extern const char *const op_names[OPS];

#define OPS_BY_ITSELF OP_APPEND_ALL
#define BIT(op) (UINT64_C (1) << (op))
#define ALL_OPS(from, to) ((BIT (to) << 1) - BIT (from))
#define PRODUCER_TAKEOVER ALL_OPS (OP_TAKE_OVER, OP_NEW_LOOK)
#define THIRD_PRODUCER (ALL_OPS (OP_NEW_DETACH, OP_THIRD_APPEND))
#define CONSUMER_TAKEOVER ALL_OPS (OP_CONSUMER_TAKE_OVER, OP_NEW_TAKE)

#define ACTORS 5
enum { ACTOR_PRODUCER, ACTOR_CONSUMER, ACTOR_SUCCESSOR, ACTOR_THIRD,
       ACTOR_HEIR /* the second consumer */ };
#define MAX_POPPED 256

struct world;

struct actor {
  struct world *world;
  unsigned number;
  struct port port;
  blkring_producer *p;
  blkring_consumer *c;
  unsigned freed;            /* items that it freed, or found freed … */
  unsigned popped;           /* … that it popped, with those … */
  uint32_t ids[MAX_POPPED];  /* … which those were, by number modulo that … */
  blkring_position next;     /* … and where the next one begins */
  enum op op;
  bool busy;                 /* in the middle of 'op' */
  bool refused;              /* 'op' had no effect, as it may */
  bool attached;             /* or attaching */
  bool stopped;              /* it knows that it was replaced, or that
                                something is wrong: its handle is of no use */
  ucontext_t context;
  void *stack;
};

/* Who may be one side, when others take over. */
struct tenure {
  unsigned owner;            /* the actor whose word counts */
  unsigned taker;            /* who takes over, or has … */
  unsigned takers;           /* … as one of so many */
  unsigned claims;           /* it has written its record so often … */
  bool undone;               /* … over what it had not seen: then the ring is
                                perhaps what it was before the takeover */
  unsigned late_seen;        /* records that came late, when it looked … */
  struct bounds before;      /* … and ends, or firsts, at that time */
  unsigned states_before;
};

/* What one actor does next. */
struct decision {
  enum { CONTINUE, START, RESUME, END } what;
  struct actor *actor;
  enum op op;
};

struct world {
  struct disk disk;
  struct model model;
  struct actor actors[ACTORS];
  uint64_t now;              /* ns */
  uint64_t tick;             /* ns that each operation takes */
  struct tenure tenures[SIDES_OF_RING];
  bool alone;                /* nobody stops anywhere: setup, end */
  char problem[1024];        /* what is wrong; "" = nothing */
  char trail[2048];          /* how it came to that, at least the last of
                                it */

  /* How it goes on: who is next when 'actor' stops in the middle of an
   * operation, and (NULL) when nobody runs. */
  struct decision (*decide) (struct world *w, struct actor *actor);
  /* An operation is over, and what the ring promises may have changed. */
  void (*settled) (struct world *w, struct actor *actor);
  struct decision decision;
  ucontext_t main;
  void *opaque;
};

/* world.c */
extern void world_init (struct world *w, size_t size, unsigned flags,
                        enum region (*region) (uint64_t offset));
extern void world_free (struct world *w);
/* Let it go as w->decide says, until that says END or there is a
 * problem. */
extern void world_run (struct world *w);
/* Everybody is killed. */
extern void world_end (struct world *w);
/* One operation by itself. */
extern void world_do (struct world *w, enum op op);
extern struct actor *world_actor (struct world *w, enum op op);
/* OF_PRODUCER or OF_CONSUMER. */
extern unsigned actor_side (const struct actor *a);
/* Nobody has replaced anybody. */
extern void world_reset (struct world *w);
extern void world_options (struct world *w,
                           struct blkring_attach_options *options);
/* The actor's process is gone. */
extern void actor_kill (struct actor *a);
/* For the trail. */
extern void note (struct world *w, const char *text);
extern void note_decision (struct world *w, const struct decision *d);
/* Also of a write that comes too late. */
extern void note_write (const struct port *port);
/* And what it has read. */
extern void note_look (struct port *port);
/* Keeps the first one. */
extern void problem (struct world *w, const char *fmt, ...)
  __attribute__ ((format (printf, 2, 3)));

/* operation.c */
extern bool op_is_possible (const struct world *w, enum op op);
extern void op_perform (struct actor *a);

/* identity.c: who the library takes itself for, and who is dead. */
extern unsigned identity_me;
extern bool identity_alive[16];
extern bool identity_all_dead;
extern unsigned identity_uuid; /* of the last ring that was made */

#endif /* CRASH_WORLD_H */
