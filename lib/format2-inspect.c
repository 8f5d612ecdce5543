/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2: looking without being attached.  Info, check, map.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format2.h"

/* How often to look again before what was seen is believed. */
#define TRIES 4

/* What a walk over the frames found. */
struct walk {
  const struct ring *ring;
  struct f2_records records;
  uint64_t lowest;           /* where it began */
  uint64_t visible, end;     /* the end of what can be popped, and of what
                                was pushed */
  uint64_t published;
  bool late;                 /* a frame of a replaced producer is there */
  struct blkring_info *info; /* may be NULL */
};

static int
walk_begin (struct walk *w, const struct ring *ring)
{
  *w = (struct walk) { .ring = ring };
  if (f2_records_init (&w->records, ring) == -1)
    return -1;
  if (f2_read_records (ring, &w->records) == 0)
    return 0;
  f2_records_free (&w->records);
  return -1;
}

static void
count_item (struct walk *w, uint64_t position, uint32_t length)
{
  struct blkring_info *i = w->info;
  unsigned k;

  for (k = 0; k < i->nr_consumers; ++k)
    if (position >= i->consumers[k].position)
      i->consumers[k].items++;
  if (position < i->consumer)
    return;
  if (i->items == 0 || length < i->smallest_unread)
    i->smallest_unread = length;
  i->largest_unread = max_u64 (i->largest_unread, length);
  i->item_bytes += length;
  i->items++;
}

/* The items of a frame: their lengths must fill it. */
static int
walk_items (struct walk *w, const struct f2_scan *s)
{
  const unsigned char *area = s->bytes + F2_HEADER;
  uint64_t offset = 0;
  uint32_t length, n;

  for (n = 0; n < s->frame.items; ++n) {
    if (f2_item_length (area, &s->frame, offset, &length) == -1)
      return -1;
    if (w->info)
      count_item (w, offset ? s->frame.position + F2_HEADER + offset
                  : s->frame.position, length);
    offset += f2_item_size (length);
  }
  if (offset == s->frame.length)
    return 0;
  return set_corrupt (ring_offset (w->ring, s->frame.position), "the %" PRIu32
                      " items of the frame at position %" PRIu64 " have %"
                      PRIu64 " bytes, not %" PRIu64, s->frame.items,
                      s->frame.position, offset, s->frame.length);
}

/* The enabled consumer that is farthest behind: of two in the same frame,
 * too. */
static int
lowest_record (const struct f2_records *rs, unsigned *kind)
{
  unsigned k;
  int found = 0;

  *kind = F2_PRODUCER;
  for (k = F2_CONSUMER; k < rs->nr; ++k)
    if (rs->record[k].flags & F2_ENABLED &&
        (!found || rs->record[k].position < rs->record[*kind].position)) {
      *kind = k;
      found = 1;
    }
  return found;
}

