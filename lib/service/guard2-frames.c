/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The rules of format 2 for frames, and the tail that follows from them.
 *
 * What is written to free space can be anything, since a frame may come in
 * parts and in any order.  A header that is valid in itself must be that of
 * the next frame, at the tail; one for a place behind the tail would look
 * like a frame that came after a damaged one, and is refused.  Most frames
 * come whole in one request: they are looked at before they are written.
 * Others are looked at on the device, when all of their bytes are there.
 *
 * An exposed frame is what a pointer is in other formats: it is durable, and
 * all that was answered before it, when its request is answered; and who
 * writes it owns the producer's side.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "guard2.h"

void
guard2_set_live (struct service *s)
{
  const struct ring *ring = &s->ring;
  struct state2 *f = &s->f2;

  s->live_start = f2_lowest_frame (&f->records, f->exposed);
  s->live_end = f->tail;
  /* Nobody must build on it, and all must see it as it is. */
  if (f->damaged)
    s->live_end = min_u64 (f->tail + ring->largest_frame + ring->block_size,
                           s->live_start + ring->capacity);
}

void
guard2_expose (struct service *s, uint64_t position, uint32_t chain,
               uint64_t items)
{
  s->pushed.bytes += position - s->f2.exposed;
  s->pushed.items += items;
  s->f2.exposed = position;
  s->f2.exposed_chain = chain;
}

/* The highest position of all records: behind it nothing is overwritten. */
static void
find_start (const struct service *s, uint64_t *at, uint32_t *chain)
{
  const struct f2_records *rs = &s->f2.records;
  const struct f2_record *c;
  unsigned k;

  *at = rs->record[F2_PRODUCER].position;
  *chain = rs->record[F2_PRODUCER].chain;
  for (k = F2_CONSUMER; k < rs->nr; ++k) {
    c = &rs->record[k];
    if (c->flags & F2_ENABLED && c->frame > *at) {
      *at = c->frame;
      *chain = c->chain;
    }
  }
}

/* Written by a producer that had been replaced. */
static bool
is_late (const struct f2_record *p, const struct f2_frame *f)
{
  return f->epoch < p->frame_epoch && f->position >= p->since;
}

/* What stands behind the last record: frames that are exposed, then frames
 * that are staged. */
struct tail {
  uint64_t exposed, tail;
  uint32_t exposed_chain, tail_chain;
  uint64_t items;            /* of the exposed ones from 'known' on */
  bool late;                 /* an exposed one that is late ends it */
};

static int
walk_tail (struct service *s, uint64_t known, struct tail *t)
{
  const struct f2_records *rs = &s->f2.records;
  const struct f2_record *p = &rs->record[F2_PRODUCER];
  struct f2_frame f;
  uint64_t at, end;
  uint32_t chain;
  int r;

  find_start (s, &at, &chain);
  end = f2_lowest_frame (rs, at) + s->ring.capacity;
  *t = (struct tail) { .exposed = at, .exposed_chain = chain };
  while ((r = guard2_read_frame (s, at, chain, true, &f)) == 1 &&
         f2_frame_size (&s->ring, f.length) <= end - at) {
    const bool exposed = f.flags & F2_PUBLISHED;

    if (is_late (p, &f)) {
      t->late = exposed && at == t->exposed;
      break;
    }
    /* No producer that has gone exposes what it staged; and nothing is
     * exposed behind it. */
    if (exposed ? at != t->exposed : (p->flags & F2_CLEAN) != 0)
      break;
    if (exposed && at >= known)
      t->items += f.items;
    at += f2_frame_size (&s->ring, f.length);
    chain = f.crc;
    if (exposed) {
      t->exposed = at;
      t->exposed_chain = chain;
    }
  }
  t->tail = at;
  t->tail_chain = chain;
  return r == -1 ? -1 : 0;
}

/* Does something say that the stream went on from here? */
static int
find_damage (struct service *s, const struct tail *t)
{
  const struct f2_records *rs = &s->f2.records;
  const struct f2_record *p = &rs->record[F2_PRODUCER];
  uint64_t where;
  unsigned k;
  int r = 0;

  if (t->late && !(p->flags & F2_CLEAN))
    r = 1;
  for (k = F2_CONSUMER; k < rs->nr; ++k)
    if (rs->record[k].flags & F2_ENABLED &&
        rs->record[k].position > t->exposed)
      r = 1;
  return r ? r : f2_find_beyond (&s->ring, t->exposed, p->frame_epoch,
                                 &where);
}

