/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rings of both formats on a recording device, for cases that run on each:
 * made durable by flushes or by FUA, and the second of two consumers.
 */

#ifndef RECORD_KINDS_H
#define RECORD_KINDS_H

#include "record-fixture.h"

/* The ring of a case. */
struct record_ring {
  unsigned format;
  unsigned consumers;        /* format 2; the last one is the case's */
  unsigned flags;            /* of the device */
};

#define FORMAT1_FLUSHES { .format = 1 }
#define FORMAT1_FUA { .format = 1, .flags = BLKRING_DEVICE_FUA }
#define FORMAT2_FLUSHES { .format = 2, .consumers = 1 }
#define FORMAT2_FUA \
  { .format = 2, .consumers = 1, .flags = BLKRING_DEVICE_FUA }
#define FORMAT2_TWO { .format = 2, .consumers = 2 }

#define ON_KIND(text, kind, function) \
  { text, function, NULL, NULL, &(struct record_ring) kind }

#define IN_EACH_KIND(text, function) \
  ON_KIND (text " (format 1, by flushes)", FORMAT1_FLUSHES, function), \
  ON_KIND (text " (format 1, by FUA)", FORMAT1_FUA, function), \
  ON_KIND (text " (format 2, by flushes)", FORMAT2_FLUSHES, function), \
  ON_KIND (text " (format 2, by FUA)", FORMAT2_FUA, function), \
  ON_KIND (text " (format 2, two consumers)", FORMAT2_TWO, function)

/* Stands still until a case moves it: both sides have it. */
static uint64_t now;

/* The one of the case. */
static const struct record_ring *ring;

static inline struct record_device *
new_ring (void)
{
  const struct blkring_create_options create = {
    .format = ring->format, .block_size = S, .consumers = ring->consumers,
  };
  const uint64_t data_offset = ring->format == 1 ? 3 * S
    : (6 + 2 * ring->consumers) * 4096;
  const struct record_options o = {
    .size = data_offset + CAPACITY, .flags = ring->flags,
  };
  struct record_device *rd = record_device_new (&o);
  unsigned i;

  assert_int_equal (blkring_create (rd->device, &create), 0);
  for (i = 0; i + 1 < ring->consumers; ++i)
    assert_int_equal (blkring_consumer_enable (rd->device, i, false), 0);
  return rd;
}

static inline const struct blkring_attach_options *
options (unsigned flags)
{
  static struct blkring_clock clock;
  static struct blkring_attach_options o;

  clock = record_clock (&now);
  o = (struct blkring_attach_options) {
    .flags = flags, .clock = &clock,
    .consumer = ring->consumers ? ring->consumers - 1 : 0,
  };
  return &o;
}

static inline struct fixture
start_kind (const struct record_ring *kind)
{
  ring = kind;
  return start_on (new_ring (), options (0), options (0));
}

static inline void
attach_consumer (struct fixture *f, unsigned flags)
{
  blkring_consumer_free (f->c);
  f->c = blkring_consumer_attach (f->rd->device, options (flags));
  if (f->c == NULL)
    fail_msg ("%s", blkring_get_error ());
}

static inline void
attach_producer (struct fixture *f)
{
  blkring_producer_free (f->p);
  f->p = blkring_producer_attach (f->rd->device, options (0));
  if (f->p == NULL)
    fail_msg ("%s", blkring_get_error ());
}

#endif /* RECORD_KINDS_H */
