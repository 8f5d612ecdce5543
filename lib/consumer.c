/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The consumer, for every format: ownership, observers, what may be popped
 * from and advanced to, and the consumer's half of the suspend protocol.
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

#define FOLD_BATCH 64
/* Ends of items that are remembered, so that an advance to one of them need
 * not read the items again. */
#define NR_ENDS 4096
/* How often an observer tries again when the owner frees under it. */
#define OBSERVER_TRIES 1000

static int
become_owner (blkring_consumer *c)
{
  blkring_device *device = c->h.ring.device;
  char texts[2][BLKRING_TEXT_SIZE];

  if (device->geometry.flags & BLKRING_DEVICE_READ_ONLY)
    return set_error (EROFS, "the device was opened read-only");
  if (c->h.flushes && device->geometry.flags & BLKRING_DEVICE_NO_FLUSH)
    return set_error (ENOTSUP, "the device cannot make writes durable: only "
                      "durability none works on it");
  if (c->h.ring.read_only)
    return set_error (EROFS, "the ring has features that forbid this version "
                      "to write");
  if (owner_lock (device, SIDE_CONSUMER + c->index) == 0)
    return 0;
  if (errno == EBUSY &&
      c->h.ring.format->texts (&c->h.ring, c->index, texts[0], texts[1])
      == 0 && texts[1][0])
    set_error (EBUSY, "another consumer is attached: %s", texts[1]);
  return -1;
}

/* The connection was lost: are we still what we were? */
static int
look_again (blkring_consumer *c)
{
  const uint64_t connection = device_connection (c->h.ring.device);

  if (c->h.ring.format->consumer_look (c) == -1)
    return -1;
  c->h.connection = connection;
  return 0;
}

static int
attach (blkring_consumer *c, blkring_device *device,
        const struct blkring_attach_options *o)
{
  if (handle_init (&c->h, device, o, BLKRING_ATTACH_OBSERVER |
                   BLKRING_ATTACH_FORCE | BLKRING_ATTACH_TAKEOVER |
                   BLKRING_ATTACH_SALVAGE) == -1)
    return -1;
  c->observer = o && o->flags & BLKRING_ATTACH_OBSERVER;
  c->ends = calloc (NR_ENDS, sizeof *c->ends);
  if (c->ends == NULL)
    return set_errno_error (ENOMEM, "cannot attach");
  c->force = o && o->flags & BLKRING_ATTACH_FORCE;
  c->index = o ? o->consumer : 0;
  if (c->index >= c->h.ring.consumers)
    return set_error (EINVAL, "there is no consumer %u: the ring has %u, "
                      "counted from 0", c->index, c->h.ring.consumers);
  c->salvage = o && o->flags & BLKRING_ATTACH_SALVAGE;
  c->skipped = o ? o->skipped : NULL;
  c->skipped_opaque = o ? o->skipped_opaque : NULL;
  if (c->salvage && c->h.ring.format->number == 1)
    return set_error (EINVAL, "a ring of format 1 cannot be salvaged: nothing "
                      "in it tells where an item begins");
  if (!c->observer && become_owner (c) == -1)
    return -1;
  c->h.attached = true;
  if (c->h.ring.format->consumer_open (c) == -1)
    return -1;
  if (c->observer)
    return 0;
  /* Rule 3: nothing is built on what was read here before the flush. */
  if (handle_flush (&c->h) == -1)
    return -1;
  c->limit_durable = c->limit;
  return 0;
}

static blkring_consumer *
attach_once (blkring_device *device,
             const struct blkring_attach_options *options)
{
  blkring_consumer *c = calloc (1, sizeof *c);
  int saved;

  if (c == NULL) {
    set_errno_error (ENOMEM, "cannot attach");
    return NULL;
  }
  if (attach (c, device, options) == -1) {
    saved = errno;
    blkring_consumer_free (c);
    errno = saved;
    return NULL;
  }
  device_log (device, BLKRING_LOG_DEBUG, "%s attached at position %" PRIu64,
              c->observer ? "observer" : "consumer", c->position);
  return c;
}

blkring_consumer *
blkring_consumer_attach (blkring_device *device,
                         const struct blkring_attach_options *options)
{
  blkring_consumer *c;
  int tries = 0;

  do
    c = attach_once (device, options);
  while (c == NULL && handle_attach_again (tries++));
  return c;
}

/*---------------------------------------------------------------------*/

