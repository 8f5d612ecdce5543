/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service core: a ring that is served to several connections at once,
 * as the filter and the plugin do.  It knows rings, and nothing of nbdkit.
 *
 * A service is opened on a blkring_device, and from then on is the only
 * writer of it.  Each connection to an export becomes a client of the
 * service, on one of its views:
 *
 *   ""        the ring, byte for byte, but for free space, which reads as
 *             zeros.  What is written is guarded: blkring-protocol(7) says
 *             what is let in
 *   "status"  a small JSON document, read-only
 *
 * RETURN VALUES.  Unless said otherwise functions return 0, or -1 with errno
 * set and a message in blkring_get_error ().  What the service refuses, and
 * what fails on the device, it has also told the log callback, in one line:
 * a caller need not report it again.
 *
 *   EPERM      another connection owns that side of the ring, or took it
 *   EINVAL     what was written breaks a rule of the format
 *   EROFS      write to a view, connection or device that is read-only
 *   ENOTSUP    a fast zero that would not be fast
 *   ENOENT     there is no such view
 *   EIO        the device failed (or the errno that it gave)
 *
 * THREADS.  Everything but service_open, service_close and
 * service_disconnect of the same client may be called from many threads at
 * once, with the same client too.  Writes into free space and reads go on
 * while another request waits for a flush.
 *
 * Nothing durable depends on service_close or service_disconnect: a process
 * that is killed leaves a valid ring.
 */

#ifndef BLKRING_SERVICE_H
#define BLKRING_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "blkring.h"

struct service;
struct service_client;

/*---------------------------------------------------------------------*/
/* The service.                                                          */

/* What the device below can do beside what a blkring_device does.  Each
 * member may be NULL.  'opaque' is that of service_options.  Calls may come
 * from several threads at once; -1 and errno on failure. */
struct service_device_ops {
  /* Make zero, without a durability.  With SERVICE_FLAG_MAY_TRIM the space
   * may be given back; with SERVICE_FLAG_FAST_ZERO it fails with ENOTSUP
   * where it is not faster than a write.  Without it zeros are written. */
  int (*zero) (void *opaque, uint64_t count, uint64_t offset, unsigned flags);
  /* A hint.  Without it, or if it fails, nothing is done. */
  int (*trim) (void *opaque, uint64_t count, uint64_t offset);
};

struct service_options {
  bool guard;                /* false: any client may write anything */
  bool sync;                 /* false: pointers are written as the client
                                asks for it, durable or not */
  bool create_blank;         /* make a ring on a blank device */
  unsigned format;           /* … of this format; 0 = the default */
  bool read_only;            /* serve it read-only */
  uint64_t owner_timeout;    /* ns: an owner that was silent for so long may
                                be replaced */
  struct blkring_clock clock; /* 'now' alone is used; NULL = the system's */
  /* Called with one line, without a newline.  May be NULL.  It must not call
   * the service. */
  void (*log) (void *opaque, enum blkring_log_level level,
               const char *message);
  void *log_opaque;
  struct service_device_ops device_ops;
  void *device_opaque;
};

/* The defaults: guard and sync are on, nothing is created, 10 s. */
extern void service_options_init (struct service_options *options);

/* Find the ring on the device, or make one, and learn how it stands.  Reads
 * in pieces whose size does not depend on that of the ring.  The device must
 * live until service_close, and nobody else may write what it stores.
 *
 * NULL on error, with a message that says what to do.  EMEDIUMTYPE: there is
 * no ring; EEXIST: and it could not be made, since the device is not blank;
 * EBADMSG: the ring is damaged; EINVAL, EROFS, ENOMEM, EIO. */
extern struct service *
service_open (blkring_device *device, const struct service_options *options);

/* All clients must be gone.  Does not close the device.  NULL is allowed. */
extern void service_close (struct service *service);

/*---------------------------------------------------------------------*/
/* Views.                                                                */

