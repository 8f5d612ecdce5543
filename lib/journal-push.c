/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Pushes of a journal, from any number of threads.
 *
 * Pushes queue up.  Whoever is first in the queue leads: it appends what
 * is queued by then as one durable write, while others queue up behind, and
 * tells each its result.  So with one thread a push is an append, and the
 * more threads push, the more of them share one.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "bytes.h"
#include "journal.h"

#define LARGEST_GROUP 256
/* How soon a push that waits sees room that another consumer of the ring
 * has made, or that the ring is resumed.  Room that this journal makes wakes
 * it at once. */
#define POLL (100 * NS_PER_MS)

/* Lies on the stack of the thread that pushes. */
struct push {
  struct push *next;
  struct iovec item;
  bool nonblock;
  bool done;
  uint64_t number;           /* 0: it failed … */
  struct saved_error error;  /* … so */
  pthread_cond_t cond;       /* it is done, or is to lead */
};

/* Take the first one out of the queue, with its result. */
static void
complete_first (blkring_journal *j, const struct saved_error *error)
{
  struct push *p = j->first;

  j->first = p->next;
  if (j->first == NULL)
    j->last = &j->first;
  if (error)
    p->error = *error;
  else
    p->number = ++j->pushed;
  p->done = true;
  pthread_cond_signal (&p->cond);
}

/* So many of the queue are durable, and end here. */
static void
complete_group (blkring_journal *j, size_t nr, blkring_position after)
{
  if (j->pushed == j->due && j->flush_interval > 0)
    j->waiting_since = journal_now (j);
  j->end = after;
  while (nr-- > 0)
    complete_first (j, NULL);
  if (j->flush_interval == 0)
    journal_make_due (j);
  pthread_cond_signal (&j->work);
}

/* There is no room: those go that did not want to wait for it. */
static void
complete_nonblocking (blkring_journal *j, const struct saved_error *error)
{
  struct push **at = &j->first, *p;

  while ((p = *at)) {
    if (!p->nonblock) {
      at = &p->next;
      continue;
    }
    *at = p->next;
    p->error = *error;
    p->done = true;
    pthread_cond_signal (&p->cond);
  }
  j->last = at;
}

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
  size_t nr = collect (j, items);
  int r;

  pthread_mutex_unlock (&j->lock);
  while ((r = blkring_producer_appendv (j->producer, items, nr, after)) == -1
         && (errno == EAGAIN || errno == EMSGSIZE) && nr > 1)
    nr /= 2;
  pthread_mutex_lock (&j->lock);
  return r == -1 ? -1 : (ssize_t) nr;
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

/* Write for all that are queued.  On return the first one is done. */
static void
lead (blkring_journal *j)
{
  struct push *own = j->first;
  struct saved_error error;
  blkring_position after;
  uint64_t frees;
  ssize_t nr;

  j->leading = true;
  while (!own->done && !j->failed && j->stop == JOURNAL_RUNS) {
    frees = j->frees;
    nr = append_group (j, &after);
    if (nr >= 0) {
      complete_group (j, nr, after);
      continue;
    }
    save_error (&error);
    switch (error.err) {
    case EAGAIN:
    case ESHUTDOWN:
      journal_make_due (j);
      complete_nonblocking (j, &error);
      if (!own->done)
        wait_for_room (j, frees, error.err);
      break;
    case EMSGSIZE:
    case ENOMEM:
      complete_first (j, &error);
      break;
    default:
      journal_fail (j);
    }
  }
  j->leading = false;
}

/* The journal has ended: nothing that is queued will be written. */
static void
cancel_all (blkring_journal *j)
{
  struct saved_error error;

  journal_refuse (j);
  save_error (&error);
  while (j->first)
    complete_first (j, &error);
}

static void
enqueue (blkring_journal *j, struct push *p)
{
  *j->last = p;
  j->last = &p->next;
  while (!p->done)
    if (j->leading || j->first != p)
      pthread_cond_wait (&p->cond, &j->lock);
    else {
      lead (j);
      if (j->failed || j->stop != JOURNAL_RUNS) {
        cancel_all (j);
        journal_wake_all (j);
      }
      else if (j->first)
        pthread_cond_signal (&j->first->cond);
    }
}

static int
push_locked (blkring_journal *j, struct push *p)
{
  if (j->failed || j->stop != JOURNAL_RUNS)
    return journal_refuse (j);
  if (p->nonblock && j->full)
    return set_error (j->full, "the ring is %s, and another push waits "
                      "already", j->full == EAGAIN ? "full" : "suspended");
  enqueue (j, p);
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
  p.done = false;
  p.number = 0;
  pthread_cond_init (&p.cond, NULL);
  pthread_mutex_lock (&j->lock);
  r = push_locked (j, &p);
  pthread_mutex_unlock (&j->lock);
  pthread_cond_destroy (&p.cond);
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
