/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The guard of format 2: the state, and the parts of a request.  The rules
 * are in guard2-records.c and guard2-frames.c.
 *
 * The service knows where the stream ends by looking at each frame that is
 * written: what is exposed (between the lowest frame of an enabled consumer
 * and 'exposed') and what is staged (from there to 'tail') does not change.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "guard2.h"

static int
guard2_learn (struct service *s)
{
  unsigned k;

  if (s->f2.records.buffer == NULL &&
      f2_records_init (&s->f2.records, &s->ring) == -1)
    return -1;
  if (f2_read_records (&s->ring, &s->f2.records) == -1 ||
      guard2_find_tail (s) == -1)
    return -1;
  for (k = F2_CONSUMER; k < s->f2.records.nr; ++k)
    if (guard2_find_index (s, k) == -1)
      return -1;
  s->f2.committing = false;
  guard2_set_live (s);
  if (s->unknown_end == 0)
    s->unknown_end = s->live_start + s->ring.capacity;
  intervals_remove (&s->written, 0, s->live_end);
  return 0;
}

static void
guard2_forget (struct service *s)
{
  f2_records_free (&s->f2.records);
}

/* The two copies of a record are one: whoever writes one of them has all up
 * to the end of the second. */
static void
guard2_exclusive (const struct service *s, uint64_t *start, uint64_t *end)
{
  const uint64_t pair = 2 * F2_SLOT;

  if (*end <= s->meta_size)
    *end = round_up (*end, pair);
  else if (*end > s->ring.data_offset &&
           *end <= s->ring.data_offset + s->ring.capacity)
    *end = round_up (*end, s->unit);
  if (*start >= s->ring.data_offset)
    *start = round_down (*start, s->unit);
}

static enum blkring_state
guard2_state (const struct service *s)
{
  const struct f2_record *control = &s->f2.records.record[F2_CONTROL];
  const bool asked = control->flags & F2_SUSPEND;

  if (s->f2.records.record[F2_PRODUCER].suspend == control->suspend)
    return asked ? BLKRING_SUSPENDED : BLKRING_RUNNING;
  return asked ? BLKRING_SUSPEND_REQUESTED : BLKRING_RESUME_REQUESTED;
}

/*---------------------------------------------------------------------*/

/* Behind the record is nothing that anybody reads: it stays, or becomes
 * zero. */
static int
check_rest (struct request *rq, const struct unit *u,
            const unsigned char *old)
{
  unsigned i;

  for (i = F2_CONTENT; i < F2_SLOT; ++i)
    if (u->content[i] != old[i] && u->content[i] != 0)
      return refuse (rq, EINVAL, "byte %" PRIu64 " is not a part of a record",
                     u->offset + i);
  return 0;
}

static int
check_content (struct request *rq, struct unit *u, unsigned slot)
{
  const struct service *s = rq->client->service;

  if (slot < 2)
    return refuse (rq, EINVAL, "the superblock cannot be changed through the "
                   "server: stop the server, and then create, erase or "
                   "repair the ring");
  u->kind = slot / 2 - 1;
  u->copy = slot % 2;
  u->side = u->kind == F2_PRODUCER ? SIDE_PRODUCER
    : SIDE_CONSUMER + u->kind - F2_CONSUMER;
  if (!f2_decode_record (u->content, s->ring.uuid, u->kind, &u->record))
    return refuse (rq, EINVAL, "what is written to byte %" PRIu64 " is no "
                   "record of %s: its magic, kind or CRC is wrong",
                   u->offset, u->kind == F2_PRODUCER ? "the producer"
                   : u->kind == F2_CONTROL ? "requests to suspend"
                   : "this consumer");
  return guard2_check_record (rq, u);
}

