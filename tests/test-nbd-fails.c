/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The NBD client when libnbd, or the system under it, fails where it hardly
 * ever does, by ld's --wrap: a connection is refused with a reason, or lost and
 * made again.
 */

#include <config.h>

#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "blkring.h"
#include "nbd-server.h"

enum call { NONE, CREATE, CALLBACK, INITIALIZE, SIZE, POLL, SOCKET };
static enum call failing;
static bool says_nothing;    /* libnbd, about why */

extern int __real_poll (struct pollfd *fds, nfds_t n, int timeout);
extern int __real_ppoll (struct pollfd *fds, nfds_t n,
                         const struct timespec *timeout, const void *mask);
extern struct nbd_handle *__real_nbd_create (void);
extern int64_t __real_nbd_get_size (struct nbd_handle *h);
extern int __real_nbd_set_debug_callback (struct nbd_handle *h,
                                          nbd_debug_callback callback);
extern int __real_nbd_set_pread_initialize (struct nbd_handle *h, bool on);
extern const char *__real_nbd_get_error (void);
extern int __wrap_poll (struct pollfd *fds, nfds_t n, int timeout);
extern int __wrap_ppoll (struct pollfd *fds, nfds_t n,
                         const struct timespec *timeout, const void *mask);
extern struct nbd_handle *__wrap_nbd_create (void);
extern int64_t __wrap_nbd_get_size (struct nbd_handle *h);
extern int __wrap_nbd_set_debug_callback (struct nbd_handle *h,
                                          nbd_debug_callback callback);
extern int __wrap_nbd_set_pread_initialize (struct nbd_handle *h, bool on);
extern const char *__wrap_nbd_get_error (void);

int
__wrap_poll (struct pollfd *fds, nfds_t n, int timeout)
{
  if (failing != POLL)
    return __real_poll (fds, n, timeout);
  errno = ENOMEM;
  return -1;
}

/* Once, the socket is no good. */
int
__wrap_ppoll (struct pollfd *fds, nfds_t n, const struct timespec *timeout,
              const void *mask)
{
  if (failing != SOCKET)
    return __real_ppoll (fds, n, timeout, mask);
  failing = NONE;
  fds[0].revents = POLLNVAL;
  fds[1].revents = 0;
  return 1;
}

struct nbd_handle *
__wrap_nbd_create (void)
{
  return failing == CREATE ? NULL : __real_nbd_create ();
}

int64_t
__wrap_nbd_get_size (struct nbd_handle *h)
{
  return failing == SIZE ? -1 : __real_nbd_get_size (h);
}

int
__wrap_nbd_set_debug_callback (struct nbd_handle *h,
                               nbd_debug_callback callback)
{
  return failing == CALLBACK ? -1
    : __real_nbd_set_debug_callback (h, callback);
}

int
__wrap_nbd_set_pread_initialize (struct nbd_handle *h, bool on)
{
  return failing == INITIALIZE ? -1 : __real_nbd_set_pread_initialize (h, on);
}

const char *
__wrap_nbd_get_error (void)
{
  return says_nothing ? NULL : __real_nbd_get_error ();
}

/*---------------------------------------------------------------------*/

static struct nbd_server server;
static char dir[] = "/tmp/blkring-nbd-XXXXXX";

static int
setup (void **state)
{
  (void) state;
  strcpy (dir + strlen (dir) - 6, "XXXXXX");
  if (mkdtemp (dir) == NULL)
    return -1;
  memset (&server, 0, sizeof server);
  server.dir = dir;
  server.size = 65536;
  server.flags = SERVER_FLUSH | SERVER_FUA | SERVER_MULTI_CONN;
  server_start (&server);
  return 0;
}

static int
teardown (void **state)
{
  (void) state;
  failing = NONE;
  says_nothing = false;
  unsetenv ("LIBNBD_DEBUG");
  server_stop (&server);
  return rmdir (dir);
}

static blkring_device *
open_it (void)
{
  const struct blkring_open_options o = { .timeout = 20000 };

  return blkring_device_open (server.uri, &o);
}

static void
assert_not_opened (const char *message)
{
  assert_null (open_it ());
  assert_int_not_equal (errno, 0);
  assert_int_equal (blkring_get_errno (), errno);
  if (strstr (blkring_get_error (), message) == NULL)
    fail_msg ("no \"%s\" in \"%s\"", message, blkring_get_error ());
}

static void
connecting_fails_with_a_reason (void **state)
{
  blkring_device *device;
  enum call call;

  (void) state;
  for (call = CREATE; call <= SIZE; ++call) {
    failing = call;
    if (call == CALLBACK)    /* which is set only then */
      setenv ("LIBNBD_DEBUG", "1", 1);
    assert_not_opened ("cannot connect: ");
    says_nothing = true;
    assert_not_opened ("it is not known why");
    says_nothing = false;
    unsetenv ("LIBNBD_DEBUG");
  }
  failing = POLL;
  assert_not_opened ("poll: Cannot allocate memory");
  assert_int_equal (errno, ENOMEM);
  failing = NONE;
  device = open_it ();
  assert_non_null (device);
  blkring_device_close (device);
}

static void
a_socket_that_fails_is_a_lost_connection (void **state)
{
  blkring_device *device = open_it ();
  char bytes[512];

  (void) state;
  assert_non_null (device);
  server.content[3] = 'x';
  failing = SOCKET;
  assert_int_equal (blkring_device_read (device, bytes, 512, 0), 0);
  assert_int_equal (failing, NONE);
  assert_int_equal (bytes[3], 'x');
  assert_int_equal (server.connections, 2);
  failing = SOCKET;
  assert_int_equal (blkring_device_write (device, bytes, 512, 512), 0);
  assert_int_equal (server.connections, 3);
  assert_int_equal (server.content[512 + 3], 'x');
  blkring_device_close (device);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (connecting_fails_with_a_reason, setup,
                                     teardown),
    cmocka_unit_test_setup_teardown
      (a_socket_that_fails_is_a_lost_connection, setup, teardown),
  };

  return cmocka_run_group_tests_name ("libnbd that fails", tests, NULL,
                                      NULL);
}
