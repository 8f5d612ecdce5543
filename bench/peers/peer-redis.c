/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: Redis Streams, appendonly, appendfsync=always; a unix
 * socket.
 *
 * A put is XADD, or MULTI with one for each item in one request.  A take is
 * XREADGROUP, then XACK of all that came.  The server rewrites nothing
 * meanwhile, and what was acknowledged is trimmed when nobody measures.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "peers.h"

#define SOCKET "redis.sock"
#define MAX_ARGS (4 + BATCH)

static struct server server;

static bool
is_ready (void)
{
  redisContext *c = redisConnectUnix (SOCKET);
  redisReply *reply = NULL;
  bool ready;

  if (c != NULL && c->err == 0)
    reply = redisCommand (c, "PING");
  ready = reply != NULL && reply->type == REDIS_REPLY_STATUS;
  freeReplyObject (reply);
  if (c != NULL)
    redisFree (c);
  return ready;
}

static void
check (redisContext *c, const redisReply *reply, const char *what)
{
  if (reply == NULL)
    fail ("Redis: %s: %s", what, c->errstr);
  if (reply->type == REDIS_REPLY_ERROR)
    fail ("Redis: %s: %s", what, reply->str);
}

static redisContext *
connect_server (void)
{
  redisContext *c = redisConnectUnix (SOCKET);

  if (c == NULL || c->err != 0)
    fail ("Redis: " SOCKET ": %s", c == NULL ? "no memory" : c->errstr);
  return c;
}

static void
command (redisContext *c, const char *text)
{
  redisReply *reply = redisCommand (c, text);

  check (c, reply, text);
  freeReplyObject (reply);
}

static void
start (uint64_t size)
{
  char *argv[] = {
    "redis-server", "--port", "0", "--unixsocket", SOCKET, "--save", "",
    "--appendonly", "yes", "--appendfsync", "always",
    "--auto-aof-rewrite-percentage", "0", NULL,
  };
  redisContext *c;

  (void) size;
  server_start (&server, argv);
  server_wait (&server, is_ready);
  c = connect_server ();
  command (c, "XGROUP CREATE queue group $ MKSTREAM");
  redisFree (c);
}

static void
stop (void)
{
  server_stop (&server);
}

static void *
open_queue (enum role role)
{
  (void) role;
  return connect_server ();
}

static void
append_add (redisContext *c, const struct iovec *item)
{
  const char *argv[] = { "XADD", "queue", "*", "item", item->iov_base };
  const size_t lengths[] = { 4, 5, 1, 4, item->iov_len };

  if (redisAppendCommandArgv (c, 5, argv, lengths) != REDIS_OK)
    fail ("Redis: XADD: %s", c->errstr);
}

static redisReply *
get_reply (redisContext *c, const char *what)
{
  void *reply;

  if (redisGetReply (c, &reply) != REDIS_OK)
    reply = NULL;
  check (c, reply, what);
  return reply;
}

static void
put (void *handle, const struct iovec *items, size_t nr)
{
  redisContext *c = handle;
  redisReply *reply;
  size_t i;

  if (nr == 1) {
    append_add (c, &items[0]);
    freeReplyObject (get_reply (c, "XADD"));
    return;
  }
  redisAppendCommand (c, "MULTI");
  for (i = 0; i < nr; ++i)
    append_add (c, &items[i]);
  redisAppendCommand (c, "EXEC");
  for (i = 0; i < nr + 1; ++i)
    freeReplyObject (get_reply (c, "MULTI, XADD"));
  reply = get_reply (c, "EXEC");
  if (reply->type != REDIS_REPLY_ARRAY || reply->elements != nr)
    fail ("Redis: EXEC did not add %zu items", nr);
  freeReplyObject (reply);
}

/* [[stream, [[id, [field, value]], …]]] */
static const redisReply *
find_entries (const redisReply *reply)
{
  if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 ||
      reply->element[0]->elements != 2)
    fail ("Redis: XREADGROUP: unexpected reply");
  return reply->element[0]->element[1];
}

static void
acknowledge (redisContext *c, const redisReply *list)
{
  const char *argv[MAX_ARGS] = { "XACK", "queue", "group" };
  size_t lengths[MAX_ARGS] = { 4, 5, 5 }, i;
  redisReply *reply;

  for (i = 0; i < list->elements; ++i) {
    argv[3 + i] = list->element[i]->element[0]->str;
    lengths[3 + i] = list->element[i]->element[0]->len;
  }
  reply = redisCommandArgv (c, 3 + list->elements, argv, lengths);
  check (c, reply, "XACK");
  if (reply->integer != (long long) list->elements)
    fail ("Redis: XACK: %lld of %zu items", reply->integer, list->elements);
  freeReplyObject (reply);
}

static size_t
take (void *handle, size_t nr, bool wait, receive_fn receive, void *opaque)
{
  redisContext *c = handle;
  redisReply *reply = redisCommand (c, wait
    ? "XREADGROUP GROUP group taker COUNT %u BLOCK 0 STREAMS queue >"
    : "XREADGROUP GROUP group taker COUNT %u STREAMS queue >", (unsigned) nr);
  const redisReply *list, *item;
  size_t n = 0, i;

  check (c, reply, "XREADGROUP");
  if (reply->type != REDIS_REPLY_NIL) {
    list = find_entries (reply);
    n = list->elements;
    if (n > nr)
      fail ("Redis: XREADGROUP: %zu items instead of %zu", n, nr);
    for (i = 0; i < n; ++i) {
      item = list->element[i]->element[1]->element[1];
      receive (opaque, item->str, item->len);
    }
    acknowledge (c, list);
  }
  freeReplyObject (reply);
  return n;
}

static void
tidy (void *handle)
{
  command (handle, "XTRIM queue MAXLEN 0");
}

static void
close_queue (void *handle)
{
  redisFree (handle);
}

const struct peer peer_redis = {
  .name = "redis",
  .how = "Redis Streams, appendonly yes, appendfsync always, unix socket",
  .program = "redis-server",
  .package = "redis-server",
  .waits = "XREADGROUP BLOCK",
  .start = start,
  .stop = stop,
  .open = open_queue,
  .put = put,
  .take = take,
  .tidy = tidy,
  .close = close_queue,
};
