/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Life on a file, and on an NBD server: open, create, attach, store, fetch,
 * wait, detach, close.  Each system call on the file fails once in turn, or
 * is interrupted, or does less than asked; and each allocation fails, also
 * those of the client of NBD.  What fails is told, what was stored is there,
 * nothing stays open or allocated.
 *
 * The calls are those that lib/device-file.c makes, by ld's --wrap.
 */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blkring.h"
#include "memory.h"

#define SIZE (64 << 10)
#define ITEMS 4
#define LENGTH 700

/*---------------------------------------------------------------------*/
/* System calls.                                                          */

static bool armed;           /* else all is as it is */
static unsigned calls, fails_at = UINT_MAX;
static int error;
static bool failed, interrupts, interrupted;
static size_t short_count;   /* 0 = all */
static bool no_dsync;        /* the file system does not know RWF_DSYNC */

extern ssize_t __real_pread (int fd, void *buf, size_t n, off_t offset);
extern ssize_t __real_pwrite (int fd, const void *buf, size_t n,
                              off_t offset);
extern ssize_t __real_pwritev2 (int fd, const struct iovec *iov, int nr,
                                off_t offset, int flags);
extern int __real_fdatasync (int fd);
extern int __real_fsync (int fd);
extern int __real_fstat (int fd, struct stat *st);
extern int __real_ftruncate (int fd, off_t size);
extern int __real_inotify_init1 (int flags);
extern int __real_inotify_add_watch (int fd, const char *name,
                                     uint32_t mask);
extern ssize_t __wrap_pread (int fd, void *buf, size_t n, off_t offset);
extern ssize_t __wrap_pwrite (int fd, const void *buf, size_t n,
                              off_t offset);
extern ssize_t __wrap_pwritev2 (int fd, const struct iovec *iov, int nr,
                                off_t offset, int flags);
extern int __wrap_fdatasync (int fd);
extern int __wrap_fsync (int fd);
extern int __wrap_fstat (int fd, struct stat *st);
extern int __wrap_ftruncate (int fd, off_t size);
extern int __wrap_inotify_init1 (int flags);
extern int __wrap_inotify_add_watch (int fd, const char *name,
                                     uint32_t mask);

/* errno of this call, or 0. */
static int
come_in (bool slow)
{
  if (!armed)
    return 0;
  if (slow && interrupts && (interrupted = !interrupted))
    return EINTR;
  if (calls++ != fails_at)
    return 0;
  failed = true;
  return error;
}

static size_t
limit (size_t n)
{
  return armed && short_count && n > short_count ? short_count : n;
}

#define WRAP(type, name, slow, parameters, call) \
  type \
  __wrap_##name parameters \
  { \
    const int err = come_in (slow); \
    if (err == 0) \
      return call; \
    errno = err; \
    return -1; \
  }

WRAP (ssize_t, pread, true,
      (int fd, void *buf, size_t n, off_t offset),
      __real_pread (fd, buf, limit (n), offset))
WRAP (ssize_t, pwrite, true,
      (int fd, const void *buf, size_t n, off_t offset),
      __real_pwrite (fd, buf, limit (n), offset))
WRAP (ssize_t, pwritev2, true,
      (int fd, const struct iovec *iov, int nr, off_t offset, int flags),
      armed && no_dsync
      ? (errno = EOPNOTSUPP, -1)
      : short_count && nr == 1
      ? __real_pwritev2 (fd, &(struct iovec) {
          iov->iov_base, limit (iov->iov_len) }, 1, offset, flags)
      : __real_pwritev2 (fd, iov, nr, offset, flags))
WRAP (int, fdatasync, true, (int fd), __real_fdatasync (fd))
WRAP (int, fsync, false, (int fd), __real_fsync (fd))
WRAP (int, fstat, false, (int fd, struct stat *st), __real_fstat (fd, st))
WRAP (int, ftruncate, false, (int fd, off_t size), __real_ftruncate (fd, size))
WRAP (int, inotify_init1, false, (int flags), __real_inotify_init1 (flags))
WRAP (int, inotify_add_watch, false, (int fd, const char *name, uint32_t mask),
      __real_inotify_add_watch (fd, name, mask))

/*---------------------------------------------------------------------*/
/* The life.                                                              */

struct life {
  const char *name;          /* of a file, or a URI */
  unsigned format;
  bool file;
  unsigned created;          /* the ring was made … */
  unsigned stored, maybe;    /* … items in it, and one more perhaps … */
  unsigned freed, maybe_freed; /* … and freed */
};

static char problem_text[500];
static unsigned ignored;      /* failures that did not fail the life */

