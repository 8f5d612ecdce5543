/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who owns a side of a ring of format 2: an owner that is known to be dead
 * is replaced, any other only by a takeover, after a time in which it can
 * notice; and each of several consumers is by itself.  What an owner does
 * that was replaced and does not know yet is in test2-zombie.c.
 */

#include <config.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "format2-fixture.h"

static const struct blkring_attach_options child_options = {
  .queue = "events",
  .client = "the child",
};

/* A child that is attached to both sides, and has appended an item. */
static pid_t
start_child (const char *name)
{
  int fds[2];
  char byte;
  pid_t pid;

  assert_int_equal (pipe (fds), 0);
  pid = fork ();
  assert_true (pid >= 0);
  if (pid == 0) {
    blkring_device *device = blkring_device_open (name, NULL);
    blkring_producer *p = blkring_producer_attach (device, &child_options);
    blkring_consumer *c = blkring_consumer_attach (device, &child_options);

    if (p && c && blkring_producer_append (p, "aaa", 3, NULL) == 0 &&
        write (fds[1], "", 1) == 1)
      for (;;)
        pause ();
    _exit (1);
  }
  close (fds[1]);
  assert_int_equal (read (fds[0], &byte, 1), 1);
  close (fds[0]);
  return pid;
}

static blkring_device *
new_file (char *name)
{
  const struct blkring_create_options create = { .format = 2 };
  struct blkring_open_options o = {
    .flags = BLKRING_OPEN_CREATE,
    .size = 1 << 20,
  };
  blkring_device *device;
  int fd;

  strcpy (name, "/tmp/blkring-XXXXXX");
  fd = mkstemp (name);
  assert_true (fd >= 0);
  close (fd);
  device = blkring_device_open (name, &o);
  assert_non_null (device);
  assert_ok (blkring_create (device, &create));
  return device;
}

static void
assert_names_the_child (pid_t pid)
{
  char text[40];

  assert_message ("events");
  assert_message ("the child");
  snprintf (text, sizeof text, "process %d", (int) pid);
  assert_message (text);
}

static void
process (bool reap)
{
  char name[40];
  blkring_device *device = new_file (name);
  pid_t pid = start_child (name);
  struct blkring_info *info = malloc (sizeof *info);
  blkring_producer *p;
  blkring_consumer *c;
  siginfo_t status;

  assert_non_null (info);
  assert_no_handle (EBUSY, blkring_producer_attach (device, NULL));
  assert_names_the_child (pid);
  assert_no_handle (EBUSY, blkring_consumer_attach (device, NULL));
  assert_names_the_child (pid);
  assert_ok (blkring_inspect (device, NULL, info));
  assert_int_equal (info->producer_side.owner, BLKRING_OWNER_ALIVE);
  assert_int_equal (info->consumers[0].process, pid);

  assert_int_equal (kill (pid, SIGKILL), 0);
  assert_int_equal (waitid (P_PID, pid, &status, WEXITED |
                            (reap ? 0 : WNOWAIT)), 0);
  assert_ok (blkring_inspect (device, NULL, info));
  assert_int_equal (info->producer_side.owner, BLKRING_OWNER_DEAD);
  p = blkring_producer_attach (device, NULL);
  c = blkring_consumer_attach (device, NULL);
  if (p == NULL || c == NULL)
    fail_msg ("%s", blkring_get_error ());
  put (p, 'b', 1);
  assert_holds (c, "ab");
  if (!reap)
    assert_int_equal (waitid (P_PID, pid, &status, WEXITED), 0);
  blkring_producer_free (p);
  blkring_consumer_free (c);
  blkring_device_close (device);
  free (info);
  unlink (name);
}

static void
killed_process_is_replaced (void **state)
{
  (void) state;
  process (true);
}

/* Nobody has waited for it yet: it does nothing any more. */
static void
killed_process_that_nobody_reaped_is_replaced (void **state)
{
  (void) state;
  process (false);
}

/*---------------------------------------------------------------------*/

enum change { OTHER_HOST, OTHER_BOOT, NO_BOOT, OTHER_NAMESPACE, OTHER_START,
              NO_PROCESS, OTHER_HOST_DETACHED, NR_CHANGES };

/* The record was written by somebody else. */
static void
change_owner (struct record_device *rd, unsigned kind, enum change change)
{
  struct f2_record r;
  struct f2_identity *o = &r.owner;

  get_record (rd, kind, &r);
  switch (change) {
  case OTHER_HOST_DETACHED:
    r.flags |= F2_CLEAN;
    /* fall through */
  case OTHER_HOST:
    strcpy (o->host, "elsewhere.example");
    memset (o->machine_id, 0x11, 16);
    memset (o->boot_id, 0x22, 16);
    break;
  case OTHER_BOOT:
    memset (o->boot_id, 0x22, 16);
    break;
  case NO_BOOT:
    memset (o->boot_id, 0, 16);
    break;
  case OTHER_NAMESPACE:
    o->pid_namespace++;
    break;
  case OTHER_START:
    o->start_time++;
    break;
  default:
    o->pid = 0x7fffffff;
  }
  strcpy (r.queue, "their queue");
  strcpy (r.client, "their client");
  r.owner.pid = change == OTHER_HOST ? 4711 : r.owner.pid;
  set_record (rd, kind, &r);
}

