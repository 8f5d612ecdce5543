/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A device whose content somebody else has made, and which watches what is
 * done to it: no request that breaks the rules of its geometry, no byte
 * changed that the one at work may not change, no more requests and bytes
 * than the size of the device accounts for.  Whatever breaks that aborts.
 *
 * The content may be shorter than the device, which then ends in zeros: so a
 * device can be as large as a hostile image says it is.
 */

#ifndef HOSTILE_DEVICE_H
#define HOSTILE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blkring.h"

/* Who is at work, and so what may be changed. */
#define MAY_PRODUCE 1        /* the producer's pointer, and free space */
#define MAY_CONSUME 2        /* the consumer's pointer */
#define MAY_REQUEST 4        /* suspend and resume */
#define MAY_ANYTHING 8       /* repair, create */

struct hostile_options {
  const unsigned char *image;
  size_t length;             /* bytes of it, at most 'size' */
  uint64_t size;             /* of the device */
  uint32_t sector_size;
  uint32_t memory_alignment;
  uint32_t max_request;      /* 0 = no limit */
  unsigned flags;            /* BLKRING_DEVICE_* */
};

struct far_write {
  struct far_write *next;
  uint64_t offset;
  size_t length;
  unsigned char bytes[];
};

struct hostile_device {
  blkring_device *device;
  struct blkring_geometry geometry;
  uint64_t told;             /* the size that the library was told last */
  unsigned char *content;    /* what is behind it is in 'far' and else zero */
  size_t length;
  struct far_write *far;

  unsigned may;              /* MAY_*, 0: change nothing */
  unsigned consumer;         /* which one */
  bool disturbed;            /* the content is changed behind their backs:
                                what they know need not be what is there */
  bool contradicts;          /* it has said two things about what is unread, so
                                that nobody can be right */
  int fail_after[3];         /* reads, writes, flushes that still work; -1:
                                all */
  uint64_t requests, bytes;  /* since hostile_begin */
};

extern struct hostile_device *
hostile_new (const struct hostile_options *options);
extern void hostile_free (struct hostile_device *d);

/* A call of the library begins, and may do this; and it has ended. */
extern void hostile_begin (struct hostile_device *d, unsigned may,
                           unsigned consumer);
extern void hostile_end (struct hostile_device *d);

/* The content, without the library. */
extern void hostile_peek (const struct hostile_device *d, void *buf,
                          size_t count, uint64_t offset);
extern void hostile_poke (struct hostile_device *d, const void *buf,
                          size_t count, uint64_t offset);

/* Say what is wrong, and abort. */
extern _Noreturn void violation (const char *fmt, ...)
  __attribute__ ((format (printf, 1, 2)));

#endif /* HOSTILE_DEVICE_H */
