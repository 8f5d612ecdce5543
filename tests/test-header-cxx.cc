/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring.h can be included from C++, and its functions have C linkage.
 */

#include "blkring.h"

#include <cstdio>

int
main ()
{
  blkring_device *device = blkring_device_memory (1 << 16, 512);
  bool good = device != nullptr && blkring_create (device, nullptr) == 0;

  blkring_device_close (device);
  std::printf ("1..1\n%s 1 - a ring is made from C++\n",
               good ? "ok" : "not ok");
  return 0;
}
