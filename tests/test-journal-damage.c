/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The journal: devices that fail, rings that are damaged, and what is no
 * ring.
 */

#include <config.h>

#include <string.h>
#include <unistd.h>

#include "journal-fixture.h"

/* Everything reports what has stopped the journal, and nothing goes on. */
static void
check_stopped (struct test_journal *t, int error,
               blkring_journal_waiter waiter)
{
  const unsigned calls = t->calls;

  assert_fails (error, try_push (t, "later", 0));
  assert_message ("the journal has stopped: ");
  assert_fails (error, try_push (t, "later", BLKRING_JOURNAL_NONBLOCK));
  assert_fails (error, blkring_journal_sync (t->j, waiter, -1));
  assert_message ("the journal has stopped: ");
  assert_fails (error, blkring_journal_flush (t->j, waiter));
  move_clock (t, 100000);
  assert_fails (error, blkring_journal_shutdown (t->j, 0));
  assert_message ("the journal has stopped: ");
  assert_fails (error, blkring_journal_shutdown (t->j,
                                                 BLKRING_JOURNAL_DRAIN));
  assert_int_equal (t->calls, calls);
}

static void
a_push_that_fails_stops_the_journal (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter a;

  close_gate (t);
  begin (t);
  a = push (t, "a");
  await_log (t, "a");
  record_device_fail (t->rd, RECORD_WRITE, 0, ENOSPC);
  assert_fails (ENOSPC, try_push (t, "b", 0));
  assert_fails (ENOSPC, blkring_journal_sync (t->j, a, -1));
  /* What runs may end, and was done. */
  open_gate (t);
  assert_fails (ENOSPC, blkring_journal_shutdown (t->j, 0));
  check_log (t, "a|");
  assert_ok (blkring_journal_sync (t->j, a, -1));
}

static void
a_flush_that_fails_in_push_stops_the_journal (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter a;

  t->options.flush_interval = 1000;
  begin (t);
  a = push (t, "a");
  record_device_fail (t->rd, RECORD_FLUSH, 0, EIO);
  assert_fails (EIO, try_push (t, "b", 0));
  check_stopped (t, EIO, a);
}

static void
an_advance_that_fails_stops_the_journal (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter a;

  close_gate (t);
  begin (t);
  a = push (t, "a");
  await_log (t, "a");
  record_device_fail (t->rd, RECORD_FLUSH, 0, EIO);
  open_gate (t);
  assert_fails (EIO, blkring_journal_sync (t->j, a, -1));
  check_stopped (t, EIO, a);
  assert_int_equal (items_left (t), 1);
}

static void
a_failure_ends_a_blocked_push_and_a_pending_sync (void **state)
{
  struct test_journal *t = *state;
  struct caller pusher = { .text = "x" }, syncer = { .waiter = 1 };

  close_gate (t);
  begin (t);
  fill (t);
  start_blocked (&pusher, t, call_push);
  start_blocked (&syncer, t, call_sync);
  record_device_fail (t->rd, RECORD_FLUSH, 0, EIO);
  open_gate (t);
  assert_int_equal (join_caller (&syncer), -1);
  assert_int_equal (errno, EIO);
  assert_int_equal (join_caller (&pusher), -1);
  assert_int_equal (errno, EIO);
}

/*---------------------------------------------------------------------*/

/* The third of the items in the ring: in format 1 a length that points out
 * of it, in format 2 a frame that is not what its checksum says. */
static void
spoil_third_item (struct test_journal *t)
{
  const unsigned char bad[] = { 0xff, 0xff, 0xff, 0xff };
  const uint64_t offset = t->kind->format == 1
    ? 3 * UNIT + 2 * (4 + UNIT_ITEM) : 8 * 4096 + 2 * UNIT + 64;

  record_device_poke (t->rd, offset, bad, sizeof bad);
}

static void
leave_items (struct test_journal *t)
{
  unsigned i;

  close_gate (t);
  t->options.flush_interval = 1000;
  begin (t);
  for (i = 0; i < 4; ++i)
    assert_ok (push_unit (t, (const char *[]) { "a", "b", "c", "d" }[i], 0));
}

static void
a_corrupt_entry_fails_start_behind_the_good_ones (void **state)
{
  struct test_journal *t = *state;

  leave_items (t);
  end (t);
  open_gate (t);
  spoil_third_item (t);
  assert_no_handle (EBADMSG,
                    blkring_journal_start (t->rd->device, &t->options,
                                           perform, t));
  assert_message ("corrupt");
  check_log (t, "a b|");
}

static void
a_corrupt_entry_stops_a_journal_that_runs (void **state)
{
  struct test_journal *t = *state;
  blkring_journal_waiter d = 4;

  leave_items (t);
  await_sleep (t);
  spoil_third_item (t);
  open_gate (t);
  assert_ok (blkring_journal_flush (t->j, d));
  assert_fails (EBADMSG, blkring_journal_sync (t->j, d, -1));
  check_log (t, "a b|");
  assert_ok (blkring_journal_sync (t->j, 2, -1));
  check_stopped (t, EBADMSG, d);
}

static void
a_corrupt_entry_is_told_by_push_where_start_did_not_wait (void **state)
{
  struct test_journal *t = *state;

  leave_items (t);
  end (t);
  open_gate (t);
  spoil_third_item (t);
  t->options.flags = BLKRING_JOURNAL_NO_WAIT;
  t->j = blkring_journal_start (t->rd->device, &t->options, perform, t);
  assert_handle (t->j);
  while (try_push (t, "x", 0) == 0)
    ;
  assert_int_equal (errno, EBADMSG);
  assert_fails (EBADMSG, blkring_journal_shutdown (t->j, 0));
}

