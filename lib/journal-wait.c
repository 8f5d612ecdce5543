/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How the parts of a journal sleep, wake each other, and learn that it has
 * stopped.
 */

#include <config.h>

#include <errno.h>
#include <time.h>

#include "bytes.h"
#include "device.h"
#include "journal.h"

/* A sleep in the caller's clock cannot be woken, so it is cut in slices. */
#define SLICE (10 * NS_PER_MS)

uint64_t
journal_now (const blkring_journal *j)
{
  struct timespec ts;

  if (!j->real_clock)
    return j->clock.now (j->clock.opaque);
  /* The clock of the conditions. */
  clock_gettime (CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * UINT64_C (1000000000) + ts.tv_nsec;
}

void
journal_wait (blkring_journal *j, pthread_cond_t *cond, uint64_t until)
{
  const struct timespec ts = { until / 1000000000, until % 1000000000 };
  uint64_t now;

  if (until == NEVER)
    pthread_cond_wait (cond, &j->lock);
  else if (j->real_clock)
    pthread_cond_timedwait (cond, &j->lock, &ts);
  else if ((now = journal_now (j)) < until) {
    pthread_mutex_unlock (&j->lock);
    j->clock.sleep (j->clock.opaque, min_u64 (until - now, SLICE));
    pthread_mutex_lock (&j->lock);
  }
}

void
journal_wake_all (blkring_journal *j)
{
  pthread_cond_broadcast (&j->work);
  pthread_cond_broadcast (&j->room);
  pthread_cond_broadcast (&j->progress);
}

void
journal_fail (blkring_journal *j)
{
  if (!j->failed) {
    j->failed = true;
    save_error (&j->error);
    device_log (j->device, BLKRING_LOG_ERROR, "journal: stopped: %s",
                j->error.message);
  }
  journal_wake_all (j);
}

int
journal_refuse (const blkring_journal *j)
{
  if (j->failed)
    return set_error (j->error.err, "the journal has stopped: %s",
                      j->error.message);
  return set_error (ECANCELED, "the journal was shut down");
}

void
journal_make_due (blkring_journal *j)
{
  if (j->due == j->pushed)
    return;
  j->due = j->pushed;
  j->due_end = j->end;
  if (!j->resting)
    pthread_cond_signal (&j->work);
}
