/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Encode and decode what format 2 has on disk.  Nothing here does I/O.
 *
 * All integers little-endian; every structure ends with a CRC32C over the
 * uuid and the bytes before it.
 *
 *   superblock              record                    frame header
 *     0  8 "blkring2"         0  4 "BRRC"               0  4 "BRFR"
 *     8  4 version, 2         4  4 kind                 4  4 flags
 *    12  4 incompat           8  4 flags                8  8 position
 *    16  4 ro-compat         12  4 chain               16  8 frame epoch
 *    20  4 compat            16  8 owner epoch         24  4 chain
 *    24  4 block size        24  8 sequence            28  4 items
 *    28  4 consumers         32  8 position            32  8 length
 *    32  8 data offset       40  8 frame               40  8 time
 *    40  8 capacity          48  8 frame epoch         48  4 area CRC
 *    48  8 largest frame     56  8 since               52  8 zero
 *    56  8 created           64  8 suspend             60  4 header CRC
 *    64 16 uuid              72  8 time
 *    80 64 label             80  8 process
 *   508  4 CRC               88  8 its start time
 *                            96  8 pid namespace
 *                           104 16 boot id
 *                           120 64 host
 *                           184 128 queue
 *                           312 128 client
 *                           440 16 machine id
 *                           508  4 CRC
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "crc32c.h"
#include "error.h"
#include "format2.h"

#define SUPER_MAGIC "blkring2"
#define RECORD_MAGIC "BRRC"
#define FRAME_MAGIC "BRFR"
#define CRC_OFFSET (F2_CONTENT - 4)

static uint32_t
crc (const unsigned char *uuid, const unsigned char *p, size_t n)
{
  return crc32c_end (crc32c_add (crc32c_begin (uuid), p, n));
}

static void
put_text (unsigned char *to, const char *text, size_t size)
{
  memcpy (to, text, strnlen (text, size));
}

static void
get_text (char *text, const unsigned char *from, size_t size)
{
  memcpy (text, from, size);
  text[size] = '\0';
}

void
f2_encode_super (unsigned char *p, const struct f2_super *s)
{
  memset (p, 0, F2_CONTENT);
  memcpy (p, SUPER_MAGIC, 8);
  put_le32 (p + 8, F2_VERSION);
  put_le32 (p + 12, s->incompat);
  put_le32 (p + 16, s->ro_compat);
  put_le32 (p + 20, s->compat);
  put_le32 (p + 24, s->block_size);
  put_le32 (p + 28, s->consumers);
  put_le64 (p + 32, s->data_offset);
  put_le64 (p + 40, s->capacity);
  put_le64 (p + 48, s->largest_frame);
  put_le64 (p + 56, s->created);
  memcpy (p + 64, s->uuid, 16);
  put_text (p + 80, s->label, F2_LABEL);
  put_le32 (p + CRC_OFFSET, crc (s->uuid, p, CRC_OFFSET));
}

bool
f2_has_magic (const unsigned char *p)
{
  return memcmp (p, SUPER_MAGIC, 8) == 0;
}

bool
f2_decode_super (const unsigned char *p, struct f2_super *s)
{
  if (!f2_has_magic (p) || get_le32 (p + 8) != F2_VERSION ||
      get_le32 (p + CRC_OFFSET) != crc (p + 64, p, CRC_OFFSET))
    return false;
  s->incompat = get_le32 (p + 12);
  s->ro_compat = get_le32 (p + 16);
  s->compat = get_le32 (p + 20);
  s->block_size = get_le32 (p + 24);
  s->consumers = get_le32 (p + 28);
  s->data_offset = get_le64 (p + 32);
  s->capacity = get_le64 (p + 40);
  s->largest_frame = get_le64 (p + 48);
  s->created = get_le64 (p + 56);
  memcpy (s->uuid, p + 64, 16);
  get_text (s->label, p + 80, F2_LABEL);
  return true;
}

void
f2_encode_record (unsigned char *p, const unsigned char *uuid, unsigned kind,
                  const struct f2_record *r)
{
  memset (p, 0, F2_CONTENT);
  memcpy (p, RECORD_MAGIC, 4);
  put_le32 (p + 4, kind);
  put_le32 (p + 8, r->flags);
  put_le32 (p + 12, r->chain);
  put_le64 (p + 16, r->epoch);
  put_le64 (p + 24, r->sequence);
  put_le64 (p + 32, r->position);
  put_le64 (p + 40, r->frame);
  put_le64 (p + 48, r->frame_epoch);
  put_le64 (p + 56, r->since);
  put_le64 (p + 64, r->suspend);
  put_le64 (p + 72, r->time);
  put_le64 (p + 80, r->owner.pid);
  put_le64 (p + 88, r->owner.start_time);
  put_le64 (p + 96, r->owner.pid_namespace);
  memcpy (p + 104, r->owner.boot_id, 16);
  put_text (p + 120, r->owner.host, 64);
  put_text (p + 184, r->queue, F2_NAME);
  put_text (p + 312, r->client, F2_NAME);
  memcpy (p + 440, r->owner.machine_id, 16);
  put_le32 (p + CRC_OFFSET, crc (uuid, p, CRC_OFFSET));
}

