/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A disk in memory of which one request can be made to fail; see disk.h.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"

void
disk_clear (struct disk *d, unsigned flags)
{
  memset (d->content, 0, sizeof d->content);
  memset (d->durable, 0, sizeof d->durable);
  memset (d->dirty, 0, sizeof d->dirty);
  d->flags = flags;
  d->submits = false;
  d->alignment = 1;
  d->max_request = 0;
  d->short_count = 0;
  d->interrupts = d->interrupted = false;
  disk_disarm (d);
}

void
disk_arm (struct disk *d, unsigned at, int error, enum effect effect)
{
  d->at = at;
  d->error = error;
  d->effect = effect;
  d->fired = d->beside = false;
  memset (d->count, 0, sizeof d->count);
}

void
disk_disarm (struct disk *d)
{
  d->at = NEVER;
}

void
disk_power_cut (struct disk *d)
{
  memcpy (d->content, d->durable, sizeof d->content);
  memset (d->dirty, 0, sizeof d->dirty);
}

/*---------------------------------------------------------------------*/

static void
write_back (struct disk *d, size_t sector)
{
  memcpy (d->durable + sector * SECTOR, d->content + sector * SECTOR, SECTOR);
}

/* So much of a write is in the cache; of one with FUA that did not fail also
 * on the disk. */
static void
put (struct disk *d, const void *buf, size_t count, uint64_t offset,
     bool fua, bool fails)
{
  size_t i;

  memcpy (d->content + offset, buf, count);
  for (i = offset / SECTOR; i < (offset + count) / SECTOR; ++i) {
    d->dirty[i] = !fua;
    if (fua && !fails)
      write_back (d, i);
  }
}

static void
flush (struct disk *d, bool fails)
{
  size_t i;

  for (i = 0; i < sizeof d->dirty / sizeof d->dirty[0]; ++i) {
    if (!d->dirty[i])
      continue;
    if (!fails || (d->effect == PART_EFFECT && i % 2))
      write_back (d, i);
    d->dirty[i] = false;
  }
}

/* errno of this request, or 0; with the lock held. */
static int
come_in (struct disk *d, enum request kind, size_t count, uint64_t offset)
{
  const unsigned nr = d->count[A_READ] + d->count[A_WRITE] +
    d->count[A_FLUSH];

  if ((count | offset) % SECTOR != 0 || offset > DISK_SIZE ||
      count > DISK_SIZE - offset) {
    fprintf (stderr, "faults/disk.c: impossible request\n");
    abort ();
  }
  if (d->interrupts && (d->interrupted = !d->interrupted))
    return EINTR;
  d->count[kind]++;
  if (nr != d->at)
    return 0;
  d->fired = true;
  d->fired_kind = kind;
  return d->error;
}

static size_t
limit (const struct disk *d, size_t count)
{
  return d->short_count && count > d->short_count ? d->short_count : count;
}

static ssize_t
answer (struct disk *d, int error, size_t count)
{
  pthread_mutex_unlock (&d->lock);
  if (error == 0)
    return count;
  errno = error;
  return -1;
}

static int
disk_geometry (void *opaque, struct blkring_geometry *g)
{
  const struct disk *d = opaque;

  g->size = DISK_SIZE;
  g->sector_size = SECTOR;
  g->memory_alignment = d->alignment;
  g->max_request = d->max_request;
  g->flags = d->flags;
  return 0;
}

static ssize_t
disk_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  struct disk *d = opaque;
  int error;

  pthread_mutex_lock (&d->lock);
  error = come_in (d, A_READ, count, offset);
  count = limit (d, count);
  if (error == 0)
    memcpy (buf, d->content + offset, count);
  return answer (d, error, count);
}

static ssize_t
disk_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
             unsigned flags)
{
  struct disk *d = opaque;
  const bool fua = flags & BLKRING_WRITE_FUA;
  int error;

  pthread_mutex_lock (&d->lock);
  error = come_in (d, A_WRITE, count, offset);
  count = limit (d, count);
  if (error == 0)
    put (d, buf, count, offset, fua, false);
  else if (error != EINTR && d->effect == ALL_EFFECT)
    put (d, buf, count, offset, fua, true);
  else if (error != EINTR && d->effect == PART_EFFECT)
    put (d, buf, count / 2 / SECTOR * SECTOR, offset, fua, true);
  return answer (d, error, count);
}

static int
disk_flush (void *opaque)
{
  struct disk *d = opaque;
  int error;

  pthread_mutex_lock (&d->lock);
  error = come_in (d, A_FLUSH, 0, 0);
  if (error == 0 || (error != EINTR && d->effect != NO_EFFECT))
    flush (d, error != 0);
  return answer (d, error, 0);
}

static int
do_part (struct disk *d, struct blkring_part *part)
{
  switch (part->kind) {
  case BLKRING_PART_READ:
    return disk_pread (d, part->buf, part->count, part->offset);
  case BLKRING_PART_WRITE:
    return disk_pwrite (d, part->buf, part->count, part->offset, part->flags);
  default:
    return disk_flush (d);
  }
}

/* Each part is a request, whatever becomes of the others; and all of it is
 * done.  A signal comes before them. */
static int
disk_submit (void *opaque, struct blkring_part *parts, size_t nr,
             uint64_t connection)
{
  struct disk *d = opaque;
  const bool interrupts = d->interrupts;
  const size_t short_count = d->short_count;
  const bool before = d->fired;
  bool writes = false;
  int error = 0;
  size_t i;

  (void) connection;
  if (interrupts && (d->interrupted = !d->interrupted)) {
    errno = EINTR;
    return -1;
  }
  d->interrupts = false;
  d->short_count = 0;
  for (i = 0; i < nr; ++i) {
    parts[i].error = do_part (d, &parts[i]) == -1 ? errno : 0;
    error = error ? error : parts[i].error;
    writes = writes || parts[i].kind == BLKRING_PART_WRITE;
  }
  if (d->fired && !before)
    d->beside = writes && d->fired_kind == A_READ;
  d->interrupts = interrupts;
  d->short_count = short_count;
  errno = error;
  return error ? -1 : 0;
}

blkring_device *
disk_open (struct disk *d)
{
  struct blkring_device_ops ops = {
    .struct_size = sizeof ops,
    .geometry = disk_geometry,
    .pread = disk_pread,
    .pwrite = disk_pwrite,
    .flush = disk_flush,
    .submit = d->submits ? disk_submit : NULL,
  };

  return blkring_device_new (&ops, d);
}