/* From the oldest unread frame to the end of what is there. */
static int
walk_frames (struct walk *w)
{
  const struct f2_record *p = &w->records.record[F2_PRODUCER], *r;
  struct f2_scan s;
  uint64_t where;
  bool visible = true, late = false;
  unsigned kind;
  int found;

  w->published = p->position;
  found = lowest_record (&w->records, &kind);
  r = &w->records.record[kind];
  w->lowest = w->visible = w->end = found ? r->frame : p->position;
  if (f2_scan_begin (&s, w->ring, w->lowest, r->chain,
                     w->lowest + w->ring->capacity) == -1)
    return -1;
  while ((found = f2_scan_next (&s)) == 1) {
    late = f2_is_late (p, &s.frame);
    if (late)
      break;
    w->end = s.at;
    visible = visible && (s.frame.flags & F2_PUBLISHED ||
                          s.at <= w->published);
    if (!visible)
      continue;
    w->visible = s.at;
    if (walk_items (w, &s) == -1) {
      found = -1;
      break;
    }
  }
  f2_scan_end (&s);
  if (found == -1)
    return -1;
  /* Also where there is a staged one that reaches behind it. */
  if (w->visible < w->published)
    return set_corrupt (ring_offset (w->ring, w->visible), "there is no valid "
                        "frame at position %" PRIu64 " (byte %" PRIu64 "), "
                        "though the producer published up to %" PRIu64,
                        w->visible, ring_offset (w->ring, w->visible),
                        w->published);
  w->late = late && s.frame.flags & F2_PUBLISHED && !(p->flags & F2_CLEAN);
  if (w->late)
    return set_corrupt (ring_offset (w->ring, w->end), "the frame at position"
                        " %" PRIu64 " (byte %" PRIu64 ") is of a producer "
                        "that had been replaced, and may have destroyed "
                        "another one", w->end,
                        ring_offset (w->ring, w->end));
  if (f2_check_tail (w->ring, &w->records, w->end) == -1)
    return -1;
  found = f2_find_beyond (w->ring, w->end, p->frame_epoch, &where);
  if (found == 1)
    return set_corrupt (ring_offset (w->ring, w->end), "there is no valid "
                        "frame at position %" PRIu64 " (byte %" PRIu64 "), "
                        "but one that came later at %" PRIu64, w->end,
                        ring_offset (w->ring, w->end), where);
  return found;
}

/* The same by what the records say: up to 'published'. */
static int
look_at_records (struct walk *w)
{
  const struct f2_record *p = &w->records.record[F2_PRODUCER];
  unsigned kind;

  w->published = w->visible = w->end = p->position;
  w->lowest = lowest_record (&w->records, &kind)
    ? min_u64 (w->records.record[kind].frame, p->position) : p->position;
  return 0;
}

/*---------------------------------------------------------------------*/

static void
describe_side (const struct f2_record *r, bool shared,
               struct blkring_side_info *side)
{
  struct f2_identity me;

  f2_identify (&me);
  if (r->flags & F2_CLEAN)
    side->owner = BLKRING_OWNER_NONE;
  else if (f2_is_dead (&r->owner, shared))
    side->owner = BLKRING_OWNER_DEAD;
  else if (memcmp (r->owner.boot_id, me.boot_id, 16) == 0)
    side->owner = BLKRING_OWNER_ALIVE;
  else
    side->owner = BLKRING_OWNER_ELSEWHERE;
  strcpy (side->queue, r->queue);
  strcpy (side->client, r->client);
  strcpy (side->host, r->owner.host);
  side->process = r->owner.pid;
  side->since = r->time;
  side->enabled = r->flags & F2_ENABLED;
  side->position = r->position;
}

static enum blkring_state
state_of (const struct f2_record *control, const struct f2_record *p)
{
  const bool acknowledged = p->suspend == control->suspend;

  if (control->flags & F2_SUSPEND)
    return acknowledged ? BLKRING_SUSPENDED : BLKRING_SUSPEND_REQUESTED;
  return acknowledged ? BLKRING_RUNNING : BLKRING_RESUME_REQUESTED;
}

static void
describe (const struct walk *w, struct blkring_info *i)
{
  const struct ring *ring = w->ring;
  const struct f2_record *r = w->records.record;
  unsigned k, lowest;

  memset (i, 0, sizeof *i);
  i->format = 2;
  i->sector_size = ring->sector_size;
  i->capacity = ring->capacity;
  i->largest_item = ring->largest_item;
  i->block_size = ring->block_size;
  i->largest_frame = ring->largest_frame;
  memcpy (i->uuid, ring->uuid, sizeof i->uuid);
  memcpy (i->label, ring->label, sizeof i->label);
  i->created = ring->created;
  memcpy (i->features, ring->features, sizeof i->features);
  i->epoch = r[F2_PRODUCER].epoch;
  i->state = state_of (&r[F2_CONTROL], &r[F2_PRODUCER]);
  i->nr_consumers = ring->consumers;
  describe_side (&r[F2_PRODUCER], true, &i->producer_side);
  for (k = 0; k < ring->consumers; ++k)
    describe_side (&r[F2_CONSUMER + k], true, &i->consumers[k]);
  lowest_record (&w->records, &lowest);
  i->consumer = r[lowest].position;
  for (k = 0; k < w->records.nr; ++k)
    i->unflushed = i->unflushed || r[k].flags & F2_UNFLUSHED;
  if (r[F2_PRODUCER].epoch)
    f2_describe_owner (&r[F2_PRODUCER], i->producer_text,
                       sizeof i->producer_text);
  if (r[lowest].epoch)
    f2_describe_owner (&r[lowest], i->consumer_text,
                       sizeof i->consumer_text);
}

