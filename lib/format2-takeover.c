/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2: to replace an owner that may be alive.  It must see the new
 * epoch before anything is built on what its record says; and what it writes
 * until then counts, for it may have told its caller that it is done.
 */

#include <config.h>

#include <errno.h>

#include "error.h"
#include "format2.h"

/* The owner may write meanwhile. */
#define TRIES 4

/* The owner of whom 'before' was the last record has written another one
 * over a copy of our claim.  Then that is what the ring is, and goes on as if
 * we had read it; only its epoch is over.  The next claim is first written to
 * the other copy, so that a crash cannot take it. */
static bool
take_what_came (struct f2_records *rs, unsigned kind, const struct ring *ring,
                const struct f2_record *before)
{
  struct f2_record *r = &rs->record[kind], came;
  const unsigned copy = !rs->copy[kind];

  if (!f2_decode_record (rs->buffer + (2 * kind + copy) * F2_SLOT,
                         ring->uuid, kind, &came) ||
      came.epoch != before->epoch || came.sequence <= before->sequence)
    return false;
  came.epoch = r->epoch;
  came.overwritten = false;
  *r = came;
  rs->copy[kind] = copy;
  return true;
}

int
f2_take_over (struct handle *h, struct f2_records *rs, unsigned kind)
{
  struct f2_record before, claimed;
  int tries;

  if (f2_flush_record (h, rs, kind) == -1)
    return -1;
  before = rs->record[kind];
  for (tries = 0; tries < TRIES; ++tries) {
    if (f2_claim (h, rs, kind) == -1)
      return -1;
    claimed = rs->record[kind];
    if (h->clock.sleep (h->clock.opaque, 2 * h->poll_interval) == -1)
      return set_errno_error (errno, "interrupted while taking over");
    if (f2_read_records (&h->ring, rs) == -1 ||
        f2_check_mine (h, rs, kind, &claimed) == -1)
      return -1;
    if (!take_what_came (rs, kind, &h->ring, &before))
      return 0;
    before.sequence = rs->record[kind].sequence;
    /* It must be durable before the other copy is written. */
    if (handle_flush (h) == -1)
      return -1;
  }
  return set_error (EBUSY, "the owner writes its record again and again: try "
                    "later");
}