/*---------------------------------------------------------------------*/

static void
a_blank_device_is_made_a_ring_if_asked (void **state)
{
  struct test_journal *t = *state;
  const struct blkring_create_options create = { .format = 1 };
  struct blkring_info info;

  assert_no_handle (EMEDIUMTYPE,
                    blkring_journal_start (t->rd->device, &t->options,
                                           perform, t));
  assert_int_equal (t->rd->writes, 0);
  t->options.flags = BLKRING_JOURNAL_CREATE;
  t->options.create = &create;
  begin (t);
  assert_ok (blkring_inspect (t->rd->device, NULL, &info));
  assert_int_equal (info.format, 1);
  close_gate (t);
  push (t, "a");
  await_log (t, "a");
  t = reboot (t);
  /* Here is one, with an item. */
  t->options.flags = BLKRING_JOURNAL_CREATE;
  begin (t);
  check_log (t, "a|");
}

static void
what_is_not_blank_is_never_formatted (void **state)
{
  struct test_journal *t = *state;
  static const char text[] = "somebody's file\n";
  static unsigned char before[64 << 10];
  const uint64_t size = t->rd->geometry.size;
  static const uint64_t places[] = { 0, 4096, UINT64_MAX };
  unsigned i;

  t->options.flags = BLKRING_JOURNAL_CREATE;
  for (i = 0; i < LENGTH (places); ++i) {
    memset (before, 0, sizeof before);
    memcpy (before + (places[i] < size ? places[i] : size - sizeof text),
            text, sizeof text);
    record_device_poke (t->rd, 0, before, size);
    record_device_forget (t->rd);
    assert_no_handle (EEXIST,
                      blkring_journal_start (t->rd->device, &t->options,
                                             perform, t));
    assert_int_equal (t->rd->writes, 0);
    assert_memory_equal (t->rd->content, before, size);
  }
}

static void
a_damaged_ring_is_not_formatted (void **state)
{
  struct test_journal *t = *state;
  const unsigned char bad[16] = { 1, 2, 3 };

  close_gate (t);
  begin (t);
  push (t, "a");
  await_log (t, "a");
  t = reboot (t);
  record_device_poke (t->rd, 0, bad, sizeof bad);
  record_device_poke (t->rd, 4096, bad, sizeof bad);
  record_device_forget (t->rd);
  t->options.flags = BLKRING_JOURNAL_CREATE;
  t->j = blkring_journal_start (t->rd->device, &t->options, perform, t);
  assert_null (t->j);
  assert_int_equal (t->rd->writes, 0);
}

/*---------------------------------------------------------------------*/

/* Each item once, in order. */
static bool
is_ordered (const char *log)
{
  char last = 0;

  for (; *log; ++log)
    if (*log >= 'a' && *log <= 'd') {
      if (*log <= last)
        return false;
      last = *log;
    }
  return true;
}

/* The power goes after so many writes and flushes.  Whether it went. */
static bool
cut_power (struct test_journal *t, unsigned after, uint64_t survivors)
{
  struct test_journal *rebooted;
  bool stored[4], cut;
  unsigned i;

  begin (t);
  record_device_cut_power (t->rd, after);
  for (i = 0; i < 4; ++i)
    stored[i] = try_push (t, (const char *[]) { "a", "b", "c", "d" }[i], 0)
      == 0;
  blkring_journal_shutdown (t->j, BLKRING_JOURNAL_DRAIN);
  cut = record_device_is_cut (t->rd);
  rebooted = reboot (t);
  record_device_free (rebooted->rd);
  rebooted->rd = record_device_after_crash (t->rd, survivors);
  begin (rebooted);
  for (i = 0; i < 4; ++i)
    if (stored[i])
      assert_true (strchr (t->log, 'a' + i) || strchr (rebooted->log, 'a' + i));
  assert_true (is_ordered (t->log) && is_ordered (rebooted->log));
  assert_int_equal (items_left (rebooted), 0);
  return cut;
}

static void
a_power_cut_at_any_request_loses_nothing_that_was_pushed (void **state)
{
  static const uint64_t survivors[] = { 0, UINT64_MAX, 0x5555555555555555,
                                        0xf0f0f0f0f0f0f0f0 };
  const struct journal_kind *kind = ((struct test_journal *) *state)->kind;
  struct test_journal *t;
  bool cut = true;
  unsigned after, i;

  for (after = 0; cut; ++after)
    for (i = 0; i < LENGTH (survivors); ++i) {
      t = (void *) kind;
      setup_journal ((void **) &t);
      cut = cut_power (t, after, survivors[i]);
      assert_int_equal (teardown_journal ((void **) &t), 0);
    }
  assert_true (after > 10);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_BOTH (a_push_that_fails_stops_the_journal),
    IN_BOTH (a_flush_that_fails_in_push_stops_the_journal),
    IN_BOTH (an_advance_that_fails_stops_the_journal),
    IN_TIGHT (a_failure_ends_a_blocked_push_and_a_pending_sync),
    IN_BOTH (a_corrupt_entry_fails_start_behind_the_good_ones),
    IN_BOTH (a_corrupt_entry_stops_a_journal_that_runs),
    IN_BOTH (a_corrupt_entry_is_told_by_push_where_start_did_not_wait),
    ON_BLANK (a_blank_device_is_made_a_ring_if_asked),
    ON_BLANK (what_is_not_blank_is_never_formatted),
    IN_BOTH (a_damaged_ring_is_not_formatted),
    IN_BOTH (a_power_cut_at_any_request_loses_nothing_that_was_pushed),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
