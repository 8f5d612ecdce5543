/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a fuzzer's byte says about the device.
 */

#ifndef DEVICE_OPTIONS_H
#define DEVICE_OPTIONS_H

#include "hostile-device.h"

#define RAW_CHECKSUMS 1      /* leave them as they are */

static inline struct hostile_options
device_options (unsigned byte, const unsigned char *image, size_t length)
{
  struct hostile_options o = {
    .image = image, .length = length, .size = length,
    .sector_size = byte & 2 ? 4096 : 512,
    .memory_alignment = byte & 16 ? 512 : 1,
    .max_request = byte & 4 ? 4096 : 0,
    .flags = byte & 8 ? BLKRING_DEVICE_FUA : 0,
  };

  /* It has shrunk, or grown. */
  switch (byte >> 5 & 3) {
  case 1:
    o.size -= length > 512 ? 512 : 0;
    break;
  case 2:
    o.size = 2 * length + 512;
    break;
  case 3:
    o.size = length + (8 << 20);
  }
  /* Requests are of whole sectors. */
  if (byte & 128)
    o.sector_size = 1;
  o.size -= o.size % o.sector_size;
  o.length = o.length < o.size ? o.length : o.size;
  return o;
}

#endif /* DEVICE_OPTIONS_H */
