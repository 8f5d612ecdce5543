/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The rings that workloads begin with: of each size, with the tail at each
 * alignment that matters, and empty, partly full, nearly full and full.
 * They have been around once, so that there are old bytes everywhere.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "start.h"

#define F1_DATA 3            /* sectors before the data area */
#define F2_DATA 64

static enum region
region1 (uint64_t offset)
{
  static const enum region regions[] = { HEAD, PRODUCER, CONSUMER };

  return offset / SECTOR < F1_DATA ? regions[offset / SECTOR] : DATA;
}

static enum region
region2 (uint64_t offset)
{
  static const enum region regions[] = {
    HEAD, HEAD, PRODUCER, PRODUCER, CONTROL, CONTROL, CONSUMER, CONSUMER
  };

  return offset / 4096 < 8 ? regions[offset / 4096] : DATA;
}

enum region
(*start_region (const struct start *s)) (uint64_t offset)
{
  return s->format == 1 ? region1 : region2;
}

size_t
start_disk_size (const struct start *s)
{
  return ((s->format == 1 ? F1_DATA : F2_DATA) + s->sectors) * SECTOR;
}

void
start_describe (const struct start *s, char *text, size_t size)
{
  static const char *const sides[] = { "nobody attached", "both attached",
                                       "both attached and all popped",
                                       "producer attached",
                                       "consumer attached" };
  static const char *const fills[] = { "empty", "partly full", "nearly full",
                                       "full" };

  snprintf (text, size, "ring of format %u, %" PRIu64 " sectors, tail in "
            "sector %u at byte %u, %s, %s, %s%s", s->format, s->sectors,
            s->tail_sector, s->tail_offset, fills[s->fill],
            sides[s->sides],
            s->flags & BLKRING_DEVICE_FUA ? "FUA" : "flushes",
            s->ticks ? ", slow" : "");
}

/*---------------------------------------------------------------------*/

static void
must (int r, const char *what)
{
  if (r != -1)
    return;
  fprintf (stderr, "start: %s: %s\n", what, blkring_get_error ());
  abort ();
}

static void
put (struct world *w, size_t length)
{
  struct model *m = &w->model;

  if (model_plan (m, &length, 1) == 0)
    abort ();
  must (blkring_producer_append (w->actors[ACTOR_PRODUCER].p, item_content
                                 (model_get (m, m->pushed)->id), length,
                                 NULL), "append");
  model_pushed (m);
  bounds_set (&m->ends, m->pushed);
}

static void
drain (struct world *w)
{
  struct actor *a = &w->actors[ACTOR_CONSUMER];
  struct blkring_item item;

  while (blkring_consumer_pop (a->c, NULL, &item) == 0) {
    must (blkring_consumer_advance (a->c, item.next), "advance");
    a->freed = ++a->popped;
    a->next = item.next;
  }
  bounds_set (&w->model.firsts, a->popped);
}

/* One item that takes so many bytes, and is gone again. */
static void
move (struct world *w, uint64_t bytes)
{
  const size_t header = w->model.shape.format == 1 ? 4 : 68;

  if (bytes == 0)
    return;
  put (w, bytes - header);
  drain (w);
}

static uint64_t
used_bytes (const struct start *s)
{
  const uint64_t capacity = s->sectors * SECTOR;
  const uint64_t some = s->format == 1 ? 104 : SECTOR;
  const uint64_t left = s->format == 1 ? 8 : SECTOR;

  return s->fill == EMPTY ? 0 : s->fill == PART ? some
    : s->fill == NEARLY_FULL ? capacity - left : capacity;
}

/* The tail is at 'tail' when this is there, for which the ring has to go
 * around once or twice. */
static void
fill_ring (const struct start *s, struct world *w)
{
  const uint64_t capacity = s->sectors * SECTOR;
  const uint64_t used = used_bytes (s);
  const uint64_t tail = s->tail_sector * SECTOR + s->tail_offset;
  const uint64_t begin = (tail + capacity - used) % capacity;
  const size_t header = s->format == 1 ? 4 : 68;
  const uint64_t first = s->format == 1 ? 40 : SECTOR;

  move (w, capacity);
  move (w, begin);
  if (used > first) {
    put (w, first - header);
    put (w, used - first - header);
  }
  else if (used > 0)
    put (w, used - header);
}

void
start_make (const struct start *s, struct world *w)
{
  const struct shape shape = {
    .format = s->format,
    .capacity = s->sectors * SECTOR,
    .block = SECTOR,
    .largest_item = s->sectors * SECTOR - (s->format == 1 ? 4 : 68),
  };
  const struct blkring_create_options o = {
    .flags = BLKRING_CREATE_FORCE,
    .format = s->format,
    .block_size = s->format == 1 ? 0 : SECTOR,
  };

  identity_uuid = 0;
  w->tick = s->ticks ? UINT64_C (200000000) : 0;
  w->now = UINT64_C (1000000000);
  model_init (&w->model, &shape, 0);
  must (blkring_create (w->actors[ACTOR_PRODUCER].port.device, &o),
        "create");
  world_do (w, OP_ATTACH_PRODUCER);
  world_do (w, OP_ATTACH_CONSUMER);
  fill_ring (s, w);
  world_do (w, OP_DETACH_PRODUCER);
  world_do (w, OP_DETACH_CONSUMER);
  if (w->problem[0]) {
    fprintf (stderr, "start: %s\n", w->problem);
    abort ();
  }
  disk_load (&w->disk, w->disk.content, NULL, 0);
}

/*---------------------------------------------------------------------*/

/* Takes 'number' apart. */
static unsigned
digit (unsigned *number, unsigned base)
{
  const unsigned d = *number % base;

  *number /= base;
  return d;
}

static bool
get1 (unsigned number, struct start *s)
{
  static const unsigned offsets[] = { 0, 4, 256, 504, 508 };

  s->sectors = 2 + digit (&number, 4);
  s->tail_sector = digit (&number, 2) ? s->sectors - 1 : 0;
  s->fill = digit (&number, FILLS);
  s->tail_offset = offsets[digit (&number, 5)];
  s->flags = digit (&number, 2) ? BLKRING_DEVICE_FUA : 0;
  s->sides = (ATTACHED + digit (&number, SIDES)) % SIDES;
  s->ticks = digit (&number, 2);
  return number == 0;
}

static bool
get2 (unsigned number, struct start *s)
{
  static const unsigned sizes[] = { 2, 3, 4, 5, 24 };

  s->sectors = sizes[digit (&number, 5)];
  s->tail_sector = digit (&number, 2) ? s->sectors - 1 : 0;
  s->fill = digit (&number, FILLS);
  s->flags = digit (&number, 2) ? BLKRING_DEVICE_FUA : 0;
  s->sides = (ATTACHED + digit (&number, SIDES)) % SIDES;
  s->ticks = digit (&number, 2);
  return number == 0;
}

bool
start_get (unsigned format, unsigned number, struct start *s)
{
  memset (s, 0, sizeof *s);
  s->format = format;
  return format == 1 ? get1 (number, s) : get2 (number, s);
}
