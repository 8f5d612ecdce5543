/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The NBD client against a server in this process, which can be told to do
 * what real ones do seldom: geometry, flushes, requests in flight together,
 * the log.  Deadlines are in test-nbd-deadlines.c, connections that are lost
 * in test-nbd-lost.c, and real servers in nbd-client.bats.
 */

#include <config.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "nbd-fixture.h"

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

/* It has failed then, whatever the write's answer was. */
static void
a_flush_behind_the_write_fails (void **state)
{
  struct fixture *f = *state;
  blkring_producer *p;

  f->server.flags = SERVER_FLUSH;
  start (f, &patient);
  attach_producer (f, &p);
  server_lock (&f->server);
  f->server.flush_error = EIO;
  server_unlock (&f->server);
  assert_fails (EIO, append_seed (p, 10, 2, NULL));
  assert_message ("says the server");
  server_lock (&f->server);
  f->server.flush_error = 0;
  server_unlock (&f->server);
  assert_fails (EIO, append_seed (p, 10, 3, NULL));
  assert_message ("attached again");
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

/* Larger than the socket takes at once, while another thread waits for it to
 * be readable: that one has to write, too. */
static void *
write_in_thread (void *arg)
{
  struct reader *r = arg;
  const size_t size = 24 * MIB;
  unsigned char *bytes = malloc (size);

  memset (bytes, 'w', size);
  r->result = blkring_device_write (r->f->device, bytes, size, MIB);
  free (bytes);
  return NULL;
}

static void
a_thread_that_polls_writes_for_another (void **state)
{
  struct fixture *f = *state;
  struct reader readers[2] = { { f, 0, -3 }, { f, 0, -3 } };
  pthread_t threads[2];

  f->server.size = 32 * MIB;
  start (f, &patient);
  fill_payload (f->server.content, 512, 0);
  f->server.hold = 2;
  assert_int_equal (pthread_create (&threads[0], NULL, read_in_thread,
                                    &readers[0]), 0);
  /* It waits for the answer when the server has it. */
  for (;;) {
    server_lock (&f->server);
    if (f->server.reads > 0)
      break;
    server_unlock (&f->server);
    sched_yield ();
  }
  server_unlock (&f->server);
  assert_int_equal (pthread_create (&threads[1], NULL, write_in_thread,
                                    &readers[1]), 0);
  pthread_join (threads[0], NULL);
  pthread_join (threads[1], NULL);
  f->server.hold = 0;
  assert_int_equal (readers[0].result, 0);
  assert_int_equal (readers[1].result, 0);
  assert_int_equal (f->server.connections, 1);
  assert_int_equal (f->server.content[MIB], 'w');
  assert_int_equal (f->server.content[25 * MIB - 1], 'w');
}

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

/* Without a log they are for whoever has asked for them. */
static void
debug_messages_go_to_stderr (void **state)
{
  struct fixture *f = *state;
  static char text[65536];
  char name[160];
  int fd, saved = dup (STDERR_FILENO);

  server_start (&f->server);
  snprintf (name, sizeof name, "%s/stderr", f->dir);
  fd = open (name, O_RDWR | O_CREAT | O_APPEND, 0600);
  assert_return_code (fd, errno);
  setenv ("LIBNBD_DEBUG", "1", 1);
  dup2 (fd, STDERR_FILENO);
  f->device = blkring_device_open (f->server.uri, &patient);
  dup2 (saved, STDERR_FILENO);
  unsetenv ("LIBNBD_DEBUG");
  assert_handle (f->device);
  blkring_device_close (f->device);
  f->device = NULL;
  assert_return_code (pread (fd, text, sizeof text - 1, 0), errno);
  /* Before that libnbd writes them itself. */
  assert_non_null (strstr (text, "libnbd: debug: nbd_aio_connect_uri: "));
  close (fd);
  close (saved);
}

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
    ON_A_SERVER (a_flush_behind_the_write_fails),
    ON_A_SERVER (a_server_with_fua_alone_is_used),
    ON_A_SERVER (a_server_with_neither_is_for_durability_none),
    ON_A_SERVER (a_read_only_server_can_be_looked_at),
    ON_A_SERVER (parts_of_a_request_fly_together),
    ON_A_SERVER (threads_have_requests_in_flight_at_once),
    ON_A_SERVER (a_thread_that_polls_writes_for_another),
    ON_A_SERVER (log_gets_warnings_and_debug_messages),
    ON_A_SERVER (debug_messages_go_to_stderr),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
