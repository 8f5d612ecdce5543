/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Walks over the stream: a part of it in memory, in short steps where what is
 * looked for lies far apart and in long ones where it lies close.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

/* Headers farther apart than this are read one by one. */
#define FAR 4096
#define SHORT_STEP 512

int
window_open (struct window *w, struct service *s, const struct request *rq)
{
  *w = (struct window) { .s = s, .rq = rq, .buf = malloc (SERVICE_CHUNK) };
  return w->buf ? 0 : set_errno_error (ENOMEM, "cannot look at the ring");
}

void
window_close (struct window *w)
{
  free (w->buf);
}

const unsigned char *
window_at (struct window *w, uint64_t at, uint64_t need, uint64_t to,
           uint64_t last_step)
{
  const struct ring *ring = &w->s->ring;
  const uint64_t offset = ring_offset (ring, at);
  uint64_t n = last_step > FAR ? SHORT_STEP : SERVICE_CHUNK;
  int r;

  if (at >= w->start && at < w->end && need <= w->end - at)
    return w->buf + (at - w->start);
  n = min_u64 (min_u64 (n, to - at),
               ring->data_offset + ring->capacity - offset);
  w->start = w->end = at;
  r = w->rq ? request_read (w->rq, w->buf, n, offset)
    : blkring_device_read (w->s->device, w->buf, n, offset);
  if (r == -1)
    return NULL;
  w->end = at + n;
  return w->buf;
}
