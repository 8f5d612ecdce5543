/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A device for tests that writes down every request and misbehaves as it
 * is told; see record-device.h.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record-device.h"

static void *
grow (void *array, size_t nr, size_t *alloc, size_t element)
{
  if (nr < *alloc)
    return array;
  *alloc = *alloc ? 2 * *alloc : 64;
  array = realloc (array, *alloc * element);
  if (array == NULL)
    abort ();
  return array;
}

static void
record (struct record_device *rd, enum record_kind kind, uint64_t offset,
        size_t length, bool fua, int error)
{
  rd->log = grow (rd->log, rd->nr_log, &rd->alloc_log, sizeof *rd->log);
  rd->log[rd->nr_log++] = (struct record_request) {
    kind, offset, length, fua, error
  };
}

static int
check_request (struct record_device *rd, const void *buf, size_t count,
               uint64_t offset)
{
  const struct blkring_geometry *g = &rd->geometry;

  if (count == 0 || ((offset | count) & (g->sector_size - 1)) != 0 ||
      ((uintptr_t) buf & (g->memory_alignment - 1)) != 0 ||
      (g->max_request != 0 && count > g->max_request) ||
      offset > rd->allocated || count > rd->allocated - offset) {
    rd->bad_requests++;
    return EINVAL;
  }
  return 0;
}

/* Fires once, after the number of requests that it was told. */
static bool
fires (struct record_fault *fault)
{
  if (!fault->armed || fault->after-- > 0)
    return false;
  fault->armed = false;
  return true;
}

/* EINTR, or what a test has asked for; 0 to go on. */
static int
trouble (struct record_device *rd, enum record_kind kind)
{
  if (rd->interrupts) {
    rd->interrupted = !rd->interrupted;
    if (rd->interrupted)
      return EINTR;
  }
  if (fires (&rd->faults[kind]))
    return rd->faults[kind].error;
  return 0;
}

/* How much of a request is done. */
static size_t
part (const struct record_device *rd, size_t count, uint64_t offset)
{
  uint64_t left = offset < rd->geometry.size ? rd->geometry.size - offset : 0;

  if (rd->short_count && count > rd->short_count)
    count = rd->short_count;
  return count < left ? count : left;
}

static int
record_geometry (void *opaque, struct blkring_geometry *g)
{
  struct record_device *rd = opaque;

  pthread_mutex_lock (&rd->lock);
  *g = rd->geometry;
  pthread_mutex_unlock (&rd->lock);
  return 0;
}

static ssize_t
answer (int error, size_t done)
{
  if (error == 0)
    return done;
  errno = error;
  return -1;
}

static ssize_t
record_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  struct record_device *rd = opaque;
  void (*before) (struct record_device *);
  size_t done = 0;
  int error;

  pthread_mutex_lock (&rd->lock);
  before = rd->before_read;
  rd->before_read = NULL;
  if (before) {
    pthread_mutex_unlock (&rd->lock);
    before (rd);
    pthread_mutex_lock (&rd->lock);
  }
  error = check_request (rd, buf, count, offset);
  if (error == 0)
    error = trouble (rd, RECORD_READ);
  if (error == 0 && record_device_is_cut (rd))
    error = EIO;
  record (rd, RECORD_READ, offset, count, false, error);
  if (error != EINTR)
    rd->reads++;
  if (error == 0) {
    done = part (rd, count, offset);
    memcpy (buf, rd->content + offset, done);
    rd->bytes_read += done;
  }
  pthread_mutex_unlock (&rd->lock);
  return answer (error, done);
}

/* Until the next flush these bytes may be lost, sector by sector. */
static void
add_pending (struct record_device *rd, const unsigned char *p, size_t n,
             uint64_t offset)
{
  struct record_pending *pending;
  size_t length;

  for (; n > 0; p += length, offset += length, n -= length) {
    length = RECORD_ATOM - offset % RECORD_ATOM;
    if (length > n)
      length = n;
    rd->pending = grow (rd->pending, rd->nr_pending, &rd->alloc_pending,
                        sizeof *rd->pending);
    pending = &rd->pending[rd->nr_pending++];
    pending->offset = offset;
    pending->length = length;
    memcpy (pending->data, p, length);
  }
}

