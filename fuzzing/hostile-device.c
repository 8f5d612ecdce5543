/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See hostile-device.h.  What may be changed is asked of oracle.c.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "hostile-device.h"
#include "oracle.h"

enum { READS, WRITES, FLUSHES };

void
violation (const char *fmt, ...)
{
  va_list args;

  fprintf (stderr, "violation: ");
  va_start (args, fmt);
  vfprintf (stderr, fmt, args);
  va_end (args);
  fprintf (stderr, " (last error: %s)\n", blkring_get_error ());
  abort ();
}

void
hostile_peek (const struct hostile_device *d, void *buf, size_t count,
              uint64_t offset)
{
  const struct far_write *w;
  const size_t near = offset < d->length
    ? min_u64 (count, d->length - offset) : 0;
  uint64_t from, to;

  memcpy (buf, d->content + (near ? offset : 0), near);
  memset ((char *) buf + near, 0, count - near);
  for (w = d->far; w; w = w->next) {
    from = max_u64 (offset, w->offset);
    to = min_u64 (offset + count, w->offset + w->length);
    if (from < to)
      memcpy ((char *) buf + (from - offset), w->bytes + (from - w->offset),
              to - from);
  }
}

/* The newest is last, so that it counts. */
static void
keep_far (struct hostile_device *d, const unsigned char *p, size_t count,
          uint64_t offset)
{
  struct far_write *w = malloc (sizeof *w + count), **last;

  if (w == NULL)
    abort ();
  w->next = NULL;
  w->offset = offset;
  w->length = count;
  memcpy (w->bytes, p, count);
  for (last = &d->far; *last; last = &(*last)->next)
    ;
  *last = w;
}

void
hostile_poke (struct hostile_device *d, const void *buf, size_t count,
              uint64_t offset)
{
  const size_t near = offset < d->length
    ? min_u64 (count, d->length - offset) : 0;

  memcpy (d->content + (near ? offset : 0), buf, near);
  if (near < count)
    keep_far (d, (const unsigned char *) buf + near, count - near,
              offset + near);
}

/*---------------------------------------------------------------------*/

static void
check_request (struct hostile_device *d, const char *what, const void *buf,
               size_t count, uint64_t offset)
{
  const struct blkring_geometry *g = &d->geometry;

  if (count == 0 || offset > d->told || count > d->told - offset ||
      (g->max_request && count > g->max_request) ||
      ((offset | count) & (g->sector_size - 1)) != 0 ||
      ((uintptr_t) buf & (g->memory_alignment - 1)) != 0)
    violation ("%s of %zu bytes at %" PRIu64 " of %" PRIu64, what, count,
               offset, d->told);
  d->requests++;
  d->bytes += count;
}

static bool
fails (struct hostile_device *d, int kind)
{
  if (d->fail_after[kind] < 0 || d->fail_after[kind]-- > 0)
    return false;
  errno = EIO;
  return true;
}

/* It may have shrunk since it was asked. */
static size_t
available (const struct hostile_device *d, size_t count, uint64_t offset)
{
  const uint64_t size = d->geometry.size;

  return offset >= size ? 0 : min_u64 (count, size - offset);
}

static int
do_geometry (void *opaque, struct blkring_geometry *g)
{
  struct hostile_device *d = opaque;

  *g = d->geometry;
  d->told = g->size;
  return 0;
}

static ssize_t
do_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  struct hostile_device *d = opaque;

  check_request (d, "read", buf, count, offset);
  if (fails (d, READS))
    return -1;
  count = available (d, count, offset);
  hostile_peek (d, buf, count, offset);
  return count;
}

static ssize_t
do_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
           unsigned flags)
{
  struct hostile_device *d = opaque;
  unsigned char *old = malloc (count);
  size_t i;

  if (old == NULL)
    abort ();
  check_request (d, "write", buf, count, offset);
  count = available (d, count, offset);
  if (flags & BLKRING_WRITE_FUA && !(d->geometry.flags & BLKRING_DEVICE_FUA))
    violation ("FUA on a device that has none");
  if (d->geometry.flags & BLKRING_DEVICE_READ_ONLY)
    violation ("a write to a read-only device");
  hostile_peek (d, old, count, offset);
  for (i = 0; i < count; ++i)
    if (old[i] != ((const unsigned char *) buf)[i] &&
        !oracle_permits (d, offset + i))
      violation ("byte %" PRIu64 " was changed by one that may %x, in a write "
                 "of %zu bytes at %" PRIu64, offset + i, d->may, count,
                 offset);
  free (old);
  if (fails (d, WRITES))
    return -1;
  hostile_poke (d, buf, count, offset);
  return count;
}

static int
do_flush (void *opaque)
{
  return fails (opaque, FLUSHES) ? -1 : 0;
}

struct hostile_device *
hostile_new (const struct hostile_options *o)
{
  static const struct blkring_device_ops ops = {
    .struct_size = sizeof ops, .geometry = do_geometry, .pread = do_pread,
    .pwrite = do_pwrite, .flush = do_flush,
  };
  struct hostile_device *d = calloc (1, sizeof *d);

  if (d == NULL || (d->content = malloc (o->length + 1)) == NULL)
    abort ();
  d->length = o->length;
  memcpy (d->content, o->image, o->length);
  d->geometry = (struct blkring_geometry) {
    .size = o->size, .sector_size = o->sector_size,
    .memory_alignment = o->memory_alignment,
    .max_request = o->max_request, .flags = o->flags,
  };
  memset (d->fail_after, -1, sizeof d->fail_after);
  d->device = blkring_device_new (&ops, d);
  if (d->device == NULL)
    violation ("the device itself is refused");
  return d;
}

void
hostile_free (struct hostile_device *d)
{
  struct far_write *w;

  blkring_device_close (d->device);
  while ((w = d->far) != NULL) {
    d->far = w->next;
    free (w);
  }
  free (d->content);
  free (d);
}

/*---------------------------------------------------------------------*/

void
hostile_begin (struct hostile_device *d, unsigned may, unsigned consumer)
{
  d->may = may;
  d->consumer = consumer;
  d->requests = d->bytes = 0;
  oracle_begin (d);
}

/* A call may read the device some times over: what looks damaged is looked at
 * again.  It never takes the square of it. */
#define TIMES 24
#define MORE (UINT64_C (16) << 20)

void
hostile_end (struct hostile_device *d)
{
  const uint64_t size = d->geometry.size;
  const uint64_t most = size > UINT64_MAX / TIMES - MORE ? UINT64_MAX
    : TIMES * size + MORE;
  const uint64_t request = max_u64 (d->geometry.sector_size, 512);

  if (d->bytes > most || d->requests > most / request)
    violation ("%" PRIu64 " requests of %" PRIu64 " bytes in all, on a device "
               "of %" PRIu64, d->requests, d->bytes, size);
  d->may = 0;
}
