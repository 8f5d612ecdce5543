/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A device for tests that has its requests in flight together and loses its
 * connection, as an NBD client does, but without a server: each submit is a
 * flight, and the test says on which of them the connection goes, and how
 * much of that flight is done by then.
 *
 * Several devices may share one store, as several hosts do.
 */

#ifndef CUT_DEVICE_H
#define CUT_DEVICE_H

#include "blkring.h"

struct cut_store {
  unsigned char *content;    /* what a read gives */
  unsigned char *durable;    /* what the server has after a crash */
  uint64_t size;
};

enum cut_where {
  CUT_BEFORE,                /* nothing of the flight was done */
  CUT_WITHIN,                /* its first part was */
  CUT_AFTER,                 /* all of it was, and the answer is lost */
};

struct cut_device {
  blkring_device *device;
  struct cut_store *store;
  struct blkring_geometry geometry; /* a test may change it */
  uint64_t connection;

  /* The flight after 'cut_after' others.  A test sets these. */
  bool cut, cut_is_final;    /* final: no connection can be made then */
  bool cut_twice;            /* and the next flight is cut, for good */
  unsigned cut_after;
  enum cut_where where;
  bool crash;                /* the server loses what is not durable */
  void (*meanwhile) (void *opaque); /* until there is a new connection */
  void *opaque;
  bool fail_reads;           /* those beside writes fail with EIO */
  bool fail;                 /* the flight after 'fail_after' others does,
                                with EIO, once */
  unsigned fail_after;

  /* Counts, which a test may set to 0. */
  unsigned flights, reads, writes, fua_writes, flushes;
  size_t most_parts;         /* in one flight */
};

extern struct cut_store *cut_store_new (uint64_t size);
extern void cut_store_free (struct cut_store *store);

/* Sectors of 512 bytes, FUA, shared.  Aborts where memory ends. */
extern struct cut_device *cut_device_new (struct cut_store *store);
extern void cut_device_free (struct cut_device *d);
extern void cut_device_forget (struct cut_device *d);

#endif /* CUT_DEVICE_H */