static void
problem (const char *what)
{
  if (problem_text[0] == '\0')
    snprintf (problem_text, sizeof problem_text, "%s: %s", what,
              blkring_get_error ());
}

static const void *
content (unsigned number)
{
  static char item[LENGTH];

  memset (item, 'a' + number, sizeof item);
  return item;
}

static int
note_end (void *opaque, const struct blkring_item *item)
{
  *(blkring_position *) opaque = item->next;
  return 0;
}

static int
store_all (struct life *l, blkring_producer *p)
{
  unsigned i;

  if (blkring_producer_wait (p, LENGTH, 0) == -1)
    return -1;
  for (i = 0; i < ITEMS; ++i) {
    l->maybe = i + 1;
    if (blkring_producer_append (p, content (i), LENGTH, NULL) == -1)
      return -1;
    l->stored = i + 1;
  }
  return 0;
}

static int
fetch_all (struct life *l, blkring_consumer *c)
{
  struct blkring_item item;
  blkring_position end;
  unsigned i;

  if (blkring_consumer_fold (c, NULL, note_end, &end) == -1)
    return -1;
  for (i = 0; i < ITEMS / 2; ++i) {
    if (blkring_consumer_wait (c, NULL, 1000) == -1 ||
        blkring_consumer_pop (c, NULL, &item) == -1)
      return -1;
    l->maybe_freed = i + 1;
    if (blkring_consumer_advance (c, item.next) == -1)
      return -1;
    l->freed = i + 1;
  }
  /* Nothing comes: this makes a watch. */
  return blkring_consumer_wait (c, &end, 0) == -1 &&
    errno != ETIMEDOUT ? -1 : 0;
}

static int
use (struct life *l, blkring_device *device)
{
  const struct blkring_create_options o = {
    .format = l->format, .block_size = l->format == 2 ? 512 : 0,
  };
  blkring_producer *p;
  blkring_consumer *c = NULL;
  int r = -1, err;

  if (blkring_create (device, &o) == -1)
    return -1;
  l->created = true;
  p = blkring_producer_attach (device, NULL);
  if (p)
    c = blkring_consumer_attach (device, NULL);
  if (c && store_all (l, p) == 0 && fetch_all (l, c) == 0)
    r = blkring_check (device, NULL, NULL, NULL) == -1 ? -1 : 0;
  err = errno;
  blkring_producer_free (p);
  blkring_consumer_free (c);
  errno = err;
  return r;
}

static blkring_device *
open_device (const struct life *l, bool create)
{
  const struct blkring_open_options o = {
    .flags = create && l->file ? BLKRING_OPEN_CREATE : 0, .size = SIZE,
  };

  return blkring_device_open (l->name, &o);
}

static int
live (struct life *l)
{
  blkring_device *device = open_device (l, true);
  int r, err;

  if (device == NULL)
    return -1;
  r = use (l, device);
  err = errno;
  blkring_device_close (device);
  errno = err;
  return r;
}

/* What must be in the ring is. */
static void
look (const struct life *l)
{
  blkring_device *device = open_device (l, false);
  blkring_consumer *c = device ? blkring_consumer_attach (device, NULL)
    : NULL;
  struct blkring_item item;
  blkring_position *from = NULL, next;
  unsigned first, n = 0;

  if (c == NULL) {
    if (l->created || (errno != EMEDIUMTYPE && errno != ENOENT))
      problem ("then, attach");
    blkring_device_close (device);
    return;
  }
  first = l->freed;
  for (; blkring_consumer_pop (c, from, &item) == 0; from = &next, n++) {
    if (n == 0 && l->maybe_freed > l->freed &&
        memcmp (item.data, content (l->maybe_freed), 1) == 0)
      first = l->maybe_freed;
    if (item.length != LENGTH ||
        memcmp (item.data, content (first + n), LENGTH) != 0)
      problem ("then, another item");
    next = item.next;
  }
  if (errno != EAGAIN)
    problem ("then, pop");
  if (first + n < l->stored || first + n > l->maybe)
    problem ("then, the number of items");
  blkring_consumer_free (c);
  blkring_device_close (device);
}

/*---------------------------------------------------------------------*/

static unsigned tests;
static bool all_ok = true;

static unsigned
open_files (void)
{
  DIR *dir = opendir ("/proc/self/fd");
  unsigned n = 0;

  while (dir && readdir (dir))
    n++;
  closedir (dir);
  return n;
}

static void
reset (const struct life *l)
{
  static const char zeros[SIZE];
  blkring_device *device;

  if (l->file)
    unlink (l->name);
  else if ((device = open_device (l, false)) == NULL ||
           blkring_device_write (device, zeros, SIZE, 0) == -1)
    problem ("reset");
  else
    blkring_device_close (device);
  problem_text[0] = '\0';
}

