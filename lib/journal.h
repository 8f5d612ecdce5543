/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The state of a journal, which its parts share:
 *
 *   journal.c          start, sync, flush, shutdown
 *   journal-push.c     pushes that share durable writes
 *   journal-perform.c  the thread that performs
 *   journal-wait.c     how all of them sleep, and stop
 *
 * A journal uses producer and consumer as any other program could.
 */

#ifndef BLKRING_JOURNAL_H
#define BLKRING_JOURNAL_H

#include <pthread.h>

#include "blkring.h"
#include "error.h"

#define NS_PER_US UINT64_C (1000)
#define NS_PER_MS UINT64_C (1000000)
#define NEVER UINT64_MAX

struct push;                 /* journal-push.c */

enum journal_stop {
  JOURNAL_RUNS,
  JOURNAL_DRAINS,            /* no pushes; performs what is left */
  JOURNAL_STOPS,             /* performs nothing more */
};

struct blkring_journal {
  blkring_device *device;
  blkring_producer *producer;
  blkring_consumer *consumer; /* used by start and the thread alone */
  blkring_perform_fn perform;
  void *opaque;
  blkring_verdict_fn verdict;
  unsigned max_attempts;
  uint64_t retry_interval, flush_interval, poll_interval; /* ns */
  size_t batch_items;
  uint64_t batch_bytes;
  uint64_t group_bytes;      /* of items that one durable write can take */
  uint64_t ring_bytes;       /* the ring's capacity */
  struct blkring_clock clock;
  bool real_clock;
  pthread_t thread;
  bool has_thread;

  /* Everything from here to the next empty line is under this lock, and
   * no I/O is done under it. */
  pthread_mutex_t lock;
  pthread_cond_t work;       /* the thread waits for something to do */
  pthread_cond_t room;       /* a push waits for room in the ring */
  pthread_cond_t progress;   /* start, sync and shutdown wait */
  enum journal_stop stop;
  bool failed;
  struct saved_error error;  /* why */
  bool detached;
  bool replayed;             /* the first attempt at what was left is made */
  bool undrained;            /* an attempt failed during a drain */
  bool ended;                /* the thread will do nothing more */
  struct push *first, **last; /* pushes that wait, oldest first */
  size_t queued;             /* their number */
  size_t quorum;             /* so many are expected … */
  uint64_t gather_until;     /* … until then */
  struct push *gatherer;     /* waits for that; it is in the queue */
  bool leading;              /* one of them writes for others */
  bool want_room;            /* one of them has found none */
  int full;                  /* and it waits for room (EAGAIN), or for the
                                ring to be resumed (ESHUTDOWN); else 0 */
  uint64_t frees;            /* how often the consumer has advanced */
  unsigned syncs;            /* so many wait in sync */
  bool resting;              /* the thread will look by itself, soon */
  /* Items of this start, by number from 1. */
  uint64_t pushed;           /* the last one that is durable */
  uint64_t performed;        /* the last one that was performed … */
  uint64_t freed;            /* … and the last one that was freed, too */
  uint64_t due;              /* up to here nothing waits any more */
  uint64_t waiting_since;    /* ns: of the one behind it, where there is one */
  blkring_position end;      /* behind 'pushed' */
  blkring_position due_end;  /* behind 'due' */

  /* The thread's own. */
  blkring_position begin;    /* items before it were left by an earlier start;
                                does not change */
  bool left;                 /* there may be such items */
  blkring_position single;   /* items before it are performed one by one */
  struct {                   /* what was performed and is not freed yet */
    size_t items;
    uint64_t bytes;          /* of them, as a batch counts them */
    blkring_position begin, end;
    uint64_t since;          /* ns: when the first of it began */
    uint64_t until;          /* … and the last of it ended */
  } done;
  uint64_t freeing_took;     /* ns, the last time */
  struct blkring_item *items; /* the batch … */
  size_t nr, alloc_items;
  unsigned char *bytes;      /* … and what it points to */
  size_t used, alloc_bytes;
};

/* journal-wait.c; all with the lock held. */
extern uint64_t journal_now (const blkring_journal *j);
/* Wait for the condition, or the time.  May return early. */
extern void journal_wait (blkring_journal *j, pthread_cond_t *cond,
                          uint64_t until);
extern void journal_wake_all (blkring_journal *j);
/* The error that is set has stopped the journal. */
extern void journal_fail (blkring_journal *j);
/* Set the error for a call that finds the journal stopped; -1. */
extern int journal_refuse (const blkring_journal *j);
/* Nothing that is there needs to wait for more. */
extern void journal_make_due (blkring_journal *j);

/* journal-perform.c */
extern void *journal_thread (void *arg);
/* Is the caller called by perform? */
extern bool journal_is_own_thread (const blkring_journal *j);
/* In that thread, without the lock: free what was performed. */
extern int journal_free_done (blkring_journal *j);

/* journal-push.c: wait, with the lock held, until no push uses the producer
 * any more.  'stop' is set. */
extern void journal_end_pushes (blkring_journal *j);

#endif /* BLKRING_JOURNAL_H */
