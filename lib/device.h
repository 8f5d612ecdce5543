/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A device as the rest of the library sees it: whole, checked requests on
 * top of the table of functions of its kind.
 */

#ifndef BLKRING_DEVICE_H
#define BLKRING_DEVICE_H

#include <pthread.h>

#include "blkring.h"

/* A ring has at most this many sides: the producer and 64 consumers. */
#define MAX_SIDES 65

struct blkring_device {
  struct blkring_device_ops ops;
  void *opaque;
  struct blkring_geometry geometry;
  char *name;
  bool explains;             /* its functions set the thread's message */

  blkring_log_fn log;
  void *log_opaque;
  blkring_trace_fn trace;
  void *trace_opaque;

  /* What handles of this process hold; see lock.c. */
  pthread_mutex_t lock;
  pthread_cond_t released;
  bool owner_held[MAX_SIDES];
  bool record_held[MAX_SIDES];
};

/* Allocate a buffer that requests of the device can use.  Free with
 * free ().  NULL and ENOMEM on failure. */
extern void *device_buffer (const blkring_device *device, size_t size);

/* Read, write, flush a whole request: count and offset are multiples of
 * the device's sector size, the buffer is of device_buffer. */
extern int device_pread (blkring_device *device, void *buf, size_t count,
                         uint64_t offset);
extern int device_pwrite (blkring_device *device, const void *buf,
                          size_t count, uint64_t offset);
extern int device_flush (blkring_device *device);

/* Write, and return when the write is durable: with FUA where the device
 * has it. */
extern int device_pwrite_durable (blkring_device *device, const void *buf,
                                  size_t count, uint64_t offset);

/* The request must lie within the device, and fit its sectors. */
extern int device_check_range (blkring_device *device, const char *what,
                               size_t count, uint64_t offset, int err);
extern bool device_is_aligned (const blkring_device *device, const void *p);

/* device-submit.c. */

/* The connection to the storage: a number that changes when it is lost and
 * made again.  0: this device has no such thing. */
extern uint64_t device_connection (blkring_device *device);

/* Do the parts, together where the device can.  All reads, or writes with
 * reads beside them whose failure is no failure (part.error tells).
 * 'durable' is for the writes.  'connection' is as device_connection
 * returned it, or 0 for any; ESTALE: there is another one by now. */
extern int device_submit (blkring_device *device, struct blkring_part *parts,
                          size_t nr, bool durable, uint64_t connection);
extern int device_flush_on (blkring_device *device, uint64_t connection);
/* Whether that is more than one request after the other. */
extern bool device_submits (const blkring_device *device);

/* A read or a write, for the above. */
extern struct blkring_part read_part (void *buf, size_t count,
                                      uint64_t offset);
extern struct blkring_part write_part (const void *buf, size_t count,
                                       uint64_t offset);

/* The error that is set is about a write of which nobody knows whether it
 * has arrived: say so, with ECONNABORTED.  -1. */
extern int set_in_doubt (void);

/* Does a server let one client at a time write each side of the ring?  May
 * have to ask it. */
extern bool device_is_guarded (blkring_device *device);

/* Ask the device again for its geometry; keeps the old one on failure. */
extern int device_refresh (blkring_device *device);

extern void device_log (blkring_device *device, enum blkring_log_level level,
                        const char *fmt, ...)
  __attribute__ ((format (printf, 3, 4)));
extern void device_trace (blkring_device *device, enum blkring_trace_op op,
                          const char *queue, const char *client,
                          enum blkring_trace_field field, uint64_t value);

#endif /* BLKRING_DEVICE_H */
