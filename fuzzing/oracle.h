/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is on a hostile device, found out without the library's readers: what
 * is unread, and so what an item may be and which bytes may change.
 */

#ifndef ORACLE_H
#define ORACLE_H

#include "hostile-device.h"

/* Look at the content as it is before a call. */
extern void oracle_begin (struct hostile_device *d);

/* May the one at work change this byte? */
extern bool oracle_permits (const struct hostile_device *d, uint64_t offset);

/* An item was given to consumer 'consumer' or to an observer beside it: it
 * must lie between consumer and producer, and be what is on the device. */
extern void oracle_check_item (const struct hostile_device *d,
                               unsigned consumer, bool salvage,
                               const struct blkring_item *item);

#endif /* ORACLE_H */
