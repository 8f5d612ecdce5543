/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: LMDB, keys in order as queue; each commit is synced, as it
 * is unless told otherwise.
 *
 * A put is a transaction that appends, a take one that reads the first
 * items and deletes them.
 */

#include <config.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <lmdb.h>

#include "peers.h"

#define NAME "queue.mdb"
#define MAP_SIZE ((size_t) 1 << 33) /* more than ever is used */

struct handle {
  MDB_env *env;
  MDB_dbi dbi;
  MDB_txn *look;             /* the taker's: is there anything? */
  size_t next;               /* key */
};

static void
check (int r, const char *what)
{
  if (r != 0)
    fail ("LMDB: %s: %s", what, mdb_strerror (r));
}

static void *
open_queue (enum role role)
{
  struct handle *h = allocate (sizeof *h);
  MDB_txn *txn;

  check (mdb_env_create (&h->env), "create");
  check (mdb_env_set_mapsize (h->env, MAP_SIZE), "set_mapsize");
  check (mdb_env_open (h->env, NAME, MDB_NOSUBDIR, 0600), NAME);
  check (mdb_txn_begin (h->env, NULL, 0, &txn), "begin");
  check (mdb_dbi_open (txn, NULL, MDB_INTEGERKEY, &h->dbi), "open");
  check (mdb_txn_commit (txn), "commit");
  h->next = 1;
  h->look = NULL;
  if (role == TAKER) {
    check (mdb_txn_begin (h->env, NULL, MDB_RDONLY, &h->look), "begin");
    mdb_txn_reset (h->look);
  }
  return h;
}

static void
put (void *handle, const struct iovec *items, size_t nr)
{
  struct handle *h = handle;
  MDB_txn *txn;
  size_t i;

  check (mdb_txn_begin (h->env, NULL, 0, &txn), "begin");
  for (i = 0; i < nr; ++i) {
    MDB_val key = { sizeof h->next, &h->next };
    MDB_val value = { items[i].iov_len, items[i].iov_base };

    check (mdb_put (txn, h->dbi, &key, &value, MDB_APPEND), "put");
    h->next++;
  }
  check (mdb_txn_commit (txn), "commit");
}

static bool
is_empty (struct handle *h)
{
  MDB_stat stat;

  check (mdb_txn_renew (h->look), "renew");
  check (mdb_stat (h->look, h->dbi, &stat), "stat");
  mdb_txn_reset (h->look);
  return stat.ms_entries == 0;
}

static size_t
take (void *handle, size_t nr, bool wait, receive_fn receive, void *opaque)
{
  struct handle *h = handle;
  MDB_cursor *cursor;
  MDB_txn *txn;
  MDB_val key, value;
  size_t n;
  int r;

  while (wait && is_empty (h))
    usleep (POLL_US);
  check (mdb_txn_begin (h->env, NULL, 0, &txn), "begin");
  check (mdb_cursor_open (txn, h->dbi, &cursor), "cursor");
  for (n = 0; n < nr; ++n) {
    r = mdb_cursor_get (cursor, &key, &value, n == 0 ? MDB_FIRST : MDB_NEXT);
    if (r == MDB_NOTFOUND)
      break;
    check (r, "get");
    receive (opaque, value.mv_data, value.mv_size);
    check (mdb_cursor_del (cursor, 0), "del");
  }
  mdb_cursor_close (cursor);
  check (mdb_txn_commit (txn), "commit");
  return n;
}

static void
close_queue (void *handle)
{
  struct handle *h = handle;

  mdb_txn_abort (h->look);
  mdb_env_close (h->env);
  free (h);
}

const struct peer peer_lmdb = {
  .name = "lmdb",
  .how = "LMDB, keys in order, synced",
  .waits = "polls",
  .open = open_queue,
  .put = put,
  .take = take,
  .close = close_queue,
};
