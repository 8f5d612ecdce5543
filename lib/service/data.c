/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The data area, whatever the format: what is live and what is free, what
 * of the free space was written, and who may write there.
 *
 * Live bytes do not change: a write may cover them when it brings what is
 * there (formats and page caches write whole sectors and pages).  Free
 * space may be written by whoever owns the producer's side or may own it.
 * Others may bring what reads there, and then nothing is written.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "internal.h"

static uint64_t
data_end (const struct service *s)
{
  return s->ring.data_offset + s->ring.capacity;
}

uint64_t
service_position (const struct service *s, uint64_t offset)
{
  const uint64_t capacity = s->ring.capacity;
  const uint64_t at = offset - s->ring.data_offset;

  return s->live_start + (at + capacity - s->live_start % capacity) % capacity;
}

static unsigned
add_piece (struct piece *p, uint64_t offset, uint64_t count,
           uint64_t position, bool live)
{
  if (count == 0)
    return 0;
  *p = (struct piece) { offset, count, position, live };
  return 1;
}

/* Cut [from, to) of the data area where live and free meet. */
static unsigned
cut (const struct service *s, uint64_t from, uint64_t to,
     struct piece *pieces)
{
  unsigned n = 0;
  uint64_t at, count, live;

  while (from < to) {
    at = service_position (s, from);
    count = min_u64 (to - from, s->live_start + s->ring.capacity - at);
    live = at < s->live_end ? min_u64 (count, s->live_end - at) : 0;
    n += add_piece (&pieces[n], from, live, at, true);
    n += add_piece (&pieces[n], from + live, count - live, at + live, false);
    from += count;
  }
  return n;
}

/*---------------------------------------------------------------------*/

uint64_t
service_extent (const struct service *s, uint64_t offset, uint64_t end,
                bool *hole)
{
  const uint64_t u = s->unit, capacity = s->ring.capacity;
  uint64_t base, at, limit, live_end;
  const struct interval *w;

  *hole = false;
  if (offset < s->ring.data_offset)
    return min_u64 (end, s->ring.data_offset);
  end = min_u64 (end, offset < data_end (s) ? data_end (s) : end);
  if (offset >= data_end (s))
    return end;

  /* Sectors that hold one live byte are data. */
  base = round_down (s->live_start, u);
  live_end = min_u64 (round_up (s->live_end, u), base + capacity);
  at = base + (offset - s->ring.data_offset + capacity - base % capacity)
    % capacity;
  limit = min_u64 (base + capacity, at + (end - offset));
  if (at < live_end)
    return offset + (min_u64 (live_end, limit) - at);
  w = intervals_at (&s->written, round_down (at, u));
  if (w == NULL || round_down (w->start, u) >= limit) {
    *hole = true;
    return offset + (limit - at);
  }
  if (round_down (w->start, u) > at) {
    *hole = true;
    return offset + (round_down (w->start, u) - at);
  }
  return offset + (min_u64 (round_up (w->end, u), limit) - at);
}

/* Does the request write zeros here?  1; 0 and where not. */
static int
brings_zeros (const struct request *rq, uint64_t from, uint64_t to,
              uint64_t *where)
{
  for (*where = from; rq->buf && *where < to; ++*where)
    if (*request_bytes (rq, *where) != 0)
      return 0;
  return 1;
}

/* The client may not write here: does it bring what it would read? */
static int
keeps_visible (struct request *rq, const struct piece *p, uint64_t *where)
{
  struct service *s = rq->client->service;
  uint64_t at, end;
  bool hole;
  int r = 1;

  for (at = p->offset; at < p->offset + p->count && r == 1; at = end) {
    end = service_extent (s, at, p->offset + p->count, &hole);
    pthread_mutex_unlock (&s->lock);
    r = hole ? brings_zeros (rq, at, end, where)
      : request_keeps (rq, at, end - at, where);
    pthread_mutex_lock (&s->lock);
  }
  return r;
}

static int
refuse_live (struct request *rq, uint64_t where)
{
  struct service *s = rq->client->service;

  if (s->ring.format->number == 2 && s->f2.damaged &&
      service_position (s, where) >= s->f2.tail)
    return refuse (rq, EINVAL, "the tail of the ring is damaged: stop the "
                   "server, and let blkring-img check say more");
  if (s->ring.format->number == 2 &&
      service_position (s, where) >= s->f2.exposed)
    return refuse (rq, EINVAL, "byte %" PRIu64 " belongs to what was pushed "
                   "and not exposed yet: a producer that attaches drops it, "
                   "and blkring-img check -r when the server is stopped",
                   where);
  return refuse (rq, EINVAL, "byte %" PRIu64 " is unread, and would change",
                 where);
}

/* Format 2: the padding of the last frame may come behind its items, in
 * another request. */
static bool
is_padding (const struct request *rq, uint64_t from, uint64_t to)
{
  const struct service *s = rq->client->service;
  uint64_t where;

  return s->ring.format->number == 2 && !s->f2.damaged && !rq->keep_data &&
    service_position (s, from) >= s->f2.padding &&
    brings_zeros (rq, from, to, &where);
}

static int
check_live (struct request *rq, const struct piece *p)
{
  struct service *s = rq->client->service;
  uint64_t where = p->offset;
  int r = 0;

  if (rq->kind != REQUEST_TRIM) {
    pthread_mutex_unlock (&s->lock);
    r = request_keeps (rq, p->offset, p->count, &where);
    pthread_mutex_lock (&s->lock);
    if (r == 0 && is_padding (rq, where, p->offset + p->count))
      r = 1;
  }
  if (r != 0)
    return r == 1 ? 0 : -1;
  /* What was free when this was sent belongs to the next owner by now. */
  if (rq->client->lost[SIDE_PRODUCER])
    return service_need_side (rq, SIDE_PRODUCER);
  return refuse_live (rq, where);
}

