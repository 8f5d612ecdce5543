/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the nbdkit filter and the nbdkit plugin have in common: parameters,
 * messages, and who the peer is.
 */

#ifndef BLKRING_NBDKIT_GLUE_H
#define BLKRING_NBDKIT_GLUE_H

#include <stdint.h>

#include "service/service.h"

/* Help for the parameters below, as a string literal. */
#define GLUE_HELP(prefix) \
  prefix "guard=off             Let clients write anything.\n" \
  prefix "sync=off              Make pointers durable only when asked to.\n" \
  prefix "create=blank          Make a ring on a blank device.\n" \
  prefix "format=1|2            … of this format (default: 2).\n" \
  prefix "owner-timeout=SECS    A silent owner may be replaced (default: 10)."

/* A parameter without the prefix: 1 when it is one of the service's, 0 when
 * it is not known, -1 when its value is wrong, which was reported. */
extern int glue_config (struct service_options *options, const char *prefix,
                        const char *key, const char *value);

/* on = 1, off = 0, -1 when it is neither, which was reported. */
extern int glue_parse_switch (const char *prefix, const char *key,
                              const char *value);

/* Once all parameters are known: -1 when they contradict each other. */
extern int glue_config_complete (const struct service_options *options,
                                 const char *prefix);

/* For service_options.log; debug messages appear with -v. */
extern void glue_log (void *opaque, enum blkring_log_level level,
                      const char *message);

/* Who is at the other end of this connection; in 'open' alone. */
extern void glue_peer (char *text, size_t size);

/* Report the library's last error, and say it to nbdkit: returns errno as
 * the protocol can carry it. */
extern int glue_error (void);
/* The same without a message, where the service has logged it. */
extern int glue_errno (void);

/* Flags of a request. */
extern unsigned glue_flags (uint32_t flags);

/* nbdkit's extents, with a context for service_extents. */
extern int glue_add_extent (void *extents, uint64_t offset, uint64_t length,
                            unsigned type);

#endif /* BLKRING_NBDKIT_GLUE_H */
