/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: SQLite, a table as queue; WAL, synchronous=FULL.
 *
 * A put is a transaction of inserts.  A take reads the oldest rows and
 * deletes them in one transaction.  A writer that meets another tries again
 * soon, not after the milliseconds that SQLite's own busy handler sleeps.
 */

#include <config.h>

#include <stdlib.h>
#include <unistd.h>

#include <sqlite3.h>

#include "peers.h"

#define NAME "queue.db"

struct handle {
  sqlite3 *db;
  sqlite3_stmt *begin, *commit, *insert, *select, *delete;
};

static void __attribute__ ((noreturn))
fail_sqlite (struct handle *h, const char *what)
{
  fail ("SQLite: %s: %s", what, sqlite3_errmsg (h->db));
}

static void
execute (struct handle *h, const char *sql)
{
  if (sqlite3_exec (h->db, sql, NULL, NULL, NULL) != SQLITE_OK)
    fail_sqlite (h, sql);
}

static sqlite3_stmt *
prepare (struct handle *h, const char *sql)
{
  sqlite3_stmt *s;

  if (sqlite3_prepare_v3 (h->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL)
      != SQLITE_OK)
    fail_sqlite (h, sql);
  return s;
}

/* A statement without rows. */
static void
run (struct handle *h, sqlite3_stmt *s)
{
  if (sqlite3_step (s) != SQLITE_DONE || sqlite3_reset (s) != SQLITE_OK)
    fail_sqlite (h, sqlite3_sql (s));
}

static int
try_again (void *opaque, int tries)
{
  (void) opaque;
  (void) tries;
  usleep (POLL_US);
  return 1;
}

static void *
open_queue (enum role role)
{
  struct handle *h = allocate (sizeof *h);

  (void) role;
  if (sqlite3_open (NAME, &h->db) != SQLITE_OK)
    fail_sqlite (h, NAME);
  sqlite3_busy_handler (h->db, try_again, NULL);
  execute (h, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
           "CREATE TABLE IF NOT EXISTS queue"
           " (id INTEGER PRIMARY KEY, item BLOB)");
  h->begin = prepare (h, "BEGIN IMMEDIATE");
  h->commit = prepare (h, "COMMIT");
  h->insert = prepare (h, "INSERT INTO queue (item) VALUES (?)");
  h->select = prepare (h, "SELECT id, item FROM queue ORDER BY id LIMIT ?");
  h->delete = prepare (h, "DELETE FROM queue WHERE id <= ?");
  return h;
}

static void
put (void *handle, const struct iovec *items, size_t nr)
{
  struct handle *h = handle;
  size_t i;

  if (nr > 1)
    run (h, h->begin);
  for (i = 0; i < nr; ++i) {
    if (sqlite3_bind_blob (h->insert, 1, items[i].iov_base, items[i].iov_len,
                           SQLITE_STATIC) != SQLITE_OK)
      fail_sqlite (h, "bind");
    run (h, h->insert);
  }
  if (nr > 1)
    run (h, h->commit);
}

/* Returns their number. */
static size_t
read_items (struct handle *h, size_t nr, receive_fn receive, void *opaque,
            sqlite3_int64 *last)
{
  size_t n = 0;
  int r;

  if (sqlite3_bind_int64 (h->select, 1, nr) != SQLITE_OK)
    fail_sqlite (h, "bind");
  while ((r = sqlite3_step (h->select)) == SQLITE_ROW) {
    *last = sqlite3_column_int64 (h->select, 0);
    receive (opaque, sqlite3_column_blob (h->select, 1),
             sqlite3_column_bytes (h->select, 1));
    n++;
  }
  if (r != SQLITE_DONE || sqlite3_reset (h->select) != SQLITE_OK)
    fail_sqlite (h, sqlite3_sql (h->select));
  return n;
}

static size_t
take (void *handle, size_t nr, bool wait, receive_fn receive, void *opaque)
{
  struct handle *h = handle;
  sqlite3_int64 last = 0;
  size_t n;

  while ((n = read_items (h, nr, receive, opaque, &last)) == 0) {
    if (!wait)
      return 0;
    usleep (POLL_US);
  }
  if (sqlite3_bind_int64 (h->delete, 1, last) != SQLITE_OK)
    fail_sqlite (h, "bind");
  run (h, h->delete);
  return n;
}

static void
close_queue (void *handle)
{
  struct handle *h = handle;

  sqlite3_finalize (h->begin);
  sqlite3_finalize (h->commit);
  sqlite3_finalize (h->insert);
  sqlite3_finalize (h->select);
  sqlite3_finalize (h->delete);
  if (sqlite3_close (h->db) != SQLITE_OK)
    fail_sqlite (h, "close");
  free (h);
}

const struct peer peer_sqlite = {
  .name = "sqlite",
  .how = "SQLite " SQLITE_VERSION ", a table, WAL, synchronous=FULL",
  .waits = "polls",
  .open = open_queue,
  .put = put,
  .take = take,
  .close = close_queue,
};
