/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The producer, for every format: ownership, space, the suspend protocol,
 * and what may be advanced to.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format.h"
#include "lock.h"
#include "wait.h"

#define MAX_PUSHED 65536

static uint64_t
now (blkring_producer *p)
{
  return p->h.clock.now (p->h.clock.opaque);
}

/* See what the consumer has done, and that we still own our side. */
static int
look_only (struct handle *h)
{
  blkring_producer *p = (blkring_producer *) h;
  const uint64_t connection = device_connection (h->ring.device);
  const uint64_t begin = now (p);

  if (h->ring.format->producer_look (p) == -1)
    return -1;
  h->connection = connection;
  p->last_look = begin;
  return 0;
}

/* Look at the consumer, and acknowledge what it asks for. */
static int
look (blkring_producer *p)
{
  if (look_only (&p->h) == -1)
    return -1;
  if (p->suspend == p->suspend_ack)
    return 0;
  if (p->h.ring.format->acknowledge (p) == -1)
    return -1;
  device_log (p->h.ring.device, BLKRING_LOG_INFO, "producer %s at position %"
              PRIu64, p->suspend ? "suspended" : "resumed", p->exposed);
  return 0;
}

/* Everything that was read before it is durable now.  (It may have been
 * read again: look_again.) */
static int
flush (blkring_producer *p)
{
  if (handle_flush (&p->h) == -1)
    return -1;
  p->freed = p->freed_seen;
  return 0;
}

static int
attach (blkring_producer *p, blkring_device *device,
        const struct blkring_attach_options *options)
{
  const struct format *format;

  if (handle_init (&p->h, device, options, BLKRING_ATTACH_TAKEOVER) == -1)
    return -1;
  if (device->geometry.flags & BLKRING_DEVICE_READ_ONLY)
    return set_error (EROFS, "the device was opened read-only");
  if (p->h.flushes && device->geometry.flags & BLKRING_DEVICE_NO_FLUSH)
    return set_error (ENOTSUP, "the device cannot make writes durable: only "
                      "durability none works on it");
  if (p->h.ring.read_only)
    return set_error (EROFS, "the ring has features that forbid this version "
                      "to write");
  format = p->h.ring.format;
  if (owner_lock (device, SIDE_PRODUCER) == -1) {
    char texts[2][BLKRING_TEXT_SIZE];

    if (errno == EBUSY &&
        format->texts (&p->h.ring, 0, texts[0], texts[1]) == 0 &&
        texts[0][0])
      set_error (EBUSY, "another producer is attached: %s", texts[0]);
    return -1;
  }
  p->h.attached = true;
  if (format->producer_open (p) == -1)
    return -1;
  p->h.look_again = look_only;
  /* Rule 3: nothing is built on what was read here before the flush. */
  if (flush (p) == -1)
    return -1;
  return look (p);
}

static blkring_producer *
attach_once (blkring_device *device,
             const struct blkring_attach_options *options)
{
  blkring_producer *p = calloc (1, sizeof *p);
  int saved;

  if (p == NULL) {
    set_errno_error (ENOMEM, "cannot attach");
    return NULL;
  }
  if (attach (p, device, options) == -1) {
    saved = errno;
    blkring_producer_free (p);
    errno = saved;
    return NULL;
  }
  device_log (device, BLKRING_LOG_DEBUG, "producer attached at position %"
              PRIu64, p->tail);
  return p;
}

blkring_producer *
blkring_producer_attach (blkring_device *device,
                         const struct blkring_attach_options *options)
{
  blkring_producer *p;
  int tries = 0;

  do
    p = attach_once (device, options);
  while (p == NULL && handle_attach_again (tries++));
  return p;
}

/*---------------------------------------------------------------------*/

static bool
fits (const blkring_producer *p, uint64_t freed, uint64_t needed)
{
  return needed <= p->h.ring.capacity - (p->tail - freed);
}

