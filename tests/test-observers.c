/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Observers: what they see beside an owner, what they may do, and that
 * neither takes back what the other wrote.
 */

#include <config.h>

#include <stdio.h>

#include "hooked-device.h"

static const struct blkring_attach_options observer = {
  .flags = BLKRING_ATTACH_OBSERVER,
};

static void
observers_see_all_and_own_nothing (void **state)
{
  struct test_ring *t = *state;
  blkring_device *again = open_again (t);
  blkring_consumer *first = attach_consumer (t, again, &observer);
  blkring_consumer *second;
  blkring_position next, at;
  struct blkring_item item;

  assert_handle (first);
  attach_all (t, NULL);
  second = attach_consumer (t, t->device, &observer);
  assert_handle (second);
  assert_ok (append_seed (t->p, 10, 0, NULL));
  assert_ok (append_seed (t->p, 700, 1, NULL));
  next = pop_seed (first, NULL, 10, 0);
  pop_seed (first, &next, 700, 1);
  pop_seed (second, NULL, 10, 0);
  assert_fails (EINVAL, blkring_consumer_advance (first, next));
  take (t, 10, 0);
  /* They follow the owner. */
  pop_seed (first, NULL, 700, 1);
  assert_ok (blkring_consumer_position (first, &at));
  assert_int_equal (at, next);
  pop_seed (second, NULL, 700, 1);
  take (t, 700, 1);
  assert_fails (EAGAIN, blkring_consumer_pop (first, NULL, &item));
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
  blkring_consumer *o = attach_consumer (t, again, &observer);
  blkring_position first, second;

  assert_handle (o);
  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 10, 0, &first));
  assert_ok (append_seed (t->p, 10, 1, &second));
  assert_int_equal (pop_seed (t->c, NULL, 10, 0), first);

  assert_ok (blkring_consumer_suspend (o));
  assert_ok (free_up_to (t, first));
  assert_int_equal (inspect (t).state, BLKRING_SUSPEND_REQUESTED);
  assert_returns (BLKRING_SUSPENDED, blkring_producer_state (t->p));
  take (t, 10, 1);
  assert_int_equal (inspect (t).state, BLKRING_SUSPENDED);

  assert_ok (blkring_consumer_resume (o));
  assert_int_equal (inspect (t).consumer, second);
  assert_int_equal (inspect (t).state, BLKRING_RESUME_REQUESTED);
  assert_returns (BLKRING_RUNNING, blkring_producer_state (t->p));
  assert_ok (append_seed (t->p, 10, 2, NULL));
  take (t, 10, 2);
  assert_int_equal (inspect (t).state, BLKRING_RUNNING);
  blkring_consumer_free (o);
  close_again (t, again);
}

/* On a device that others share no lock tells whether a consumer is at work
 * elsewhere.  In format 1 a request could take its position back; in format
 * 2 it has a record of its own. */
static void
observer_asks_where_it_cannot_harm_the_consumer (void **state)
{
  static const struct blkring_attach_options forced = {
    .flags = BLKRING_ATTACH_OBSERVER | BLKRING_ATTACH_FORCE,
  };
  struct test_ring *t = *state;
  struct hooked h = { .t = t, .flags = BLKRING_DEVICE_SHARED };
  blkring_device *device = open_hooked (&h);
  blkring_consumer *o = attach_consumer (t, device, &observer);

  assert_handle (o);
  t->p = blkring_producer_attach (device, NULL);
  assert_handle (t->p);
  if (t->format == 1) {
    assert_fails (EBUSY, blkring_consumer_suspend (o));
    assert_int_equal (inspect (t).state, BLKRING_RUNNING);
    t->c = attach_consumer (t, device, NULL);
    assert_handle (t->c);
  }
  assert_ok (blkring_consumer_suspend (o));
  assert_returns (BLKRING_SUSPENDED, blkring_producer_state (t->p));
  blkring_consumer_free (t->c);
  t->c = NULL;
  if (t->format == 1)
    assert_fails (EBUSY, blkring_consumer_resume (o));
  blkring_consumer_free (o);
  o = attach_consumer (t, device, &forced);
  assert_handle (o);
  assert_ok (blkring_consumer_resume (o));
  assert_returns (BLKRING_RUNNING, blkring_producer_state (t->p));
  blkring_consumer_free (o);
  detach_all (t);
  blkring_device_close (device);
}

#define MANY 3000

