/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Many connections at once, each with a thread of its own: a producer,
 * consumers, observers, an administrator that suspends and resumes, readers
 * of the status and of the whole ring, and those who write what they must
 * not.  What is in order is let in, and the rest is not.
 */

#include <config.h>

#include <stdatomic.h>
#include <unistd.h>

#include "service-fixture.h"

#define CONSUMERS 2
#define LARGEST 3000

struct shape {
  unsigned format, consumers;
  unsigned items;
};

struct world {
  const struct shape *shape;
  struct served *v;
  atomic_bool over;
  char failure[512];         /* of a thread: cmocka is for the first */
  pthread_mutex_t lock;
};

struct worker {
  struct world *w;
  unsigned k;
  pthread_t thread;
};

/* Poll often, for the real clock runs. */
static const struct blkring_attach_options quick = { .poll_interval = 1,
                                                     .poll_limit = 1 };

static void
give_up (struct world *w, const char *who)
{
  pthread_mutex_lock (&w->lock);
  if (w->failure[0] == '\0')
    snprintf (w->failure, sizeof w->failure, "%s: %s", who,
              blkring_get_error ());
  pthread_mutex_unlock (&w->lock);
  w->over = true;
}

static size_t
length_of (unsigned i)
{
  return i % 50 == 0 ? LARGEST : i * 7 % 300;
}

static unsigned char
byte_of (unsigned i)
{
  return i * 31 + 7;
}

/*---------------------------------------------------------------------*/

static int
append_one (struct world *w, blkring_producer *p, unsigned i)
{
  unsigned char item[LARGEST];
  int r;

  memset (item, byte_of (i), length_of (i));
  while ((r = blkring_producer_append (p, item, length_of (i), NULL)) == -1 &&
         (errno == EAGAIN || errno == ESHUTDOWN) && !w->over) {
    r = blkring_producer_wait (p, length_of (i), 100);
    if (r == -1 && errno != ETIMEDOUT)
      break;
  }
  return r;
}

static void *
produce (void *arg)
{
  struct worker *me = arg;
  struct world *w = me->w;
  blkring_device *d = connect_device (w->v, "producer");
  blkring_producer *p = blkring_producer_attach (d, &quick);
  unsigned i;

  for (i = 0; p && i < w->shape->items && !w->over; ++i)
    if (append_one (w, p, i) == -1)
      break;
  if (p == NULL || (i < w->shape->items && !w->over))
    give_up (w, "producer");
  blkring_producer_free (p);
  blkring_device_close (d);
  return NULL;
}

static bool
is_item (const struct blkring_item *item, unsigned i)
{
  const unsigned char *p = item->data;
  size_t n;

  if (item->length != length_of (i))
    return false;
  for (n = 0; n < item->length; ++n)
    if (p[n] != byte_of (i))
      return false;
  return true;
}

static int
take_some (blkring_consumer *c, unsigned *i)
{
  struct blkring_item items[16];
  ssize_t n, k;

  n = blkring_consumer_popv (c, NULL, items, 16);
  if (n == -1 && errno == EAGAIN) {
    if (blkring_consumer_wait (c, NULL, 50) == -1 && errno != ETIMEDOUT)
      return -1;
    return 0;
  }
  if (n == -1)
    return -1;
  for (k = 0; k < n; ++k)
    if (!is_item (&items[k], *i + k)) {
      errno = EIO;
      return -1;
    }
  *i += n;
  return blkring_consumer_advance (c, items[n - 1].next);
}

static void *
consume (void *arg)
{
  struct worker *me = arg;
  struct world *w = me->w;
  struct blkring_attach_options o = quick;
  blkring_device *d = connect_device (w->v, "consumer");
  blkring_consumer *c;
  unsigned i = 0;

  o.consumer = me->k;
  c = blkring_consumer_attach (d, &o);
  while (c && i < w->shape->items && !w->over)
    if (take_some (c, &i) == -1)
      break;
  if (c == NULL || (i < w->shape->items && !w->over))
    give_up (w, "consumer");
  blkring_consumer_free (c);
  blkring_device_close (d);
  return NULL;
}

