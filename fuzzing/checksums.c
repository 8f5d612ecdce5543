/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See images.h.  This writes what lib/format2-layout.c decodes, by the
 * offsets in docs/format2.md.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"
#include "format2.h"
#include "images.h"

#define MOST_FRAMES 4096

struct image {
  unsigned char *p;
  size_t size;
  unsigned char uuid[16];
  uint64_t block, data, capacity;
  unsigned consumers;
};

static uint32_t
crc (const struct image *i, const unsigned char *p, size_t n)
{
  return crc32c_end (crc32c_add (crc32c_begin (i->uuid), p, n));
}

static void
fix_content (const struct image *i, unsigned char *p)
{
  put_le32 (p + F2_CONTENT - 4, crc (i, p, F2_CONTENT - 4));
}

static unsigned char *
record (const struct image *i, unsigned kind, unsigned copy)
{
  return i->p + f2_record_offset (kind, copy);
}

/* What is known at a position of the stream: whoever stands there has this
 * chain. */
static void
set_chain (const struct image *i, uint64_t position, uint32_t chain)
{
  unsigned kind, copy;
  unsigned char *r;

  for (kind = 0; kind < F2_CONSUMER + i->consumers; ++kind)
    for (copy = 0; copy < 2; ++copy) {
      r = record (i, kind, copy);
      if (memcmp (r, "BRRC", 4) == 0 && kind != F2_CONTROL &&
          get_le64 (r + (kind == F2_PRODUCER ? 32 : 40)) == position)
        put_le32 (r + 12, chain);
    }
}

static void
fix_records (const struct image *i)
{
  unsigned kind, copy;
  unsigned char *r;

  for (kind = 0; kind < F2_CONSUMER + i->consumers; ++kind)
    for (copy = 0; copy < 2; ++copy) {
      r = record (i, kind, copy);
      if (memcmp (r, "BRRC", 4) == 0)
        fix_content (i, r);
    }
}

/* The copy of a record that counts; NULL where none has the magic. */
static const unsigned char *
newest (const struct image *i, unsigned kind)
{
  const unsigned char *r[2] = { record (i, kind, 0), record (i, kind, 1) };
  const bool is[2] = { memcmp (r[0], "BRRC", 4) == 0,
                       memcmp (r[1], "BRRC", 4) == 0 };
  uint64_t a, b;

  if (!is[0] || !is[1])
    return is[0] ? r[0] : is[1] ? r[1] : NULL;
  a = get_le64 (r[0] + 16);
  b = get_le64 (r[1] + 16);
  if (a == b) {
    a = get_le64 (r[0] + 24);
    b = get_le64 (r[1] + 24);
  }
  return b > a ? r[1] : r[0];
}

/* The oldest frame, as the consumers' records say. */
static uint64_t
oldest (const struct image *i, uint32_t *chain)
{
  uint64_t lowest = UINT64_MAX, frame;
  const unsigned char *r;
  unsigned kind;

  for (kind = F2_CONSUMER; kind < F2_CONSUMER + i->consumers; ++kind) {
    r = newest (i, kind);
    frame = r ? get_le64 (r + 40) : UINT64_MAX;
    if (frame < lowest && get_le32 (r + 8) & F2_ENABLED) {
      lowest = frame;
      *chain = get_le32 (r + 12);
    }
  }
  return lowest;
}

static unsigned char *
at (const struct image *i, uint64_t position)
{
  return i->p + i->data + position % i->capacity;
}

/* CRC of a part of the stream. */
static uint32_t
stream_crc (const struct image *i, uint64_t position, uint64_t n)
{
  const uint64_t first = min_u64 (n, i->capacity - position % i->capacity);
  uint32_t state = crc32c_begin (i->uuid);

  state = crc32c_add (state, at (i, position), first);
  return crc32c_end (crc32c_add (state, i->p + i->data, n - first));
}

static void
fix_frames (const struct image *i)
{
  uint32_t chain = 0;
  uint64_t position = oldest (i, &chain), length;
  unsigned n;
  unsigned char *f;

  if (position % i->block != 0 || position > INT64_MAX)
    return;
  for (n = 0; n < MOST_FRAMES; ++n) {
    f = at (i, position);
    if (memcmp (f, "BRFR", 4) != 0 || get_le64 (f + 8) != position)
      return;
    length = get_le64 (f + 32);
    put_le32 (f + 24, chain);
    if (length <= i->capacity - F2_HEADER)
      put_le32 (f + 48, stream_crc (i, position + F2_HEADER, length));
    chain = crc (i, f, F2_HEADER - 4);
    put_le32 (f + F2_HEADER - 4, chain);
    if (length > i->capacity - F2_HEADER)
      return;
    position += round_up (F2_HEADER + length, i->block);
    set_chain (i, position, chain);
  }
}

/* Are the numbers of the superblock such that one can go on? */
static bool
is_possible (const struct image *i)
{
  return i->consumers >= 1 && i->consumers <= F2_MAX_CONSUMERS &&
    i->block >= F2_MIN_BLOCK && i->block <= F2_MAX_BLOCK &&
    (i->block & (i->block - 1)) == 0 && i->capacity >= i->block &&
    i->capacity % i->block == 0 && i->data <= i->size &&
    i->capacity <= i->size - i->data &&
    f2_record_offset (F2_CONSUMER + i->consumers, 0) <= i->size;
}

void
fix_checksums (unsigned char *image, size_t size)
{
  struct image i = { .p = image, .size = size };
  const unsigned char *super = NULL;
  unsigned slot;

  for (slot = 2; slot-- > 0;)
    if (size >= slot * F2_SLOT + F2_CONTENT &&
        f2_has_magic (image + slot * F2_SLOT)) {
      super = image + slot * F2_SLOT;
      memcpy (i.uuid, super + 64, 16);
      fix_content (&i, image + slot * F2_SLOT);
    }
  if (super == NULL)
    return;
  i.block = get_le32 (super + 24);
  i.consumers = get_le32 (super + 28);
  i.data = get_le64 (super + 32);
  i.capacity = get_le64 (super + 40);
  if (!is_possible (&i))
    return;
  fix_frames (&i);
  fix_records (&i);
}
