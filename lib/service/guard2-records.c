/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The rules of format 2 for records.
 *
 * A record is the next one of its side: written to the copy that does not
 * count, with the next sequence number; or the claim of a new owner, with
 * the next owner epoch, while no other connection owns the side.  Positions
 * never go back, and lie where frames and items end.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "guard2.h"

struct f2_record *
guard2_record (struct service *s, unsigned kind)
{
  return &s->f2.records.record[kind];
}

/* 1: a claim; 0: a record of the same owner; -1. */
static int
check_order (struct request *rq, const struct unit *u)
{
  struct service *s = rq->client->service;
  const struct f2_record *r = &u->record, *old = guard2_record (s, u->kind);

  if (u->copy == s->f2.records.copy[u->kind])
    return refuse (rq, EINVAL, "the record at byte %" PRIu64 " is the copy "
                   "that counts: the other one is to be written", u->offset);
  if (r->epoch == old->epoch && r->sequence == old->sequence + 1)
    return 0;
  if (r->epoch == old->epoch + 1 && r->sequence == 1)
    return 1;
  return refuse (rq, EINVAL, "the record at byte %" PRIu64 " has epoch %"
                 PRIu64 " and sequence %" PRIu64 ", and does not follow %"
                 PRIu64 " and %" PRIu64, u->offset, r->epoch, r->sequence,
                 old->epoch, old->sequence);
}

/* Order and flags of a record that belongs to an owner. */
static int
check_owned (struct request *rq, struct unit *u, uint32_t known)
{
  struct service *s = rq->client->service;
  const struct f2_record *r = &u->record, *old = guard2_record (s, u->kind);
  int claim;

  if (service_need_side (rq, u->side) == -1)
    return -1;
  u->owns = true;
  claim = check_order (rq, u);
  if (claim == -1)
    return -1;
  if (r->flags & ~known)
    return refuse (rq, EINVAL, "the record at byte %" PRIu64 " has unknown "
                   "flags %#" PRIx32, u->offset, r->flags);
  if (!claim && old->flags & F2_CLEAN)
    return refuse (rq, EINVAL, "the record at byte %" PRIu64 " belongs to an "
                   "owner that has detached: claim it first", u->offset);
  if (claim && r->flags & F2_CLEAN)
    return refuse (rq, EINVAL, "the record at byte %" PRIu64 " is claimed and"
                   " left at once", u->offset);
  return claim;
}

/*---------------------------------------------------------------------*/

static int
refuse_published (struct request *rq, const struct unit *u)
{
  const struct service *s = rq->client->service;

  return refuse (rq, EINVAL, "the producer's position %" PRIu64 " is not the "
                 "end of a frame that was written, with its chain (exposed is"
                 " %" PRIu64 ", staged up to %" PRIu64 ")",
                 u->record.position, s->f2.exposed, s->f2.tail);
}

static int
check_published (struct request *rq, struct unit *u)
{
  struct service *s = rq->client->service;
  const struct f2_record *r = &u->record, *old = guard2_record (s, u->kind);
  const uint64_t exposed = s->f2.exposed;
  uint64_t from = old->position, items = 0;
  uint32_t chain = old->chain;
  int found;

  if (r->position < old->position)
    return refuse (rq, EINVAL, "the producer's position would go back from %"
                   PRIu64 " to %" PRIu64, old->position, r->position);
  if (r->position > s->f2.tail)
    return refuse_published (rq, u);
  if (r->position >= exposed) {
    from = exposed;
    chain = s->f2.exposed_chain;
  }
  pthread_mutex_unlock (&s->lock);
  found = guard2_walk (s, from, &chain, r->position, &items);
  pthread_mutex_lock (&s->lock);
  if (found == -1)
    return -1;
  if (found != 1 || chain != r->chain)
    return refuse_published (rq, u);
  u->items = r->position > exposed ? items : 0;
  return 0;
}

static int
check_claim (struct request *rq, struct unit *u)
{
  struct service *s = rq->client->service;
  const struct f2_record *r = &u->record, *old = guard2_record (s, u->kind);

  /* A takeover claims first, and then looks where the stream ends. */
  if (r->frame_epoch == old->frame_epoch && r->since == old->since &&
      r->position == old->position && r->chain == old->chain)
    return 0;
  if (r->frame_epoch != old->frame_epoch + 1)
    return refuse (rq, EINVAL, "the producer claims frame epoch %" PRIu64
                   ", and %" PRIu64 " is the next one", r->frame_epoch,
                   old->frame_epoch + 1);
  if (s->f2.damaged || r->position != s->f2.exposed ||
      r->since != r->position || r->chain != s->f2.exposed_chain)
    return refuse (rq, EINVAL, "the producer claims to begin at position %"
                   PRIu64 " (since %" PRIu64 "), and the stream ends at %"
                   PRIu64 "%s", r->position, r->since, s->f2.exposed,
                   s->f2.damaged ? ", where it is damaged" : "");
  u->new_frames = true;
  return 0;
}

