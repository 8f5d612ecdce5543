/* SPDX-License-Identifier: BSD-3-Clause
 *
 * CRC32C (Castagnoli, as in RFC 3720, section 12.1; of "123456789" it is
 * e3069283), through ISA-L, which uses the processor's instructions.
 */

#include <config.h>

#include <limits.h>

#include <isa-l/crc.h>

#include "crc32c.h"

uint32_t
crc32c_begin (const unsigned char uuid[16])
{
  return crc32_iscsi ((unsigned char *) uuid, 16, ~0u);
}

uint32_t
crc32c_add (uint32_t state, const void *p, size_t n)
{
  const size_t chunk = 1 << 30; /* ISA-L takes an int */
  const unsigned char *from = p;
  size_t part;

  for (; n > 0; n -= part, from += part) {
    part = n < chunk ? n : chunk;
    state = crc32_iscsi ((unsigned char *) from, part, state);
  }
  return state;
}

uint32_t
crc32c_end (uint32_t state)
{
  return ~state;
}
