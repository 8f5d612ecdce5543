/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Calls of the system that hardly ever fail, by ld's --wrap: random numbers,
 * names of hosts and processes, threads, locks, block devices, libblkid.  What
 * was asked for fails with a reason, and leaves nothing behind; or it goes on,
 * and takes no more for granted than it knows.
 *
 * Reads, writes, flushes and allocations are in tests/faults/.
 */

#include <config.h>

#include <blkid.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format2-fixture.h"

/* The call that fails, with this errno. */
enum call {
  NONE, GETRANDOM, GETHOSTNAME, PTHREAD_CREATE, SETLK, PROBE_NEW,
  PROBE_ERROR, PROBE_SEVERAL, MEMFD, OPEN, GETLK,
};
static enum call failing;
static const char *unknown_file; /* for OPEN */
static bool as_block_device; /* any file is one, for fstat … */
static bool block_size_known; /* … and has a size */
static bool disk_is_full;    /* pwrite fails, and then ftruncate does */
static void (*before_setlk) (void);

extern ssize_t __real_getrandom (void *p, size_t n, unsigned flags);
extern int __real_gethostname (char *name, size_t n);
extern int __real_pthread_create (pthread_t *t, const pthread_attr_t *a,
                                  void *(*f) (void *), void *arg);
extern int __real_fcntl (int fd, int op, void *arg);
extern blkid_probe __real_blkid_new_probe (void);
extern int __real_blkid_do_safeprobe (blkid_probe p);
extern int __real_memfd_create (const char *name, unsigned flags);
extern int __real_open (const char *name, int flags, mode_t mode);
extern int __real_fstat (int fd, struct stat *st);
extern int __real_ioctl (int fd, unsigned long op, void *arg);
extern ssize_t __real_pwrite (int fd, const void *p, size_t n, off_t at);
extern int __real_ftruncate (int fd, off_t size);
extern ssize_t __wrap_getrandom (void *p, size_t n, unsigned flags);
extern int __wrap_gethostname (char *name, size_t n);
extern int __wrap_pthread_create (pthread_t *t, const pthread_attr_t *a,
                                  void *(*f) (void *), void *arg);
extern int __wrap_fcntl (int fd, int op, void *arg);
extern blkid_probe __wrap_blkid_new_probe (void);
extern int __wrap_blkid_do_safeprobe (blkid_probe p);
extern int __wrap_memfd_create (const char *name, unsigned flags);
extern int __wrap_open (const char *name, int flags, mode_t mode);
extern int __wrap_fstat (int fd, struct stat *st);
extern int __wrap_ioctl (int fd, unsigned long op, void *arg);
extern ssize_t __wrap_pwrite (int fd, const void *p, size_t n, off_t at);
extern int __wrap_ftruncate (int fd, off_t size);

static int
fail_with (int error)
{
  errno = error;
  return -1;
}

ssize_t
__wrap_getrandom (void *p, size_t n, unsigned flags)
{
  return failing == GETRANDOM ? fail_with (ENOSYS)
    : __real_getrandom (p, n, flags);
}

int
__wrap_gethostname (char *name, size_t n)
{
  return failing == GETHOSTNAME ? fail_with (ENAMETOOLONG)
    : __real_gethostname (name, n);
}

int
__wrap_pthread_create (pthread_t *t, const pthread_attr_t *a,
                       void *(*f) (void *), void *arg)
{
  return failing == PTHREAD_CREATE ? EAGAIN
    : __real_pthread_create (t, a, f, arg);
}

int
__wrap_fcntl (int fd, int op, void *arg)
{
  if ((op == F_OFD_SETLK && failing == SETLK) ||
      (op == F_OFD_GETLK && failing == GETLK))
    return fail_with (ENOLCK);
  if (op == F_OFD_SETLK && before_setlk)
    before_setlk ();
  return __real_fcntl (fd, op, arg);
}

blkid_probe
__wrap_blkid_new_probe (void)
{
  return failing == PROBE_NEW ? NULL : __real_blkid_new_probe ();
}

int
__wrap_blkid_do_safeprobe (blkid_probe p)
{
  return failing == PROBE_ERROR ? -1 : failing == PROBE_SEVERAL ? -2
    : __real_blkid_do_safeprobe (p);
}

int
__wrap_memfd_create (const char *name, unsigned flags)
{
  return failing == MEMFD ? fail_with (EMFILE)
    : __real_memfd_create (name, flags);
}

int
__wrap_open (const char *name, int flags, mode_t mode)
{
  return failing == OPEN && strcmp (name, unknown_file) == 0
    ? fail_with (ENOENT) : __real_open (name, flags, mode);
}

int
__wrap_fstat (int fd, struct stat *st)
{
  const int r = __real_fstat (fd, st);

  if (as_block_device)
    st->st_mode = (st->st_mode & ~S_IFMT) | S_IFBLK;
  return r;
}

