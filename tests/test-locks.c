/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Several openers of one ring, in this process and in others: who may
 * attach, what observers may do beside an owner, what create and erase
 * keep away from, and what wakes a waiter.
 */

#include <config.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

static const struct blkring_attach_options holder = {
  .queue = "orders", .client = "holder",
};
static const struct blkring_attach_options observer = {
  .flags = BLKRING_ATTACH_OBSERVER,
};

/* A second device object for the same storage: the file again; or in
 * memory, where there is no second one, the same. */
static blkring_device *
open_again (struct test_ring *t)
{
  blkring_device *device = t->kind->file
    ? blkring_device_open (t->path, NULL) : t->device;

  assert_handle (device);
  return device;
}

static void
close_again (struct test_ring *t, blkring_device *device)
{
  if (device != t->device)
    blkring_device_close (device);
}

static struct blkring_info
inspect (struct test_ring *t)
{
  struct blkring_info info;

  assert_ok (blkring_inspect (t->device, NULL, &info));
  return info;
}

/*---------------------------------------------------------------------*/
/* Owners.                                                               */

static void
assert_both_sides_are_owned (blkring_device *device)
{
  assert_no_handle (EBUSY, blkring_producer_attach (device, NULL));
  assert_message ("orders used by holder; producer = ");
  assert_no_handle (EBUSY, blkring_consumer_attach (device, NULL));
  assert_message ("orders used by holder; consumer = ");
}

static void
second_owner_in_this_process_is_refused (void **state)
{
  struct test_ring *t = *state;
  blkring_device *again = open_again (t);

  attach_both (t, &holder);
  assert_ok (append_seed (t->p, 10, 0, NULL));
  take_seed (t->c, 10, 0);
  assert_both_sides_are_owned (t->device);
  assert_both_sides_are_owned (again);
  /* The refused attach has not taken the lock away. */
  assert_both_sides_are_owned (again);
  assert_ok (append_seed (t->p, 10, 1, NULL));
  take_seed (t->c, 10, 1);

  blkring_producer_detach (t->p);
  blkring_producer_free (t->p);
  t->p = blkring_producer_attach (again, NULL);
  assert_handle (t->p);
  assert_ok (append_seed (t->p, 10, 2, NULL));
  take_seed (t->c, 10, 2);
  detach_both (t);
  close_again (t, again);
}

static void
owner_without_a_text_yet_is_reported_too (void **state)
{
  struct test_ring *t = *state;

  attach_both (t, &holder);
  assert_no_handle (EBUSY, blkring_producer_attach (t->device, NULL));
  assert_message ("producer");
  assert_no_handle (EBUSY, blkring_consumer_attach (t->device, NULL));
  assert_message ("consumer");
}

/* Own both sides until told to go. */
static int
own_both (struct child *parent, void *arg)
{
  struct test_ring *t = arg;
  blkring_device *device = blkring_device_open (t->path, NULL);
  blkring_producer *p = blkring_producer_attach (device, &holder);
  blkring_consumer *c = blkring_consumer_attach (device, &holder);
  struct blkring_item item;

  if (blkring_producer_append (p, "one", 3, NULL) == -1 ||
      blkring_consumer_pop (c, NULL, &item) == -1 ||
      blkring_consumer_advance (c, item.next) == -1 ||
      blkring_producer_append (p, "two", 3, NULL) == -1)
    return 1;
  tell (parent, 'o');
  hear (parent);
  blkring_producer_free (p);
  blkring_consumer_free (c);
  blkring_device_close (device);
  return 0;
}

static void
assert_both_sides_are_free (struct test_ring *t)
{
  struct blkring_item item;

  attach_both (t, NULL);
  assert_ok (blkring_consumer_pop (t->c, NULL, &item));
  assert_int_equal (item.length, 3);
  assert_memory_equal (item.data, "two", 3);
  detach_both (t);
}

static void
second_owner_in_another_process_is_refused (void **state)
{
  struct test_ring *t = *state;
  struct child child;

  start_child (&child, own_both, t);
  assert_int_equal (hear (&child), 'o');
  assert_both_sides_are_owned (t->device);
  tell (&child, 'g');
  assert_int_equal (join_child (&child), 0);
  assert_both_sides_are_free (t);
}

