/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A device behind an NBD server, through libnbd.
 *
 * All parts of a request are in flight together, on one connection.  When
 * that is lost a new one is made.  Reads are sent again then, and nobody
 * sees more of it than time.  A write is not: whether it has arrived nobody
 * knows, and meanwhile another may have taken the ring.  So it fails with
 * ESTALE, as do all others that their senders have tied to the old
 * connection; and those look at the ring before they send it again.
 *
 * Nor does a flush on the new connection answer for what was written on the
 * old one: the server may have been started anew since.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"
#include "nbd.h"
#include "open.h"
#include "uri.h"

#define DEFAULT_TIMEOUT (60 * NS_PER_SECOND)
#define DEFAULT_RECONNECT (30 * NS_PER_SECOND)
/* The slowest flow of data that is not taken for silence: bytes/s. */
#define SLOWEST 65536
#define SHORTEST_PAUSE (20 * NS_PER_MS)

static uint64_t
bytes_of (const struct blkring_part *parts, size_t nr)
{
  uint64_t sum = 0;
  size_t i;

  for (i = 0; i < nr; ++i)
    sum += parts[i].count;
  return sum;
}

static bool
changes_anything (const struct blkring_part *parts, size_t nr)
{
  size_t i;

  for (i = 0; i < nr; ++i)
    if (parts[i].kind != BLKRING_PART_READ)
      return true;
  return false;
}

/*---------------------------------------------------------------------*/

static int
answered (void *opaque, int *error)
{
  struct blkring_part *part = opaque;
  struct nbd_call *call = part->reserved;

  part->error = *error;
  call->pending--;
  /* libnbd may forget it; but not when a send fails, for libnbd 1.14 still
   * uses then what it has freed, and forgets all with the connection. */
  return *error != ENOTCONN;
}

static int64_t
send_part (struct nbd_device *n, struct blkring_part *part)
{
  const nbd_completion_callback done = { .callback = answered,
                                         .user_data = part };
  const uint32_t fua = part->flags & BLKRING_WRITE_FUA && n->can_fua
    ? LIBNBD_CMD_FLAG_FUA : 0;

  switch (part->kind) {
  case BLKRING_PART_READ:
    return nbd_aio_pread (n->nbd, part->buf, part->count, part->offset, done,
                          0);
  case BLKRING_PART_WRITE:
    return nbd_aio_pwrite (n->nbd, part->buf, part->count, part->offset,
                           done, fua);
  default:
    return nbd_aio_flush (n->nbd, done, 0);
  }
}

/* Send the parts and wait for the answers: 0, whatever they say; -1: the
 * connection was lost.  With the lock held, as is all down to submit. */
static int
exchange (struct nbd_device *n, struct nbd_call *call,
          struct blkring_part *parts, size_t nr)
{
  size_t i;
  int r;

  nbd_begin_call (n, call);
  for (i = 0; i < nr && !call->lost; ++i) {
    parts[i].error = 0;
    parts[i].reserved = call;
    call->pending++;
    if (send_part (n, &parts[i]) == -1 && !nbd_aio_is_dead (n->nbd)) {
      /* libnbd itself refuses it, and does not call back. */
      parts[i].error = nbd_get_errno () ? nbd_get_errno () : EINVAL;
      call->pending--;
    }
  }
  /* To send may be to find out that nobody is there; those who wait have had
   * an answer then, but not from the server. */
  nbd_check_dead (n);
  r = nbd_await (n, call);
  for (i = 0; r == 0 && i < nr; ++i)
    if (parts[i].error == ESHUTDOWN) {
      nbd_drop (n, "the server is being stopped");
      r = -1;
    }
  nbd_end_call (n, call);
  return r;
}

/* A write with FUA where the server knows only flush. */
static int
flush_behind (struct nbd_device *n, struct nbd_call *call,
              struct blkring_part *parts, size_t nr)
{
  struct blkring_part flush = { .kind = BLKRING_PART_FLUSH };
  bool wanted = false;
  size_t i;