/* What was pending at the same place can no longer arrive. */
static void
write_durable (struct record_device *rd, const void *p, size_t n,
               uint64_t offset)
{
  size_t i, kept = 0;

  for (i = 0; i < rd->nr_pending; ++i)
    if (rd->pending[i].offset < offset ||
        rd->pending[i].offset + rd->pending[i].length > offset + n)
      rd->pending[kept++] = rd->pending[i];
  rd->nr_pending = kept;
  memcpy (rd->durable + offset, p, n);
}

static ssize_t
record_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
               unsigned flags)
{
  struct record_device *rd = opaque;
  const bool fua = flags & BLKRING_WRITE_FUA;
  size_t done = 0;
  int error;

  pthread_mutex_lock (&rd->lock);
  error = check_request (rd, buf, count, offset);
  if (error == 0 && fua && !(rd->geometry.flags & BLKRING_DEVICE_FUA)) {
    rd->bad_requests++;
    error = EINVAL;
  }
  if (error == 0)
    error = trouble (rd, RECORD_WRITE);
  if (error == 0 && (record_device_is_cut (rd) || fires (&rd->cut))) {
    if (rd->cut.error == 0)
      add_pending (rd, buf, part (rd, count, offset), offset);
    error = rd->cut.error = EIO;
  }
  record (rd, RECORD_WRITE, offset, count, fua, error);
  if (error != EINTR) {
    rd->writes++;
    rd->fua_writes += fua;
  }
  if (error == 0) {
    done = part (rd, count, offset);
    memcpy (rd->content + offset, buf, done);
    if (fua)
      write_durable (rd, buf, done, offset);
    else
      add_pending (rd, buf, done, offset);
    rd->bytes_written += done;
  }
  pthread_mutex_unlock (&rd->lock);
  return answer (error, done);
}

static int
record_flush (void *opaque)
{
  struct record_device *rd = opaque;
  void (*behind) (struct record_device *) = NULL;
  size_t i;
  int error;

  pthread_mutex_lock (&rd->lock);
  error = trouble (rd, RECORD_FLUSH);
  if (error == 0 && (record_device_is_cut (rd) || fires (&rd->cut)))
    error = rd->cut.error = EIO;
  record (rd, RECORD_FLUSH, 0, 0, false, error);
  if (error != EINTR)
    rd->flushes++;
  if (error == 0) {
    for (i = 0; i < rd->nr_pending; ++i)
      memcpy (rd->durable + rd->pending[i].offset, rd->pending[i].data,
              rd->pending[i].length);
    rd->nr_pending = 0;
    behind = rd->behind_flush;
    rd->behind_flush = NULL;
  }
  pthread_mutex_unlock (&rd->lock);
  if (behind)
    behind (rd);
  return answer (error, 0);
}

/*---------------------------------------------------------------------*/

static const struct blkring_device_ops record_ops = {
  .struct_size = sizeof record_ops,
  .geometry = record_geometry,
  .pread = record_pread,
  .pwrite = record_pwrite,
  .flush = record_flush,
};

static void *
new_content (size_t size, const void *image)
{
  unsigned char *p = malloc (size ? size : 1);

  if (p == NULL)
    abort ();
  if (image)
    memcpy (p, image, size);
  else
    memset (p, 0, size);
  return p;
}

