/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2: is it here, make one, wipe it; and the table of all that it
 * does.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "error.h"
#include "format1.h"
#include "format2.h"

static bool
is_block_size (uint64_t b)
{
  return b >= F2_MIN_BLOCK && b <= F2_MAX_BLOCK && (b & (b - 1)) == 0;
}

static int
check_block_size (const struct blkring_geometry *g, uint64_t b)
{
  if (!is_block_size (b))
    return set_error (EINVAL, "block size of %" PRIu64 " bytes: a power of "
                      "two from %u to %u is needed", b, F2_MIN_BLOCK,
                      F2_MAX_BLOCK);
  if (b < g->sector_size)
    return set_error (EINVAL, "block size of %" PRIu64 " bytes, but the "
                      "device has sectors of %" PRIu32 " bytes", b,
                      g->sector_size);
  return 0;
}

/* What a superblock says must be possible, whatever its CRC. */
static int
check_super (const blkring_device *device, const struct f2_super *s)
{
  const uint64_t meta = f2_record_offset (F2_CONSUMER, 0) +
    2 * (uint64_t) s->consumers * F2_SLOT;
  const uint64_t b = s->block_size;

  if (s->incompat != 0)
    return set_error (ENOTSUP, "the ring needs features (%#" PRIx32 ") that "
                      "this version does not know", s->incompat);
  if (!is_block_size (b))
    return set_corrupt (0, "the superblock at byte 0 has an impossible block "
                        "size of %" PRIu64 " bytes", b);
  if (check_block_size (&device->geometry, b) == -1)
    return -1;
  if (s->consumers < 1 || s->consumers > F2_MAX_CONSUMERS ||
      s->data_offset < meta || s->data_offset % b != 0 ||
      s->data_offset > INT64_MAX / 2 || s->capacity < b ||
      s->capacity % b != 0 || s->capacity > INT64_MAX / 4 ||
      s->largest_frame < b || s->largest_frame % b != 0 ||
      s->largest_frame > min_u64 (s->capacity, F2_MAX_FRAME))
    return set_corrupt (0, "the superblock at byte 0 has impossible sizes: "
                        "%" PRIu32 " consumers, data offset %" PRIu64
                        ", capacity %" PRIu64 ", largest frame %" PRIu64,
                        s->consumers, s->data_offset, s->capacity,
                        s->largest_frame);
  if (s->data_offset + s->capacity > device->geometry.size)
    return set_error (EINVAL, "the device has shrunk: the ring was made with "
                      "%" PRIu64 " bytes, and the device has %" PRIu64
                      ": nothing is damaged, give it back its size",
                      s->data_offset + s->capacity, device->geometry.size);
  return 0;
}

/* The superblock, or its copy: 1; 0: this is not format 2; -1. */
static int
read_super (blkring_device *device, struct f2_super *s)
{
  const uint64_t size = F2_SLOT + max_u64 (F2_CONTENT,
                                           device->geometry.sector_size);
  unsigned char *p;
  int r = 0;

  /* Nor does it fit sectors larger than a slot. */
  if (device->geometry.size < size || size > 2 * F2_SLOT)
    return 0;
  p = device_buffer (device, size);
  if (p == NULL)
    return -1;
  if (device_pread (device, p, size, 0) == -1)
    r = -1;
  /* In a ring of format 1 the place of the copy is in the data area, and
   * holds what somebody has pushed. */
  else if (f1_is_signature (p))
    r = 0;
  else if (f2_decode_super (p, s) || f2_decode_super (p + F2_SLOT, s))
    r = 1;
  else if (f2_has_magic (p) || f2_has_magic (p + F2_SLOT))
    r = set_corrupt (0, "the superblock at byte 0 and its copy at byte %u "
                     "are both damaged, or of a later version", F2_SLOT);
  free (p);
  return r;
}