  for (i = 0; i < nr; ++i)
    if (parts[i].kind == BLKRING_PART_WRITE &&
        parts[i].flags & BLKRING_WRITE_FUA && parts[i].error == 0)
      wanted = true;
  if (!wanted || n->can_fua)
    return 0;
  if (exchange (n, call, &flush, 1) == -1)
    return -1;
  for (i = 0; i < nr && flush.error; ++i)
    if (parts[i].kind == BLKRING_PART_WRITE)
      parts[i].error = flush.error;
  return 0;
}

/* Remember what a flush has still to cover.  'writes' is what it was when
 * the parts were sent. */
static void
account (struct nbd_device *n, const struct blkring_part *parts, size_t nr,
         uint64_t writes)
{
  size_t i;

  for (i = 0; i < nr; ++i)
    if (parts[i].error == 0 && parts[i].kind == BLKRING_PART_WRITE &&
        !(parts[i].flags & BLKRING_WRITE_FUA)) {
      n->unflushed = n->connection;
      n->writes++;
    }
    else if (parts[i].error == 0 && parts[i].kind == BLKRING_PART_FLUSH &&
             n->writes == writes)
      n->unflushed = 0;
}

static bool
is_flush (const struct blkring_part *parts, size_t nr)
{
  return nr == 1 && parts[0].kind == BLKRING_PART_FLUSH;
}

/* One attempt, on the connection that there is: 0; 1: the connection was
 * lost. */
static int
attempt (struct nbd_device *n, struct nbd_call *call,
         struct blkring_part *parts, size_t nr)
{
  const uint64_t writes = n->writes;

  if (is_flush (parts, nr) && !n->can_flush)
    return parts[0].error = 0;
  if (exchange (n, call, parts, nr) == -1 ||
      flush_behind (n, call, parts, nr) == -1)
    return 1;
  account (n, parts, nr, writes);
  return 0;
}

/*---------------------------------------------------------------------*/

static int
all_fail (struct blkring_part *parts, size_t nr)
{
  size_t i;

  for (i = 0; i < nr; ++i)
    parts[i].error = errno;
  return -1;
}

/* The server's answers as an error. */
static int
result (struct blkring_part *parts, size_t nr)
{
  size_t i;

  for (i = 0; i < nr; ++i) {
    if (parts[i].error == 0)
      continue;
    if (parts[i].error == EPERM && parts[i].kind == BLKRING_PART_WRITE) {
      parts[i].error = EBUSY;
      return set_error (EBUSY, "another client owns this side of the ring, "
                        "says the server");
    }
    return set_error (parts[i].error, "%s, says the server",
                      strerror (parts[i].error));
  }
  return 0;
}

/* A flush that is not tied to a connection, but follows a write that was
 * made on another one. */
static bool
comes_too_late (struct nbd_device *n, const struct blkring_part *parts,
                size_t nr, uint64_t connection)
{
  if (!is_flush (parts, nr) || connection != 0 || n->unflushed == 0 ||
      n->unflushed == n->connection)
    return false;
  n->unflushed = 0;
  return true;
}

/* A server that guards the ring may still keep our side for the connection
 * that was lost, until it notices, or hears nothing from it for long enough.
 * So what is refused soon after that is tried again, on yet another
 * connection, so that whoever sent it looks at the ring before. */
static bool
wait_for_side (struct nbd_device *n, uint64_t connection)
{
  const uint64_t lost_at = n->lost_at;
  uint64_t now = nbd_now (), until;

  if (connection <= 1 || now - lost_at >= n->reconnect)
    return false;
  until = now + max_u64 (SHORTEST_PAUSE,
                         min_u64 ((now - lost_at) / 2, NS_PER_SECOND));
  while (n->connection == connection && n->nbd && (now = nbd_now ()) < until)
    nbd_wait_changed (n, until - now);
  if (n->connection == connection && n->nbd) {
    nbd_drop (n, "the server keeps this side of the ring for another client, "
              "perhaps for the connection that was lost before");
    n->lost_at = lost_at;
  }
  return true;
}

