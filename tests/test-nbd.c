/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The NBD client against a server in this process, which can be told to do
 * what real ones do seldom: geometry, flushes, requests in flight together,
 * deadlines, and connections that are lost.  What ring it is and what
 * becomes of that is in test-lost-connection.c, and real servers are in
 * nbd-client.bats.
 */

#include <config.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "nbd-server.h"

#define MIB (1 << 20)
#define USUAL (SERVER_FLUSH | SERVER_FUA | SERVER_MULTI_CONN)

struct fixture {
  struct nbd_server server;
  char dir[128];
  blkring_device *device;
};

static int
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

static int
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

static void
start (struct fixture *f, const struct blkring_open_options *o)
{
  server_start (&f->server);
  f->device = blkring_device_open (f->server.uri, o);
  assert_handle (f->device);
}

static double
seconds (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return ts.tv_sec + ts.tv_nsec / 1e9;
}

/*---------------------------------------------------------------------*/
/* What the export is like.                                              */

static void
geometry_follows_the_server (void **state)
{
  static const struct {
    uint64_t size;
    uint32_t minimum, maximum;
    unsigned flags, open;
    uint64_t is_size;
    uint32_t sector, largest;
    unsigned is_flags;
  } cases[] = {
    { MIB, 0, 0, USUAL, 0,
      MIB, 512, 32 << 20, BLKRING_DEVICE_FUA },
    { MIB + 1, 0, 0, USUAL, 0,
      MIB + 1, 1, 32 << 20, BLKRING_DEVICE_FUA },
    { MIB + 1, 1, 1 << 20, USUAL, 0,
      MIB + 1, 1, 1 << 20, BLKRING_DEVICE_FUA },
    { MIB + 512, 4096, 98304, USUAL, 0,
      MIB, 4096, 98304, BLKRING_DEVICE_FUA },
    { MIB, 512, UINT32_MAX, USUAL, 0,
      MIB, 512, 64 << 20, BLKRING_DEVICE_FUA },
    { MIB, 65536, 65536, SERVER_FLUSH, 0,
      MIB, 65536, 65536, BLKRING_DEVICE_FUA },
    { MIB, 0, 0, SERVER_FUA, 0,
      MIB, 512, 32 << 20, BLKRING_DEVICE_FUA },
    { MIB, 0, 0, 0, 0,
      MIB, 512, 32 << 20, BLKRING_DEVICE_NO_FLUSH },
    { MIB, 0, 0, USUAL | SERVER_READ_ONLY, 0,
      MIB, 512, 32 << 20, BLKRING_DEVICE_FUA | BLKRING_DEVICE_READ_ONLY },
    { MIB, 0, 0, USUAL, BLKRING_OPEN_READ_ONLY,
      MIB, 512, 32 << 20, BLKRING_DEVICE_FUA | BLKRING_DEVICE_READ_ONLY },
  };
  struct fixture *f = *state;
  struct blkring_open_options o = patient;
  struct blkring_geometry g;
  unsigned i;

  start (f, &patient);
  for (i = 0; i < LENGTH (cases); ++i) {
    f->server.size = cases[i].size;
    f->server.minimum = cases[i].minimum;
    f->server.maximum = cases[i].maximum;
    f->server.flags = cases[i].flags;
    o.flags = cases[i].open;
    blkring_device_close (f->device);
    f->device = blkring_device_open (f->server.uri, &o);
    assert_handle (f->device);
    assert_ok (blkring_device_geometry (f->device, &g));
    assert_int_equal (g.size, cases[i].is_size);
    assert_int_equal (g.sector_size, cases[i].sector);
    assert_int_equal (g.max_request, cases[i].largest);
    assert_int_equal (g.memory_alignment, 1);
    assert_int_equal (g.flags, cases[i].is_flags | BLKRING_DEVICE_SHARED);
  }
}

