/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Regular files and block devices.
 *
 * Block devices are opened with O_DIRECT, since two hosts on one LUN must
 * not read each other's past from a page cache; regular files are
 * buffered.  Durable is fdatasync, or a write with RWF_DSYNC.  Locks are
 * OFD locks far behind any data, so that they never meet those of other
 * programs.  Changes of regular files are noticed by inotify.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"
#include "error.h"
#include "lock.h"
#include "open.h"

#define LOCK_BASE (INT64_C (1) << 62)

struct file {
  int fd;
  bool block, direct, read_only;
  uint32_t alignment;        /* of O_DIRECT on a regular file */
  bool no_dsync;             /* the file system does not know RWF_DSYNC */
};

static int
file_geometry (void *opaque, struct blkring_geometry *g)
{
  struct file *f = opaque;
  struct stat st;
  int sector;

  if (fstat (f->fd, &st) == -1)
    return -1;
  if (f->block) {
    if (ioctl (f->fd, BLKGETSIZE64, &g->size) == -1 ||
        ioctl (f->fd, BLKSSZGET, &sector) == -1)
      return -1;
    g->sector_size = sector;
    g->flags |= BLKRING_DEVICE_SHARED;
  }
  else {
    g->size = st.st_size;
    g->sector_size = f->direct ? f->alignment : 1;
  }
  if (f->direct)
    g->memory_alignment = 4096;
  if (f->read_only)
    g->flags |= BLKRING_DEVICE_READ_ONLY;
  g->flags |= BLKRING_DEVICE_FUA;
  return 0;
}

static ssize_t
file_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  struct file *f = opaque;

  return pread (f->fd, buf, count, offset);
}

static ssize_t
file_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
             unsigned flags)
{
  struct file *f = opaque;
  struct iovec iov = { .iov_base = (void *) buf, .iov_len = count };

  ssize_t r;

  if (!(flags & BLKRING_WRITE_FUA))
    return pwrite (f->fd, buf, count, offset);
  if (!f->no_dsync) {
    r = pwritev2 (f->fd, &iov, 1, offset, RWF_DSYNC);
    if (r >= 0 || errno != EOPNOTSUPP)
      return r;
    f->no_dsync = true;
  }
  r = pwrite (f->fd, buf, count, offset);
  if (r > 0 && fdatasync (f->fd) == -1)
    return -1;
  return r;
}

static int
file_flush (void *opaque)
{
  struct file *f = opaque;

  return fdatasync (f->fd);
}

static int
file_lock (void *opaque, unsigned byte, enum blkring_lock_op op)
{
  struct file *f = opaque;
  struct flock fl = {
    .l_type = op == BLKRING_LOCK_RELEASE ? F_UNLCK
              : f->read_only ? F_RDLCK : F_WRLCK,
    .l_whence = SEEK_SET, .l_start = LOCK_BASE + byte, .l_len = 1,
  };

  if (op == BLKRING_LOCK_TEST) {
    fl.l_type = F_WRLCK;
    if (fcntl (f->fd, F_OFD_GETLK, &fl) == -1)
      return -1;
    return fl.l_type != F_UNLCK;
  }
  return fcntl (f->fd, op == BLKRING_LOCK_WAIT ? F_OFD_SETLKW : F_OFD_SETLK,
                &fl);
}

/*---------------------------------------------------------------------*/

struct watch {
  int fd;
};

static void *
file_watch (void *opaque)
{
  struct file *f = opaque;
  struct watch *w;
  char name[64];

  /* A block device raises no event for what others write. */
  if (f->block)
    return NULL;
  /* The file, whatever its name is by now. */
  snprintf (name, sizeof name, "/proc/self/fd/%d", f->fd);
  w = malloc (sizeof *w);
  if (w == NULL)
    return NULL;
  w->fd = inotify_init1 (IN_NONBLOCK | IN_CLOEXEC);
  if (w->fd == -1) {
    free (w);
    return NULL;
  }
  if (inotify_add_watch (w->fd, name, IN_MODIFY) == -1) {
    close (w->fd);
    free (w);
    return NULL;
  }
  return w;
}

