/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A server that stops answering under a ring in use: each call of the library
 * ends when the time is over, and says why.  All of them wait at the same
 * time, each on a server of its own.
 */

#include <config.h>

#include <pthread.h>

#include "nbd-fixture.h"

#define TIMEOUT 3000         /* ms */

struct operation;

struct session {
  struct fixture *f;
  unsigned format;
  const struct operation *op;

  blkring_device *device;    /* the fixture's */
  blkring_producer *p;
  blkring_consumer *c;
  blkring_position pushed;   /* and not exposed */
  blkring_position popped;   /* and not freed */

  /* How it went. */
  pthread_t thread;
  int result, err;
  char message[256];
  double took;
};

static int
do_read (struct session *s)
{
  char buf[512];

  return blkring_device_read (s->device, buf, sizeof buf, 0);
}

static int
do_write (struct session *s)
{
  static const char zeros[512];

  return blkring_device_write (s->device, zeros, sizeof zeros, 0);
}

static int
do_flush (struct session *s)
{
  return blkring_device_flush (s->device);
}

static int
do_create (struct session *s)
{
  const struct blkring_create_options o = { .flags = BLKRING_CREATE_FORCE };

  return blkring_create (s->device, &o);
}

static int
do_erase (struct session *s)
{
  return blkring_erase (s->device, NULL, 0, NULL, NULL);
}

static int
do_inspect (struct session *s)
{
  struct blkring_info info;

  return blkring_inspect (s->device, NULL, &info);
}

static int
do_check (struct session *s)
{
  return blkring_check (s->device, NULL, NULL, NULL);
}

static int
do_attach_producer (struct session *s)
{
  s->p = blkring_producer_attach (s->device, NULL);
  return s->p ? 0 : -1;
}

static int
do_attach_consumer (struct session *s)
{
  s->c = blkring_consumer_attach (s->device, NULL);
  return s->c ? 0 : -1;
}

static int
do_push (struct session *s)
{
  return push_seed (s->p, 100, 9, NULL);
}

static int
do_append (struct session *s)
{
  return append_seed (s->p, 100, 9, NULL);
}

static int
do_expose (struct session *s)
{
  return blkring_producer_advance (s->p, s->pushed);
}

static int
do_producer_state (struct session *s)
{
  return blkring_producer_state (s->p);
}

static int
do_producer_wait (struct session *s)
{
  return blkring_producer_wait (s->p, 3000, -1);
}

static int
do_producer_detach (struct session *s)
{
  return blkring_producer_detach (s->p);
}

static int
do_pop (struct session *s)
{
  struct blkring_item item;

  return blkring_consumer_pop (s->c, NULL, &item);
}

static int
do_free (struct session *s)
{
  return blkring_consumer_advance (s->c, s->popped);
}

static int
do_suspend (struct session *s)
{
  return blkring_consumer_suspend (s->c);
}

static int
do_consumer_state (struct session *s)
{
  return blkring_consumer_state (s->c);
}

static int
nothing (void *opaque, const struct blkring_item *item)
{
  (void) opaque;
  (void) item;
  return 0;
}

static int
do_fold (struct session *s)
{
  return blkring_consumer_fold (s->c, NULL, nothing, NULL);
}

static int
do_consumer_wait (struct session *s)
{
  return blkring_consumer_wait (s->c, NULL, -1);
}

static int
do_consumer_detach (struct session *s)
{
  return blkring_consumer_detach (s->c);
}

static const struct operation {
  const char *name;
  int (*fn) (struct session *s);
  enum { ALONE, AS_IT_IS, POPPED, FULL, EMPTY } ring; /* before */
  bool never_fails;          /* nor needs the server in format 1 */
} operations[] = {
  { "read", do_read, AS_IT_IS, false },
  { "write", do_write, AS_IT_IS, false },
  { "flush", do_flush, AS_IT_IS, false },
  { "create", do_create, ALONE, false },
  { "erase", do_erase, ALONE, false },
  { "inspect", do_inspect, AS_IT_IS, false },
  { "check", do_check, AS_IT_IS, false },
  { "attach a producer", do_attach_producer, ALONE, false },
  { "attach a consumer", do_attach_consumer, ALONE, false },
  { "push", do_push, AS_IT_IS, false },
  { "append", do_append, AS_IT_IS, false },
  { "producer advance", do_expose, AS_IT_IS, false },
  { "producer state", do_producer_state, AS_IT_IS, false },
  { "producer wait", do_producer_wait, FULL, false },
  { "producer detach", do_producer_detach, AS_IT_IS, true },
  { "pop", do_pop, AS_IT_IS, false },
  { "consumer advance", do_free, POPPED, false },
  { "suspend", do_suspend, AS_IT_IS, false },
  { "consumer state", do_consumer_state, AS_IT_IS, false },
  { "fold", do_fold, AS_IT_IS, false },
  { "consumer wait", do_consumer_wait, EMPTY, false },
  { "consumer detach", do_consumer_detach, POPPED, true },
};

