/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Journals under test (see journal-fixture.h).
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "journal-fixture.h"

#define PATIENCE 60          /* seconds, before a test gives up */
#define NS_PER_MS UINT64_C (1000000)

struct journal_kind roomy1 = { .format = 1, .units = 64 };
struct journal_kind roomy2 = { .format = 2, .units = 64 };
struct journal_kind tight1 = { .format = 1, .units = 4 };
struct journal_kind tight2 = { .format = 2, .units = 4 };
struct journal_kind blank = { .units = 64 };

/*---------------------------------------------------------------------*/
/* Clock.                                                                */

static uint64_t
clock_now (void *opaque)
{
  struct test_journal *t = opaque;

  return t->now;
}

/* Time passes where the test moves it; this only lets others run. */
static int
clock_sleep (void *opaque, uint64_t ns)
{
  struct test_journal *t = opaque;
  const struct timespec a_moment = { 0, 50000 };

  (void) ns;
  nanosleep (&a_moment, NULL);
  t->sleeps++;
  return 0;
}

void
move_clock (struct test_journal *t, unsigned ms)
{
  t->now += ms * NS_PER_MS;
}

static void
give_up_after (time_t began, const char *what)
{
  if (time (NULL) - began > PATIENCE)
    fail_msg ("still waiting: %s", what);
}

/* Who slept at the beginning of the second sleep from now has looked at the
 * clock in between. */
void
await_sleep (struct test_journal *t)
{
  const unsigned before = t->sleeps;
  const time_t began = time (NULL);

  while (t->sleeps < before + 3) {
    usleep (50);
    give_up_after (began, "for a sleep");
  }
}

/*---------------------------------------------------------------------*/
/* Performing.                                                           */

static void
add_to_log (struct test_journal *t, const char *text)
{
  const size_t used = strlen (t->log);

  if (!t->keeps_no_log)
    snprintf (t->log + used, sizeof t->log - used, "%s", text);
  pthread_cond_broadcast (&t->changed);
}

static bool
is_bad (const struct test_journal *t, const struct blkring_item *items,
        size_t nr)
{
  size_t i;

  for (i = 0; t->bad && i < nr; ++i)
    if (items[i].length >= strlen (t->bad) &&
        memcmp (items[i].data, t->bad, strlen (t->bad)) == 0)
      return true;
  return false;
}

static void
log_items (struct test_journal *t, const struct blkring_item *items,
           size_t nr)
{
  char text[64];
  size_t i;

  for (i = 0; i < nr; ++i) {
    snprintf (text, sizeof text, "%s%.*s", t->log[0] ? " " : "",
              (int) (items[i].length < 40 ? items[i].length : 40),
              items[i].length > 0 ? (const char *) items[i].data : "");
    add_to_log (t, text);
    if ((uintptr_t) items[i].data % 16 != 0 && items[i].length > 0)
      t->bad_calls++;
  }
}

int
perform (const struct blkring_item *items, size_t nr, void *opaque)
{
  struct test_journal *t = opaque;
  bool failed;

  pthread_mutex_lock (&t->lock);
  t->calls++;
  t->empty_calls += nr == 0;
  t->bad_calls += t->inside > 0;
  t->inside++;
  log_items (t, items, nr);
  if (t->in_perform) {
    pthread_mutex_unlock (&t->lock);
    t->in_perform (t);
    pthread_mutex_lock (&t->lock);
  }
  while (t->closed)
    pthread_cond_wait (&t->changed, &t->lock);
  failed = t->fail > 0 || is_bad (t, items, nr);
  t->fail -= t->fail > 0;
  t->items += failed ? 0 : nr;
  t->inside--;
  add_to_log (t, failed ? "!" : "|");
  pthread_mutex_unlock (&t->lock);
  return failed ? -1 : 0;
}

enum blkring_verdict
decide (const struct blkring_item *item, unsigned attempts, void *opaque)
{
  struct test_journal *t = opaque;
  enum blkring_verdict verdict;
  char text[64];

  pthread_mutex_lock (&t->lock);
  t->verdicts++;
  t->last_attempts = attempts;
  verdict = t->verdict;
  snprintf (text, sizeof text, "?%.*s%u",
            (int) (item->length < 8 ? item->length : 8),
            (const char *) item->data, attempts);
  add_to_log (t, text);
  pthread_mutex_unlock (&t->lock);
  return verdict;
}

void
close_gate (struct test_journal *t)
{
  pthread_mutex_lock (&t->lock);
  t->closed = true;
  pthread_mutex_unlock (&t->lock);
}

void
open_gate (struct test_journal *t)
{
  pthread_mutex_lock (&t->lock);
  t->closed = false;
  pthread_cond_broadcast (&t->changed);
  pthread_mutex_unlock (&t->lock);
}

void
await_log (struct test_journal *t, const char *log)
{
  struct timespec until;
  bool same;
  int r = 0;

  clock_gettime (CLOCK_REALTIME, &until);
  until.tv_sec += PATIENCE;
  pthread_mutex_lock (&t->lock);
  while (!(same = strcmp (t->log, log) == 0) && r == 0)
    r = pthread_cond_timedwait (&t->changed, &t->lock, &until);
  pthread_mutex_unlock (&t->lock);
  if (!same)
    fail_msg ("the log is \"%s\", not \"%s\"", t->log, log);
}

void
check_log (struct test_journal *t, const char *log)
{
  bool same;

  pthread_mutex_lock (&t->lock);
  same = strcmp (t->log, log) == 0;
  pthread_mutex_unlock (&t->lock);
  if (!same)
    fail_msg ("the log is \"%s\", not \"%s\"", t->log, log);
}

