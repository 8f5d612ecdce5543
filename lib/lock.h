/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who owns a side of a ring, and who may rewrite its record.
 */

#ifndef BLKRING_LOCK_H
#define BLKRING_LOCK_H

#include "device.h"

/* The bytes that device ops get: two a side. */
#define NR_LOCK_BYTES (2 * MAX_SIDES)

enum side { SIDE_PRODUCER = 0, SIDE_CONSUMER = 1 };

/* Become the owner of a side: -1, EBUSY when another is. */
extern int owner_lock (blkring_device *device, unsigned side);
extern void owner_unlock (blkring_device *device, unsigned side);

/* 1 if somebody that locks reach owns the side, 0 if not, -1 error. */
extern int owner_test (blkring_device *device, unsigned side);

/* Held around each re-read and rewrite of a side's record. */
extern int record_lock (blkring_device *device, unsigned side);
extern void record_unlock (blkring_device *device, unsigned side);

#endif /* BLKRING_LOCK_H */
