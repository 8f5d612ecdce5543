/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 1, compatible with MirageOS shared-block-ring: is it here, make
 * one, wipe it; and the table of all that it does.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format1.h"
#include "lock.h"

static int
check_sector_size (const struct blkring_geometry *g, uint32_t s)
{
  if (s != 512 && s != 4096)
    return set_error (EINVAL, "sector size of %" PRIu32 " bytes: format 1 "
                      "knows 512 and 4096", s);
  if (s < g->sector_size)
    return set_error (EINVAL, "sector size of %" PRIu32 " bytes, but the "
                      "device has sectors of %" PRIu32 " bytes",
                      s, g->sector_size);
  return 0;
}

static int
check_size (const struct blkring_geometry *g, uint32_t s, int err)
{
  if (g->size % s != 0)
    return set_error (err, "size of %" PRIu64 " bytes is not a multiple "
                      "of the sector size of %" PRIu32 " bytes: the nearest "
                      "are %" PRIu64 " and %" PRIu64, g->size, s,
                      g->size / s * s, (g->size / s + 1) * s);
  if (g->size < F1_MIN_SECTORS * (uint64_t) s)
    return set_error (err, "size of %" PRIu64 " bytes is too small for a "
                      "ring: the smallest is %u sectors, %" PRIu64 " bytes",
                      g->size, F1_MIN_SECTORS, F1_MIN_SECTORS * (uint64_t) s);
  return 0;
}

/* The sector size is not on disk: it is the one by which both pointer
 * sectors decode.  With 512 the consumer sector of a 4096 ring looks like
 * zeros. */
static bool
flags_fit (const unsigned char *head, size_t size, uint32_t s)
{
  struct f1_pointer v;

  return 3 * (size_t) s <= size &&
    f1_decode_pointer (head + s, SIDE_PRODUCER, s, &v) == 0 &&
    f1_decode_pointer (head + 2 * s, SIDE_CONSUMER, 2 * s, &v) == 0;
}

/* With sectors of 4096 the signature is followed by zeros where a ring of
 * 512 has its pointers.  Else what lies at 4096 and 8192 may be payload. */
static bool
rest_is_zero (const unsigned char *head)
{
  size_t i;

  for (i = 512; i < 4096; ++i)
    if (head[i] != 0)
      return false;
  return true;
}

/* No sector size fits both pointer sectors: take the one of which at
 * least one flag byte fits, so that the error can say what is wrong. */
static uint32_t
guess_sector_size (const unsigned char *head, size_t size, uint32_t smallest)
{
  if (size < 3 * 4096)
    return 512;
  if (smallest > 512 || head[4096 + 8] == 1 || head[4096 + 8] == 2 ||
      head[8192 + 8] == 1 || head[8192 + 8] == 2) {
    if (smallest <= 512 && (head[512 + 8] == 1 || head[512 + 8] == 2 ||
                            head[1024 + 8] == 1 || head[1024 + 8] == 2))
      return 512;
    return 4096;
  }
  return 512;
}

static int
f1_probe (blkring_device *device, uint32_t sector_size, struct ring *ring)
{
  const struct blkring_geometry *g = &device->geometry;
  size_t size = min_u64 (round_down (g->size, g->sector_size), 3 * 4096);
  unsigned char *head;
  uint32_t s = sector_size;

  /* Larger sectors than format 1 knows: there cannot be one. */
  if (size < F1_MAGIC_LENGTH || g->sector_size > 4096)
    return 0;
  head = device_buffer (device, size);
  if (head == NULL)
    return -1;
  if (device_pread (device, head, size, 0) == -1) {
    free (head);
    return -1;
  }
  if (!f1_is_signature (head)) {
    free (head);
    return 0;
  }
  if (s == 0) {
    if (g->sector_size <= 512 && flags_fit (head, size, 512))
      s = 512;
    else if (flags_fit (head, size, 4096) && rest_is_zero (head))
      s = 4096;
    else
      s = guess_sector_size (head, size, g->sector_size);
  }
  if (flags_fit (head, size, 512) && (g->sector_size > 512 || s == 4096)) {
    free (head);
    return set_error (EINVAL, "this ring has sectors of 512 bytes, and %s",
                      g->sector_size > 512 ? "the device larger ones: "
                      "nothing is damaged" : "not of 4096");
  }
  free (head);
  /* Without a sector size of the caller's the fault is the device's. */
  if (check_sector_size (g, s) == -1 ||
      check_size (g, s, sector_size ? EINVAL : EBADMSG) == -1)
    return -1;

  memset (ring, 0, sizeof *ring);
  ring->device = device;
  ring->format = &format1;
  ring->consumers = 1;
  ring->sector_size = s;
  ring->data_offset = F1_DATA_SECTOR * (uint64_t) s;
  ring->capacity = g->size - ring->data_offset;
  ring->largest_item = min_u64 (ring->capacity - F1_HEADER,
                                F1_LARGEST_LENGTH);
  return 1;
}