bool
log_has (struct test_journal *t, const char *text)
{
  bool found;

  pthread_mutex_lock (&t->lock);
  found = strstr (t->log, text) != NULL;
  pthread_mutex_unlock (&t->lock);
  return found;
}

/*---------------------------------------------------------------------*/
/* Journals.                                                             */

static struct test_journal *
new_journal (const struct journal_kind *kind, struct record_device *rd)
{
  struct test_journal *t = calloc (1, sizeof *t);

  assert_non_null (t);
  t->kind = kind;
  t->rd = rd;
  pthread_mutex_init (&t->lock, NULL);
  pthread_cond_init (&t->changed, NULL);
  t->now = 1000 * NS_PER_MS;
  t->clock = (struct blkring_clock) { clock_now, clock_sleep, t };
  t->attach.clock = &t->clock;
  t->options.attach = &t->attach;
  return t;
}

int
setup_journal (void **state)
{
  const struct journal_kind *kind = *state;
  const unsigned consumers = kind->consumers ? kind->consumers : 1;
  const struct blkring_create_options create = {
    .format = kind->format, .block_size = kind->format == 2 ? UNIT : 0,
    .consumers = kind->consumers,
  };
  const struct record_options o = {
    .size = (kind->format == 1 ? 3 * UNIT : (6 + 2 * consumers) * 4096) +
      kind->units * UNIT,
  };
  struct record_device *rd = record_device_new (&o);

  if (kind->format)
    assert_ok (blkring_create (rd->device, &create));
  *state = new_journal (kind, rd);
  return 0;
}

int
teardown_journal (void **state)
{
  struct test_journal *t = *state;
  int r = 0;

  open_gate (t);
  blkring_journal_free (t->j);
  if (t->rebooted)
    r = teardown_journal ((void **) &t->rebooted);
  if (t->empty_calls > 0 || t->bad_calls > 0 || t->rd->bad_requests > 0) {
    print_error ("perform was called without items, twice at once, or with "
                 "items that are not aligned\n");
    r = -1;
  }
  record_device_free (t->rd);
  pthread_mutex_destroy (&t->lock);
  pthread_cond_destroy (&t->changed);
  free (t);
  return r;
}

void
begin (struct test_journal *t)
{
  t->j = blkring_journal_start (t->rd->device, &t->options, perform, t);
  assert_handle (t->j);
}

void
end (struct test_journal *t)
{
  assert_ok (blkring_journal_shutdown (t->j, 0));
  blkring_journal_free (t->j);
  t->j = NULL;
}

void
restart (struct test_journal *t)
{
  end (t);
  begin (t);
}

struct test_journal *
reboot (struct test_journal *t)
{
  assert_null (t->rebooted);
  t->rebooted = new_journal (t->kind, record_device_after_crash (t->rd, 0));
  return t->rebooted;
}

int
try_push (struct test_journal *t, const char *text, unsigned flags)
{
  return blkring_journal_push (t->j, text, strlen (text), flags, NULL);
}

blkring_journal_waiter
push (struct test_journal *t, const char *text)
{
  blkring_journal_waiter waiter = 0;

  assert_ok (blkring_journal_push (t->j, text, strlen (text), 0, &waiter));
  assert_true (waiter > 0);
  return waiter;
}

int
push_unit (struct test_journal *t, const char *text, unsigned flags)
{
  char item[UNIT_ITEM] = "";

  snprintf (item, sizeof item, "%s", text);
  return blkring_journal_push (t->j, item, sizeof item, flags, NULL);
}

unsigned
fill (struct test_journal *t)
{
  unsigned n = 0;
  char text[16];

  do
    snprintf (text, sizeof text, "f%u", n++);
  while (push_unit (t, text, BLKRING_JOURNAL_NONBLOCK) == 0);
  assert_int_equal (errno, EAGAIN);
  return n - 1;
}

void
sync_ok (struct test_journal *t, blkring_journal_waiter waiter)
{
  assert_ok (blkring_journal_sync (t->j, waiter, -1));
}

uint64_t
items_left (struct test_journal *t)
{
  struct blkring_info info;

  assert_ok (blkring_inspect (t->rd->device, NULL, &info));
  return info.items;
}

/*---------------------------------------------------------------------*/
/* Callers.                                                              */

static void *
run_caller (void *arg)
{
  struct caller *c = arg;

  c->tid = gettid ();
  c->result = c->call (c);
  c->error = errno;
  return NULL;
}

void
start_caller (struct caller *c, struct test_journal *t,
              int (*call) (struct caller *c))
{
  c->t = t;
  c->call = call;
  assert_int_equal (pthread_create (&c->id, NULL, run_caller, c), 0);
}

void
start_blocked (struct caller *c, struct test_journal *t,
               int (*call) (struct caller *c))
{
  c->tid = 0;
  start_caller (c, t, call);
  while (c->tid == 0)
    usleep (50);
  wait_until_asleep (c->tid);
}

int
join_caller (struct caller *c)
{
  assert_int_equal (pthread_join (c->id, NULL), 0);
  errno = c->error;
  return c->result;
}

int
call_push (struct caller *c)
{
  return push_unit (c->t, c->text, 0);
}

int
call_sync (struct caller *c)
{
  return blkring_journal_sync (c->t->j, c->waiter, -1);
}

int
call_shutdown (struct caller *c)
{
  return blkring_journal_shutdown (c->t->j, 0);
}

int
call_drain (struct caller *c)
{
  return blkring_journal_shutdown (c->t->j, BLKRING_JOURNAL_DRAIN);
}
