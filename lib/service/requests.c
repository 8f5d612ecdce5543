/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The view "": reads, and the steps of a request that writes (internal.h
 * has their order).
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Pieces of requests that write at the same time: more of them may have to do
 * without what reserve_memory is for. */
#define AT_THE_SAME_TIME 64

/* Extents that a read looks up at once. */
#define EXTENTS 32

/* After a failure the device is the truth. */
int
service_learn_again (struct service *s)
{
  if (device_pread (s->device, s->meta, s->meta_size, 0) == -1)
    return -1;
  return s->guard->learn (s);
}

/* To learn the state anew nobody may be writing. */
static bool
is_quiet (const struct service *s)
{
  return s->in_flight == NULL &&
    !(s->guard == &guard2 && s->f2.committing);
}

static bool
overlaps (const struct request *a, uint64_t start, uint64_t end)
{
  return a->start < end && start < a->end;
}

/* A frame that came in parts is being looked at here. */
static bool
is_committing (const struct service *s, const struct request *rq)
{
  uint64_t at, n, to;

  if (s->guard != &guard2 || !s->f2.committing)
    return false;
  for (at = s->f2.tail; at < s->f2.commit_end; at += n) {
    to = s->ring.data_offset + s->ring.capacity;
    n = min_u64 (s->f2.commit_end - at, to - ring_offset (&s->ring, at));
    if (overlaps (rq, ring_offset (&s->ring, at),
                  ring_offset (&s->ring, at) + n))
      return true;
  }
  return false;
}

static bool
must_wait (const struct service *s, const struct request *rq)
{
  const struct request *other;

  if (s->unknown && s->guard)
    return !is_quiet (s);
  for (other = s->in_flight; other; other = other->next)
    if (overlaps (other, rq->start, rq->end))
      return true;
  return is_committing (s, rq);
}

static int
begin (struct request *rq)
{
  struct service *s = rq->client->service;
  const uint64_t sector = s->device->geometry.sector_size;

  rq->start = round_down (rq->offset, sector);
  rq->end = min_u64 (round_up (rq->offset + rq->count, sector), s->size);
  if (s->guard)
    s->guard->exclusive (s, &rq->start, &rq->end);
  while (must_wait (s, rq))
    pthread_cond_wait (&s->changed, &s->lock);
  if (s->unknown && s->guard) {
    if (service_learn_again (s) == -1)
      return -1;
    s->unknown = false;
  }
  rq->next = s->in_flight;
  s->in_flight = rq;
  return 0;
}

static void
end (struct request *rq)
{
  struct service *s = rq->client->service;
  struct request **at;

  for (at = &s->in_flight; *at != rq; at = &(*at)->next)
    ;
  *at = rq->next;
  pthread_cond_broadcast (&s->changed);
}

/*---------------------------------------------------------------------*/

/* Write, with the lock given up meanwhile. */
static int
write_unlocked (struct request *rq, const unsigned char *buf, uint64_t count,
                uint64_t offset, bool durable)
{
  struct service *s = rq->client->service;
  int r;

  pthread_mutex_unlock (&s->lock);
  r = service_write_device (s, buf, count, offset,
                            rq->flags & ~SERVICE_FLAG_FUA, durable);
  pthread_mutex_lock (&s->lock);
  if (!durable || r == -1)
    rq->client->answered = ++s->answered;
  return r;
}

static int
sync_before (struct request *rq)
{
  struct service *s = rq->client->service;

  if (!s->options.sync)
    return 0;
  if (rq->client->must_fail) {
    rq->client->must_fail = false;
    return set_error (EIO, "an earlier flush failed: what was not durable "
                      "then may be lost");
  }
  if (service_sync (s) == 0)
    return 0;
  service_failed (s, rq->client);
  return -1;
}

static void
trim_data (struct request *rq)
{
  struct service *s = rq->client->service;
  unsigned i;

  pthread_mutex_unlock (&s->lock);
  for (i = 0; i < rq->nr_pieces; ++i)
    service_trim_device (s, rq->pieces[i].count, rq->pieces[i].offset);
  pthread_mutex_lock (&s->lock);
}