static int
inspect_once (const struct ring *ring, unsigned flags,
              struct blkring_info *info)
{
  struct walk w;
  unsigned k;
  int r;

  info->consumer = 0;
  if (walk_begin (&w, ring) == -1)
    return -1;
  describe (&w, info);
  w.info = info;
  r = flags & BLKRING_INSPECT_POINTERS ? look_at_records (&w)
    : walk_frames (&w);
  info->producer = w.visible;
  info->used = w.end - w.lowest;
  info->free = ring->capacity - info->used;
  info->staged = w.end - w.visible;
  for (k = 0; k < ring->consumers; ++k)
    if (w.visible > info->consumers[k].position)
      info->consumers[k].bytes = w.visible - info->consumers[k].position;
  info->producer_side.position = w.visible;
  f2_records_free (&w.records);
  return r;
}

/* Beside a running ring what is read may be freed and written anew while
 * it is read.  What is wrong at a place that has not moved is wrong. */
int
f2_inspect (const struct ring *ring, unsigned flags,
            struct blkring_info *info)
{
  uint64_t last = UINT64_MAX;
  int tries = 0, r, all;

  for (all = 0; all < 100; ++all) {
    r = inspect_once (ring, flags, info);
    if (r == 0 || errno != EBADMSG)
      return r;
    tries = info->consumer == last ? tries + 1 : 0;
    last = info->consumer;
    if (tries == TRIES)
      break;
  }
  return -1;
}

int
f2_find_late (const struct ring *ring, uint64_t *where)
{
  struct walk w;
  int r;

  if (walk_begin (&w, ring) == -1)
    return -1;
  r = walk_frames (&w);
  f2_records_free (&w.records);
  if (r == -1 && (errno != EBADMSG || !w.late))
    return -1;
  *where = w.end;
  return r == -1;
}

int
f2_texts (const struct ring *ring, unsigned index, char *producer,
          char *consumer)
{
  struct f2_records rs;
  int r;

  if (f2_records_init (&rs, ring) == -1)
    return -1;
  r = f2_read_records (ring, &rs);
  if (r == 0) {
    f2_describe_owner (&rs.record[F2_PRODUCER], producer, BLKRING_TEXT_SIZE);
    f2_describe_owner (&rs.record[F2_CONSUMER + index], consumer,
                       BLKRING_TEXT_SIZE);
  }
  f2_records_free (&rs);
  return r;
}

static void
tell (blkring_debug_fn fn, void *opaque, const char *key, uint64_t value)
{
  char number[24];

  snprintf (number, sizeof number, "%" PRIu64, value);
  fn (opaque, key, number);
}

/* The end of what is exposed.  Frames that break are not the matter here:
 * they end it. */
static int
exposed_end (const struct ring *ring, const struct f2_records *rs,
             uint64_t *end)
{
  struct f2_scan s;
  uint32_t chain;
  int found;

  *end = f2_highest_start (rs, &chain);
  if (f2_scan_begin (&s, ring, *end, chain,
                     f2_lowest_frame (rs, *end) + ring->capacity) == -1)
    return -1;
  while ((found = f2_scan_next (&s)) == 1 && s.frame.flags & F2_PUBLISHED &&
         !f2_is_late (&rs->record[F2_PRODUCER], &s.frame))
    *end = s.at;
  f2_scan_end (&s);
  return found == -1 ? -1 : 0;
}

