/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What ends a wait from outside: what another process writes, a signal,
 * and a change just before the sleep.
 */

#include <config.h>

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "hooked-device.h"

#define ROUNDS 40

/* Each item fills the ring. */
static int
take_each_at_once (struct child *parent, void *arg)
{
  struct test_ring *t = arg;
  blkring_device *device = blkring_device_open (t->path, NULL);
  blkring_consumer *c = attach_consumer (t, device, &fast);
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

  leave_others_out (t);
  t->p = blkring_producer_attach (t->device, &fast);
  assert_handle (t->p);
  start_child (&child, take_each_at_once, t);
  assert_int_equal (hear (&child), 'a');
  for (i = 0; i < ROUNDS; ++i) {
    wait_until_asleep (child.pid);
    assert_ok (append_seed (t->p, t->largest_item, i, NULL));
    assert_ok (blkring_producer_wait (t->p, t->largest_item, 20000));
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

  c = attach_consumer (t, t->device, NULL);
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
  t->c = attach_consumer (t, device, NULL);
  assert_handle (t->p);
  assert_handle (t->c);
  assert_ok (blkring_consumer_wait (t->c, NULL, 60000));
  assert_int_equal (h.watches, 1);
  assert_int_equal (h.waits, 0);
  take (t, 10, 0);

  h.watch = NULL;
  h.wait = append_ten;
  assert_ok (blkring_consumer_wait (t->c, NULL, 300));
  assert_int_equal (h.waits, 1);
  assert_in_range (h.timeout_ms, 1, 300);
  take (t, 10, 0);

  h.interrupt = true;
  assert_fails (EINTR, blkring_consumer_wait (t->c, NULL, 60000));
  assert_int_equal (h.waits, 2);
  detach_all (t);
  assert_int_equal (h.watches, h.unwatches);
  blkring_device_close (device);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_FILE (waiters_are_woken_by_what_another_process_writes),
    IN_MEMORY (signal_interrupts_a_wait),
    IN_FILE (signal_interrupts_a_wait),
    IN_MEMORY (change_between_look_and_sleep_is_not_missed),
  };

  return cmocka_run_group_tests_name ("wake", tests, NULL, NULL);
}