static int
submit_locked (struct nbd_device *n, struct blkring_part *parts, size_t nr,
               uint64_t connection)
{
  const bool changes = changes_anything (parts, nr);
  struct nbd_call call = {
    .allowance = bytes_of (parts, nr) * (NS_PER_SECOND / SLOWEST),
  };
  uint64_t left = n->timeout == FOR_EVER ? FOR_EVER
    : n->timeout - min_u64 (n->timeout, n->waited);
  uint64_t part;
  bool again = false;
  int r;

  for (;;) {
    call.patience = left;
    if (nbd_be_connected (n, &call) == -1) {
      n->waited = 0;
      return again && changes ? set_in_doubt () : -1;
    }
    if (connection != 0 && connection != n->connection) {
      n->waited = n->timeout - call.patience;
      return set_error (ESTALE, "the connection to the server was lost, and "
                        "made again");
    }
    if (comes_too_late (n, parts, nr, connection))
      return set_error (EIO, "the connection to the server was lost before "
                        "what was written was flushed");
    /* Time is left to try another connection, where this one is dead and
     * nobody says so. */
    left = call.patience;
    part = left != FOR_EVER && n->reconnect && !again ? left / 2 : left;
    call.patience = part;
    if (attempt (n, &call, parts, nr) == 0) {
      n->waited = 0;
      r = result (parts, nr);
      if (r == -1 && errno == EBUSY && wait_for_side (n, connection))
        return set_error (ESTALE, "the server keeps this side of the ring for "
                          "another client");
      return r;
    }
    again = true;
    if (left != FOR_EVER)
      left -= part - call.patience;
    if (n->reconnect == 0 || left == 0) {
      n->waited = 0;
      set_error (ENOTCONN, "the connection to the server was lost: %s",
                 n->why);
      return changes ? set_in_doubt () : -1;
    }
  }
}

static int
nbd_submit (void *opaque, struct blkring_part *parts, size_t nr,
            uint64_t connection)
{
  struct nbd_device *n = opaque;
  int r;

  pthread_mutex_lock (&n->lock);
  r = submit_locked (n, parts, nr, connection);
  pthread_mutex_unlock (&n->lock);
  if (r == -1 && (errno == ENOTCONN || errno == ECONNABORTED ||
                  errno == ESTALE))
    return all_fail (parts, nr);
  return r;
}

static uint64_t
nbd_connection (void *opaque)
{
  struct nbd_device *n = opaque;
  uint64_t connection;

  pthread_mutex_lock (&n->lock);
  connection = n->connection;
  pthread_mutex_unlock (&n->lock);
  return connection;
}

static int
nbd_geometry (void *opaque, struct blkring_geometry *g)
{
  struct nbd_device *n = opaque;

  pthread_mutex_lock (&n->lock);
  *g = n->geometry;
  pthread_mutex_unlock (&n->lock);
  return 0;
}

/* The rest of the library uses submit. */
static ssize_t
nbd_one (void *opaque, struct blkring_part part)
{
  return nbd_submit (opaque, &part, 1, 0) == -1 ? -1 : (ssize_t) part.count;
}

static ssize_t
nbd_dev_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  return nbd_one (opaque, (struct blkring_part) {
      .kind = BLKRING_PART_READ, .buf = buf, .count = count,
      .offset = offset });
}

static ssize_t
nbd_dev_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
                unsigned flags)
{
  return nbd_one (opaque, (struct blkring_part) {
      .kind = BLKRING_PART_WRITE, .buf = (void *) buf, .count = count,
      .offset = offset, .flags = flags });
}

static int
nbd_dev_flush (void *opaque)
{
  return nbd_one (opaque, (struct blkring_part) {
      .kind = BLKRING_PART_FLUSH });
}