/* Consume MANY items, which come in order. */
static int
consume_many (struct child *parent, void *arg)
{
  struct test_ring *t = arg;
  blkring_device *device = blkring_device_open (t->path, NULL);
  blkring_consumer *c = attach_consumer (t, device, &fast);
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

  leave_others_out (t);
  t->p = blkring_producer_attach (t->device, &fast);
  assert_handle (t->p);
  o = attach_consumer (t, t->device, &fast_observer);
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

#define LARGE 800

static unsigned
large_items (const struct test_ring *t)
{
  return t->capacity / push_size (t, LARGE);
}

/* All the items that the observer knows of are freed, and others written
 * where they lay; three times. */
static void
replace_items (struct hooked *h)
{
  const unsigned n = large_items (h->t), old = h->reads - 1;
  unsigned i;

  if (h->reads > 3)
    return;
  for (i = 0; i < n; ++i)
    take (h->t, LARGE - old, n * old + i);
  for (i = 0; i < n; ++i)
    assert_ok (append_seed (h->t->p, LARGE - h->reads, n * h->reads + i,
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
  struct blkring_item item;
  unsigned i;

  attach_all (t, NULL);
  for (i = 0; i < large_items (t); ++i)
    assert_ok (append_seed (t->p, LARGE, i, NULL));
  o = attach_consumer (t, device, &observer);
  assert_handle (o);
  h.read_data = replace_items;
  pop_seed (o, NULL, LARGE - 3, 3 * large_items (t));
  assert_true (h.reads > 3);
  assert_ok (blkring_consumer_position (o, &now));
  assert_true (blkring_position_compare (old, now) < 0);
  assert_fails (EINVAL, blkring_consumer_pop (o, &old, &item));
  blkring_consumer_free (o);
  blkring_device_close (device);
}

/* The same, whenever it reads. */
static void
replace_again (struct hooked *h)
{
  const unsigned n = large_items (h->t);
  unsigned i;

  for (i = 0; i < n; ++i)
    take (h->t, LARGE, i);
  for (i = 0; i < n; ++i)
    assert_ok (append_seed (h->t->p, LARGE, i, NULL));
}

static void
observer_gives_up_behind_a_faster_consumer (void **state)
{
  struct test_ring *t = *state;
  struct hooked h = { .t = t };
  blkring_device *device = open_hooked (&h);
  struct blkring_item item;
  blkring_consumer *o;
  unsigned i;

  attach_all (t, &fast);
  for (i = 0; i < large_items (t); ++i)
    assert_ok (append_seed (t->p, LARGE, i, NULL));
  o = attach_consumer (t, device, &observer);
  assert_handle (o);
  h.read_data = replace_again;
  assert_fails (EAGAIN, blkring_consumer_pop (o, NULL, &item));
  assert_message ("faster than this observer");
  h.read_data = NULL;
  pop_seed (o, NULL, LARGE, 0);
  blkring_consumer_free (o);
  blkring_device_close (device);
}

/* Just before it reads the end, the consumer frees an item, and the producer
 * appends one in its place. */
static void
replace_one (struct hooked *h)
{
  if (h->reads > 1)
    return;
  take (h->t, 7 * h->t->unit, 0);
  assert_ok (append_seed (h->t->p, 7 * h->t->unit, 2, NULL));
}

static void
observer_at_the_end_of_a_full_ring (void **state)
{
  struct test_ring *t = *state;
  struct hooked h = { .t = t };
  blkring_device *device = open_hooked (&h);
  blkring_position next;
  blkring_consumer *o;

  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 7 * t->unit, 0, NULL));
  assert_ok (append_seed (t->p, 7 * t->unit, 1, NULL));
  o = attach_consumer (t, device, &observer);
  assert_handle (o);
  next = pop_seed (o, NULL, 7 * t->unit, 0);
  next = pop_seed (o, &next, 7 * t->unit, 1);
  h.read_data = replace_one;
  assert_ok (blkring_consumer_wait (o, &next, 0));
  pop_seed (o, &next, 7 * t->unit, 2);
  assert_true (h.reads > 0);
  blkring_consumer_free (o);
  blkring_device_close (device);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_EACH_KIND (observers_see_all_and_own_nothing),
    IN_EACH_KIND (observer_and_consumer_keep_what_the_other_wrote),
    IN_MEMORY (observer_asks_where_it_cannot_harm_the_consumer),
    IN_FILE (observer_suspends_beside_a_running_consumer),
    IN_MEMORY (observer_never_gets_what_was_overwritten_meanwhile),
    IN_MEMORY (observer_gives_up_behind_a_faster_consumer),
    /* Format 1 says where the end is, and is not read behind it. */
    ON_KIND (observer_at_the_end_of_a_full_ring, "format 2, memory",
             &memory2_512),
    ON_KIND (observer_at_the_end_of_a_full_ring,
             "format 2, memory, two consumers", &memory2_two),
  };

  return cmocka_run_group_tests_name ("observers", tests, NULL, NULL);
}
