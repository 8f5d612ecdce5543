/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Several requests at once, for a device that can have them in flight
 * together, and one after the other for any other.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "device.h"
#include "error.h"

/* So many are kept without memory of their own. */
#define FEW 8

struct blkring_part
read_part (void *buf, size_t count, uint64_t offset)
{
  return (struct blkring_part) {
    .kind = BLKRING_PART_READ, .buf = buf, .count = count, .offset = offset,
  };
}

struct blkring_part
write_part (const void *buf, size_t count, uint64_t offset)
{
  return (struct blkring_part) {
    .kind = BLKRING_PART_WRITE, .buf = (void *) buf, .count = count,
    .offset = offset,
  };
}

bool
device_submits (const blkring_device *device)
{
  return device->ops.submit != NULL;
}

uint64_t
device_connection (blkring_device *device)
{
  return device->ops.connection ? device->ops.connection (device->opaque) : 0;
}

int
set_in_doubt (void)
{
  struct saved_error e;

  save_error (&e);
  return set_error (ECONNABORTED, "%.900s; whether the write under way has "
                    "arrived is not known", e.message);
}

/* Say what failed in front of what the device says about it, if it does. */
static int
explain (blkring_device *device, const struct blkring_part *part, int err)
{
  struct saved_error e;
  const char *why = strerror (err);

  save_error (&e);
  if (device->explains && e.err == err)
    why = e.message;
  if (part->kind == BLKRING_PART_FLUSH)
    set_error (err, "flush failed: %.900s", why);
  else
    set_error (err, "%s of %zu bytes at %" PRIu64 " failed: %.900s",
               part->kind == BLKRING_PART_READ ? "read" : "write",
               part->count, part->offset, why);
  return err == ECONNABORTED && !device->explains ? set_in_doubt () : -1;
}

/* The request failed, and so did some of its parts, or the whole for one
 * reason: 0 if it is only reads that stand beside writes. */
static int
judge (blkring_device *device, const struct blkring_part *parts, size_t nr,
       int err)
{
  bool told = false, writes = false;
  size_t i;

  for (i = 0; i < nr; ++i)
    if (parts[i].kind == BLKRING_PART_WRITE)
      writes = true;
  for (i = 0; i < nr; ++i) {
    if (parts[i].error == 0)
      continue;
    told = true;
    if (parts[i].kind == BLKRING_PART_WRITE || !writes)
      return explain (device, &parts[i], parts[i].error);
  }
  return told ? 0 : explain (device, &parts[0], err ? err : EIO);
}

/*---------------------------------------------------------------------*/

/* One part as requests that the device takes: none is larger than its
 * largest, and buffers are as aligned as it needs them. */
static size_t
nr_pieces (const blkring_device *device, const struct blkring_part *part)
{
  const struct blkring_geometry *g = &device->geometry;
  const size_t max = g->max_request
    ? round_down (g->max_request, g->sector_size) : part->count;

  return max == 0 ? 0 : (part->count + max - 1) / max;
}

static size_t
cut (const blkring_device *device, const struct blkring_part *part, void *buf,
     unsigned flags, struct blkring_part *pieces)
{
  const struct blkring_geometry *g = &device->geometry;
  size_t max = g->max_request ? round_down (g->max_request, g->sector_size)
    : part->count;
  size_t done, n = 0;

  for (done = 0; done < part->count; done += max) {
    max = min_u64 (max, part->count - done);
    pieces[n++] = (struct blkring_part) {
      .kind = part->kind, .flags = flags, .buf = (char *) buf + done,
      .count = max, .offset = part->offset + done,
    };
  }
  return n;
}

/* What lies where the device cannot take it, in a copy; or the part's own
 * buffer. */
static void *
fit_buffer (blkring_device *device, const struct blkring_part *part)
{
  void *copy;

  if (device_is_aligned (device, part->buf))
    return part->buf;
  copy = device_buffer (device, part->count);
  if (copy && part->kind == BLKRING_PART_WRITE)
    memcpy (copy, part->buf, part->count);
  return copy;
}