static void
open_options_are_checked (void **state)
{
  struct fixture *f = *state;
  struct blkring_open_options o = patient;

  start (f, &patient);
  assert_string_equal (blkring_device_name (f->device), f->server.uri);
  o.flags = BLKRING_OPEN_CREATE;
  o.size = MIB;
  blkring_device_close (f->device);
  f->device = blkring_device_open (f->server.uri, &o);
  assert_handle (f->device);
  o.size = MIB / 2;
  assert_no_handle (EINVAL, blkring_device_open (f->server.uri, &o));
  assert_message ("1048576");
  o.flags = BLKRING_OPEN_DIRECT;
  assert_no_handle (EINVAL, blkring_device_open (f->server.uri, &o));
  o.flags = 0;
  o.reserved[4] = 1;
  assert_no_handle (EINVAL, blkring_device_open (f->server.uri, &o));
}

static void
a_password_is_not_shown (void **state)
{
  static const char uri[] = "nbd://me:secret@localhost:1/name?x=a@b:c";

  (void) state;
  assert_no_handle (ECONNREFUSED, blkring_device_open (uri, &patient));
  assert_null (strstr (blkring_get_error (), "secret"));
  assert_no_handle (EINVAL, blkring_device_open
                    ("nbd+what://me:secret@host/", &patient));
  assert_null (strstr (blkring_get_error (), "secret"));
  /* libnbd shows what it cannot read. */
  assert_no_handle (EINVAL, blkring_device_open
                    ("nbd://me:secret@a host/", &patient));
  assert_null (strstr (blkring_get_error (), "secret"));
  assert_message ("nbd://me@a host/");
}

static void
other_names_are_files (void **state)
{
  static const char *const names[] = {
    "nbd", "nbd:", "nbd:unix:/x", "xnbd://host", "NBD://host", "/nbd://x",
    "nbd1://x",
  };
  unsigned i;

  (void) state;
  for (i = 0; i < LENGTH (names); ++i) {
    assert_no_handle (ENOENT, blkring_device_open (names[i], NULL));
    assert_message ("cannot open");
  }
}

/*---------------------------------------------------------------------*/
/* Durability.                                                           */

static void
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

static void
fua_is_used_where_the_server_has_it (void **state)
{
  struct fixture *f = *state;
  blkring_producer *p;

  start (f, &patient);
  attach_producer (f, &p);
  assert_int_equal (f->server.writes, 1);
  assert_int_equal (f->server.fua_writes, 1);
  assert_int_equal (f->server.flushes, 0);
  blkring_producer_free (p);
}

static void
a_flush_follows_the_write_elsewhere (void **state)
{
  struct fixture *f = *state;
  blkring_producer *p;

  f->server.flags = SERVER_FLUSH;
  start (f, &patient);
  attach_producer (f, &p);
  assert_int_equal (f->server.writes, 1);
  assert_int_equal (f->server.fua_writes, 0);
  assert_int_equal (f->server.flushes, 1);
  blkring_producer_free (p);
}

static void
a_server_with_fua_alone_is_used (void **state)
{
  struct fixture *f = *state;
  blkring_producer *p;

  f->server.flags = SERVER_FUA;
  start (f, &patient);
  attach_producer (f, &p);
  assert_int_equal (f->server.fua_writes, 1);
  assert_ok (blkring_device_flush (f->device));
  assert_int_equal (f->server.flushes, 0);
  blkring_producer_free (p);
}

static void
a_server_with_neither_is_for_durability_none (void **state)
{
  const struct blkring_attach_options none = {
    .durability = BLKRING_DURABILITY_NONE,
  };
  struct fixture *f = *state;
  blkring_producer *p;
  blkring_consumer *c;

  f->server.flags = 0;
  start (f, &patient);
  assert_ok (blkring_create (f->device, NULL));
  assert_no_handle (ENOTSUP, blkring_producer_attach (f->device, NULL));
  assert_no_handle (ENOTSUP, blkring_consumer_attach (f->device, NULL));
  p = blkring_producer_attach (f->device, &none);
  assert_handle (p);
  assert_ok (append_seed (p, 10, 1, NULL));
  c = blkring_consumer_attach (f->device, &none);
  assert_handle (c);
  take_seed (c, 10, 1);
  blkring_producer_free (p);
  blkring_consumer_free (c);
}

