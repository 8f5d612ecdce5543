/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2: the records of producer, consumers and suspend requests.
 *
 * A record has two copies, and is written to the one that does not count,
 * so that a torn write leaves the one before.  They all lie together: one
 * read fetches them.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format2.h"

#define FIRST_RECORD_SLOT 2
/* A read can race with a write: look again before it is corruption. */
#define READ_TRIES 4
/* The owner may write while it is flushed. */
#define FLUSH_TRIES 4

uint64_t
f2_record_offset (unsigned kind, unsigned copy)
{
  return (FIRST_RECORD_SLOT + 2 * (uint64_t) kind + copy) * F2_SLOT;
}

int
f2_records_init (struct f2_records *rs, const struct ring *ring)
{
  memset (rs, 0, sizeof *rs);
  rs->nr = F2_CONSUMER + ring->consumers;
  rs->size = 2 * rs->nr * (size_t) F2_SLOT;
  rs->buffer = device_buffer (ring->device, rs->size);
  return rs->buffer ? 0 : -1;
}

void
f2_records_free (struct f2_records *rs)
{
  free (rs->buffer);
  rs->buffer = NULL;
}

static bool
is_newer (const struct f2_record *a, const struct f2_record *b)
{
  return a->epoch != b->epoch ? a->epoch > b->epoch
    : a->sequence > b->sequence;
}

/* -1: no copy is valid. */
static int
choose (const struct ring *ring, struct f2_records *rs, unsigned kind)
{
  struct f2_record r[2];
  bool valid[2];
  unsigned i, copy;

  for (i = 0; i < 2; ++i)
    valid[i] = f2_decode_record (rs->buffer + (2 * kind + i) * F2_SLOT,
                                 ring->uuid, kind, &r[i]);
  if (!valid[0] && !valid[1])
    return -1;
  copy = valid[0] && valid[1] ? is_newer (&r[1], &r[0]) : valid[1];
  rs->record[kind] = r[copy];
  rs->copy[kind] = copy;
  /* A claim ends with both copies of the new epoch, durably.  An older one
   * beside its successors came late, and what it is written over is not
   * known. */
  rs->record[kind].overwritten = valid[!copy] && r[copy].sequence > 1 &&
    r[!copy].epoch < r[copy].epoch && !(r[copy].flags & F2_UNFLUSHED);
  rs->damaged[kind] = !valid[!copy] || rs->record[kind].overwritten;
  return 0;
}

static int
read_once (const struct ring *ring, struct f2_records *rs, unsigned *bad)
{
  unsigned kind;

  if (device_pread (ring->device, rs->buffer, rs->size,
                    f2_record_offset (0, 0)) == -1)
    return -1;
  for (kind = 0; kind < rs->nr; ++kind)
    if (choose (ring, rs, kind) == -1) {
      *bad = kind;
      return 0;
    }
  return 1;
}

const char *
f2_whose (unsigned kind, char *text, size_t size)
{
  if (kind == F2_PRODUCER)
    return "the producer's";
  if (kind == F2_CONTROL)
    return "the control";
  snprintf (text, size, "consumer %u's", kind - F2_CONSUMER);
  return text;
}

int
f2_read_records (const struct ring *ring, struct f2_records *rs)
{
  unsigned bad = 0;
  char whose[32];
  int tries, r;

  rs->connection = device_connection (ring->device);
  for (tries = 0; tries < READ_TRIES; ++tries) {
    r = read_once (ring, rs, &bad);
    if (r != 0)
      return r == 1 ? f2_check_records (ring, rs) : -1;
  }
  return set_corrupt (f2_record_offset (bad, 0), "both copies of %s "
                      "record, at bytes %" PRIu64 " and %" PRIu64
                      ", are damaged", f2_whose (bad, whose, sizeof whose),
                      f2_record_offset (bad, 0), f2_record_offset (bad, 1));
}

uint64_t
f2_lowest_frame (const struct f2_records *rs, uint64_t published)
{
  uint64_t lowest = published;
  unsigned k;

  for (k = F2_CONSUMER; k < rs->nr; ++k)
    if (rs->record[k].flags & F2_ENABLED)
      lowest = min_u64 (lowest, rs->record[k].frame);
  return lowest;
}

