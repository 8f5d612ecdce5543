/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzz target: a device that holds just these bytes.
 *
 * What is behind the last 512 of them says more: a byte about the device
 * (device-options.h), and what is done with it (exercise.c).  Without that, as
 * in an image of a ring, it is a device like any other and everything is
 * done.
 */

#include <config.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "device-options.h"
#include "exercise.h"
#include "images.h"

#define LARGEST (4 << 20)

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const size_t tail = size % 512, length = size - tail;
  const unsigned about = tail > 0 ? data[length] : RAW_CHECKSUMS;
  struct hostile_options o;
  unsigned char *image;

  if (size > LARGEST)
    return 0;
  image = malloc (length + 1);
  if (image == NULL)
    abort ();
  memcpy (image, data, length);
  if (!(about & RAW_CHECKSUMS))
    fix_checksums (image, length);
  o = device_options (about, image, length);
  exercise (&o, tail > 1 ? data + length + 1 : NULL, tail > 1 ? tail - 1 : 0);
  free (image);
  return 0;
}
