/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Little-endian integers in byte arrays, and the arithmetic of sizes.
 */

#ifndef BLKRING_BYTES_H
#define BLKRING_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t
get_le32 (const void *p)
{
  uint32_t v;

  memcpy (&v, p, sizeof v);
  return le32toh (v);
}

static inline uint64_t
get_le64 (const void *p)
{
  uint64_t v;

  memcpy (&v, p, sizeof v);
  return le64toh (v);
}

static inline void
put_le32 (void *p, uint32_t v)
{
  v = htole32 (v);
  memcpy (p, &v, sizeof v);
}

static inline void
put_le64 (void *p, uint64_t v)
{
  v = htole64 (v);
  memcpy (p, &v, sizeof v);
}

/* 'to' is a power of two. */
static inline uint64_t
round_down (uint64_t v, uint64_t to)
{
  return v & ~(to - 1);
}

/* The caller guarantees that v + to does not overflow. */
static inline uint64_t
round_up (uint64_t v, uint64_t to)
{
  return round_down (v + to - 1, to);
}

static inline uint64_t
min_u64 (uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static inline uint64_t
max_u64 (uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

#endif /* BLKRING_BYTES_H */
