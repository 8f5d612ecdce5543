/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A ring of format 2 that two hosts share, an owner for whom no time passes,
 * and one who takes over.
 */

#ifndef FORMAT2_SHARED_H
#define FORMAT2_SHARED_H

#include "format2-fixture.h"

/* For the old owner no time passes, so that it does not look. */
static uint64_t frozen __attribute__ ((unused));

static inline const struct blkring_attach_options *
with_frozen_clock (void)
{
  static struct blkring_clock clock;
  static const struct blkring_attach_options o = { .clock = &clock };

  clock = record_clock (&frozen);
  return &o;
}

static inline const struct blkring_attach_options *
taking_over (void)
{
  static struct blkring_attach_options o;

  o = *with_clock ();
  o.flags = BLKRING_ATTACH_TAKEOVER;
  o.client = "the new owner";
  return &o;
}

/* A ring that two hosts share. */
struct shared {
  struct fixture f;          /* what was there first */
  struct fixture g;          /* what came later, on the same storage */
  blkring_device *again;
};

static inline struct shared
start_shared (const struct blkring_attach_options *producer,
              const struct blkring_attach_options *consumer)
{
  const struct shape s = { .blocks = 128, .flags = BLKRING_DEVICE_SHARED };
  struct shared h = { .f = start2 (&s, producer, consumer) };

  h.again = open_again (h.f.rd);
  h.g.rd = h.f.rd;
  return h;
}

static inline void
stop_shared (struct shared *h)
{
  blkring_producer_free (h->g.p);
  blkring_consumer_free (h->g.c);
  blkring_device_close (h->again);
  stop (&h->f);
}

static inline void
take_over_producer (struct shared *h)
{
  assert_no_handle (EBUSY, blkring_producer_attach (h->again, with_clock ()));
  h->g.p = blkring_producer_attach (h->again, taking_over ());
  assert_non_null (h->g.p);
}

#endif /* FORMAT2_SHARED_H */