struct record_device *
record_device_new (const struct record_options *o)
{
  struct record_device *rd = calloc (1, sizeof *rd);

  if (rd == NULL)
    abort ();
  rd->geometry.size = rd->allocated = o->size;
  rd->geometry.sector_size = o->sector_size ? o->sector_size : 512;
  rd->geometry.memory_alignment =
    o->memory_alignment ? o->memory_alignment : 1;
  rd->geometry.max_request = o->max_request;
  rd->geometry.flags = o->flags;
  rd->content = new_content (o->size, o->image);
  rd->durable = new_content (o->size, o->image);
  pthread_mutex_init (&rd->lock, NULL);
  rd->device = blkring_device_new (&record_ops, rd);
  if (rd->device == NULL) {
    fprintf (stderr, "record_device_new: %s\n", blkring_get_error ());
    abort ();
  }
  return rd;
}

struct record_device *
record_device_new_ring (const struct record_options *o, uint32_t sector_size)
{
  const struct blkring_create_options create = {
    .flags = BLKRING_CREATE_FORCE,
    .format = 1,
    .sector_size = sector_size,
  };
  struct record_device *rd = record_device_new (o);

  if (blkring_create (rd->device, &create) != 0) {
    fprintf (stderr, "record_device_new_ring: %s\n", blkring_get_error ());
    abort ();
  }
  record_device_forget (rd);
  return rd;
}

void
record_device_free (struct record_device *rd)
{
  if (rd == NULL)
    return;
  blkring_device_close (rd->device);
  pthread_mutex_destroy (&rd->lock);
  free (rd->content);
  free (rd->durable);
  free (rd->pending);
  free (rd->log);
  free (rd);
}

void
record_device_forget (struct record_device *rd)
{
  rd->nr_log = 0;
  rd->reads = rd->writes = rd->fua_writes = rd->flushes = 0;
  rd->bytes_read = rd->bytes_written = 0;
}

void
record_device_fail (struct record_device *rd, enum record_kind kind,
                    unsigned after, int error)
{
  rd->faults[kind] = (struct record_fault) { true, after, error };
}

void
record_device_cut_power (struct record_device *rd, unsigned after)
{
  rd->cut = (struct record_fault) { true, after, 0 };
}

bool
record_device_is_cut (const struct record_device *rd)
{
  return rd->cut.error != 0;
}

struct record_device *
record_device_after_crash (const struct record_device *rd,
                           uint64_t survivors)
{
  const struct record_options o = {
    .size = rd->allocated,
    .sector_size = rd->geometry.sector_size,
    .memory_alignment = rd->geometry.memory_alignment,
    .max_request = rd->geometry.max_request,
    .flags = rd->geometry.flags,
    .image = rd->durable,
  };
  struct record_device *crashed = record_device_new (&o);
  size_t i;

  for (i = 0; i < rd->nr_pending; ++i)
    if (survivors >> (i % 64) & 1)
      record_device_poke (crashed, rd->pending[i].offset,
                          rd->pending[i].data, rd->pending[i].length);
  crashed->geometry.size = rd->geometry.size;
  return crashed;
}

size_t
record_device_find (const struct record_device *rd, enum record_kind kind,
                    size_t from)
{
  while (from < rd->nr_log && rd->log[from].kind != kind)
    from++;
  return from;
}

void
record_device_poke (struct record_device *rd, uint64_t offset,
                    const void *bytes, size_t length)
{
  memcpy (rd->content + offset, bytes, length);
  memcpy (rd->durable + offset, bytes, length);
}

void
record_device_write (struct record_device *rd, uint64_t offset,
                     const void *bytes, size_t length)
{
  pthread_mutex_lock (&rd->lock);
  memcpy (rd->content + offset, bytes, length);
  add_pending (rd, bytes, length, offset);
  pthread_mutex_unlock (&rd->lock);
}

/*---------------------------------------------------------------------*/

static uint64_t
clock_now (void *opaque)
{
  return *(uint64_t *) opaque;
}

static int
clock_sleep (void *opaque, uint64_t nanoseconds)
{
  *(uint64_t *) opaque += nanoseconds;
  return 0;
}

struct blkring_clock
record_clock (uint64_t *ns)
{
  return (struct blkring_clock) { clock_now, clock_sleep, ns };
}
