/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: a test on the ring.
 *
 * A push is made durable and visible at once: by push and advance in
 * format 1, by append in format 2.  A ring that is full is emptied, and one
 * that is empty is filled, while the stopwatch stands.  Durable tests have a
 * ring that nobody ever used without flushes: format 2 remembers that, and
 * its consumers flush more then.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "bench.h"

#define FILL_BYTES (1 << 20)
#define DURABLE_FRAMES 500   /* that fill a ring durably: for a moment */
#define EMPTY_ITEMS 4096

struct run {
  struct bench *b;
  const struct test *t;
  struct stopwatch watch;
  uint64_t items, advances;
  blkring_producer *producer;
  blkring_consumer *consumer;
  struct iovec iov[BATCH];
};

static blkring_producer *
attach_producer (struct bench *b, bool durable)
{
  const struct blkring_attach_options options = {
    .queue = "bench", .client = "blkring-bench",
    .durability = durable ? BLKRING_DURABILITY_FULL : BLKRING_DURABILITY_NONE,
  };
  blkring_producer *p = blkring_producer_attach (b->device, &options);

  if (p == NULL)
    fail_ring ("cannot attach a producer");
  return p;
}

static blkring_consumer *
attach_consumer (struct bench *b, bool durable)
{
  const struct blkring_attach_options options = {
    .queue = "bench", .client = "blkring-bench",
    .durability = durable ? BLKRING_DURABILITY_FULL : BLKRING_DURABILITY_NONE,
  };
  blkring_consumer *c = blkring_consumer_attach (b->device, &options);

  if (c == NULL)
    fail_ring ("cannot attach a consumer");
  return c;
}

/* Pop everything, free it at once. */
static void
empty_ring (blkring_consumer *c)
{
  static struct blkring_item items[EMPTY_ITEMS];
  blkring_position at;
  ssize_t n;

  if (blkring_consumer_position (c, &at) == -1)
    fail_ring ("position");
  while ((n = blkring_consumer_popv (c, &at, items, EMPTY_ITEMS)) > 0)
    at = items[n - 1].next;
  if (n == -1 && errno != EAGAIN)
    fail_ring ("popv");
  if (blkring_consumer_advance (c, at) == -1)
    fail_ring ("advance of the consumer");
}

/* Push batches of the test's items, smaller ones at the end.  Format 2
 * keeps batches apart, so that they are those of the test there; format 1
 * does not, and large ones are quicker.  Durably, only as many as will
 * not take long. */
static void
fill_ring (blkring_producer *p, const struct bench *b, const struct test *t)
{
  size_t i, nr = t->format == 2 ? t->batch : FILL_BYTES / t->length;
  size_t frames = t->format == 2 && t->durable ? DURABLE_FRAMES : SIZE_MAX;
  struct iovec *iov = allocate (nr * sizeof *iov);

  for (i = 0; i < nr; ++i)
    iov[i] = (struct iovec) { b->payload, t->length };
  while (nr > 0 && frames-- > 0)
    if (blkring_producer_appendv (p, iov, nr, NULL) == -1) {
      if (errno != EAGAIN)
        fail_ring ("appendv");
      nr /= 2;
    }
  free (iov);
}

/*---------------------------------------------------------------------*/

static int
push_and_advance (struct run *r)
{
  const struct test *t = r->t;
  blkring_position after;
  int n;

  n = t->batch == 1
    ? blkring_producer_push (r->producer, r->b->payload, t->length, &after)
    : blkring_producer_pushv (r->producer, r->iov, t->batch, &after);
  return n == -1 ? -1 : blkring_producer_advance (r->producer, after);
}

static int
append (struct run *r)
{
  const struct test *t = r->t;

  if (t->batch == 1)
    return blkring_producer_append (r->producer, r->b->payload, t->length,
                                    NULL);
  return blkring_producer_appendv (r->producer, r->iov, t->batch, NULL);
}

static int
push (struct run *r)
{
  return r->t->format == 1 ? push_and_advance (r) : append (r);
}

static void
push_step (struct run *r)
{
  if (push (r) == -1) {
    if (errno != EAGAIN)
      fail_ring ("push");
    stopwatch_stop (&r->watch);
    empty_ring (r->consumer);
    stopwatch_start (&r->watch);
    if (push (r) == -1)
      fail_ring ("push into the empty ring");
  }
  r->items += r->t->batch;
  r->advances++;
}

static ssize_t
pop (struct run *r, struct blkring_item *items)
{
  if (r->t->batch == 1)
    return blkring_consumer_pop (r->consumer, NULL, items) == -1 ? -1 : 1;
  return blkring_consumer_popv (r->consumer, NULL, items, r->t->batch);
}

static void
pop_step (struct run *r)
{
  struct blkring_item items[BATCH];
  ssize_t n = pop (r, items);

  if (n == -1) {
    if (errno != EAGAIN)
      fail_ring ("pop");
    stopwatch_stop (&r->watch);
    fill_ring (r->producer, r->b, r->t);
    if (r->t->durable)
      settle (r->b);
    stopwatch_start (&r->watch);
    n = pop (r, items);
    if (n == -1)
      fail_ring ("pop from the full ring");
  }
  if (blkring_consumer_advance (r->consumer, items[n - 1].next) == -1)
    fail_ring ("advance of the consumer");
  r->items += n;
  r->advances++;
}

/*---------------------------------------------------------------------*/

void
make_ring (struct bench *b, const struct test *t)
{
  const struct blkring_create_options options = {
    .flags = BLKRING_CREATE_FORCE, .format = t->format,
    .block_size = t->block_size,
    .largest_frame = t->format == 2 ? LARGEST_FRAME : 0,
  };

  if (b->ring_format == t->format && b->ring_block_size == t->block_size &&
      !(t->durable && b->ring_unflushed)) {
    b->ring_unflushed = b->ring_unflushed || !t->durable;
    return;
  }
  if (blkring_create (b->device, &options) == -1)
    fail_ring ("cannot make the ring");
  b->ring_format = t->format;
  b->ring_block_size = t->block_size;
  b->ring_unflushed = !t->durable;
}

/* The ring as the test wants it: empty, or full of the test's items. */
static void
prepare (struct run *r)
{
  struct bench *b = r->b;
  const struct test *t = r->t;
  size_t i;

  make_ring (b, t);
  r->consumer = attach_consumer (b, t->durable);
  empty_ring (r->consumer);
  r->producer = attach_producer (b, t->durable);
  if (t->direction == POP)
    fill_ring (r->producer, b, t);
  if (t->durable)
    settle (b);
  for (i = 0; i < BATCH; ++i)
    r->iov[i] = (struct iovec) { b->payload + i * t->length, t->length };
}

double
run_ring (struct bench *b, struct result *result)
{
  struct run r = { .b = b, .t = &result->test };
  void (*step) (struct run *) = r.t->direction == PUSH ? push_step : pop_step;
  const unsigned steps = stride (r.t);
  unsigned i;

  prepare (&r);
  stopwatch_init (&r.watch, b->seconds);
  stopwatch_start (&r.watch);
  do {
    for (i = 0; i < steps; ++i)
      step (&r);
  } while (!stopwatch_over (&r.watch));
  stopwatch_stop (&r.watch);

  blkring_producer_free (r.producer);
  blkring_consumer_free (r.consumer);
  result->items += r.items;
  result->advances += r.advances;
  return r.items / stopwatch_seconds (&r.watch);
}