static int
check_producer (struct request *rq, struct unit *u)
{
  struct service *s = rq->client->service;
  const struct f2_record *r = &u->record, *old = guard2_record (s, u->kind);
  const int claim = check_owned (rq, u, F2_CLEAN | F2_UNFLUSHED);

  if (claim == -1)
    return -1;
  if (r->suspend != old->suspend &&
      r->suspend != guard2_record (s, F2_CONTROL)->suspend)
    return refuse (rq, EINVAL, "the producer acknowledges request %" PRIu64
                   ", and the last one is %" PRIu64, r->suspend,
                   guard2_record (s, F2_CONTROL)->suspend);
  if (claim)
    return check_claim (rq, u);
  if (r->frame_epoch != old->frame_epoch || r->since != old->since)
    return refuse (rq, EINVAL, "the producer changes its frame epoch from %"
                   PRIu64 " (since %" PRIu64 ") to %" PRIu64 " (since %" PRIu64
                   ") without a claim", old->frame_epoch, old->since,
                   r->frame_epoch, r->since);
  return check_published (rq, u);
}

/*---------------------------------------------------------------------*/

static int
check_control (struct request *rq, struct unit *u)
{
  struct service *s = rq->client->service;
  const struct f2_record *r = &u->record, *old = guard2_record (s, u->kind);
  const int claim = check_order (rq, u);

  if (claim == -1)
    return -1;
  if (claim || r->flags & ~F2_SUSPEND || r->flags == old->flags ||
      r->suspend != old->suspend + 1)
    return refuse (rq, EINVAL, "request %" PRIu64 " to %s does not follow "
                   "request %" PRIu64 " to %s", r->suspend,
                   r->flags & F2_SUSPEND ? "suspend" : "resume", old->suspend,
                   old->flags & F2_SUSPEND ? "suspend" : "resume");
  if (guard2_record (s, F2_PRODUCER)->suspend != old->suspend)
    return refuse (rq, EINVAL, "the producer has not acknowledged the %s yet",
                   old->flags & F2_SUSPEND ? "suspend" : "resume");
  return 0;
}

/*---------------------------------------------------------------------*/

static bool
same_position (const struct f2_record *a, const struct f2_record *b)
{
  return a->position == b->position && a->frame == b->frame &&
    a->chain == b->chain;
}

static int
refuse_position (struct request *rq, const struct unit *u, const char *why)
{
  return refuse (rq, EINVAL, "the consumer's position %" PRIu64 " in the frame"
                 " at %" PRIu64 ": %s", u->record.position, u->record.frame,
                 why);
}

/* Behind damage one begins anew where there is a frame, or with what is
 * published: 1, 0, -1. */
static int
is_salvage (struct service *s, const struct f2_record *r, uint64_t published,
            uint32_t published_chain, uint64_t exposed)
{
  struct f2_frame f;

  if (r->frame == published)
    return r->chain == published_chain;
  return r->frame >= exposed ? 0
    : guard2_read_frame (s, r->frame, r->chain, true, &f);
}

/* Position and index within the frame: 1, 0, -1. */
static int
check_inside (struct service *s, const struct f2_record *old,
              uint64_t old_index, const struct f2_record *r, uint64_t *index)
{
  const bool same = r->frame == old->frame;
  const uint64_t from = same ? old->position : r->frame;
  struct f2_frame f;
  int found;

  *index = same ? old_index : 0;
  if (r->position == r->frame)
    return 1;
  found = guard2_read_frame (s, r->frame, r->chain, false, &f);
  if (found != 1)
    return found;
  if (r->position <= f.position + F2_HEADER ||
      r->position >= f.position + F2_HEADER + f.length)
    return 0;
  return guard2_walk_items (s, &f, from, r->position, index);
}

static int
check_moved (struct request *rq, struct unit *u)
{
  struct service *s = rq->client->service;
  const unsigned k = u->kind - F2_CONSUMER;
  const struct f2_record *r = &u->record, old = *guard2_record (s, u->kind);
  const struct f2_record *p = guard2_record (s, F2_PRODUCER);
  const uint64_t old_index = s->f2.index[k];
  uint64_t exposed, published, items = 0;
  uint32_t published_chain, chain = old.chain;
  int found;

  u->index = old_index;
  if (same_position (r, &old))
    return 0;
  if (r->position < old.position || r->frame < old.frame)
    return refuse_position (rq, u, "that goes back");
  if (r->position > s->f2.exposed)
    guard2_wait_for_frames (rq, r->position);
  exposed = s->f2.exposed;
  published = p->position;
  published_chain = p->chain;
  if (r->position > exposed || r->frame > r->position)
    return refuse_position (rq, u, r->position > exposed ? "that passes what "
                            "is exposed" : "that is before the frame");
  pthread_mutex_unlock (&s->lock);
  found = guard2_walk (s, old.frame, &chain, r->frame, &items);
  if (found == 1 && chain != r->chain)
    found = 0;
  if (found == 2)
    found = is_salvage (s, r, published, published_chain, exposed);
  if (found == 1)
    found = check_inside (s, &old, old_index, r, &u->index);
  pthread_mutex_lock (&s->lock);
  if (found == -1)
    return -1;
  if (found != 1)
    return refuse_position (rq, u, "no item begins there, in a frame with "
                            "that chain");
  /* Behind damage nobody knows what was passed. */
  items += u->index;
  u->items = items > old_index ? items - old_index : 0;
  return 0;
}