int
__wrap_ioctl (int fd, unsigned long op, void *arg)
{
  struct stat st;

  if (!block_size_known || __real_fstat (fd, &st) == -1)
    return __real_ioctl (fd, op, arg);
  if (op == BLKGETSIZE64)
    *(uint64_t *) arg = st.st_size;
  else
    *(int *) arg = 512;
  return 0;
}

ssize_t
__wrap_pwrite (int fd, const void *p, size_t n, off_t at)
{
  return disk_is_full ? fail_with (ENOSPC) : __real_pwrite (fd, p, n, at);
}

int
__wrap_ftruncate (int fd, off_t size)
{
  return disk_is_full && size == 0 ? fail_with (EIO)
    : __real_ftruncate (fd, size);
}

/*---------------------------------------------------------------------*/

static char path[64];

static int
new_path (void **state)
{
  int fd;

  (void) state;
  strcpy (path, "/tmp/blkring-system-XXXXXX");
  fd = mkstemp (path);
  if (fd == -1)
    return -1;
  close (fd);
  unlink (path);
  return 0;
}

static int
remove_path (void **state)
{
  (void) state;
  failing = NONE;
  as_block_device = block_size_known = disk_is_full = false;
  before_setlk = NULL;
  unlink (path);
  return 0;
}

#define ON_A_FILE(function) \
  cmocka_unit_test_setup_teardown (function, new_path, remove_path)

static blkring_device *
make_file (void)
{
  const struct blkring_open_options o = {
    .flags = BLKRING_OPEN_CREATE, .size = 65536,
  };

  return blkring_device_open (path, &o);
}

static off_t
file_size (void)
{
  struct stat st;

  return stat (path, &st) == 0 ? st.st_size : -1;
}

/*---------------------------------------------------------------------*/

static void
ring_has_no_uuid (void **state)
{
  struct record_device *rd = new_blank (&(struct shape) { 0 });

  (void) state;
  failing = GETRANDOM;
  assert_fails (ENOSYS, blkring_create (rd->device, NULL));
  assert_message ("uuid");
  failing = NONE;
  assert_no_handle (EMEDIUMTYPE, blkring_producer_attach (rd->device, NULL));
  assert_ok (blkring_create (rd->device, NULL));
  record_device_free (rd);
}

static void
host_has_no_name (void **state)
{
  struct record_device *rd = new_ring (&(struct shape) { 0 });
  struct blkring_info info;
  blkring_producer *p;

  (void) state;
  failing = GETHOSTNAME;
  p = attach_producer (rd);
  failing = NONE;
  assert_ok (blkring_inspect (rd->device, NULL, &info));
  assert_string_equal (info.producer_side.host, "unknown");
  blkring_producer_free (p);
  record_device_free (rd);
}

/* Who it was cannot be told then: it counts as alive. */
static void
boot_is_not_known (void **state)
{
  const struct f2_identity dead = {
    .pid = 1 << 30, .start_time = 1, .boot_id = { 1 }, .machine_id = { 2 },
    .host = "here",
  };
  struct f2_identity me;

  (void) state;
  f2_identify (&me);
  me.pid = dead.pid;
  assert_true (f2_is_dead (&me, true));
  failing = OPEN;
  unknown_file = "/proc/sys/kernel/random/boot_id";
  assert_false (f2_is_dead (&me, true));
  assert_false (f2_is_dead (&dead, true));
  f2_identify (&me);
  assert_int_equal (me.boot_id[0] | me.boot_id[5] | me.boot_id[15], 0);
}

static int
perform_nothing (const struct blkring_item *items, size_t nr, void *opaque)
{
  (void) items;
  (void) nr;
  (void) opaque;
  return 0;
}

static void
journal_has_no_thread (void **state)
{
  struct record_device *rd = new_ring (&(struct shape) { 0 });
  blkring_producer *p;

  (void) state;
  failing = PTHREAD_CREATE;
  assert_no_handle (EAGAIN, blkring_journal_start (rd->device, NULL,
                                                   perform_nothing, NULL));
  assert_message ("thread");
  failing = NONE;
  p = attach_producer (rd);
  blkring_producer_free (p);
  record_device_free (rd);
}

/*---------------------------------------------------------------------*/

static void
nobody_looks_at_the_device (void **state)
{
  static const struct {
    enum call call;
    int error;
    const char *message;
  } cases[] = {
    { PROBE_NEW, EIO, "libblkid cannot look" },
    { PROBE_ERROR, EIO, "libblkid cannot look" },
    { PROBE_SEVERAL, EEXIST, "several signatures" },
    { MEMFD, EMFILE, "cannot make a copy" },
  };
  struct record_device *rd = new_blank (&(struct shape) { 0 });
  size_t i;

  (void) state;
  for (i = 0; i < LENGTH (cases); ++i) {
    failing = cases[i].call;
    assert_fails (cases[i].error, blkring_create (rd->device, NULL));
    assert_message (cases[i].message);
    assert_int_equal (rd->writes, 0);
  }
  failing = NONE;
  assert_ok (blkring_create (rd->device, NULL));
  record_device_free (rd);
}

