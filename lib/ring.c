/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rings as a whole: the table of formats, finding, making and erasing.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "format.h"
#include "lock.h"

#define ERASE_CHUNK (UINT64_C (1) << 20)

const struct format *const formats[] = { &format2, &format1, NULL };
static const struct format *const default_format = &format2;

int
blkring_position_compare (blkring_position a, blkring_position b)
{
  return (a > b) - (a < b);
}

/* A pointer that is written in parts is not written at once.  Its content
 * fits 512 bytes, whatever the sector size. */
static int
check_request_size (const struct ring *ring)
{
  const uint32_t max = ring->device->geometry.max_request;

  if (max != 0 && max < 512)
    return set_error (EINVAL, "the device's largest request of %" PRIu32
                      " bytes is smaller than a pointer of 512", max);
  return 0;
}

int
ring_open (blkring_device *device, uint32_t sector_size, struct ring *ring)
{
  unsigned i;
  int r;

  if (device_refresh (device) == -1)
    return -1;
  for (i = 0; formats[i]; ++i) {
    r = formats[i]->probe (device, sector_size, ring);
    if (r == -1)
      return -1;
    if (r == 1)
      return check_request_size (ring);
  }
  return set_error (EMEDIUMTYPE, "there is no ring here (blkring-img create "
                    "makes one)");
}

uint64_t
ring_offset (const struct ring *ring, uint64_t position)
{
  return ring->data_offset + position % ring->capacity;
}

size_t
ring_parts (const struct ring *ring, enum blkring_part_kind kind, void *buf,
            uint64_t from, uint64_t to, struct blkring_part *parts)
{
  char *p = buf;
  uint64_t offset, n;
  size_t nr = 0;

  while (from < to) {
    assert (nr < 2);
    offset = ring_offset (ring, from);
    n = min_u64 (to - from, ring->data_offset + ring->capacity - offset);
    parts[nr++] = (struct blkring_part) {
      .kind = kind, .buf = p, .count = n, .offset = offset,
    };
    p += n;
    from += n;
  }
  return nr;
}

int
ring_read (const struct ring *ring, void *buf, uint64_t from,
                uint64_t to)
{
  struct blkring_part parts[2];
  size_t nr = ring_parts (ring, BLKRING_PART_READ, buf, from, to, parts);

  return nr == 0 ? 0 : device_submit (ring->device, parts, nr, false, 0);
}

static int
check_writable (const blkring_device *device)
{
  if (device->geometry.flags & BLKRING_DEVICE_READ_ONLY)
    return set_error (EROFS, "the device was opened read-only");
  return 0;
}

static void
unlock_first (blkring_device *device, unsigned n)
{
  while (n > 0)
    owner_unlock (device, --n);
}

/* All sides, so that nobody is attached meanwhile. */
int
lock_sides (blkring_device *device)
{
  unsigned side;

  if (check_writable (device) == -1)
    return -1;
  for (side = 0; side < MAX_SIDES; ++side)
    if (owner_lock (device, side) == -1) {
      unlock_first (device, side);
      return -1;
    }
  return 0;
}

void
unlock_sides (blkring_device *device)
{
  unlock_first (device, MAX_SIDES);
}

/* A server that guards the ring knows what is in it, and would refuse a part
 * of what follows: to change the ring under it is for when it is stopped. */
int
lock_ring (blkring_device *device)
{
  if (lock_sides (device) == -1)
    return -1;
  if (!device_is_guarded (device))
    return 0;
  unlock_sides (device);
  return set_error (EBUSY, "the server guards the ring: stop the server, and "
                    "do this on the device that it serves");
}

/* 'keep' may be NULL. */
static int
wipe_others (blkring_device *device, const struct format *keep)
{
  unsigned i;

  for (i = 0; formats[i]; ++i)
    if (formats[i] != keep && formats[i]->wipe (device) == -1)
      return -1;
  return 0;
}

static void
ignore_debug (void *opaque, const char *key, const char *value)
{
  (void) opaque;
  (void) key;
  (void) value;
}

/* 1: a valid ring is here; 0: none; -1: one that is damaged, or an
 * error. */
