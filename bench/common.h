/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What all benchmarks share.
 */

#ifndef BLKRING_BENCH_COMMON_H
#define BLKRING_BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the program, for messages. */
extern const char program_name[];

extern void fail (const char *fmt, ...)
  __attribute__ ((noreturn, format (printf, 1, 2)));
extern void fail_errno (const char *what) __attribute__ ((noreturn));
extern void fail_ring (const char *what) __attribute__ ((noreturn));
extern void *allocate (size_t size);

extern uint64_t now (void);  /* ns */

/* Time that is measured; runs between start and stop. */
struct stopwatch {
  uint64_t elapsed, started, limit; /* ns */
};

extern void stopwatch_init (struct stopwatch *w, double seconds);
extern void stopwatch_start (struct stopwatch *w);
extern void stopwatch_stop (struct stopwatch *w);
extern bool stopwatch_over (const struct stopwatch *w);
extern double stopwatch_seconds (const struct stopwatch *w);

/* 0.5: the median. */
extern double quantile (const double *values, unsigned nr, double q);

/* Of the command line; they fail with a message. */
extern double parse_seconds (const char *s);
extern unsigned parse_number (const char *name, const char *s, long least,
                              long most);

/* All of the output has reached where it goes, or fail. */
extern void finish_output (void);
extern void print_and_exit (const char *text) __attribute__ ((noreturn));

#endif /* BLKRING_BENCH_COMMON_H */