static int
write_data (struct request *rq)
{
  struct service *s = rq->client->service;
  const bool frames = rq->frames.nr > 0;
  const bool durable = rq->flags & SERVICE_FLAG_FUA ||
    (frames && s->options.sync);

  if (rq->data_start == rq->data_end || rq->keep_data)
    return 0;
  if (frames && sync_before (rq) == -1)
    return -1;
  if (rq->kind == REQUEST_TRIM)
    trim_data (rq);
  else if (write_unlocked (rq, request_bytes (rq, rq->data_start),
                           rq->data_end - rq->data_start, rq->data_start,
                           durable) == -1) {
    if (errno != ENOTSUP && (durable || frames))
      service_failed (s, rq->client);
    return -1;
  }
  s->guard->commit_data (rq);
  return 0;
}

static int
write_units (struct request *rq)
{
  struct service *s = rq->client->service;
  const bool durable = s->options.sync || rq->flags & SERVICE_FLAG_FUA;
  const struct unit *u;

  if (rq->nr_units > 0 && sync_before (rq) == -1)
    return -1;
  for (u = rq->units; u < rq->units + rq->nr_units; ++u) {
    if (write_unlocked (rq, u->content, u->length, u->offset, durable)
        == -1) {
      service_failed (s, rq->client);
      return -1;
    }
    memcpy (s->meta + u->offset, u->content, u->length);
    s->guard->commit_unit (rq, u);
  }
  return 0;
}

/* Whoever may write what was checked, may that still: somebody else may have
 * come meanwhile. */
static int
take_sides (struct request *rq)
{
  const struct unit *u;
  unsigned i;
  bool pushes = rq->frames.nr > 0;

  for (i = 0; i < rq->nr_pieces && !rq->keep_data; ++i)
    pushes |= !rq->pieces[i].live;
  if (pushes && service_need_side (rq, SIDE_PRODUCER) == -1)
    return -1;
  for (u = rq->units; u < rq->units + rq->nr_units; ++u)
    if (u->owns && service_need_side (rq, u->side) == -1)
      return -1;

  if (pushes)
    service_expire_side (rq->client, SIDE_PRODUCER);
  if (rq->frames.nr > 0)
    service_take_side (rq->client, SIDE_PRODUCER);
  for (u = rq->units; u < rq->units + rq->nr_units; ++u)
    if (u->owns)
      service_take_side (rq->client, u->side);
  return 0;
}

static bool
wrote (const struct request *rq)
{
  return rq->nr_units > 0 ||
    (rq->data_start < rq->data_end && !rq->keep_data &&
     rq->kind != REQUEST_TRIM);
}

/* What is written is remembered, and a pointer that passes what nobody is
 * known to have written is refused: so there is memory for it first.  Of those
 * who write at the same time each needs so much. */
static int
reserve_memory (struct request *rq)
{
  struct service *s = rq->client->service;

  return rq->nr_pieces == 0 ? 0
    : intervals_reserve (&s->written, 2 * rq->nr_pieces + AT_THE_SAME_TIME);
}

static int
guarded (struct request *rq)
{
  struct service *s = rq->client->service;

  if (service_check_outside (rq) == -1 || service_check_data (rq) == -1 ||
      s->guard->check (rq) == -1 || reserve_memory (rq) == -1 ||
      take_sides (rq) == -1)
    return -1;
  if (write_data (rq) == -1 || write_units (rq) == -1)
    return -1;
  /* What did not change was not written, and may not be durable yet. */
  if (rq->flags & SERVICE_FLAG_FUA && !wrote (rq))
    return service_sync (s);
  return 0;
}