struct service_view {
  const char *name;          /* of the export */
  const char *description;   /* one line */
};

/* All views, ended by one with name NULL.  The first is the default. */
extern const struct service_view *service_views (void);

/* A server of several rings calls each view of a ring NAME or NAME/VIEW.
 * Returns the view of such a name, and in *length how much of it is NAME:
 * "a/status" is the view "status" of "a", "status" that of "", and anything
 * else the view "" of a ring of that name. */
extern const char *service_split_name (const char *name, size_t *length);

/*---------------------------------------------------------------------*/
/* Clients.                                                              */

/* A connection.  'view' is its name.  'peer' tells people who it is; it is
 * copied, and NULL is allowed.  NULL on error: ENOENT, ENOMEM. */
extern struct service_client *
service_connect (struct service *service, const char *view, const char *peer,
                 bool read_only);

/* The connection has ended: what it owned is free at once.  No request of it
 * may be under way.  NULL is allowed. */
extern void service_disconnect (struct service_client *client);

/* Bytes of the view.  Does not change while the service is open. */
extern uint64_t service_size (const struct service_client *client);

struct service_block_size {
  uint32_t minimum;          /* 1 … 65536, a power of two.  Smaller requests
                                work as well */
  uint32_t preferred;        /* a power of two */
  uint32_t maximum;          /* a multiple of the minimum; (uint32_t) -1 = no
                                limit.  Larger requests work as well */
};
extern void service_block_size (const struct service_client *client,
                                struct service_block_size *size);

enum service_feature {
  SERVICE_CAN_WRITE,
  SERVICE_CAN_FLUSH,
  SERVICE_CAN_FUA,           /* natively: not by a flush of the caller */
  SERVICE_CAN_TRIM,
  SERVICE_CAN_ZERO,
  SERVICE_CAN_FAST_ZERO,
  SERVICE_CAN_MULTI_CONN,
  SERVICE_CAN_EXTENTS,
  SERVICE_CAN_CACHE,         /* always false: nothing to do for a cache
                                request */
};
extern bool service_can (const struct service_client *client,
                         enum service_feature feature);

/* One line about what is served, for a list of exports. */
extern const char *service_description (const struct service_client *client);

/*---------------------------------------------------------------------*/
/* Requests.  Offsets and counts in bytes, of any alignment, within the
 * size (EINVAL otherwise). */

#define SERVICE_FLAG_FUA       1 /* durable when it returns */
#define SERVICE_FLAG_MAY_TRIM  2 /* zero: may give back the space */
#define SERVICE_FLAG_FAST_ZERO 4 /* zero: fail rather than be slow */

extern int service_pread (struct service_client *client, void *buf,
                          uint64_t count, uint64_t offset);

/* Refused as a whole, with nothing written, or done as a whole. */
extern int service_pwrite (struct service_client *client, const void *buf,
                           uint64_t count, uint64_t offset, unsigned flags);
extern int service_zero (struct service_client *client, uint64_t count,
                         uint64_t offset, unsigned flags);
extern int service_trim (struct service_client *client, uint64_t count,
                         uint64_t offset, unsigned flags);

/* All that was answered on any connection is durable. */
extern int service_flush (struct service_client *client);

/* What is allocated: 'type' is SERVICE_EXTENT_*, 0 = data.  Called in order,
 * without gaps, from 'offset' on and never beyond offset + count; extents
 * that adjoin differ.  fn returns 0, or -1 with errno, which ends it.  With
 * 'one' it is called once.
 *
 * The caller may be told less than it asked for, never nothing. */
#define SERVICE_EXTENT_HOLE 1
#define SERVICE_EXTENT_ZERO 2
typedef int (*service_extent_fn) (void *opaque, uint64_t offset,
                                  uint64_t length, unsigned type);
extern int service_extents (struct service_client *client, uint64_t count,
                            uint64_t offset, bool one,
                            service_extent_fn fn, void *opaque);

#endif /* BLKRING_SERVICE_H */
