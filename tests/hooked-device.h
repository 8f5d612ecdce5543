/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A second device object for a ring in memory, with a watch, which calls
 * the test at the worst moment: before data are read, between a look and a
 * sleep, and during the sleep.
 */

#ifndef BLKRING_TESTS_HOOKED_DEVICE_H
#define BLKRING_TESTS_HOOKED_DEVICE_H

#include "ring-fixture.h"

struct hooked {
  struct test_ring *t;
  /* NULL: nothing. */
  void (*read_data) (struct hooked *h); /* before data are read */
  void (*watch) (struct hooked *h);
  void (*wait) (struct hooked *h);
  unsigned flags;            /* BLKRING_DEVICE_*, more of them */
  bool interrupt;            /* the sleep ends by a signal */
  unsigned reads, watches, waits, unwatches;
  int timeout_ms;            /* of the last wait */
};

extern blkring_device *open_hooked (struct hooked *h);

#endif /* BLKRING_TESTS_HOOKED_DEVICE_H */
