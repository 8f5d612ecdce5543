/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What blkring_device_open opens, by kind.
 */

#ifndef BLKRING_OPEN_H
#define BLKRING_OPEN_H

#include "blkring.h"

/* Options are never NULL here. */
extern blkring_device *
open_file_device (const char *name, const struct blkring_open_options *o);
extern blkring_device *
open_nbd (const char *uri, const struct blkring_open_options *o);

#endif /* BLKRING_OPEN_H */
