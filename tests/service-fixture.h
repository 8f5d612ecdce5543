/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the tests of the service core have in common: a service on a
 * recording device with a clock that the test moves, its log, and clients
 * of it as devices that the library can attach to.
 */

#ifndef SERVICE_FIXTURE_H
#define SERVICE_FIXTURE_H

#include <pthread.h>
#include <stdio.h>

#include "format1.h"
#include "format2-bytes.h"
#include "service/service.h"

#define SECOND UINT64_C (1000000000)
#define LENGTH(array) (sizeof (array) / sizeof (array)[0])

struct served {
  struct record_device *rd;  /* or NULL */
  blkring_device *device;
  struct service *s;
  struct service_options options;
  uint64_t now;              /* ns */
  pthread_mutex_t lock;
  char log[8192];            /* lines, the oldest are dropped */
  unsigned errors;           /* lines of that level */
};

static inline uint64_t
served_now (void *opaque)
{
  return ((struct served *) opaque)->now;
}

static inline int
served_sleep (void *opaque, uint64_t ns)
{
  ((struct served *) opaque)->now += ns;
  return 0;
}

static inline void
served_log (void *opaque, enum blkring_log_level level, const char *message)
{
  struct served *v = opaque;
  size_t n;

  pthread_mutex_lock (&v->lock);
  n = strlen (v->log);
  if (n + strlen (message) + 2 > sizeof v->log)
    n = 0;
  snprintf (v->log + n, sizeof v->log - n, "%s\n", message);
  v->errors += level == BLKRING_LOG_ERROR;
  pthread_mutex_unlock (&v->lock);
}

static inline struct served *
served_new (struct record_device *rd)
{
  struct served *v = calloc (1, sizeof *v);

  assert_non_null (v);
  v->rd = rd;
  v->device = rd ? rd->device : NULL;
  v->now = 1000 * SECOND;
  pthread_mutex_init (&v->lock, NULL);
  service_options_init (&v->options);
  v->options.log = served_log;
  v->options.log_opaque = v;
  v->options.clock.now = served_now;
  v->options.clock.opaque = v;
  return v;
}

static inline void
serve (struct served *v)
{
  v->s = service_open (v->device, &v->options);
  if (v->s == NULL)
    fail_msg ("%s", blkring_get_error ());
}

static inline struct served *
served_on (struct record_device *rd)
{
  struct served *v = served_new (rd);

  serve (v);
  return v;
}

/* The server is started anew. */
static inline void
serve_again (struct served *v)
{
  service_close (v->s);
  serve (v);
}

static inline void
served_free (struct served *v)
{
  service_close (v->s);
  if (v->rd) {
    assert_int_equal (v->rd->bad_requests, 0);
    record_device_free (v->rd);
  }
  else
    blkring_device_close (v->device);
  pthread_mutex_destroy (&v->lock);
  free (v);
}

static inline void
forget_log (struct served *v)
{
  v->log[0] = '\0';
  v->errors = 0;
}

/* The log has a line with all of these in it. */
static inline void
assert_log (struct served *v, const char *a, const char *b)
{
  char log[sizeof v->log], *line, *save;

  strcpy (log, v->log);
  for (line = strtok_r (log, "\n", &save); line;
       line = strtok_r (NULL, "\n", &save))
    if (strstr (line, a) && strstr (line, b))
      return;
  fail_msg ("no \"%s\" and \"%s\" in one line of:\n%s", a, b, v->log);
}

static inline struct service_client *
join (struct served *v, const char *peer)
{
  struct service_client *c = service_connect (v->s, "", peer, false);

  assert_non_null (c);
  return c;
}

/* A clock for handles that goes with the service's. */
static inline struct blkring_clock
served_clock (struct served *v)
{
  return (struct blkring_clock) { served_now, served_sleep, v };
}

/*---------------------------------------------------------------------*/
/* A client as a device.  Closing the device ends the connection.          */

static inline int
client_geometry (void *opaque, struct blkring_geometry *g)
{
  struct service_client *c = opaque;
  struct service_block_size size;

  service_block_size (c, &size);
  g->size = service_size (c);
  g->sector_size = size.minimum;
  g->memory_alignment = 1;
  g->flags = BLKRING_DEVICE_SHARED |
    (service_can (c, SERVICE_CAN_FUA) ? BLKRING_DEVICE_FUA : 0) |
    (service_can (c, SERVICE_CAN_WRITE) ? 0 : BLKRING_DEVICE_READ_ONLY);
  return 0;
}