static int
file_watch_wait (void *watch, int timeout_ms)
{
  struct watch *w = watch;
  struct pollfd pfd = { .fd = w->fd, .events = POLLIN };
  char events[4096];
  int r = poll (&pfd, 1, timeout_ms);

  /* Take all that is there: the caller looks at the device after this,
   * and what changes from now on raises a new event. */
  if (r > 0)
    while (read (w->fd, events, sizeof events) > 0)
      ;
  return r;
}

static void
file_unwatch (void *watch)
{
  struct watch *w = watch;

  close (w->fd);
  free (w);
}

static void
file_close (void *opaque)
{
  struct file *f = opaque;

  close (f->fd);
  free (f);
}

static const struct blkring_device_ops file_ops = {
  .struct_size = sizeof file_ops,
  .geometry = file_geometry,
  .pread = file_pread,
  .pwrite = file_pwrite,
  .flush = file_flush,
  .lock = file_lock,
  .watch = file_watch,
  .watch_wait = file_watch_wait,
  .unwatch = file_unwatch,
  .close = file_close,
};

/*---------------------------------------------------------------------*/

/* Write the blocks of a new file once: a later write to a block that was
 * never written costs an allocation, and can fail for want of space. */
static int
write_blocks (int fd, uint64_t size)
{
  static const char zeros[65536] __attribute__ ((aligned (4096)));
  uint64_t offset = 0;
  ssize_t r;

  while (offset < size) {
    r = pwrite (fd, zeros, min_u64 (sizeof zeros, size - offset), offset);
    if (r == -1 && errno == EINTR)
      continue;
    if (r <= 0)
      return -1;
    offset += r;
  }
  return fsync (fd);
}

/* Make the directory entry durable, as far as the system lets us. */
static void
sync_parent (const char *path)
{
  char *dir = strdup (path), *slash;
  int fd;

  if (dir == NULL)
    return;
  slash = strrchr (dir, '/');
  if (slash)
    slash[slash == dir ? 1 : 0] = '\0';
  fd = open (slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    fsync (fd);
    close (fd);
  }
  free (dir);
}

/* All locks of all sides: nobody uses the file, and nobody else makes it. */
static int
lock_file (int fd, short type)
{
  struct flock fl = {
    .l_type = type, .l_whence = SEEK_SET, .l_start = LOCK_BASE,
    .l_len = NR_LOCK_BYTES,
  };

  if (fcntl (fd, F_OFD_SETLK, &fl) == 0)
    return 0;
  if (errno != EAGAIN && errno != EACCES)
    return set_errno_error (errno, "cannot lock the file");
  return set_error (EBUSY, "a producer or consumer is attached, or somebody "
                    "else makes the file");
}

static int
set_size (int fd, const char *name, const struct blkring_open_options *o)
{
  struct stat st;
  uint64_t size;

  if (fstat (fd, &st) == -1)
    return set_errno_error (errno, "cannot stat");
  size = st.st_size;
  if (size == o->size)
    return 0;
  if (size != 0 && !(o->flags & BLKRING_OPEN_RESIZE))
    return set_error (EEXIST, "the file exists and has %" PRIu64
                      " bytes, not %" PRIu64 ": leave the size out, or "
                      "remove the file", size, o->size);
  if (ftruncate (fd, o->size) == -1)
    return set_errno_error (errno, "cannot give the file %" PRIu64 " bytes",
                            o->size);
  if (size == 0 && !(o->flags & BLKRING_OPEN_SPARSE) &&
      write_blocks (fd, o->size) == -1) {
    set_errno_error (errno, "cannot write the %" PRIu64 " bytes of the file",
                     o->size);
    /* The first error is the one to report. */
    if (ftruncate (fd, 0) == -1)
      errno = blkring_get_errno ();
    return -1;
  }
  sync_parent (name);
  return 0;
}

