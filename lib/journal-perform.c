/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The thread of a journal: it gathers a batch, has it performed, again and
 * again if that fails, and frees it, perhaps with the next one.
 *
 * A batch is a copy, since what pop gives may not survive the next pop, and
 * holds only items whose push has returned: what is performed is durable.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "device.h"
#include "journal.h"

#define POP_BATCH 64
/* While others push, freeing may take no more than such a part of the time. */
#define FREEING_SHARE 64
/* Of the ring, in what is to be freed. */
#define SPACE_SHARE 4
/* So that items can be read as what they are. */
#define ALIGNMENT 16

static _Thread_local const blkring_journal *served;

bool
journal_is_own_thread (const blkring_journal *j)
{
  return served == j;
}

/*---------------------------------------------------------------------*/
/* Gathering.                                                            */

static int
make_room (blkring_journal *j, size_t length)
{
  const size_t needed = j->used + length;
  size_t alloc = j->alloc_items ? 2 * j->alloc_items : 16;
  struct blkring_item *items;
  unsigned char *bytes;

  if (j->nr == j->alloc_items) {
    items = realloc (j->items, alloc * sizeof *items);
    if (items == NULL)
      return set_errno_error (ENOMEM, "cannot gather a batch");
    j->items = items;
    j->alloc_items = alloc;
  }
  if (needed > j->alloc_bytes) {
    alloc = j->alloc_bytes ? 2 * j->alloc_bytes : 4096;
    while (alloc < needed)
      alloc *= 2;
    bytes = realloc (j->bytes, alloc);
    if (bytes == NULL)
      return set_errno_error (ENOMEM, "cannot gather a batch of %zu bytes",
                              needed);
    j->bytes = bytes;
    j->alloc_bytes = alloc;
  }
  return 0;
}

/* May it be in this batch?  What is to be freed together with it counts as a
 * part of it. */
static bool
belongs (const blkring_journal *j, const struct blkring_item *item,
         blkring_position limit)
{
  const size_t nr = j->done.items + j->nr;

  if (blkring_position_compare (item->position, limit) >= 0)
    return false;
  if (nr == 0)
    return true;
  return nr < j->batch_items &&
    j->done.bytes + j->used + item->length <= j->batch_bytes &&
    (j->nr == 0 ||
     blkring_position_compare (j->items[0].position, j->single) >= 0);
}

static int
take (blkring_journal *j, const struct blkring_item *item)
{
  if (make_room (j, item->length + ALIGNMENT) == -1)
    return -1;
  if (item->length > 0)
    memcpy (j->bytes + j->used, item->data, item->length);
  j->items[j->nr++] = *item;
  j->used += round_up (item->length, ALIGNMENT);
  return 0;
}

/* The oldest items before 'limit'.  None is no error.  What fails behind some
 * is met again when those are done. */
static int
gather (blkring_journal *j, blkring_position limit)
{
  struct blkring_item popped[POP_BATCH];
  const blkring_position *from = j->done.items > 0 ? &j->done.end : NULL;
  size_t i, offset = 0;
  ssize_t n, k;

  j->nr = j->used = 0;
  do {
    n = blkring_consumer_popv (j->consumer, j->nr > 0
                               ? &j->items[j->nr - 1].next : from,
                               popped, POP_BATCH);
    if (n == -1 && errno != EAGAIN && j->nr == 0)
      return -1;
    for (k = 0; k < n && belongs (j, &popped[k], limit); ++k)
      if (take (j, &popped[k]) == -1)
        return -1;
  } while (n > 0 && k == n && j->items[j->nr - 1].next != limit);
  for (i = 0; i < j->nr; ++i) {
    j->items[i].data = j->bytes + offset;
    offset += round_up (j->items[i].length, ALIGNMENT);
  }
  return 0;
}

/*---------------------------------------------------------------------*/
/* Freeing.                                                              */

/* To free is two flushes, which pushes would have to wait for.  So while
 * pushes are under way, and nobody waits for it, what was performed is freed
 * together with what is performed next, as if both were one batch: its bounds
 * are kept, and what failed comes behind what is free.  But an owner that was
 * replaced has to notice within the poll interval, and does when it frees.
 *
 * With the lock held: the time until which freeing can be put off. */
