/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The NBD client: does the server guard the ring?  Such a server says so in a
 * second export, "status" beside "" and "NAME/status" beside "NAME", as JSON.
 * It lets one connection at a time write a side of the ring, so that a client
 * need not guess whether the owner that a record names is still alive.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "bytes.h"
#include "device.h"
#include "nbd.h"
#include "open.h"

#define LARGEST_STATUS 65536

/* The URI of the status; to be freed; NULL when out of memory. */
static char *
status_uri (const char *uri)
{
  const char *authority = strstr (uri, "://");
  const char *path, *end;
  char *status;

  authority = authority ? authority + 3 : uri;
  path = authority + strcspn (authority, "/?#");
  end = path + strcspn (path, "?#");
  if (asprintf (&status, "%.*s%sstatus%s", (int) (end - uri), uri,
                end > path && end[-1] == '/' ? "" : "/", end) == -1)
    return NULL;
  return status;
}

static char *
read_status (const char *uri, const struct blkring_open_options *o,
             size_t *length)
{
  blkring_device *device = open_nbd (uri, o);
  struct blkring_geometry g;
  char *text = NULL;

  if (device == NULL)
    return NULL;
  if (blkring_device_geometry (device, &g) == 0) {
    *length = min_u64 (g.size, LARGEST_STATUS);
    text = malloc (*length + 1);
    if (text && blkring_device_read (device, text, *length, 0) == -1) {
      free (text);
      text = NULL;
    }
  }
  blkring_device_close (device);
  return text;
}

bool
nbd_is_guarded (const struct nbd_device *n)
{
  const struct blkring_open_options o = {
    .flags = BLKRING_OPEN_READ_ONLY,
    /* The other half is for the ring itself. */
    .timeout = n->timeout == FOR_EVER ? BLKRING_TIMEOUT_NONE
      : max_u64 (1, n->timeout / 2 / NS_PER_MS),
    .reconnect = BLKRING_RECONNECT_OFF,
    .log = n->device->log,
    .log_opaque = n->device->log_opaque,
  };
  char *status = status_uri (n->uri);
  size_t length = 0;
  char *text = status ? read_status (status, &o, &length) : NULL;
  json_t *json = text ? json_loadb (text, length, 0, NULL) : NULL;
  const bool guarded = json_is_string (json_object_get (json, "blkring")) &&
    json_is_true (json_object_get (json, "guard"));

  json_decref (json);
  free (text);
  free (status);
  return guarded;
}
