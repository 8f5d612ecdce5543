/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: beanstalkd with a log that is synced at each write (-b -f0),
 * by its plain protocol on a unix socket.
 *
 * It has no commit of several jobs, and syncs for each: 64 are sent in one
 * request, and their replies read after that.  A take is a reserve, and a
 * delete.
 */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "peers.h"

#define SOCKET "beanstalkd.sock"
#define LINE 128

struct handle {
  int fd;
  FILE *in;
  char *out;                 /* requests that are not sent yet */
  size_t filled;
  char *job;
  uint64_t ids[BATCH];
};

static struct server server;

static int
try_connect (void)
{
  const struct sockaddr_un address = {
    .sun_family = AF_UNIX, .sun_path = SOCKET,
  };
  const int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd == -1)
    fail_errno ("socket");
  if (connect (fd, (const struct sockaddr *) &address, sizeof address) == 0)
    return fd;
  close (fd);
  return -1;
}

static bool
is_ready (void)
{
  const int fd = try_connect ();

  if (fd == -1)
    return false;
  close (fd);
  return true;
}

static void
start (uint64_t size)
{
  char *argv[] = {
    "beanstalkd", "-b", ".", "-f0", "-l", "unix:" SOCKET, NULL,
  };

  (void) size;
  server_start (&server, argv);
  server_wait (&server, is_ready);
}

static void
stop (void)
{
  server_stop (&server);
}

static void *
open_queue (enum role role)
{
  struct handle *h = allocate (sizeof *h);

  (void) role;
  h->fd = try_connect ();
  h->in = h->fd == -1 ? NULL : fdopen (h->fd, "r");
  if (h->in == NULL)
    fail_errno ("beanstalkd: " SOCKET);
  h->out = allocate (BATCH * (LARGEST_ITEM + LINE));
  h->filled = 0;
  h->job = allocate (LARGEST_ITEM + 2);
  return h;
}

static void __attribute__ ((format (printf, 2, 3)))
add (struct handle *h, const char *fmt, ...)
{
  va_list args;

  va_start (args, fmt);
  h->filled += vsnprintf (h->out + h->filled, LINE, fmt, args);
  va_end (args);
}

static void
send_requests (struct handle *h)
{
  size_t done;
  ssize_t n;

  for (done = 0; done < h->filled; done += n) {
    n = write (h->fd, h->out + done, h->filled - done);
    if (n == -1)
      fail_errno ("beanstalkd: write");
  }
  h->filled = 0;
}

static void
get_line (struct handle *h, char line[LINE])
{
  if (fgets (line, LINE, h->in) == NULL)
    fail ("beanstalkd: the connection ended");
}

static void
put (void *handle, const struct iovec *items, size_t nr)
{
  struct handle *h = handle;
  char line[LINE];
  size_t i;

  for (i = 0; i < nr; ++i) {
    add (h, "put 0 0 600 %zu\r\n", items[i].iov_len);
    memcpy (h->out + h->filled, items[i].iov_base, items[i].iov_len);
    h->filled += items[i].iov_len;
    add (h, "\r\n");
  }
  send_requests (h);
  for (i = 0; i < nr; ++i) {
    get_line (h, line);
    if (strncmp (line, "INSERTED ", 9) != 0)
      fail ("beanstalkd: put: %s", line);
  }
}

/* Returns false when there was none. */
static bool
get_job (struct handle *h, uint64_t *id, receive_fn receive, void *opaque)
{
  char line[LINE];
  size_t length;

  get_line (h, line);
  if (strcmp (line, "TIMED_OUT\r\n") == 0)
    return false;
  if (sscanf (line, "RESERVED %lu %zu", id, &length) != 2 ||
      length > LARGEST_ITEM)
    fail ("beanstalkd: reserve: %s", line);
  if (fread (h->job, 1, length + 2, h->in) != length + 2)
    fail ("beanstalkd: the connection ended in a job");
  receive (opaque, h->job, length);
  return true;
}

static void
delete_jobs (struct handle *h, size_t nr)
{
  char line[LINE];
  size_t i;

  for (i = 0; i < nr; ++i)
    add (h, "delete %lu\r\n", h->ids[i]);
  send_requests (h);
  for (i = 0; i < nr; ++i) {
    get_line (h, line);
    if (strcmp (line, "DELETED\r\n") != 0)
      fail ("beanstalkd: delete: %s", line);
  }
}

static size_t
take (void *handle, size_t nr, bool wait, receive_fn receive, void *opaque)
{
  struct handle *h = handle;
  size_t n = 0, i;

  for (i = 0; i < nr; ++i)
    add (h, wait && i == 0 ? "reserve\r\n" : "reserve-with-timeout 0\r\n");
  send_requests (h);
  for (i = 0; i < nr; ++i)
    if (get_job (h, &h->ids[n], receive, opaque))
      n++;
  delete_jobs (h, n);
  return n;
}

static void
close_queue (void *handle)
{
  struct handle *h = handle;

  fclose (h->in);
  free (h->out);
  free (h->job);
  free (h);
}

const struct peer peer_beanstalkd = {
  .name = "beanstalkd",
  .how = "beanstalkd -b DIR -f0, unix socket",
  .program = "beanstalkd",
  .package = "beanstalkd",
  .waits = "reserve",
  .no_batch = true,
  .start = start,
  .stop = stop,
  .open = open_queue,
  .put = put,
  .take = take,
  .close = close_queue,
};