static void
killed_owner_leaves_no_lock (void **state)
{
  struct test_ring *t = *state;
  struct child child;

  start_child (&child, own_both, t);
  assert_int_equal (hear (&child), 'o');
  assert_both_sides_are_owned (t->device);
  assert_int_equal (kill_child (&child), 128 + SIGKILL);
  assert_both_sides_are_free (t);
}

static void
create_and_erase_keep_away_from_owners (void **state)
{
  static const struct blkring_create_options force = { .format = 1,
    .flags = BLKRING_CREATE_FORCE,
  };
  struct test_ring *t = *state;
  blkring_device *again = open_again (t);
  unsigned i;

  attach_both (t, NULL);
  assert_ok (append_seed (t->p, 10, 0, NULL));
  for (i = 0; i < 2; ++i) {
    /* Without force the ring is kept, and that is no error. */
    assert_returns (1, blkring_create (t->device, FORMAT1));
    assert_fails (EBUSY, blkring_create (again, &force));
    assert_fails (EBUSY, blkring_erase (t->device, NULL, 0, NULL, NULL));
    assert_fails (EBUSY, blkring_erase (again, NULL, 0, NULL, NULL));
    /* Once more with the consumer alone, and after that the producer. */
    blkring_producer_free (t->p);
    t->p = NULL;
  }
  pop_seed (t->c, NULL, 10, 0);
  blkring_consumer_free (t->c);
  t->c = NULL;
  t->p = blkring_producer_attach (t->device, NULL);
  assert_handle (t->p);
  assert_fails (EBUSY, blkring_create (again, &force));
  assert_fails (EBUSY, blkring_erase (again, NULL, 0, NULL, NULL));
  blkring_producer_free (t->p);
  t->p = NULL;
  assert_returns (1, blkring_create (again, FORMAT1));
  assert_int_equal (inspect (t).items, 1);
  assert_ok (blkring_create (again, &force));
  assert_int_equal (inspect (t).items, 0);
  assert_ok (blkring_erase (again, NULL, 0, NULL, NULL));
  close_again (t, again);
}

/*---------------------------------------------------------------------*/
/* Observers.                                                            */

static void
observers_see_all_and_own_nothing (void **state)
{
  struct test_ring *t = *state;
  blkring_device *again = open_again (t);
  blkring_consumer *first = blkring_consumer_attach (again, &observer);
  blkring_consumer *second;
  blkring_position next, at;

  assert_handle (first);
  attach_both (t, NULL);
  second = blkring_consumer_attach (t->device, &observer);
  assert_handle (second);
  assert_ok (append_seed (t->p, 10, 0, NULL));
  assert_ok (append_seed (t->p, 700, 1, NULL));
  next = pop_seed (first, NULL, 10, 0);
  pop_seed (first, &next, 700, 1);
  pop_seed (second, NULL, 10, 0);
  assert_fails (EINVAL, blkring_consumer_advance (first, next));
  take_seed (t->c, 10, 0);
  /* They follow the owner. */
  pop_seed (first, NULL, 700, 1);
  assert_ok (blkring_consumer_position (first, &at));
  assert_int_equal (at, next);
  pop_seed (second, NULL, 700, 1);
  take_seed (t->c, 700, 1);
  assert_fails (EAGAIN, blkring_consumer_pop (
                  first, NULL, &(struct blkring_item) { 0 }));
  blkring_consumer_free (first);
  blkring_consumer_free (second);
  close_again (t, again);
}

/* Each of owner and observer changes the record that the other has read
 * before. */
static void
observer_and_consumer_keep_what_the_other_wrote (void **state)
{
  struct test_ring *t = *state;
  blkring_device *again = open_again (t);
  blkring_consumer *o = blkring_consumer_attach (again, &observer);
  blkring_position first, second;

  assert_handle (o);
  attach_both (t, NULL);
  assert_ok (append_seed (t->p, 10, 0, &first));
  assert_ok (append_seed (t->p, 10, 1, &second));
  assert_int_equal (pop_seed (t->c, NULL, 10, 0), first);

  assert_ok (blkring_consumer_suspend (o));
  assert_ok (blkring_consumer_advance (t->c, first));
  assert_int_equal (inspect (t).state, BLKRING_SUSPEND_REQUESTED);
  assert_returns (BLKRING_SUSPENDED, blkring_producer_state (t->p));
  take_seed (t->c, 10, 1);
  assert_int_equal (inspect (t).state, BLKRING_SUSPENDED);

  assert_ok (blkring_consumer_resume (o));
  assert_int_equal (inspect (t).consumer, second);
  assert_int_equal (inspect (t).state, BLKRING_RESUME_REQUESTED);
  assert_returns (BLKRING_RUNNING, blkring_producer_state (t->p));
  assert_ok (append_seed (t->p, 10, 2, NULL));
  take_seed (t->c, 10, 2);
  assert_int_equal (inspect (t).state, BLKRING_RUNNING);
  blkring_consumer_free (o);
  close_again (t, again);
}