/* May one read from here?  Only where an item starts. */
static int
check_from (blkring_consumer *c, uint64_t from)
{
  int r;

  if (from == c->position || from == c->popped)
    return 0;
  if (from < c->position)
    return set_error (EINVAL, "the items before position %" PRIu64
                      " were freed, %" PRIu64 " is one of them",
                      c->position, from);
  if (from > c->limit && c->h.ring.format->consumer_look (c) == -1)
    return -1;
  r = c->h.ring.format->is_boundary (c, from);
  if (r == 0)
    return set_error (EINVAL, "no item starts at position %" PRIu64, from);
  return r == 1 ? 0 : -1;
}

static void
remember_ends (blkring_consumer *c, const struct blkring_item *items,
               ssize_t n)
{
  ssize_t i;

  for (i = 0; i < n; ++i) {
    if (c->nr_ends > 0 && items[i].next <= c->ends[c->nr_ends - 1])
      continue;
    if (c->nr_ends == NR_ENDS) {
      c->nr_ends = NR_ENDS / 2;
      memmove (c->ends, c->ends + NR_ENDS / 2,
               c->nr_ends * sizeof c->ends[0]);
    }
    c->ends[c->nr_ends++] = items[i].next;
  }
}

/* Did an item that was delivered end here, as far as is remembered? */
static bool
is_remembered (const blkring_consumer *c, uint64_t position)
{
  size_t low = 0, high = c->nr_ends, middle;

  while (low < high) {
    middle = low + (high - low) / 2;
    if (c->ends[middle] < position)
      low = middle + 1;
    else
      high = middle;
  }
  return low < c->nr_ends && c->ends[low] == position;
}

static void
forget_ends (blkring_consumer *c, uint64_t position)
{
  size_t n = 0;

  while (n < c->nr_ends && c->ends[n] <= position)
    n++;
  c->nr_ends -= n;
  memmove (c->ends, c->ends + n, c->nr_ends * sizeof c->ends[0]);
}

static ssize_t
pop_once (blkring_consumer *c, uint64_t from, struct blkring_item *items,
          size_t max)
{
  ssize_t n;

  if (check_from (c, from) == -1)
    return -1;
  n = c->h.ring.format->read (c, from, items, max);
  if (n > 0) {
    remember_ends (c, items, n);
    if (items[n - 1].next > c->popped)
      c->popped = items[n - 1].next;
  }
  /* What cannot be delivered can be advanced over. */
  if (n == -1 && errno == EMSGSIZE && items[0].next > c->popped)
    c->popped = items[0].next;
  return n;
}

/* The owner may free what an observer reads while it reads.  What was read
 * counts if it was not freed by the end. */
static ssize_t
pop_observed (blkring_consumer *c, const blkring_position *from,
              struct blkring_item *items, size_t max)
{
  const struct format *format = c->h.ring.format;
  struct saved_error error;
  uint64_t at, before;
  ssize_t n;
  int tries, err;

  for (tries = 0; tries < OBSERVER_TRIES; ++tries) {
    if (format->consumer_look (c) == -1)
      return -1;
    before = c->position;
    at = from ? *from : before;
    if (at < before)
      return check_from (c, at);
    n = pop_once (c, at, items, max);
    err = errno;
    if (n == -1 && err != EBADMSG && err != EMSGSIZE && err != EINVAL)
      return -1;
    save_error (&error);
    if (format->consumer_look (c) == -1)
      return -1;
    /* On the way to 'at' it may have met what was freed meanwhile. */
    if (n == -1 && c->position == before)
      return restore_error (&error);
    if (n != -1 && c->position <= at)
      return n;
  }
  return set_error (EAGAIN, "the consumer is faster than this observer");
}

static ssize_t
pop_locked (blkring_consumer *c, const blkring_position *from,
            struct blkring_item *items, size_t max)
{
  if (handle_check (&c->h) == -1)
    return -1;
  if (max == 0)
    return set_error (EINVAL, "a pop of no items");
  if (c->observer)
    return pop_observed (c, from, items, max);
  return pop_once (c, from ? *from : c->position, items, max);
}

ssize_t
blkring_consumer_popv (blkring_consumer *c, const blkring_position *from,
                       struct blkring_item *items, size_t max)
{
  ssize_t n;

  pthread_mutex_lock (&c->h.lock);
  n = pop_locked (c, from, items, max);
  pthread_mutex_unlock (&c->h.lock);
  return n;
}

