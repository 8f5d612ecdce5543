/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A small NBD server for tests; see nbd-server.h.  The protocol is that of
 * fixed newstyle with simple replies.
 */

#include <config.h>

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "nbd-server.h"

#define OPTION_MAGIC UINT64_C (0x49484156454f5054)
#define REPLY_MAGIC UINT64_C (0x0003e889045565a9)
#define REP_ACK 1
#define REP_INFO 3
#define REP_UNSUPPORTED (UINT32_C (0x80000000) + 1)
#define OPT_ABORT 2
#define OPT_INFO 6
#define OPT_GO 7
#define INFO_EXPORT 0
#define INFO_BLOCK_SIZE 3
#define REQUEST_MAGIC 0x25609513
#define SIMPLE_REPLY_MAGIC 0x67446698
#define LARGEST_REQUEST (64 << 20)
#define MOST_HELD 64

enum { CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH };

struct request {
  uint32_t magic;
  uint16_t flags, type;
  uint64_t cookie, offset;
  uint32_t length;
} __attribute__ ((packed));

/* An answer that is held back. */
struct answer {
  uint64_t cookie;
  uint32_t error;
  void *data;
  uint32_t length;
};

struct connection {
  struct nbd_server *server;
  unsigned number;           /* from 1 */
  int fd;
  struct answer held[MOST_HELD];
  unsigned nr_held;
};

static bool
get (int fd, void *buf, size_t n)
{
  return n == 0 || recv (fd, buf, n, MSG_WAITALL) == (ssize_t) n;
}

static bool
put (int fd, const void *buf, size_t n)
{
  const char *p = buf;
  ssize_t r;

  for (; n > 0; p += r, n -= r) {
    r = send (fd, p, n, MSG_NOSIGNAL);
    if (r <= 0)
      return false;
  }
  return true;
}

static void *
allocate (size_t n)
{
  void *p = calloc (n ? n : 1, 1);

  if (p == NULL)
    abort ();
  return p;
}

/*---------------------------------------------------------------------*/

static bool
put_reply (int fd, uint32_t option, uint32_t type, const void *data,
           uint32_t length)
{
  const struct {
    uint64_t magic;
    uint32_t option, type, length;
  } __attribute__ ((packed)) head = {
    htobe64 (REPLY_MAGIC), htobe32 (option), htobe32 (type), htobe32 (length)
  };

  return put (fd, &head, sizeof head) && put (fd, data, length);
}

static bool
put_export (struct nbd_server *s, int fd, uint32_t option)
{
  const struct {
    uint16_t info;
    uint64_t size;
    uint16_t flags;
  } __attribute__ ((packed)) export = {
    htobe16 (INFO_EXPORT), htobe64 (s->size), htobe16 (1 | s->flags)
  };
  const struct {
    uint16_t info;
    uint32_t minimum, preferred, maximum;
  } __attribute__ ((packed)) sizes = {
    htobe16 (INFO_BLOCK_SIZE), htobe32 (s->minimum),
    htobe32 (s->minimum > 4096 ? s->minimum : 4096), htobe32 (s->maximum)
  };

  return put_reply (fd, option, REP_INFO, &export, sizeof export) &&
    (s->minimum == 0 ||
     put_reply (fd, option, REP_INFO, &sizes, sizeof sizes)) &&
    put_reply (fd, option, REP_ACK, NULL, 0);
}

static bool
handshake (struct nbd_server *s, int fd)
{
  struct {
    uint64_t magic;
    uint32_t option, length;
  } __attribute__ ((packed)) head;
  const uint16_t flags = htobe16 (3);
  uint32_t client;
  char data[8192];

  if (!put (fd, "NBDMAGICIHAVEOPT", 16) || !put (fd, &flags, sizeof flags) ||
      !get (fd, &client, sizeof client))
    return false;
  for (;;) {
    if (!get (fd, &head, sizeof head) ||
        be64toh (head.magic) != OPTION_MAGIC ||
        be32toh (head.length) > sizeof data ||
        !get (fd, data, be32toh (head.length)))
      return false;
    switch (be32toh (head.option)) {
    case OPT_GO:
      return put_export (s, fd, OPT_GO);
    case OPT_INFO:
      if (!put_export (s, fd, OPT_INFO))
        return false;
      break;
    case OPT_ABORT:
      return false;
    default:
      if (!put_reply (fd, be32toh (head.option), REP_UNSUPPORTED, NULL, 0))
        return false;
    }
  }
}

