/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The rules of format 1.
 *
 * The signature stays.  A position never goes back, and goes from the end
 * of one item to that of another: the producer's over what was written,
 * the consumer's over what is exposed.  A write that moves a position
 * changes no flag: the one that the service knows stays, so that a stale
 * one does not undo a request.  A write that moves none may change the
 * flag as the suspend protocol has it; and on the consumer's side from
 * anybody, so that an administrator can suspend beside a running consumer.
 *
 * "Was written" is what clients wrote since the service began.  What lay in
 * free space before is not known: a producer whose server was started anew
 * may advance over what it had pushed, if it is well-formed items that are
 * not empty (zeros would be such) and nothing newer lies before.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static int
guard1_learn (struct service *s)
{
  struct f1_pointers v;

  if (f1_decode_pointers (s->meta + s->ring.sector_size, &s->ring, &v) == -1)
    return -1;
  s->f1.v = v;
  s->f1.frozen = v.producer.position;
  s->live_start = v.consumer.position;
  s->live_end = v.producer.position;
  if (s->unknown_end == 0)
    s->unknown_end = s->live_start + s->ring.capacity;
  intervals_remove (&s->written, 0, s->live_end);
  return 0;
}

static void
guard1_forget (struct service *s)
{
  (void) s;
}

static void
guard1_exclusive (const struct service *s, uint64_t *start, uint64_t *end)
{
  *start = round_down (*start, s->ring.sector_size);
  *end = round_up (*end, s->ring.sector_size);
}

static enum blkring_state
guard1_state (const struct service *s)
{
  const bool asked = s->f1.v.consumer.flag;

  if (asked == s->f1.v.producer.flag)
    return asked ? BLKRING_SUSPENDED : BLKRING_RUNNING;
  return asked ? BLKRING_SUSPEND_REQUESTED : BLKRING_RESUME_REQUESTED;
}

/*---------------------------------------------------------------------*/

/* Up to where [from, to) is written, also by this request. */
static uint64_t
covered (const struct request *rq, uint64_t from, uint64_t to)
{
  const struct service *s = rq->client->service;
  const struct piece *p;
  uint64_t at;

  do {
    at = from;
    from = intervals_covered (&s->written, from, to);
    for (p = rq->pieces; p < rq->pieces + rq->nr_pieces; ++p)
      if (!p->live && from >= p->position && from < p->position + p->count)
        from = min_u64 (p->position + p->count, to);
  } while (from > at && from < to);
  return from;
}

/* Where the last byte that was written ends. */
static uint64_t
highest (const struct request *rq)
{
  const struct intervals *w = &rq->client->service->written;
  const struct piece *p;
  uint64_t end = w->nr > 0 ? w->v[w->nr - 1].end : 0;

  for (p = rq->pieces; p < rq->pieces + rq->nr_pieces; ++p)
    if (!p->live)
      end = max_u64 (end, p->position + p->count);
  return end;
}

static int
check_written (struct request *rq, uint64_t from, uint64_t to)
{
  const struct service *s = rq->client->service;
  const uint64_t end = highest (rq);
  const uint64_t known = max_u64 (from, s->unknown_end);

  if (end > from && to > end)
    return refuse (rq, EINVAL, "the producer's position %" PRIu64 " would "
                   "pass what was written, which ends at %" PRIu64, to, end);
  if (known < to && covered (rq, known, to) < to)
    return refuse (rq, EINVAL, "the producer's position %" PRIu64 " would "
                   "pass position %" PRIu64 ", which was not written since "
                   "the consumer freed it", to, covered (rq, known, to));
  return 0;
}

/* What this connection pushed may have been overwritten before it owned the
 * side. */
static int
check_own (struct request *rq, uint64_t from, uint64_t to)
{
  const struct service *s = rq->client->service;
  const struct interval *w;
  const struct service_client *c;

  if (!rq->client->overwritten)
    return 0;
  for (; from < to; from = w->end) {
    w = intervals_at (&s->written, from);
    if (w == NULL || w->start >= to)
      break;
    c = w->who == rq->client->id ? NULL : service_find_client (s, w->who);
    if (c)
      return refuse (rq, EPERM, "%s wrote over what was pushed here: push it "
                     "again", c->peer);
  }
  return 0;
}

/* From the start of one item to the end of another: their number.  Items in
 * [from, to) that nobody is known to have written must not be empty if it is
 * 'doubtful', and then this is called with the lock. */