static inline ssize_t
client_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  return service_pread (opaque, buf, count, offset) == 0 ? (ssize_t) count
    : -1;
}

static inline ssize_t
client_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
               unsigned flags)
{
  return service_pwrite (opaque, buf, count, offset,
                         flags & BLKRING_WRITE_FUA ? SERVICE_FLAG_FUA : 0)
    == 0 ? (ssize_t) count : -1;
}

static inline int
client_flush (void *opaque)
{
  return service_flush (opaque);
}

static inline void
client_close (void *opaque)
{
  service_disconnect (opaque);
}

static inline blkring_device *
connect_device (struct served *v, const char *peer)
{
  static const struct blkring_device_ops ops = {
    .struct_size = sizeof ops,
    .geometry = client_geometry,
    .pread = client_pread,
    .pwrite = client_pwrite,
    .flush = client_flush,
    .close = client_close,
  };
  blkring_device *d = blkring_device_new (&ops, join (v, peer));

  assert_non_null (d);
  return d;
}

/*---------------------------------------------------------------------*/
/* Requests by hand.                                                       */

/* The request fails with this error, is told in the log once, and has
 * changed nothing. */
#define assert_refused(v, error, call) \
  do { \
    unsigned char *before_ = copy_content (v); \
    const unsigned errors_ = (v)->errors; \
    if ((call) != -1) \
      fail_msg ("let in: %s", #call); \
    if (errno != (error)) \
      fail_msg ("errno %d, expected %d: %s", errno, error, \
                blkring_get_error ()); \
    assert_int_equal ((v)->errors, errors_ + 1); \
    assert_memory_equal (before_, (v)->rd->content, (v)->rd->allocated); \
    free (before_); \
  } while (0)

static inline unsigned char *
copy_content (const struct served *v)
{
  unsigned char *p = malloc (v->rd->allocated);

  assert_non_null (p);
  memcpy (p, v->rd->content, v->rd->allocated);
  return p;
}

/* From memory that has no other bytes around. */
static inline int
put_bytes (struct service_client *c, uint64_t offset, const void *p,
           size_t n)
{
  void *copy = malloc (n ? n : 1);
  int r, err;

  memcpy (copy, p, n);
  r = service_pwrite (c, copy, n, offset, 0);
  err = errno;
  free (copy);
  errno = err;
  return r;
}

/* 'n' bytes of one value. */
static inline int
put_byte (struct service_client *c, uint64_t offset, int byte, size_t n)
{
  unsigned char *p = malloc (n);
  int r, err;

  memset (p, byte, n);
  r = service_pwrite (c, p, n, offset, 0);
  err = errno;
  free (p);
  errno = err;
  return r;
}

/* [offset, offset + n) of the export has this value everywhere. */
static inline void
assert_reads (struct service_client *c, uint64_t offset, int byte, size_t n)
{
  unsigned char *p = malloc (n);
  size_t i;

  assert_ok (service_pread (c, p, n, offset));
  for (i = 0; i < n; ++i)
    if (p[i] != byte)
      fail_msg ("byte %zu is %#x and not %#x", (size_t) offset + i, p[i],
                byte);
  free (p);
}

struct extents {
  unsigned n;
  struct { uint64_t offset, length; bool hole; } v[64];
};

static inline int
add_to_extents (void *opaque, uint64_t offset, uint64_t length,
                unsigned type)
{
  struct extents *e = opaque;

  assert_true (type == 0 ||
               type == (SERVICE_EXTENT_HOLE | SERVICE_EXTENT_ZERO));
  assert_true (e->n < LENGTH (e->v));
  e->v[e->n].offset = offset;
  e->v[e->n].length = length;
  e->v[e->n++].hole = type != 0;
  return 0;
}

/* Where data and holes of the whole export begin, and its end: "0 h1024 2048"
 * is data, a hole from 1024 on, and the end at 2048. */
static inline void
assert_extents (struct service_client *c, const char *expected)
{
  struct extents e = { 0 };
  char text[1000] = "";
  size_t n = 0;
  unsigned i;

  assert_ok (service_extents (c, service_size (c), 0, false, add_to_extents,
                              &e));
  for (i = 0; i < e.n; ++i)
    n += snprintf (text + n, sizeof text - n, "%s%lu ", e.v[i].hole ? "h"
                   : "", (unsigned long) e.v[i].offset);
  snprintf (text + n, sizeof text - n, "%lu",
            (unsigned long) (e.v[i - 1].offset + e.v[i - 1].length));
  assert_string_equal (text, expected);
}

#endif /* SERVICE_FIXTURE_H */
