/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the cmocka tests share: assertions on blkring's errors, items whose
 * content follows from a seed, a clock that the test moves, and child
 * processes.  Only the public header is used.  Rings for them are in
 * ring-fixture.h.
 */

#ifndef BLKRING_TESTS_COMMON_H
#define BLKRING_TESTS_COMMON_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "blkring.h"

#define LENGTH(array) (sizeof (array) / sizeof (array)[0])

/*---------------------------------------------------------------------*/
/* Assertions.                                                           */

/* The call must return 0. */
#define assert_ok(call) check_result ((call), 0, #call, __FILE__, __LINE__)

/* The call must return this. */
#define assert_returns(expected, call) \
  check_result ((call), (expected), #call, __FILE__, __LINE__)

/* The call must return -1, with this error. */
#define assert_fails(error, call) assert_error_if (-1 ==, error, call)

/* The same for a call that returns a handle. */
#define assert_no_handle(error, call) assert_error_if (NULL ==, error, call)

#define assert_error_if(condition, error, call) \
  do { \
    const bool failed_ = condition (call); \
    const int errno_ = errno; \
    check_error (failed_, errno_, (error), #call, __FILE__, __LINE__); \
  } while (0)

#define assert_handle(call) \
  check_result ((call) == NULL ? -1 : 0, 0, #call, __FILE__, __LINE__)

/* The message of the last failure must have this in it. */
#define assert_message(text) check_message ((text), __FILE__, __LINE__)

extern void check_result (long result, long expected, const char *call,
                          const char *file, int line);
extern void check_error (bool failed, int error, int expected,
                         const char *call, const char *file, int line);
extern void check_message (const char *text, const char *file, int line);

/*---------------------------------------------------------------------*/
/* Items.                                                                */

/* The payload rule of tests/data/v1/manifest.json. */
extern void fill_payload (void *buf, size_t length, unsigned seed);
extern bool is_payload (const void *buf, size_t length, unsigned seed);

extern int push_seed (blkring_producer *p, size_t length, unsigned seed,
                      blkring_position *after);
extern int append_seed (blkring_producer *p, size_t length, unsigned seed,
                        blkring_position *after);

/* Pop at *from (NULL: the oldest) and compare.  Returns the next one. */
extern blkring_position pop_seed (blkring_consumer *c,
                                  const blkring_position *from,
                                  size_t length, unsigned seed);

/* Pop, compare and free. */
extern void take_seed (blkring_consumer *c, size_t length, unsigned seed);

/*---------------------------------------------------------------------*/
/* Files.                                                                */

/* A new, empty directory for temporary files, and remove it. */
extern void make_scratch (char *dir, size_t size);
extern void remove_scratch (const char *dir);

/*---------------------------------------------------------------------*/
/* Clock.                                                                */

/* Stands still but for sleep, which calls 'meanwhile' when the sleeps
 * number 'after'. */
struct test_clock {
  struct blkring_clock clock;
  uint64_t now;              /* nanoseconds */
  uint64_t sleeps[64];       /* nanoseconds each */
  unsigned nr_sleeps;
  unsigned after;
  void (*meanwhile) (void *opaque);
  void *opaque;
};

extern void init_clock (struct test_clock *c);
extern void pass_time (struct test_clock *c, unsigned ms);

/*---------------------------------------------------------------------*/
/* Processes.                                                            */

/* A child runs fn and ends with what it returns.  It must not use
 * cmocka.  Both talk by single bytes. */
struct child {
  pid_t pid;
  int in, out;               /* to read from, to write to the other */
};
typedef int (*child_fn) (struct child *parent, void *arg);

extern void start_child (struct child *child, child_fn fn, void *arg);
extern int tell (struct child *other, char byte);
/* The byte, or -1 when the other has gone. */
extern int hear (struct child *other);
/* Has it ended (or is there a byte to hear)?  Does not wait. */
extern bool has_news (const struct child *child);
/* Wait until it has ended: its exit status, or 128 + signal. */
extern int join_child (struct child *child);
extern int kill_child (struct child *child);
/* Wait until the thread (of this process or another) sleeps in the
 * kernel. */
extern void wait_until_asleep (pid_t tid);

/* Options of create for a ring of format 1. */
#define FORMAT1 (&(const struct blkring_create_options) { .format = 1 })

#endif /* BLKRING_TESTS_COMMON_H */
