/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Members of a device that nobody may call, since all comes through submit, or
 * nothing is to be written.
 */

#ifndef NO_REQUESTS_H
#define NO_REQUESTS_H

#include <stdlib.h>

#include "blkring.h"

static inline ssize_t
no_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  (void) opaque;
  (void) buf;
  (void) count;
  (void) offset;
  abort ();
}

static inline ssize_t
no_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
           unsigned flags)
{
  (void) flags;
  return no_pread (opaque, (void *) buf, count, offset);
}

static inline int
no_flush (void *opaque)
{
  return no_pread (opaque, NULL, 0, 0);
}

#endif /* NO_REQUESTS_H */
