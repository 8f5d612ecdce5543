/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Requests on a device, whatever its kind: bounds, continuation of short
 * counts and EINTR, splitting at the largest request, and a bounce buffer
 * for reads that tools make at any alignment.  What a kind of device does
 * is in device-KIND.c; several requests at once are in device-submit.c.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "device.h"
#include "error.h"

#define LARGEST_BOUNCE (UINT64_C (1) << 20)

static bool
power_of_two (uint64_t v)
{
  return v != 0 && (v & (v - 1)) == 0;
}

static int
get_geometry (const struct blkring_device_ops *ops, void *opaque,
              struct blkring_geometry *g)
{
  memset (g, 0, sizeof *g);
  g->sector_size = g->memory_alignment = 1;
  if (ops->geometry (opaque, g) == -1)
    return set_errno_error (errno, "cannot find out the device's size");
  if (!power_of_two (g->sector_size) || g->sector_size > 65536 ||
      !power_of_two (g->memory_alignment) || g->memory_alignment > 4096)
    return set_error (EINVAL, "impossible geometry: sectors of %" PRIu32
                      " bytes, memory alignment of %" PRIu32,
                      g->sector_size, g->memory_alignment);
  if (g->max_request != 0 && g->max_request < g->sector_size)
    return set_error (EINVAL, "impossible geometry: largest request of %"
                      PRIu32 " bytes, sectors of %" PRIu32,
                      g->max_request, g->sector_size);
  if (g->size > INT64_MAX)
    return set_error (EINVAL, "impossible geometry: size of %" PRIu64
                      " bytes", g->size);
  return 0;
}

/* Programs that were compiled with an older header know less of it. */
#define OLDEST_OPS offsetof (struct blkring_device_ops, submit)

static int
check_ops (const struct blkring_device_ops *ops,
           struct blkring_device_ops *whole)
{
  memset (whole, 0, sizeof *whole);
  if (ops && ops->struct_size >= OLDEST_OPS &&
      ops->struct_size <= sizeof *ops)
    memcpy (whole, ops, ops->struct_size);
  if (whole->geometry == NULL || whole->pread == NULL ||
      whole->pwrite == NULL || whole->flush == NULL)
    return set_error (EINVAL, "blkring_device_new: geometry, pread, pwrite "
                      "and flush are needed, and struct_size of %zu",
                      sizeof *ops);
  if (whole->watch && (whole->watch_wait == NULL || whole->unwatch == NULL))
    return set_error (EINVAL, "blkring_device_new: watch needs watch_wait "
                      "and unwatch");
  if (whole->connection && whole->submit == NULL)
    return set_error (EINVAL, "blkring_device_new: connection needs submit");
  return 0;
}

blkring_device *
blkring_device_new (const struct blkring_device_ops *ops, void *opaque)
{
  struct blkring_device_ops whole;
  struct blkring_geometry g;
  blkring_device *device;

  if (check_ops (ops, &whole) == -1 ||
      get_geometry (&whole, opaque, &g) == -1)
    return NULL;

  device = calloc (1, sizeof *device);
  if (device == NULL || (device->name = strdup ("device")) == NULL) {
    free (device);
    set_errno_error (ENOMEM, "blkring_device_new");
    return NULL;
  }
  device->ops = whole;
  device->opaque = opaque;
  device->geometry = g;
  pthread_mutex_init (&device->lock, NULL);
  pthread_cond_init (&device->released, NULL);
  return device;
}

void
blkring_device_close (blkring_device *device)
{
  if (device == NULL)
    return;
  if (device->ops.close)
    device->ops.close (device->opaque);
  pthread_cond_destroy (&device->released);
  pthread_mutex_destroy (&device->lock);
  free (device->name);
  free (device);
}

const char *
blkring_device_name (const blkring_device *device)
{
  return device->name;
}