static int
walk (struct request *rq, uint64_t from, uint64_t to, bool doubtful,
      uint64_t *items)
{
  struct service *s = rq->client->service;
  const unsigned char *p;
  struct window w;
  uint64_t at, last = 0;
  uint32_t length;
  int r = 0;

  if (window_open (&w, s, rq) == -1)
    return -1;
  *items = 0;
  for (at = from; at < to && r == 0; at += last) {
    p = window_at (&w, at, F1_HEADER, to, last);
    if (p == NULL) {
      r = -1;
      break;
    }
    if (f1_decode_length (p, at, to - at, &s->ring, &length) == -1)
      r = refuse (rq, EINVAL, "no item ends at position %" PRIu64 ": the one "
                  "at %" PRIu64 " has length %" PRIu32, to, at, length);
    else if (doubtful && length == 0 && covered (rq, at, at + 4) < at + 4)
      r = refuse (rq, EINVAL, "the producer's position %" PRIu64 " would pass"
                  " position %" PRIu64 ", which was not written", to, at);
    last = f1_item_size (length);
    ++*items;
  }
  window_close (&w);
  return r;
}

/*---------------------------------------------------------------------*/

/* Let the sector say this, text and all. */
static void
rewrite (const struct service *s, struct unit *u)
{
  static const char *const marks[] = { "; producer = ", "; consumer = " };
  char text[F1_TEXT_LENGTH + 1], *p, *last = NULL;

  memcpy (text, u->content + F1_TEXT_OFFSET, F1_TEXT_LENGTH);
  text[F1_TEXT_LENGTH] = '\0';
  for (p = text; (p = strstr (p, marks[u->kind])) != NULL; ++p)
    last = p;
  if (last)
    *last = '\0';
  f1_encode_pointer (u->content, s->ring.sector_size, u->kind, &u->pointer,
                     last ? text : NULL, NULL);
}

static int
check_positions (struct request *rq, const struct f1_pointers *v)
{
  if (f1_check_positions (&rq->client->service->ring, v) == -1)
    return refuse_corrupt (rq);
  return 0;
}

static int
check_push (struct request *rq, struct unit *u)
{
  struct service *s = rq->client->service;
  const uint64_t from = s->f1.v.producer.position, to = u->pointer.position;
  const struct f1_pointers v = { u->pointer, s->f1.v.consumer };
  bool doubtful;
  int r;

  if (check_positions (rq, &v) == -1)
    return -1;
  /* Nobody writes there from now on, and who does now is waited for. */
  s->f1.frozen = s->live_end = to;
  service_wait_for_data (s, rq, from, to);
  if (check_written (rq, from, to) == -1 || check_own (rq, from, to) == -1)
    return -1;
  doubtful = covered (rq, from, to) < to;
  if (doubtful)
    return walk (rq, from, to, true, &u->items);
  pthread_mutex_unlock (&s->lock);
  r = walk (rq, from, to, false, &u->items);
  pthread_mutex_lock (&s->lock);
  return r;
}

static int
check_producer (struct request *rq, struct unit *u)
{
  struct service *s = rq->client->service;
  const struct f1_pointer *old = &s->f1.v.producer;

  if (service_need_side (rq, SIDE_PRODUCER) == -1)
    return -1;
  u->owns = true;
  if (u->pointer.position < old->position)
    return refuse (rq, EINVAL, "the producer's position would go back from %"
                   PRIu64 " to %" PRIu64, old->position, u->pointer.position);
  if (u->pointer.position > old->position) {
    if (u->pointer.flag != old->flag) {
      u->pointer.flag = old->flag;
      rewrite (s, u);
    }
    return check_push (rq, u);
  }
  if (u->pointer.flag != old->flag &&
      u->pointer.flag != s->f1.v.consumer.flag)
    return refuse (rq, EINVAL, "the producer acknowledges a %s that the "
                   "consumer did not ask for",
                   u->pointer.flag ? "suspend" : "resume");
  return 0;
}

/* A request to suspend or resume from whoever knows the position, or knew it
 * when it read the sector last. */
static bool
is_request (const struct request *rq, const struct unit *u)
{
  const struct service *s = rq->client->service;
  const struct f1_pointer *old = &s->f1.v.consumer;

  if (u->pointer.flag == old->flag)
    return false;
  if (u->pointer.position == old->position)
    return true;
  return s->owners[SIDE_CONSUMER].client != rq->client &&
    u->pointer.position < old->position &&
    u->pointer.position == rq->client->seen_consumer;
}