static int
find_valid (blkring_device *device, const struct blkring_create_options *o)
{
  struct ring ring;
  char why[1024];

  if (ring_open (device, o->sector_size, &ring) == -1)
    return errno == EMEDIUMTYPE ? 0 : -1;
  if (ring.format->debug (&ring, FARTHEST_BEHIND, ignore_debug, NULL)
      == -1) {
    if (errno != EBADMSG)
      return -1;
    snprintf (why, sizeof why, "%s", blkring_get_error ());
    return set_error (EEXIST, "the device holds a damaged ring (force formats"
                      " it): %s", why);
  }
  return 1;
}

static int
refuse_unless_blank (blkring_device *device)
{
  char what[256];
  int r = device_is_blank (device, what, sizeof what);

  if (r == -1)
    return -1;
  if (r == 0)
    return set_error (EEXIST, "the device is not blank: it holds %s (force "
                      "formats it, and destroys that)", what);
  return 0;
}

static const struct format *
format_by_number (unsigned number)
{
  unsigned i;

  if (number == 0)
    return default_format;
  for (i = 0; formats[i]; ++i)
    if (formats[i]->number == number)
      return formats[i];
  set_error (EINVAL, "format %u is not known", number);
  return NULL;
}

static int
create_locked (blkring_device *device, const struct blkring_create_options *o)
{
  const struct format *format = format_by_number (o->format);
  int r;

  if (format == NULL)
    return -1;
  if (!(o->flags & BLKRING_CREATE_FORCE)) {
    r = find_valid (device, o);
    if (r != 0)
      return r;
    if (refuse_unless_blank (device) == -1)
      return -1;
  }
  /* Nothing is destroyed for a ring that cannot be made. */
  if (format->create_check (&device->geometry, o) == -1 ||
      wipe_others (device, format) == -1)
    return -1;
  return format->create (device, o);
}

int
blkring_create_check (uint64_t size, uint32_t sector_size,
                      const struct blkring_create_options *options)
{
  static const struct blkring_create_options defaults;
  const struct blkring_create_options *o = options ? options : &defaults;
  const struct format *format = format_by_number (o->format);
  const struct blkring_geometry g = { .size = size,
                                      .sector_size = sector_size };

  return format ? format->create_check (&g, o) : -1;
}

int
blkring_create (blkring_device *device,
                const struct blkring_create_options *options)
{
  static const struct blkring_create_options defaults;
  const struct blkring_create_options *o = options ? options : &defaults;
  int r;

  if (device_refresh (device) == -1 || check_writable (device) == -1)
    return -1;
  /* A ring that is there is kept, also while it is used. */
  if (!(o->flags & BLKRING_CREATE_FORCE)) {
    r = find_valid (device, o);
    if (r != 0)
      return r;
  }
  if (lock_ring (device) == -1)
    return -1;
  r = create_locked (device, o);
  unlock_sides (device);
  return r;
}

/*---------------------------------------------------------------------*/

static void
fill_pattern (unsigned char *buf, size_t size, const unsigned char *pattern,
              size_t length, uint64_t offset)
{
  size_t i, phase = offset % length;

  for (i = 0; i < size; ++i) {
    buf[i] = pattern[phase];
    if (++phase == length)
      phase = 0;
  }
}

static int
overwrite (blkring_device *device, const unsigned char *pattern,
           size_t length, blkring_progress_fn progress, void *opaque)
{
  const uint64_t size = device->geometry.size;
  unsigned char *buf = device_buffer (device, ERASE_CHUNK);
  uint64_t offset, n;
  int r = 0;

  if (buf == NULL)
    return -1;
  for (offset = 0; offset < size && r == 0; offset += n) {
    n = min_u64 (ERASE_CHUNK, size - offset);
    if (offset == 0 || ERASE_CHUNK % length != 0)
      fill_pattern (buf, n, pattern, length, offset);
    r = device_pwrite (device, buf, n, offset);
    if (r == 0 && progress)
      progress (opaque, offset + n, size);
  }
  free (buf);
  return r;
}

int
blkring_erase (blkring_device *device, const void *pattern, size_t length,
               blkring_progress_fn progress, void *opaque)
{
  static const unsigned char zero;
  int r;

  if (pattern == NULL || length == 0) {
    pattern = &zero;
    length = 1;
  }
  if (device_refresh (device) == -1 || lock_ring (device) == -1)
    return -1;
  r = wipe_others (device, NULL);
  if (r == 0)
    r = overwrite (device, pattern, length, progress, opaque);
  if (r == 0)
    r = device_flush (device);
  unlock_sides (device);
  return r;
}
