/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The NBD client: what is in flight on the connection.
 *
 * There is no thread of our own.  Of the threads that wait for an answer one
 * polls the socket and lets libnbd read and write, for all; when its own
 * commands are answered, another one takes that over.  So a single thread
 * pays one poll a round trip, and several have their commands in flight at
 * once.
 *
 * A call waits so long as its patience lasts.  That begins anew with each
 * command that is answered.  While data flows, a large request gets more
 * time, in proportion to its size.
 */

#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"
#include "nbd.h"

uint64_t
nbd_now (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * NS_PER_SECOND + ts.tv_nsec;
}

static struct timespec
to_timespec (uint64_t ns)
{
  return (struct timespec) { ns / NS_PER_SECOND, ns % NS_PER_SECOND };
}

/* The longest sleep at once, so that sums of times do not overflow. */
#define LONGEST (3600 * NS_PER_SECOND)

void
nbd_wait_changed (struct nbd_device *n, uint64_t ns)
{
  const struct timespec until = to_timespec (nbd_now () +
                                             min_u64 (ns, LONGEST));

  n->waiting++;
  pthread_cond_timedwait (&n->changed, &n->lock, &until);
  n->waiting--;
}

static void
tell_others (struct nbd_device *n)
{
  if (n->waiting > 0)
    pthread_cond_broadcast (&n->changed);
}

/* Bring the thread that polls out of it: there is more to poll for, or
 * nothing any more. */
static void
wake_poller (struct nbd_device *n)
{
  static const uint64_t one = 1;

  if (n->polling && write (n->wake, &one, sizeof one) == -1)
    return;                  /* it is awake */
}

void
nbd_begin_call (struct nbd_device *n, struct nbd_call *call)
{
  call->lost = false;
  call->pending = 0;
  call->next = n->calls;
  n->calls = call;
}

void
nbd_end_call (struct nbd_device *n, struct nbd_call *call)
{
  struct nbd_call **p = &n->calls;

  while (*p && *p != call)
    p = &(*p)->next;
  if (*p)
    *p = call->next;
}

/*---------------------------------------------------------------------*/

void
nbd_drop (struct nbd_device *n, const char *why)
{
  struct nbd_call *call;

  if (n->nbd == NULL || n->closing)
    return;
  n->lost_at = nbd_now ();
  snprintf (n->why, sizeof n->why, "%s", why);
  nbd_log (n, BLKRING_LOG_INFO, "the connection is lost: %s", why);
  n->closing = true;
  for (call = n->calls; call; call = call->next)
    call->lost = true;
  /* The socket must not go while it is polled. */
  while (n->polling) {
    wake_poller (n);
    nbd_wait_changed (n, LONGEST);
  }
  nbd_close (n->nbd);
  n->nbd = NULL;
  n->closing = false;
  pthread_cond_broadcast (&n->changed);
}

bool
nbd_check_dead (struct nbd_device *n)
{
  char why[ERROR_SIZE];

  if (nbd_aio_is_closed (n->nbd))
    nbd_drop (n, "the server has closed it");
  else if (nbd_aio_is_dead (n->nbd)) {
    nbd_last_error (n, why, sizeof why);
    nbd_drop (n, why);
  }
  else
    return false;
  return true;
}

/* Let libnbd do what the socket is ready for. */
static void
notify (struct nbd_device *n, short events)
{
  const unsigned direction = nbd_aio_get_direction (n->nbd);
  char why[ERROR_SIZE];
  int r = 0;

  if (direction & LIBNBD_AIO_DIRECTION_READ && events & (POLLIN | POLLHUP))
    r = nbd_aio_notify_read (n->nbd);
  else if (direction & LIBNBD_AIO_DIRECTION_WRITE && events & POLLOUT)
    r = nbd_aio_notify_write (n->nbd);
  else if (events & (POLLERR | POLLNVAL | POLLHUP)) {
    nbd_drop (n, "the socket has failed");
    return;
  }
  if (r == -1) {
    nbd_last_error (n, why, sizeof why);
    nbd_drop (n, why);
  }
  else
    nbd_check_dead (n);
}

/* Poll once, for all. */
static void
poll_once (struct nbd_device *n, uint64_t ns)
{
  const unsigned direction = nbd_aio_get_direction (n->nbd);
  const struct timespec timeout = to_timespec (min_u64 (ns, LONGEST));
  struct pollfd fds[2] = {
    { .fd = nbd_aio_get_fd (n->nbd),
      .events = (direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0) },
    { .fd = n->wake, .events = POLLIN },
  };
  uint64_t count;
  int r;

  n->polling = true;
  pthread_mutex_unlock (&n->lock);
  r = ppoll (fds, 2, &timeout, NULL);
  pthread_mutex_lock (&n->lock);
  n->polling = false;

  if (r > 0 && fds[1].revents &&
      read (n->wake, &count, sizeof count) == -1)
    r = 0;                   /* somebody else took it */
  if (r > 0 && fds[0].revents && !n->closing) {
    n->moves++;
    notify (n, fds[0].revents);
  }
  tell_others (n);
}

/* Charge the time that was waited. */
static void
spend (struct nbd_call *call, uint64_t ns, bool moved, unsigned pending)
{
  uint64_t part = 0;

  if (call->patience == FOR_EVER || call->pending < pending)
    return;
  if (moved) {
    part = min_u64 (ns, call->allowance);
    call->allowance -= part;
  }
  call->patience -= min_u64 (call->patience, ns - part);
}

int
nbd_await (struct nbd_device *n, struct nbd_call *call)
{
  const uint64_t full = call->patience;
  uint64_t begin, moves;
  unsigned pending;

  /* What was just issued may have to wait for the socket. */
  if (n->polling && !call->lost &&
      nbd_aio_get_direction (n->nbd) & LIBNBD_AIO_DIRECTION_WRITE)
    wake_poller (n);
  for (;;) {
    if (call->lost) {
      while (n->closing)
        nbd_wait_changed (n, LONGEST);
      return -1;
    }
    if (call->pending == 0)
      return 0;
    if (call->patience == 0) {
      nbd_drop (n, "the server does not answer");
      continue;
    }
    begin = nbd_now ();
    moves = n->moves;
    pending = call->pending;
    if (n->polling || n->closing)
      nbd_wait_changed (n, call->patience);
    else
      poll_once (n, call->patience);
    spend (call, nbd_now () - begin, n->moves != moves, pending);
    if (call->pending < pending)
      call->patience = full;
  }
}
