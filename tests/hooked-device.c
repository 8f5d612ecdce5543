/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A device that calls the test (see hooked-device.h).
 */

#include <config.h>

#include "hooked-device.h"

static int
hooked_geometry (void *opaque, struct blkring_geometry *g)
{
  struct hooked *h = opaque;

  if (blkring_device_geometry (h->t->device, g) == -1)
    return -1;
  g->flags |= h->flags;
  return 0;
}

static ssize_t
hooked_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  struct hooked *h = opaque;

  if (offset >= data_offset (h->t) && h->read_data) {
    h->reads++;
    h->read_data (h);
  }
  return blkring_device_read (h->t->device, buf, count, offset) == -1
    ? -1 : (ssize_t) count;
}

static ssize_t
hooked_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
               unsigned flags)
{
  struct hooked *h = opaque;

  (void) flags;
  return blkring_device_write (h->t->device, buf, count, offset) == -1
    ? -1 : (ssize_t) count;
}

static int
hooked_flush (void *opaque)
{
  (void) opaque;
  return 0;
}

static void *
hooked_watch (void *opaque)
{
  struct hooked *h = opaque;

  h->watches++;
  if (h->watch)
    h->watch (h);
  return h;
}

static int
hooked_wait (void *watch, int timeout_ms)
{
  struct hooked *h = watch;

  h->waits++;
  h->timeout_ms = timeout_ms;
  if (h->interrupt) {
    errno = EINTR;
    return -1;
  }
  if (h->wait)
    h->wait (h);
  return 1;
}

static void
hooked_unwatch (void *watch)
{
  struct hooked *h = watch;

  h->unwatches++;
}

blkring_device *
open_hooked (struct hooked *h)
{
  static const struct blkring_device_ops ops = {
    .struct_size = sizeof ops, .geometry = hooked_geometry,
    .pread = hooked_pread, .pwrite = hooked_pwrite, .flush = hooked_flush,
    .watch = hooked_watch, .watch_wait = hooked_wait,
    .unwatch = hooked_unwatch,
  };
  blkring_device *device = blkring_device_new (&ops, h);

  assert_handle (device);
  return device;
}
