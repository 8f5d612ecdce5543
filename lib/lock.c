/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two locks a side.  'owner' is held while a producer or consumer is
 * attached.  'record' is held around each re-read and rewrite of a
 * side's record that somebody beside the owner may rewrite too.
 *
 * Each is kept twice: in the device object, because a second lock through
 * one descriptor succeeds, and as a lock of the storage where it has such
 * (device-file.c: an OFD lock), because there are other processes.
 */

#include <config.h>

#include <errno.h>

#include "error.h"
#include "lock.h"

static unsigned
owner_byte (unsigned side)
{
  return 2 * side;
}

static unsigned
record_byte (unsigned side)
{
  return 2 * side + 1;
}

static int
storage_lock (blkring_device *device, unsigned byte, enum blkring_lock_op op)
{
  int r;

  if (device->ops.lock == NULL)
    return 0;
  do
    r = device->ops.lock (device->opaque, byte, op);
  while (r == -1 && errno == EINTR);
  return r;
}

int
owner_lock (blkring_device *device, unsigned side)
{
  int r = -1;

  pthread_mutex_lock (&device->lock);
  if (device->owner_held[side])
    errno = EAGAIN;
  else
    r = storage_lock (device, owner_byte (side), BLKRING_LOCK_TRY);
  if (r == 0)
    device->owner_held[side] = true;
  pthread_mutex_unlock (&device->lock);

  if (r == -1 && (errno == EAGAIN || errno == EACCES))
    return set_error (EBUSY, "another %s is attached",
                      side == SIDE_PRODUCER ? "producer" : "consumer");
  if (r == -1)
    return set_errno_error (errno, "cannot lock the device");
  return 0;
}

void
owner_unlock (blkring_device *device, unsigned side)
{
  pthread_mutex_lock (&device->lock);
  storage_lock (device, owner_byte (side), BLKRING_LOCK_RELEASE);
  device->owner_held[side] = false;
  pthread_mutex_unlock (&device->lock);
}

int
owner_test (blkring_device *device, unsigned side)
{
  int r;

  pthread_mutex_lock (&device->lock);
  if (device->owner_held[side])
    r = 1;
  else
    r = storage_lock (device, owner_byte (side), BLKRING_LOCK_TEST);
  pthread_mutex_unlock (&device->lock);
  if (r == -1)
    return set_errno_error (errno, "cannot test the device's locks");
  return r;
}

int
record_lock (blkring_device *device, unsigned side)
{
  pthread_mutex_lock (&device->lock);
  while (device->record_held[side])
    pthread_cond_wait (&device->released, &device->lock);
  device->record_held[side] = true;
  pthread_mutex_unlock (&device->lock);

  /* Not under the mutex: the holder may be another process. */
  if (storage_lock (device, record_byte (side), BLKRING_LOCK_WAIT) == -1) {
    int err = errno;

    pthread_mutex_lock (&device->lock);
    device->record_held[side] = false;
    pthread_cond_broadcast (&device->released);
    pthread_mutex_unlock (&device->lock);
    return set_errno_error (err, "cannot lock the device");
  }
  return 0;
}

void
record_unlock (blkring_device *device, unsigned side)
{
  storage_lock (device, record_byte (side), BLKRING_LOCK_RELEASE);
  pthread_mutex_lock (&device->lock);
  device->record_held[side] = false;
  pthread_cond_broadcast (&device->released);
  pthread_mutex_unlock (&device->lock);
}