#define MANY 3000

/* Consume MANY items, which come in order. */
static int
consume_many (struct child *parent, void *arg)
{
  struct test_ring *t = arg;
  blkring_device *device = blkring_device_open (t->path, NULL);
  blkring_consumer *c = blkring_consumer_attach (device, &fast);
  struct blkring_item item;
  unsigned i;

  tell (parent, 'a');
  for (i = 0; i < MANY; ++i)
    if (blkring_consumer_wait (c, NULL, 60000) == -1 ||
        blkring_consumer_pop (c, NULL, &item) == -1 ||
        item.length != i % 500 || !is_payload (item.data, i % 500, i) ||
        blkring_consumer_advance (c, item.next) == -1) {
      fprintf (stderr, "item %u: %s\n", i, blkring_get_error ());
      return 1;
    }
  blkring_consumer_free (c);
  blkring_device_close (device);
  return 0;
}

/* By turns the observer asks for something else and the producer
 * acknowledges. */
static void
change_state (struct test_ring *t, blkring_consumer *o, unsigned turn)
{
  static const enum blkring_state acknowledged[] = {
    BLKRING_RUNNING, BLKRING_SUSPENDED, BLKRING_SUSPENDED, BLKRING_RUNNING,
  };
  const enum blkring_state now = inspect (t).state;

  if (turn % 2) {
    assert_returns (acknowledged[now], blkring_producer_state (t->p));
    assert_int_equal (inspect (t).state, acknowledged[now]);
  }
  else if (now == BLKRING_RUNNING) {
    assert_ok (blkring_consumer_suspend (o));
    assert_int_equal (inspect (t).state, BLKRING_SUSPEND_REQUESTED);
  }
  else if (now == BLKRING_SUSPENDED) {
    assert_ok (blkring_consumer_resume (o));
    assert_int_equal (inspect (t).state, BLKRING_RESUME_REQUESTED);
  }
}

static void
observer_suspends_beside_a_running_consumer (void **state)
{
  const struct blkring_attach_options fast_observer = {
    .flags = BLKRING_ATTACH_OBSERVER,
    .durability = BLKRING_DURABILITY_NONE,
  };
  struct test_ring *t = *state;
  blkring_consumer *o;
  blkring_position last = 0;
  struct child child;
  unsigned i = 0, turn = 0;
  int r;

  t->p = blkring_producer_attach (t->device, &fast);
  assert_handle (t->p);
  o = blkring_consumer_attach (t->device, &fast_observer);
  assert_handle (o);
  start_child (&child, consume_many, t);
  assert_int_equal (hear (&child), 'a');
  while (i < MANY) {
    r = append_seed (t->p, i % 500, i, NULL);
    if (r == 0)
      i++;
    else {
      assert_true (errno == EAGAIN || errno == ESHUTDOWN);
      assert_false (has_news (&child));
    }
    if (r == -1 || i % 8 == 0)
      change_state (t, o, turn++);
    assert_true (inspect (t).consumer >= last);
    last = inspect (t).consumer;
  }
  blkring_consumer_free (o);
  assert_int_equal (join_child (&child), 0);
  assert_int_equal (inspect (t).used, 0);
}

/*---------------------------------------------------------------------*/
/* Waking.                                                               */

#define ROUNDS 40

