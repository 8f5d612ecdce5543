/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A disk in memory whose cache a crash loses; see disk.h.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"

uint64_t
mix (uint64_t x)
{
  x = (x ^ x >> 30) * UINT64_C (0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C (0x94d049bb133111eb);
  return x ^ x >> 31;
}

uint64_t
sector_hash (unsigned sector, const unsigned char *bytes)
{
  uint64_t lane[4] = { sector + 1, 2, 3, 4 }, word;
  size_t i;

  for (i = 0; i < SECTOR; i += 8) {
    memcpy (&word, bytes + i, 8);
    lane[i / 8 % 4] = (lane[i / 8 % 4] ^ word) *
      UINT64_C (0x9e3779b97f4a7c15) + (lane[i / 8 % 4] >> 29);
  }
  return mix (lane[0] + mix (lane[1] + mix (lane[2] + mix (lane[3]))));
}

/*---------------------------------------------------------------------*/

static void *
allocate (size_t size)
{
  void *p = calloc (1, size);

  if (p == NULL)
    abort ();
  return p;
}

void
disk_init (struct disk *d, size_t size, unsigned flags)
{
  memset (d, 0, sizeof *d);
  d->size = size;
  d->flags = flags;
  d->content = allocate (size);
  d->durable = allocate (size);
  d->hashes = allocate (size / SECTOR * sizeof d->hashes[0]);
  disk_load (d, d->content, NULL, 0);
}

void
disk_free (struct disk *d)
{
  free (d->content);
  free (d->durable);
  free (d->hashes);
  free (d->pending);
}

void
disk_load (struct disk *d, const unsigned char *image, const uint64_t *hashes,
           uint64_t hash)
{
  const unsigned sectors = d->size / SECTOR;
  unsigned i;

  memmove (d->content, image, d->size);
  d->nr_pending = 0;
  d->writes = 0;
  d->hash = hash;
  if (!d->tracked && hashes)
    return;
  memmove (d->durable, image, d->size);
  if (hashes) {
    memcpy (d->hashes, hashes, sectors * sizeof hashes[0]);
    return;
  }
  d->hash = 0;
  for (i = 0; i < sectors; ++i) {
    d->hashes[i] = sector_hash (i, image + i * SECTOR);
    d->hash ^= d->hashes[i];
  }
}

static void
add_version (struct disk *d, unsigned sector, const unsigned char *bytes,
             bool late)
{
  struct version *v;

  if (d->nr_pending == d->alloc_pending) {
    d->alloc_pending = d->alloc_pending ? 2 * d->alloc_pending : 64;
    d->pending = realloc (d->pending,
                          d->alloc_pending * sizeof d->pending[0]);
    if (d->pending == NULL)
      abort ();
  }
  v = &d->pending[d->nr_pending++];
  v->sector = sector;
  v->write = d->writes;
  v->late = late;
  v->hash = sector_hash (sector, bytes);
  memcpy (v->bytes, bytes, SECTOR);
}

static void
make_durable (struct disk *d, const struct version *v)
{
  d->hash ^= d->hashes[v->sector] ^ v->hash;
  d->hashes[v->sector] = v->hash;
  memcpy (d->durable + v->sector * SECTOR, v->bytes, SECTOR);
}

/* In the order in which they were written: the last version stays. */
void
disk_flush (struct disk *d)
{
  unsigned i;

  for (i = 0; i < d->nr_pending; ++i)
    make_durable (d, &d->pending[i]);
  d->nr_pending = 0;
}

static bool
is_newest_before (const struct disk *d, unsigned i, uint64_t write)
{
  unsigned k;

  for (k = i + 1; k < d->nr_pending; ++k)
    if (d->pending[k].sector == d->pending[i].sector &&
        d->pending[k].write <= write)
      return false;
  return true;
}

/* This write, and no other.  Older versions of its sectors cannot land any
 * more. */
static void
finish_write (struct disk *d, uint64_t write)
{
  unsigned i, k, kept = 0;
  bool superseded;

  for (i = 0; i < d->nr_pending; ++i)
    if (d->pending[i].write == write && is_newest_before (d, i, write))
      make_durable (d, &d->pending[i]);
  for (i = 0; i < d->nr_pending; ++i) {
    superseded = d->pending[i].write == write;
    for (k = i + 1; k < d->nr_pending; ++k)
      superseded = superseded || (d->pending[k].write == write &&
                                  d->pending[k].sector ==
                                  d->pending[i].sector);
    if (superseded)
      continue;
    if (kept != i)
      d->pending[kept] = d->pending[i];
    kept++;
  }
  d->nr_pending = kept;
}

/*---------------------------------------------------------------------*/

bool
same_site (const struct site *a, const struct site *b)
{
  return a->op == b->op && a->region == b->region && a->nth == b->nth;
}

/* What is to happen at this site. */
static bool
is_broken (const struct disk *d, const struct site *s)
{
  unsigned i;

  for (i = 0; i < d->nr_broken; ++i)
    if (same_site (&d->broken[i], s))
      return true;
  return false;
}

static enum fault
pass_site (struct port *port)
{
  struct disk *d = port->disk;
  const struct site site = { port->op, port->last,
                             port->sites[port->last]++ };

  if (d->at_site)
    d->at_site (port, &site);
  port->wrote = false;
  if (d->fault == SOUND || !is_broken (d, &site))
    return SOUND;
  if (d->fault == DEFER)
    port->deferred = true;
  return d->fault;
}

void
port_begin (struct port *port, unsigned op)
{
  port->op = op;
  port->begun++;
  port->stops = 0;
  port->nr_seen = 0;
  port->wrote = false;
  port->last = NOTHING;
  memset (port->sites, 0, sizeof port->sites);
}

void
port_end (struct port *port)
{
  if (port->deferred)
    disk_flush (port->disk);
  port->deferred = false;
}

static int
port_geometry (void *opaque, struct blkring_geometry *g)
{
  const struct port *port = opaque;

  g->size = port->disk->size;
  g->sector_size = SECTOR;
  g->flags = port->disk->flags;
  return 0;
}

/* Others may go first, and it may die meanwhile. */
static int
come_in (struct port *port, size_t count, uint64_t offset)
{
  const struct disk *d = port->disk;

  if (!port->dead && d->yield)
    d->yield (port);
  port->stops++;
  if (port->dead) {
    errno = EIO;
    return -1;
  }
  if ((count | offset) % SECTOR != 0 || offset > d->size ||
      count > d->size - offset) {
    fprintf (stderr, "crash/disk.c: impossible request\n");
    abort ();
  }
  return 0;
}

static void
remember_seen (struct port *port, size_t count, uint64_t offset)
{
  const struct disk *d = port->disk;
  uint64_t at;
  unsigned i;

  for (i = 0; i < d->nr_pending && port->nr_seen < MAX_SEEN; ++i) {
    at = d->pending[i].sector * (uint64_t) SECTOR;
    if (at >= offset && at < offset + count)
      port->seen[port->nr_seen++] = d->pending[i].write;
  }
}

bool
port_saw_pending (const struct port *port)
{
  const struct disk *d = port->disk;
  unsigned i, k;

  for (i = 0; i < d->nr_pending; ++i)
    for (k = 0; k < port->nr_seen; ++k)
      if (d->pending[i].write == port->seen[k])
        return true;
  return false;
}

static ssize_t
port_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  struct port *port = opaque;

  if (come_in (port, count, offset) == -1)
    return -1;
  memcpy (buf, port->disk->content + offset, count);
  if (port->disk->nr_pending > 0)
    remember_seen (port, count, offset);
  /* The records lie together, and are read so. */
  if (port->disk->looked && count > SECTOR &&
      port->disk->region (offset) == PRODUCER)
    port->disk->looked (port);
  return count;
}

