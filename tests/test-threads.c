/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Several threads on one producer, and one on each consumer.
 */

#include <config.h>

#include <pthread.h>
#include <string.h>

#include "ring-fixture.h"

#define THREADS 4
#define ITEMS_PER_THREAD 2000

struct message {
  unsigned thread, index;
  unsigned char rest[200];
};

struct pusher {
  pthread_t id;
  blkring_producer *p;
  unsigned thread;
};

static size_t
message_length (unsigned thread, unsigned index)
{
  return offsetof (struct message, rest) + (thread * 31 + index * 17) % 200;
}

/* cmocka knows only the thread that runs the test: others count. */
static void *
push_many (void *arg)
{
  struct pusher *w = arg;
  struct message m;
  blkring_position after = 0;
  unsigned i;
  size_t n;
  int r;

  for (i = 0; i < ITEMS_PER_THREAD; ++i) {
    m.thread = w->thread;
    m.index = i;
    n = message_length (w->thread, i);
    fill_payload (m.rest, sizeof m.rest, i);
    while ((r = i % 3 == 1
            ? blkring_producer_push (w->p, &m, n, &after)
            : blkring_producer_append (w->p, &m, n, &after)) == -1) {
      if (errno != EAGAIN)
        return "push failed";
      /* What was pushed may fill the ring and be not exposed yet; it is an
       * error that is meant if another thread has exposed it. */
      blkring_producer_advance (w->p, after);
      if (blkring_producer_wait (w->p, n, 60000) == -1)
        return "wait failed";
    }
  }
  blkring_producer_advance (w->p, after);
  return NULL;
}

static void *
take_many (void *arg)
{
  blkring_consumer *c = arg;
  unsigned next[THREADS] = { 0 };
  struct blkring_item item;
  struct message m;
  unsigned n;

  for (n = 0; n < THREADS * ITEMS_PER_THREAD; ++n) {
    if (blkring_consumer_wait (c, NULL, 60000) == -1 ||
        blkring_consumer_pop (c, NULL, &item) == -1)
      return "pop failed";
    memcpy (&m, item.data, item.length < sizeof m ? item.length : sizeof m);
    if (m.thread >= THREADS || m.index != next[m.thread]++ ||
        item.length != message_length (m.thread, m.index) ||
        !is_payload (m.rest, item.length - offsetof (struct message, rest),
                     m.index))
      return "an item is lost, twice there or damaged";
    if (blkring_consumer_advance (c, item.next) == -1)
      return "advance failed";
  }
  return NULL;
}

static void
start_thread (pthread_t *id, void *(*fn) (void *), void *arg)
{
  assert_int_equal (pthread_create (id, NULL, fn, arg), 0);
}

static void
end_thread (pthread_t id)
{
  void *result;

  assert_int_equal (pthread_join (id, &result), 0);
  if (result)
    fail_msg ("%s", (char *) result);
}

static void
threads_share_a_producer (void **state)
{
  struct test_ring *t = *state;
  struct pusher pushers[THREADS];
  const struct blkring_attach_options o = {
    .durability = BLKRING_DURABILITY_NONE, .poll_limit = 1,
  };
  pthread_t takers[2];
  unsigned i, nr_takers = 0;

  attach_all (t, &o);
  start_thread (&takers[nr_takers++], take_many, t->c);
  if (t->other)
    start_thread (&takers[nr_takers++], take_many, t->other);
  for (i = 0; i < THREADS; ++i) {
    pushers[i] = (struct pusher) { .p = t->p, .thread = i };
    start_thread (&pushers[i].id, push_many, &pushers[i]);
  }
  for (i = 0; i < THREADS; ++i)
    end_thread (pushers[i].id);
  for (i = 0; i < nr_takers; ++i)
    end_thread (takers[i]);
  assert_nothing_to_pop (t);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_MEMORY (threads_share_a_producer),
    IN_FILE (threads_share_a_producer),
  };

  return cmocka_run_group_tests_name ("threads", tests, NULL, NULL);
}
