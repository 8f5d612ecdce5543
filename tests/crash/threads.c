/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A journal's thread as a coroutine; see threads.h.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "threads.h"

#define STACK_SIZE (1 << 20)
#define TOO_MANY_WAITS 10000

static struct pair *current;

extern int __real_pthread_mutex_lock (pthread_mutex_t *mutex);
extern int __wrap_pthread_mutex_lock (pthread_mutex_t *mutex);
extern int __wrap_pthread_create (pthread_t *thread,
                                  const pthread_attr_t *attr,
                                  void *(*fn) (void *), void *arg);
extern int __wrap_pthread_join (pthread_t thread, void **result);
extern int __wrap_pthread_cond_wait (pthread_cond_t *cond,
                                     pthread_mutex_t *mutex);
extern int __wrap_pthread_cond_timedwait (pthread_cond_t *cond,
                                          pthread_mutex_t *mutex,
                                          const struct timespec *until);
extern bool __wrap_journal_is_own_thread (const blkring_journal *j);

static void
give_up (const char *why)
{
  fprintf (stderr, "crash/threads.c: %s\n", why);
  abort ();
}

struct pair *
pair_use (struct pair *pair)
{
  struct pair *before = current;

  current = pair;
  return before;
}

void
pair_init (struct pair *pair)
{
  memset (pair, 0, sizeof *pair);
  pair->stack = malloc (STACK_SIZE);
  if (pair->stack == NULL)
    abort ();
}

void
pair_free (struct pair *pair)
{
  free (pair->stack);
}

void
pair_progress (void)
{
  if (current)
    current->waits = 0;
}

void
pair_switch (void)
{
  struct pair *pair = current;
  struct saved_error error;
  const int err = errno;

  if (pair == NULL || !pair->exists || pair->ended)
    return;
  save_error (&error);
  pair->in_thread = !pair->in_thread;
  if (pair->changed)
    pair->changed (pair);
  if (pair->in_thread)
    swapcontext (&pair->main, &pair->thread);
  else
    swapcontext (&pair->thread, &pair->main);
  restore_error (&error);
  errno = err;
}

static void
live (void)
{
  struct pair *pair = current;

  pair->fn (pair->arg);
  pair->ended = true;
  pair->in_thread = false;
  if (pair->changed)
    pair->changed (pair);
  setcontext (&pair->main);
}

/* It has nothing to do before the other one has done something. */
static void
wait_for_other (pthread_mutex_t *mutex)
{
  if (++current->waits > TOO_MANY_WAITS)
    give_up ("both wait for each other");
  pthread_mutex_unlock (mutex);
  if (!current->exists || current->ended)
    give_up ("it waits for nobody");
  pair_switch ();
  __wrap_pthread_mutex_lock (mutex);
}

/*---------------------------------------------------------------------*/

int
__wrap_pthread_mutex_lock (pthread_mutex_t *mutex)
{
  if (current == NULL || !current->exists)
    return __real_pthread_mutex_lock (mutex);
  while (pthread_mutex_trylock (mutex) != 0) {
    if (current->ended || ++current->waits > TOO_MANY_WAITS)
      give_up ("a lock is never given back");
    pair_switch ();
  }
  return 0;
}

int
__wrap_pthread_create (pthread_t *thread, const pthread_attr_t *attr,
                       void *(*fn) (void *), void *arg)
{
  struct pair *pair = current;

  (void) attr;
  if (pair == NULL || pair->exists || getcontext (&pair->thread) == -1)
    give_up ("a thread too many");
  pair->thread.uc_stack.ss_sp = pair->stack;
  pair->thread.uc_stack.ss_size = STACK_SIZE;
  makecontext (&pair->thread, live, 0);
  pair->fn = fn;
  pair->arg = arg;
  pair->exists = true;
  pair->ended = pair->in_thread = false;
  pair->waits = 0;
  *thread = pthread_self ();
  return 0;
}

int
__wrap_pthread_join (pthread_t thread, void **result)
{
  (void) thread;
  (void) result;
  while (!current->ended)
    pair_switch ();
  current->exists = false;
  return 0;
}

int
__wrap_pthread_cond_wait (pthread_cond_t *cond, pthread_mutex_t *mutex)
{
  (void) cond;
  wait_for_other (mutex);
  return 0;
}

int
__wrap_pthread_cond_timedwait (pthread_cond_t *cond, pthread_mutex_t *mutex,
                               const struct timespec *until)
{
  (void) cond;
  (void) until;
  wait_for_other (mutex);
  return 0;
}

/* All run in one. */
bool
__wrap_journal_is_own_thread (const blkring_journal *j)
{
  (void) j;
  return current && current->in_thread;
}
