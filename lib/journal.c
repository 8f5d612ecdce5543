/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The journal: its beginning, its end, and those who wait for an item.
 *
 * It is built on producer and consumer alone.  What a push has made durable
 * is performed because the consumer frees it only afterwards.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

#include "journal.h"

#define DEFAULT_RETRY 5000   /* ms */
#define DEFAULT_POLL 100     /* ms, as of attach */
#define DEFAULT_ITEMS 1024
#define DEFAULT_BYTES (UINT64_C (1) << 20)
/* libblkring(3), LIMITS: what a frame takes beside its items. */
#define FRAME_HEADER 64

static int
check_options (const struct blkring_journal_options *o,
               blkring_perform_fn perform)
{
  const unsigned known = BLKRING_JOURNAL_CREATE | BLKRING_JOURNAL_NO_WAIT;
  size_t i;

  if (perform == NULL)
    return set_error (EINVAL, "a journal without a function that performs");
  if (o->flags & ~known)
    return set_error (EINVAL, "journal flags %#x are not known",
                      o->flags & ~known);
  if (o->create && o->create->flags & BLKRING_CREATE_FORCE)
    return set_error (EINVAL, "a journal makes no ring by force");
  if (o->max_attempts > 0 && o->verdict == NULL)
    return set_error (EINVAL, "nobody says what becomes of an item after %u "
                      "attempts: there is no verdict function",
                      o->max_attempts);
  for (i = 0; i < sizeof o->reserved / sizeof o->reserved[0]; ++i)
    if (o->reserved[i] != 0)
      return set_error (EINVAL, "reserved fields of the journal options are "
                        "not zero");
  return 0;
}

static void
configure (blkring_journal *j, const struct blkring_journal_options *o)
{
  const uint32_t poll = o->attach ? o->attach->poll_interval : 0;

  j->verdict = o->verdict;
  j->max_attempts = o->max_attempts;
  j->retry_interval = (o->retry_interval ? o->retry_interval : DEFAULT_RETRY)
    * NS_PER_MS;
  j->flush_interval = o->flush_interval * NS_PER_MS;
  j->poll_interval = (poll ? poll : DEFAULT_POLL) * NS_PER_MS;
  j->batch_items = o->batch_items ? o->batch_items : DEFAULT_ITEMS;
  j->batch_bytes = o->batch_bytes ? o->batch_bytes : DEFAULT_BYTES;
  j->real_clock = o->attach == NULL || o->attach->clock == NULL;
  if (!j->real_clock)
    j->clock = *o->attach->clock;
}

static void
init (blkring_journal *j)
{
  pthread_condattr_t monotonic;

  pthread_condattr_init (&monotonic);
  pthread_condattr_setclock (&monotonic, CLOCK_MONOTONIC);
  pthread_mutex_init (&j->lock, NULL);
  pthread_cond_init (&j->work, &monotonic);
  pthread_cond_init (&j->room, &monotonic);
  pthread_cond_init (&j->progress, &monotonic);
  pthread_condattr_destroy (&monotonic);
  j->last = &j->first;
  j->left = true;
}

/* Where the ring ends, and how much one write can take. */
static int
look (blkring_journal *j)
{
  const struct blkring_inspect_options o = {
    .flags = BLKRING_INSPECT_POINTERS,
  };
  struct blkring_info *info = malloc (sizeof *info);
  int r;

  if (info == NULL)
    return set_errno_error (ENOMEM, "cannot start the journal");
  r = blkring_inspect (j->device, &o, info);
  if (r == 0) {
    j->begin = j->end = j->due_end = info->producer;
    j->ring_bytes = info->capacity;
    j->group_bytes = info->format == 1 ? info->capacity
      : info->largest_frame - FRAME_HEADER;
  }
  free (info);
  return r;
}

/* Signals are for the threads of the program. */
static int
start_thread (blkring_journal *j)
{
  sigset_t all, before;
  int err;

  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  err = pthread_create (&j->thread, NULL, journal_thread, j);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  if (err != 0)
    return set_errno_error (err, "cannot start the journal's thread");
  j->has_thread = true;
  return 0;
}

static int
wait_for_replay (blkring_journal *j)
{
  int r;

  pthread_mutex_lock (&j->lock);
  while (!j->replayed && !j->failed)
    pthread_cond_wait (&j->progress, &j->lock);
  r = j->failed ? restore_error (&j->error) : 0;
  pthread_mutex_unlock (&j->lock);
  return r;
}

static int
start (blkring_journal *j, const struct blkring_journal_options *o)
{
  if (check_options (o, j->perform) == -1)
    return -1;
  configure (j, o);
  if (o->flags & BLKRING_JOURNAL_CREATE &&
      blkring_create (j->device, o->create) == -1)
    return -1;
  j->producer = blkring_producer_attach (j->device, o->attach);
  if (j->producer == NULL)
    return -1;
  j->consumer = blkring_consumer_attach (j->device, o->attach);
  if (j->consumer == NULL || look (j) == -1 || start_thread (j) == -1)
    return -1;
  return o->flags & BLKRING_JOURNAL_NO_WAIT ? 0 : wait_for_replay (j);
}

blkring_journal *
blkring_journal_start (blkring_device *device,
                       const struct blkring_journal_options *options,
                       blkring_perform_fn perform, void *opaque)
{
  static const struct blkring_journal_options defaults;
  blkring_journal *j = calloc (1, sizeof *j);
  struct saved_error error;

  if (j == NULL) {
    set_errno_error (ENOMEM, "cannot start the journal");
    return NULL;
  }
  init (j);
  j->device = device;
  j->perform = perform;
  j->opaque = opaque;
  if (start (j, options ? options : &defaults) == 0)
    return j;
  save_error (&error);
  blkring_journal_free (j);
  restore_error (&error);
  return NULL;
}