/* A file with the size that it should have is left alone, also in use. */
static int
make_file (int fd, const char *name, const struct stat *st,
           const struct blkring_open_options *o)
{
  int r;

  if (!S_ISREG (st->st_mode))
    return set_error (EINVAL, "a size can be given for a regular file only");
  if (o->size > INT64_MAX)
    return set_error (EINVAL, "size of %" PRIu64 " bytes is too large",
                      o->size);
  if ((uint64_t) st->st_size == o->size)
    return 0;
  if (lock_file (fd, F_WRLCK) == -1)
    return -1;
  r = set_size (fd, name, o);
  lock_file (fd, F_UNLCK);
  return r;
}

/* O_DIRECT on a file takes the sectors of the disk below: try. */
static uint32_t
direct_alignment (int fd)
{
  static char sector[512] __attribute__ ((aligned (4096)));

  return pread (fd, sector, 512, 512) == -1 && errno == EINVAL ? 4096 : 512;
}

static int
open_flags (const struct blkring_open_options *o, const struct stat *st)
{
  int flags = O_CLOEXEC;

  flags |= o->flags & BLKRING_OPEN_READ_ONLY ? O_RDONLY : O_RDWR;
  if (o->flags & BLKRING_OPEN_CREATE)
    flags |= O_CREAT;
  if (o->flags & BLKRING_OPEN_EXCLUSIVE &&
      (o->flags & BLKRING_OPEN_CREATE || (st && S_ISBLK (st->st_mode))))
    flags |= O_EXCL;
  if (o->flags & BLKRING_OPEN_DIRECT ||
      (st && S_ISBLK (st->st_mode) && !(o->flags & BLKRING_OPEN_BUFFERED)))
    flags |= O_DIRECT;
  return flags;
}

/* Whoever prints to a standard stream that is closed must not hit a ring. */
static int
open_above_standard (const char *name, int flags)
{
  int fd = open (name, flags, 0666), above;

  if (fd == -1 || fd > STDERR_FILENO)
    return fd;
  above = fcntl (fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  close (fd);
  return above;
}

static int
open_file (const char *name, const struct blkring_open_options *o,
           struct file *f)
{
  struct stat st;
  int flags;

  if (o->flags & BLKRING_OPEN_CREATE && o->flags & BLKRING_OPEN_READ_ONLY)
    return set_error (EINVAL, "a file cannot be made and be read-only");
  flags = open_flags (o, stat (name, &st) == 0 ? &st : NULL);
  /* O_NONBLOCK: to find out that it is a pipe must not wait for its other
   * end.  It means nothing for files and block devices. */
  f->fd = open_above_standard (name, flags | O_NONBLOCK);
  if (f->fd == -1)
    return set_errno_error (errno, "cannot open");
  if (fstat (f->fd, &st) == -1)
    return set_errno_error (errno, "cannot stat");
  if (!S_ISREG (st.st_mode) && !S_ISBLK (st.st_mode))
    return set_error (EINVAL, "neither a file nor a block device");
  f->block = S_ISBLK (st.st_mode);
  f->direct = (flags & O_DIRECT) != 0;
  f->read_only = (o->flags & BLKRING_OPEN_READ_ONLY) != 0;
  if (o->flags & BLKRING_OPEN_CREATE && make_file (f->fd, name, &st, o) == -1) {
    if (o->flags & BLKRING_OPEN_EXCLUSIVE)
      unlink (name);         /* it is ours */
    return -1;
  }
  if (f->direct && !f->block)
    f->alignment = direct_alignment (f->fd);
  return 0;
}

blkring_device *
open_file_device (const char *name, const struct blkring_open_options *o)
{
  struct file *f = calloc (1, sizeof *f);
  blkring_device *device;

  if (f == NULL) {
    set_errno_error (ENOMEM, "blkring_device_open");
    return NULL;
  }
  f->fd = -1;
  if (open_file (name, o, f) == -1)
    goto err;
  device = blkring_device_new (&file_ops, f);
  if (device == NULL)
    goto err;
  blkring_device_set_log (device, o->log, o->log_opaque);
  if (blkring_device_set_name (device, name) == -1) {
    blkring_device_close (device);
    return NULL;
  }
  return device;

 err:
  if (f->fd >= 0)
    close (f->fd);
  free (f);
  return NULL;
}
