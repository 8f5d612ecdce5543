/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A device in memory, for tests and for rings within one process.  It is
 * durable in that a flush has nothing to do.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "error.h"

struct memory {
  pthread_mutex_t lock;
  uint64_t size;
  uint32_t sector_size;
  unsigned char *data;
};

static int
memory_geometry (void *opaque, struct blkring_geometry *g)
{
  struct memory *m = opaque;

  g->size = m->size;
  g->sector_size = m->sector_size;
  g->flags = BLKRING_DEVICE_FUA;
  return 0;
}

static ssize_t
memory_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  struct memory *m = opaque;

  pthread_mutex_lock (&m->lock);
  memcpy (buf, m->data + offset, count);
  pthread_mutex_unlock (&m->lock);
  return count;
}

static ssize_t
memory_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
               unsigned flags)
{
  struct memory *m = opaque;

  (void) flags;
  pthread_mutex_lock (&m->lock);
  memcpy (m->data + offset, buf, count);
  pthread_mutex_unlock (&m->lock);
  return count;
}

static int
memory_flush (void *opaque)
{
  (void) opaque;
  return 0;
}

static void
memory_close (void *opaque)
{
  struct memory *m = opaque;

  pthread_mutex_destroy (&m->lock);
  free (m->data);
  free (m);
}

static const struct blkring_device_ops memory_ops = {
  .struct_size = sizeof memory_ops,
  .geometry = memory_geometry,
  .pread = memory_pread,
  .pwrite = memory_pwrite,
  .flush = memory_flush,
  .close = memory_close,
};

blkring_device *
blkring_device_memory (uint64_t size, uint32_t sector_size)
{
  struct memory *m = calloc (1, sizeof *m);
  blkring_device *device;

  if (m == NULL || size > SIZE_MAX ||
      (m->data = calloc (1, size ? size : 1)) == NULL) {
    free (m);
    set_errno_error (ENOMEM, "blkring_device_memory");
    return NULL;
  }
  m->size = size;
  m->sector_size = sector_size ? sector_size : 512;
  pthread_mutex_init (&m->lock, NULL);
  device = blkring_device_new (&memory_ops, m);
  if (device == NULL) {
    memory_close (m);
    return NULL;
  }
  if (blkring_device_set_name (device, "memory") == -1) {
    blkring_device_close (device);
    return NULL;
  }
  return device;
}