static int
check_consumer (struct request *rq, struct unit *u)
{
  struct service *s = rq->client->service;
  const struct f1_pointer *old = &s->f1.v.consumer;
  const struct f1_pointers v = { s->f1.v.producer, u->pointer };
  int r;

  if (is_request (rq, u)) {
    if (old->flag != s->f1.v.producer.flag)
      return refuse (rq, EINVAL, "the producer has not acknowledged the %s "
                     "yet", old->flag ? "suspend" : "resume");
    if (u->pointer.position != old->position) {
      u->pointer.position = old->position;
      rewrite (s, u);
    }
    return 0;
  }
  if (service_need_side (rq, SIDE_CONSUMER) == -1)
    return -1;
  u->owns = true;
  if (u->pointer.position < old->position)
    return refuse (rq, EINVAL, "the consumer's position would go back from %"
                   PRIu64 " to %" PRIu64, old->position, u->pointer.position);
  if (check_positions (rq, &v) == -1)
    return -1;
  if (u->pointer.flag != old->flag) {
    u->pointer.flag = old->flag;
    rewrite (s, u);
  }
  pthread_mutex_unlock (&s->lock);
  r = walk (rq, old->position, u->pointer.position, false, &u->items);
  pthread_mutex_lock (&s->lock);
  return r;
}

/* The sector as it will be, if the request changes it: 1, 0, -1. */
static int
changed_sector (struct request *rq, unsigned sector, struct unit *u)
{
  struct service *s = rq->client->service;
  const uint32_t size = s->ring.sector_size;
  const uint64_t start = sector * (uint64_t) size;
  const uint64_t from = max_u64 (start, rq->offset);
  const uint64_t to = min_u64 (start + size, rq->offset + rq->count);
  unsigned char *content;

  if (from >= to)
    return 0;
  if (rq->kind == REQUEST_TRIM)
    return refuse (rq, EINVAL, "the ring's pointers cannot be trimmed");
  content = device_buffer (s->device, size);
  if (content == NULL)
    return -1;
  memcpy (content, s->meta + start, size);
  if (rq->buf)
    memcpy (content + (from - start), request_bytes (rq, from), to - from);
  else
    memset (content + (from - start), 0, to - from);
  if (memcmp (content, s->meta + start, size) == 0) {
    free (content);
    return 0;
  }
  *u = (struct unit) {
    .offset = start, .length = size, .content = content,
  };
  rq->nr_units++;
  return 1;
}

static int
check_sector (struct request *rq, unsigned sector)
{
  struct unit *u = &rq->units[rq->nr_units];
  int r = changed_sector (rq, sector, u);

  if (r != 1)
    return r;
  if (sector == 0)
    return refuse (rq, EINVAL, "the signature cannot be changed through the "
                   "server: stop the server, and then create, erase or "
                   "repair the ring");
  u->kind = u->side = sector - 1;
  if (f1_decode_pointer (u->content, u->kind, u->offset, &u->pointer) == -1)
    return refuse_corrupt (rq);
  return u->kind == SIDE_PRODUCER ? check_producer (rq, u)
    : check_consumer (rq, u);
}

static int
guard1_check (struct request *rq)
{
  unsigned sector;

  /* The producer's last: others wait for it. */
  for (sector = F1_DATA_SECTOR; sector-- > 0;)
    if (check_sector (rq, sector) == -1)
      return -1;
  return 0;
}

static void
guard1_commit_unit (struct request *rq, const struct unit *u)
{
  struct service *s = rq->client->service;
  struct counts *counts;
  struct f1_pointer *old;

  if (u->kind == SIDE_PRODUCER) {
    counts = &s->pushed;
    old = &s->f1.v.producer;
    s->f1.frozen = s->live_end = u->pointer.position;
    intervals_remove (&s->written, 0, s->live_end);
  }
  else {
    counts = &s->consumed[0];
    old = &s->f1.v.consumer;
    s->live_start = u->pointer.position;
  }
  counts->items += u->items;
  counts->bytes += u->pointer.position - old->position;
  *old = u->pointer;
}

static int
guard1_after (struct request *rq, bool done)
{
  struct service *s = rq->client->service;
  unsigned i;

  (void) done;
  for (i = 0; i < rq->nr_units; ++i)
    if (rq->units[i].kind == SIDE_PRODUCER && rq->units[i].offset > 0)
      s->f1.frozen = s->live_end = s->f1.v.producer.position;
  return 0;
}

const struct guard guard1 = {
  .learn = guard1_learn,
  .forget = guard1_forget,
  .exclusive = guard1_exclusive,
  .check = guard1_check,
  .commit_unit = guard1_commit_unit,
  .commit_data = service_mark_written,
  .after = guard1_after,
  .state = guard1_state,
};
