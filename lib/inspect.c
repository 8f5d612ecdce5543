/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Looking at a ring without attaching: find it, and let its format answer.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>

#include "error.h"
#include "format.h"
#include "lock.h"

static int
find (blkring_device *device, const struct blkring_inspect_options *o,
      struct ring *ring)
{
  return ring_open (device, o ? o->sector_size : 0, ring);
}

int
blkring_inspect (blkring_device *device,
                 const struct blkring_inspect_options *options,
                 struct blkring_info *info)
{
  struct ring ring;

  if (find (device, options, &ring) == -1)
    return -1;
  return ring.format->inspect (&ring, options ? options->flags : 0, info);
}

static void
ignore (void *opaque, const struct blkring_finding *finding)
{
  (void) opaque;
  (void) finding;
}

int
blkring_check (blkring_device *device,
               const struct blkring_inspect_options *options,
               blkring_finding_fn fn, void *opaque)
{
  struct blkring_finding finding = { 0 };
  char message[1024];
  struct ring ring;

  if (fn == NULL)
    fn = ignore;
  if (find (device, options, &ring) == 0)
    return ring.format->check (&ring, fn, opaque);
  if (errno != EBADMSG)
    return -1;
  /* A ring, but so damaged that nothing more can be told. */
  snprintf (message, sizeof message, "%s", blkring_get_error ());
  finding.message = message;
  finding.offset = error_offset ();
  fn (opaque, &finding);
  return 1;
}

static int
repair_locked (blkring_device *device, const struct blkring_inspect_options *o,
               enum blkring_repair what, blkring_finding_fn fn, void *opaque)
{
  struct ring ring;

  if (find (device, o, &ring) == -1)
    return -1;
  if (ring.read_only)
    return set_error (EROFS, "the ring has features that forbid this version "
                      "to write");
  return ring.format->repair (&ring, what, fn ? fn : ignore, opaque);
}

int
blkring_repair (blkring_device *device,
                const struct blkring_inspect_options *options,
                enum blkring_repair what, blkring_finding_fn fn, void *opaque)
{
  int r;

  if (device_refresh (device) == -1 || lock_ring (device) == -1)
    return -1;
  r = repair_locked (device, options, what, fn, opaque);
  unlock_sides (device);
  return r;
}

int
blkring_consumer_enable (blkring_device *device, unsigned index, bool enable)
{
  struct ring ring;
  int r;

  if (ring_open (device, 0, &ring) == -1)
    return -1;
  if (ring.format->enable == NULL)
    return set_error (EINVAL, "a ring of format %u has one consumer, which "
                      "is always enabled", ring.format->number);
  if (index >= ring.consumers)
    return set_error (EINVAL, "there is no consumer %u to enable or disable: "
                      "the ring has %u", index, ring.consumers);
  if (device->geometry.flags & BLKRING_DEVICE_READ_ONLY || ring.read_only)
    return set_error (EROFS, "the device or the ring is read-only");
  if (owner_lock (device, SIDE_CONSUMER + index) == -1)
    return -1;
  r = ring.format->enable (&ring, index, enable);
  owner_unlock (device, SIDE_CONSUMER + index);
  return r;
}

int
blkring_map (blkring_device *device,
             const struct blkring_inspect_options *options,
             blkring_map_fn fn, void *opaque)
{
  struct ring ring;

  if (find (device, options, &ring) == -1)
    return -1;
  return ring.format->map (&ring, fn, opaque);
}
