/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which names are NBD URIs, and how they may be shown.  What else a URI
 * means is libnbd's business.
 */

#ifndef BLKRING_URI_H
#define BLKRING_URI_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* nbd:// and its relatives: nbds://, nbd+unix://, nbds+vsock:// …  A file of
 * such a name can be opened as ./NAME. */
static inline bool
uri_is_nbd (const char *name)
{
  const char *p = name;

  if (strncmp (p, "nbd", 3) != 0)
    return false;
  while ((*p >= 'a' && *p <= 'z') || *p == '+')
    p++;
  return strncmp (p, "://", 3) == 0;
}

/* A copy to be freed, in which a password ("user:password@host") is not
 * told.  Other names are copied as they are.  NULL: out of memory. */
static inline char *
uri_without_password (const char *name)
{
  char *copy = strdup (name), *authority, *end, *at, *colon;

  if (copy == NULL || !uri_is_nbd (name))
    return copy;
  authority = strstr (copy, "://") + 3;
  end = authority + strcspn (authority, "/?#");
  at = (char *) memrchr (authority, '@', end - authority);
  if (at == NULL)
    return copy;
  colon = (char *) memchr (authority, ':', at - authority);
  if (colon)
    memmove (colon, at, strlen (at) + 1);
  return copy;
}

#endif /* BLKRING_URI_H */