/* Each item fills the ring. */
static int
take_each_at_once (struct child *parent, void *arg)
{
  struct test_ring *t = arg;
  blkring_device *device = blkring_device_open (t->path, NULL);
  blkring_consumer *c = blkring_consumer_attach (device, &fast);
  struct blkring_item item;
  unsigned i;

  alarm (20);
  tell (parent, 'a');
  for (i = 0; i < ROUNDS; ++i)
    if (blkring_consumer_wait (c, NULL, 60000) == -1 ||
        blkring_consumer_pop (c, NULL, &item) == -1 ||
        blkring_consumer_advance (c, item.next) == -1)
      return 1;
  blkring_consumer_free (c);
  blkring_device_close (device);
  return 0;
}

/* Where nothing but the slow poll wakes the waiters this takes more than
 * the 20 s after which the child is gone. */
static void
waiters_are_woken_by_what_another_process_writes (void **state)
{
  struct test_ring *t = *state;
  struct child child;
  unsigned i;

  t->p = blkring_producer_attach (t->device, &fast);
  assert_handle (t->p);
  start_child (&child, take_each_at_once, t);
  assert_int_equal (hear (&child), 'a');
  for (i = 0; i < ROUNDS; ++i) {
    wait_until_asleep (child.pid);
    assert_ok (append_seed (t->p, t->capacity - 4, i, NULL));
    assert_ok (blkring_producer_wait (t->p, t->capacity - 4, 20000));
  }
  assert_int_equal (join_child (&child), 0);
}

static void
ignore_signal (int signal)
{
  (void) signal;
}

static int
wait_for_a_signal (struct child *parent, void *arg)
{
  const struct sigaction sa = { .sa_handler = ignore_signal };
  struct test_ring *t = arg;
  blkring_consumer *c;
  int r;

  c = blkring_consumer_attach (t->device, NULL);
  sigaction (SIGUSR1, &sa, NULL);
  tell (parent, 'w');
  r = blkring_consumer_wait (c, NULL, 60000);
  r = r == -1 && errno == EINTR && blkring_get_errno () == EINTR ? 0 : 1;
  blkring_consumer_free (c);
  return r;
}

/* One signal is not enough where the waiter polls: it may arrive between
 * two sleeps. */
static void
signal_interrupts_a_wait (void **state)
{
  struct test_ring *t = *state;
  struct child child;

  start_child (&child, wait_for_a_signal, t);
  assert_int_equal (hear (&child), 'w');
  do {
    kill (child.pid, SIGUSR1);
    poll (NULL, 0, 1);
  } while (!has_news (&child));
  assert_int_equal (join_child (&child), 0);
}

/*---------------------------------------------------------------------*/
/* What happens at the worst moment: a device object for the same memory,
 * with a watch, that calls the test in between.                         */

struct hooked {
  struct test_ring *t;
  void (*read_data) (struct hooked *h); /* before data are read */
  void (*watch) (struct hooked *h);
  void (*wait) (struct hooked *h);
  bool interrupt;
  unsigned reads, watches, waits, unwatches;
  int timeout_ms;
};

static int
hooked_geometry (void *opaque, struct blkring_geometry *g)
{
  struct hooked *h = opaque;

  return blkring_device_geometry (h->t->device, g);
}

static ssize_t
hooked_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  struct hooked *h = opaque;

  if (offset >= 3 * h->t->sector_size && h->read_data) {
    h->reads++;
    h->read_data (h);
  }
  return blkring_device_read (h->t->device, buf, count, offset) == -1
    ? -1 : (ssize_t) count;
}

static ssize_t
hooked_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
               unsigned flags)
{
  struct hooked *h = opaque;

  (void) flags;
  return blkring_device_write (h->t->device, buf, count, offset) == -1
    ? -1 : (ssize_t) count;
}

static int
hooked_flush (void *opaque)
{
  (void) opaque;
  return 0;
}

static void *
hooked_watch (void *opaque)
{
  struct hooked *h = opaque;

  h->watches++;
  if (h->watch)
    h->watch (h);
  return h;
}

static int
hooked_wait (void *watch, int timeout_ms)
{
  struct hooked *h = watch;

  h->waits++;
  h->timeout_ms = timeout_ms;
  if (h->interrupt) {
    errno = EINTR;
    return -1;
  }
  if (h->wait)
    h->wait (h);
  return 1;
}

static void
hooked_unwatch (void *watch)
{
  struct hooked *h = watch;

  h->unwatches++;
}

