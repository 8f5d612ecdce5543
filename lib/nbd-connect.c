/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The NBD client: making the connection, and making it again.
 *
 * An attempt is one libnbd handle: it is driven without the lock, and joins
 * the device when the server has shown the export.  One thread tries, with
 * growing pauses; the others wait for it.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "device.h"
#include "nbd.h"

/* Without a word of the server's: what it is safest to assume. */
#define DEFAULT_MINIMUM 512
#define DEFAULT_MAXIMUM (UINT32_C (32) << 20)
#define LARGEST_REQUEST (UINT32_C (64) << 20) /* libnbd's own limit */
#define FIRST_PAUSE (10 * NS_PER_MS)
#define LONGEST_PAUSE NS_PER_SECOND

/* An attempt, and what it has found out. */
struct attempt {
  struct nbd_handle *nbd;
  struct blkring_geometry geometry;
  bool can_fua, can_flush, multi_conn;
  bool silent;               /* it ended because nothing came */
  int err;
  char why[ERROR_SIZE];
};

void
nbd_log (const struct nbd_device *n, enum blkring_log_level level,
         const char *fmt, ...)
{
  char text[ERROR_SIZE];
  va_list args;

  va_start (args, fmt);
  vsnprintf (text, sizeof text, fmt, args);
  va_end (args);
  if (n->device)
    device_log (n->device, level, "%s", text);
  else if (n->log)
    n->log (n->log_opaque, level, text);
}

/* What libnbd says in its own words, in a user's. */
static const char *
hint (const char *error)
{
  static const struct {
    const char *words, *hint;
  } hints[] = {
    { "server requires TLS", "the server wants TLS, as nbds:// asks for it" },
    { "server refused TLS", "the server has no TLS, as nbd:// goes without" },
    { "gnutls", "TLS has failed, perhaps for a wrong key or certificate" },
  };
  size_t i;

  for (i = 0; i < sizeof hints / sizeof hints[0]; ++i)
    if (strstr (error, hints[i].words))
      return hints[i].hint;
  return NULL;
}

void
nbd_last_error (const struct nbd_device *n, char *text, size_t size)
{
  const char *error = nbd_get_error (), *uri, *words;

  if (error == NULL)
    error = "it is not known why";
  /* Which of its functions failed is of no use. */
  if (strncmp (error, "nbd_", 4) == 0 && strstr (error, ": "))
    error = strstr (error, ": ") + 2;
  words = hint (error);
  uri = strstr (error, n->uri);
  if (uri)
    snprintf (text, size, "%.*s%s%s", (int) (uri - error), error, n->shown,
              uri + strlen (n->uri));
  else
    snprintf (text, size, "%s%s%s", words ? words : "", words ? ": " : "",
              error);
}

/* LIBNBD_DEBUG=1 asks for these. */
static int
debug_message (void *opaque, const char *context, const char *message)
{
  const struct nbd_device *n = opaque;

  if (n->device ? n->device->log != NULL : n->log != NULL)
    nbd_log (n, BLKRING_LOG_DEBUG, "libnbd: %s: %s", context, message);
  else
    fprintf (stderr, "libnbd: debug: %s: %s\n", context, message);
  return 0;
}

static int
failed (const struct nbd_device *n, struct attempt *a)
{
  a->err = nbd_get_errno ();
  nbd_last_error (n, a->why, sizeof a->why);
  return -1;
}

static int
begin (struct nbd_device *n, struct attempt *a)
{
  a->nbd = nbd_create ();
  if (a->nbd == NULL)
    return failed (n, a);
  if (nbd_get_debug (a->nbd) == 1 &&
      nbd_set_debug_callback (a->nbd, (nbd_debug_callback) {
          .callback = debug_message, .user_data = n }) == -1)
    return failed (n, a);
  if (nbd_set_uri_allow_local_file (a->nbd, true) == -1 ||
      nbd_set_pread_initialize (a->nbd, false) == -1)
    return failed (n, a);
  if (nbd_aio_connect_uri (a->nbd, n->uri) == -1)
    return failed (n, a);
  return 0;
}