/*---------------------------------------------------------------------*/
/* Those who go on until the others have done.                             */

static int
do_nothing (void *opaque, const struct blkring_item *item)
{
  (void) opaque;
  (void) item;
  return 0;
}

static void *
observe (void *arg)
{
  struct worker *me = arg;
  struct blkring_attach_options o = quick;
  blkring_device *d = connect_device (me->w->v, "observer");
  blkring_consumer *c;

  o.flags = BLKRING_ATTACH_OBSERVER;
  c = blkring_consumer_attach (d, &o);
  while (c && !me->w->over) {
    if (blkring_consumer_fold (c, NULL, do_nothing, NULL) == -1)
      give_up (me->w, "observer");
    usleep (1000);
  }
  blkring_consumer_free (c);
  blkring_device_close (d);
  return NULL;
}

static void *
administer (void *arg)
{
  struct worker *me = arg;
  struct blkring_attach_options o = quick;
  blkring_device *d = connect_device (me->w->v, "administrator");
  blkring_consumer *c;
  int r = 0;

  o.flags = BLKRING_ATTACH_OBSERVER | BLKRING_ATTACH_FORCE;
  c = blkring_consumer_attach (d, &o);
  while (c && !me->w->over && r == 0) {
    r = blkring_consumer_suspend (c);
    if (r == 0)
      blkring_consumer_wait_state (c, BLKRING_SUSPENDED, 100);
    usleep (500);
    r = blkring_consumer_resume (c);
    if (r == -1 && errno == EAGAIN)
      r = 0;
    usleep (5000);
  }
  /* Let the producer come to its end. */
  while (c && !me->w->over && blkring_consumer_resume (c) == -1)
    usleep (1000);
  if (r == -1 && errno != EAGAIN)
    give_up (me->w, "administrator");
  blkring_consumer_free (c);
  blkring_device_close (d);
  return NULL;
}

static int
add_extent (void *opaque, uint64_t offset, uint64_t length, unsigned type)
{
  uint64_t *at = opaque;

  (void) type;
  if (*at != offset || length == 0) {
    errno = EIO;
    return -1;
  }
  *at += length;
  return 0;
}

static void *
look (void *arg)
{
  struct worker *me = arg;
  struct served *v = me->w->v;
  struct service_client *s = service_connect (v->s, "status", NULL, false);
  struct service_client *c = join (v, "reader");
  const uint64_t size = service_size (c), status = service_size (s);
  char *buf = malloc (size > status ? size : status);
  uint64_t at;

  while (!me->w->over) {
    at = 0;
    if (service_pread (s, buf, status, 0) == -1 ||
        service_pread (c, buf, size, 0) == -1 ||
        service_extents (c, size, 0, false, add_extent, &at) == -1 ||
        service_flush (c) == -1)
      give_up (me->w, "reader");
    usleep (200);
  }
  free (buf);
  service_disconnect (s);
  service_disconnect (c);
  return NULL;
}

/* Garbage everywhere: nothing of it is let in, or it is overwritten. */
static void *
disturb (void *arg)
{
  struct worker *me = arg;
  struct served *v = me->w->v;
  struct service_client *c = join (v, "vandal");
  const uint64_t size = service_size (c);
  unsigned seed = me->k + 1;
  unsigned char buf[9000];
  uint64_t offset, count;

  memset (buf, 0xaa, sizeof buf);
  while (!me->w->over) {
    seed = seed * 1103515245 + 12345;
    offset = (seed >> 4) % (size - sizeof buf);
    count = 1 + (seed >> 9) % sizeof buf;
    if (seed >> 30 == 0)
      service_trim (c, count, offset, 0);
    else if (seed >> 30 == 1)
      service_zero (c, count, offset, 0);
    else
      service_pwrite (c, buf, count, offset, 0);
    usleep (100);
  }
  service_disconnect (c);
  return NULL;
}

