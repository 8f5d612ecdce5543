/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A ring on what is below the filter.
 *
 * A connection's requests go down by its own context, in parallel as far as
 * nbdkit lets them.  What is done without a connection, and everything on a
 * plugin where a flush by one connection says nothing about the writes of
 * another (can_multi_conn), goes by a context that all share, one request
 * at a time.  Exports by name have no such context: plugins ask nbdkit for
 * the name, and it knows that of a connection alone.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <nbdkit-filter.h>

#include "backing.h"
#include "glue.h"

/* Beyond it plugins and servers below may refuse. */
#define LARGEST_REQUEST (UINT32_C (32) << 20)
#define LARGEST_ZERO (UINT32_C (1) << 30)

struct backing {
  char *name;
  unsigned users;
  nbdkit_next *shared;       /* or NULL */
  pthread_mutex_t lock;      /* of the shared context */
  bool own_contexts;         /* connections may use their own */
  struct blkring_geometry geometry;
  blkring_device *device;
  struct service *service;
  struct backing *other;     /* the next one that is open */
};

static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct backing *open_backings;

static __thread nbdkit_next *connection;

void
backing_enter (nbdkit_next *next)
{
  connection = next;
}

/*---------------------------------------------------------------------*/
/* The device that the service sees.                                      */

static nbdkit_next *
take_context (struct backing *b)
{
  if (connection && b->own_contexts)
    return connection;
  pthread_mutex_lock (&b->lock);
  return b->shared;
}

static void
leave_context (struct backing *b, const nbdkit_next *next)
{
  if (next == b->shared)
    pthread_mutex_unlock (&b->lock);
}

static int
get_geometry (void *opaque, struct blkring_geometry *g)
{
  const struct backing *b = opaque;

  *g = b->geometry;
  return 0;
}

static ssize_t
device_result (int r, int err, size_t count)
{
  if (r == 0)
    return count;
  errno = err ? err : EIO;
  return -1;
}

static ssize_t
read_below (void *opaque, void *buf, size_t count, uint64_t offset)
{
  struct backing *b = opaque;
  nbdkit_next *next = take_context (b);
  int err = 0, r;

  r = next->pread (next, buf, count, offset, 0, &err);
  leave_context (b, next);
  return device_result (r, err, count);
}

static ssize_t
write_below (void *opaque, const void *buf, size_t count, uint64_t offset,
             unsigned flags)
{
  struct backing *b = opaque;
  nbdkit_next *next = take_context (b);
  int err = 0, r;

  r = next->pwrite (next, buf, count, offset,
                    flags & BLKRING_WRITE_FUA ? NBDKIT_FLAG_FUA : 0, &err);
  leave_context (b, next);
  return device_result (r, err, count);
}

static int
flush_below (void *opaque)
{
  struct backing *b = opaque;
  nbdkit_next *next;
  int err = 0, r;

  if (b->geometry.flags & BLKRING_DEVICE_NO_FLUSH)
    return 0;
  next = take_context (b);
  r = next->flush (next, 0, &err);
  leave_context (b, next);
  return device_result (r, err, 0);
}

static int
zero_below (void *opaque, uint64_t count, uint64_t offset, unsigned flags)
{
  const uint32_t f = (flags & SERVICE_FLAG_MAY_TRIM ? NBDKIT_FLAG_MAY_TRIM
                      : 0) |
    (flags & SERVICE_FLAG_FAST_ZERO ? NBDKIT_FLAG_FAST_ZERO : 0);
  struct backing *b = opaque;
  nbdkit_next *next = take_context (b);
  int err = 0, r = 0;
  uint32_t n;

  if (flags & SERVICE_FLAG_FAST_ZERO && next->can_fast_zero (next) != 1) {
    r = -1;
    err = ENOTSUP;
  }
  for (; r == 0 && count > 0; count -= n, offset += n) {
    n = count < LARGEST_ZERO ? count : LARGEST_ZERO;
    r = next->zero (next, n, offset, f, &err);
  }
  leave_context (b, next);
  return device_result (r, err, 0);
}

static int
trim_below (void *opaque, uint64_t count, uint64_t offset)
{
  struct backing *b = opaque;
  nbdkit_next *next = take_context (b);
  int err = 0, r = 0;
  uint32_t n;

  for (; r == 0 && count > 0; count -= n, offset += n) {
    n = count < LARGEST_ZERO ? count : LARGEST_ZERO;
    r = next->trim (next, n, offset, 0, &err);
  }
  leave_context (b, next);
  return device_result (r, err, 0);
}

/*---------------------------------------------------------------------*/

int
backing_prepare (nbdkit_next *next)
{
  uint32_t minimum, preferred, maximum;

  return next->get_size (next) == -1 || next->can_write (next) == -1 ||
    next->can_flush (next) == -1 || next->can_fua (next) == -1 ||
    next->can_trim (next) == -1 || next->can_zero (next) == -1 ||
    next->can_fast_zero (next) == -1 || next->can_multi_conn (next) == -1 ||
    next->block_size (next, &minimum, &preferred, &maximum) == -1 ? -1 : 0;
}