/*---------------------------------------------------------------------*/

static int
check_waiter (const blkring_journal *j, blkring_journal_waiter waiter)
{
  if (waiter == 0 || waiter > j->pushed)
    return set_error (EINVAL, "waiter %" PRIu64 " is of no push of this "
                      "journal", waiter);
  return 0;
}

static int
flush_locked (blkring_journal *j, blkring_journal_waiter waiter)
{
  if (check_waiter (j, waiter) == -1)
    return -1;
  if (waiter <= j->freed)
    return 0;
  if (j->failed || j->ended || j->stop == JOURNAL_STOPS)
    return journal_refuse (j);
  if (waiter > j->due)
    journal_make_due (j);
  return 0;
}

int
blkring_journal_flush (blkring_journal *j, blkring_journal_waiter waiter)
{
  int r;

  pthread_mutex_lock (&j->lock);
  r = flush_locked (j, waiter);
  pthread_mutex_unlock (&j->lock);
  return r;
}

/* Nobody else will do it for the thread that would wait. */
static int
free_in_perform (blkring_journal *j)
{
  int r;

  pthread_mutex_unlock (&j->lock);
  r = journal_free_done (j);
  pthread_mutex_lock (&j->lock);
  if (r == -1)
    journal_fail (j);
  return r;
}

static int
wait_until_freed (blkring_journal *j, blkring_journal_waiter waiter,
                  int timeout_ms)
{
  uint64_t until = NEVER;

  if (timeout_ms >= 0)
    until = journal_now (j) + timeout_ms * NS_PER_MS;
  while (j->freed < waiter) {
    if (j->failed || j->ended || j->stop == JOURNAL_STOPS)
      return journal_refuse (j);
    if (journal_is_own_thread (j) && waiter <= j->performed)
      return free_in_perform (j);
    if (journal_is_own_thread (j))
      return set_error (EDEADLK, "an item that is not performed yet was "
                        "waited for in perform");
    if (journal_now (j) >= until)
      return set_error (ETIMEDOUT, "timed out after %d ms", timeout_ms);
    journal_wait (j, &j->progress, until);
  }
  return 0;
}

static int
sync_locked (blkring_journal *j, blkring_journal_waiter waiter,
             int timeout_ms)
{
  int r;

  if (check_waiter (j, waiter) == -1)
    return -1;
  j->syncs++;
  if (j->freed < waiter)
    pthread_cond_signal (&j->work);
  r = wait_until_freed (j, waiter, timeout_ms);
  j->syncs--;
  return r;
}

int
blkring_journal_sync (blkring_journal *j, blkring_journal_waiter waiter,
                      int timeout_ms)
{
  int r;

  pthread_mutex_lock (&j->lock);
  r = sync_locked (j, waiter, timeout_ms);
  pthread_mutex_unlock (&j->lock);
  return r;
}

/*---------------------------------------------------------------------*/

/* With the lock held, which is given up meanwhile. */
static void
detach (blkring_journal *j)
{
  pthread_mutex_unlock (&j->lock);
  pthread_join (j->thread, NULL);
  blkring_consumer_detach (j->consumer);
  blkring_producer_detach (j->producer);
  pthread_mutex_lock (&j->lock);
  j->detached = true;
  pthread_cond_broadcast (&j->progress);
}

static int
shutdown_locked (blkring_journal *j, bool drain)
{
  if (j->stop == JOURNAL_RUNS)
    j->stop = drain ? JOURNAL_DRAINS : JOURNAL_STOPS;
  else if (!drain && j->stop == JOURNAL_DRAINS && !j->ended) {
    j->stop = JOURNAL_STOPS;
    j->undrained = true;
  }
  journal_wake_all (j);
  journal_end_pushes (j);
  while (!j->ended)
    pthread_cond_wait (&j->progress, &j->lock);
  if (j->has_thread) {
    j->has_thread = false;
    detach (j);
  }
  while (!j->detached)
    pthread_cond_wait (&j->progress, &j->lock);
  if (j->failed)
    return journal_refuse (j);
  if (j->undrained)
    return set_error (EAGAIN, "the drain has left items in the ring: an "
                      "attempt failed, or it was cut short");
  return 0;
}

int
blkring_journal_shutdown (blkring_journal *j, unsigned flags)
{
  int r;

  if (flags & ~BLKRING_JOURNAL_DRAIN)
    return set_error (EINVAL, "shutdown flags %#x are not known", flags);
  if (journal_is_own_thread (j))
    return set_error (EDEADLK, "perform cannot shut its own journal down");
  pthread_mutex_lock (&j->lock);
  r = shutdown_locked (j, flags & BLKRING_JOURNAL_DRAIN);
  pthread_mutex_unlock (&j->lock);
  return r;
}

void
blkring_journal_free (blkring_journal *j)
{
  if (j == NULL)
    return;
  if (j->has_thread)
    blkring_journal_shutdown (j, 0);
  blkring_consumer_free (j->consumer);
  blkring_producer_free (j->producer);
  pthread_mutex_destroy (&j->lock);
  pthread_cond_destroy (&j->work);
  pthread_cond_destroy (&j->room);
  pthread_cond_destroy (&j->progress);
  free (j->items);
  free (j->bytes);
  free (j);
}
