/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service's I/O on the device below: sectors that a request covers in
 * part, zeros, flushes that are not needed, and what is done when the device
 * fails.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static const unsigned char zeros[SERVICE_CHUNK];

const unsigned char *
request_bytes (const struct request *rq, uint64_t offset)
{
  return rq->buf ? rq->buf + (offset - rq->offset) : NULL;
}

/* A part of one sector: the rest of it stays. */
static int
write_piece (struct service *s, const unsigned char *buf, uint64_t count,
            uint64_t offset)
{
  const uint32_t size = s->device->geometry.sector_size;
  const uint64_t start = round_down (offset, size);
  unsigned char *sector = device_buffer (s->device, size);
  int r = -1;

  if (sector == NULL)
    return -1;
  if (device_pread (s->device, sector, size, start) == 0) {
    if (buf)
      memcpy (sector + (offset - start), buf, count);
    else
      memset (sector + (offset - start), 0, count);
    r = device_pwrite (s->device, sector, size, start);
  }
  free (sector);
  return r;
}

static int
write_zeros (struct service *s, uint64_t count, uint64_t offset,
             unsigned flags)
{
  const struct service_device_ops *ops = &s->options.device_ops;
  uint64_t n;

  if (ops->zero) {
    if (ops->zero (s->options.device_opaque, count, offset, flags) == 0)
      return 0;
    if (flags & SERVICE_FLAG_FAST_ZERO &&
        (errno == ENOTSUP || errno == EOPNOTSUPP))
      return set_error (ENOTSUP, "zeros are not faster than other bytes "
                        "here");
    if (errno != ENOTSUP && errno != EOPNOTSUPP)
      return set_errno_error (errno, "zero of %" PRIu64 " bytes at %" PRIu64
                              " failed", count, offset);
  }
  for (; count > 0; count -= n, offset += n) {
    n = min_u64 (count, sizeof zeros);
    if (device_pwrite (s->device, zeros, n, offset) == -1)
      return -1;
  }
  return 0;
}

/* Sectors that are covered whole. */
static int
write_sectors (struct service *s, const unsigned char *buf, uint64_t count,
               uint64_t offset, unsigned zero_flags, bool durable)
{
  if (buf == NULL)
    return write_zeros (s, count, offset, zero_flags);
  if (durable)
    return device_pwrite_durable (s->device, buf, count, offset);
  return device_pwrite (s->device, buf, count, offset);
}

int
service_write_device (struct service *s, const unsigned char *buf,
                      uint64_t count, uint64_t offset, unsigned zero_flags,
                      bool durable)
{
  const uint32_t size = s->device->geometry.sector_size;
  const uint64_t end = offset + count;
  const uint64_t first = round_up (offset, size);
  const uint64_t last = round_down (end, size);
  bool whole = buf != NULL && first == offset && last == end;

  if (first > last)
    return write_piece (s, buf, count, offset) == -1 ||
      (durable && device_flush (s->device) == -1) ? -1 : 0;
  /* The middle first: a fast zero that is not fast has done nothing. */
  if (last > first &&
      write_sectors (s, buf ? buf + (first - offset) : NULL, last - first,
                     first, zero_flags, durable && whole) == -1)
    return -1;
  if (first > offset &&
      write_piece (s, buf, first - offset, offset) == -1)
    return -1;
  if (end > last &&
      write_piece (s, buf ? buf + (last - offset) : NULL, end - last, last)
      == -1)
    return -1;
  return durable && !whole ? device_flush (s->device) : 0;
}

void
service_trim_device (struct service *s, uint64_t count, uint64_t offset)
{
  const uint64_t size = max_u64 (s->device->geometry.sector_size, s->unit);
  const uint64_t first = round_up (offset, size);
  const uint64_t last = round_down (offset + count, size);

  if (s->options.device_ops.trim && last > first)
    s->options.device_ops.trim (s->options.device_opaque, last - first,
                                first);
}

/*---------------------------------------------------------------------*/

int
service_sync (struct service *s)
{
  const uint64_t answered = s->answered;
  int r;

  if (s->flushed >= answered ||
      s->device->geometry.flags & BLKRING_DEVICE_NO_FLUSH)
    return 0;
  pthread_mutex_unlock (&s->lock);
  r = device_flush (s->device);
  pthread_mutex_lock (&s->lock);
  if (r == 0)
    s->flushed = max_u64 (s->flushed, answered);
  return r;
}

/* A flush that failed is not tried again and believed: each connection is
 * told once, and whoever wrote must look what is there. */
void
service_failed (struct service *s, struct service_client *teller)
{
  struct service_client *c;

  for (c = s->clients; c; c = c->next)
    if (c != teller && c->answered > s->flushed)
      c->must_fail = true;
  s->unknown = true;
}

/*---------------------------------------------------------------------*/

int
request_keeps (const struct request *rq, uint64_t offset, uint64_t count,
               uint64_t *where)
{
  struct service *s = rq->client->service;
  unsigned char *buf = malloc (min_u64 (count, SERVICE_CHUNK));
  const unsigned char *new;
  uint64_t n, i;
  int r = 1;

  if (buf == NULL && count > 0)
    return set_errno_error (ENOMEM, "cannot compare");
  for (; count > 0 && r == 1; count -= n, offset += n) {
    n = min_u64 (count, SERVICE_CHUNK);
    if (blkring_device_read (s->device, buf, n, offset) == -1) {
      r = -1;
      break;
    }
    new = rq->buf ? request_bytes (rq, offset) : zeros;
    if (memcmp (buf, new, n) == 0)
      continue;
    for (i = 0; buf[i] == new[i]; ++i)
      ;
    *where = offset + i;
    r = 0;
  }
  free (buf);
  return r;
}

int
request_read (const struct request *rq, void *buf, uint64_t count,
              uint64_t offset)
{
  const uint64_t from = max_u64 (offset, rq->offset);
  const uint64_t to = min_u64 (offset + count, rq->offset + rq->count);
  unsigned char *p = buf;

  if (!(from == offset && to == offset + count) &&
      blkring_device_read (rq->client->service->device, buf, count, offset)
      == -1)
    return -1;
  if (from >= to || rq->kind == REQUEST_TRIM)
    return 0;
  if (rq->buf)
    memcpy (p + (from - offset), request_bytes (rq, from), to - from);
  else
    memset (p + (from - offset), 0, to - from);
  return 0;
}
