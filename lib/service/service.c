/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service as a whole: opening and closing, the table of views,
 * connections, and what they are told about a view.  Their requests come in
 * through calls.c.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

#define OWNER_TIMEOUT UINT64_C (10000000000)

static uint64_t
system_now (void *opaque)
{
  struct timespec ts;

  (void) opaque;
  clock_gettime (CLOCK_MONOTONIC_COARSE, &ts);
  return ts.tv_sec * UINT64_C (1000000000) + ts.tv_nsec;
}

void
service_options_init (struct service_options *o)
{
  memset (o, 0, sizeof *o);
  o->guard = o->sync = true;
  o->owner_timeout = OWNER_TIMEOUT;
  o->clock.now = system_now;
}

uint64_t
service_now (const struct service *s)
{
  return s->options.clock.now (s->options.clock.opaque);
}

void
service_log (struct service *s, enum blkring_log_level level,
             const char *fmt, ...)
{
  char message[ERROR_SIZE + 256];
  va_list args;

  if (s->options.log == NULL)
    return;
  va_start (args, fmt);
  vsnprintf (message, sizeof message, fmt, args);
  va_end (args);
  s->options.log (s->options.log_opaque, level, message);
}

/*---------------------------------------------------------------------*/

/* A ring that is there is kept. */
static int
create_on_demand (struct service *s)
{
  const struct blkring_create_options o = { .format = s->options.format };
  char why[ERROR_SIZE];
  int r;

  if (!s->options.create_blank)
    return 0;
  if (s->read_only)
    return 0;
  r = blkring_create (s->device, &o);
  if (r == 0)
    service_log (s, BLKRING_LOG_INFO, "made a ring on %s, which was blank",
                 blkring_device_name (s->device));
  if (r != -1 || errno != EEXIST)
    return r;
  snprintf (why, sizeof why, "%s", blkring_get_error ());
  return set_error (EEXIST, "%s: no ring is made where something else is: "
                    "%s; serve another device, or stop the server and let "
                    "blkring-img create --force destroy that",
                    blkring_device_name (s->device), why);
}

static int
find_ring (struct service *s)
{
  char why[ERROR_SIZE];
  int err;

  if (create_on_demand (s) == -1)
    return -1;
  if (ring_open (s->device, 0, &s->ring) == 0)
    return 0;
  err = errno;
  if (err == EMEDIUMTYPE)
    return set_error (err, "%s: there is no ring: blkring-img create makes "
                      "one, and create=blank lets the server make one where "
                      "nothing else is", blkring_device_name (s->device));
  snprintf (why, sizeof why, "%s", blkring_get_error ());
  return set_error (err, "%s: %s%s", blkring_device_name (s->device), why,
                    err == EBADMSG ? ": blkring-img check says more" : "");
}

/* The locks that a producer and a consumer on this host would take. */
static int
lock_device (struct service *s)
{
  if (s->read_only)
    return 0;
  if (lock_sides (s->device) == -1)
    return errno != EBUSY ? -1
      : set_error (EBUSY, "%s is used by a producer or a consumer on this "
                   "host: stop it, and let it attach through the server",
                   blkring_device_name (s->device));
  s->locked = true;
  return 0;
}

static int
read_meta (struct service *s)
{
  s->meta_size = s->ring.format->number == 1
    ? F1_DATA_SECTOR * (uint64_t) s->ring.sector_size
    : f2_record_offset (F2_CONSUMER + s->ring.consumers, 0);
  s->meta = device_buffer (s->device, s->meta_size);
  return s->meta ? device_pread (s->device, s->meta, s->meta_size, 0) : -1;
}

static int
learn (struct service *s)
{
  char why[ERROR_SIZE];
  int err;

  if (read_meta (s) == 0 && s->guard->learn (s) == 0)
    return 0;
  err = errno;
  snprintf (why, sizeof why, "%s", blkring_get_error ());
  return set_error (err, "%s: %s%s", blkring_device_name (s->device), why,
                    err == EBADMSG ? ": stop here, and let blkring-img check "
                    "say more" : "");
}

static int
open_locked (struct service *s)
{
  const unsigned flags = s->device->geometry.flags;

  s->read_only = s->options.read_only || flags & BLKRING_DEVICE_READ_ONLY;
  if (find_ring (s) == -1 || lock_device (s) == -1)
    return -1;
  s->read_only |= s->ring.read_only;
  s->size = round_down (s->device->geometry.size,
                        s->device->geometry.sector_size);
  s->unit = s->ring.sector_size;
  if (flags & BLKRING_DEVICE_NO_FLUSH && !s->read_only)
    service_log (s, BLKRING_LOG_INFO, "%s cannot make anything durable: what "
                 "was acknowledged can be lost with the machine",
                 blkring_device_name (s->device));
  if (!s->options.guard) {
    service_log (s, BLKRING_LOG_INFO, "%s: the guard is off: any client may "
                 "write anything", blkring_device_name (s->device));
    return 0;
  }
  s->guard = s->ring.format->number == 1 ? &guard1 : &guard2;
  return learn (s);
}

struct service *
service_open (blkring_device *device, const struct service_options *options)
{
  struct service *s = calloc (1, sizeof *s);
  struct saved_error error;

  if (s == NULL) {
    set_errno_error (ENOMEM, "cannot serve the ring");
    return NULL;
  }
  s->device = device;
  s->options = *options;
  if (s->options.clock.now == NULL)
    s->options.clock.now = system_now;
  /* What is in caches from before may not be durable. */
  s->answered = 1;
  pthread_mutex_init (&s->lock, NULL);
  pthread_cond_init (&s->changed, NULL);
  if (device_refresh (device) == -1 || open_locked (s) == -1) {
    save_error (&error);
    service_close (s);
    restore_error (&error);
    return NULL;
  }
  service_log (s, BLKRING_LOG_DEBUG, "%s: ring of format %u, data area of %"
               PRIu64 " bytes%s", blkring_device_name (device),
               s->ring.format->number, s->ring.capacity,
               s->read_only ? ", read-only" : "");
  return s;
}

