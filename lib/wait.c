/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Waiting for the other side.
 *
 * Where the device can watch itself (a local file: inotify), a change
 * wakes the waiter at once: the watch is set, then the ring is looked at
 * again, so that no change falls between.  A slow poll goes on beside it,
 * since writers through mmap raise no event.  A handle keeps its watch, since
 * to set one up and take it down costs milliseconds.  Elsewhere the ring is
 * polled, first after 1 ms, then ever slower down to the limit of attach.
 */

#include <config.h>

#include <errno.h>

#include "bytes.h"
#include "error.h"
#include "wait.h"

#define NS_PER_MS UINT64_C (1000000)
#define SLOW_POLL (1000 * NS_PER_MS)

/* The caller's clock, or the system's. */
static uint64_t
now (struct handle *h)
{
  return h->clock.now (h->clock.opaque);
}

static int
sleep_for (struct handle *h, void *watch, uint64_t ns)
{
  int r;

  if (watch)
    r = h->ring.device->ops.watch_wait (watch,
                                        (ns + NS_PER_MS - 1) / NS_PER_MS);
  else
    r = h->clock.sleep (h->clock.opaque, ns);
  if (r == -1)
    return set_error (errno, errno == EINTR ? "interrupted by a signal"
                      : "cannot wait");
  return 0;
}

static int
wait_loop (struct handle *h, void *watch, int timeout_ms,
           int (*ready) (void *arg), void *arg)
{
  const uint64_t begin = now (h);
  const uint64_t timeout = timeout_ms < 0 ? UINT64_MAX
    : timeout_ms * NS_PER_MS;
  uint64_t pause = watch ? SLOW_POLL : NS_PER_MS;
  uint64_t elapsed;
  int r;

  for (;;) {
    r = ready (arg);
    if (r != 0)
      return r == 1 ? 0 : -1;
    elapsed = now (h) - begin;
    if (elapsed >= timeout)
      return set_error (ETIMEDOUT, "timed out after %d ms", timeout_ms);
    if (sleep_for (h, watch, min_u64 (pause, timeout - elapsed)) == -1)
      return -1;
    if (!watch)
      pause = min_u64 (2 * pause, h->poll_limit);
  }
}

/* One thread waits with the watch, others poll.  NULL: poll. */
static void *
take_watch (struct handle *h)
{
  struct blkring_device_ops *ops = &h->ring.device->ops;
  void *watch = NULL;

  if (!h->real_clock || ops->watch == NULL)
    return NULL;
  pthread_mutex_lock (&h->lock);
  if (!h->watch_taken) {
    if (h->watch == NULL)
      h->watch = ops->watch (h->ring.device->opaque);
    watch = h->watch;
    h->watch_taken = watch != NULL;
  }
  pthread_mutex_unlock (&h->lock);
  return watch;
}

static void
give_watch_back (struct handle *h)
{
  pthread_mutex_lock (&h->lock);
  h->watch_taken = false;
  pthread_mutex_unlock (&h->lock);
}

int
wait_until (struct handle *h, int timeout_ms, int (*ready) (void *arg),
            void *arg)
{
  void *watch;
  int r = ready (arg);

  if (r != 0)
    return r == 1 ? 0 : -1;
  watch = take_watch (h);
  r = wait_loop (h, watch, timeout_ms, ready, arg);
  if (watch)
    give_watch_back (h);
  return r;
}
