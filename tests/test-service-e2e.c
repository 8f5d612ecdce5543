/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The library's own producers and consumers, attached through the service:
 * whatever they do is let in, and what goes in comes out, also when
 * connections and the server end at any moment.
 */

#include <config.h>

#include "service-fixture.h"

#define OPERATIONS 3000
#define MAX_ITEMS 4096       /* on their way */
#define CONSUMERS 3

struct shape {
  unsigned format;
  uint32_t sector;           /* of the device */
  uint32_t ring_sector;      /* format 1 */
  uint32_t block;            /* format 2 */
  uint64_t data;             /* bytes of the data area, about */
  unsigned consumers;
  unsigned flags;            /* of the device */
};

struct item {
  uint64_t seed;
  size_t length;
};

struct world {
  struct served *v;
  const struct shape *shape;
  uint64_t random;
  struct blkring_clock clock;
  blkring_device *pd, *cd[CONSUMERS];
  blkring_producer *p;
  blkring_consumer *c[CONSUMERS];
  struct item items[MAX_ITEMS]; /* exposed, a ring of them */
  uint64_t exposed;          /* items ever */
  uint64_t consumed[CONSUMERS];
  struct item staged[64];
  blkring_position ends[64];
  unsigned nr_staged;
  bool suspended, filling;
  uint64_t seed;
  unsigned full;             /* how often it was */
};

static uint64_t
draw (struct world *w, uint64_t n)
{
  w->random = w->random * UINT64_C (6364136223846793005) + 1442695040888963407;
  return (w->random >> 33) % n;
}

static void
fill (unsigned char *p, const struct item *item)
{
  uint64_t x = item->seed;
  size_t i;

  for (i = 0; i < item->length; ++i) {
    x = x * UINT64_C (6364136223846793005) + 1442695040888963407;
    p[i] = x >> 56;
  }
}

static void
assert_item (const struct item *expected, const struct blkring_item *item)
{
  unsigned char *p = malloc (expected->length + 1);

  fill (p, expected);
  assert_int_equal (item->length, expected->length);
  assert_memory_equal (item->data, p, item->length);
  free (p);
}

static void
assert_let_in (struct world *w)
{
  if (w->v->errors > 0)
    fail_msg ("%s", w->v->log);
}

/*---------------------------------------------------------------------*/

static blkring_producer *
attach_producer (struct world *w, unsigned flags)
{
  const struct blkring_attach_options o = { .clock = &w->clock,
                                            .flags = flags };
  blkring_producer *p = blkring_producer_attach (w->pd, &o);

  if (p == NULL)
    fail_msg ("%s\n%s", blkring_get_error (), w->v->log);
  w->nr_staged = 0;
  return p;
}

static blkring_consumer *
attach_consumer (struct world *w, unsigned k, unsigned flags)
{
  const struct blkring_attach_options o = { .clock = &w->clock,
                                            .flags = flags, .consumer = k };
  blkring_consumer *c = blkring_consumer_attach (w->cd[k], &o);

  if (c == NULL)
    fail_msg ("%s\n%s", blkring_get_error (), w->v->log);
  return c;
}

static void
expose (struct world *w, const struct item *item)
{
  w->items[w->exposed++ % MAX_ITEMS] = *item;
}

static struct item
new_item (struct world *w)
{
  const uint64_t most = w->shape->data / 3;
  const uint64_t length = draw (w, 8) == 0 ? draw (w, most)
    : draw (w, 3) == 0 ? draw (w, 2000) : draw (w, 40);

  return (struct item) { ++w->seed, length % most };
}

/* Nothing that the producer may meet but a full or a suspended ring. */
static bool
went (struct world *w, int r)
{
  if (r == 0)
    return true;
  w->full += errno == EAGAIN;
  if (errno != EAGAIN && errno != ESHUTDOWN)
    fail_msg ("%s\n%s", blkring_get_error (), w->v->log);
  return false;
}

static void
do_append (struct world *w)
{
  struct item items[8];
  struct iovec iov[8];
  const unsigned n = 1 + draw (w, LENGTH (items));
  unsigned i;

  for (i = 0; i < n; ++i) {
    items[i] = new_item (w);
    if (n > 1)
      items[i].length %= 64;
    iov[i].iov_base = malloc (items[i].length + 1);
    iov[i].iov_len = items[i].length;
    fill (iov[i].iov_base, &items[i]);
  }
  if (w->exposed + n < w->consumed[0] + MAX_ITEMS && w->nr_staged == 0 &&
      went (w, blkring_producer_appendv (w->p, iov, n, NULL)))
    for (i = 0; i < n; ++i)
      expose (w, &items[i]);
  for (i = 0; i < n; ++i)
    free (iov[i].iov_base);
}

static void
do_push (struct world *w)
{
  struct item item = new_item (w);
  unsigned char *p = malloc (item.length + 1);

  fill (p, &item);
  if (w->nr_staged < LENGTH (w->staged) &&
      went (w, blkring_producer_push (w->p, p, item.length,
                                      &w->ends[w->nr_staged])))
    w->staged[w->nr_staged++] = item;
  free (p);
}