int
blkring_consumer_pop (blkring_consumer *c, const blkring_position *from,
                      struct blkring_item *item)
{
  return blkring_consumer_popv (c, from, item, 1) == 1 ? 0 : -1;
}

int
blkring_consumer_pop_copy (blkring_consumer *c, const blkring_position *from,
                           void *buf, size_t size, struct blkring_item *item)
{
  int r = 0;

  pthread_mutex_lock (&c->h.lock);
  if (pop_locked (c, from, item, 1) != 1)
    r = -1;
  else if (item->length > size)
    r = set_error (EMSGSIZE, "item at position %" PRIu64 " has %zu bytes, "
                   "the buffer %zu", item->position, item->length, size);
  else {
    if (item->length > 0)
      memcpy (buf, item->data, item->length);
    item->data = buf;
  }
  pthread_mutex_unlock (&c->h.lock);
  return r;
}

static int
fold_locked (blkring_consumer *c, const blkring_position *from,
             blkring_fold_fn fn, void *opaque)
{
  struct blkring_item items[FOLD_BATCH];
  blkring_position at = from ? *from : 0;
  const blkring_position *next = from;
  ssize_t n, i;
  int r;

  for (;;) {
    n = pop_locked (c, next, items, FOLD_BATCH);
    if (n == -1 && errno == EINVAL && c->observer && next == &at &&
        at < c->position) {
      next = NULL;           /* the owner freed on: go on behind that */
      continue;
    }
    if (n == -1)
      return errno == EAGAIN ? 0 : -1;
    for (i = 0; i < n; ++i) {
      r = fn (opaque, &items[i]);
      if (r != 0)
        return r;
    }
    /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): n > 0 */
    at = items[n - 1].next;
    next = &at;
  }
}

int
blkring_consumer_fold (blkring_consumer *c, const blkring_position *from,
                       blkring_fold_fn fn, void *opaque)
{
  int r;

  pthread_mutex_lock (&c->h.lock);
  r = fold_locked (c, from, fn, opaque);
  pthread_mutex_unlock (&c->h.lock);
  return r;
}

/*---------------------------------------------------------------------*/

static int
advance_locked (blkring_consumer *c, uint64_t position)
{
  int r;

  if (handle_check (&c->h) == -1)
    return -1;
  if (c->observer)
    return set_error (EINVAL, "an observer cannot advance");
  if (position == c->position)
    return 0;
  if (position < c->position)
    return set_error (EINVAL, "advance to position %" PRIu64 " would go back"
                      " from %" PRIu64, position, c->position);
  if (position > c->popped)
    return set_error (EINVAL, "advance to position %" PRIu64
                      ", which was never popped", position);
  if (position != c->popped && !is_remembered (c, position)) {
    r = c->h.ring.format->is_boundary (c, position);
    if (r == -1)
      return -1;
    if (r == 0)
      return set_error (EINVAL, "advance to position %" PRIu64
                        ", where no item ends", position);
  }
  while ((r = c->h.ring.format->free_to (c, position)) == -1 &&
         errno == ESTALE)
    if (look_again (c) == -1) {
      if (errno == ENOTCONN)
        set_in_doubt ();
      return poison (&c->h);
    }
  /* Whatever went wrong: what was delivered is not known any more. */
  forget_ends (c, r == 0 ? position : UINT64_MAX);
  return r;
}

int
blkring_consumer_advance (blkring_consumer *c, blkring_position position)
{
  int r;

  pthread_mutex_lock (&c->h.lock);
  r = advance_locked (c, position);
  pthread_mutex_unlock (&c->h.lock);
  return r;
}

/* An observer rewrites the consumer's record, with the position in it.
 * That is safe only where the record lock keeps the consumer out, or where a
 * server lets nothing in that takes the position back. */
static int
check_reach (blkring_consumer *c)
{
  blkring_device *device = c->h.ring.device;
  int r;

  if (device->geometry.flags & BLKRING_DEVICE_READ_ONLY)
    return set_error (EROFS, "the device was opened read-only");
  if (!c->observer || c->force || c->h.ring.format->request_apart ||
      !(device->geometry.flags & BLKRING_DEVICE_SHARED) ||
      device_is_guarded (device))
    return 0;
  r = owner_test (device, SIDE_CONSUMER);
  if (r == -1)
    return -1;
  if (r == 0)
    return set_error (EBUSY, "no consumer is attached on this host, and if "
                      "one is on another host this could take its position "
                      "back: ask it there, or force it if there is none");
  return 0;
}