static void
free_device (struct nbd_device *n)
{
  if (n->nbd) {
    nbd_aio_disconnect (n->nbd, 0); /* without waiting for an answer */
    nbd_close (n->nbd);
  }
  if (n->wake != -1)
    close (n->wake);
  pthread_cond_destroy (&n->changed);
  pthread_mutex_destroy (&n->lock);
  free (n->uri);
  free (n->shown);
  free (n);
}

static void
nbd_dev_close (void *opaque)
{
  free_device (opaque);
}

/* A server that does not answer there mostly does not answer here either:
 * what was waited for the status counts for the call that comes next, which
 * keeps half of its time in any case. */
static int
nbd_guarded (void *opaque)
{
  struct nbd_device *n = opaque;
  const uint64_t begin = nbd_now ();
  const bool guarded = nbd_is_guarded (n);

  if (!guarded) {
    pthread_mutex_lock (&n->lock);
    n->waited = min_u64 (nbd_now () - begin, n->timeout / 2);
    pthread_mutex_unlock (&n->lock);
  }
  return guarded;
}

static const struct blkring_device_ops nbd_ops = {
  .struct_size = sizeof nbd_ops,
  .geometry = nbd_geometry,
  .pread = nbd_dev_pread,
  .pwrite = nbd_dev_pwrite,
  .flush = nbd_dev_flush,
  .close = nbd_dev_close,
  .submit = nbd_submit,
  .connection = nbd_connection,
  .guarded = nbd_guarded,
};

/*---------------------------------------------------------------------*/

static struct nbd_device *
new_device (const char *uri, const struct blkring_open_options *o)
{
  struct nbd_device *n = calloc (1, sizeof *n);
  pthread_condattr_t monotonic;

  if (n == NULL)
    return NULL;
  pthread_mutex_init (&n->lock, NULL);
  pthread_condattr_init (&monotonic);
  pthread_condattr_setclock (&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init (&n->changed, &monotonic);
  pthread_condattr_destroy (&monotonic);
  n->uri = strdup (uri);
  n->shown = uri_without_password (uri);
  n->wake = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  n->timeout = o->timeout == 0 ? DEFAULT_TIMEOUT
    : o->timeout == BLKRING_TIMEOUT_NONE ? FOR_EVER : o->timeout * NS_PER_MS;
  n->reconnect = o->reconnect == 0 ? DEFAULT_RECONNECT
    : o->reconnect == BLKRING_RECONNECT_OFF ? 0 : o->reconnect * NS_PER_MS;
  n->read_only = o->flags & BLKRING_OPEN_READ_ONLY;
  n->log = o->log;
  n->log_opaque = o->log_opaque;
  if (n->uri && n->shown && n->wake != -1)
    return n;
  free_device (n);
  return NULL;
}

static int
check_options (const struct nbd_device *n,
               const struct blkring_open_options *o)
{
  if (o->flags & (BLKRING_OPEN_DIRECT | BLKRING_OPEN_BUFFERED))
    return set_error (EINVAL, "whether O_DIRECT is used is the server's "
                      "business");
  if (o->flags & BLKRING_OPEN_CREATE && o->size != n->geometry.size)
    return set_error (EINVAL, "the export has %" PRIu64 " bytes, not %"
                      PRIu64 ": leave the size out", n->geometry.size,
                      o->size);
  return 0;
}

blkring_device *
open_nbd (const char *uri, const struct blkring_open_options *o)
{
  struct nbd_device *n = new_device (uri, o);
  blkring_device *device;

  if (n == NULL) {
    set_errno_error (errno, "blkring_device_open");
    return NULL;
  }
  if (nbd_first_connection (n) == -1 || check_options (n, o) == -1 ||
      (device = blkring_device_new (&nbd_ops, n)) == NULL) {
    free_device (n);
    return NULL;
  }
  device->explains = true;
  blkring_device_set_log (device, o->log, o->log_opaque);
  n->device = device;
  if (blkring_device_set_name (device, n->shown) == -1) {
    blkring_device_close (device);
    return NULL;
  }
  return device;
}