/* This machine has an identity, and would know its own earlier life. */
static bool
knows_itself (void)
{
  static const unsigned char unknown[16];
  struct f2_identity me;

  f2_identify (&me);
  return memcmp (me.machine_id, unknown, 16) != 0;
}

static bool
is_known_dead (enum change change)
{
  return change == OTHER_START || change == NO_PROCESS ||
    change == OTHER_HOST_DETACHED ||
    (change == OTHER_BOOT && knows_itself ());
}

/* A ring with an item, both of whose owners have died elsewhere. */
static struct record_device *
owned_by (enum change change)
{
  struct fixture f = start_large (), g;

  put (f.p, 'a', 1);
  put (f.p, 'b', 1);
  free_one (f.c);
  g = elsewhere (&f);
  stop (&f);
  change_owner (g.rd, F2_PRODUCER, change);
  change_owner (g.rd, F2_CONSUMER, change);
  return g.rd;
}

static const struct blkring_attach_options *
taking_over (uint32_t poll_interval)
{
  static struct blkring_attach_options o;

  o = *with_clock ();
  o.flags = BLKRING_ATTACH_TAKEOVER;
  o.poll_interval = poll_interval;
  return &o;
}

static void
unknown_owner_is_alive (void **state)
{
  struct blkring_info *info = malloc (sizeof *info);
  unsigned change;

  (void) state;
  assert_non_null (info);
  for (change = 0; change < NR_CHANGES; ++change) {
    struct record_device *rd = owned_by (change);

    record_device_forget (rd);
    assert_ok (blkring_inspect (rd->device, NULL, info));
    if (is_known_dead (change))
      assert_goes_on (rd, "b");
    else {
      assert_no_handle (EBUSY, blkring_producer_attach (rd->device, NULL));
      assert_message ("their client");
      assert_no_handle (EBUSY, blkring_consumer_attach (rd->device, NULL));
      assert_message ("their queue");
      if (change == OTHER_HOST) {
        assert_message ("elsewhere.example");
        assert_message ("4711");
        assert_int_equal (info->producer_side.owner,
                          BLKRING_OWNER_ELSEWHERE);
        assert_string_equal (info->producer_side.host, "elsewhere.example");
      }
      assert_int_equal (rd->writes, 0);
      assert_int_equal (rd->flushes, 0);
    }
    record_device_free (rd);
  }
  free (info);
}

static void
takeover_waits_two_poll_intervals (void **state)
{
  static const unsigned intervals[] = { 0, 7, 3000 };
  size_t i;

  (void) state;
  for (i = 0; i < LENGTH (intervals); ++i) {
    const uint64_t wait = 2 * NS_PER_MS * (i ? intervals[i] : 100);
    struct fixture f = { .rd = owned_by (OTHER_HOST) };
    uint64_t before = now;

    f.p = blkring_producer_attach (f.rd->device, taking_over (intervals[i]));
    assert_non_null (f.p);
    /* Before it reads, and behind its claim. */
    assert_int_equal (now - before, 2 * wait);
    before = now;
    f.c = blkring_consumer_attach (f.rd->device, taking_over (intervals[i]));
    assert_non_null (f.c);
    assert_int_equal (now - before, wait);
    put (f.p, 'c', 1);
    assert_holds (f.c, "bc");
    stop (&f);

    /* Nobody waits for one that is dead. */
    f.rd = owned_by (NO_PROCESS);
    before = now;
    f.p = blkring_producer_attach (f.rd->device, taking_over (intervals[i]));
    f.c = blkring_consumer_attach (f.rd->device, taking_over (intervals[i]));
    assert_non_null (f.p);
    assert_non_null (f.c);
    assert_int_equal (now, before);
    stop (&f);
  }
}

static int
interrupted_sleep (void *opaque, uint64_t ns)
{
  (void) opaque;
  (void) ns;
  errno = EINTR;
  return -1;
}