void
service_close (struct service *s)
{
  if (s == NULL)
    return;
  if (s->locked)
    unlock_sides (s->device);
  if (s->guard)
    s->guard->forget (s);
  intervals_free (&s->written);
  free (s->meta);
  pthread_cond_destroy (&s->changed);
  pthread_mutex_destroy (&s->lock);
  free (s);
}

/*---------------------------------------------------------------------*/

static uint64_t
ring_view_size (const struct service *s)
{
  return s->size;
}

/* In the order of 'exports'. */
static const struct view views[] = {
  {
    .size = ring_view_size,
    .pread = ring_view_pread,
    .writable = true,
    .extents = ring_view_extents,
  },
  {
    .size = status_view_size,
    .pread = status_view_pread,
  },
};

static const struct service_view exports[] = {
  { "", "the ring: producers and consumers attach here" },
  { "status", "how the ring stands, as JSON" },
  { NULL, NULL },
};

const struct service_view *
service_views (void)
{
  return exports;
}

static const struct service_view *
find_view (const char *name)
{
  const struct service_view *e;

  for (e = exports; e->name; ++e)
    if (strcmp (e->name, name) == 0)
      return e;
  return NULL;
}

const char *
service_split_name (const char *name, size_t *length)
{
  const char *slash = strrchr (name, '/');
  const struct service_view *v = find_view (slash ? slash + 1 : name);

  if (v && v->name[0]) {
    *length = slash ? (size_t) (slash - name) : 0;
    return v->name;
  }
  *length = strlen (name);
  return "";
}

/*---------------------------------------------------------------------*/

/* It goes into logs and JSON. */
static void
set_peer (struct service_client *c, const char *peer)
{
  char *p = c->peer;

  snprintf (p, sizeof c->peer, "%s", peer && *peer ? peer : "a client");
  for (; *p; ++p)
    if (*p < ' ' || *p > '~' || *p == '"' || *p == '\\')
      *p = '?';
}

struct service_client *
service_connect (struct service *s, const char *view, const char *peer,
                 bool read_only)
{
  const struct service_view *e = find_view (view);
  struct service_client *c;

  if (e == NULL) {
    set_error (ENOENT, "there is no export \"%s\": the exports are \"\", the "
               "ring, and \"status\"", view);
    return NULL;
  }
  c = calloc (1, sizeof *c);
  if (c == NULL) {
    set_errno_error (ENOMEM, "cannot connect");
    return NULL;
  }
  c->service = s;
  c->export = e;
  c->view = &views[e - exports];
  set_peer (c, peer);
  c->read_only = read_only || s->read_only || !c->view->writable;

  pthread_mutex_lock (&s->lock);
  c->id = ++s->next_id;
  c->last_request = service_now (s);
  c->next = s->clients;
  s->clients = c;
  /* Others may write what is served read-only: look again. */
  if (s->read_only && s->guard) {
    if (service_learn_again (s) == -1)
      service_log (s, BLKRING_LOG_ERROR, "%s: shown as it was before: %s",
                   blkring_device_name (s->device), blkring_get_error ());
  }
  pthread_mutex_unlock (&s->lock);
  return c;
}

void
service_disconnect (struct service_client *c)
{
  struct service_client **at;
  struct service *s;
  unsigned side;

  if (c == NULL)
    return;
  s = c->service;
  pthread_mutex_lock (&s->lock);
  for (at = &s->clients; *at != c; at = &(*at)->next)
    ;
  *at = c->next;
  for (side = 0; side < MAX_SIDES; ++side)
    if (s->owners[side].client == c)
      service_release_side (s, side);
  pthread_mutex_unlock (&s->lock);
  free (c->snapshot);
  free (c);
}

uint64_t
service_size (const struct service_client *c)
{
  return c->view->size (c->service);
}

void
service_block_size (const struct service_client *c,
                    struct service_block_size *size)
{
  const struct blkring_geometry *g = &c->service->device->geometry;

  size->minimum = c->view->writable ? g->sector_size : 1;
  size->preferred = max_u64 (c->service->ring.block_size, 4096);
  size->maximum = UINT32_MAX;
}

bool
service_can (const struct service_client *c, enum service_feature feature)
{
  const unsigned flags = c->service->device->geometry.flags;

  switch (feature) {
  case SERVICE_CAN_WRITE:
  case SERVICE_CAN_TRIM:
  case SERVICE_CAN_ZERO:
    return !c->read_only;
  case SERVICE_CAN_FUA:
    return !c->read_only && !(flags & BLKRING_DEVICE_NO_FLUSH);
  case SERVICE_CAN_FLUSH:
    return !(flags & BLKRING_DEVICE_NO_FLUSH);
  case SERVICE_CAN_FAST_ZERO:
    return !c->read_only && c->service->options.device_ops.zero != NULL;
  case SERVICE_CAN_MULTI_CONN:
    return true;
  case SERVICE_CAN_EXTENTS:
    return c->view->extents != NULL && c->service->guard != NULL;
  case SERVICE_CAN_CACHE:
    break;
  }
  return false;
}

const char *
service_description (const struct service_client *c)
{
  return c->export->description;
}