/*---------------------------------------------------------------------*/

/* The data of an answer, perhaps slowly. */
static bool
put_data (const struct connection *c, const char *p, size_t n)
{
  const unsigned pause = c->server->dribble;
  size_t part;

  for (; n > 0; p += part, n -= part) {
    part = pause && n > 65536 ? 65536 : n;
    if (!put (c->fd, p, part))
      return false;
    if (pause)
      usleep (1000 * pause);
  }
  return true;
}

static bool
put_answer (const struct connection *c, struct answer *a)
{
  const struct {
    uint32_t magic, error;
    uint64_t cookie;
  } __attribute__ ((packed)) head = {
    htobe32 (SIMPLE_REPLY_MAGIC), htobe32 (a->error), a->cookie
  };
  const bool ok = put (c->fd, &head, sizeof head) &&
    put_data (c, a->data, a->error ? 0 : a->length);

  free (a->data);
  a->data = NULL;
  return ok;
}

/* With the lock held. */
static void
execute (struct nbd_server *s, const struct request *r, void *data,
         struct answer *a)
{
  const uint64_t offset = r->offset;
  const bool fua = r->flags & 1;

  if (r->length > s->largest)
    s->largest = r->length;
  switch (r->type) {
  case CMD_READ:
    s->reads++;
    a->data = allocate (r->length);
    a->length = r->length;
    memcpy (a->data, s->content + offset, r->length);
    break;
  case CMD_WRITE:
    s->writes++;
    s->fua_writes += fua;
    a->error = s->write_error;
    if (a->error)
      break;
    memcpy (s->content + offset, data, r->length);
    if (fua)
      memcpy (s->durable + offset, data, r->length);
    break;
  case CMD_FLUSH:
    s->flushes++;
    a->error = s->flush_error;
    if (a->error)
      break;
    memcpy (s->durable, s->content, s->size);
    break;
  }
}

static bool
is_possible (const struct nbd_server *s, const struct request *r)
{
  const uint32_t unit = s->minimum ? s->minimum : 1;

  if (r->type == CMD_FLUSH)
    return s->flags & SERVER_FLUSH;
  return r->type <= CMD_WRITE && r->offset <= s->size &&
    r->length <= s->size - r->offset &&
    r->length % unit == 0 && r->offset % unit == 0 &&
    (s->maximum == 0 || r->length <= s->maximum) &&
    !(r->flags & 1 && !(s->flags & SERVER_FUA));
}

/* One request: false at the end of the connection. */
static bool
serve_request (struct connection *c, const struct request *r, void *data)
{
  struct nbd_server *s = c->server;
  struct answer a = { .cookie = r->cookie };
  bool ends, silent;
  unsigned i, n;

  pthread_mutex_lock (&s->lock);
  /* What was read from a connection that was ended meanwhile must not land
   * behind what comes from the next one. */
  if (c->number <= s->kicked) {
    pthread_mutex_unlock (&s->lock);
    return false;
  }
  ends = s->end != END_NEVER && s->end_after-- == 0;
  if (!is_possible (s, r))
    a.error = EINVAL;
  else if (!ends || s->end == END_AFTER)
    execute (s, r, data, &a);
  if (ends) {
    s->end = END_NEVER;
    if (s->crash)
      memcpy (s->content, s->durable, s->size);
  }
  silent = s->silent || c->number <= s->silent_until;
  n = s->hold ? s->hold : 1;
  pthread_mutex_unlock (&s->lock);
  if (ends || silent) {
    free (a.data);
    return !ends;
  }
  c->held[c->nr_held++] = a;
  if (c->nr_held > s->most_in_flight)
    s->most_in_flight = c->nr_held;
  if (c->nr_held < n)
    return true;
  for (i = 0; i < c->nr_held; ++i)
    if (!put_answer (c, &c->held[i]))
      return false;
  c->nr_held = 0;
  return true;
}

