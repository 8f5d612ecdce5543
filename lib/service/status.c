/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The view "status": how the ring stands, as JSON.
 *
 * It has a fixed size, and is padded with spaces.  Each read that begins at
 * 0 shows the moment of that read; one that begins elsewhere goes on with
 * what that connection saw last.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "internal.h"

/* What one consumer takes at most, and all the rest. */
#define CONSUMER_SIZE 1024
#define BASE_SIZE 4096

uint64_t
status_view_size (const struct service *s)
{
  return round_up (BASE_SIZE + s->ring.consumers * CONSUMER_SIZE, 4096);
}

static json_t *
time_to_json (uint64_t ns)
{
  const time_t t = ns / 1000000000;
  struct tm tm;
  char text[40];

  gmtime_r (&t, &tm);
  strftime (text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
  return json_string (text);
}

/* Memory ended while the document was made: a part of it is missing. */
static _Thread_local bool incomplete;

static void
set (json_t *object, const char *key, json_t *value)
{
  if (json_object_set_new (object, key, value) == -1)
    incomplete = true;
}

static void
set_number (json_t *object, const char *key, uint64_t value)
{
  set (object, key, json_integer (value));
}

static json_t *
counts_to_json (const struct counts *c)
{
  json_t *o = json_object ();

  set_number (o, "items", c->items);
  set_number (o, "bytes", c->bytes);
  return o;
}

/* null where nobody is. */
static json_t *
owner_to_json (const struct service *s, unsigned side)
{
  const struct service_client *c = s->owners[side].client;
  json_t *o;

  if (c == NULL)
    return json_null ();
  o = json_object ();
  set (o, "peer", json_string (c->peer));
  set (o, "since", time_to_json (s->owners[side].since));
  set_number (o, "silent-ms", c->busy ? 0
              : (service_now (s) - c->last_request) / 1000000);
  return o;
}

static json_t *
producer_to_json (const struct service *s)
{
  json_t *o = json_object ();

  if (s->ring.format->number == 1)
    set_number (o, "position", s->f1.v.producer.position);
  else {
    const struct f2_record *r = &s->f2.records.record[F2_PRODUCER];

    set_number (o, "position", s->f2.exposed);
    set_number (o, "staged", s->f2.tail - s->f2.exposed);
    set_number (o, "epoch", r->epoch);
    set (o, "clean", json_boolean (r->flags & F2_CLEAN));
  }
  set (o, "owner", owner_to_json (s, SIDE_PRODUCER));
  set (o, "pushed", counts_to_json (&s->pushed));
  return o;
}

static json_t *
consumer_to_json (const struct service *s, unsigned k)
{
  json_t *o = json_object ();

  set_number (o, "index", k);
  if (s->ring.format->number == 1) {
    set_number (o, "position", s->f1.v.consumer.position);
    set (o, "enabled", json_true ());
  }
  else {
    const struct f2_record *r = &s->f2.records.record[F2_CONSUMER + k];

    set_number (o, "position", r->position);
    set_number (o, "epoch", r->epoch);
    set (o, "enabled", json_boolean (r->flags & F2_ENABLED));
    set (o, "clean", json_boolean (r->flags & F2_CLEAN));
  }
  set (o, "owner", owner_to_json (s, SIDE_CONSUMER + k));
  set (o, "consumed", counts_to_json (&s->consumed[k]));
  return o;
}

static json_t *
rejected_to_json (const struct service *s)
{
  json_t *o = json_object ();

  set_number (o, "count", s->rejected);
  if (s->rejected == 0)
    return o;
  set (o, "reason", json_string (s->rejected_reason));
  set (o, "peer", json_string (s->rejected_peer));
  set (o, "time", time_to_json (s->rejected_time));
  return o;
}

static const char *const states[] = {
  [BLKRING_RUNNING] = "running",
  [BLKRING_SUSPEND_REQUESTED] = "suspend-requested",
  [BLKRING_SUSPENDED] = "suspended",
  [BLKRING_RESUME_REQUESTED] = "resume-requested",
};

static void
add_ring (const struct service *s, json_t *o)
{
  const uint64_t end = s->ring.format->number == 1
    ? s->f1.v.producer.position : s->f2.exposed;
  json_t *consumers = json_array ();
  unsigned k;

  set_number (o, "used", end - s->live_start);
  set_number (o, "free", s->ring.capacity - (end - s->live_start));
  set (o, "state", json_string (states[s->guard->state (s)]));
  set (o, "producer", producer_to_json (s));
  for (k = 0; k < s->ring.consumers; ++k)
    if (json_array_append_new (consumers, consumer_to_json (s, k)) == -1)
      incomplete = true;
  set (o, "consumers", consumers);
}

/* Without the guard the service follows nothing: what the device says. */
static void
add_inspected (json_t *o, const struct blkring_info *info)
{
  set_number (o, "used", info->used);
  set_number (o, "free", info->free);
  set (o, "state", json_string (states[info->state]));
  set (o, "producer", json_pack ("{s:I}", "position",
                                                 (json_int_t) info->producer));
  set (o, "consumers",
                       json_pack ("[{s:i, s:I}]", "index", 0, "position",
                                  (json_int_t) info->consumer));
}

static json_t *
service_to_json (const struct service *s, const struct blkring_info *info)
{
  const struct service_client *c;
  json_t *o = json_object ();
  unsigned clients = 0;

  for (c = s->clients; c; c = c->next)
    clients++;
  set (o, "blkring", json_string (blkring_version ()));
  set_number (o, "format", s->ring.format->number);
  set (o, "guard", json_boolean (s->guard != NULL));
  set (o, "sync", json_boolean (s->options.sync));
  set (o, "read-only", json_boolean (s->read_only));
  set_number (o, "capacity", s->ring.capacity);
  set_number (o, "owner-timeout-ms", s->options.owner_timeout / 1000000);
  set_number (o, "connections", clients);
  if (s->guard)
    add_ring (s, o);
  else if (info)
    add_inspected (o, info);
  set (o, "rejected", rejected_to_json (s));
  return o;
}

/* NULL on failure. */
static char *
render (const struct service *s, const struct blkring_info *info)
{
  const size_t size = status_view_size (s);
  char *text = malloc (size);
  json_t *o;
  size_t n;

  incomplete = text == NULL;
  o = service_to_json (s, info);
  /* Of no bytes when memory ends here. */
  n = incomplete ? 0 : json_dumpb (o, text, size - 1, JSON_INDENT (2) | JSON_PRESERVE_ORDER |
                  JSON_ENSURE_ASCII);
  json_decref (o);
  if (n == 0 || n > size - 1) {
    free (text);
    if (n == 0)
      set_errno_error (ENOMEM, "cannot show the status");
    else
      set_error (EIO, "the status does not fit %zu bytes", size);
    return NULL;
  }
  memset (text + n, ' ', size - 1 - n);
  text[size - 1] = '\n';
  return text;
}

int
status_view_pread (struct service_client *c, void *buf, uint64_t count,
                   uint64_t offset)
{
  struct service *s = c->service;
  struct blkring_info *info = NULL;
  char *text;
  int r = 0;

  if (s->guard == NULL) {
    info = malloc (sizeof *info);
    if (info && blkring_inspect (s->device, &(struct blkring_inspect_options) {
          .flags = BLKRING_INSPECT_POINTERS }, info) == -1) {
      free (info);
      info = NULL;
    }
  }
  pthread_mutex_lock (&s->lock);
  if (offset == 0 || c->snapshot == NULL) {
    text = render (s, info);
    if (text) {
      free (c->snapshot);
      c->snapshot = text;
    }
    else
      r = -1;
  }
  if (r == 0)
    memcpy (buf, c->snapshot + offset, count);
  pthread_mutex_unlock (&s->lock);
  free (info);
  return r;
}
