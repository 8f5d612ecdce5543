/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: how the formats lay out a file, as far as the bare loops
 * must know to write what the ring writes.
 */

#include <config.h>

#include "bench.h"

#define SLOT 4096            /* of format 2 */

static size_t
item_size (size_t length)
{
  return (length + 4 + 3) / 4 * 4;
}

/* Sectors for signature and pointers, then items without a gap. */
static void
find_layout1 (const struct test *t, struct layout *l)
{
  *l = (struct layout) {
    .producer = SECTOR, .consumer = 2 * SECTOR, .data = 3 * SECTOR,
    .capacity = RING_SIZE - 3 * SECTOR, .item = item_size (t->length),
    .unit = SECTOR, .pointer = true,
  };
}

/* Two slots each for superblock, producer, control and consumer, then
 * frames of whole blocks. */
static void
find_layout2 (const struct test *t, struct layout *l)
{
  const uint64_t b = t->block_size;
  const uint64_t data = (8 * SLOT + b - 1) / b * b;

  *l = (struct layout) {
    .producer = 2 * SLOT, .consumer = 6 * SLOT, .data = data,
    .capacity = (RING_SIZE - data) / b * b, .header = 64,
    .item = item_size (t->length), .unit = b,
  };
}

void
find_layout (const struct test *t, struct layout *l)
{
  if (t->format == 1)
    find_layout1 (t, l);
  else
    find_layout2 (t, l);
}