static void
a_read_only_server_can_be_looked_at (void **state)
{
  const struct blkring_attach_options observer = {
    .flags = BLKRING_ATTACH_OBSERVER,
  };
  struct fixture *f = *state;
  blkring_producer *p;
  blkring_consumer *c;
  char zeros[512] = "";

  start (f, &patient);
  attach_producer (f, &p);
  blkring_producer_free (p);
  blkring_device_close (f->device);
  f->server.flags |= SERVER_READ_ONLY;
  f->device = blkring_device_open (f->server.uri, &patient);
  assert_handle (f->device);
  assert_no_handle (EROFS, blkring_producer_attach (f->device, NULL));
  assert_no_handle (EROFS, blkring_consumer_attach (f->device, NULL));
  assert_fails (EROFS, blkring_erase (f->device, NULL, 0, NULL, NULL));
  assert_error_if (-1 ==, errno, blkring_device_write (f->device, zeros, 512,
                                                       0));
  c = blkring_consumer_attach (f->device, &observer);
  assert_handle (c);
  pop_seed (c, NULL, 10, 0);
  blkring_consumer_free (c);
}

/*---------------------------------------------------------------------*/
/* In flight together.                                                   */

static void
parts_of_a_request_fly_together (void **state)
{
  static unsigned char bytes[40 * 4096], back[40 * 4096];
  struct fixture *f = *state;

  f->server.minimum = 512;
  f->server.maximum = 4096;
  start (f, &patient);
  fill_payload (bytes, sizeof bytes, 1);
  /* There is no answer before the last one has come. */
  f->server.hold = 40;
  assert_ok (blkring_device_write (f->device, bytes, sizeof bytes, 512));
  assert_ok (blkring_device_read (f->device, back, sizeof back, 512));
  assert_memory_equal (bytes, back, sizeof bytes);
  assert_int_equal (f->server.most_in_flight, 40);
  assert_int_equal (f->server.largest, 4096);
  f->server.hold = 0;
}

struct reader {
  struct fixture *f;
  unsigned number;
  int result;
};

static void *
read_in_thread (void *arg)
{
  struct reader *r = arg;
  unsigned char buf[512];

  r->result = blkring_device_read (r->f->device, buf, sizeof buf,
                                   512 * r->number);
  if (r->result == 0 && !is_payload (buf, sizeof buf, r->number))
    r->result = -2;
  return NULL;
}

static void
threads_have_requests_in_flight_at_once (void **state)
{
  struct fixture *f = *state;
  struct reader readers[8];
  pthread_t threads[8];
  unsigned i, round;

  start (f, &patient);
  for (i = 0; i < 8; ++i)
    fill_payload (f->server.content + 512 * i, 512, i);
  f->server.hold = 8;
  for (round = 0; round < 20; ++round) {
    for (i = 0; i < 8; ++i) {
      readers[i] = (struct reader) { f, i, -3 };
      assert_int_equal (pthread_create (&threads[i], NULL, read_in_thread,
                                        &readers[i]), 0);
    }
    for (i = 0; i < 8; ++i)
      pthread_join (threads[i], NULL);
    for (i = 0; i < 8; ++i)
      assert_int_equal (readers[i].result, 0);
  }
  assert_int_equal (f->server.connections, 1);
  f->server.hold = 0;
}

/*---------------------------------------------------------------------*/
/* Deadlines.                                                            */

/* The call must fail so late, in seconds, and not much later. */
#define assert_fails_after(time, error, call) \
  do { \
    const double begin_ = seconds (); \
    assert_fails (error, call); \
    assert_true (seconds () - begin_ >= (time) - 0.02); \
    assert_true (seconds () - begin_ < (time) + 2); \
  } while (0)

static void
a_server_that_never_answers_is_given_up (void **state)
{
  const struct blkring_open_options o = { .timeout = 200 };
  const struct blkring_open_options off = {
    .timeout = 200, .reconnect = BLKRING_RECONNECT_OFF,
  };
  struct fixture *f = *state;
  char buf[512] = "";
  unsigned i;

  start (f, &o);
  f->server.silent = true;
  for (i = 0; i < 2; ++i) {
    assert_fails_after (0.2, ENOTCONN,
                        blkring_device_read (f->device, buf, 512, 0));
    assert_message ("does not answer");
    blkring_device_close (f->device);
    f->device = blkring_device_open (f->server.uri, i ? &o : &off);
    assert_handle (f->device);
    assert_fails_after (0.2, ECONNABORTED,
                        blkring_device_write (f->device, buf, 512, 0));
    assert_message ("not known");
    blkring_device_close (f->device);
    f->device = blkring_device_open (f->server.uri, i ? &o : &off);
    assert_handle (f->device);
  }
}