int
guard2_find_tail (struct service *s)
{
  struct state2 *f = &s->f2;
  const uint64_t known = f->exposed;
  struct tail t;
  int damaged;

  if (walk_tail (s, known, &t) == -1)
    return -1;
  damaged = find_damage (s, &t);
  if (damaged == -1)
    return -1;
  f->damaged = damaged;
  f->exposed = t.exposed;
  f->exposed_chain = t.exposed_chain;
  f->tail = f->padding = t.tail;
  f->tail_chain = t.tail_chain;
  /* Counts are since the service began. */
  if (f->known) {
    s->pushed.items += t.items;
    s->pushed.bytes += t.exposed - min_u64 (known, t.exposed);
  }
  f->known = true;
  if (f->damaged)
    service_log (s, BLKRING_LOG_ERROR, "%s: the stream is damaged at position "
                 "%" PRIu64 ", and nothing can be pushed: blkring-img check "
                 "says more", blkring_device_name (s->device), f->exposed);
  return 0;
}

/*---------------------------------------------------------------------*/

/* What the frames of a request are held against. */
struct cursor {
  uint64_t start, tail, exposed, end; /* of the stream; end of free space */
  uint32_t chain, exposed_chain;
  uint64_t epoch;
  bool clean;
  uint64_t items;            /* that are exposed */
  uint64_t padding;
  unsigned nr;
};

static void
get_cursor (const struct service *s, struct cursor *c)
{
  const struct f2_record *p = &s->f2.records.record[F2_PRODUCER];

  memset (c, 0, sizeof *c);
  c->start = c->tail = s->f2.tail;
  c->exposed = s->f2.exposed;
  c->end = s->live_start + s->ring.capacity;
  c->chain = s->f2.tail_chain;
  c->exposed_chain = s->f2.exposed_chain;
  c->epoch = p->frame_epoch;
  c->clean = p->flags & F2_CLEAN;
}

/* The header of the frame at the tail. */
static int
check_header (struct request *rq, const struct cursor *c,
              const unsigned char *header, struct f2_frame *f)
{
  const struct ring *ring = &rq->client->service->ring;

  if (!f2_decode_frame (header, ring, c->tail, f))
    return refuse (rq, EINVAL, "the frame for position %" PRIu64 " says "
                   "another position, or has impossible sizes", c->tail);
  if (c->clean)
    return refuse (rq, EINVAL, "a frame at position %" PRIu64 ", but no "
                   "producer has claimed the record", c->tail);
  if (f->epoch != c->epoch)
    return refuse (rq, EINVAL, "the frame at position %" PRIu64 " has epoch %"
                   PRIu64 ", and the producer's is %" PRIu64, c->tail,
                   f->epoch, c->epoch);
  if (f->chain != c->chain)
    return refuse (rq, EINVAL, "the frame at position %" PRIu64 " does not "
                   "follow the one before it", c->tail);
  if (f->flags & ~F2_PUBLISHED)
    return refuse (rq, EINVAL, "the frame at position %" PRIu64 " has unknown "
                   "flags %#" PRIx32, c->tail, f->flags);
  if (f2_frame_size (ring, f->length) > c->end - c->tail)
    return refuse (rq, EINVAL, "the frame at position %" PRIu64 " needs %"
                   PRIu64 " bytes, and %" PRIu64 " are free", c->tail,
                   f2_frame_size (ring, f->length), c->end - c->tail);
  if (f->flags & F2_PUBLISHED && c->tail != c->exposed)
    return refuse (rq, EINVAL, "the frame at position %" PRIu64 " is exposed, "
                   "and the one before it is not", c->tail);
  return 0;
}

static void
pass_frame (const struct service *s, struct cursor *c,
            const struct f2_frame *f)
{
  c->nr++;
  c->padding = c->tail + F2_HEADER + f->length;
  c->tail += f2_frame_size (&s->ring, f->length);
  c->chain = f->crc;
  if (f->flags & F2_PUBLISHED) {
    c->exposed = c->tail;
    c->exposed_chain = c->chain;
    c->items += f->items;
  }
}

