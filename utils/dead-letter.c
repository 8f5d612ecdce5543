/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The ring to which items go that a command could not handle.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exec.h"
#include "uri.h"

/* How soon a signal that came just before a wait is seen, ms. */
#define WAIT_SLICE 500

int
open_dead_letter (struct dead_letter *d, const struct common *common,
                  const char *ring)
{
  struct blkring_attach_options o;

  d->common = *common;
  d->common.ring = ring;
  d->shown = uri_without_password (ring);
  if (d->shown == NULL)
    return fail (common, "out of memory");
  d->common.name = d->shown;
  d->common.sector_size = 0;
  d->common.consumer = 0;
  d->device = open_ring (&d->common, 0, 0);
  if (d->device == NULL)
    return STATUS_FAILED;
  o = attach_options (&d->common, d->device);
  d->producer = blkring_producer_attach (d->device, &o);
  return d->producer ? STATUS_DONE : fail_ring (&d->common);
}

int
put_dead_letter (struct dead_letter *d, const struct blkring_item *item)
{
  bool told = false;

  while (blkring_producer_append (d->producer, item->data, item->length, NULL)
         == -1) {
    if (errno != EAGAIN && errno != ESHUTDOWN)
      return fail_ring (&d->common);
    if (!told)
      fail (&d->common, "%s: waiting for room for the item", errno == EAGAIN
            ? "the ring is full" : "the ring is suspended");
    told = true;
    if (stop_requested)
      return STATUS_WOULD_WAIT;
    if (blkring_producer_wait (d->producer, item->length, WAIT_SLICE) == -1 &&
        errno != ETIMEDOUT && errno != EINTR)
      return fail_ring (&d->common);
  }
  return STATUS_DONE;
}

void
close_dead_letter (struct dead_letter *d)
{
  blkring_producer_free (d->producer);
  blkring_device_close (d->device);
  free (d->shown);
}
