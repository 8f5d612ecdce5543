/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2: what an administrator does.  Which consumers hold back space,
 * and repair.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format2.h"
#include "lock.h"

static bool
is_shared (const struct ring *ring)
{
  return ring->device->geometry.flags & BLKRING_DEVICE_SHARED;
}

/* The set of consumers changes only while no producer counts on it.
 * 'locked': the lock of that side is ours, so that nobody is the producer who
 * is not at work elsewhere, and nobody becomes it. */
static int
check_producer_rests (const struct ring *ring, const struct f2_records *rs,
                      bool locked)
{
  const struct f2_record *p = &rs->record[F2_PRODUCER];
  const struct f2_record *control = &rs->record[F2_CONTROL];

  if ((locked && (p->flags & F2_CLEAN ||
                  f2_is_dead (&p->owner, is_shared (ring)))) ||
      (control->flags & F2_SUSPEND && p->suspend == control->suspend))
    return 0;
  return set_error (EBUSY, "a producer is at work: suspend the ring first, "
                    "and wait for the acknowledgement");
}

/* A consumer begins with what is published; and not before the others, since
 * what they freed may be overwritten. */
static void
enable (struct f2_records *rs, struct f2_record *c)
{
  const struct f2_record *p = &rs->record[F2_PRODUCER];
  unsigned k, first = 0;

  for (k = F2_CONSUMER; k < rs->nr; ++k)
    if (rs->record[k].flags & F2_ENABLED &&
        (first == 0 || rs->record[k].frame < rs->record[first].frame))
      first = k;
  c->frame = p->position;
  c->chain = p->chain;
  if (first != 0 && rs->record[first].frame > p->position) {
    c->frame = rs->record[first].frame;
    c->chain = rs->record[first].chain;
  }
  c->position = c->frame;
  c->flags |= F2_ENABLED;
}

static int
disable (const struct f2_records *rs, struct f2_record *c)
{
  unsigned k, enabled = 0;

  for (k = F2_CONSUMER; k < rs->nr; ++k)
    enabled += (rs->record[k].flags & F2_ENABLED) != 0;
  if (enabled == 1)
    return set_error (EINVAL, "this is the last consumer that is enabled");
  c->flags &= ~F2_ENABLED;
  return 0;
}

static int
set_enabled (const struct ring *ring, struct f2_records *rs, unsigned index,
             bool on, bool locked)
{
  struct f2_record *c = &rs->record[F2_CONSUMER + index];

  if (f2_read_records (ring, rs) == -1)
    return -1;
  if (((c->flags & F2_ENABLED) != 0) == on)
    return 0;
  if (check_producer_rests (ring, rs, locked) == -1 ||
      f2_check_owner (ring, c, "consumer", false) == -1)
    return -1;
  if (!on && disable (rs, c) == -1)
    return -1;
  if (on)
    enable (rs, c);
  /* Rule 3: the positions that were read become the base of this one. */
  if (device_flush (ring->device) == -1)
    return -1;
  return f2_write_record (ring, rs, F2_CONSUMER + index, true);
}

int
f2_enable (const struct ring *ring, unsigned index, bool on)
{
  const bool locked = owner_lock (ring->device, SIDE_PRODUCER) == 0;
  struct f2_records rs;
  int r;

  if (!locked && errno != EBUSY)
    return -1;
  r = f2_records_init (&rs, ring);
  if (r == 0) {
    r = set_enabled (ring, &rs, index, on, locked);
    f2_records_free (&rs);
  }
  if (locked)
    owner_unlock (ring->device, SIDE_PRODUCER);
  return r;
}

/*---------------------------------------------------------------------*/

struct repair {
  const struct ring *ring;
  blkring_finding_fn fn;
  void *opaque;
  int repaired;
};

/* Locks do not reach those on other hosts.  What cannot be read has no owner
 * that could go on. */
static int
check_nobody_is_there (const struct ring *ring)
{
  struct f2_records rs;
  unsigned k;
  int r;

  if (f2_records_init (&rs, ring) == -1)
    return -1;
  r = f2_read_records (ring, &rs);
  if (r == -1 && errno == EBADMSG)
    r = 0;
  else
    for (k = 0; k < rs.nr && r != -1; ++k) {
      if (k == F2_CONTROL)
        continue;
      rs.record[k].overwritten = false; /* which is to be repaired */
      r = f2_check_owner (ring, &rs.record[k], k == F2_PRODUCER ? "producer"
                          : "consumer", false);
    }
  f2_records_free (&rs);
  return r == -1 ? -1 : 0;
}

