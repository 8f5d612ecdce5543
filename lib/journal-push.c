/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Pushes of a journal, from any number of threads.
 *
 * Pushes queue up.  One of them leads: it appends what is queued by then as
 * one durable write, while others queue up behind, and tells each its result.
 * So with one thread a push is an append, and the more threads push, the more
 * of them share one.
 *
 * Threads that have just been told mostly come again at once, but to wake
 * them takes as long as half a write.  Were the next write to begin before
 * they are back, the threads would split into two halves that take turns.  So
 * it begins when as many are there as were before, and those who are early
 * wait for the others a little (gathering).  A single thread never waits.
 *
 * A push waits for a semaphore of its own, without the journal's lock: so the
 * lock is free for the next leader, for whom the disk waits.  Nobody else
 * touches a push when it has taken as many posts as were made.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "bytes.h"
#include "journal.h"

#define LARGEST_GROUP 256
/* The longest gathering, and its part of what the last write took. */
#define GATHERING (200 * NS_PER_US)
#define GATHERING_SHARE 2
/* How soon a push that waits sees room that another consumer of the ring
 * has made, or that the ring is resumed.  Room that this journal makes wakes
 * it at once. */
#define POLL (100 * NS_PER_MS)

/* Lies on the stack of the thread that pushes.  Under the lock, but what
 * tells the result: that is read when 'done' is seen. */
struct push {
  struct push *next;
  struct iovec item;
  bool nonblock;
  bool queued;               /* and not part of a group that is complete */
  uint64_t number;           /* 0: it failed … */
  struct saved_error error;  /* … so */
  unsigned asked;            /* so many posts that ask it to look */
  atomic_bool done;          /* one more post, or it is on its way */
  sem_t posts;
};

/*---------------------------------------------------------------------*/
/* The queue; with the lock held.                                        */

/* It is out of the queue. */
static void
forget (blkring_journal *j, struct push *p)
{
  p->queued = false;
  j->queued--;
  if (j->gatherer == p)
    j->gatherer = NULL;
}

static struct push *
take_first (blkring_journal *j)
{
  struct push *p = j->first;

  j->first = p->next;
  if (j->first == NULL)
    j->last = &j->first;
  forget (j, p);
  return p;
}

static void
add_last (blkring_journal *j, struct push *p)
{
  *j->last = p;
  j->last = &p->next;
  p->queued = true;
  j->queued++;
}

/* It returns to its caller. */
static void
complete (struct push *p)
{
  atomic_store_explicit (&p->done, true, memory_order_release);
  sem_post (&p->posts);
}

static void
refuse (struct push *p, const struct saved_error *error)
{
  p->error = *error;
  complete (p);
}

/* There is no room: those go that did not want to wait for it. */
static void
refuse_nonblocking (blkring_journal *j, const struct saved_error *error)
{
  struct push **at = &j->first, *p;

  while ((p = *at)) {
    if (!p->nonblock) {
      at = &p->next;
      continue;
    }
    *at = p->next;
    forget (j, p);
    refuse (p, error);
  }
  j->last = at;
}

/* The journal has ended: nothing that is queued will be written. */
static void
cancel_all (blkring_journal *j)
{
  struct saved_error error;

  journal_refuse (j);
  save_error (&error);
  while (j->first)
    refuse (take_first (j), &error);
}

/*---------------------------------------------------------------------*/
/* Leading.                                                              */

/* As many as one write can take, at least one. */
static size_t
collect (const blkring_journal *j, struct iovec *items)
{
  const struct push *p;
  uint64_t bytes = 0;
  size_t nr = 0;

  for (p = j->first; p && nr < LARGEST_GROUP; p = p->next) {
    bytes += 4 + round_up (p->item.iov_len, 4);
    if (nr > 0 && bytes > j->group_bytes)
      break;
    items[nr++] = p->item;
  }
  return nr;
}