static void
a_handshake_without_an_answer_is_given_up (void **state)
{
  const struct blkring_open_options o = { .timeout = 200 };
  struct fixture *f = *state;
  char buf[512];
  double begin;

  start (f, &o);
  f->server.mute = true;
  begin = seconds ();
  assert_no_handle (ETIMEDOUT, blkring_device_open (f->server.uri, &o));
  assert_true (seconds () - begin >= 0.18 && seconds () - begin < 2);
  assert_message ("does not answer");
  /* The same when it is made again. */
  server_kick (&f->server);
  assert_fails_after (0.2, ENOTCONN,
                      blkring_device_read (f->device, buf, 512, 0));
}

/* Half of the time is kept for a connection that is not dead. */
static void
a_dead_connection_that_nobody_ends_is_replaced (void **state)
{
  const struct blkring_open_options o = { .timeout = 400 };
  struct fixture *f = *state;
  blkring_producer *p;
  char buf[512];

  start (f, &o);
  attach_producer (f, &p);
  f->server.silent_until = f->server.connections;
  assert_ok (blkring_device_read (f->device, buf, 512, 0));
  assert_int_equal (f->server.connections, 2);
  f->server.silent_until = f->server.connections;
  assert_ok (append_seed (p, 10, 2, NULL));
  assert_int_equal (f->server.connections, 3);
  blkring_producer_free (p);
}

/* What takes longer than the deadline, but comes. */
static void
a_large_request_may_take_its_time (void **state)
{
  const struct blkring_open_options o = {
    .timeout = 300, .reconnect = BLKRING_RECONNECT_OFF,
  };
  struct fixture *f = *state;
  static unsigned char buf[MIB];
  double begin;

  start (f, &o);
  fill_payload (f->server.content, MIB, 3);
  f->server.dribble = 40;
  begin = seconds ();
  assert_ok (blkring_device_read (f->device, buf, MIB, 0));
  assert_true (seconds () - begin > 0.5);
  assert_true (is_payload (buf, MIB, 3));
}

static void
wait_polls_and_keeps_its_time (void **state)
{
  struct fixture *f = *state;
  const struct blkring_attach_options o = { .poll_limit = 10 };
  blkring_producer *p;
  blkring_consumer *c;
  struct blkring_item item;

  start (f, &patient);
  attach_producer (f, &p);
  c = blkring_consumer_attach (f->device, &o);
  assert_handle (c);
  assert_ok (blkring_consumer_wait (c, NULL, 10000));
  while (blkring_consumer_pop (c, NULL, &item) == 0)
    assert_ok (blkring_consumer_advance (c, item.next));
  assert_fails_after (0.1, ETIMEDOUT, blkring_consumer_wait (c, NULL, 100));
  server_forget (&f->server);
  assert_fails_after (0.3, ETIMEDOUT, blkring_consumer_wait (c, NULL, 300));
  /* It looks, but not all the time. */
  assert_in_range (f->server.reads, 5, 80);
  blkring_producer_free (p);
  blkring_consumer_free (c);
}

/* Which is not a time that is over, and can be waited on. */
static void
wait_ends_when_the_server_is_gone (void **state)
{
  const struct blkring_open_options o = { .timeout = 20000,
                                          .reconnect = 100 };
  struct fixture *f = *state;
  blkring_producer *p;
  blkring_consumer *c;

  start (f, &o);
  attach_producer (f, &p);
  c = blkring_consumer_attach (f->device, NULL);
  assert_handle (c);
  take_seed (c, 10, 0);
  take_seed (c, 10, 1);
  server_lock (&f->server);
  f->server.refuse = true;
  server_unlock (&f->server);
  server_kick (&f->server);
  assert_fails_after (0.1, ENOTCONN, blkring_consumer_wait (c, NULL, 20000));
  server_lock (&f->server);
  f->server.refuse = false;
  server_unlock (&f->server);
  assert_ok (append_seed (p, 10, 2, NULL));
  assert_ok (blkring_consumer_wait (c, NULL, 20000));
  take_seed (c, 10, 2);
  blkring_producer_free (p);
  blkring_consumer_free (c);
}