static blkring_device *
open_hooked (struct hooked *h)
{
  static const struct blkring_device_ops ops = {
    .struct_size = sizeof ops, .geometry = hooked_geometry,
    .pread = hooked_pread, .pwrite = hooked_pwrite, .flush = hooked_flush,
    .watch = hooked_watch, .watch_wait = hooked_wait,
    .unwatch = hooked_unwatch,
  };
  blkring_device *device = blkring_device_new (&ops, h);

  assert_handle (device);
  return device;
}

static void
append_ten (struct hooked *h)
{
  assert_ok (append_seed (h->t->p, 10, 0, NULL));
}

static void
change_between_look_and_sleep_is_not_missed (void **state)
{
  struct test_ring *t = *state;
  struct hooked h = { .t = t, .watch = append_ten };
  blkring_device *device = open_hooked (&h);

  t->p = blkring_producer_attach (t->device, NULL);
  t->c = blkring_consumer_attach (device, NULL);
  assert_handle (t->p);
  assert_handle (t->c);
  assert_ok (blkring_consumer_wait (t->c, NULL, 60000));
  assert_int_equal (h.watches, 1);
  assert_int_equal (h.waits, 0);
  take_seed (t->c, 10, 0);

  h.watch = NULL;
  h.wait = append_ten;
  assert_ok (blkring_consumer_wait (t->c, NULL, 300));
  assert_int_equal (h.waits, 1);
  assert_in_range (h.timeout_ms, 1, 300);
  take_seed (t->c, 10, 0);

  h.interrupt = true;
  assert_fails (EINTR, blkring_consumer_wait (t->c, NULL, 60000));
  assert_int_equal (h.waits, 2);
  detach_both (t);
  assert_int_equal (h.watches, h.unwatches);
  blkring_device_close (device);
}

/* All the items that the observer knows of are freed, and others written
 * where they lay; three times. */
static void
replace_items (struct hooked *h)
{
  const unsigned old = h->reads - 1;
  unsigned i;

  if (h->reads > 3)
    return;
  for (i = 0; i < 10; ++i)
    take_seed (h->t->c, 800 - old, 10 * old + i);
  for (i = 0; i < 10; ++i)
    assert_ok (append_seed (h->t->p, 800 - h->reads, 10 * h->reads + i,
                            NULL));
}

static void
observer_never_gets_what_was_overwritten_meanwhile (void **state)
{
  struct test_ring *t = *state;
  struct hooked h = { .t = t };
  blkring_device *device = open_hooked (&h);
  blkring_consumer *o;
  blkring_position old = 0, now;
  unsigned i;

  attach_both (t, NULL);
  for (i = 0; i < 10; ++i)
    assert_ok (append_seed (t->p, 800, i, NULL));
  o = blkring_consumer_attach (device, &observer);
  assert_handle (o);
  h.read_data = replace_items;
  pop_seed (o, NULL, 797, 30);
  assert_true (h.reads > 3);
  assert_ok (blkring_consumer_position (o, &now));
  assert_true (blkring_position_compare (old, now) < 0);
  assert_fails (EINVAL, blkring_consumer_pop (
                  o, &old, &(struct blkring_item) { 0 }));
  blkring_consumer_free (o);
  blkring_device_close (device);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_MEMORY (second_owner_in_this_process_is_refused),
    IN_FILE (second_owner_in_this_process_is_refused),
    IN_MEMORY (owner_without_a_text_yet_is_reported_too),
    IN_FILE (second_owner_in_another_process_is_refused),
    IN_FILE (killed_owner_leaves_no_lock),
    IN_MEMORY (create_and_erase_keep_away_from_owners),
    IN_FILE (create_and_erase_keep_away_from_owners),
    IN_EACH_KIND (observers_see_all_and_own_nothing),
    IN_EACH_KIND (observer_and_consumer_keep_what_the_other_wrote),
    IN_FILE (observer_suspends_beside_a_running_consumer),
    IN_FILE (waiters_are_woken_by_what_another_process_writes),
    IN_MEMORY (signal_interrupts_a_wait),
    IN_FILE (signal_interrupts_a_wait),
    IN_MEMORY (change_between_look_and_sleep_is_not_missed),
    IN_MEMORY (observer_never_gets_what_was_overwritten_meanwhile),
  };

  return cmocka_run_group_tests_name ("locks", tests, NULL, NULL);
}
