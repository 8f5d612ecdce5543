/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A device for tests that loses its connection; see cut-device.h.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cut-device.h"
#include "no-requests.h"

static int
cut_geometry (void *opaque, struct blkring_geometry *g)
{
  struct cut_device *d = opaque;

  *g = d->geometry;
  return 0;
}

static void
check_part (const struct cut_device *d, const struct blkring_part *part)
{
  const struct blkring_geometry *g = &d->geometry;

  if (part->kind == BLKRING_PART_FLUSH)
    return;
  if (part->count > 0 && part->offset + part->count <= d->store->size &&
      ((part->offset | part->count) & (g->sector_size - 1)) == 0 &&
      ((uintptr_t) part->buf & (g->memory_alignment - 1)) == 0 &&
      (g->max_request == 0 || part->count <= g->max_request))
    return;
  fprintf (stderr, "a request of %zu bytes at %llu, at %p, does not fit the "
           "device\n", part->count, (unsigned long long) part->offset,
           part->buf);
  abort ();
}

static void
check_apart (const struct blkring_part *a, const struct blkring_part *b)
{
  if ((a->kind != BLKRING_PART_WRITE && b->kind != BLKRING_PART_WRITE) ||
      a->offset + a->count <= b->offset || b->offset + b->count <= a->offset)
    return;
  fprintf (stderr, "requests at %llu and %llu overlap\n",
           (unsigned long long) a->offset, (unsigned long long) b->offset);
  abort ();
}

static void
do_part (struct cut_device *d, struct blkring_part *part)
{
  struct cut_store *s = d->store;

  switch (part->kind) {
  case BLKRING_PART_READ:
    d->reads++;
    memcpy (part->buf, s->content + part->offset, part->count);
    return;
  case BLKRING_PART_WRITE:
    d->writes++;
    memcpy (s->content + part->offset, part->buf, part->count);
    if (part->flags & BLKRING_WRITE_FUA) {
      d->fua_writes++;
      memcpy (s->durable + part->offset, part->buf, part->count);
    }
    return;
  default:
    d->flushes++;
    memcpy (s->durable, s->content, s->size);
  }
}

/* 1: there is a new connection; 0: there is none. */
static int
lose_connection (struct cut_device *d, struct blkring_part *parts, size_t nr)
{
  size_t i;

  for (i = 0; i < nr; ++i)
    if (d->where == CUT_AFTER || (d->where == CUT_WITHIN && i == 0))
      do_part (d, &parts[i]);
  d->cut = false;
  if (d->crash)
    memcpy (d->store->content, d->store->durable, d->store->size);
  if (d->meanwhile)
    d->meanwhile (d->opaque);
  if (d->cut_is_final)
    return 0;
  if (d->cut_twice) {
    d->cut = d->cut_is_final = true;
    d->cut_after = 0;
    d->where = CUT_BEFORE;
  }
  d->connection++;
  return 1;
}

static int
all_fail (struct blkring_part *parts, size_t nr, int error)
{
  size_t i;

  for (i = 0; i < nr; ++i)
    parts[i].error = error;
  errno = error;
  return -1;
}

static int
cut_submit (void *opaque, struct blkring_part *parts, size_t nr,
            uint64_t connection)
{
  struct cut_device *d = opaque;
  bool changes = false;
  size_t i, j;

  for (i = 0; i < nr; ++i) {
    check_part (d, &parts[i]);
    for (j = 0; j < i; ++j)
      check_apart (&parts[i], &parts[j]);
    changes = changes || parts[i].kind != BLKRING_PART_READ;
  }
  if (changes && connection != 0 && connection != d->connection)
    return all_fail (parts, nr, ESTALE);
  if (d->cut_is_final && !d->cut)
    return all_fail (parts, nr, ENOTCONN);
  if (d->cut && d->cut_after-- == 0) {
    if (!lose_connection (d, parts, nr))
      return all_fail (parts, nr, changes ? ECONNABORTED : ENOTCONN);
    if (changes && connection != 0)
      return all_fail (parts, nr, ESTALE);
  }
  if (d->fail && d->fail_after-- == 0) {
    d->fail = false;
    return all_fail (parts, nr, EIO);
  }
  d->flights++;
  if (nr > d->most_parts)
    d->most_parts = nr;
  for (i = 0; i < nr; ++i)
    do_part (d, &parts[i]);
  for (i = 0; i < nr && changes && d->fail_reads; ++i)
    if (parts[i].kind == BLKRING_PART_READ) {
      memset (parts[i].buf, 0xee, parts[i].count);
      parts[i].error = errno = EIO;
    }
  for (i = 0; i < nr; ++i)
    if (parts[i].error)
      return -1;
  return 0;
}

static uint64_t
cut_connection (void *opaque)
{
  struct cut_device *d = opaque;

  return d->connection;
}

static const struct blkring_device_ops cut_ops = {
  .struct_size = sizeof cut_ops,
  .geometry = cut_geometry,
  .pread = no_pread,
  .pwrite = no_pwrite,
  .flush = no_flush,
  .submit = cut_submit,
  .connection = cut_connection,
};

/*---------------------------------------------------------------------*/

static void *
zeroed (size_t nr, size_t size)
{
  void *p = calloc (nr, size);

  if (p == NULL)
    abort ();
  return p;
}

struct cut_store *
cut_store_new (uint64_t size)
{
  struct cut_store *s = zeroed (1, sizeof *s);

  s->size = size;
  s->content = zeroed (size, 1);
  s->durable = zeroed (size, 1);
  return s;
}

void
cut_store_free (struct cut_store *s)
{
  free (s->content);
  free (s->durable);
  free (s);
}

struct cut_device *
cut_device_new (struct cut_store *store)
{
  struct cut_device *d = zeroed (1, sizeof *d);

  d->store = store;
  d->connection = 1;
  d->geometry = (struct blkring_geometry) {
    .size = store->size, .sector_size = 512, .memory_alignment = 1,
    .flags = BLKRING_DEVICE_FUA | BLKRING_DEVICE_SHARED,
  };
  d->device = blkring_device_new (&cut_ops, d);
  if (d->device == NULL)
    abort ();
  return d;
}

void
cut_device_free (struct cut_device *d)
{
  if (d == NULL)
    return;
  blkring_device_close (d->device);
  free (d);
}

void
cut_device_forget (struct cut_device *d)
{
  d->flights = d->reads = d->writes = d->fua_writes = d->flushes = 0;
  d->most_parts = 0;
}
