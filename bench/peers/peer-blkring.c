/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: blkring itself, a ring in a file as blkring-img makes it.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "blkring.h"
#include "peers.h"

#define NAME "ring.img"

struct handle {
  blkring_device *device;
  blkring_producer *producer;
  blkring_consumer *consumer;
};

static blkring_device *
open_device (unsigned flags, uint64_t size)
{
  const struct blkring_open_options options = {
    .flags = flags, .size = size,
  };
  blkring_device *device = blkring_device_open (NAME, &options);

  if (device == NULL)
    fail_ring (NAME);
  return device;
}

static void
start (unsigned format, uint64_t size)
{
  const struct blkring_create_options options = { .format = format };
  blkring_device *device = open_device (BLKRING_OPEN_CREATE, size);

  if (blkring_create (device, &options) == -1)
    fail_ring (NAME);
  blkring_device_close (device);
}

static void
start1 (uint64_t size)
{
  start (1, size);
}

static void
start2 (uint64_t size)
{
  start (2, size);
}

static struct handle *
open_ring (enum role role, unsigned flags)
{
  struct handle *h = allocate (sizeof *h);

  *h = (struct handle) { .device = open_device (flags, 0) };
  if (role == PUTTER)
    h->producer = blkring_producer_attach (h->device, NULL);
  else
    h->consumer = blkring_consumer_attach (h->device, NULL);
  if (h->producer == NULL && h->consumer == NULL)
    fail_ring ("cannot attach");
  return h;
}

static void *
open_buffered (enum role role)
{
  return open_ring (role, 0);
}

static void *
open_direct (enum role role)
{
  return open_ring (role, BLKRING_OPEN_DIRECT);
}

static void
put (void *handle, const struct iovec *items, size_t nr)
{
  struct handle *h = handle;
  /* Beside what is kept with each item. */
  const size_t room = nr * (items[0].iov_len + 16);

  while (blkring_producer_appendv (h->producer, items, nr, NULL) == -1)
    if (errno != EAGAIN ||
        blkring_producer_wait (h->producer, room, -1) == -1)
      fail_ring ("append");
}

/* Returns their number. */
static size_t
pop (struct handle *h, size_t nr, blkring_position *at, receive_fn receive,
     void *opaque)
{
  struct blkring_item items[BATCH];
  ssize_t n = blkring_consumer_popv (h->consumer, at, items, nr), i;

  if (n == -1) {
    if (errno != EAGAIN)
      fail_ring ("pop");
    return 0;
  }
  for (i = 0; i < n; ++i)
    receive (opaque, items[i].data, items[i].length);
  *at = items[n - 1].next;
  return n;
}

static size_t
take (void *handle, size_t nr, bool wait, receive_fn receive, void *opaque)
{
  struct handle *h = handle;
  size_t done = 0, n;
  blkring_position at;

  if (blkring_consumer_position (h->consumer, &at) == -1)
    fail_ring ("position");
  while (done < nr) {
    n = pop (h, nr - done, &at, receive, opaque);
    done += n;
    if (n == 0 && (done > 0 || !wait))
      break;
    if (n == 0 && blkring_consumer_wait (h->consumer, &at, -1) == -1)
      fail_ring ("wait");
  }
  if (done > 0 && blkring_consumer_advance (h->consumer, at) == -1)
    fail_ring ("advance");
  return done;
}

static void
close_ring (void *handle)
{
  struct handle *h = handle;

  blkring_producer_free (h->producer);
  blkring_consumer_free (h->consumer);
  blkring_device_close (h->device);
  free (h);
}

const struct peer peer_blkring2 = {
  .name = "blkring",
  .how = "a file, format 2, blocks of 4096 bytes",
  .waits = "inotify",
  .no_peer = true,
  .start = start2,
  .open = open_buffered,
  .put = put,
  .take = take,
  .close = close_ring,
};

const struct peer peer_blkring2_direct = {
  .name = "blkring-direct",
  .how = "the same with O_DIRECT",
  .waits = "inotify",
  .no_peer = true,
  .start = start2,
  .open = open_direct,
  .put = put,
  .take = take,
  .close = close_ring,
};

const struct peer peer_blkring1 = {
  .name = "blkring-1",
  .how = "a file, format 1",
  .waits = "inotify",
  .no_peer = true,
  .start = start1,
  .open = open_buffered,
  .put = put,
  .take = take,
  .close = close_ring,
};
