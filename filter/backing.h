/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The rings that this server has open: each export of the plugin below is
 * one, shared by all connections to it.
 */

#ifndef BLKRING_FILTER_BACKING_H
#define BLKRING_FILTER_BACKING_H

#include "service/service.h"

struct backing;

/* The ring that is the plugin's export of this name, opened when it is not
 * open: by a context of its own on the backend, or, where that is NULL, by
 * those of the connections.  NULL on error, which was reported. */
extern struct backing *backing_get (nbdkit_backend *backend, const char *name,
                                    const struct service_options *options);
/* When the last connection is gone it is closed. */
extern void backing_put (struct backing *b);

extern struct service *backing_service (const struct backing *b);

/* Requests of this thread come from a connection, whose way to the plugin
 * this is, until it is called with NULL. */
extern void backing_enter (nbdkit_next *next);

/* A context is used only after these were called; -1 on error. */
extern int backing_prepare (nbdkit_next *next);

#endif /* BLKRING_FILTER_BACKING_H */
