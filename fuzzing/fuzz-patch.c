/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzz target: a ring that is right, in which some fields were changed.  The
 * inputs are short, so that much is tried.
 *
 *   byte 0   which ring (bases.c)
 *   byte 1   about the device (device-options.h)
 *   byte 2   number of changes, each of them
 *              u16  offset
 *              u8   0x3f: an odd value of the table, or a literal one behind;
 *                   0xc0: bytes of it, 1, 2, 4 or 8
 *   then     what is done (exercise.c); nothing: everything
 */

#include <config.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "device-options.h"
#include "exercise.h"
#include "images.h"

#define MOST_CHANGES 16

static const uint64_t values[] = {
  0, 1, 2, 3, 4, 5, 7, 8, 12, 60, 63, 64, 65, 68, 127, 128, 255, 256, 448, 511,
  512, 513, 1024, 1536, 4092, 4095, 4096, 4097, 7680, 8192, 32768, 65535,
  65536, 65537, INT32_MAX, UINT32_MAX, UINT32_MAX - 3, UINT64_C (1) << 31,
  UINT64_C (1) << 32, UINT64_C (1) << 62, INT64_MAX - 65536, INT64_MAX - 511,
  INT64_MAX - 3, INT64_MAX, UINT64_C (1) << 63, UINT64_MAX - 511,
  UINT64_MAX - 3, UINT64_MAX,
};

struct input {
  const uint8_t *p, *end;
};

static uint64_t
take (struct input *i, unsigned bytes)
{
  unsigned char v[8] = { 0 };
  const size_t n = min_u64 (bytes, i->end - i->p);

  memcpy (v, i->p, n);
  i->p += n;
  return get_le64 (v);
}

static void
change (struct input *i, unsigned char *image, size_t size)
{
  const uint64_t offset = take (i, 2);
  const unsigned how = take (i, 1), bytes = 1U << (how >> 6);
  const unsigned index = how & 0x3f;
  const uint64_t value = index < sizeof values / sizeof values[0]
    ? values[index] : take (i, bytes);
  unsigned char v[8];

  put_le64 (v, value);
  if (offset + bytes <= size)
    memcpy (image + offset, v, bytes);
}

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct input i = { data, data + size };
  const unsigned base = take (&i, 1) % NR_BASES, about = take (&i, 1);
  unsigned changes = take (&i, 1) % MOST_CHANGES;
  const unsigned char *original;
  struct hostile_options o;
  unsigned char *image;
  size_t length;

  original = base_image (base, &length);
  image = malloc (length);
  if (image == NULL)
    abort ();
  memcpy (image, original, length);
  while (changes-- > 0 && i.p < i.end)
    change (&i, image, length);
  if (!(about & RAW_CHECKSUMS))
    fix_checksums (image, length);
  o = device_options (about, image, length);
  exercise (&o, i.p < i.end ? i.p : NULL, i.end - i.p);
  free (image);
  return 0;
}