static void
do_advance (struct world *w)
{
  unsigned n, i;

  if (w->nr_staged == 0 ||
      w->exposed + w->nr_staged >= w->consumed[0] + MAX_ITEMS)
    return;
  n = 1 + draw (w, w->nr_staged);
  assert_ok (blkring_producer_advance (w->p, w->ends[n - 1]));
  for (i = 0; i < n; ++i)
    expose (w, &w->staged[i]);
  w->nr_staged -= n;
  memmove (w->staged, w->staged + n, w->nr_staged * sizeof w->staged[0]);
  memmove (w->ends, w->ends + n, w->nr_staged * sizeof w->ends[0]);
}

static void
do_consume (struct world *w, unsigned k)
{
  struct blkring_item items[16];
  ssize_t n, i, used;

  /* What was appended just now is there, whatever was read ahead. */
  w->v->now += SECOND / 5;
  n = blkring_consumer_popv (w->c[k], NULL, items, 1 + draw (w, 16));
  if (n == -1) {
    assert_int_equal (errno, EAGAIN);
    assert_int_equal (w->consumed[k], w->exposed);
    return;
  }
  for (i = 0; i < n; ++i)
    assert_item (&w->items[(w->consumed[k] + i) % MAX_ITEMS], &items[i]);
  used = 1 + draw (w, n);
  if (blkring_consumer_advance (w->c[k], items[used - 1].next) != 0)
    fail_msg ("%s\n%s", blkring_get_error (), w->v->log);
  w->consumed[k] += used;
}

/* A request that is not acknowledged yet is not followed by another. */
static void
do_suspend (struct world *w)
{
  int r = w->suspended ? blkring_consumer_resume (w->c[0])
    : blkring_consumer_suspend (w->c[0]);

  if (went (w, r))
    w->suspended = !w->suspended;
  if (draw (w, 2))
    assert_true (blkring_producer_state (w->p) >= 0);
}

static void
do_reattach (struct world *w)
{
  const unsigned k = draw (w, w->shape->consumers);

  if (draw (w, 2)) {
    blkring_producer_free (w->p);
    w->p = attach_producer (w, 0);
  }
  else {
    blkring_consumer_free (w->c[k]);
    w->c[k] = attach_consumer (w, k, 0);
  }
}

/* The connection ends with nothing said, and another one takes over. */
static void
do_reconnect (struct world *w)
{
  const unsigned takeover = w->shape->format == 2 ? BLKRING_ATTACH_TAKEOVER
    : 0;
  const unsigned k = draw (w, w->shape->consumers);
  blkring_producer *p = w->p;
  blkring_consumer *c = w->c[k];
  blkring_device *d;

  if (draw (w, 2)) {
    d = w->pd;
    w->pd = connect_device (w->v, "producer");
    /* The old one is silent for long, and loses the side. */
    w->v->now += 11 * SECOND;
    w->p = attach_producer (w, takeover);
    /* What it says when it goes is refused. */
    blkring_producer_free (p);
    blkring_device_close (d);
  }
  else {
    d = w->cd[k];
    w->cd[k] = connect_device (w->v, "consumer");
    w->v->now += 11 * SECOND;
    w->c[k] = attach_consumer (w, k, takeover);
    blkring_consumer_free (c);
    blkring_device_close (d);
  }
}

static void
connect_all (struct world *w)
{
  unsigned k;

  w->pd = connect_device (w->v, "producer");
  for (k = 0; k < w->shape->consumers; ++k)
    w->cd[k] = connect_device (w->v, "consumer");
}

/* Handles are freed where that writes nothing: on a device that fails. */
static void
leave_all (struct world *w, bool quietly)
{
  unsigned k;

  if (quietly)
    record_device_cut_power (w->v->rd, 0);
  blkring_producer_free (w->p);
  blkring_device_close (w->pd);
  for (k = 0; k < w->shape->consumers; ++k) {
    blkring_consumer_free (w->c[k]);
    blkring_device_close (w->cd[k]);
  }
}

/* The server is killed, and all find it again. */
static void
do_restart (struct world *w)
{
  const unsigned takeover = w->shape->format == 2 ? BLKRING_ATTACH_TAKEOVER
    : 0;
  const bool crash = draw (w, 2);
  struct record_device *rd;
  unsigned k;

  leave_all (w, crash);
  service_close (w->v->s);
  if (crash) {
    rd = record_device_after_crash (w->v->rd, draw (w, 2) ? 0 : -1);
    record_device_free (w->v->rd);
    w->v->rd = rd;
    w->v->device = rd->device;
  }
  forget_log (w->v);
  serve (w->v);
  connect_all (w);
  w->p = attach_producer (w, crash ? takeover : 0);
  for (k = 0; k < w->shape->consumers; ++k)
    w->c[k] = attach_consumer (w, k, crash ? takeover : 0);
}

