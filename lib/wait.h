/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sleep until something holds.
 */

#ifndef BLKRING_WAIT_H
#define BLKRING_WAIT_H

#include "format.h"

/* Call ready (arg) until it returns 1, and sleep between.  It takes the
 * handle's lock itself, so that nothing is locked during the sleep.
 * Returns 0; or -1 with ready's error, ETIMEDOUT or EINTR. */
extern int wait_until (struct handle *h, int timeout_ms,
                       int (*ready) (void *arg), void *arg);

#endif /* BLKRING_WAIT_H */