/* A whole frame in the request. */
static int
check_whole (struct request *rq, const struct f2_frame *f,
             const unsigned char *p)
{
  const struct ring *ring = &rq->client->service->ring;

  if (!f2_area_is_valid (p, ring, f))
    return refuse (rq, EINVAL, "the items of the frame at position %" PRIu64
                   " do not have its CRC", f->position);
  if (!guard2_has_items (p + F2_HEADER, f))
    return refuse (rq, EINVAL, "the frame at position %" PRIu64 " does not "
                   "hold %" PRIu32 " items", f->position, f->items);
  return 0;
}

/* The block at 'at' of the stream, of which the piece covers a part.  Moves
 * the cursor over a frame that begins there. */
static int
check_block (struct request *rq, struct cursor *c, const struct piece *p,
             uint64_t at)
{
  struct service *s = rq->client->service;
  const uint64_t offset = ring_offset (&s->ring, at);
  const uint64_t end = p->position + p->count;
  unsigned char header[F2_HEADER];
  struct f2_frame f;

  if (request_read (rq, header, sizeof header, offset) == -1)
    return -1;
  if (!guard2_is_header (s, header))
    return 0;
  if (at > c->tail)
    return get_le64 (header + 8) != at || get_le64 (header + 16) < c->epoch
      ? 0 : refuse (rq, EINVAL, "a frame at position %" PRIu64 ", and the "
                    "next one belongs to %" PRIu64, at, c->tail);
  if (check_header (rq, c, header, &f) == -1)
    return -1;
  if (at < p->position || end - at < F2_HEADER + f.length)
    return 0;                /* the rest comes with other requests */
  if (check_whole (rq, &f, request_bytes (rq, offset)) == -1)
    return -1;
  pass_frame (s, c, &f);
  return 0;
}

static int
check_piece (struct request *rq, struct cursor *c, const struct piece *p)
{
  const uint64_t b = rq->client->service->ring.block_size;
  const uint64_t end = p->position + p->count;
  uint64_t at = round_down (p->position, b), tail;

  while (at < end) {
    /* Only a part that has header bytes can make a header. */
    if (at + F2_HEADER > p->position) {
      tail = c->tail;
      if (check_block (rq, c, p, at) == -1)
        return -1;
      if (c->tail != tail) {
        at = c->tail;
        continue;
      }
    }
    at += b;
  }
  return 0;
}

int
guard2_check_frames (struct request *rq)
{
  struct service *s = rq->client->service;
  struct cursor c, before, now;
  bool again;
  unsigned i;
  int r;

  if (rq->buf == NULL || rq->keep_data)
    return 0;
  do {
    get_cursor (s, &before);
    c = before;
    pthread_mutex_unlock (&s->lock);
    for (i = 0, r = 0; i < rq->nr_pieces && r == 0; ++i)
      if (!rq->pieces[i].live)
        r = check_piece (rq, &c, &rq->pieces[i]);
    pthread_mutex_lock (&s->lock);
    get_cursor (s, &now);
    again = now.tail != before.tail || now.exposed != before.exposed ||
      now.chain != before.chain || now.epoch != before.epoch ||
      now.clean != before.clean;
    rq->refused = rq->refused && !again;
  } while (again);
  rq->frames = (struct frames) {
    .nr = c.nr, .tail = c.tail, .exposed = c.exposed, .chain = c.chain,
    .exposed_chain = c.exposed_chain, .items = c.items,
    .padding = c.padding,
  };
  return r;
}

/*---------------------------------------------------------------------*/

/* All bytes of [tail, tail + size) were written.  With 'before' those count
 * that may have been written before the server was started: a frame's parts
 * can come on both sides of that. */
static bool
was_written (const struct service *s, uint64_t size, bool before)
{
  const uint64_t end = s->f2.tail + size;
  const uint64_t from = before ? max_u64 (s->f2.tail, s->unknown_end)
    : s->f2.tail;

  return from >= end || intervals_covered (&s->written, from, end) == end;
}

/* They were, and nobody is at them. */
static bool
is_there (struct service *s, uint64_t size, bool before)
{
  const uint64_t tail = s->f2.tail;

  s->f2.commit_end = tail + size;
  service_wait_for_data (s, NULL, tail, tail + size);
  return s->f2.tail == tail && was_written (s, size, before);
}

/* Did the request bring the first or the last byte of what is at the tail?
 * Only then is it worth while to look at bytes that nobody is known to have
 * written. */
