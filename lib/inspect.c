/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Looking at a ring without attaching: find it, and let its format answer.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>

#include "error.h"
#include "format.h"

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
  return ring.format->inspect (&ring, info);
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
