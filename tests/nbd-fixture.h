/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the tests of the NBD client have in common: the server of nbd-server.h,
 * a device on it, and how long calls take.
 */

#ifndef NBD_FIXTURE_H
#define NBD_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common.h"
#include "nbd-server.h"

#define MIB (1 << 20)
#define USUAL (SERVER_FLUSH | SERVER_FUA | SERVER_MULTI_CONN)

struct fixture {
  struct nbd_server server;
  char dir[128];
  blkring_device *device;
};

static inline int
setup (void **state)
{
  struct fixture *f = calloc (1, sizeof *f);

  if (f == NULL)
    return -1;
  make_scratch (f->dir, sizeof f->dir);
  f->server.dir = f->dir;
  f->server.size = MIB;
  f->server.flags = USUAL;
  *state = f;
  return 0;
}

static inline int
teardown (void **state)
{
  struct fixture *f = *state;

  blkring_device_close (f->device);
  if (f->server.content)
    server_stop (&f->server);
  remove_scratch (f->dir);
  free (f);
  return 0;
}

static const struct blkring_open_options patient = { .timeout = 20000 };

static inline void
start (struct fixture *f, const struct blkring_open_options *o)
{
  server_start (&f->server);
  f->device = blkring_device_open (f->server.uri, o);
  assert_handle (f->device);
}

static inline double
seconds (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return ts.tv_sec + ts.tv_nsec / 1e9;
}

static inline void
attach_producer (struct fixture *f, blkring_producer **p)
{
  const struct blkring_create_options o = { .flags = BLKRING_CREATE_FORCE };

  assert_ok (blkring_create (f->device, &o));
  *p = blkring_producer_attach (f->device, NULL);
  assert_handle (*p);
  assert_ok (append_seed (*p, 10, 0, NULL));
  server_forget (&f->server);
  assert_ok (append_seed (*p, 10, 1, NULL));
}

/* The call must fail so late, in seconds, and not much later. */
#define assert_fails_after(time, error, call) \
  do { \
    const double begin_ = seconds (); \
    assert_fails (error, call); \
    assert_true (seconds () - begin_ >= (time) - 0.02); \
    assert_true (seconds () - begin_ < (time) + 2); \
  } while (0)

struct log {
  unsigned lost, connected, warnings, debug;
};

static inline void
take_log (void *opaque, enum blkring_log_level level, const char *message)
{
  struct log *log = opaque;

  if (level == BLKRING_LOG_INFO && strstr (message, "is lost"))
    log->lost++;
  if (level == BLKRING_LOG_INFO && strstr (message, "connected:"))
    log->connected++;
  if (level == BLKRING_LOG_INFO && strstr (message, "multi-conn):"))
    log->warnings++;
  if (level == BLKRING_LOG_DEBUG && strncmp (message, "libnbd: ", 8) == 0)
    log->debug++;
}

#define ON_A_SERVER(function) \
  cmocka_unit_test_setup_teardown (function, setup, teardown)

#endif /* NBD_FIXTURE_H */