/* Append the first ones of the queue, fewer where there is not room for all.
 * The number of them; or -1: the first cannot be appended now. */
static ssize_t
append_group (blkring_journal *j, blkring_position *after)
{
  struct iovec items[LARGEST_GROUP];
  const size_t queued = j->queued;
  const uint64_t begin = journal_now (j);
  size_t nr = collect (j, items);
  uint64_t end;
  int r;

  pthread_mutex_unlock (&j->lock);
  while ((r = blkring_producer_appendv (j->producer, items, nr, after)) == -1
         && (errno == EAGAIN || errno == EMSGSIZE) && nr > 1)
    nr /= 2;
  pthread_mutex_lock (&j->lock);
  if (r == -1)
    return -1;
  end = journal_now (j);
  j->gather_until = end + min_u64 ((end - begin) / GATHERING_SHARE, GATHERING);
  /* Those that came meanwhile come again as well; but who was left out needs
   * no others. */
  j->quorum = nr == queued ? j->queued : 0;
  return nr;
}

/* So many of the queue are durable, and are to be performed. */
static void
note_stored (blkring_journal *j, size_t nr, blkring_position after)
{
  const bool first = j->pushed == j->due;

  if (first && j->flush_interval > 0)
    j->waiting_since = journal_now (j);
  j->pushed += nr;
  j->end = after;
  if (j->flush_interval == 0)
    journal_make_due (j);
  else if (first)
    pthread_cond_signal (&j->work);
}

/* Somebody who is in the queue has to see to it that it is written.  Without
 * the lock on return. */
static void
give_up_the_lead (blkring_journal *j)
{
  struct push *next = j->first;

  j->leading = false;
  if (next)
    next->asked++;
  else if (j->failed || j->stop != JOURNAL_RUNS)
    journal_wake_all (j);    /* journal_end_pushes */
  pthread_mutex_unlock (&j->lock);
  if (next)
    sem_post (&next->posts);
}

/* Without the lock on return. */
static void
complete_group (blkring_journal *j, size_t nr, blkring_position after)
{
  struct push *group[LARGEST_GROUP];
  size_t i;

  for (i = 0; i < nr; ++i) {
    group[i] = take_first (j);
    group[i]->number = j->pushed + 1 + i;
  }
  note_stored (j, nr, after);
  give_up_the_lead (j);
  for (i = 0; i < nr; ++i)
    complete (group[i]);
}

/* Sleep until it is worth trying again. */
static void
wait_for_room (blkring_journal *j, uint64_t frees, int why)
{
  const uint64_t until = journal_now (j) + POLL;

  j->full = why;
  while (j->frees == frees && !j->failed && j->stop == JOURNAL_RUNS &&
         journal_now (j) < until)
    journal_wait (j, &j->room, until);
  j->full = 0;
}

/* Nothing could be appended. */
static void
handle_failure (blkring_journal *j, const struct push *own, uint64_t frees)
{
  struct saved_error error;

  save_error (&error);
  switch (error.err) {
  case EAGAIN:
  case ESHUTDOWN:
    journal_make_due (j);
    j->want_room = true;
    pthread_cond_signal (&j->work);
    refuse_nonblocking (j, &error);
    if (own->queued)
      wait_for_room (j, frees, error.err);
    break;
  case EMSGSIZE:
  case ENOMEM:
    refuse (take_first (j), &error);
    break;
  default:
    journal_fail (j);
  }
}

/* Write a group, or end without 'own'.  Without the lock on return. */
static void
lead (blkring_journal *j, const struct push *own)
{
  blkring_position after;
  uint64_t frees;
  ssize_t nr;

  j->leading = true;
  while (own->queued && !j->failed && j->stop == JOURNAL_RUNS) {
    frees = j->frees;
    nr = append_group (j, &after);
    if (nr >= 0) {
      complete_group (j, nr, after);
      return;
    }
    handle_failure (j, own, frees);
  }
  if (j->failed || j->stop != JOURNAL_RUNS)
    cancel_all (j);
  give_up_the_lead (j);
}