static void
step (struct world *w)
{
  const uint64_t what = draw (w, 1000);

  w->v->now += draw (w, 40) * SECOND / 1000;
  if (draw (w, 150) == 0)
    w->filling = !w->filling;
  if (w->filling && what >= 500 && what < 900)
    do_append (w);
  else if (what < 300)
    do_append (w);
  else if (what < 400)
    do_push (w);
  else if (what < 500)
    do_advance (w);
  else if (what < 950)
    do_consume (w, draw (w, w->shape->consumers));
  else if (what < (w->suspended ? 975 : 960))
    do_suspend (w);
  else if (what < 985)
    do_reattach (w);
  else if (what < 992)
    do_reconnect (w);
  else if (what < 997)
    do_restart (w);
}

/* The service knows what is on the device. */
static void
assert_follows (struct world *w)
{
  struct service_client *c = service_connect (w->v->s, "status", NULL, false);
  const uint64_t size = service_size (c);
  struct blkring_info *info = malloc (sizeof *info);
  char *text = malloc (size), expected[100];

  assert_ok (service_pread (c, text, size, 0));
  text[size - 1] = '\0';
  if (blkring_inspect (w->v->rd->device, NULL, info) == -1)
    fail_msg ("%s", blkring_get_error ());
  snprintf (expected, sizeof expected,
            "\"producer\": {\n    \"position\": %lu",
            (unsigned long) info->producer);
  if (strstr (text, expected) == NULL)
    fail_msg ("no %s in\n%s", expected, text);
  snprintf (expected, sizeof expected, "\"used\": %lu,\n  \"free\": %lu",
            (unsigned long) info->used, (unsigned long) info->free);
  if (w->shape->format == 1 && strstr (text, expected) == NULL)
    fail_msg ("no %s in\n%s", expected, text);
  free (info);
  free (text);
  service_disconnect (c);
}

static struct record_device *
new_ring (const struct shape *s)
{
  const struct blkring_create_options create = {
    .flags = BLKRING_CREATE_FORCE, .format = s->format,
    .sector_size = s->ring_sector, .block_size = s->block,
    .consumers = s->consumers,
  };
  const struct record_options o = {
    .size = s->data + (s->format == 1 ? 3 * s->ring_sector : 65536),
    .sector_size = s->sector, .flags = s->flags,
  };
  struct record_device *rd = record_device_new (&o);

  if (blkring_create (rd->device, &create) != 0)
    fail_msg ("%s", blkring_get_error ());
  return rd;
}

static void
random_operations (void **state)
{
  const struct shape *shape = *state;
  struct world *w = calloc (1, sizeof *w);
  const char *seed = getenv ("BLKRING_TEST_SEED");
  const char *steps = getenv ("BLKRING_TEST_STEPS");
  long i, n = steps ? atol (steps) : OPERATIONS;
  unsigned k;

  w->shape = shape;
  w->random = seed ? strtoull (seed, NULL, 0) : 1;
  w->v = served_on (new_ring (shape));
  w->clock = served_clock (w->v);
  connect_all (w);
  w->p = attach_producer (w, 0);
  for (k = 0; k < shape->consumers; ++k)
    w->c[k] = attach_consumer (w, k, 0);
  for (i = 0; i < n; ++i) {
    step (w);
    assert_let_in (w);
    if (i % 20 == 0)
      assert_follows (w);
  }
  /* It went around, and was full, many times. */
  assert_true (w->exposed > (uint64_t) n / 4);
  assert_true (w->full > n / 1000);
  leave_all (w, false);
  assert_let_in (w);
  assert_int_equal (check (w->v->rd).corruptions, 0);
  served_free (w->v);
  free (w);
}

int
main (void)
{
#define SHAPE(text, ...) \
  { text, random_operations, NULL, NULL, \
    &(struct shape) { __VA_ARGS__ } }
  const struct CMUnitTest tests[] = {
    SHAPE ("format 1", 1, 512, 512, 0, 16 * 512, 1, 0),
    SHAPE ("format 1, FUA", 1, 512, 512, 0, 40 * 512, 1,
           BLKRING_DEVICE_FUA),
    SHAPE ("format 1, a device of single bytes", 1, 1, 512, 0, 16 * 512, 1,
           BLKRING_DEVICE_FUA),
    SHAPE ("format 1, sectors of 4096", 1, 4096, 4096, 0, 8 * 4096, 1, 0),
    SHAPE ("format 2", 2, 512, 0, 512, 32 * 512, 1, 0),
    SHAPE ("format 2, FUA", 2, 512, 0, 512, 64 * 512, 1,
           BLKRING_DEVICE_FUA),
    SHAPE ("format 2, blocks of 4096", 2, 1, 0, 4096, 64 * 4096, 1,
           BLKRING_DEVICE_FUA),
    SHAPE ("format 2, sectors of 4096", 2, 4096, 0, 4096, 32 * 4096, 1,
           0),
    SHAPE ("format 2, three consumers", 2, 512, 0, 512, 128 * 512, 3,
           BLKRING_DEVICE_FUA),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