/* Without the guard: what is written to the metadata is made durable. */
static int
unguarded (struct request *rq)
{
  struct service *s = rq->client->service;
  const bool pointers = rq->offset < s->ring.data_offset;
  const bool durable = rq->flags & SERVICE_FLAG_FUA ||
    (pointers && s->options.sync);
  int r = 0;

  if (pointers && sync_before (rq) == -1)
    return -1;
  if (rq->kind != REQUEST_TRIM)
    r = write_unlocked (rq, rq->buf, rq->count, rq->offset, durable);
  else {
    pthread_mutex_unlock (&s->lock);
    service_trim_device (s, rq->count, rq->offset);
    pthread_mutex_lock (&s->lock);
  }
  return r;
}

int
service_do_request (struct request *rq)
{
  struct service *s = rq->client->service;
  struct saved_error error;
  int r;

  pthread_mutex_lock (&s->lock);
  r = begin (rq);
  if (r == 0) {
    r = s->guard ? guarded (rq) : unguarded (rq);
    if (r == -1)
      save_error (&error);
    end (rq);
    if (s->guard && s->guard->after (rq, r == 0) == -1)
      r = -1;
    else if (r == -1)
      restore_error (&error);
    /* For readers; who writes next looks once more, since what failed may
     * arrive late. */
    if (s->unknown && s->guard && is_quiet (s)) {
      save_error (&error);
      service_learn_again (s);
      restore_error (&error);
    }
  }
  pthread_mutex_unlock (&s->lock);
  return r;
}

/*---------------------------------------------------------------------*/

struct extent {
  uint64_t start, end;
  bool hole;
};

/* The extents of [from, to), as many as fit; with the lock held. */
static unsigned
get_extents (const struct service *s, uint64_t from, uint64_t to,
             struct extent *e)
{
  unsigned n = 0;
  uint64_t end;
  bool hole;

  while (from < to && n < EXTENTS) {
    end = service_extent (s, from, to, &hole);
    if (n > 0 && e[n - 1].hole == hole)
      e[n - 1].end = end;
    else
      e[n++] = (struct extent) { from, end, hole };
    from = end;
  }
  return n;
}

/* Metadata is read as it durably is. */
static uint64_t
read_meta (struct service_client *c, unsigned char *buf, uint64_t offset,
           uint64_t end)
{
  struct service *s = c->service;

  if (offset >= s->meta_size)
    return offset;
  end = min_u64 (end, s->meta_size);
  memcpy (buf, s->meta + offset, end - offset);
  if (s->ring.format->number == 1 && end > 2 * s->ring.sector_size)
    c->seen_consumer = s->f1.v.consumer.position;
  return end;
}

int
ring_view_pread (struct service_client *c, void *buf, uint64_t count,
                 uint64_t offset)
{
  struct service *s = c->service;
  const uint64_t start = offset, to = offset + count;
  struct extent e[EXTENTS];
  unsigned char *p = buf;
  unsigned n, i;

  if (s->guard == NULL)
    return blkring_device_read (s->device, buf, count, offset);
  while (offset < to) {
    pthread_mutex_lock (&s->lock);
    offset = read_meta (c, p + (offset - start), offset, to);
    n = get_extents (s, offset, to, e);
    pthread_mutex_unlock (&s->lock);
    for (i = 0; i < n; ++i) {
      if (e[i].hole)
        memset (p + (e[i].start - start), 0, e[i].end - e[i].start);
      else if (blkring_device_read (s->device, p + (e[i].start - start),
                                    e[i].end - e[i].start, e[i].start) == -1)
        return -1;
      offset = e[i].end;
    }
  }
  return 0;
}

int
ring_view_extents (struct service_client *c, uint64_t count, uint64_t offset,
                   bool one, service_extent_fn fn, void *opaque)
{
  struct service *s = c->service;
  const uint64_t to = offset + count;
  struct extent e[EXTENTS];
  unsigned n, i;

  pthread_mutex_lock (&s->lock);
  n = get_extents (s, offset, to, e);
  pthread_mutex_unlock (&s->lock);
  for (i = 0; i < n && !(one && i > 0); ++i)
    if (fn (opaque, e[i].start, e[i].end - e[i].start, e[i].hole
            ? SERVICE_EXTENT_HOLE | SERVICE_EXTENT_ZERO : 0) == -1)
      return -1;
  return 0;
}
