/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a producer and a consumer have in common: names, options,
 * poisoning.
 *
 * Poisoning: after a failed write or flush nobody knows what the device
 * holds, and a flush that is tried again may answer for pages that the
 * system has dropped.  So the handle is of no use until a new attach has
 * read the device.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "error.h"
#include "format.h"

#define DEFAULT_LARGEST_ITEM (UINT64_C (64) << 20)
#define NS_PER_MS UINT64_C (1000000)
#define MAX_ATTACH_TRIES 10

static uint64_t
system_now (void *opaque)
{
  struct timespec ts;

  (void) opaque;
  /* The coarse clock is read without a system call, and 4 ms are fine
   * enough for intervals of 100 ms. */
  clock_gettime (CLOCK_MONOTONIC_COARSE, &ts);
  return ts.tv_sec * UINT64_C (1000000000) + ts.tv_nsec;
}

static int
system_sleep (void *opaque, uint64_t ns)
{
  struct timespec ts = { ns / 1000000000, ns % 1000000000 };

  (void) opaque;
  return nanosleep (&ts, NULL);
}

/* What is not known would be ignored by this version, and might be what the
 * caller relies on. */
static int
check_options (const struct blkring_attach_options *o, unsigned flags)
{
  size_t i;

  if (o->flags & ~flags)
    return set_error (EINVAL, "attach flags %#x are not known, or not for "
                      "this side", o->flags & ~flags);
  if (o->durability != BLKRING_DURABILITY_FULL &&
      o->durability != BLKRING_DURABILITY_NONE)
    return set_error (EINVAL, "durability %d is not known",
                      (int) o->durability);
  for (i = 0; i < sizeof o->reserved / sizeof o->reserved[0]; ++i)
    if (o->reserved[i] != 0)
      return set_error (EINVAL, "reserved fields of the attach options are "
                        "not zero");
  return 0;
}

int
handle_init (struct handle *h, blkring_device *device,
             const struct blkring_attach_options *o, unsigned flags)
{
  static const struct blkring_attach_options defaults;

  if (o == NULL)
    o = &defaults;
  pthread_mutex_init (&h->lock, NULL);
  if (check_options (o, flags) == -1)
    return -1;
  h->queue = strdup (o->queue ? o->queue : "unknown");
  h->client = strdup (o->client ? o->client : "unknown");
  if (h->queue == NULL || h->client == NULL)
    return set_errno_error (ENOMEM, "cannot attach");
  h->flushes = o->durability != BLKRING_DURABILITY_NONE;
  h->largest_item = o->largest_item ? o->largest_item : DEFAULT_LARGEST_ITEM;
  h->poll_interval = (o->poll_interval ? o->poll_interval : 100) * NS_PER_MS;
  h->poll_limit = (o->poll_limit ? o->poll_limit : 100) * NS_PER_MS;
  h->takeover = o->flags & BLKRING_ATTACH_TAKEOVER;
  h->real_clock = o->clock == NULL;
  if (o->clock)
    h->clock = *o->clock;
  else
    h->clock = (struct blkring_clock) { .now = system_now,
                                        .sleep = system_sleep };
  h->connection = device_connection (device);
  return ring_open (device, o->sector_size, &h->ring);
}

bool
handle_attach_again (int tries)
{
  if (errno != ESTALE)
    return false;
  if (tries < MAX_ATTACH_TRIES)
    return true;
  set_error (ENOTCONN, "the connection to the server was lost again and "
             "again");
  return false;
}

void
handle_free (struct handle *h)
{
  if (h->watch)
    h->ring.device->ops.unwatch (h->watch);
  free (h->queue);
  free (h->client);
  free (h->poison_cause);
  pthread_mutex_destroy (&h->lock);
}

int
handle_check (struct handle *h)
{
  if (!h->attached)
    return set_error (EINVAL, "the handle was detached and cannot be used");
  if (h->poison_errno)
    return set_error (h->poison_errno,
                      "the ring must be attached again, since: %s",
                      h->poison_cause ? h->poison_cause : "I/O failed");
  return 0;
}

int
poison (struct handle *h)
{
  const int err = errno;

  if (h->poison_errno == 0) {
    h->poison_errno = err == EBUSY ? EBUSY : EIO;
    h->poison_cause = strdup (blkring_get_error ());
    device_log (h->ring.device, BLKRING_LOG_ERROR, "%s: poisoned: %s",
                h->client, blkring_get_error ());
  }
  errno = err;
  return -1;
}

/* What failed was tied to a connection that is lost: 0 to try it again, on
 * the one that there is now. */
static int
try_again (struct handle *h, bool writes)
{
  if (h->look_again == NULL)
    return -1;
  if (h->look_again (h) == 0)
    return 0;
  if (errno == ENOTCONN && writes)
    set_in_doubt ();
  return poison (h);
}

int
handle_submit (struct handle *h, struct blkring_part *parts, size_t nr,
               bool durable)
{
  blkring_device *device = h->ring.device;

  while (device_submit (device, parts, nr, durable && h->flushes,
                        h->connection) == -1) {
    if (errno != ESTALE)
      return poison (h);
    if (try_again (h, true) == -1)
      return -1;
  }
  return 0;
}

int
handle_flush (struct handle *h)
{
  if (!h->flushes)
    return 0;
  while (device_flush_on (h->ring.device, h->connection) == -1) {
    if (errno != ESTALE)
      return poison (h);
    if (try_again (h, false) == -1)
      return -1;
  }
  return 0;
}

int
handle_write_durable (struct handle *h, const void *buf, size_t count,
                      uint64_t offset)
{
  struct blkring_part part = write_part (buf, count, offset);

  return handle_submit (h, &part, 1, true);
}