/* What was there is still there, and whoever comes next gets it. */
static void
interrupted_takeover_harms_nothing (void **state)
{
  struct blkring_clock clock = record_clock (&now);
  struct blkring_attach_options o = *taking_over (0);
  struct fixture f = start_large (), g;
  struct f2_record before, after;

  (void) state;
  clock.sleep = interrupted_sleep;
  o.clock = &clock;
  append (f.p, 'a', 1);
  append (f.p, 'b', 1);
  free_one (f.c);
  reattach_producer (&f);
  append (f.p, 'c', 1);
  push (f.p, '-', 1);
  g = elsewhere (&f);
  stop (&f);
  change_owner (g.rd, F2_PRODUCER, OTHER_HOST);
  change_owner (g.rd, F2_CONSUMER, OTHER_HOST);
  get_record (g.rd, F2_PRODUCER, &before);
  assert_int_equal (before.position, 3 * B);
  assert_no_handle (EINTR, blkring_producer_attach (g.rd->device, &o));
  assert_no_handle (EINTR, blkring_consumer_attach (g.rd->device, &o));
  get_record (g.rd, F2_PRODUCER, &after);
  assert_int_equal (after.position, before.position);
  assert_int_equal (after.chain, before.chain);
  assert_clean (g.rd);
  g.p = blkring_producer_attach (g.rd->device, taking_over (0));
  g.c = blkring_consumer_attach (g.rd->device, taking_over (0));
  assert_non_null (g.p);
  assert_non_null (g.c);
  put (g.p, 'd', 1);
  assert_holds (g.c, "bcd");
  stop (&g);
}

/*---------------------------------------------------------------------*/

static blkring_consumer *
attach_nth (struct record_device *rd, unsigned n)
{
  const struct blkring_attach_options o = {
    .consumer = n,
    .client = n == 0 ? "zero" : n == 1 ? "one" : "two",
  };

  return blkring_consumer_attach (rd->device, &o);
}

static void
each_consumer_sees_every_item (void **state)
{
  struct fixture f = start2 (&(struct shape) { .consumers = 3 }, NULL, NULL);
  blkring_consumer *c[3] = { f.c };
  unsigned i;

  (void) state;
  c[1] = attach_nth (f.rd, 1);
  put (f.p, 'a', 1);
  put_batch (f.p, "bcd");
  assert_holds (c[0], "abcd");
  assert_holds (c[1], "abcd");
  drain (c[0]);
  free_one (c[1]);
  free_one (c[1]);
  c[2] = attach_nth (f.rd, 2);
  assert_holds (c[0], "");
  assert_holds (c[1], "cd");
  assert_holds (c[2], "abcd");

  /* The slowest holds back space. */
  for (i = 0; i < BLOCKS - 2; ++i)
    put (f.p, 'x', 1);
  drain (c[0]);
  drain (c[1]);
  assert_fails (EAGAIN, try_put (f.p, 'y', 1));
  free_one (c[2]);
  put (f.p, 'y', 1);
  assert_fails (EAGAIN, try_put (f.p, 'z', 1));
  /* In a frame that is freed in part nothing is free. */
  free_one (c[2]);
  free_one (c[2]);
  assert_fails (EAGAIN, try_put (f.p, 'z', 1));
  free_one (c[2]);
  put (f.p, 'z', 1);
  assert_holds (c[0], "yz");
  assert_holds (c[2], "xxxxxxxxxxxxxxyz");
  blkring_consumer_free (c[1]);
  blkring_consumer_free (c[2]);
  stop (&f);
}

static void
each_consumer_is_owned_by_itself (void **state)
{
  const struct blkring_attach_options fourth = { .consumer = 3 };
  const struct shape s = { .consumers = 3 };
  struct record_device *rd = new_ring (&s);
  blkring_consumer *c[3];
  unsigned i;

  (void) state;
  for (i = 0; i < 3; ++i) {
    c[i] = attach_nth (rd, i);
    assert_non_null (c[i]);
  }
  for (i = 0; i < 3; ++i) {
    assert_no_handle (EBUSY, attach_nth (rd, i));
    assert_message (i == 0 ? "zero" : i == 1 ? "one" : "two");
    blkring_consumer_free (c[i]);
    c[i] = attach_nth (rd, i);
    assert_non_null (c[i]);
  }
  assert_no_handle (EINVAL, blkring_consumer_attach (rd->device, &fourth));
  blkring_consumer_free (c[0]);
  blkring_consumer_free (c[2]);
  assert_fails (EBUSY, create_ring (rd, &s));
  assert_fails (EBUSY, blkring_erase (rd->device, NULL, 0, NULL, NULL));
  blkring_consumer_free (c[1]);
  assert_ok (create_ring (rd, &s));
  record_device_free (rd);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (killed_process_is_replaced),
    cmocka_unit_test (killed_process_that_nobody_reaped_is_replaced),
    cmocka_unit_test (unknown_owner_is_alive),
    cmocka_unit_test (takeover_waits_two_poll_intervals),
    cmocka_unit_test (interrupted_takeover_harms_nothing),
    cmocka_unit_test (each_consumer_sees_every_item),
    cmocka_unit_test (each_consumer_is_owned_by_itself),
  };

  return cmocka_run_group_tests_name ("owners of format 2", tests, NULL,
                                      NULL);
}
