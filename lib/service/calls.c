/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The requests of clients, as they come in: bounds, who is heard when, and
 * one line in the log for what is refused or failed.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* From then on only each refusal whose number is a power of 2 is logged. */
#define LOGGED_REFUSALS 16

int
refuse (struct request *rq, int err, const char *fmt, ...)
{
  char message[ERROR_SIZE];
  va_list args;

  va_start (args, fmt);
  vsnprintf (message, sizeof message, fmt, args);
  va_end (args);
  rq->refused = true;
  return set_error (err, "%s", message);
}

int
refuse_corrupt (struct request *rq)
{
  char why[ERROR_SIZE];

  snprintf (why, sizeof why, "%s", blkring_get_error ());
  return refuse (rq, EINVAL, "%s",
                 strncmp (why, "corrupt: ", 9) == 0 ? why + 9 : why);
}

static const char *const kind_names[] = { "write", "zero", "trim" };

/* Tell of a request that failed, once. */
static void
report (const struct request *rq)
{
  struct service_client *c = rq->client;
  struct service *s = c->service;
  const char *what = kind_names[rq->kind], *why = blkring_get_error ();
  unsigned n;

  if (!rq->refused) {
    service_log (s, BLKRING_LOG_ERROR, "%s: %s of %" PRIu64 " bytes at %"
                 PRIu64 " failed: %s", c->peer, what, rq->count, rq->offset,
                 why);
    return;
  }
  pthread_mutex_lock (&s->lock);
  s->rejected++;
  s->rejected_time = f2_wall_clock ();
  snprintf (s->rejected_reason, sizeof s->rejected_reason, "%s", why);
  memcpy (s->rejected_peer, c->peer, sizeof s->rejected_peer);
  n = ++c->refused;
  pthread_mutex_unlock (&s->lock);
  if (n <= LOGGED_REFUSALS || (n & (n - 1)) == 0)
    service_log (s, BLKRING_LOG_ERROR, "%s: %s of %" PRIu64 " bytes at %"
                 PRIu64 " refused%s: %s", c->peer, what, rq->count,
                 rq->offset, n >= LOGGED_REFUSALS ? " (of the next ones, not "
                 "all are told)" : "", why);
}

static bool
in_bounds (const struct service_client *c, uint64_t count, uint64_t offset)
{
  const uint64_t size = service_size (c);

  return offset <= size && count <= size - offset;
}

static void
enter (struct service_client *c)
{
  pthread_mutex_lock (&c->service->lock);
  c->busy++;
  c->last_request = service_now (c->service);
  pthread_mutex_unlock (&c->service->lock);
}

static void
leave (struct service_client *c)
{
  pthread_mutex_lock (&c->service->lock);
  c->busy--;
  c->last_request = service_now (c->service);
  pthread_mutex_unlock (&c->service->lock);
}

static int
change (struct service_client *c, enum request_kind kind, const void *buf,
        uint64_t count, uint64_t offset, unsigned flags)
{
  struct request rq = {
    .client = c, .kind = kind, .buf = buf, .count = count, .offset = offset,
    .flags = flags,
  };
  struct saved_error error;
  unsigned i;
  int r;

  enter (c);
  if (c->read_only)
    r = refuse (&rq, EROFS, "this export is read-only");
  else if (!in_bounds (c, count, offset))
    r = refuse (&rq, EINVAL, "the export has %" PRIu64 " bytes",
                service_size (c));
  else if (flags & SERVICE_FLAG_FAST_ZERO &&
           c->service->options.device_ops.zero == NULL)
    r = set_error (ENOTSUP, "zeros are not faster than other bytes here");
  else
    r = count == 0 ? 0 : service_do_request (&rq);
  if (r == -1 && errno != ENOTSUP) {
    save_error (&error);
    report (&rq);
    restore_error (&error);
  }
  for (i = 0; i < rq.nr_units; ++i)
    free (rq.units[i].content);
  leave (c);
  return r;
}

int
service_pwrite (struct service_client *c, const void *buf, uint64_t count,
                uint64_t offset, unsigned flags)
{
  return change (c, REQUEST_WRITE, buf, count, offset,
                 flags & SERVICE_FLAG_FUA);
}

int
service_zero (struct service_client *c, uint64_t count, uint64_t offset,
              unsigned flags)
{
  return change (c, REQUEST_ZERO, NULL, count, offset, flags);
}

int
service_trim (struct service_client *c, uint64_t count, uint64_t offset,
              unsigned flags)
{
  return change (c, REQUEST_TRIM, NULL, count, offset,
                 flags & SERVICE_FLAG_FUA);
}

static int
log_failure (struct service_client *c, const char *what)
{
  struct saved_error error;

  save_error (&error);
  service_log (c->service, BLKRING_LOG_ERROR, "%s: %s failed: %s", c->peer,
               what, error.message);
  return restore_error (&error);
}

int
service_pread (struct service_client *c, void *buf, uint64_t count,
               uint64_t offset)
{
  int r;

  if (!in_bounds (c, count, offset))
    return set_error (EINVAL, "the export has %" PRIu64 " bytes",
                      service_size (c));
  enter (c);
  r = c->view->pread (c, buf, count, offset);
  if (r == -1)
    log_failure (c, "read");
  leave (c);
  return r;
}

int
service_flush (struct service_client *c)
{
  struct service *s = c->service;
  int r;

  enter (c);
  pthread_mutex_lock (&s->lock);
  if (c->must_fail) {
    c->must_fail = false;
    r = set_error (EIO, "an earlier flush failed: what was not durable then "
                   "may be lost");
  }
  else {
    r = service_sync (s);
    if (r == -1)
      service_failed (s, c);
  }
  pthread_mutex_unlock (&s->lock);
  if (r == -1)
    log_failure (c, "flush");
  leave (c);
  return r;
}

int
service_extents (struct service_client *c, uint64_t count, uint64_t offset,
                 bool one, service_extent_fn fn, void *opaque)
{
  int r;

  if (!in_bounds (c, count, offset))
    return set_error (EINVAL, "the export has %" PRIu64 " bytes",
                      service_size (c));
  if (count == 0)
    return 0;
  enter (c);
  r = c->view->extents && c->service->guard
    ? c->view->extents (c, count, offset, one, fn, opaque)
    : fn (opaque, offset, count, 0);
  leave (c);
  return r;
}