/*---------------------------------------------------------------------*/
/* Lost connections.                                                     */

struct log {
  unsigned lost, connected, warnings, debug;
};

static void
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

static void
reads_go_on_after_a_lost_connection (void **state)
{
  static struct log log;     /* it is used until the device is closed */
  const struct blkring_open_options o = {
    .timeout = 20000, .log = take_log, .log_opaque = &log,
  };
  struct fixture *f = *state;
  unsigned char buf[512];
  unsigned i;

  start (f, &o);
  fill_payload (f->server.content, 512, 5);
  for (i = 1; i <= 5; ++i) {
    if (i % 2)
      server_kick (&f->server);
    else
      server_plan_end (&f->server, END_AFTER, 0, false);
    memset (buf, 0, sizeof buf);
    assert_ok (blkring_device_read (f->device, buf, sizeof buf, 0));
    assert_true (is_payload (buf, sizeof buf, 5));
    assert_int_equal (f->server.connections, 1 + i);
    assert_int_equal (log.lost, i);
    assert_int_equal (log.connected, i);
  }
  assert_int_equal (log.warnings, 0);
}

static void
without_reconnect_a_lost_connection_is_the_end (void **state)
{
  const struct blkring_open_options o = {
    .timeout = 20000, .reconnect = BLKRING_RECONNECT_OFF,
  };
  struct fixture *f = *state;
  char buf[512] = "";

  start (f, &o);
  server_plan_end (&f->server, END_AFTER, 0, false);
  assert_fails (ECONNABORTED, blkring_device_write (f->device, buf, 512, 0));
  assert_fails (ENOTCONN, blkring_device_write (f->device, buf, 512, 0));
  assert_fails (ENOTCONN, blkring_device_read (f->device, buf, 512, 0));
  assert_int_equal (f->server.connections, 1);
}

static void
reconnecting_ends_in_time_and_begins_anew (void **state)
{
  const struct blkring_open_options o = { .timeout = 20000,
                                          .reconnect = 300 };
  struct fixture *f = *state;
  char buf[512];
  double begin;
  unsigned i;

  start (f, &o);
  server_lock (&f->server);
  f->server.refuse = true;
  server_unlock (&f->server);
  server_kick (&f->server);
  assert_fails_after (0.3, ENOTCONN,
                      blkring_device_read (f->device, buf, 512, 0));
  assert_message ("0.3 s");
  /* From then on each call tries once. */
  begin = seconds ();
  for (i = 0; i < 10; ++i)
    assert_fails (ENOTCONN, blkring_device_read (f->device, buf, 512, 0));
  assert_true (seconds () - begin < 1);
  server_lock (&f->server);
  f->server.refuse = false;
  server_unlock (&f->server);
  assert_ok (blkring_device_read (f->device, buf, 512, 0));
}

static void
another_export_is_not_taken_for_the_same (void **state)
{
  const struct blkring_open_options o = { .timeout = 20000,
                                          .reconnect = 50 };
  struct fixture *f = *state;
  char buf[512];

  start (f, &o);
  f->server.size = MIB / 2;
  server_kick (&f->server);
  assert_fails (ENOTCONN, blkring_device_read (f->device, buf, 512, 0));
  assert_message ("another export");
  f->server.size = MIB;
  f->server.flags |= SERVER_READ_ONLY;
  assert_fails (ENOTCONN, blkring_device_read (f->device, buf, 512, 0));
  assert_message ("another export");
  f->server.flags = USUAL;
  f->server.minimum = 4096;
  f->server.maximum = MIB;
  assert_fails (ENOTCONN, blkring_device_read (f->device, buf, 512, 0));
  f->server.minimum = f->server.maximum = 0;
  assert_ok (blkring_device_read (f->device, buf, 512, 0));
}