/* Room for 'needed' bytes, in space that was freed durably. */
static int
find_space (blkring_producer *p, uint64_t needed)
{
  if (fits (p, p->freed, needed))
    return 0;
  if (look (p) == -1)
    return -1;
  if (p->suspend)
    return set_error (ESHUTDOWN, "the ring is suspended");
  if (!fits (p, p->freed_seen, needed)) {
    if (p->h.ring.format->full && p->h.ring.format->full (p) == -1)
      return -1;
    return set_error (EAGAIN, "the ring is full: %" PRIu64 " bytes needed, %"
                      PRIu64 " free", needed,
                      p->h.ring.capacity - (p->tail - p->freed_seen));
  }
  if (flush (p) == -1)
    return -1;
  return fits (p, p->freed, needed) ? 0
    : set_error (EAGAIN, "the ring is full");
}

/* The oldest are forgotten beyond a number that bounds memory. */
static int
remember_pushed (blkring_producer *p)
{
  uint64_t *bigger;
  size_t alloc;

  if (p->nr_pushed == MAX_PUSHED) {
    p->nr_pushed = MAX_PUSHED / 2;
    memmove (p->pushed, p->pushed + MAX_PUSHED / 2,
             p->nr_pushed * sizeof p->pushed[0]);
  }
  if (p->nr_pushed == p->alloc_pushed) {
    alloc = p->alloc_pushed ? 2 * p->alloc_pushed : 16;
    bigger = realloc (p->pushed, alloc * sizeof *bigger);
    if (bigger == NULL)
      return set_errno_error (ENOMEM, "cannot remember the push");
    p->pushed = bigger;
    p->alloc_pushed = alloc;
  }
  return 0;
}

static int
push_locked (blkring_producer *p, const struct iovec *items, size_t nr,
             bool expose, blkring_position *after)
{
  const struct format *format = p->h.ring.format;
  uint64_t needed;

  if (handle_check (&p->h) == -1 ||
      format->measure (p, items, nr, &needed) == -1 ||
      remember_pushed (p) == -1)
    return -1;
  if ((p->suspend || now (p) - p->last_look >= p->h.poll_interval) &&
      look (p) == -1)
    return -1;
  if (p->suspend)
    return set_error (ESHUTDOWN, "the ring is suspended");
  if (find_space (p, needed) == -1 ||
      format->write (p, items, nr, needed, expose) == -1)
    return -1;
  if (expose)
    p->nr_pushed = 0;
  else
    p->pushed[p->nr_pushed++] = p->tail;
  if (after)
    *after = p->tail;
  return 0;
}

static int
push (blkring_producer *p, const struct iovec *items, size_t nr, bool expose,
      blkring_position *after)
{
  int r;

  if (nr == 0)
    return set_error (EINVAL, "a push of no items");
  pthread_mutex_lock (&p->h.lock);
  r = push_locked (p, items, nr, expose, after);
  pthread_mutex_unlock (&p->h.lock);
  return r;
}

int
blkring_producer_push (blkring_producer *p, const void *item, size_t length,
                       blkring_position *after)
{
  const struct iovec iov = { (void *) item, length };

  return push (p, &iov, 1, false, after);
}

int
blkring_producer_pushv (blkring_producer *p, const struct iovec *items,
                        size_t nr, blkring_position *after)
{
  return push (p, items, nr, false, after);
}

int
blkring_producer_append (blkring_producer *p, const void *item,
                         size_t length, blkring_position *after)
{
  const struct iovec iov = { (void *) item, length };

  return push (p, &iov, 1, true, after);
}

int
blkring_producer_appendv (blkring_producer *p, const struct iovec *items,
                          size_t nr, blkring_position *after)
{
  return push (p, items, nr, true, after);
}

/* Number of pushes that end at or before the position; 0 when none ends
 * just there. */
static size_t
pushes_up_to (const blkring_producer *p, uint64_t position)
{
  size_t low = 0, high = p->nr_pushed, middle;

  while (low < high) {
    middle = low + (high - low) / 2;
    if (p->pushed[middle] < position)
      low = middle + 1;
    else
      high = middle;
  }
  return low < p->nr_pushed && p->pushed[low] == position ? low + 1 : 0;
}