static uint64_t
free_at (const blkring_journal *j)
{
  if (j->failed || j->stop != JOURNAL_RUNS || j->syncs > 0 || j->want_room ||
      (!j->leading && j->first == NULL))
    return 0;
  if (j->done.items >= j->batch_items || j->done.bytes >= j->batch_bytes ||
      j->done.end - j->done.begin >= j->ring_bytes / SPACE_SHARE)
    return 0;
  return j->done.since + min_u64 (FREEING_SHARE * j->freeing_took,
                                  j->poll_interval);
}

int
journal_free_done (blkring_journal *j)
{
  const uint64_t begin = journal_now (j);

  if (j->done.items == 0)
    return 0;
  if (blkring_consumer_advance (j->consumer, j->done.end) == -1)
    return -1;
  j->freeing_took = journal_now (j) - begin;
  j->done.items = j->done.bytes = 0;
  pthread_mutex_lock (&j->lock);
  j->freed = j->performed;
  j->frees++;
  j->want_room = false;
  pthread_cond_broadcast (&j->room);
  pthread_cond_broadcast (&j->progress);
  pthread_mutex_unlock (&j->lock);
  return 0;
}

/* The batch was performed or skipped. */
static void
add_to_done (blkring_journal *j, uint64_t since)
{
  size_t i, new = 0;

  if (j->done.items == 0) {
    j->done.begin = j->items[0].position;
    j->done.since = since;
  }
  j->done.items += j->nr;
  j->done.bytes += j->used;
  j->done.end = j->items[j->nr - 1].next;
  j->done.until = journal_now (j);
  for (i = 0; i < j->nr; ++i)
    if (blkring_position_compare (j->items[i].position, j->begin) >= 0)
      new++;
  pthread_mutex_lock (&j->lock);
  j->performed += new;
  pthread_mutex_unlock (&j->lock);
}

/*---------------------------------------------------------------------*/
/* Performing.                                                           */

enum outcome { GO_ON, TRY_AGAIN, END };

static enum outcome
fail (blkring_journal *j)
{
  pthread_mutex_lock (&j->lock);
  journal_fail (j);
  pthread_mutex_unlock (&j->lock);
  return END;
}

static enum outcome
free_now (blkring_journal *j)
{
  return journal_free_done (j) == 0 ? GO_ON : fail (j);
}

/* After the last attempt that was granted: what becomes of the batch?  One
 * bad item must not take others with it, so a batch is tried one by one
 * from then on. */
static enum outcome
judge (blkring_journal *j, unsigned attempts)
{
  const struct blkring_item *item = &j->items[0];

  if (j->nr > 1) {
    j->single = j->items[j->nr - 1].next;
    return TRY_AGAIN;
  }
  switch (j->verdict (item, attempts, j->opaque)) {
  case BLKRING_VERDICT_RETRY:
    return TRY_AGAIN;
  case BLKRING_VERDICT_SKIP:
    device_log (j->device, BLKRING_LOG_ERROR, "journal: skipped the item of "
                "%zu bytes at position %" PRIu64 ", which failed %u times",
                item->length, item->position, attempts);
    add_to_done (j, 0);
    return GO_ON;
  default:
    set_error (ECANCELED, "the item of %zu bytes at position %" PRIu64
               " failed %u times", item->length, item->position, attempts);
    return fail (j);
  }
}

/* Sleep before the next attempt.  False: there is none.  A drain that begins
 * meanwhile makes one at once, and ends when that fails. */
static bool
wait_for_retry (blkring_journal *j)
{
  uint64_t until;
  bool go_on;

  pthread_mutex_lock (&j->lock);
  until = journal_now (j) + j->retry_interval;
  j->replayed = true;
  j->undrained = j->stop == JOURNAL_DRAINS;
  pthread_cond_broadcast (&j->progress);
  while (!j->failed && j->stop == JOURNAL_RUNS && journal_now (j) < until)
    journal_wait (j, &j->work, until);
  go_on = !j->failed && j->stop != JOURNAL_STOPS && !j->undrained;
  pthread_mutex_unlock (&j->lock);
  return go_on;
}