/*---------------------------------------------------------------------*/

static void
file_cannot_be_locked (void **state)
{
  (void) state;
  failing = SETLK;
  assert_no_handle (ENOLCK, make_file ());
  assert_message ("cannot lock the file");
  assert_int_equal (file_size (), 0);
}

static void
grow_to_the_size (void)
{
  assert_int_equal (truncate (path, 65536), 0);
}

static void
shrink_to_less (void)
{
  assert_int_equal (truncate (path, 4096), 0);
}

/* Somebody else made it between the look and the lock. */
static void
another_makes_the_file (void **state)
{
  blkring_device *device;

  (void) state;
  before_setlk = grow_to_the_size;
  disk_is_full = true;       /* nothing is written */
  device = make_file ();
  assert_non_null (device);
  blkring_device_close (device);
  unlink (path);
  before_setlk = shrink_to_less;
  assert_no_handle (EEXIST, make_file ());
  assert_message ("4096 bytes, not 65536");
}

static void
full_disk_is_the_reason (void **state)
{
  (void) state;
  disk_is_full = true;
  assert_no_handle (ENOSPC, make_file ());
  assert_message ("cannot write the 65536 bytes");
}

static void
block_device_does_not_tell_its_size (void **state)
{
  blkring_device *device = make_file ();

  (void) state;
  assert_non_null (device);
  blkring_device_close (device);
  as_block_device = true;    /* which has no size for the system */
  assert_no_handle (ENOTTY, blkring_device_open (path, NULL));
  assert_message ("device's size");
}

/* Whether a consumer is there cannot be told then. */
static void
block_device_does_not_tell_its_locks (void **state)
{
  const struct blkring_create_options create = { .format = 1 };
  const struct blkring_attach_options observer = {
    .flags = BLKRING_ATTACH_OBSERVER,
  };
  blkring_device *device = make_file (), *again;
  blkring_consumer *c, *o;

  (void) state;
  assert_non_null (device);
  blkring_device_close (device);
  as_block_device = block_size_known = true;
  device = blkring_device_open (path, NULL);
  again = blkring_device_open (path, NULL);
  assert_non_null (device);
  assert_non_null (again);
  assert_ok (blkring_create (device, &create));
  c = blkring_consumer_attach (device, NULL);
  o = blkring_consumer_attach (again, &observer);
  assert_non_null (c);
  assert_non_null (o);
  failing = GETLK;
  assert_fails (ENOLCK, blkring_consumer_suspend (o));
  assert_message ("cannot test");
  failing = NONE;
  assert_ok (blkring_consumer_suspend (o));
  blkring_consumer_free (o);
  blkring_consumer_free (c);
  blkring_device_close (again);
  blkring_device_close (device);
}

/* Whoever prints to a standard stream that is closed must not hit a ring. */
static void
standard_streams_are_left_alone (void **state)
{
  blkring_device *device = make_file ();
  int in = dup (STDIN_FILENO);

  (void) state;
  assert_non_null (device);
  blkring_device_close (device);
  close (STDIN_FILENO);
  device = blkring_device_open (path, NULL);
  assert_int_equal (__real_fcntl (STDIN_FILENO, F_GETFD, NULL), -1);
  assert_int_equal (dup2 (in, STDIN_FILENO), STDIN_FILENO);
  close (in);
  assert_non_null (device);
  assert_ok (blkring_create (device, NULL));
  blkring_device_close (device);
}

static void
impossible_options_make_no_file (void **state)
{
  struct blkring_open_options o = {
    .flags = BLKRING_OPEN_CREATE, .size = UINT64_C (1) << 63,
  };

  (void) state;
  assert_no_handle (EINVAL, blkring_device_open (path, &o));
  assert_message ("too large");
  unlink (path);
  o.size = 65536;
  o.flags |= BLKRING_OPEN_READ_ONLY;
  assert_no_handle (EINVAL, blkring_device_open (path, &o));
  assert_message ("read-only");
  assert_int_equal (file_size (), -1);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    ON_A_FILE (ring_has_no_uuid),
    ON_A_FILE (host_has_no_name),
    ON_A_FILE (boot_is_not_known),
    ON_A_FILE (journal_has_no_thread),
    ON_A_FILE (nobody_looks_at_the_device),
    ON_A_FILE (file_cannot_be_locked),
    ON_A_FILE (another_makes_the_file),
    ON_A_FILE (full_disk_is_the_reason),
    ON_A_FILE (block_device_does_not_tell_its_size),
    ON_A_FILE (block_device_does_not_tell_its_locks),
    ON_A_FILE (standard_streams_are_left_alone),
    ON_A_FILE (impossible_options_make_no_file),
  };

  return cmocka_run_group_tests_name ("calls of the system", tests, NULL,
                                      NULL);
}