static ssize_t
port_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
             unsigned flags)
{
  struct port *port = opaque;
  struct disk *d = port->disk;
  const unsigned char *from = buf;
  uint64_t write;
  size_t i;

  if (come_in (port, count, offset) == -1)
    return -1;
  memcpy (d->content + offset, buf, count);
  if (!d->tracked)
    return count;
  write = ++d->writes;
  for (i = 0; i < count; i += SECTOR)
    add_version (d, (offset + i) / SECTOR, from + i, port->replaced);
  port->last = d->region ? d->region (offset) : DATA;
  port->wrote = true;
  d->late_records[port->last] += port->replaced;
  if (d->written)
    d->written (port);
  if (flags & BLKRING_WRITE_FUA) {
    if (come_in (port, 0, 0) == -1)
      return -1;
    if (pass_site (port) == SOUND)
      finish_write (d, write);
  }
  return count;
}

static int
port_flush (void *opaque)
{
  struct port *port = opaque;

  if (come_in (port, 0, 0) == -1)
    return -1;
  if (port->disk->tracked && pass_site (port) == SOUND)
    disk_flush (port->disk);
  return 0;
}

void
port_open (struct port *port, struct disk *d, void *opaque)
{
  static const struct blkring_device_ops ops = {
    .struct_size = sizeof ops,
    .geometry = port_geometry,
    .pread = port_pread,
    .pwrite = port_pwrite,
    .flush = port_flush,
  };

  memset (port, 0, sizeof *port);
  port->disk = d;
  port->opaque = opaque;
  port->device = blkring_device_new (&ops, port);
  if (port->device == NULL) {
    fprintf (stderr, "crash/disk.c: %s\n", blkring_get_error ());
    abort ();
  }
}

void
port_close (struct port *port)
{
  blkring_device_close (port->device);
}