/*---------------------------------------------------------------------*/

static void
start_worker (struct world *w, struct worker *me, unsigned k,
              void *(*fn) (void *))
{
  *me = (struct worker) { .w = w, .k = k };
  assert_int_equal (pthread_create (&me->thread, NULL, fn, me), 0);
}

static void
only_leak (void *opaque, const struct blkring_finding *finding)
{
  (void) opaque;
  if (finding->kind != BLKRING_FINDING_LEAK)
    fail_msg ("%s", finding->message);
}

static void
assert_no_corruption (blkring_device *device)
{
  if (blkring_check (device, NULL, only_leak, NULL) == -1)
    fail_msg ("%s", blkring_get_error ());
}

static void
at_once (const struct shape *shape, bool vandals)
{
  const struct blkring_create_options create = {
    .format = shape->format, .block_size = 512,
    .consumers = shape->consumers,
  };
  const struct blkring_open_options o = {
    .flags = BLKRING_OPEN_CREATE, .size = 96 * 1024,
  };
  struct world w = { .shape = shape };
  struct worker workers[4 + CONSUMERS], others[4];
  unsigned n = 0, m = 0, k;

  /* In memory where that can be: this is not about the disk. */
  char name[] = "/dev/shm/blkring-test-XXXXXX";
  char other[] = "/tmp/blkring-test-XXXXXX";
  int fd = mkstemp (name);

  if (fd == -1) {
    fd = mkstemp (other);
    strcpy (name, other);
  }
  assert_true (fd >= 0);
  close (fd);
  w.v = served_new (NULL);
  /* A file: a recording device would have one lock for all. */
  w.v->device = blkring_device_open (name, &o);
  unlink (name);
  assert_non_null (w.v->device);
  pthread_mutex_init (&w.lock, NULL);
  assert_ok (blkring_create (w.v->device, &create));
  w.v->options.clock.now = NULL; /* the real one */
  serve (w.v);
  if (vandals) {
    /* They come when the owners are there. */
    start_worker (&w, &workers[n++], 0, produce);
    for (k = 0; k < shape->consumers; ++k)
      start_worker (&w, &workers[n++], k, consume);
    start_worker (&w, &others[m++], 0, disturb);
    start_worker (&w, &others[m++], 1, disturb);
  }
  else {
    start_worker (&w, &others[m++], 0, observe);
    start_worker (&w, &others[m++], 0, look);
    start_worker (&w, &others[m++], 0, administer);
    start_worker (&w, &workers[n++], 0, produce);
    for (k = 0; k < shape->consumers; ++k)
      start_worker (&w, &workers[n++], k, consume);
  }
  for (k = 0; k < n; ++k)
    pthread_join (workers[k].thread, NULL);
  w.over = true;
  for (k = 0; k < m; ++k)
    pthread_join (others[k].thread, NULL);
  if (w.failure[0])
    fail_msg ("%s\n%s", w.failure, w.v->log);
  if (!vandals && w.v->errors > 0)
    fail_msg ("%s", w.v->log);
  assert_no_corruption (w.v->device);
  pthread_mutex_destroy (&w.lock);
  served_free (w.v);
}

static void
all_at_once (void **state)
{
  at_once (*state, false);
}

static void
among_vandals (void **state)
{
  at_once (*state, true);
}

int
main (void)
{
  static struct shape first = { 1, 1, 2999 };
  static struct shape second = { 2, CONSUMERS, 2999 };
  const struct CMUnitTest tests[] = {
    { "all at once, format 1", all_at_once, NULL, NULL, &first },
    { "all at once, format 2", all_at_once, NULL, NULL, &second },
    { "among vandals, format 1", among_vandals, NULL, NULL, &first },
    { "among vandals, format 2", among_vandals, NULL, NULL, &second },
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
