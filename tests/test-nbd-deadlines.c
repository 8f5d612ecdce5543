/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The NBD client against a server that does not answer, or late: no call
 * waits for longer than it was told to.
 */

#include <config.h>

#include <pthread.h>

#include "nbd-fixture.h"

/*---------------------------------------------------------------------*/
/* Deadlines.                                                            */

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
  unsigned before;
  char buf[512];

  start (f, &o);
  attach_producer (f, &p);
  before = f->server.connections;
  f->server.silent_until = f->server.connections;
  assert_ok (blkring_device_read (f->device, buf, 512, 0));
  assert_int_equal (f->server.connections, before + 1);
  f->server.silent_until = f->server.connections;
  assert_ok (append_seed (p, 10, 2, NULL));
  assert_int_equal (f->server.connections, before + 2);
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

struct waiter {
  blkring_device *device;
  char *buf;
  int err;
};

static void *
read_much (void *arg)
{
  struct waiter *w = arg;

  w->err = blkring_device_read (w->device, w->buf, MIB / 2, 0) == -1 ? errno
    : 0;
  return NULL;
}

/* One thread polls for all: the others keep their time, too. */

static void
threads_wait_for_no_longer_each (void **state)
{
  const struct blkring_open_options o = { .timeout = 2000 };
  struct fixture *f = *state;
  pthread_t threads[4];
  struct waiter waiters[4];
  double begin;
  unsigned i;

  start (f, &o);
  f->server.silent = true;
  begin = seconds ();
  for (i = 0; i < LENGTH (threads); ++i) {
    waiters[i] = (struct waiter) { f->device, malloc (MIB / 2), 0 };
    assert_int_equal (pthread_create (&threads[i], NULL, read_much,
                                      &waiters[i]), 0);
  }
  for (i = 0; i < LENGTH (threads); ++i) {
    pthread_join (threads[i], NULL);
    assert_int_equal (waiters[i].err, ENOTCONN);
    free (waiters[i].buf);
  }
  assert_true (seconds () - begin >= 1.9);
  assert_true (seconds () - begin < 2.8);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    ON_A_SERVER (a_server_that_never_answers_is_given_up),
    ON_A_SERVER (threads_wait_for_no_longer_each),
    ON_A_SERVER (a_handshake_without_an_answer_is_given_up),
    ON_A_SERVER (a_dead_connection_that_nobody_ends_is_replaced),
    ON_A_SERVER (a_large_request_may_take_its_time),
    ON_A_SERVER (wait_polls_and_keeps_its_time),
    ON_A_SERVER (wait_ends_when_the_server_is_gone),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