/* A flush on a new connection says nothing about what went before. */
static void
a_flush_does_not_answer_for_another_connection (void **state)
{
  struct fixture *f = *state;
  char buf[512] = "x";

  start (f, &patient);
  assert_ok (blkring_device_write (f->device, buf, 512, 0));
  server_kick (&f->server);
  assert_fails (EIO, blkring_device_flush (f->device));
  assert_message ("lost before");
  assert_ok (blkring_device_write (f->device, buf, 512, 0));
  assert_ok (blkring_device_flush (f->device));
  server_kick (&f->server);
  assert_ok (blkring_device_flush (f->device));
  /* Nor does a read, which makes the new connection. */
  assert_ok (blkring_device_write (f->device, buf, 512, 0));
  server_kick (&f->server);
  assert_ok (blkring_device_read (f->device, buf, 512, 0));
  assert_fails (EIO, blkring_device_flush (f->device));
}

static void
errors_of_the_server_arrive (void **state)
{
  struct fixture *f = *state;
  blkring_producer *p;

  start (f, &patient);
  attach_producer (f, &p);
  f->server.write_error = ENOSPC;
  assert_fails (ENOSPC, append_seed (p, 10, 2, NULL));
  f->server.write_error = 0;
  assert_fails (EIO, append_seed (p, 10, 2, NULL));
  blkring_producer_free (p);

  attach_producer (f, &p);
  f->server.write_error = EPERM;
  assert_fails (EBUSY, append_seed (p, 10, 2, NULL));
  assert_message ("another client owns this side");
  f->server.write_error = 0;
  assert_fails (EBUSY, append_seed (p, 10, 2, NULL));
  blkring_producer_free (p);
}

/* It says so to requests that it would not do any more. */
static void *
end_of_shutdown (void *arg)
{
  struct nbd_server *s = arg;
  unsigned seen = 0;

  while (seen < 3) {
    usleep (1000);
    server_lock (s);
    seen = s->connections;
    server_unlock (s);
  }
  server_lock (s);
  s->write_error = 0;
  server_unlock (s);
  return NULL;
}

static void
a_server_that_is_being_stopped_is_waited_for (void **state)
{
  struct fixture *f = *state;
  blkring_producer *p;
  blkring_consumer *c;
  pthread_t thread;

  start (f, &patient);
  attach_producer (f, &p);
  f->server.write_error = ESHUTDOWN;
  pthread_create (&thread, NULL, end_of_shutdown, &f->server);
  assert_ok (append_seed (p, 10, 2, NULL));
  pthread_join (thread, NULL);
  blkring_producer_free (p);
  c = blkring_consumer_attach (f->device, NULL);
  assert_handle (c);
  take_seed (c, 10, 0);
  take_seed (c, 10, 1);
  take_seed (c, 10, 2);
  assert_fails (EAGAIN, blkring_consumer_pop (c, NULL, &(struct blkring_item)
                                              { 0 }));
  blkring_consumer_free (c);
}

/*---------------------------------------------------------------------*/
/* The whole of a session, cut at each request.                          */

struct side {
  struct fixture *f;
  blkring_producer *p;
  blkring_consumer *c;
  unsigned pushed, popped;
};

static void
drain (struct side *s)
{
  struct blkring_item item;
  unsigned seed;

  while (blkring_consumer_pop (s->c, NULL, &item) == 0) {
    seed = s->popped++;
    assert_int_equal (item.length, 100 + seed % 7 * 300);
    assert_true (is_payload (item.data, item.length, seed));
    assert_ok (blkring_consumer_advance (s->c, item.next));
  }
  assert_int_equal (errno, EAGAIN);
}

static bool
cut_session (struct fixture *f, unsigned format, unsigned after,
             enum server_end end, bool crash)
{
  const struct blkring_create_options create = {
    .flags = BLKRING_CREATE_FORCE, .format = format,
    .block_size = format == 2 ? 512 : 0,
  };
  struct side s = { .f = f };
  bool was_cut;