static int
advance_locked (blkring_producer *p, uint64_t position)
{
  size_t n;

  if (handle_check (&p->h) == -1)
    return -1;
  if (position == p->exposed)
    return 0;
  if (position < p->exposed)
    return set_error (EINVAL, "advance to position %" PRIu64 " would go back"
                      " from %" PRIu64, position, p->exposed);
  n = pushes_up_to (p, position);
  if (n == 0)
    return set_error (EINVAL, "advance to position %" PRIu64
                      ", which no push returned", position);
  if (p->h.ring.format->expose (p, position) == -1)
    return -1;
  p->nr_pushed -= n;
  memmove (p->pushed, p->pushed + n, p->nr_pushed * sizeof p->pushed[0]);
  return 0;
}

int
blkring_producer_advance (blkring_producer *p, blkring_position position)
{
  int r;

  pthread_mutex_lock (&p->h.lock);
  r = advance_locked (p, position);
  pthread_mutex_unlock (&p->h.lock);
  return r;
}

int
blkring_producer_state (blkring_producer *p)
{
  int r;

  pthread_mutex_lock (&p->h.lock);
  r = handle_check (&p->h);
  if (r == 0)
    r = look (p);
  if (r == 0)
    r = p->suspend ? BLKRING_SUSPENDED : BLKRING_RUNNING;
  pthread_mutex_unlock (&p->h.lock);
  return r;
}

/*---------------------------------------------------------------------*/

struct space_wait {
  blkring_producer *p;
  size_t length;
};

static int
ready_locked (blkring_producer *p, size_t length)
{
  const struct iovec iov = { NULL, length };
  uint64_t needed = 0;

  if (handle_check (&p->h) == -1)
    return -1;
  if (length != (size_t) -1 &&
      p->h.ring.format->measure (p, &iov, 1, &needed) == -1)
    return -1;
  if (look (p) == -1)
    return -1;
  return !p->suspend && fits (p, p->freed_seen, needed);
}

static int
ready (void *arg)
{
  struct space_wait *w = arg;
  int r;

  pthread_mutex_lock (&w->p->h.lock);
  r = ready_locked (w->p, w->length);
  pthread_mutex_unlock (&w->p->h.lock);
  return r;
}

int
blkring_producer_wait (blkring_producer *p, size_t length, int timeout_ms)
{
  struct space_wait w = { p, length };

  return wait_until (&p->h, timeout_ms, ready, &w);
}

uint64_t
blkring_producer_largest_item (blkring_producer *p)
{
  const uint64_t ring = p->h.ring.largest_item;

  return ring < p->h.largest_item ? ring : p->h.largest_item;
}

int
blkring_producer_debug_info (blkring_producer *p, blkring_debug_fn fn,
                             void *opaque)
{
  int r;

  pthread_mutex_lock (&p->h.lock);
  r = handle_check (&p->h);
  if (r == 0)
    r = p->h.ring.format->debug (&p->h.ring, FARTHEST_BEHIND, fn, opaque);
  pthread_mutex_unlock (&p->h.lock);
  return r;
}

int
blkring_producer_detach (blkring_producer *p)
{
  pthread_mutex_lock (&p->h.lock);
  if (!p->h.attached) {
    pthread_mutex_unlock (&p->h.lock);
    return set_error (EINVAL, "the handle was detached already");
  }
  p->h.ring.format->producer_close (p);
  owner_unlock (p->h.ring.device, SIDE_PRODUCER);
  p->h.attached = false;
  pthread_mutex_unlock (&p->h.lock);
  return 0;
}

void
blkring_producer_free (blkring_producer *p)
{
  if (p == NULL)
    return;
  if (p->h.attached)
    blkring_producer_detach (p);
  free (p->pushed);
  handle_free (&p->h);
  free (p);
}
