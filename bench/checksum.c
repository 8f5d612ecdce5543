/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: the CRC32C of what format 2 writes and checks, by the
 * same library and without anything else: what of the ring's time is that?
 */

#include <config.h>

#include <isa-l/crc.h>

#include "bench.h"

#define UUID 16
/* It needs no disk to be in a good mood. */
#define SHARE_OF_A_ROUND 0.1

/* Of the items of a frame, and of its header. */
static uint32_t
checksum_frame (const struct bench *b, const struct layout *l, size_t nr)
{
  unsigned char *p = (unsigned char *) b->payload;
  uint32_t crc;

  crc = crc32_iscsi (p, UUID, ~0u);
  crc = crc32_iscsi (p, nr * l->item, crc);
  crc ^= crc32_iscsi (p, UUID, ~0u);
  return crc32_iscsi (p, l->header - sizeof crc, crc);
}

double
run_checksum (struct bench *b, const struct test *t)
{
  struct stopwatch watch;
  struct layout l;
  uint64_t frames = 0;
  volatile uint32_t sum = 0;
  unsigned i;

  find_layout (t, &l);
  stopwatch_init (&watch, b->seconds * SHARE_OF_A_ROUND);
  stopwatch_start (&watch);
  do {
    for (i = 0; i < 16; ++i)
      sum ^= checksum_frame (b, &l, t->batch);
    frames += 16;
  } while (!stopwatch_over (&watch));
  stopwatch_stop (&watch);
  return frames * t->batch / stopwatch_seconds (&watch);
}

double
checksum_share (const struct result *r)
{
  return r->series[RING].median / r->series[CHECKSUM].median;
}