  f->device = blkring_device_open (f->server.uri, &patient);
  assert_handle (f->device);
  assert_ok (blkring_create (f->device, &create));
  server_plan_end (&f->server, end, after, crash);
  s.p = blkring_producer_attach (f->device, NULL);
  assert_handle (s.p);
  s.c = blkring_consumer_attach (f->device, NULL);
  assert_handle (s.c);
  while (s.pushed < 14) {
    assert_ok (append_seed (s.p, 100 + s.pushed % 7 * 300, s.pushed, NULL));
    s.pushed++;
    if (s.pushed % 3 == 0)
      drain (&s);
  }
  assert_ok (blkring_producer_detach (s.p));
  drain (&s);
  assert_int_equal (s.popped, s.pushed);
  assert_ok (blkring_consumer_detach (s.c));
  was_cut = f->server.end == END_NEVER;
  blkring_producer_free (s.p);
  blkring_consumer_free (s.c);
  blkring_device_close (f->device);
  f->device = NULL;
  return was_cut;
}

static void
cut_at_each_request (struct fixture *f, unsigned format, enum server_end end)
{
  unsigned after = 0;

  f->server.size = format == 1 ? 20 * 512 : 32768 + 24 * 512;
  server_start (&f->server);
  while (cut_session (f, format, after, end, after % 2))
    after++;
  assert_true (after > 30);
  /* For each, and one for each cut. */
  assert_true (f->server.connections > 2 * after);
  server_stop (&f->server);
  f->server = (struct nbd_server) { .dir = f->dir, .flags = USUAL };
}

static void
a_session_goes_on_whatever_request_is_cut (void **state)
{
  struct fixture *f = *state;
  unsigned format, fua;

  for (format = 1; format <= 2; ++format)
    for (fua = 0; fua <= 1; ++fua) {
      if (fua)
        cut_at_each_request (f, format, END_BEFORE);
      f->server.flags = fua ? USUAL : SERVER_FLUSH | SERVER_MULTI_CONN;
      cut_at_each_request (f, format, END_AFTER);
    }
}

/*---------------------------------------------------------------------*/
/* Many threads, and a server that ends connections under them.          */

struct storm {
  struct fixture *f;
  blkring_producer *p;
  blkring_consumer *c;
  unsigned nr;
  bool done;
  int failed;
};

static void *
storm_producer (void *arg)
{
  struct storm *s = arg;
  unsigned i;
  int r;

  for (i = 0; i < s->nr; ++i) {
    do
      r = append_seed (s->p, i % 2000, i, NULL);
    while (r == -1 && errno == EAGAIN &&
           blkring_producer_wait (s->p, i % 2000, 20000) == 0);
    if (r == -1) {
      fprintf (stderr, "append: %s\n", blkring_get_error ());
      s->failed++;
      break;
    }
  }
  return NULL;
}

static void *
storm_consumer (void *arg)
{
  struct storm *s = arg;
  struct blkring_item item;
  unsigned i = 0;

  while (i < s->nr && !s->failed) {
    if (blkring_consumer_pop (s->c, NULL, &item) == 0) {
      if (item.length != i % 2000 || !is_payload (item.data, item.length, i)
          || blkring_consumer_advance (s->c, item.next) == -1) {
        fprintf (stderr, "item %u: %s\n", i, blkring_get_error ());
        s->failed++;
      }
      i++;
    }
    else if (errno != EAGAIN ||
             (blkring_consumer_wait (s->c, NULL, 1000) == -1 &&
              errno != ETIMEDOUT)) {
      fprintf (stderr, "pop: %s\n", blkring_get_error ());
      s->failed++;
    }
  }
  return NULL;
}

static void *
storm_reader (void *arg)
{
  struct storm *s = arg;
  struct blkring_info info;
  bool done = false;

  while (!done) {
    if (blkring_inspect (s->f->device, NULL, &info) == -1 &&
        errno != EBADMSG) {
      fprintf (stderr, "inspect: %s\n", blkring_get_error ());
      s->failed++;
    }
    server_lock (&s->f->server);
    done = s->done;
    server_unlock (&s->f->server);
  }
  return NULL;
}

static void *
storm_killer (void *arg)
{
  struct storm *s = arg;
  unsigned i;

  for (i = 0; i < 40; ++i) {
    usleep (5000);
    server_kick (&s->f->server);
  }
  return NULL;
}