static void
learn_geometry (struct backing *b, nbdkit_next *next)
{
  struct blkring_geometry *g = &b->geometry;
  uint32_t minimum, preferred, maximum;

  next->block_size (next, &minimum, &preferred, &maximum);
  g->size = next->get_size (next);
  g->sector_size = minimum ? minimum : 1;
  g->memory_alignment = 1;
  g->max_request = maximum && maximum < LARGEST_REQUEST
    ? maximum / g->sector_size * g->sector_size : LARGEST_REQUEST;
  g->flags = (next->can_write (next) ? 0 : BLKRING_DEVICE_READ_ONLY) |
    (next->can_fua (next) == NBDKIT_FUA_NATIVE ? BLKRING_DEVICE_FUA : 0) |
    (next->can_flush (next) ? 0 : BLKRING_DEVICE_NO_FLUSH);
  b->own_contexts = next->can_multi_conn (next) == 1;
}

static int
open_shared (struct backing *b, nbdkit_backend *backend)
{
  b->shared = nbdkit_next_context_open (backend, 0, b->name, 1);
  if (b->shared == NULL)
    return -1;
  if (b->shared->prepare (b->shared) == 0 &&
      backing_prepare (b->shared) == 0)
    return 0;
  nbdkit_next_context_close (b->shared);
  b->shared = NULL;
  return -1;
}

static int
check_own_contexts (const struct backing *b)
{
  if (b->shared || b->own_contexts)
    return 0;
  nbdkit_error ("the plugin does not promise that a flush by one connection "
                "covers the writes of another (can_multi_conn), so that it "
                "can serve a ring as its default export alone");
  return -1;
}

static int
open_service (struct backing *b, const struct service_options *options)
{
  static const struct blkring_device_ops ops = {
    .struct_size = sizeof ops,
    .geometry = get_geometry,
    .pread = read_below,
    .pwrite = write_below,
    .flush = flush_below,
  };
  nbdkit_next *next = b->shared ? b->shared : connection;
  struct service_options o = *options;

  learn_geometry (b, next);
  if (check_own_contexts (b) == -1)
    return -1;
  if (!(b->geometry.flags & BLKRING_DEVICE_FUA) &&
      b->geometry.flags & BLKRING_DEVICE_NO_FLUSH)
    nbdkit_error ("warning: what is below has neither flush nor FUA: it "
                  "cannot make writes durable");
  o.device_opaque = b;
  if (next->can_zero (next) != NBDKIT_ZERO_NONE)
    o.device_ops.zero = zero_below;
  if (next->can_trim (next) == 1)
    o.device_ops.trim = trim_below;
  b->device = blkring_device_new (&ops, b);
  if (b->device == NULL ||
      blkring_device_set_name (b->device, b->name[0] ? b->name
                               : "the default export") == -1)
    return glue_error (), -1;
  b->service = service_open (b->device, &o);
  return b->service ? 0 : (glue_error (), -1);
}

static void
free_backing (struct backing *b)
{
  service_close (b->service);
  blkring_device_close (b->device);
  if (b->shared) {
    b->shared->finalize (b->shared);
    nbdkit_next_context_close (b->shared);
  }
  pthread_mutex_destroy (&b->lock);
  free (b->name);
  free (b);
}

static struct backing *
new_backing (nbdkit_backend *backend, const char *name,
             const struct service_options *options)
{
  struct backing *b = calloc (1, sizeof *b);

  if (b == NULL || (b->name = strdup (name)) == NULL) {
    nbdkit_error ("out of memory");
    free (b);
    return NULL;
  }
  pthread_mutex_init (&b->lock, NULL);
  if ((backend == NULL || open_shared (b, backend) == 0) &&
      open_service (b, options) == 0)
    return b;
  free_backing (b);
  return NULL;
}

struct backing *
backing_get (nbdkit_backend *backend, const char *name,
             const struct service_options *options)
{
  struct backing *b;

  pthread_mutex_lock (&open_lock);
  for (b = open_backings; b && strcmp (b->name, name) != 0; b = b->other)
    ;
  if (b == NULL) {
    b = new_backing (backend, name, options);
    if (b) {
      b->other = open_backings;
      open_backings = b;
    }
  }
  if (b)
    b->users++;
  pthread_mutex_unlock (&open_lock);
  return b;
}

void
backing_put (struct backing *b)
{
  struct backing **link = &open_backings;

  if (b == NULL)
    return;
  pthread_mutex_lock (&open_lock);
  if (--b->users == 0) {
    while (*link != b)
      link = &(*link)->other;
    *link = b->other;
    free_backing (b);
  }
  pthread_mutex_unlock (&open_lock);
}

struct service *
backing_service (const struct backing *b)
{
  return b->service;
}