/*---------------------------------------------------------------------*/
/* Waiting.                                                              */

/* Are others expected?  Not by the caller's clock, in which nobody can sleep
 * and be woken. */
static bool
gathers (const blkring_journal *j)
{
  return j->queued < j->quorum && j->real_clock && !j->failed &&
    j->stop == JOURNAL_RUNS && journal_now (j) < j->gather_until;
}

/* Look what is to be done about 'p', and do it: true, or wait for a post, and
 * if one was asked to look when the gathering ends, until *until.  Of those
 * who wait one does that, as long as nobody leads. */
static bool
act (blkring_journal *j, struct push *p, uint64_t *until)
{
  *until = NEVER;
  pthread_mutex_lock (&j->lock);
  if (j->gatherer == p)
    j->gatherer = NULL;
  if (p->queued && !j->leading) {
    if (!gathers (j)) {
      lead (j, p);
      return true;
    }
    if (j->gatherer == NULL) {
      j->gatherer = p;
      *until = j->gather_until;
    }
  }
  pthread_mutex_unlock (&j->lock);
  return false;
}

static bool
take_post (struct push *p, uint64_t until)
{
  const struct timespec ts = { until / 1000000000, until % 1000000000 };

  return (until == NEVER ? sem_wait (&p->posts)
          : sem_clockwait (&p->posts, CLOCK_MONOTONIC, &ts)) == 0;
}

/* It is in the queue. */
static void
wait_until_done (blkring_journal *j, struct push *p)
{
  unsigned taken = 0;
  uint64_t until;

  while (!atomic_load_explicit (&p->done, memory_order_acquire))
    if (!act (j, p, &until))
      taken += take_post (p, until);
  while (taken < p->asked + 1)
    taken += take_post (p, NEVER);
}

/* Is there a reason to refuse it now?  0, or -1 and what it is. */
static int
admit (blkring_journal *j, struct push *p)
{
  if (j->failed || j->stop != JOURNAL_RUNS)
    return journal_refuse (j);
  if (p->nonblock && j->full)
    return set_error (j->full, "the ring is %s, and another push waits "
                      "already", j->full == EAGAIN ? "full" : "suspended");
  add_last (j, p);
  return 0;
}

static int
push (blkring_journal *j, struct push *p)
{
  int r;

  pthread_mutex_lock (&j->lock);
  r = admit (j, p);
  pthread_mutex_unlock (&j->lock);
  if (r == -1)
    return -1;
  wait_until_done (j, p);
  return p->number > 0 ? 0 : restore_error (&p->error);
}

int
blkring_journal_push (blkring_journal *j, const void *item, size_t length,
                      unsigned flags, blkring_journal_waiter *waiter)
{
  const uint64_t largest = blkring_producer_largest_item (j->producer);
  struct push p;
  int r;

  if (flags & ~BLKRING_JOURNAL_NONBLOCK)
    return set_error (EINVAL, "push flags %#x are not known", flags);
  /* A group must not fail for one of its items. */
  if (length > largest)
    return set_error (EMSGSIZE, "the item has %zu bytes, the largest that the"
                      " journal takes has %" PRIu64, length, largest);
  p.next = NULL;
  p.item = (struct iovec) { (void *) item, length };
  p.nonblock = flags & BLKRING_JOURNAL_NONBLOCK || journal_is_own_thread (j);
  p.number = 0;
  p.asked = 0;
  atomic_init (&p.done, false);
  sem_init (&p.posts, 0, 0);
  r = push (j, &p);
  sem_destroy (&p.posts);
  if (r == 0 && waiter)
    *waiter = p.number;
  return r;
}

void
journal_end_pushes (blkring_journal *j)
{
  while (j->leading || j->first)
    pthread_cond_wait (&j->progress, &j->lock);
}