/* Perform the batch until it succeeds, or must be gathered anew. */
static enum outcome
perform (blkring_journal *j)
{
  enum outcome outcome = TRY_AGAIN;
  const size_t nr = j->nr;
  unsigned attempts;
  uint64_t begin;

  for (attempts = 1; ; attempts += attempts < UINT32_MAX) {
    begin = journal_now (j);
    if (j->perform (j->items, nr, j->opaque) == 0) {
      add_to_done (j, begin);
      return GO_ON;
    }
    if (free_now (j) == END)
      return END;
    if (j->max_attempts > 0 && attempts >= j->max_attempts)
      outcome = judge (j, attempts);
    if (outcome != TRY_AGAIN)
      return outcome;
    if (!wait_for_retry (j))
      return END;
    if (nr > 1 &&
        blkring_position_compare (j->items[0].position, j->single) < 0)
      return GO_ON;
  }
}

/*---------------------------------------------------------------------*/

/* To sleep: that was waited for, look again. */
enum work { TO_SLEEP, TO_FREE, TO_PERFORM, TO_END };

/* What is there to do?  Nothing until *until. */
static enum work
find_work (blkring_journal *j, uint64_t *until)
{
  const uint64_t now = journal_now (j);
  uint64_t rested;

  *until = NEVER;
  j->resting = false;
  if (j->done.items > 0) {
    *until = free_at (j);
    if (*until <= now)
      return TO_FREE;
    /* As long as it would have freed what it put off: to wake it for each
     * push costs that push more than the batch is worth. */
    rested = j->done.until + j->freeing_took;
    j->resting = now < rested;
    if (j->resting) {
      *until = min_u64 (*until, rested);
      return TO_SLEEP;
    }
  }
  if (j->failed || j->stop == JOURNAL_STOPS)
    return TO_END;
  if (j->flush_interval == 0 || j->stop == JOURNAL_DRAINS)
    journal_make_due (j);
  else if (j->due < j->pushed && now >= j->waiting_since + j->flush_interval)
    journal_make_due (j);
  if (j->left || j->performed < j->due)
    return TO_PERFORM;
  if (j->stop == JOURNAL_DRAINS && !j->leading)
    return TO_END;
  if (j->due < j->pushed)
    *until = min_u64 (*until, j->waiting_since + j->flush_interval);
  return TO_SLEEP;
}

/* Sleep until there is something to do, and where the items end that it is
 * about. */
static enum work
wait_for_work (blkring_journal *j, blkring_position *limit)
{
  enum work work;
  uint64_t until;

  pthread_mutex_lock (&j->lock);
  while ((work = find_work (j, &until)) == TO_SLEEP)
    journal_wait (j, &j->work, until);
  *limit = j->left ? j->begin : j->due_end;
  pthread_mutex_unlock (&j->lock);
  return work;
}

static enum outcome
serve (blkring_journal *j, blkring_position limit)
{
  const int r = gather (j, limit);

  if (r == 0 && j->nr > 0)
    return perform (j);
  /* The next item does not go with these, or is bad: first things first. */
  if (j->done.items > 0)
    return free_now (j);
  if (r == -1)
    return fail (j);
  if (j->left) {
    pthread_mutex_lock (&j->lock);
    j->left = false;
    j->replayed = true;
    pthread_cond_broadcast (&j->progress);
    pthread_mutex_unlock (&j->lock);
    return GO_ON;
  }
  set_error (EBADMSG, "corrupt: items that were stored before position %"
             PRIu64 " are not in the ring any more", limit);
  return fail (j);
}

static enum outcome
work (blkring_journal *j)
{
  blkring_position limit;

  switch (wait_for_work (j, &limit)) {
  case TO_FREE:
    return free_now (j);
  case TO_PERFORM:
    return serve (j, limit);
  default:
    return END;
  }
}

void *
journal_thread (void *arg)
{
  blkring_journal *j = arg;

  served = j;
  while (work (j) != END)
    ;
  pthread_mutex_lock (&j->lock);
  j->ended = true;
  journal_wake_all (j);
  pthread_mutex_unlock (&j->lock);
  return NULL;
}