static void
serve (struct connection *c)
{
  struct request r;
  void *data;
  bool going = true;

  while (going && get (c->fd, &r, sizeof r) &&
         be32toh (r.magic) == REQUEST_MAGIC) {
    r.flags = be16toh (r.flags);
    r.type = be16toh (r.type);
    r.offset = be64toh (r.offset);
    r.length = be32toh (r.length);
    if (r.type == CMD_DISC || r.length > LARGEST_REQUEST)
      return;
    data = allocate (r.length);
    going = (r.type != CMD_WRITE || get (c->fd, data, r.length)) &&
      serve_request (c, &r, data);
    free (data);
  }
}

static void *
connection_thread (void *arg)
{
  struct connection *c = arg;
  struct nbd_server *s = c->server;
  char byte;
  bool mute;

  server_lock (s);
  mute = s->mute;
  server_unlock (s);
  if (mute)
    while (get (c->fd, &byte, 1))
      ;
  else if (handshake (s, c->fd))
    serve (c);
  server_lock (s);
  s->fds[c->number - 1] = -1;
  close (c->fd);
  server_unlock (s);
  while (c->nr_held > 0)
    free (c->held[--c->nr_held].data);
  free (c);
  return NULL;
}

/*---------------------------------------------------------------------*/

static void *
accept_thread (void *arg)
{
  struct nbd_server *s = arg;
  struct connection *c;
  int fd;

  while ((fd = accept (s->listener, NULL, NULL)) >= 0) {
    server_lock (s);
    if (s->refuse || s->stopping || s->nr_threads == SERVER_CONNECTIONS)
      close (fd);
    else {
      c = allocate (sizeof *c);
      c->server = s;
      c->fd = s->fds[s->nr_threads] = fd;
      c->number = ++s->connections;
      if (pthread_create (&s->threads[s->nr_threads++], NULL,
                          connection_thread, c) != 0)
        abort ();
    }
    server_unlock (s);
  }
  return NULL;
}

void
server_start (struct nbd_server *s)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };

  s->content = allocate (s->size);
  s->durable = allocate (s->size);
  snprintf (s->path, sizeof s->path, "%s/socket", s->dir);
  snprintf (s->uri, sizeof s->uri, "nbd+unix:///?socket=%s", s->path);
  snprintf (address.sun_path, sizeof address.sun_path, "%.100s", s->path);
  pthread_mutex_init (&s->lock, NULL);
  s->listener = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s->listener == -1 ||
      bind (s->listener, (struct sockaddr *) &address, sizeof address) != 0 ||
      listen (s->listener, 64) != 0 ||
      pthread_create (&s->acceptor, NULL, accept_thread, s) != 0) {
    perror ("server_start");
    abort ();
  }
}

void
server_kick (struct nbd_server *s)
{
  unsigned i;

  server_lock (s);
  s->kicked = s->connections;
  for (i = 0; i < s->nr_threads; ++i)
    if (s->fds[i] != -1)
      shutdown (s->fds[i], SHUT_RDWR);
  server_unlock (s);
}

void
server_stop (struct nbd_server *s)
{
  unsigned i;

  server_lock (s);
  s->stopping = true;
  server_unlock (s);
  shutdown (s->listener, SHUT_RDWR);
  pthread_join (s->acceptor, NULL);
  server_kick (s);
  for (i = 0; i < s->nr_threads; ++i)
    pthread_join (s->threads[i], NULL);
  close (s->listener);
  unlink (s->path);
  pthread_mutex_destroy (&s->lock);
  free (s->content);
  free (s->durable);
}

void
server_lock (struct nbd_server *s)
{
  pthread_mutex_lock (&s->lock);
}

void
server_unlock (struct nbd_server *s)
{
  pthread_mutex_unlock (&s->lock);
}

void
server_plan_end (struct nbd_server *s, enum server_end end, unsigned after,
                 bool crash)
{
  server_lock (s);
  s->end = end;
  s->end_after = after;
  s->crash = crash;
  server_unlock (s);
}

void
server_forget (struct nbd_server *s)
{
  server_lock (s);
  s->reads = s->writes = s->fua_writes = s->flushes = 0;
  s->largest = s->most_in_flight = 0;
  server_unlock (s);
}
