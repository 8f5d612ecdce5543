/* SPDX-License-Identifier: BSD-3-Clause
 *
 * All that can be done with a device, in an order that a script says.
 */

#ifndef EXERCISE_H
#define EXERCISE_H

#include "hostile-device.h"

/* Each byte of the script is a call, some take the bytes behind as
 * arguments.  NULL: one that calls everything. */
extern void exercise (const struct hostile_options *options,
                      const unsigned char *script, size_t length);

#endif /* EXERCISE_H */
