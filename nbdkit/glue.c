/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Glue that filter and plugin share.
 */

#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "glue.h"

/* nbdkit's own message would not say which parameter is wrong. */
int
glue_parse_switch (const char *prefix, const char *key, const char *value)
{
  static const char *const yes[] = { "on", "true", "yes", "1" };
  static const char *const no[] = { "off", "false", "no", "0" };
  size_t i;

  for (i = 0; i < sizeof yes / sizeof yes[0]; ++i) {
    if (strcasecmp (value, yes[i]) == 0)
      return 1;
    if (strcasecmp (value, no[i]) == 0)
      return 0;
  }
  nbdkit_error ("%s%s=%s: either 'on' or 'off'", prefix, key, value);
  return -1;
}

static int
set_switch (const char *prefix, const char *key, const char *value, bool *on)
{
  int r = glue_parse_switch (prefix, key, value);

  if (r == -1)
    return -1;
  *on = r;
  return 1;
}

static int
parse_seconds (const char *prefix, const char *key, const char *value,
               uint64_t *ns)
{
  char *end;
  double seconds;

  errno = 0;
  seconds = strtod (value, &end);
  if (end == value || *end || errno || !(seconds >= 0.1 && seconds <= 1e6)) {
    nbdkit_error ("%s%s=%s: a number of seconds from 0.1 to 1000000 is "
                  "needed", prefix, key, value);
    return -1;
  }
  *ns = seconds * 1e9;
  return 1;
}

static int
parse_format (const char *prefix, const char *value, unsigned *format)
{
  if ((value[0] == '1' || value[0] == '2') && value[1] == '\0') {
    *format = value[0] - '0';
    return 1;
  }
  nbdkit_error ("%sformat=%s: there are formats 1 and 2", prefix, value);
  return -1;
}

int
glue_config (struct service_options *o, const char *prefix, const char *key,
             const char *value)
{
  if (strcmp (key, "guard") == 0)
    return set_switch (prefix, key, value, &o->guard);
  if (strcmp (key, "sync") == 0)
    return set_switch (prefix, key, value, &o->sync);
  if (strcmp (key, "format") == 0)
    return parse_format (prefix, value, &o->format);
  if (strcmp (key, "owner-timeout") == 0)
    return parse_seconds (prefix, key, value, &o->owner_timeout);
  if (strcmp (key, "create") != 0)
    return 0;
  if (strcmp (value, "blank") == 0) {
    o->create_blank = true;
    return 1;
  }
  nbdkit_error ("%screate=%s: the only value is 'blank', which makes a ring "
                "on a device that holds nothing", prefix, value);
  return -1;
}

int
glue_config_complete (const struct service_options *o, const char *prefix)
{
  if (o->format == 0 || o->create_blank)
    return 0;
  nbdkit_error ("%sformat is that of a ring to make: say %screate=blank too; "
                "that of an existing ring is found out", prefix, prefix);
  return -1;
}

void
glue_log (void *opaque, enum blkring_log_level level, const char *message)
{
  (void) opaque;
  if (level == BLKRING_LOG_ERROR)
    nbdkit_error ("%s", message);
  else
    nbdkit_debug ("%s", message);
}

void
glue_peer (char *text, size_t size)
{
  union {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
  } address;
  socklen_t length = sizeof address;
  char name[INET6_ADDRSTRLEN];

  snprintf (text, size, "unknown");
  if (nbdkit_peer_name (&address.any, &length) == -1)
    return;
  switch (address.any.sa_family) {
  case AF_INET:
    if (inet_ntop (AF_INET, &address.in.sin_addr, name, sizeof name))
      snprintf (text, size, "%s:%u", name, ntohs (address.in.sin_port));
    break;
  case AF_INET6:
    if (inet_ntop (AF_INET6, &address.in6.sin6_addr, name, sizeof name))
      snprintf (text, size, "[%s]:%u", name, ntohs (address.in6.sin6_port));
    break;
  case AF_UNIX:
    snprintf (text, size, "process %" PRIi64 " of user %" PRIi64,
              nbdkit_peer_pid (), nbdkit_peer_uid ());
    break;
  default:
    snprintf (text, size, "address family %d", address.any.sa_family);
  }
}

int
glue_error (void)
{
  nbdkit_error ("%s", blkring_get_error ());
  return glue_errno ();
}

/* Those that the protocol knows; nbdkit makes EINVAL of any other. */
int
glue_errno (void)
{
  switch (errno) {
  case EPERM: case EINVAL: case ENOMEM: case ENOSPC: case ESHUTDOWN:
  case ENOTSUP:
    return errno;
  case EROFS:
    return EPERM;
  default:
    return EIO;
  }
}

unsigned
glue_flags (uint32_t flags)
{
  return (flags & NBDKIT_FLAG_FUA ? SERVICE_FLAG_FUA : 0) |
    (flags & NBDKIT_FLAG_MAY_TRIM ? SERVICE_FLAG_MAY_TRIM : 0) |
    (flags & NBDKIT_FLAG_FAST_ZERO ? SERVICE_FLAG_FAST_ZERO : 0);
}

int
glue_add_extent (void *extents, uint64_t offset, uint64_t length,
                 unsigned type)
{
  return nbdkit_add_extent (extents, offset, length,
                            (type & SERVICE_EXTENT_HOLE ? NBDKIT_EXTENT_HOLE
                             : 0) |
                            (type & SERVICE_EXTENT_ZERO ? NBDKIT_EXTENT_ZERO
                             : 0));
}