static void
begin_session (struct session *s, unsigned format, const struct operation *op)
{
  const struct blkring_open_options o = { .timeout = TIMEOUT };
  const struct blkring_create_options create = { .format = format };
  struct blkring_item item;

  s->format = format;
  s->op = op;
  assert_int_equal (setup ((void **) &s->f), 0);
  start (s->f, &o);
  s->device = s->f->device;
  assert_ok (blkring_create (s->device, &create));
  if (op->ring == ALONE)
    return;
  s->p = blkring_producer_attach (s->device, NULL);
  s->c = blkring_consumer_attach (s->device, NULL);
  assert_handle (s->p);
  assert_handle (s->c);
  assert_ok (append_seed (s->p, 100, 0, NULL));
  if (op->ring == POPPED || op->ring == EMPTY) {
    assert_ok (blkring_consumer_pop (s->c, NULL, &item));
    s->popped = item.next;
  }
  if (op->ring == EMPTY)
    assert_ok (blkring_consumer_advance (s->c, s->popped));
  while (op->ring == FULL && append_seed (s->p, 30000, 9, NULL) == 0)
    ;
  if (op->ring != FULL)
    assert_ok (push_seed (s->p, 100, 1, &s->pushed));
}

static void
end_session (struct session *s)
{
  void *state = s->f;

  blkring_producer_free (s->p);
  blkring_consumer_free (s->c);
  teardown (&state);
}

static void *
perform (void *arg)
{
  struct session *s = arg;
  const double begin = seconds ();

  s->result = s->op->fn (s);
  s->err = errno;
  s->took = seconds () - begin;
  snprintf (s->message, sizeof s->message, "%.255s", blkring_get_error ());
  return NULL;
}

/* It answers no request any more, and perhaps not even the handshake of a
 * connection that is made in place of the silent one. */
static void
be_silent (struct session *s, bool mute)
{
  struct nbd_server *server = &s->f->server;

  server_lock (server);
  server->silent = true;
  server->mute = mute;
  server_unlock (server);
}

static void
speak (struct session *s)
{
  struct nbd_server *server = &s->f->server;

  server_lock (server);
  server->silent = server->mute = false;
  server_unlock (server);
}

static void
judge (const struct session *s)
{
  const char *name = s->op->name;

  if (s->op->never_fails)
    assert_int_equal (s->result, 0);
  else if (s->result != -1 ||
           (s->err != ENOTCONN && s->err != ECONNABORTED) ||
           strstr (s->message, "does not answer") == NULL)
    fail_msg ("%s, format %u: %d, %s: %s", name, s->format, s->result,
              strerror (s->err), s->message);
  /* Once and a half would be what it takes to lose a connection, look at the
   * ring and wait anew. */
  if (s->took * 1000 > 1.4 * TIMEOUT ||
      (s->took * 1000 < TIMEOUT - 50 &&
       !(s->op->never_fails && s->format == 1)))
    fail_msg ("%s, format %u: it took %.3f s", name, s->format, s->took);
}

static void
no_call_waits_for_longer_than_the_timeout (void **state)
{
  static struct session sessions[4 * LENGTH (operations)];
  unsigned i;

  (void) state;
  for (i = 0; i < LENGTH (sessions); ++i)
    begin_session (&sessions[i], 1 + i % 2, &operations[i / 4]);
  for (i = 0; i < LENGTH (sessions); ++i) {
    be_silent (&sessions[i], i / 2 % 2);
    assert_int_equal (pthread_create (&sessions[i].thread, NULL, perform,
                                      &sessions[i]), 0);
  }
  for (i = 0; i < LENGTH (sessions); ++i)
    pthread_join (sessions[i].thread, NULL);
  for (i = 0; i < LENGTH (sessions); ++i)
    judge (&sessions[i]);
  for (i = 0; i < LENGTH (sessions); ++i) {
    speak (&sessions[i]);
    end_session (&sessions[i]);
  }
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    cmocka_unit_test (no_call_waits_for_longer_than_the_timeout),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