/* The part of the request in a slot, of which it has one.  0; -1. */
static int
check_slot (struct request *rq, unsigned slot)
{
  struct service *s = rq->client->service;
  const uint64_t start = slot * (uint64_t) F2_SLOT;
  const uint64_t from = max_u64 (start, rq->offset);
  const uint64_t to = min_u64 (start + F2_SLOT, rq->offset + rq->count);
  const unsigned char *old = s->meta + start;
  struct unit *u = &rq->units[rq->nr_units];
  unsigned char *content;

  if (rq->kind == REQUEST_TRIM)
    return refuse (rq, EINVAL, "the ring's records cannot be trimmed");
  content = device_buffer (s->device, F2_SLOT);
  if (content == NULL)
    return -1;
  memcpy (content, old, F2_SLOT);
  if (rq->buf)
    memcpy (content + (from - start), request_bytes (rq, from), to - from);
  else
    memset (content + (from - start), 0, to - from);
  if (memcmp (content, old, F2_SLOT) == 0) {
    free (content);
    return 0;
  }
  if (rq->nr_units == MAX_UNITS) {
    free (content);
    return refuse (rq, EINVAL, "more than %u records at once", MAX_UNITS);
  }
  *u = (struct unit) {
    .offset = start, .length = F2_SLOT, .content = content,
  };
  rq->nr_units++;
  if (check_rest (rq, u, old) == -1)
    return -1;
  if (memcmp (content, old, F2_CONTENT) == 0) {
    u->kind = F2_CONTROL;
    u->unchanged = true;
    return 0;
  }
  if (memcmp (content + F2_CONTENT, old + F2_CONTENT, F2_SLOT - F2_CONTENT)
      == 0)
    u->length = max_u64 (F2_CONTENT, s->device->geometry.sector_size);
  return check_content (rq, u, slot);
}

static int
guard2_check (struct request *rq)
{
  const struct service *s = rq->client->service;
  const uint64_t first = rq->offset / F2_SLOT;
  const uint64_t last = min_u64 (rq->offset + rq->count - 1,
                                 s->meta_size - 1) / F2_SLOT;
  uint64_t slot;

  if (guard2_check_frames (rq) == -1)
    return -1;
  for (slot = first; slot <= last && rq->offset < s->meta_size; ++slot)
    if (check_slot (rq, slot) == -1)
      return -1;
  return 0;
}

/*---------------------------------------------------------------------*/

static void
commit_producer (struct service *s, const struct unit *u)
{
  struct state2 *f = &s->f2;

  if (u->record.position > f->exposed)
    guard2_expose (s, u->record.position, u->record.chain, u->items);
  /* What is staged will not be exposed any more. */
  if (u->new_frames || u->record.flags & F2_CLEAN) {
    f->tail = f->padding = f->exposed;
    f->tail_chain = f->exposed_chain;
  }
}

static void
commit_consumer (struct service *s, const struct unit *u)
{
  const unsigned k = u->kind - F2_CONSUMER;
  const struct f2_record *old = guard2_record (s, u->kind);

  if (u->record.flags & old->flags & F2_ENABLED) {
    s->consumed[k].items += u->items;
    s->consumed[k].bytes += u->record.position - old->position;
  }
  s->f2.index[k] = u->index;
}

static void
guard2_commit_unit (struct request *rq, const struct unit *u)
{
  struct service *s = rq->client->service;
  struct f2_records *rs = &s->f2.records;

  if (u->unchanged)
    return;
  if (u->kind == F2_PRODUCER)
    commit_producer (s, u);
  else if (u->kind >= F2_CONSUMER)
    commit_consumer (s, u);
  rs->record[u->kind] = u->record;
  rs->copy[u->kind] = u->copy;
  guard2_set_live (s);
  /* Who has detached owns nothing any more. */
  if (u->owns && u->record.flags & F2_CLEAN &&
      s->owners[u->side].client == rq->client)
    service_release_side (s, u->side);
}

static void
guard2_commit_data (struct request *rq)
{
  struct service *s = rq->client->service;
  const struct frames *n = &rq->frames;
  struct state2 *f = &s->f2;

  service_mark_written (rq);
  if (n->nr == 0)
    return;
  if (n->exposed > f->exposed)
    guard2_expose (s, n->exposed, n->exposed_chain, n->items);
  f->tail = n->tail;
  f->padding = n->padding;
  f->tail_chain = n->chain;
  guard2_set_live (s);
  intervals_remove (&s->written, 0, s->live_end);
}

static int
guard2_after (struct request *rq, bool done)
{
  if (!done || rq->data_start == rq->data_end || rq->keep_data ||
      rq->kind == REQUEST_TRIM)
    return 0;
  return guard2_finish_frames (rq);
}

const struct guard guard2 = {
  .learn = guard2_learn,
  .forget = guard2_forget,
  .exclusive = guard2_exclusive,
  .check = guard2_check,
  .commit_unit = guard2_commit_unit,
  .commit_data = guard2_commit_data,
  .after = guard2_after,
  .state = guard2_state,
};