/* 'at' < 0: nothing fails.  Returns whether something did. */
static bool
one (struct life *l, int at, int err, bool memory)
{
  const unsigned blocks = memory_blocks (), files = open_files ();
  bool fired;
  int r, e;

  reset (l);
  l->created = l->stored = l->maybe = l->freed = l->maybe_freed = 0;
  calls = 0;
  failed = false;
  error = err;
  fails_at = memory || at < 0 ? UINT_MAX : (unsigned) at;
  memory_arm (memory ? (unsigned) at : UINT_MAX);
  armed = true;
  r = live (l);
  e = errno;
  armed = false;
  fired = memory_disarm () || failed;
  if (r == -1 && !fired)
    problem ("it fails");
  if (r == -1 && fired && (e != err || blkring_get_errno () != err))
    problem ("another errno");
  ignored += fired && r == 0;
  look (l);
  if (memory_blocks () != blocks)
    problem ("something is not freed");
  if (open_files () != files)
    problem ("something is not closed");
  return fired;
}

static void
report (const char *what, const struct life *l, unsigned failures)
{
  const bool ok = problem_text[0] == '\0';

  printf ("%s %u - %s, format %u: %s: %u failures, of %u nothing comes\n",
          ok ? "ok" : "not ok", ++tests, l->file ? "file" : "NBD", l->format,
          what, failures, ignored);
  ignored = 0;
  if (!ok)
    printf ("# failure %u: %s\n", failures, problem_text);
  all_ok = all_ok && ok;
  fflush (stdout);
}

static void
fail_each (struct life *l, int err, bool memory)
{
  int at = 0;

  while (one (l, at, err, memory) && problem_text[0] == '\0')
    at++;
  /* The directory's flush, the watch (without one it polls), and what detach
   * of format 2 would write.  A server whose status cannot be read is taken for
   * one that does not guard the ring: one that does refuses the writes. */
  if (ignored > (!l->file ? 8U : memory ? 2 : l->format == 1 ? 3
                 : no_dsync ? 9 : 7))
    problem ("failures were ignored");
  report (memory ? "each allocation fails" : no_dsync
          ? "without RWF_DSYNC, each system call fails with EIO" : err == EIO
          ? "each system call fails with EIO"
          : "each system call fails with ENOSPC", l, at);
}

static void
test (struct life *l)
{
  fail_each (l, ENOMEM, true);
  if (!l->file)
    return;
  fail_each (l, EIO, false);
  fail_each (l, ENOSPC, false);
  no_dsync = true;
  fail_each (l, EIO, false);
  no_dsync = false;
  interrupts = true;
  one (l, -1, 0, false);
  report ("each system call is interrupted", l, 0);
  short_count = 100;
  one (l, -1, 0, false);
  report ("reads and writes are short and interrupted", l, 0);
  interrupts = false;
  one (l, -1, 0, false);
  report ("reads and writes are short", l, 0);
  short_count = 0;
}

/*---------------------------------------------------------------------*/

/* 0: there is no nbdkit. */
static pid_t
serve (const char *socket)
{
  pid_t pid = fork ();
  unsigned i;

  if (pid == 0) {
    execlp ("nbdkit", "nbdkit", "-f", "-U", socket, "memory", "64K", NULL);
    _exit (1);
  }
  for (i = 0; i < 1000; ++i) {
    if (access (socket, F_OK) == 0)
      return pid;
    if (waitpid (pid, NULL, WNOHANG) == pid)
      return 0;
    usleep (10000);
  }
  kill (pid, SIGKILL);
  waitpid (pid, NULL, 0);
  return 0;
}

int
main (void)
{
  char dir[] = "/tmp/blkring-faults-XXXXXX", path[64], socket[64], uri[128];
  struct life l;
  unsigned format;
  pid_t pid;

  if (mkdtemp (dir) == NULL)
    return 1;
  snprintf (path, sizeof path, "%s/ring", dir);
  snprintf (socket, sizeof socket, "%s/sock", dir);
  snprintf (uri, sizeof uri, "nbd+unix:///?socket=%s", socket);
  pid = serve (socket);
  for (format = 1; format <= 2; ++format) {
    l = (struct life) { .name = path, .format = format, .file = true };
    test (&l);
    l = (struct life) { .name = uri, .format = format };
    if (pid)
      test (&l);
    else
      printf ("ok %u - # SKIP nbdkit does not start\n", ++tests);
  }
  if (pid) {
    kill (pid, SIGKILL);
    waitpid (pid, NULL, 0);
  }
  unlink (path);
  unlink (socket);
  rmdir (dir);
  printf ("1..%u\n", tests);
  return all_ok ? 0 : 1;
}
