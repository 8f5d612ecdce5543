/* SPDX-License-Identifier: BSD-3-Clause
 *
 * CRC32C over a ring's uuid and then some bytes, so that bytes of another
 * ring never pass.
 */

#ifndef BLKRING_CRC32C_H
#define BLKRING_CRC32C_H

#include <stddef.h>
#include <stdint.h>

extern uint32_t crc32c_begin (const unsigned char uuid[16]);
extern uint32_t crc32c_add (uint32_t state, const void *p, size_t n);
extern uint32_t crc32c_end (uint32_t state);

#endif /* BLKRING_CRC32C_H */