static void
threads_go_on_while_connections_end (void **state)
{
  struct fixture *f = *state;
  struct storm s = { .f = f, .nr = 1500 };
  pthread_t threads[4];
  unsigned i;

  start (f, &patient);
  assert_ok (blkring_create (f->device, NULL));
  s.p = blkring_producer_attach (f->device, NULL);
  s.c = blkring_consumer_attach (f->device, NULL);
  assert_handle (s.p);
  assert_handle (s.c);
  pthread_create (&threads[0], NULL, storm_producer, &s);
  pthread_create (&threads[1], NULL, storm_consumer, &s);
  pthread_create (&threads[2], NULL, storm_killer, &s);
  pthread_create (&threads[3], NULL, storm_reader, &s);
  for (i = 0; i < 3; ++i)
    pthread_join (threads[i], NULL);
  server_lock (&f->server);
  s.done = true;
  server_unlock (&f->server);
  pthread_join (threads[3], NULL);
  assert_int_equal (s.failed, 0);
  assert_true (f->server.connections > 10);
  blkring_producer_free (s.p);
  blkring_consumer_free (s.c);
}

/*---------------------------------------------------------------------*/

static void
log_gets_warnings_and_debug_messages (void **state)
{
  static struct log log;     /* it is used until the device is closed */
  const struct blkring_open_options o = {
    .timeout = 20000, .log = take_log, .log_opaque = &log,
  };
  struct fixture *f = *state;
  char buf[512];
  unsigned before;

  f->server.flags = SERVER_FLUSH;
  start (f, &o);
  assert_int_equal (log.warnings, 1);
  assert_int_equal (log.debug, 0);
  blkring_device_close (f->device);
  setenv ("LIBNBD_DEBUG", "1", 1);
  f->device = blkring_device_open (f->server.uri, &o);
  assert_handle (f->device);
  unsetenv ("LIBNBD_DEBUG");
  before = log.debug;
  assert_true (before > 0);
  assert_ok (blkring_device_read (f->device, buf, sizeof buf, 0));
  assert_true (log.debug > before);
}

#define ON_A_SERVER(function) \
  cmocka_unit_test_setup_teardown (function, setup, teardown)

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    ON_A_SERVER (geometry_follows_the_server),
    ON_A_SERVER (open_options_are_checked),
    cmocka_unit_test (a_password_is_not_shown),
    cmocka_unit_test (other_names_are_files),
    ON_A_SERVER (fua_is_used_where_the_server_has_it),
    ON_A_SERVER (a_flush_follows_the_write_elsewhere),
    ON_A_SERVER (a_server_with_fua_alone_is_used),
    ON_A_SERVER (a_server_with_neither_is_for_durability_none),
    ON_A_SERVER (a_read_only_server_can_be_looked_at),
    ON_A_SERVER (parts_of_a_request_fly_together),
    ON_A_SERVER (threads_have_requests_in_flight_at_once),
    ON_A_SERVER (a_server_that_never_answers_is_given_up),
    ON_A_SERVER (a_handshake_without_an_answer_is_given_up),
    ON_A_SERVER (a_dead_connection_that_nobody_ends_is_replaced),
    ON_A_SERVER (a_large_request_may_take_its_time),
    ON_A_SERVER (wait_polls_and_keeps_its_time),
    ON_A_SERVER (wait_ends_when_the_server_is_gone),
    ON_A_SERVER (reads_go_on_after_a_lost_connection),
    ON_A_SERVER (without_reconnect_a_lost_connection_is_the_end),
    ON_A_SERVER (reconnecting_ends_in_time_and_begins_anew),
    ON_A_SERVER (another_export_is_not_taken_for_the_same),
    ON_A_SERVER (a_flush_does_not_answer_for_another_connection),
    ON_A_SERVER (errors_of_the_server_arrive),
    ON_A_SERVER (a_server_that_is_being_stopped_is_waited_for),
    ON_A_SERVER (a_session_goes_on_whatever_request_is_cut),
    ON_A_SERVER (threads_go_on_while_connections_end),
    ON_A_SERVER (log_gets_warnings_and_debug_messages),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