static int
debug (const struct ring *ring, const struct f2_records *rs, unsigned index,
       blkring_debug_fn fn, void *opaque)
{
  const struct f2_record *p = &rs->record[F2_PRODUCER], *c;
  unsigned kind;
  uint64_t end;

  if (exposed_end (ring, rs, &end) == -1)
    return -1;
  if (index != FARTHEST_BEHIND)
    kind = F2_CONSUMER + index;
  else if (!lowest_record (rs, &kind))
    kind = F2_CONSUMER;
  c = &rs->record[kind];
  tell (fn, opaque, "producer/offset", end);
  tell (fn, opaque, "producer/suspend_ack", p->suspend);
  tell (fn, opaque, "consumer/offset", c->position);
  tell (fn, opaque, "consumer/suspend", rs->record[F2_CONTROL].suspend);
  tell (fn, opaque, "format", 2);
  tell (fn, opaque, "block-size", ring->block_size);
  tell (fn, opaque, "capacity", ring->capacity);
  tell (fn, opaque, "producer/epoch", p->epoch);
  tell (fn, opaque, "producer/published", p->position);
  tell (fn, opaque, "producer/since", p->since);
  tell (fn, opaque, "consumer/index", kind - F2_CONSUMER);
  tell (fn, opaque, "consumer/epoch", c->epoch);
  tell (fn, opaque, "consumer/frame", c->frame);
  return 0;
}

int
f2_debug (const struct ring *ring, unsigned index, blkring_debug_fn fn,
          void *opaque)
{
  struct f2_records rs;
  int r;

  if (f2_records_init (&rs, ring) == -1)
    return -1;
  r = f2_read_records (ring, &rs);
  if (r == 0)
    r = debug (ring, &rs, index, fn, opaque);
  f2_records_free (&rs);
  return r;
}

/*---------------------------------------------------------------------*/

static int
report (blkring_finding_fn fn, void *opaque, enum blkring_finding_kind kind,
        uint64_t offset, const char *message)
{
  const struct blkring_finding finding = { kind, offset, message };

  fn (opaque, &finding);
  return 1;
}

static int
check_super_copies (const struct ring *ring, blkring_finding_fn fn,
                    void *opaque)
{
  unsigned char content[F2_CONTENT];
  struct f2_super s;
  char message[128];
  unsigned slot;
  int found = 0;

  for (slot = 0; slot < 2; ++slot) {
    if (blkring_device_read (ring->device, content, sizeof content,
                             slot * F2_SLOT) == -1)
      return -1;
    if (f2_decode_super (content, &s))
      continue;
    snprintf (message, sizeof message, "the %s at byte %u is damaged",
              slot ? "superblock's copy" : "superblock", slot * F2_SLOT);
    found += report (fn, opaque, BLKRING_FINDING_CORRUPTION, slot * F2_SLOT,
                     message);
  }
  return found;
}

static int
check_record_copies (const struct ring *ring, blkring_finding_fn fn,
                     void *opaque)
{
  struct f2_records rs;
  char message[128], whose[32];
  uint64_t offset;
  unsigned k;
  int found = 0;

  if (f2_records_init (&rs, ring) == -1)
    return -1;
  if (f2_read_records (ring, &rs) == -1)
    /* Of what cannot be told inspect finds out more. */
    found = errno == EBADMSG ? 0 : -1;
  else
    for (k = 0; k < rs.nr; ++k) {
      if (!rs.damaged[k])
        continue;
      offset = f2_record_offset (k, !rs.copy[k]);
      snprintf (message, sizeof message, "one copy of %s record at byte %"
                PRIu64 " %s", f2_whose (k, whose, sizeof whose), offset,
                rs.record[k].overwritten
                ? "was overwritten by an owner that had been replaced"
                : "is damaged");
      found += report (fn, opaque, BLKRING_FINDING_CORRUPTION, offset,
                       message);
    }
  f2_records_free (&rs);
  return found;
}

