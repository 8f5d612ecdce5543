/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A journal's thread as a coroutine of the test's own: what the library asks
 * of pthreads comes here (ld's --wrap).  So a program and its journal take
 * turns as the test decides, and again in the same way.
 *
 * They change places where one waits for the other, and where the test says
 * so, which is before a request to the disk.
 */

#ifndef CRASH_THREADS_H
#define CRASH_THREADS_H

#include <stdbool.h>
#include <ucontext.h>

#include "error.h"

struct pair {
  ucontext_t main, thread;
  void *stack;
  void *(*fn) (void *arg);
  void *arg;
  bool exists, ended;
  bool in_thread;            /* it runs, and not main */
  unsigned waits;            /* one after the other, and nothing done: they
                                wait for each other */
  /* Called when the other one goes on. */
  void (*changed) (struct pair *pair);
  void *opaque;
};

/* Where threads are made and wait from now on; returns the one before. */
extern struct pair *pair_use (struct pair *pair);
extern void pair_init (struct pair *pair);
extern void pair_free (struct pair *pair);
/* The other one goes on, if there is one. */
extern void pair_switch (void);
/* Something was done. */
extern void pair_progress (void);

#endif /* CRASH_THREADS_H */