/* Who is enabled begins with what is published, or with the others where
 * they are ahead of that. */
static bool
begins_right (struct service *s, const struct unit *u)
{
  const struct f2_records *rs = &s->f2.records;
  const struct f2_record *first = NULL, *r = &u->record;
  const struct f2_record *p = guard2_record (s, F2_PRODUCER);
  unsigned k;

  for (k = F2_CONSUMER; k < rs->nr; ++k)
    if (rs->record[k].flags & F2_ENABLED &&
        (first == NULL || rs->record[k].frame < first->frame))
      first = &rs->record[k];
  if (r->position != r->frame)
    return false;
  if (first && first->frame > p->position)
    return r->frame == first->frame && r->chain == first->chain;
  return r->frame == p->position && r->chain == p->chain;
}

static unsigned
count_enabled (const struct f2_records *rs)
{
  unsigned k, n = 0;

  for (k = F2_CONSUMER; k < rs->nr; ++k)
    n += (rs->record[k].flags & F2_ENABLED) != 0;
  return n;
}

/* An administrator enables or disables a consumer that nobody is. */
static int
check_enable (struct request *rq, struct unit *u)
{
  struct service *s = rq->client->service;
  const struct f2_record *r = &u->record, *old = guard2_record (s, u->kind);
  int claim;

  if (service_need_side (rq, u->side) == -1)
    return -1;
  claim = check_order (rq, u);
  if (claim == -1)
    return -1;
  if (claim || s->owners[u->side].client == rq->client ||
      (r->flags ^ old->flags) != F2_ENABLED)
    return refuse (rq, EINVAL, "a consumer is enabled or disabled while nobody"
                   " is that consumer, and nothing else is changed");
  if (s->owners[SIDE_PRODUCER].client &&
      !(guard2_record (s, F2_PRODUCER)->flags & F2_CLEAN) &&
      s->guard->state (s) != BLKRING_SUSPENDED)
    return refuse (rq, EINVAL, "a producer is at work: suspend the ring "
                   "before a consumer is enabled or disabled");
  if (!(r->flags & F2_ENABLED))
    return same_position (r, old) && count_enabled (&s->f2.records) > 1 ? 0
      : refuse (rq, EINVAL, "the last consumer that is enabled cannot be "
                "disabled, and its position stays");
  if (!begins_right (s, u))
    return refuse_position (rq, u, "a consumer that is enabled does not begin"
                            " there");
  return 0;
}

static int
check_consumer (struct request *rq, struct unit *u)
{
  struct service *s = rq->client->service;
  const struct f2_record *r = &u->record, *old = guard2_record (s, u->kind);
  int claim;

  if ((r->flags ^ old->flags) & F2_ENABLED)
    return check_enable (rq, u);
  claim = check_owned (rq, u, F2_CLEAN | F2_ENABLED | F2_UNFLUSHED);
  if (claim == -1)
    return -1;
  if (!claim && r->flags & F2_ENABLED)
    return check_moved (rq, u);
  u->index = s->f2.index[u->kind - F2_CONSUMER];
  if (!same_position (r, old))
    return refuse_position (rq, u, claim ? "a claim keeps it as it was"
                            : "this consumer is not enabled");
  return 0;
}

int
guard2_check_record (struct request *rq, struct unit *u)
{
  switch (u->kind) {
  case F2_PRODUCER:
    return check_producer (rq, u);
  case F2_CONTROL:
    return check_control (rq, u);
  default:
    return check_consumer (rq, u);
  }
}

/*---------------------------------------------------------------------*/

int
guard2_find_index (struct service *s, unsigned kind)
{
  const struct f2_record *r = guard2_record (s, kind);
  uint64_t *index = &s->f2.index[kind - F2_CONSUMER];
  struct f2_frame f;
  int found;

  *index = 0;
  if (!(r->flags & F2_ENABLED) || r->position == r->frame)
    return 0;
  found = guard2_read_frame (s, r->frame, r->chain, false, &f);
  if (found == 1)
    found = guard2_walk_items (s, &f, r->frame, r->position, index);
  return found == -1 ? -1 : 0;
}