static int
f2_probe (blkring_device *device, uint32_t sector_size, struct ring *ring)
{
  struct f2_super s;
  int r = read_super (device, &s);

  (void) sector_size;
  if (r != 1)
    return r;
  if (check_super (device, &s) == -1)
    return -1;
  *ring = (struct ring) {
    .device = device,
    .format = &format2,
    .sector_size = max_u64 (device->geometry.sector_size, F2_CONTENT),
    .data_offset = s.data_offset,
    .capacity = s.capacity,
    .largest_item = s.largest_frame - F2_HEADER - 4,
    .block_size = s.block_size,
    .consumers = s.consumers,
    .largest_frame = s.largest_frame,
    .created = s.created,
    .features = { s.incompat, s.ro_compat, s.compat },
    .read_only = s.ro_compat != 0,
  };
  memcpy (ring->uuid, s.uuid, sizeof ring->uuid);
  memcpy (ring->label, s.label, sizeof ring->label);
  return 1;
}

/*---------------------------------------------------------------------*/

static int
plan (const struct blkring_geometry *g,
      const struct blkring_create_options *o, struct f2_super *s)
{
  const uint64_t b = o->block_size ? o->block_size : F2_DEFAULT_BLOCK;

  memset (s, 0, sizeof *s);
  s->consumers = o->consumers ? o->consumers : 1;
  if (s->consumers > F2_MAX_CONSUMERS)
    return set_error (EINVAL, "%" PRIu32 " consumers: at most %u are "
                      "possible", s->consumers, F2_MAX_CONSUMERS);
  if (check_block_size (g, b) == -1)
    return -1;
  if (g->sector_size > F2_SLOT)
    return set_error (EINVAL, "the device has sectors of %" PRIu32 " bytes, "
                      "more than the %u that format 2 can use",
                      g->sector_size, F2_SLOT);
  if (o->label && strlen (o->label) > F2_LABEL)
    return set_error (EINVAL, "the label has %zu bytes, at most %u are "
                      "possible", strlen (o->label), F2_LABEL);
  s->block_size = b;
  s->data_offset = round_up (f2_record_offset (F2_CONSUMER, 0) +
                             2 * (uint64_t) s->consumers * F2_SLOT, b);
  if (g->size < s->data_offset + b)
    return set_error (EINVAL, "size of %" PRIu64 " bytes is too small for a "
                      "ring of format 2: the smallest is %" PRIu64 " bytes "
                      "with blocks of %" PRIu64 " bytes and %" PRIu32
                      " consumers (format 1 needs less)", g->size,
                      s->data_offset + b, b, s->consumers);
  s->capacity = round_down (g->size - s->data_offset, b);
  s->largest_frame = o->largest_frame;
  if (s->largest_frame == 0)
    s->largest_frame = min_u64 (F2_DEFAULT_FRAME, s->capacity);
  if (s->largest_frame % b != 0 || s->largest_frame < b ||
      s->largest_frame > min_u64 (s->capacity, F2_MAX_FRAME))
    return set_error (EINVAL, "largest frame of %" PRIu64 " bytes: a multiple"
                      " of the block size of %" PRIu64 ", and at most %"
                      PRIu64 ", is possible", s->largest_frame, b,
                      min_u64 (s->capacity, F2_MAX_FRAME));
  if (o->label)
    strcpy (s->label, o->label);
  return 0;
}

static int
f2_create_check (const struct blkring_geometry *g,
                 const struct blkring_create_options *o)
{
  struct f2_super s;

  return plan (g, o, &s);
}

static int
make_identity (struct f2_super *s)
{
  s->created = f2_wall_clock ();
  if (getrandom (s->uuid, sizeof s->uuid, 0) != sizeof s->uuid)
    return set_errno_error (errno, "cannot make a uuid");
  s->uuid[6] = (s->uuid[6] & 0x0f) | 0x40; /* RFC 4122: random */
  s->uuid[8] = (s->uuid[8] & 0x3f) | 0x80;
  return 0;
}

