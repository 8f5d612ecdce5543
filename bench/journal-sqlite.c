/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: SQLite as a journal, one insert a transaction, each thread
 * with a connection of its own: the peer of blkring-peers, with its pragmas
 * and its busy handler.
 */

#include <config.h>

#include "race.h"

#ifdef HAVE_SQLITE3

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "peers/peers.h"

const bool has_sqlite = true;

static void *connections[MAX_RACERS];
static unsigned nr_connections;

static void
enter (int fd)
{
  if (fchdir (fd) == -1)
    fail_errno ("cannot change the directory");
}

/* Files without a name go with the process, however it ends. */
static void
unlink_all (void)
{
  static const char *const names[] = { "queue.db", "queue.db-wal",
                                       "queue.db-shm" };
  unsigned i;

  for (i = 0; i < sizeof names / sizeof names[0]; ++i)
    if (unlink (names[i]) == -1)
      fail_errno (names[i]);
}

void
open_sqlite (const char *in, unsigned nr)
{
  const int cwd = open (".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  sigset_t all, before;
  char *dir;

  if (cwd == -1 || asprintf (&dir, "%s/blkring-bench.XXXXXX", in) == -1)
    fail_errno (".");
  sigfillset (&all);
  sigprocmask (SIG_BLOCK, &all, &before);
  if (mkdtemp (dir) == NULL || chdir (dir) == -1)
    fail_errno (dir);
  for (nr_connections = 0; nr_connections < nr; ++nr_connections)
    connections[nr_connections] = peer_sqlite.open (PUTTER);
  unlink_all ();
  enter (cwd);
  if (rmdir (dir) == -1)
    fail_errno (dir);
  sigprocmask (SIG_SETMASK, &before, NULL);
  close (cwd);
  free (dir);
}

static void
insert (void *handle, const void *operation)
{
  const struct iovec iov = { (void *) operation, OPERATION };

  peer_sqlite.put (handle, &iov, 1);
}

static void
ignore (void *opaque, const void *item, size_t length)
{
  (void) opaque;
  (void) item;
  (void) length;
}

double
run_sqlite (unsigned threads, double seconds)
{
  struct race race = { .step = insert, .seconds = seconds };
  double rate;
  unsigned i;

  for (i = 0; i < threads; ++i)
    race.handles[i] = connections[i];
  rate = run_race (&race, threads);
  while (peer_sqlite.take (connections[0], 10000, false, ignore, NULL) > 0)
    ;
  return rate;
}

void
close_sqlite (void)
{
  while (nr_connections > 0)
    peer_sqlite.close (connections[--nr_connections]);
}

#else /* !HAVE_SQLITE3 */

const bool has_sqlite = false;

void
open_sqlite (const char *in, unsigned nr)
{
  (void) in;
  (void) nr;
}

double
run_sqlite (unsigned threads, double seconds)
{
  (void) threads;
  (void) seconds;
  return 0;
}

void
close_sqlite (void)
{
}

#endif /* !HAVE_SQLITE3 */