int
blkring_device_set_name (blkring_device *device, const char *name)
{
  char *copy = strdup (name);

  if (copy == NULL)
    return set_errno_error (ENOMEM, "blkring_device_set_name");
  free (device->name);
  device->name = copy;
  return 0;
}

bool
device_is_guarded (blkring_device *device)
{
  return device->ops.guarded && device->ops.guarded (device->opaque) == 1;
}

int
device_refresh (blkring_device *device)
{
  struct blkring_geometry g;

  if (get_geometry (&device->ops, device->opaque, &g) == -1)
    return -1;
  /* Others read it without the lock; it hardly ever changes. */
  pthread_mutex_lock (&device->lock);
  if (memcmp (&device->geometry, &g, sizeof g) != 0)
    device->geometry = g;
  pthread_mutex_unlock (&device->lock);
  return 0;
}

int
blkring_device_geometry (blkring_device *device, struct blkring_geometry *g)
{
  return get_geometry (&device->ops, device->opaque, g);
}

void *
device_buffer (const blkring_device *device, size_t size)
{
  size_t alignment = max_u64 (device->geometry.memory_alignment, 64);
  void *buf;
  int err;

  err = posix_memalign (&buf, alignment, size ? size : 1);
  if (err != 0) {
    set_errno_error (err, "cannot allocate %zu bytes", size);
    return NULL;
  }
  return buf;
}

int
device_check_range (blkring_device *device, const char *what, size_t count,
                    uint64_t offset, int err)
{
  const struct blkring_geometry *g = &device->geometry;

  if (offset > g->size || count > g->size - offset)
    return set_error (err, "%s of %zu bytes at %" PRIu64
                      " is beyond the device's end at %" PRIu64,
                      what, count, offset, g->size);
  if (((offset | count) & (g->sector_size - 1)) != 0)
    return set_error (EINVAL, "%s of %zu bytes at %" PRIu64
                      " does not fit the device's sectors of %" PRIu32
                      " bytes", what, count, offset, g->sector_size);
  return 0;
}

static size_t
request_size (const blkring_device *device, size_t count)
{
  const struct blkring_geometry *g = &device->geometry;

  return g->max_request == 0 ? count
    : min_u64 (count, round_down (g->max_request, g->sector_size));
}

/* A part of a buffer need not be aligned as the whole is: where a request
 * was cut by the end of a data area, by max_request or by a short count. */
bool
device_is_aligned (const blkring_device *device, const void *p)
{
  return ((uintptr_t) p & (device->geometry.memory_alignment - 1)) == 0;
}

static ssize_t
read_some (blkring_device *device, void *p, size_t count, uint64_t offset)
{
  void *bounce;
  ssize_t r;

  if (device_is_aligned (device, p))
    return device->ops.pread (device->opaque, p, count, offset);
  count = min_u64 (count, LARGEST_BOUNCE);
  bounce = device_buffer (device, count);
  if (bounce == NULL)
    return -1;
  r = device->ops.pread (device->opaque, bounce, count, offset);
  if (r > 0)
    memcpy (p, bounce, r);
  free (bounce);
  return r;
}

static ssize_t
write_some (blkring_device *device, const void *p, size_t count,
            uint64_t offset, unsigned flags)
{
  void *bounce;
  ssize_t r;

  if (device_is_aligned (device, p))
    return device->ops.pwrite (device->opaque, p, count, offset, flags);
  count = min_u64 (count, LARGEST_BOUNCE);
  bounce = device_buffer (device, count);
  if (bounce == NULL)
    return -1;
  memcpy (bounce, p, count);
  r = device->ops.pwrite (device->opaque, bounce, count, offset, flags);
  free (bounce);
  return r;
}