static int
write_records (blkring_device *device, const struct f2_super *s,
               unsigned char *p, size_t size)
{
  struct f2_record r;
  unsigned kind, copy;

  for (kind = 0; kind < F2_CONSUMER + s->consumers; ++kind)
    for (copy = 0; copy < 2; ++copy) {
      memset (&r, 0, sizeof r);
      r.flags = kind == F2_PRODUCER ? F2_CLEAN
        : kind == F2_CONTROL ? 0 : F2_CLEAN | F2_ENABLED;
      r.sequence = copy;
      r.time = s->created;
      memset (p, 0, size);
      f2_encode_record (p, s->uuid, kind, &r);
      if (device_pwrite (device, p, size, f2_record_offset (kind, copy))
          == -1)
        return -1;
    }
  return device_flush (device);
}

/* A flush between: a crash in the middle leaves no ring rather than half a
 * ring. */
static int
write_all (blkring_device *device, const struct f2_super *s)
{
  const size_t size = max_u64 (F2_CONTENT, device->geometry.sector_size);
  unsigned char *p = device_buffer (device, size);
  int r;

  if (p == NULL)
    return -1;
  memset (p, 0, size);
  r = device_pwrite (device, p, size, 0);
  if (r == 0)
    r = device_pwrite (device, p, size, F2_SLOT);
  if (r == 0)
    r = device_flush (device);
  if (r == 0)
    r = write_records (device, s, p, size);
  if (r == 0) {
    memset (p, 0, size);
    f2_encode_super (p, s);
    r = device_pwrite (device, p, size, 0);
  }
  if (r == 0)
    r = device_pwrite (device, p, size, F2_SLOT);
  if (r == 0)
    r = device_flush (device);
  free (p);
  return r;
}

static int
f2_create (blkring_device *device, const struct blkring_create_options *o)
{
  struct f2_super s;

  if (plan (&device->geometry, o, &s) == -1 || make_identity (&s) == -1)
    return -1;
  return write_all (device, &s);
}

/* Both slots, where they hold a superblock, valid or not. */
static int
f2_wipe (blkring_device *device)
{
  const size_t size = max_u64 (F2_CONTENT, device->geometry.sector_size);
  unsigned char *p;
  unsigned slot;
  int r = 0;

  if (device->geometry.size < F2_SLOT + size || size > F2_SLOT)
    return 0;
  p = device_buffer (device, size);
  if (p == NULL)
    return -1;
  for (slot = 0; slot < 2 && r == 0; ++slot) {
    r = device_pread (device, p, size, slot * F2_SLOT);
    if (r == 0 && f2_has_magic (p)) {
      memset (p, 0, size);
      r = device_pwrite (device, p, size, slot * F2_SLOT);
      if (r == 0)
        r = device_flush (device);
    }
  }
  free (p);
  return r;
}

const struct format format2 = {
  .number = 2,
  .request_apart = true,
  .probe = f2_probe,
  .create_check = f2_create_check,
  .create = f2_create,
  .wipe = f2_wipe,
  .producer_open = f2_producer_open,
  .producer_close = f2_producer_close,
  .producer_look = f2_producer_look,
  .measure = f2_measure,
  .write = f2_write,
  .expose = f2_expose,
  .acknowledge = f2_acknowledge,
  .full = f2_full,
  .consumer_open = f2_consumer_open,
  .consumer_close = f2_consumer_close,
  .consumer_look = f2_consumer_look,
  .read = f2_read,
  .has_item = f2_has_item,
  .is_boundary = f2_is_boundary,
  .free_to = f2_free_to,
  .request = f2_request,
  .texts = f2_texts,
  .debug = f2_debug,
  .inspect = f2_inspect,
  .check = f2_check,
  .map = f2_map,
  .enable = f2_enable,
  .repair = f2_repair,
};