uint64_t
f2_highest_start (const struct f2_records *rs, uint32_t *chain)
{
  const struct f2_record *c;
  uint64_t start = rs->record[F2_PRODUCER].position;

  *chain = rs->record[F2_PRODUCER].chain;
  for (c = &rs->record[F2_CONSUMER]; c < &rs->record[rs->nr]; ++c)
    if (c->flags & F2_ENABLED && c->frame > start) {
      start = c->frame;
      *chain = c->chain;
    }
  return start;
}

static int
check_consumer (const struct ring *ring, const struct f2_record *p,
                const struct f2_record *c, uint64_t offset)
{
  const uint64_t b = ring->block_size;

  if (c->frame % b != 0 || c->position % 4 != 0 ||
      c->position < c->frame || c->position > INT64_MAX ||
      c->position - c->frame >= ring->largest_frame)
    return set_corrupt (offset, "the consumer's record at byte %" PRIu64
                        " has impossible positions: frame %" PRIu64
                        ", position %" PRIu64, offset, c->frame,
                        c->position);
  /* Published may be behind by a frame as large as the ring, and what was
   * appended before it without a record; and as much again where the newer
   * copy of the record was torn. */
  if (c->flags & F2_ENABLED &&
      (c->frame + ring->capacity < p->position ||
       (c->frame > p->position &&
        c->frame - p->position > 4 * ring->capacity)))
    return set_corrupt (offset, "the consumer's position %" PRIu64
                        " at byte %" PRIu64 " is too far, in a data area of %"
                        PRIu64 " bytes, from the producer's %" PRIu64,
                        c->frame, offset, ring->capacity, p->position);
  return 0;
}

unsigned
f2_find_past (const struct f2_records *rs, uint64_t tail)
{
  unsigned k;

  for (k = F2_CONSUMER; k < rs->nr; ++k)
    if (rs->record[k].flags & F2_ENABLED && rs->record[k].position > tail)
      return k;
  return 0;
}

int
f2_check_tail (const struct ring *ring, const struct f2_records *rs,
               uint64_t tail)
{
  const unsigned k = f2_find_past (rs, tail);

  if (k == 0)
    return 0;
  return set_corrupt (ring_offset (ring, tail), "there is no valid frame "
                      "at position %" PRIu64 " (byte %" PRIu64 "), but "
                      "consumer %u was behind it already, at %" PRIu64,
                      tail, ring_offset (ring, tail), k - F2_CONSUMER,
                      rs->record[k].position);
}

int
f2_check_records (const struct ring *ring, const struct f2_records *rs)
{
  const struct f2_record *p = &rs->record[F2_PRODUCER];
  uint64_t offset = f2_record_offset (F2_PRODUCER, rs->copy[F2_PRODUCER]);
  unsigned k;

  if (p->position % ring->block_size != 0 || p->since > p->position ||
      p->position > INT64_MAX - 2 * ring->capacity)
    return set_corrupt (offset, "the producer's record at byte %" PRIu64
                        " has impossible positions: published %" PRIu64
                        ", since %" PRIu64, offset, p->position, p->since);
  for (k = F2_CONSUMER; k < rs->nr; ++k)
    if (check_consumer (ring, p, &rs->record[k],
                        f2_record_offset (k, rs->copy[k])) == -1)
      return -1;
  return 0;
}

/*---------------------------------------------------------------------*/

/* The connection was lost.  If the record on the device is the one that we
 * knew, or the one that we were writing, we may write it (again). */
static int
still_mine (const struct ring *ring, struct f2_records *rs, unsigned kind)
{
  const unsigned char *known = rs->buffer + 2 * kind * (size_t) F2_SLOT;
  const uint64_t connection = device_connection (ring->device);
  unsigned char *slots = device_buffer (ring->device, 2 * F2_SLOT);
  struct f2_record r[2];
  bool valid[2], same;
  unsigned i, copy;

  if (slots == NULL)
    return -1;
  if (device_pread (ring->device, slots, 2 * F2_SLOT,
                    f2_record_offset (kind, 0)) == -1) {
    free (slots);
    return errno == ENOTCONN ? set_in_doubt () : -1;
  }
  for (i = 0; i < 2; ++i)
    valid[i] = f2_decode_record (slots + i * F2_SLOT, ring->uuid, kind,
                                 &r[i]);
  copy = valid[0] && valid[1] ? is_newer (&r[1], &r[0]) : valid[1];
  same = valid[copy] && memcmp (slots + copy * F2_SLOT,
                                known + copy * F2_SLOT, F2_CONTENT) == 0;
  free (slots);
  if (!same)
    return set_error (EBUSY, "while the connection to the server was lost "
                      "another wrote the %s record",
                      kind == F2_PRODUCER ? "producer's"
                      : kind == F2_CONTROL ? "control" : "consumer's");
  rs->connection = connection;
  return 0;
}

