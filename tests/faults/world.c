/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A ring on a disk that can fail, and what it has promised; see world.h.
 */

#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

static unsigned char noise[ITEMS + LARGEST];

void
problem (struct world *w, const char *fmt, ...)
{
  va_list args;

  if (w->problem[0])
    return;
  va_start (args, fmt);
  vsnprintf (w->problem, sizeof w->problem, fmt, args);
  va_end (args);
}

void
must (int r, const char *what)
{
  if (r != -1)
    return;
  fprintf (stderr, "faults: in the preparation, %s: %s\n", what,
           blkring_get_error ());
  abort ();
}

const void *
item_content (unsigned number)
{
  size_t i;

  if (noise[0] == 0)
    for (i = 0; i < sizeof noise; ++i)
      noise[i] = i * UINT64_C (0x9e3779b97f4a7c15) >> 56 | 1;
  return noise + number;
}

/*---------------------------------------------------------------------*/

static uint64_t
now (void *opaque)
{
  return ((struct world *) opaque)->now;
}

static int
pass_time (void *opaque, uint64_t ns)
{
  ((struct world *) opaque)->now += ns;
  return 0;
}

const struct blkring_attach_options *
world_options (struct world *w, unsigned flags)
{
  static struct blkring_clock clock;
  static struct blkring_attach_options o;

  clock = (struct blkring_clock) { now, pass_time, w };
  o = (struct blkring_attach_options) {
    .queue = "q", .client = "c", .flags = flags, .clock = &clock,
    .consumer = w->kind->consumers - 1,
  };
  return &o;
}

/* A client of the service as a device. */
static int
client_geometry (void *opaque, struct blkring_geometry *g)
{
  struct service_block_size size;

  service_block_size (opaque, &size);
  g->size = service_size (opaque);
  g->sector_size = size.minimum;
  g->flags = BLKRING_DEVICE_SHARED |
    (service_can (opaque, SERVICE_CAN_FUA) ? BLKRING_DEVICE_FUA : 0);
  return 0;
}

static ssize_t
client_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  return service_pread (opaque, buf, count, offset) == 0 ? (ssize_t) count
    : -1;
}

static ssize_t
client_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
               unsigned flags)
{
  return service_pwrite (opaque, buf, count, offset,
                         flags & BLKRING_WRITE_FUA ? SERVICE_FLAG_FUA : 0)
    == 0 ? (ssize_t) count : -1;
}

static int
client_flush (void *opaque)
{
  return service_flush (opaque);
}

static int
client_guarded (void *opaque)
{
  (void) opaque;
  return 1;
}

static void
client_close (void *opaque)
{
  service_disconnect (opaque);
}

static blkring_device *
connect_client (struct service *s)
{
  static const struct blkring_device_ops ops = {
    .struct_size = sizeof ops,
    .geometry = client_geometry,
    .pread = client_pread,
    .pwrite = client_pwrite,
    .flush = client_flush,
    .close = client_close,
    .guarded = client_guarded,
  };
  struct service_client *c = service_connect (s, "", "client", false);

  return c ? blkring_device_new (&ops, c) : NULL;
}

void
world_open (struct world *w)
{
  struct service_options o;

  if (!w->kind->served) {
    w->device = disk_open (&w->disk);
    must (w->device ? 0 : -1, "open");
    return;
  }
  service_options_init (&o);
  w->below = disk_open (&w->disk);
  must (w->below ? 0 : -1, "open");
  w->service = service_open (w->below, &o);
  must (w->service ? 0 : -1, "serve");
  w->device = connect_client (w->service);
  must (w->device ? 0 : -1, "connect");
}

void
world_close (struct world *w)
{
  blkring_journal_free (w->j);
  blkring_producer_free (w->p2);
  blkring_consumer_free (w->c2);
  blkring_producer_free (w->p);
  blkring_consumer_free (w->c);
  blkring_device_close (w->other);
  blkring_device_close (w->device);
  service_close (w->service);
  blkring_device_close (w->below);
  w->j = NULL;
  w->p = w->p2 = NULL;
  w->c = w->c2 = NULL;
  w->other = w->device = w->below = NULL;
  w->service = NULL;
}

void
world_kill (struct world *w)
{
  static struct disk before;

  memcpy (&before, &w->disk, offsetof (struct disk, lock));
  world_close (w);
  memcpy (&w->disk, &before, offsetof (struct disk, lock));
}

static void
make_ring (struct world *w)
{
  const struct blkring_create_options o = {
    .format = w->kind->format,
    .block_size = w->kind->format == 2 ? 512 : 0,
    .consumers = w->kind->format == 2 ? w->kind->consumers : 0,
  };
  blkring_device *device = disk_open (&w->disk);
  unsigned i;

  must (device ? 0 : -1, "open");
  MUST (blkring_create (device, &o));
  for (i = 0; i + 1 < w->kind->consumers; ++i)
    MUST (blkring_consumer_enable (device, i, false));
  blkring_device_close (device);
}

void
world_clear_disk (struct world *w)
{
  disk_clear (&w->disk, w->kind->flags);
  w->disk.submits = w->kind->submits;
  w->disk.alignment = w->kind->alignment;
  w->disk.max_request = w->kind->max_request;
}

void
world_start (struct world *w, const struct kind *kind)
{
  memset (w, 0, offsetof (struct world, disk));
  memset (&w->disk + 1, 0, sizeof *w - offsetof (struct world, disk) -
          sizeof w->disk);
  pthread_mutex_init (&w->disk.lock, NULL);
  w->kind = kind;
  w->now = UINT64_C (1000000000);
  world_clear_disk (w);
  does_end (w, 0);
  does_begin (w, 0);
  make_ring (w);
  world_open (w);
}

/*---------------------------------------------------------------------*/

void
may_end (struct world *w, unsigned number)
{
  w->end[number] = true;
}

void
does_end (struct world *w, unsigned number)
{
  memset (w->end, 0, sizeof w->end);
  w->end[number] = true;
  w->exposed = number;
}

void
may_begin (struct world *w, unsigned number)
{
  w->first[number] = true;
}

void
does_begin (struct world *w, unsigned number)
{
  memset (w->first, 0, sizeof w->first);
  w->first[number] = true;
  w->freed = number;
}
