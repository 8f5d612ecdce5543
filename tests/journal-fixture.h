/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Journals on a recording device, whose clock stands still until the test
 * moves it, and whose perform writes down what it was given.
 *
 * The log of perform: items with a space between, then "|" where it
 * succeeded or "!" where it failed.  So "a b! a b| c" tells that a and b
 * failed once, then succeeded, and that c is being performed.
 */

#ifndef BLKRING_TESTS_JOURNAL_FIXTURE_H
#define BLKRING_TESTS_JOURNAL_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common.h"
#include "record-device.h"

#define UNIT 512             /* bytes of a sector, of a block */

struct journal_kind {
  unsigned format;
  unsigned units;            /* of the data area */
  unsigned consumers;        /* 0 = 1; the journal is the first */
};

/* A case on a ring of 64 units, and on one that holds four items. */
extern struct journal_kind roomy1, roomy2, tight1, tight2, blank;

#define ON_JOURNAL(function, text, kind) \
  { #function " (" text ")", function, setup_journal, teardown_journal, kind }
#define IN_BOTH(function) \
  ON_JOURNAL (function, "format 1", &roomy1), \
  ON_JOURNAL (function, "format 2", &roomy2)
#define IN_TIGHT(function) \
  ON_JOURNAL (function, "format 1", &tight1), \
  ON_JOURNAL (function, "format 2", &tight2)
#define ON_BLANK(function) ON_JOURNAL (function, "blank device", &blank)

/* Of an item that takes a unit in both formats. */
#define UNIT_ITEM 440

struct test_journal {
  const struct journal_kind *kind;
  struct record_device *rd;
  blkring_journal *j;
  struct test_journal *rebooted; /* NULL */
  struct blkring_journal_options options;
  struct blkring_attach_options attach;

  struct blkring_clock clock;
  _Atomic uint64_t now;      /* ns */
  _Atomic unsigned sleeps;

  pthread_mutex_t lock;
  pthread_cond_t changed;
  /* Under the lock. */
  char log[16384];
  unsigned calls, empty_calls, verdicts, bad_calls;
  unsigned fail;             /* so many of the next calls fail */
  const char *bad;           /* and those with an item that begins so */
  bool closed;               /* perform waits inside */
  unsigned inside;
  enum blkring_verdict verdict;
  unsigned last_attempts;
  bool keeps_no_log;
  unsigned items;            /* performed */
  /* Called by perform; NULL. */
  void (*in_perform) (struct test_journal *t);
  int result, error;         /* for it */
};

extern int setup_journal (void **state);
extern int teardown_journal (void **state);

/* Start, which must succeed. */
extern void begin (struct test_journal *t);
/* Shut down, which must succeed, and free. */
extern void end (struct test_journal *t);
/* Start once more. */
extern void restart (struct test_journal *t);
/* The power goes: a new one, on what was durable.  The teardown ends both. */
extern struct test_journal *reboot (struct test_journal *t);

extern int perform (const struct blkring_item *items, size_t nr,
                    void *opaque);
extern enum blkring_verdict
decide (const struct blkring_item *item, unsigned attempts, void *opaque);

/* A text as an item; the waiter. */
extern blkring_journal_waiter push (struct test_journal *t, const char *text);
extern int try_push (struct test_journal *t, const char *text,
                     unsigned flags);
/* An item that takes a unit, and begins with the text and a NUL. */
extern int push_unit (struct test_journal *t, const char *text,
                      unsigned flags);
/* Such items until there is no room.  Their number. */
extern unsigned fill (struct test_journal *t);

/* The log must become this. */
extern void await_log (struct test_journal *t, const char *log);
/* It must be this now. */
extern void check_log (struct test_journal *t, const char *log);
extern bool log_has (struct test_journal *t, const char *text);
/* The thread has looked at the clock, and sleeps on. */
extern void await_sleep (struct test_journal *t);
extern void move_clock (struct test_journal *t, unsigned ms);
extern void sync_ok (struct test_journal *t, blkring_journal_waiter waiter);

extern void close_gate (struct test_journal *t);
extern void open_gate (struct test_journal *t);

/* Items in the ring that were not freed. */
extern uint64_t items_left (struct test_journal *t);

/* A call in a thread of its own. */
struct caller {
  struct test_journal *t;
  pthread_t id;
  atomic_int tid;
  int (*call) (struct caller *c);
  const char *text;
  blkring_journal_waiter waiter;
  int result, error;
};
extern void start_caller (struct caller *c, struct test_journal *t,
                          int (*call) (struct caller *c));
/* Its result; errno is set from it. */
extern int join_caller (struct caller *c);
/* start_caller, until it waits for something. */
extern void start_blocked (struct caller *c, struct test_journal *t,
                           int (*call) (struct caller *c));

/* Calls. */
extern int call_push (struct caller *c); /* push_unit */
extern int call_sync (struct caller *c);
extern int call_shutdown (struct caller *c);
extern int call_drain (struct caller *c);

#endif /* BLKRING_TESTS_JOURNAL_FIXTURE_H */