static void
repaired (struct repair *r, enum blkring_finding_kind kind, uint64_t offset,
          const char *message)
{
  const struct blkring_finding finding = { kind, offset, message };

  r->repaired++;
  r->fn (r->opaque, &finding);
}

static int
repair_super (struct repair *r)
{
  blkring_device *device = r->ring->device;
  const size_t size = max_u64 (F2_CONTENT, device->geometry.sector_size);
  unsigned char *p = device_buffer (device, 2 * size);
  struct f2_super s;
  bool good[2];
  unsigned slot;
  int status = -1;

  if (p == NULL ||
      device_pread (device, p, size, 0) == -1 ||
      device_pread (device, p + size, size, F2_SLOT) == -1)
    goto out;
  for (slot = 0; slot < 2; ++slot)
    good[slot] = f2_decode_super (p + slot * size, &s);
  status = 0;
  for (slot = 0; slot < 2; ++slot) {
    if (good[slot] || !good[!slot])
      continue;
    status = device_pwrite_durable (device, p + !slot * size, size,
                                    slot * F2_SLOT);
    if (status == 0)
      repaired (r, BLKRING_FINDING_CORRUPTION, slot * F2_SLOT,
                slot ? "wrote the superblock's copy anew from the superblock"
                : "wrote the superblock anew from its copy");
  }

 out:
  free (p);
  return status;
}

static int
repair_records (struct repair *r)
{
  struct f2_records rs;
  char message[128], whose[32];
  uint64_t offset;
  unsigned k;
  int status = -1;

  if (f2_records_init (&rs, r->ring) == -1)
    return -1;
  if (f2_read_records (r->ring, &rs) == 0)
    for (k = 0, status = 0; k < rs.nr && status == 0; ++k) {
      if (!rs.damaged[k])
        continue;
      offset = f2_record_offset (k, !rs.copy[k]);
      status = f2_write_record (r->ring, &rs, k, true);
      snprintf (message, sizeof message, "wrote the damaged copy of %s "
                "record anew from the other one",
                f2_whose (k, whose, sizeof whose));
      if (status == 0)
        repaired (r, BLKRING_FINDING_CORRUPTION, offset, message);
    }
  f2_records_free (&rs);
  return status;
}

/* A frame is dropped by zeros over its header. */
static int
drop_frame (struct repair *r, uint64_t position,
            enum blkring_finding_kind kind, const char *message)
{
  const struct ring *ring = r->ring;
  const uint64_t offset = ring_offset (ring, position);
  unsigned char *block = device_buffer (ring->device, ring->block_size);
  int status;

  if (block == NULL)
    return -1;
  memset (block, 0, ring->block_size);
  status = device_pwrite_durable (ring->device, block, ring->block_size,
                                  offset);
  free (block);
  if (status == 0)
    repaired (r, kind, offset, message);
  return status;
}

static int
drop_staged (struct repair *r)
{
  struct blkring_info *info = malloc (sizeof *info);
  char message[128];
  int status = -1;

  if (info == NULL)
    return set_errno_error (ENOMEM, "cannot repair");
  status = f2_inspect (r->ring, 0, info);
  if (status == -1 && errno == EBADMSG)
    status = 0;              /* cannot be told; check says what is wrong */
  else if (status == 0 && info->staged > 0) {
    snprintf (message, sizeof message, "dropped %" PRIu64 " bytes behind "
              "position %" PRIu64 ", which were pushed and never exposed",
              info->staged, info->producer);
    status = drop_frame (r, info->producer, BLKRING_FINDING_LEAK, message);
  }
  free (info);
  return status;
}

static int
drop_late (struct repair *r)
{
  uint64_t where;
  int found = f2_find_late (r->ring, &where);

  if (found == -1 && errno == EBADMSG)
    return 0;                /* something else is wrong; check says what */
  return found == 1
    ? drop_frame (r, where, BLKRING_FINDING_CORRUPTION, "dropped a frame of a "
                  "producer that had been replaced; what it had destroyed, "
                  "if anything, is lost") : found;
}

int
f2_repair (const struct ring *ring, enum blkring_repair what,
           blkring_finding_fn fn, void *opaque)
{
  struct repair r = { ring, fn, opaque, 0 };

  if (check_nobody_is_there (ring) == -1)
    return -1;
  if (what == BLKRING_REPAIR_ALL &&
      (repair_super (&r) == -1 || repair_records (&r) == -1 ||
       drop_late (&r) == -1))
    return -1;
  return drop_staged (&r) == -1 ? -1 : r.repaired;
}