/* The client may not push: it owns the side not, or the ring is suspended,
 * and then a producer writes no items. */
static int
check_foreign (struct request *rq, const struct piece *p, bool may_own)
{
  uint64_t where;
  int r = 0;

  if (rq->kind != REQUEST_TRIM)
    r = keeps_visible (rq, p, &where);
  if (r != 0)
    return r == 1 ? 0 : -1;
  if (may_own)
    return refuse (rq, EINVAL, "the ring is suspended: nothing can be "
                   "pushed");
  if (service_need_side (rq, SIDE_PRODUCER) == -1)
    return -1;
  return refuse (rq, EPERM, "the producer's side was another's a moment ago: "
                 "try again");
}

int
service_check_data (struct request *rq)
{
  struct service *s = rq->client->service;
  const bool may_own = service_may_own (rq->client, SIDE_PRODUCER);
  const bool may_push = may_own && s->guard->state (s) != BLKRING_SUSPENDED;
  bool free_space = false;
  unsigned i;
  int r = 0;

  rq->data_start = max_u64 (rq->offset, s->ring.data_offset);
  rq->data_end = min_u64 (rq->offset + rq->count, data_end (s));
  if (rq->data_start >= rq->data_end) {
    rq->data_start = rq->data_end = 0;
    return 0;
  }
  rq->nr_pieces = cut (s, rq->data_start, rq->data_end, rq->pieces);
  for (i = 0; i < rq->nr_pieces; ++i)
    free_space |= !rq->pieces[i].live;
  rq->keep_data = !may_own || (!may_push && free_space);
  /* Ownership first: who may not push at all is told so. */
  for (i = 0; i < rq->nr_pieces && r == 0 && !may_push; ++i)
    if (!rq->pieces[i].live)
      r = check_foreign (rq, &rq->pieces[i], may_own);
  for (i = 0; i < rq->nr_pieces && r == 0; ++i)
    if (rq->pieces[i].live)
      r = check_live (rq, &rq->pieces[i]);
  if (r == 0 && may_push && free_space && rq->kind != REQUEST_TRIM &&
      s->written.nr >= MAX_WRITTEN)
    return refuse (rq, ENOSPC, "there are %u separate stretches of written "
                   "free space already: write what is pushed in one piece",
                   MAX_WRITTEN);
  return r;
}

/* What is neither metadata nor data area stays as it is. */
static int
check_gap (struct request *rq, uint64_t from, uint64_t to)
{
  struct service *s = rq->client->service;
  uint64_t where;
  int r = 0;

  from = max_u64 (from, rq->offset);
  to = min_u64 (to, rq->offset + rq->count);
  if (from >= to)
    return 0;
  where = from;
  if (rq->kind != REQUEST_TRIM) {
    pthread_mutex_unlock (&s->lock);
    r = request_keeps (rq, from, to - from, &where);
    pthread_mutex_lock (&s->lock);
  }
  if (r == 0)
    return refuse (rq, EINVAL, "byte %" PRIu64 " is not a part of the ring",
                   where);
  return r == 1 ? 0 : -1;
}

int
service_check_outside (struct request *rq)
{
  const struct service *s = rq->client->service;

  if (check_gap (rq, s->meta_size, s->ring.data_offset) == -1)
    return -1;
  return check_gap (rq, data_end (s), s->size);
}

/*---------------------------------------------------------------------*/

/* Tell those who pushed here that it is gone. */
static void
note_overwritten (struct request *rq, uint64_t from, uint64_t to)
{
  const struct service *s = rq->client->service;
  const struct interval *w;
  struct service_client *c;

  while (from < to) {
    w = intervals_at (&s->written, from);
    if (w == NULL || w->start >= to)
      return;
    if (w->who != rq->client->id) {
      c = service_find_client (s, w->who);
      if (c)
        c->overwritten = true;
    }
    from = w->end;
  }
}

void
service_mark_written (struct request *rq)
{
  struct service *s = rq->client->service;
  unsigned i;

  for (i = 0; i < rq->nr_pieces; ++i) {
    const struct piece *p = &rq->pieces[i];

    if (p->live)
      continue;
    note_overwritten (rq, p->position, p->position + p->count);
    if (rq->kind == REQUEST_TRIM) {
      intervals_remove (&s->written, p->position, p->position + p->count);
      s->unknown_end = min_u64 (s->unknown_end, max_u64 (p->position, 1));
    }
    else if (intervals_add (&s->written, p->position, p->position + p->count,
                            rq->client->id) == -1)
      service_log (s, BLKRING_LOG_ERROR, "%s", blkring_get_error ());
  }
}

static bool
has_data_in (const struct service *s, const struct request *rq, uint64_t from,
             uint64_t to)
{
  const uint64_t capacity = s->ring.capacity;
  uint64_t start, n;

  /* The stretch of the stream as one or two of the device. */
  while (from < to) {
    start = s->ring.data_offset + from % capacity;
    n = min_u64 (to - from, data_end (s) - start);
    if (rq->start < start + n && start < rq->end)
      return true;
    from += n;
  }
  return false;
}

void
service_wait_for_data (struct service *s, const struct request *mine,
                       uint64_t from, uint64_t to)
{
  const struct request *rq;

 again:
  for (rq = s->in_flight; rq; rq = rq->next)
    if (rq != mine && has_data_in (s, rq, from, to)) {
      pthread_cond_wait (&s->changed, &s->lock);
      goto again;
    }
}