int
f2_check (const struct ring *ring, blkring_finding_fn fn, void *opaque)
{
  struct blkring_info *info = malloc (sizeof *info);
  char message[1024];
  int found, records;

  if (info == NULL)
    return set_errno_error (ENOMEM, "cannot check");
  found = check_super_copies (ring, fn, opaque);
  records = found == -1 ? -1 : check_record_copies (ring, fn, opaque);
  if (records == -1) {
    free (info);
    return -1;
  }
  found += records;
  if (f2_inspect (ring, 0, info) == -1) {
    if (errno != EBADMSG)
      found = -1;
    else {
      snprintf (message, sizeof message, "%s", blkring_get_error ());
      found += report (fn, opaque, BLKRING_FINDING_CORRUPTION,
                       error_offset (), message);
    }
  }
  else if (info->staged > 0 &&
           (info->producer_side.owner == BLKRING_OWNER_NONE ||
            info->producer_side.owner == BLKRING_OWNER_DEAD)) {
    snprintf (message, sizeof message, "%" PRIu64 " bytes behind position %"
              PRIu64 " were pushed and never exposed", info->staged,
              info->producer);
    found += report (fn, opaque, BLKRING_FINDING_LEAK,
                     ring_offset (ring, info->producer), message);
  }
  free (info);
  return found;
}

/*---------------------------------------------------------------------*/

static unsigned
add_regions (const struct ring *ring, struct blkring_region *r, uint64_t from,
             uint64_t length, enum blkring_region_kind kind)
{
  const uint64_t offset = ring_offset (ring, from);
  const uint64_t end = ring->data_offset + ring->capacity;
  const uint64_t first = min_u64 (length, end - offset);
  unsigned n = 0;

  if (first > 0)
    r[n++] = (struct blkring_region) { offset, first, kind, false };
  if (length > first)
    r[n++] = (struct blkring_region) { ring->data_offset, length - first,
                                       kind, true };
  return n;
}

static int
by_offset (const void *a, const void *b)
{
  const struct blkring_region *x = a, *y = b;

  return (x->offset > y->offset) - (x->offset < y->offset);
}

int
f2_map (const struct ring *ring, blkring_map_fn fn, void *opaque)
{
  const uint64_t producer = f2_record_offset (F2_PRODUCER, 0);
  const uint64_t control = f2_record_offset (F2_CONTROL, 0);
  const uint64_t consumers = f2_record_offset (F2_CONSUMER, 0);
  const uint64_t end = ring->data_offset + ring->capacity;
  struct blkring_region regions[10] = {
    { 0, producer, BLKRING_REGION_SIGNATURE, false },
    { producer, control - producer, BLKRING_REGION_PRODUCER, false },
    { control, consumers - control, BLKRING_REGION_CONTROL, false },
    { consumers, ring->data_offset - consumers, BLKRING_REGION_CONSUMER,
      false },
  };
  struct blkring_info *info = malloc (sizeof *info);
  unsigned n = 4, i;
  uint64_t start;
  int r;

  if (info == NULL)
    return set_errno_error (ENOMEM, "cannot map");
  r = f2_inspect (ring, 0, info);
  if (r == 0) {
    start = info->producer + info->staged - info->used;
    n += add_regions (ring, regions + n, start, info->used,
                      BLKRING_REGION_UNREAD);
    n += add_regions (ring, regions + n, start + info->used, info->free,
                      BLKRING_REGION_FREE);
    if (ring->device->geometry.size > end)
      regions[n++] = (struct blkring_region) {
        end, ring->device->geometry.size - end, BLKRING_REGION_OUTSIDE, false
      };
    qsort (regions, n, sizeof regions[0], by_offset);
    for (i = 0; i < n && r == 0; ++i)
      r = fn (opaque, &regions[i]);
  }
  free (info);
  return r;
}