static uint32_t
default_sector_size (const struct blkring_geometry *g)
{
  return max_u64 (g->sector_size, 512);
}

/* A flush after each: a crash in the middle leaves no ring rather than
 * half a ring. */
static int
write_head (blkring_device *device, unsigned char *sector, uint32_t s)
{
  static const struct f1_pointer none;

  memset (sector, 0, s);
  if (device_pwrite (device, sector, s, 0) == -1 ||
      device_flush (device) == -1)
    return -1;
  f1_encode_pointer (sector, s, SIDE_PRODUCER, &none, NULL, NULL);
  if (device_pwrite (device, sector, s, s) == -1 ||
      device_flush (device) == -1)
    return -1;
  f1_encode_pointer (sector, s, SIDE_CONSUMER, &none, NULL, NULL);
  if (device_pwrite (device, sector, s, 2 * s) == -1 ||
      device_flush (device) == -1)
    return -1;
  f1_encode_signature (sector, s);
  if (device_pwrite (device, sector, s, 0) == -1)
    return -1;
  return device_flush (device);
}

static int
f1_create_check (const struct blkring_geometry *g,
                 const struct blkring_create_options *o)
{
  uint32_t s = o->sector_size ? o->sector_size : default_sector_size (g);

  return check_sector_size (g, s) == -1 ? -1 : check_size (g, s, EINVAL);
}

static int
f1_create (blkring_device *device, const struct blkring_create_options *o)
{
  uint32_t s = o->sector_size ? o->sector_size
    : default_sector_size (&device->geometry);
  unsigned char *sector;
  int r;

  sector = device_buffer (device, s);
  if (sector == NULL)
    return -1;
  r = write_head (device, sector, s);
  free (sector);
  return r;
}

static int
f1_wipe (blkring_device *device)
{
  uint32_t s = default_sector_size (&device->geometry);
  unsigned char *sector;
  int r;

  if (device->geometry.size < s)
    return 0;
  sector = device_buffer (device, s);
  if (sector == NULL)
    return -1;
  memset (sector, 0, s);
  r = device_pwrite (device, sector, s, 0);
  if (r == 0)
    r = device_flush (device);
  free (sector);
  return r;
}

const struct format format1 = {
  .number = 1,
  .probe = f1_probe,
  .create_check = f1_create_check,
  .create = f1_create,
  .wipe = f1_wipe,
  .producer_open = f1_producer_open,
  .producer_close = f1_producer_close,
  .producer_look = f1_producer_look,
  .measure = f1_measure,
  .write = f1_write,
  .expose = f1_expose,
  .acknowledge = f1_acknowledge,
  .consumer_open = f1_consumer_open,
  .consumer_close = f1_consumer_close,
  .consumer_look = f1_consumer_look,
  .read = f1_read,
  .has_item = f1_has_item,
  .is_boundary = f1_is_boundary,
  .free_to = f1_free_to,
  .request = f1_request,
  .texts = f1_texts,
  .debug = f1_debug,
  .inspect = f1_inspect,
  .check = f1_check,
  .map = f1_map,
  .repair = f1_repair,
};
