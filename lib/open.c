/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Opening a device by its name: which kind it is.
 */

#include <config.h>

#include <errno.h>

#include "error.h"
#include "open.h"
#include "uri.h"

blkring_device *
blkring_device_open (const char *name,
                     const struct blkring_open_options *options)
{
  static const struct blkring_open_options defaults;
  const struct blkring_open_options *o = options ? options : &defaults;
  size_t i;

  for (i = 0; i < sizeof o->reserved / sizeof o->reserved[0]; ++i)
    if (o->reserved[i] != 0) {
      set_error (EINVAL, "reserved fields of the open options are not zero");
      return NULL;
    }
  return uri_is_nbd (name) ? open_nbd (name, o) : open_file_device (name, o);
}