static void
give_back (struct blkring_part *part, void *buf)
{
  if (buf == part->buf)
    return;
  if (buf && part->kind == BLKRING_PART_READ && part->error == 0)
    memcpy (part->buf, buf, part->count);
  free (buf);
}

static int
submit_pieces (blkring_device *device, struct blkring_part *parts, size_t nr,
               struct blkring_part *pieces, unsigned flags,
               uint64_t connection)
{
  size_t i, j, n = 0, first[FEW + 1];
  void *bufs[FEW] = { NULL };
  int r = 0, err;

  for (i = 0; i < nr && r == 0; ++i) {
    first[i] = n;
    bufs[i] = fit_buffer (device, &parts[i]);
    if (bufs[i] == NULL)
      r = -1;
    else
      n += cut (device, &parts[i], bufs[i],
                parts[i].kind == BLKRING_PART_WRITE ? flags : 0, pieces + n);
    first[i + 1] = n;
  }
  if (r == 0)
    do
      r = device->ops.submit (device->opaque, pieces, n, connection);
    while (r == -1 && errno == EINTR);
  err = errno;
  for (i = 0; i < nr && bufs[i]; ++i) {
    for (j = first[i]; j < first[i + 1]; ++j)
      if (pieces[j].error != 0 && parts[i].error == 0)
        parts[i].error = pieces[j].error;
    give_back (&parts[i], bufs[i]);
  }
  errno = err;
  return r;
}

int
device_flush_on (blkring_device *device, uint64_t connection)
{
  struct blkring_part part = { .kind = BLKRING_PART_FLUSH };
  int r;

  if (!device_submits (device))
    return device_flush (device);
  /* As there, an interrupted one has not failed. */
  do
    r = device->ops.submit (device->opaque, &part, 1, connection);
  while (r == -1 && errno == EINTR);
  return r == -1 ? explain (device, &part, errno) : 0;
}

static int
submit (blkring_device *device, struct blkring_part *parts, size_t nr,
        bool durable, uint64_t connection)
{
  const bool fua = device->geometry.flags & BLKRING_DEVICE_FUA;
  struct blkring_part few[FEW], *pieces = few;
  size_t i, n = 0;
  int r;

  for (i = 0; i < nr; ++i)
    n += nr_pieces (device, &parts[i]);
  if (n == 0)
    return 0;
  if (n > FEW && (pieces = calloc (n, sizeof *pieces)) == NULL)
    return set_errno_error (ENOMEM, "cannot split a request");
  r = submit_pieces (device, parts, nr, pieces,
                     durable && fua ? BLKRING_WRITE_FUA : 0, connection);
  if (pieces != few)
    free (pieces);
  if (r == -1)
    r = judge (device, parts, nr, errno);
  if (r == 0 && durable && !fua)
    return device_flush_on (device, connection);
  return r;
}

static int
one_by_one (blkring_device *device, struct blkring_part *parts, size_t nr,
            bool durable)
{
  struct blkring_part *p;

  if (nr == 1 && durable)
    return device_pwrite_durable (device, parts[0].buf, parts[0].count,
                                  parts[0].offset);
  for (p = parts; p < parts + nr; ++p)
    if ((p->kind == BLKRING_PART_READ
         ? device_pread (device, p->buf, p->count, p->offset)
         : device_pwrite (device, p->buf, p->count, p->offset)) == -1)
      return -1;
  return durable ? device_flush (device) : 0;
}

int
device_submit (blkring_device *device, struct blkring_part *parts, size_t nr,
               bool durable, uint64_t connection)
{
  size_t i;

  assert (nr > 0 && nr <= FEW);
  for (i = 0; i < nr; ++i) {
    parts[i].error = 0;
    if (device_check_range (device, parts[i].kind == BLKRING_PART_READ
                            ? "read" : "write", parts[i].count,
                            parts[i].offset, EIO) == -1)
      return -1;
  }
  return device_submits (device)
    ? submit (device, parts, nr, durable, connection)
    : one_by_one (device, parts, nr, durable);
}
