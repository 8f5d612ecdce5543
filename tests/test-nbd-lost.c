/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The NBD client against a server that ends connections, at each request and
 * under many threads, or comes back as another one.  What becomes of a ring
 * then is in test-lost-connection.c, without a server.
 */

#include <config.h>

#include <pthread.h>
#include <unistd.h>

#include "nbd-fixture.h"

/*---------------------------------------------------------------------*/
/* Lost connections.                                                     */

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

/* Until the server has been connected to so often it lets nobody write. */
struct refusal {
  struct nbd_server *server;
  unsigned until;
};

static void *
end_of_refusal (void *arg)
{
  struct refusal *r = arg;
  unsigned seen = 0;

  while (seen < r->until) {
    usleep (1000);
    server_lock (r->server);
    seen = r->server->connections;
    if (seen >= r->until)
      r->server->write_error = 0;
    server_unlock (r->server);
  }
  return NULL;
}

static void
lose_the_side (struct fixture *f)
{
  server_lock (&f->server);
  f->server.write_error = EPERM;
  server_unlock (&f->server);
  server_kick (&f->server);
}

/* As when it keeps the side for the connection that was lost. */
static void
a_side_that_the_server_still_keeps_is_waited_for (void **state)
{
  struct fixture *f = *state;
  struct blkring_create_options o = { .flags = BLKRING_CREATE_FORCE };
  struct refusal refusal = { .server = &f->server };
  blkring_producer *p;
  blkring_consumer *c;
  struct blkring_item item;
  pthread_t thread;

  start (f, &patient);
  for (o.format = 1; o.format <= 2; ++o.format) {
    assert_ok (blkring_create (f->device, &o));
    p = blkring_producer_attach (f->device, NULL);
    c = blkring_consumer_attach (f->device, NULL);
    assert_handle (p);
    assert_handle (c);
    assert_ok (append_seed (p, 10, 0, NULL));
    refusal.until = f->server.connections + 4;
    lose_the_side (f);
    pthread_create (&thread, NULL, end_of_refusal, &refusal);
    assert_ok (append_seed (p, 10, 1, NULL));
    pthread_join (thread, NULL);
    pop_seed (c, NULL, 10, 0);
    assert_ok (blkring_consumer_pop (c, NULL, &item));
    refusal.until = f->server.connections + 4;
    lose_the_side (f);
    pthread_create (&thread, NULL, end_of_refusal, &refusal);
    assert_ok (blkring_consumer_advance (c, item.next));
    pthread_join (thread, NULL);
    take_seed (c, 10, 1);
    assert_fails (EAGAIN, blkring_consumer_pop (c, NULL, &item));
    blkring_producer_free (p);
    blkring_consumer_free (c);
  }
}

static void
a_side_that_another_has_is_given_up_after_reconnect (void **state)
{
  const struct blkring_open_options o = { .timeout = 20000,
                                          .reconnect = 500 };
  struct fixture *f = *state;
  blkring_producer *p;
  unsigned connections;

  start (f, &o);
  attach_producer (f, &p);
  lose_the_side (f);
  assert_fails_after (0.5, EBUSY, append_seed (p, 10, 2, NULL));
  assert_message ("another client owns this side");
  blkring_producer_free (p);
  /* And at once when the connection has lasted longer than that. */
  f->server.write_error = 0;
  attach_producer (f, &p);
  server_kick (&f->server);
  assert_ok (append_seed (p, 10, 2, NULL));
  usleep (600000);
  connections = f->server.connections;
  f->server.write_error = EPERM;
  assert_fails (EBUSY, append_seed (p, 10, 3, NULL));
  assert_int_equal (f->server.connections, connections);
  blkring_producer_free (p);
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

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    ON_A_SERVER (reads_go_on_after_a_lost_connection),
    ON_A_SERVER (without_reconnect_a_lost_connection_is_the_end),
    ON_A_SERVER (reconnecting_ends_in_time_and_begins_anew),
    ON_A_SERVER (another_export_is_not_taken_for_the_same),
    ON_A_SERVER (a_flush_does_not_answer_for_another_connection),
    ON_A_SERVER (errors_of_the_server_arrive),
    ON_A_SERVER (a_server_that_is_being_stopped_is_waited_for),
    ON_A_SERVER (a_side_that_the_server_still_keeps_is_waited_for),
    ON_A_SERVER (a_side_that_another_has_is_given_up_after_reconnect),
    ON_A_SERVER (a_session_goes_on_whatever_request_is_cut),
    ON_A_SERVER (threads_go_on_while_connections_end),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