int
device_pread (blkring_device *device, void *buf, size_t count,
              uint64_t offset)
{
  struct blkring_part part = read_part (buf, count, offset);
  char *p = buf;
  ssize_t r;

  if (device_submits (device))
    return device_submit (device, &part, 1, false, 0);
  if (device_check_range (device, "read", count, offset, EIO) == -1)
    return -1;
  while (count > 0) {
    r = read_some (device, p, request_size (device, count), offset);
    if (r == -1 && errno == EINTR)
      continue;
    if (r == -1)
      return set_errno_error (errno, "read of %zu bytes at %" PRIu64
                              " failed", count, offset);
    if (r == 0)
      return set_error (EIO, "read of %zu bytes at %" PRIu64
                        ": the device ends before (it has shrunk)",
                        count, offset);
    p += r;
    count -= r;
    offset += r;
  }
  return 0;
}

static int
write_all (blkring_device *device, const char *p, size_t count,
           uint64_t offset, unsigned flags)
{
  struct blkring_part part = write_part (p, count, offset);
  ssize_t r;

  if (device_submits (device))
    return device_submit (device, &part, 1, flags & BLKRING_WRITE_FUA, 0);
  if (device_check_range (device, "write", count, offset, EIO) == -1)
    return -1;
  while (count > 0) {
    r = write_some (device, p, request_size (device, count), offset, flags);
    if (r == -1 && errno == EINTR)
      continue;
    if (r <= 0)
      return set_errno_error (r == 0 ? ENOSPC : errno,
                              "write of %zu bytes at %" PRIu64 " failed",
                              count, offset);
    p += r;
    count -= r;
    offset += r;
  }
  return 0;
}

int
device_pwrite (blkring_device *device, const void *buf, size_t count,
               uint64_t offset)
{
  return write_all (device, buf, count, offset, 0);
}

int
device_flush (blkring_device *device)
{
  int r;

  if (device_submits (device))
    return device_flush_on (device, 0);
  /* An interrupted flush has not failed: nothing was lost by it. */
  do
    r = device->ops.flush (device->opaque);
  while (r == -1 && errno == EINTR);
  if (r == -1)
    return set_errno_error (errno, "flush failed");
  return 0;
}

int
device_pwrite_durable (blkring_device *device, const void *buf, size_t count,
                       uint64_t offset)
{
  if (device->geometry.flags & BLKRING_DEVICE_FUA)
    return write_all (device, buf, count, offset, BLKRING_WRITE_FUA);
  if (write_all (device, buf, count, offset, 0) == -1)
    return -1;
  return device_flush (device);
}

/* Tools read at any alignment: through a bounce buffer where needed. */
int
blkring_device_read (blkring_device *device, void *buf, size_t count,
                     uint64_t offset)
{
  const struct blkring_geometry *g = &device->geometry;
  uint64_t start, end;
  char *bounce;
  int r;

  if (offset > g->size || count > g->size - offset)
    return device_check_range (device, "read", count, offset, EINVAL);
  if (((offset | count) & (g->sector_size - 1)) == 0 &&
      ((uintptr_t) buf & (g->memory_alignment - 1)) == 0)
    return device_pread (device, buf, count, offset);

  start = round_down (offset, g->sector_size);
  end = round_up (offset + count, g->sector_size);
  bounce = device_buffer (device, end - start);
  if (bounce == NULL)
    return -1;
  r = device_pread (device, bounce, end - start, start);
  if (r == 0)
    memcpy (buf, bounce + (offset - start), count);
  free (bounce);
  return r;
}

int
blkring_device_write (blkring_device *device, const void *buf, size_t count,
                      uint64_t offset)
{
  char *bounce;
  int r;

  if (device_check_range (device, "write", count, offset, EINVAL) == -1)
    return -1;
  if (((uintptr_t) buf & (device->geometry.memory_alignment - 1)) == 0)
    return device_pwrite (device, buf, count, offset);
  bounce = device_buffer (device, count);
  if (bounce == NULL)
    return -1;
  memcpy (bounce, buf, count);
  r = device_pwrite (device, bounce, count, offset);
  free (bounce);
  return r;
}

int
blkring_device_flush (blkring_device *device)
{
  return device_flush (device);
}
