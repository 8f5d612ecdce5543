/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The log and trace callbacks of a device.
 */

#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "device.h"

void
blkring_device_set_log (blkring_device *device, blkring_log_fn log,
                        void *opaque)
{
  device->log = log;
  device->log_opaque = opaque;
}

void
blkring_device_set_trace (blkring_device *device, blkring_trace_fn trace,
                          void *opaque)
{
  device->trace = trace;
  device->trace_opaque = opaque;
}

void
device_log (blkring_device *device, enum blkring_log_level level,
            const char *fmt, ...)
{
  char text[1024];
  const int saved = errno;
  va_list args;

  if (device->log == NULL)
    return;
  va_start (args, fmt);
  vsnprintf (text, sizeof text, fmt, args);
  va_end (args);
  device->log (device->log_opaque, level, text);
  errno = saved;
}

void
device_trace (blkring_device *device, enum blkring_trace_op op,
              const char *queue, const char *client,
              enum blkring_trace_field field, uint64_t value)
{
  if (device->trace)
    device->trace (device->trace_opaque, op, queue, client, field, value);
}