static int
request (blkring_consumer *c, bool suspend)
{
  int r;

  pthread_mutex_lock (&c->h.lock);
  r = handle_check (&c->h);
  if (r == 0)
    r = check_reach (c);
  if (r == 0)
    do
      r = c->h.ring.format->request (c, suspend);
    while (r == -1 && errno == ESTALE && look_again (c) == 0);
  if (r == 0)
    device_log (c->h.ring.device, BLKRING_LOG_INFO, "%s is asked for",
                suspend ? "suspend" : "resume");
  pthread_mutex_unlock (&c->h.lock);
  return r;
}

int
blkring_consumer_suspend (blkring_consumer *c)
{
  return request (c, true);
}

int
blkring_consumer_resume (blkring_consumer *c)
{
  return request (c, false);
}

int
blkring_consumer_state (blkring_consumer *c)
{
  int r;

  pthread_mutex_lock (&c->h.lock);
  r = handle_check (&c->h);
  if (r == 0)
    r = c->h.ring.format->consumer_look (c);
  if (r == 0)
    r = c->suspend_ack ? BLKRING_SUSPENDED : BLKRING_RUNNING;
  pthread_mutex_unlock (&c->h.lock);
  return r;
}

/*---------------------------------------------------------------------*/

struct item_wait {
  blkring_consumer *c;
  const blkring_position *from;
};

/* Reads no item: what pop gave stays valid. */
static int
item_ready_locked (blkring_consumer *c, const blkring_position *from)
{
  const struct format *format = c->h.ring.format;
  uint64_t at;

  if (handle_check (&c->h) == -1 ||
      (c->observer && format->consumer_look (c) == -1))
    return -1;
  at = from ? *from : c->position;
  return check_from (c, at) == -1 ? -1 : format->has_item (c, at);
}

static int
item_ready (void *arg)
{
  struct item_wait *w = arg;
  int r;

  pthread_mutex_lock (&w->c->h.lock);
  r = item_ready_locked (w->c, w->from);
  pthread_mutex_unlock (&w->c->h.lock);
  return r;
}

int
blkring_consumer_wait (blkring_consumer *c, const blkring_position *from,
                       int timeout_ms)
{
  struct item_wait w = { c, from };

  return wait_until (&c->h, timeout_ms, item_ready, &w);
}

struct state_wait {
  blkring_consumer *c;
  int state;
};

static int
state_ready (void *arg)
{
  struct state_wait *w = arg;
  int r = blkring_consumer_state (w->c);

  return r == -1 ? -1 : r == w->state;
}

int
blkring_consumer_wait_state (blkring_consumer *c, enum blkring_state state,
                             int timeout_ms)
{
  struct state_wait w = { c, state };

  if (state != BLKRING_RUNNING && state != BLKRING_SUSPENDED)
    return set_error (EINVAL, "only running and suspended can be waited for");
  return wait_until (&c->h, timeout_ms, state_ready, &w);
}

int
blkring_consumer_position (blkring_consumer *c, blkring_position *position)
{
  int r;

  pthread_mutex_lock (&c->h.lock);
  r = handle_check (&c->h);
  if (r == 0)
    *position = c->position;
  pthread_mutex_unlock (&c->h.lock);
  return r;
}

int
blkring_consumer_debug_info (blkring_consumer *c, blkring_debug_fn fn,
                             void *opaque)
{
  int r;

  pthread_mutex_lock (&c->h.lock);
  r = handle_check (&c->h);
  if (r == 0)
    r = c->h.ring.format->debug (&c->h.ring, c->index, fn, opaque);
  pthread_mutex_unlock (&c->h.lock);
  return r;
}

int
blkring_consumer_detach (blkring_consumer *c)
{
  pthread_mutex_lock (&c->h.lock);
  if (!c->h.attached) {
    pthread_mutex_unlock (&c->h.lock);
    return set_error (EINVAL, "the handle was detached already");
  }
  c->h.ring.format->consumer_close (c);
  if (!c->observer)
    owner_unlock (c->h.ring.device, SIDE_CONSUMER + c->index);
  c->h.attached = false;
  pthread_mutex_unlock (&c->h.lock);
  return 0;
}

void
blkring_consumer_free (blkring_consumer *c)
{
  if (c == NULL)
    return;
  if (c->h.attached)
    blkring_consumer_detach (c);
  handle_free (&c->h);
  free (c->ends);
  free (c);
}
