/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service as a whole: opening, the table of views, connections.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "format.h"
#include "service.h"

struct service {
  blkring_device *device;
  struct service_options options;
  struct ring ring;
  uint64_t size;
};

struct service_client {
  struct service *service;
  bool status;
  bool read_only;
};

void
service_options_init (struct service_options *options)
{
  memset (options, 0, sizeof *options);
  options->guard = options->sync = true;
  options->owner_timeout = UINT64_C (10000000000);
}

struct service *
service_open (blkring_device *device, const struct service_options *options)
{
  const struct blkring_create_options create = { .format = options->format };
  struct service *s = calloc (1, sizeof *s);

  if (s == NULL) {
    set_errno_error (ENOMEM, "cannot serve the ring");
    return NULL;
  }
  s->device = device;
  s->options = *options;
  if ((options->create_blank && blkring_create (device, &create) == -1) ||
      ring_open (device, 0, &s->ring) == -1) {
    free (s);
    return NULL;
  }
  s->size = device->geometry.size;
  return s;
}

void
service_close (struct service *s)
{
  free (s);
}

static const struct service_view views[] = {
  { "", "the ring" },
  { "status", "how the ring stands, JSON" },
  { NULL, NULL }
};

const struct service_view *
service_views (void)
{
  return views;
}

const char *
service_split_name (const char *name, size_t *length)
{
  const char *slash = strrchr (name, '/');
  const char *last = slash ? slash + 1 : name;

  if (*last && strcmp (last, "status") == 0) {
    *length = slash ? (size_t) (slash - name) : 0;
    return "status";
  }
  *length = strlen (name);
  return "";
}

struct service_client *
service_connect (struct service *s, const char *view, const char *peer,
                 bool read_only)
{
  struct service_client *c;

  (void) peer;
  if (strcmp (view, "") != 0 && strcmp (view, "status") != 0) {
    set_error (ENOENT, "there is no view \"%s\"", view);
    return NULL;
  }
  c = calloc (1, sizeof *c);
  if (c == NULL) {
    set_errno_error (ENOMEM, "cannot connect");
    return NULL;
  }
  c->service = s;
  c->status = view[0] != '\0';
  c->read_only = read_only || c->status || s->options.read_only ||
    s->device->geometry.flags & BLKRING_DEVICE_READ_ONLY;
  return c;
}

void
service_disconnect (struct service_client *c)
{
  free (c);
}

#define STATUS_SIZE 4096

uint64_t
service_size (const struct service_client *c)
{
  return c->status ? STATUS_SIZE : c->service->size;
}

void
service_block_size (const struct service_client *c,
                    struct service_block_size *size)
{
  const struct blkring_geometry *g = &c->service->device->geometry;

  size->minimum = c->status ? 1 : g->sector_size;
  size->preferred = max_u64 (4096, size->minimum);
  size->maximum = UINT32_MAX;
}

bool
service_can (const struct service_client *c, enum service_feature feature)
{
  switch (feature) {
  case SERVICE_CAN_WRITE:
  case SERVICE_CAN_TRIM:
  case SERVICE_CAN_ZERO:
  case SERVICE_CAN_FUA:
    return !c->read_only;
  case SERVICE_CAN_FLUSH:
  case SERVICE_CAN_MULTI_CONN:
  case SERVICE_CAN_EXTENTS:
    return true;
  default:
    return false;
  }
}

const char *
service_description (const struct service_client *c)
{
  return views[c->status].description;
}

int
service_pread (struct service_client *c, void *buf, uint64_t count,
               uint64_t offset)
{
  static const char text[] = "{}\n";

  if (!c->status)
    return blkring_device_read (c->service->device, buf, count, offset);
  memset (buf, ' ', count);
  if (offset < strlen (text))
    memcpy (buf, text + offset, min_u64 (count, strlen (text) - offset));
  return 0;
}

int
service_pwrite (struct service_client *c, const void *buf, uint64_t count,
                uint64_t offset, unsigned flags)
{
  if (c->read_only)
    return set_error (EROFS, "this export is read-only");
  if (blkring_device_write (c->service->device, buf, count, offset) == -1)
    return -1;
  return flags & SERVICE_FLAG_FUA ? device_flush (c->service->device) : 0;
}

int
service_zero (struct service_client *c, uint64_t count, uint64_t offset,
              unsigned flags)
{
  uint64_t n;
  void *zeros;
  int r = 0;

  if (flags & SERVICE_FLAG_FAST_ZERO)
    return set_error (ENOTSUP, "zeros must be written");
  zeros = calloc (1, 65536);
  if (zeros == NULL)
    return set_errno_error (ENOMEM, "cannot make zero");
  for (; count > 0 && r == 0; count -= n, offset += n) {
    n = min_u64 (count, 65536);
    r = service_pwrite (c, zeros, n, offset, flags);
  }
  free (zeros);
  return r;
}

int
service_trim (struct service_client *c, uint64_t count, uint64_t offset,
              unsigned flags)
{
  (void) count;
  (void) offset;
  return flags & SERVICE_FLAG_FUA ? service_flush (c) : 0;
}

int
service_flush (struct service_client *c)
{
  return device_flush (c->service->device);
}

int
service_extents (struct service_client *c, uint64_t count, uint64_t offset,
                 bool one, service_extent_fn fn, void *opaque)
{
  (void) c;
  (void) one;
  return fn (opaque, offset, count, 0);
}