int
f2_write_record (const struct ring *ring, struct f2_records *rs,
                 unsigned kind, bool flush)
{
  const unsigned copy = !rs->copy[kind];
  const size_t size = max_u64 (F2_CONTENT,
                               ring->device->geometry.sector_size);
  const uint64_t offset = f2_record_offset (kind, copy);
  unsigned char *p = rs->buffer + (2 * kind + copy) * F2_SLOT;
  struct f2_record *r = &rs->record[kind];
  struct blkring_part part;

  r->sequence++;
  r->time = f2_wall_clock ();
  memset (p, 0, size);
  f2_encode_record (p, ring->uuid, kind, r);
  part = write_part (p, size, offset);
  while (device_submit (ring->device, &part, 1, flush, rs->connection) == -1)
    if (errno != ESTALE || still_mine (ring, rs, kind) == -1)
      return -1;
  rs->copy[kind] = copy;
  rs->damaged[kind] = false;
  return 0;
}

bool
f2_owner_is_gone (const struct ring *ring, const struct f2_record *r)
{
  blkring_device *device = ring->device;

  return r->flags & F2_CLEAN ||
    f2_is_dead (&r->owner, device->geometry.flags & BLKRING_DEVICE_SHARED) ||
    device_is_guarded (device);
}

int
f2_check_owner (const struct ring *ring, const struct f2_record *r,
                const char *who, bool takeover)
{
  char owner[600];

  if (r->overwritten)
    return set_corrupt (f2_record_offset (F2_PRODUCER, 0), "one copy of the "
                        "%s's record is of an owner that had been replaced, "
                        "and came late: what stood there last is lost (repair "
                        "restores the copy)", who);
  if (f2_owner_is_gone (ring, r))
    return 1;
  if (takeover)
    return 0;
  f2_describe_owner (r, owner, sizeof owner);
  return set_error (EBUSY, "another %s owns the ring, or died on another "
                    "host (takeover replaces it): %s", who, owner);
}

int
f2_flush_record (struct handle *h, struct f2_records *rs, unsigned kind)
{
  struct f2_record before;
  int tries;

  for (tries = 0; tries < FLUSH_TRIES; ++tries) {
    before = rs->record[kind];
    if (handle_flush (h) == -1 || f2_read_records (&h->ring, rs) == -1)
      return -1;
    if (f2_same_write (&rs->record[kind], &before))
      return 0;
  }
  return set_error (EBUSY, "the owner writes its record again and again: try "
                    "later");
}

int
f2_claim (struct handle *h, struct f2_records *rs, unsigned kind)
{
  struct f2_record *r = &rs->record[kind];
  int i;

  r->epoch++;
  r->sequence = 0;
  r->flags &= ~F2_CLEAN;
  if (!h->flushes)
    r->flags |= F2_UNFLUSHED;
  f2_identify (&r->owner);
  memset (r->queue, 0, sizeof r->queue);
  memset (r->client, 0, sizeof r->client);
  strncpy (r->queue, h->queue, F2_NAME);
  strncpy (r->client, h->client, F2_NAME);
  for (i = 0; i < 2; ++i)
    if (f2_write_record (&h->ring, rs, kind, h->flushes) == -1)
      return poison (h);
  return 0;
}

int
f2_check_mine (struct handle *h, const struct f2_records *rs, unsigned kind,
               const struct f2_record *written)
{
  const struct f2_record *r = &rs->record[kind];
  const char *who = kind == F2_PRODUCER ? "producer" : "consumer";
  char owner[600];

  if (f2_same_write (r, written))
    return 0;
  if (r->epoch > written->epoch) {
    f2_describe_owner (r, owner, sizeof owner);
    set_error (EBUSY, "this %s was replaced by another: %s", who, owner);
  }
  else
    set_error (EBUSY, "the record that this %s wrote last is not on the device"
               " any more: an owner that it had replaced may have overwritten "
               "it; check tells more", who);
  return poison (h);
}