static bool
brings_end (const struct request *rq, uint64_t size)
{
  const struct service *s = rq->client->service;
  const struct piece *p;

  for (p = rq->pieces; p < rq->pieces + rq->nr_pieces; ++p)
    if (!p->live && p->position < s->f2.tail + size &&
        (p->position < s->f2.tail + F2_HEADER ||
         p->position + p->count >= s->f2.tail + size))
      return true;
  return false;
}

/* Look at the device, with the lock given up. */
static int
look (struct service *s, bool whole, struct f2_frame *f)
{
  const uint64_t tail = s->f2.tail;
  const uint32_t chain = s->f2.tail_chain;
  uint64_t items = 0;
  int r;

  pthread_mutex_unlock (&s->lock);
  r = guard2_read_frame (s, tail, chain, whole, f);
  if (r == 1 && whole)
    r = guard2_walk_items (s, f, tail, tail + F2_HEADER + f->length, &items);
  pthread_mutex_lock (&s->lock);
  if (r == 1 && whole && items != f->items)
    r = 0;
  return r == 1 ? s->f2.tail == tail : r;
}

/* May it be a frame, by what may have changed since its header was
 * written? */
static bool
may_be_frame (const struct request *rq, const struct f2_frame *f)
{
  const struct service *s = rq->client->service;
  struct cursor c;

  get_cursor (s, &c);
  return !c.clean && f->epoch == c.epoch && !(f->flags & ~F2_PUBLISHED) &&
    f2_frame_size (&s->ring, f->length) <= c.end - c.tail &&
    !(f->flags & F2_PUBLISHED && c.tail != c.exposed) &&
    service_may_own (rq->client, SIDE_PRODUCER);
}

/* The frame at the tail came in parts: 1 if it is complete now, and was
 * taken over; 0; -1. */
static int
finish_one (struct request *rq)
{
  struct service *s = rq->client->service;
  struct f2_frame f;
  struct cursor c;
  int r;

  if (!is_there (s, F2_HEADER, true))
    return 0;
  r = look (s, false, &f);
  if (r != 1 || !may_be_frame (rq, &f) ||
      !is_there (s, F2_HEADER + f.length,
                 brings_end (rq, F2_HEADER + f.length)))
    return r == -1 ? -1 : 0;
  r = look (s, true, &f);
  if (r != 1 || !may_be_frame (rq, &f))
    return r == -1 ? -1 : 0;
  service_take_side (rq->client, SIDE_PRODUCER);
  if (s->options.sync && service_sync (s) == -1) {
    service_failed (s, rq->client);
    return -1;
  }
  /* The lock was given up for the flush. */
  get_cursor (s, &c);
  if (c.tail != f.position || !may_be_frame (rq, &f))
    return 0;
  pass_frame (s, &c, &f);
  if (c.exposed > s->f2.exposed)
    guard2_expose (s, c.exposed, c.exposed_chain, c.items);
  s->f2.tail = c.tail;
  s->f2.padding = c.padding;
  s->f2.tail_chain = c.chain;
  guard2_set_live (s);
  intervals_remove (&s->written, 0, s->live_end);
  return 1;
}

/* Has it written anything that is not in a frame yet? */
static bool
leaves_more (const struct request *rq)
{
  const struct service *s = rq->client->service;
  const struct piece *p;

  for (p = rq->pieces; p < rq->pieces + rq->nr_pieces; ++p)
    if (!p->live && p->position + p->count > s->f2.tail)
      return true;
  return false;
}

int
guard2_finish_frames (struct request *rq)
{
  struct service *s = rq->client->service;
  struct state2 *f = &s->f2;
  int r = 0;

  if (f->damaged || s->unknown || !leaves_more (rq))
    return 0;
  f->finishing++;
  while (f->committing)
    pthread_cond_wait (&s->changed, &s->lock);
  f->committing = true;
  f->commit_end = f->tail;
  do
    r = finish_one (rq);
  while (r == 1);
  f->committing = false;
  f->finishing--;
  pthread_cond_broadcast (&s->changed);
  return r == -1 ? -1 : 0;
}

void
guard2_wait_for_frames (struct request *rq, uint64_t position)
{
  struct service *s = rq->client->service;
  struct state2 *f = &s->f2;

  if (position > f->tail && position - f->tail > s->ring.capacity)
    return;
  do {
    service_wait_for_data (s, rq, f->tail, position);
    if (f->finishing == 0)
      return;
    pthread_cond_wait (&s->changed, &s->lock);
  } while (f->exposed < position);
}