bool
f2_decode_record (const unsigned char *p, const unsigned char *uuid,
                  unsigned kind, struct f2_record *r)
{
  if (memcmp (p, RECORD_MAGIC, 4) != 0 || get_le32 (p + 4) != kind ||
      get_le32 (p + CRC_OFFSET) != crc (uuid, p, CRC_OFFSET))
    return false;
  r->flags = get_le32 (p + 8);
  r->chain = get_le32 (p + 12);
  r->epoch = get_le64 (p + 16);
  r->sequence = get_le64 (p + 24);
  r->position = get_le64 (p + 32);
  r->frame = get_le64 (p + 40);
  r->frame_epoch = get_le64 (p + 48);
  r->since = get_le64 (p + 56);
  r->suspend = get_le64 (p + 64);
  r->time = get_le64 (p + 72);
  r->owner.pid = get_le64 (p + 80);
  r->owner.start_time = get_le64 (p + 88);
  r->owner.pid_namespace = get_le64 (p + 96);
  memcpy (r->owner.boot_id, p + 104, 16);
  get_text (r->owner.host, p + 120, 64);
  get_text (r->queue, p + 184, F2_NAME);
  get_text (r->client, p + 312, F2_NAME);
  memcpy (r->owner.machine_id, p + 440, 16);
  return true;
}

/* 'p' has the header and the item area behind it. */
void
f2_encode_frame (unsigned char *p, const unsigned char *uuid,
                 struct f2_frame *f)
{
  f->area_crc = crc (uuid, p + F2_HEADER, f->length);
  memset (p, 0, F2_HEADER);
  memcpy (p, FRAME_MAGIC, 4);
  put_le32 (p + 4, f->flags);
  put_le64 (p + 8, f->position);
  put_le64 (p + 16, f->epoch);
  put_le32 (p + 24, f->chain);
  put_le32 (p + 28, f->items);
  put_le64 (p + 32, f->length);
  put_le64 (p + 40, f->time);
  put_le32 (p + 48, f->area_crc);
  f->crc = crc (uuid, p, F2_HEADER - 4);
  put_le32 (p + F2_HEADER - 4, f->crc);
}

bool
f2_decode_frame (const unsigned char *p, const struct ring *ring,
                 uint64_t position, struct f2_frame *f)
{
  if (memcmp (p, FRAME_MAGIC, 4) != 0)
    return false;
  f->crc = get_le32 (p + F2_HEADER - 4);
  if (f->crc != crc (ring->uuid, p, F2_HEADER - 4))
    return false;
  f->flags = get_le32 (p + 4);
  f->position = get_le64 (p + 8);
  f->epoch = get_le64 (p + 16);
  f->chain = get_le32 (p + 24);
  f->items = get_le32 (p + 28);
  f->length = get_le64 (p + 32);
  f->time = get_le64 (p + 40);
  f->area_crc = get_le32 (p + 48);
  return f->position == position && f->items > 0 &&
    f->length >= 4 * (uint64_t) f->items && f->length % 4 == 0 &&
    f->length <= ring->largest_frame - F2_HEADER;
}

bool
f2_continues (const struct f2_frame *f, uint32_t chain)
{
  return f->chain == chain;
}

bool
f2_area_is_valid (const unsigned char *p, const struct ring *ring,
                  const struct f2_frame *f)
{
  return crc (ring->uuid, p + F2_HEADER, f->length) == f->area_crc;
}

uint64_t
f2_frame_size (const struct ring *ring, uint64_t length)
{
  return round_up (F2_HEADER + length, ring->block_size);
}

uint64_t
f2_item_size (uint64_t length)
{
  return round_up (4 + length, 4);
}

int
f2_item_length (const unsigned char *area, const struct f2_frame *f,
                uint64_t offset, uint32_t *length)
{
  const uint64_t at = f->position + F2_HEADER + offset;

  if (offset + 4 > f->length)
    return set_corrupt (at, "the frame at position %" PRIu64 " has no item "
                        "at %" PRIu64, f->position, at);
  *length = get_le32 (area + offset);
  if (f2_item_size (*length) > f->length - offset)
    return set_corrupt (at, "item at position %" PRIu64 " has length %"
                        PRIu32 ", which is not in its frame of %" PRIu64
                        " bytes", at, *length, f->length);
  return 0;
}
