/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What stands before malloc and its like; see memory.h.
 *
 * Blocks are remembered in a table: some that the library frees are of
 * libraries that allocate behind our back.
 */

#include <config.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define BLOCKS 16384         /* a power of two, far more than there are */

extern void *__real_malloc (size_t size);
extern void *__real_calloc (size_t nr, size_t size);
extern void *__real_realloc (void *p, size_t size);
extern int __real_posix_memalign (void **p, size_t alignment, size_t size);
extern char *__real_strdup (const char *s);
extern void __real_free (void *p);
extern void *__wrap_malloc (size_t size);
extern void *__wrap_calloc (size_t nr, size_t size);
extern void *__wrap_realloc (void *p, size_t size);
extern int __wrap_posix_memalign (void **p, size_t alignment, size_t size);
extern char *__wrap_strdup (const char *s);
extern int __wrap_asprintf (char **p, const char *fmt, ...)
  __attribute__ ((format (printf, 2, 3)));
extern int __wrap___asprintf_chk (char **p, int flag, const char *fmt, ...)
  __attribute__ ((format (printf, 3, 4)));
extern void __wrap_free (void *p);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned calls, fails_at = UINT_MAX;
static bool failed;
static void *blocks[BLOCKS];
static unsigned nr_blocks;

void
memory_arm (unsigned at)
{
  pthread_mutex_lock (&lock);
  calls = 0;
  fails_at = at;
  failed = false;
  pthread_mutex_unlock (&lock);
}

bool
memory_disarm (void)
{
  fails_at = UINT_MAX;
  return failed;
}

unsigned
memory_blocks (void)
{
  return nr_blocks;
}

/* Is this call to fail? */
static bool
fails (void)
{
  bool r;

  pthread_mutex_lock (&lock);
  r = calls++ == fails_at;
  failed = failed || r;
  pthread_mutex_unlock (&lock);
  if (r)
    errno = ENOMEM;
  return r;
}

static unsigned
place (const void *p)
{
  unsigned i = ((uintptr_t) p >> 4) * 2654435761u % BLOCKS;

  while (blocks[i] && blocks[i] != p)
    i = (i + 1) % BLOCKS;
  return i;
}

static void *
remember (void *p)
{
  if (p == NULL)
    return NULL;
  pthread_mutex_lock (&lock);
  blocks[place (p)] = p;
  if (++nr_blocks == BLOCKS / 2) {
    fprintf (stderr, "faults/memory.c: too many blocks\n");
    abort ();
  }
  pthread_mutex_unlock (&lock);
  return p;
}

/* Those that come behind it in the table move up. */
static void
forget (const void *p)
{
  unsigned i;
  void *next;

  pthread_mutex_lock (&lock);
  i = place (p);
  if (p && blocks[i]) {
    nr_blocks--;
    blocks[i] = NULL;
    for (i = (i + 1) % BLOCKS; (next = blocks[i]); i = (i + 1) % BLOCKS) {
      blocks[i] = NULL;
      blocks[place (next)] = next;
    }
  }
  pthread_mutex_unlock (&lock);
}

/*---------------------------------------------------------------------*/

void *
__wrap_malloc (size_t size)
{
  return fails () ? NULL : remember (__real_malloc (size));
}

void *
__wrap_calloc (size_t nr, size_t size)
{
  return fails () ? NULL : remember (__real_calloc (nr, size));
}

void *
__wrap_realloc (void *p, size_t size)
{
  if (fails ())
    return NULL;
  forget (p);
  return remember (__real_realloc (p, size));
}

int
__wrap_posix_memalign (void **p, size_t alignment, size_t size)
{
  int err = fails () ? ENOMEM : __real_posix_memalign (p, alignment, size);

  if (err == 0)
    remember (*p);
  return err;
}

char *
__wrap_strdup (const char *s)
{
  return fails () ? NULL : remember (__real_strdup (s));
}

static int
print (char **p, const char *fmt, va_list args)
{
  int r = -1;

  if (!fails ())
    r = vasprintf (p, fmt, args);
  if (r != -1)
    remember (*p);
  return r;
}

int
__wrap_asprintf (char **p, const char *fmt, ...)
{
  va_list args;
  int r;

  va_start (args, fmt);
  r = print (p, fmt, args);
  va_end (args);
  return r;
}

int
__wrap___asprintf_chk (char **p, int flag, const char *fmt, ...)
{
  va_list args;
  int r;

  (void) flag;
  va_start (args, fmt);
  r = print (p, fmt, args);
  va_end (args);
  return r;
}

void
__wrap_free (void *p)
{
  forget (p);
  __real_free (p);
}

void *
memory_malloc (size_t size)
{
  return __wrap_malloc (size);
}

void
memory_free (void *p)
{
  __wrap_free (p);
}
