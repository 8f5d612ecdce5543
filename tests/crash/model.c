/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the ring has promised; see model.h.  The sizes of items and frames
 * are worked out here from docs/format1.md and docs/format2.md, not by the
 * library.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "model.h"

#define NOISE 8192
#define LARGEST 65536

static unsigned char noise[NOISE + LARGEST];

static void
make_noise (void)
{
  size_t i;

  if (noise[0] == 1)
    return;
  for (i = 0; i < sizeof noise; ++i)
    noise[i] = mix (i + 1);
  noise[0] = 1;
}

const void *
item_content (uint32_t id)
{
  return noise + mix (id + 1) % NOISE;
}

bool
item_is (const struct item *item, const void *data, size_t length)
{
  return item->length == length &&
    (length == 0 || memcmp (data, item_content (item->id), length) == 0);
}

void
model_init (struct model *m, const struct shape *shape, uint64_t position)
{
  make_noise ();
  memset (m, 0, sizeof *m);
  m->shape = *shape;
  m->tail = m->planned_tail = position;
  bounds_set (&m->ends, 0);
  bounds_set (&m->firsts, 0);
  m->states = STATE (BLKRING_RUNNING);
}

struct item *
model_item (struct model *m, unsigned number)
{
  return &m->items[number % MODEL_ITEMS];
}

const struct item *
model_get (const struct model *m, unsigned number)
{
  return &m->items[number % MODEL_ITEMS];
}

static uint64_t
padded (uint64_t length)
{
  return (4 + length + 3) / 4 * 4;
}

uint64_t
model_plan (struct model *m, const size_t *lengths, unsigned nr)
{
  const uint64_t header = m->shape.format == 1 ? 0 : 64;
  uint64_t sum = header;
  struct item *item;
  unsigned i;

  for (i = 0; i < nr; ++i) {
    item = model_item (m, m->pushed + i);
    item->id = m->next_id++;
    item->length = lengths[i];
    item->position = m->tail + (i == 0 ? 0 : sum);
    item->frame = header ? m->tail : item->position;
    sum += padded (lengths[i]);
  }
  if (header)
    sum = (sum + m->shape.block - 1) / m->shape.block * m->shape.block;
  m->planned = m->pushed + nr;
  m->planned_tail = m->tail + sum;
  return sum <= m->shape.capacity ? sum : 0;
}

void
model_pushed (struct model *m)
{
  m->pushed = m->planned;
  m->tail = m->planned_tail;
}

void
model_drop (struct model *m, unsigned number)
{
  m->tail = m->planned_tail = model_space (m, number);
  m->pushed = m->planned = number;
}

uint64_t
model_space (const struct model *m, unsigned number)
{
  return number < m->planned ? model_get (m, number)->frame
    : m->planned_tail;
}

unsigned
model_last_frame (const struct model *m, unsigned number)
{
  const uint64_t frame = model_get (m, number - 1)->frame;

  while (number > 0 && model_get (m, number - 1)->frame == frame)
    number--;
  return number;
}

uint64_t
model_position (const struct model *m, unsigned number)
{
  return number < m->planned ? model_get (m, number)->position
    : m->planned_tail;
}

/*---------------------------------------------------------------------*/

void
bounds_set (struct bounds *b, unsigned at)
{
  b->nr = 1;
  b->at[0] = at;
}

bool
bounds_have (const struct bounds *b, unsigned at)
{
  unsigned i;

  for (i = 0; i < b->nr; ++i)
    if (b->at[i] == at)
      return true;
  return false;
}

void
bounds_add (struct bounds *b, unsigned at)
{
  unsigned i;

  if (bounds_have (b, at))
    return;
  if (b->nr == MODEL_BOUNDS)
    abort ();
  for (i = b->nr++; i > 0 && b->at[i - 1] > at; --i)
    b->at[i] = b->at[i - 1];
  b->at[i] = at;
}

void
bounds_remove (struct bounds *b, unsigned i)
{
  memmove (b->at + i, b->at + i + 1, (--b->nr - i) * sizeof b->at[0]);
}

unsigned
bounds_min (const struct bounds *b)
{
  return b->at[0];
}

unsigned
bounds_max (const struct bounds *b)
{
  return b->at[b->nr - 1];
}

/*---------------------------------------------------------------------*/

void
model_acknowledge (struct model *m)
{
  if (m->states & STATE (BLKRING_SUSPEND_REQUESTED))
    m->states |= STATE (BLKRING_SUSPENDED);
  if (m->states & STATE (BLKRING_RESUME_REQUESTED))
    m->states |= STATE (BLKRING_RUNNING);
}

static uint64_t
add (uint64_t hash, uint64_t v)
{
  return mix (hash * UINT64_C (0x9e3779b97f4a7c15) + v + 1);
}

uint64_t
model_hash (const struct model *m)
{
  uint64_t hash = m->states | m->no_ring << 8 | m->new_ring << 9 |
    m->one_super << 10 | m->clean[0] << 11 | m->clean[1] << 12 |
    m->lost << 13 | m->went_back << 14 | m->late_data << 15 | m->late << 16;
  const unsigned first = bounds_min (&m->firsts);
  const struct item *item;
  unsigned i;

  hash = add (add (hash, m->epoch[0]), m->epoch[1]);
  for (i = 0; i < m->firsts.nr; ++i)
    hash = add (hash, m->firsts.at[i] - first);
  for (i = 0; i < m->ends.nr; ++i)
    hash = add (hash, m->ends.at[i] - first);
  for (i = first; i < bounds_max (&m->ends); ++i) {
    item = model_get (m, i);
    hash = add (hash, (uint64_t) item->id << 32 | item->length);
  }
  return hash;
}