/* Wait for the socket: 1; 0 at the end of the time; -1. */
static int
await_socket (struct attempt *a, uint64_t until, short *events)
{
  const unsigned direction = nbd_aio_get_direction (a->nbd);
  struct pollfd fd = {
    .fd = nbd_aio_get_fd (a->nbd),
    .events = (direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
              (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0),
  };
  uint64_t now, ms;
  int r;

  do {
    now = nbd_now ();
    if (now >= until)
      return 0;
    ms = (until - now + NS_PER_MS - 1) / NS_PER_MS;
    r = poll (&fd, 1, min_u64 (ms, 1000000));
  } while (r == 0 || (r == -1 && errno == EINTR));
  *events = fd.revents;
  return r;
}

static int
handshake (struct nbd_device *n, struct attempt *a, uint64_t until)
{
  short events = 0;
  int r;

  while (nbd_aio_is_connecting (a->nbd)) {
    r = await_socket (a, until, &events);
    if (r == 0) {
      a->silent = true;
      a->err = ETIMEDOUT;
      snprintf (a->why, sizeof a->why, "the server does not answer");
      return -1;
    }
    if (r == -1) {
      a->err = errno;
      snprintf (a->why, sizeof a->why, "poll: %s", strerror (errno));
      return -1;
    }
    if (nbd_aio_get_direction (a->nbd) & LIBNBD_AIO_DIRECTION_READ &&
        events & (POLLIN | POLLHUP | POLLERR))
      r = nbd_aio_notify_read (a->nbd);
    else
      r = nbd_aio_notify_write (a->nbd);
    if (r == -1)
      return failed (n, a);
  }
  if (nbd_aio_is_ready (a->nbd))
    return 0;
  a->err = ECONNRESET;
  snprintf (a->why, sizeof a->why, "the server has closed the connection");
  return -1;
}

/* What the server says about the export. */
static int
look_at_export (struct nbd_device *n, struct attempt *a)
{
  struct blkring_geometry *g = &a->geometry;
  const int64_t size = nbd_get_size (a->nbd);
  int64_t minimum = nbd_get_block_size (a->nbd, LIBNBD_SIZE_MINIMUM);
  int64_t maximum = nbd_get_block_size (a->nbd, LIBNBD_SIZE_MAXIMUM);
  const int read_only = nbd_is_read_only (a->nbd);
  const int fua = nbd_can_fua (a->nbd), flush = nbd_can_flush (a->nbd);

  if (size == -1 || minimum == -1 || maximum == -1 || read_only == -1 ||
      fua == -1 || flush == -1)
    return failed (n, a);
  /* Such a size comes from a server that takes requests of any. */
  if (minimum == 0)
    minimum = size % DEFAULT_MINIMUM == 0 ? DEFAULT_MINIMUM : 1;
  if (maximum == 0)
    maximum = DEFAULT_MAXIMUM;
  maximum = min_u64 (maximum, LARGEST_REQUEST);
  *g = (struct blkring_geometry) {
    .size = round_down (size, minimum),
    .sector_size = minimum,
    .memory_alignment = 1,
    .max_request = max_u64 (round_down (maximum, minimum), minimum),
    .flags = BLKRING_DEVICE_SHARED,
  };
  a->can_fua = fua;
  a->can_flush = flush;
  a->multi_conn = nbd_can_multi_conn (a->nbd) == 1;
  if (n->read_only || read_only)
    g->flags |= BLKRING_DEVICE_READ_ONLY;
  g->flags |= fua || flush ? BLKRING_DEVICE_FUA : BLKRING_DEVICE_NO_FLUSH;
  return 0;
}

/* It must be what it was: sizes were calculated with that. */
static int
compare_export (const struct nbd_device *n, struct attempt *a)
{
  const struct blkring_geometry *was = &n->geometry, *is = &a->geometry;

  if (n->connection == 0 ||
      (is->size >= was->size && is->sector_size <= was->sector_size &&
       is->max_request >= was->max_request && is->flags == was->flags))
    return 0;
  a->err = EPROTO;
  snprintf (a->why, sizeof a->why, "the server has come back with another "
            "export: of %" PRIu64 " bytes, blocks of %" PRIu32 " and requests "
            "of at most %" PRIu32 " bytes, flags %#x; it was %" PRIu64 ", %"
            PRIu32 ", %" PRIu32 ", %#x", is->size, is->sector_size,
            is->max_request, is->flags, was->size, was->sector_size,
            was->max_request, was->flags);
  return -1;
}

static int
try_once (struct nbd_device *n, struct attempt *a, uint64_t ns)
{
  const uint64_t now = nbd_now ();
  const uint64_t until = ns > FOR_EVER - now ? FOR_EVER : now + ns;

  memset (a, 0, sizeof *a);
  if (begin (n, a) == 0 && handshake (n, a, until) == 0 &&
      look_at_export (n, a) == 0 && compare_export (n, a) == 0)
    return 0;
  if (a->nbd)
    nbd_close (a->nbd);
  return -1;
}

/* The lock is held, or not needed yet. */
static void
adopt (struct nbd_device *n, const struct attempt *a)
{
  n->nbd = a->nbd;
  n->connection++;
  n->geometry = a->geometry;
  n->can_fua = a->can_fua;
  n->can_flush = a->can_flush;
  nbd_log (n, n->connection > 1 ? BLKRING_LOG_INFO : BLKRING_LOG_DEBUG,
           "connected: %" PRIu64 " bytes, blocks of %" PRIu32 ", requests of "
           "at most %" PRIu32 " bytes%s%s%s%s", a->geometry.size,
           a->geometry.sector_size, a->geometry.max_request,
           a->can_fua ? ", FUA" : "", a->can_flush ? ", flush" : "",
           a->multi_conn ? ", multi-conn" : "",
           a->geometry.flags & BLKRING_DEVICE_READ_ONLY ? ", read-only" : "");
  if (n->connection > 1 || a->geometry.flags & BLKRING_DEVICE_READ_ONLY)
    return;
  if (!a->multi_conn)
    nbd_log (n, BLKRING_LOG_INFO, "warning: the server does not say that a "
             "flush covers what came by other connections (multi-conn): what "
             "the other side has written may be lost in a crash although "
             "this side relies on it");
  if (a->can_fua && !a->can_flush)
    nbd_log (n, BLKRING_LOG_INFO, "warning: the server cannot flush: what "
             "others have written without FUA is not made durable");
}

int
nbd_first_connection (struct nbd_device *n)
{
  struct attempt a;

  if (try_once (n, &a, n->timeout) == -1)
    return set_error (a.err ? a.err : EPROTO, "cannot connect: %s", a.why);
  adopt (n, &a);
  return 0;
}

/*---------------------------------------------------------------------*/

static int
give_up (const struct nbd_device *n)
{
  if (n->reconnect == 0)
    return set_error (ENOTCONN, "the connection to the server was lost: %s",
                      n->why);
  return set_error (ENOTCONN, "the connection to the server was lost, and "
                    "none could be made in %.1f s: %s",
                    (double) (nbd_now () - n->lost_at) / NS_PER_SECOND,
                    n->why);
}

/* One attempt, for all who wait. */
static void
connect_for_all (struct nbd_device *n, struct nbd_call *call)
{
  const uint64_t begun = nbd_now ();
  struct attempt a;
  int r;

  n->connecting = true;
  pthread_mutex_unlock (&n->lock);
  r = try_once (n, &a, call->patience);
  pthread_mutex_lock (&n->lock);
  n->connecting = false;
  if (r == 0)
    adopt (n, &a);
  else {
    snprintf (n->why, sizeof n->why, "%s", a.why);
    if (a.silent && call->patience != FOR_EVER)
      call->patience -= min_u64 (call->patience, nbd_now () - begun);
  }
  pthread_cond_broadcast (&n->changed);
}

/* Another thread tries.  If it meets silence, so does this one. */
static void
wait_for_other (struct nbd_device *n, struct nbd_call *call)
{
  const uint64_t begun = nbd_now ();

  nbd_wait_changed (n, call->patience);
  if (call->patience != FOR_EVER)
    call->patience -= min_u64 (call->patience, nbd_now () - begun);
}

/* Others may end the pause by a connection, but not otherwise. */
static void
pause_for (struct nbd_device *n, uint64_t ns)
{
  const uint64_t until = nbd_now () + ns;
  uint64_t now;

  while (n->nbd == NULL && !n->connecting && (now = nbd_now ()) < until)
    nbd_wait_changed (n, until - now);
}

/* Once it has been lost for longer than 'reconnect', each call tries once. */
int
nbd_be_connected (struct nbd_device *n, struct nbd_call *call)
{
  uint64_t pause = FIRST_PAUSE, waited;
  bool tried = false;

  for (;;) {
    if (n->nbd && !n->closing)
      return 0;
    if (n->reconnect == 0 || call->patience == 0)
      return give_up (n);
    if (n->connecting || n->closing) {
      wait_for_other (n, call);
      tried = true;
      continue;
    }
    waited = nbd_now () - n->lost_at;
    if (tried && waited >= n->reconnect)
      return give_up (n);
    connect_for_all (n, call);
    tried = true;
    waited = nbd_now () - n->lost_at;
    if (n->nbd == NULL && waited < n->reconnect)
      pause_for (n, min_u64 (pause, n->reconnect - waited));
    pause = min_u64 (2 * pause, LONGEST_PAUSE);
  }
}
