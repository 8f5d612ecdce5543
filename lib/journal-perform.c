/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The thread of a journal: it gathers a batch, has it performed, again and
 * again if that fails, and frees it.
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

/* May it be in this batch? */
static bool
belongs (const blkring_journal *j, const struct blkring_item *item,
         blkring_position limit)
{
  if (blkring_position_compare (item->position, limit) >= 0)
    return false;
  if (j->nr == 0)
    return true;
  return j->nr < j->batch_items && j->used + item->length <= j->batch_bytes &&
    blkring_position_compare (item->position, j->single) >= 0;
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
  size_t i, offset = 0;
  ssize_t n, k;

  j->nr = j->used = 0;
  do {
    n = blkring_consumer_popv (j->consumer,
                               j->nr > 0 ? &j->items[j->nr - 1].next : NULL,
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
/* Performing.                                                           */

/* The batch was performed or skipped. */
static int
free_batch (blkring_journal *j)
{
  size_t i, new = 0;

  if (blkring_consumer_advance (j->consumer, j->items[j->nr - 1].next) == -1)
    return -1;
  for (i = 0; i < j->nr; ++i)
    if (blkring_position_compare (j->items[i].position, j->begin) >= 0)
      new++;
  pthread_mutex_lock (&j->lock);
  j->performed += new;
  j->frees++;
  pthread_cond_broadcast (&j->room);
  pthread_cond_broadcast (&j->progress);
  pthread_mutex_unlock (&j->lock);
  return 0;
}

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
finish (blkring_journal *j)
{
  return free_batch (j) == 0 ? GO_ON : fail (j);
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
    return finish (j);
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

  for (attempts = 1; ; attempts += attempts < UINT32_MAX) {
    if (j->perform (j->items, nr, j->opaque) == 0)
      return finish (j);
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

/* Sleep until something is due: 1, and where it ends; 0 when it is time to
 * end. */
static int
wait_for_work (blkring_journal *j, blkring_position *limit)
{
  uint64_t until;

  for (;;) {
    if (j->failed || j->stop == JOURNAL_STOPS)
      return 0;
    if (j->flush_interval == 0 || j->stop == JOURNAL_DRAINS)
      journal_make_due (j);
    *limit = j->left ? j->begin : j->due_end;
    if (j->left || j->performed < j->due)
      return 1;
    if (j->stop == JOURNAL_DRAINS && !j->leading)
      return 0;
    until = j->due < j->pushed ? j->waiting_since + j->flush_interval : NEVER;
    if (until != NEVER && journal_now (j) >= until)
      journal_make_due (j);
    else
      journal_wait (j, &j->work, until);
  }
}

static enum outcome
serve (blkring_journal *j, blkring_position limit)
{
  if (gather (j, limit) == -1)
    return fail (j);
  if (j->nr > 0)
    return perform (j);
  if (j->left) {
    pthread_mutex_lock (&j->lock);
    j->left = false;
    j->replayed = true;
    pthread_cond_broadcast (&j->progress);
    pthread_mutex_unlock (&j->lock);
    return GO_ON;
  }
  set_error (EIO, "items that were stored are not in the ring any more");
  return fail (j);
}

void *
journal_thread (void *arg)
{
  blkring_journal *j = arg;
  blkring_position limit;

  served = j;
  pthread_mutex_lock (&j->lock);
  while (wait_for_work (j, &limit)) {
    pthread_mutex_unlock (&j->lock);
    if (serve (j, limit) == END) {
      pthread_mutex_lock (&j->lock);
      break;
    }
    pthread_mutex_lock (&j->lock);
  }
  j->ended = true;
  journal_wake_all (j);
  pthread_mutex_unlock (&j->lock);
  return NULL;
}
