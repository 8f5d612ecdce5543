/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: what its files share.
 *
 *   blkring-peers.c  main: a process that measures, and one that cleans up
 *   options.c        the command line
 *   measure.c        the tests, round by round, and what they gave
 *   side.c           the two processes of a peer: one puts, one takes
 *   server.c         servers that run as long as a peer is measured
 *   peer-*.c         a peer each, with the one table of its functions
 *   list.c           all of them
 *   report.c         the tables
 */

#ifndef BLKRING_PEERS_H
#define BLKRING_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "../common.h"

#define BATCH 64
#define LARGEST_ITEM 4096
/* What a peer without a way to wait sleeps between two looks. */
#define POLL_US 100

/*---------------------------------------------------------------------*/
/* A peer.  Its functions fail by 'fail'.  All of them run in a directory of
 * the peer's own. */

enum role { PUTTER, TAKER };

/* Called with each item that is taken, before it is acknowledged. */
typedef void (*receive_fn) (void *opaque, const void *item, size_t length);

struct peer {
  const char *name;
  const char *how;           /* what it is and does, one line */
  const char *program;       /* a server that must be in PATH, or NULL */
  const char *package;       /* that has the program */
  const char *waits;         /* how a consumer waits, a word or two */
  bool no_batch;             /* knows no commit of several items */
  bool no_peer;              /* blkring's own, or a limit: no target is to
                                be ahead of it */

  /* Make an empty queue, of 'size' bytes where that is fixed; start the
   * server.  May be NULL. */
  void (*start) (uint64_t size);
  void (*stop) (void);

  /* What one process does. */
  void *(*open) (enum role role);
  /* Durable when it returns, as one commit. */
  void (*put) (void *handle, const struct iovec *items, size_t nr);
  /* Take 'nr' items or what there is of them, and acknowledge them, as one
   * commit; acknowledged durably when it returns.  Returns their number: at
   * least 1 with 'wait', which sleeps until there is one. */
  size_t (*take) (void *handle, size_t nr, bool wait, receive_fn receive,
                  void *opaque);
  /* The taker's, when all was taken, not measured.  May be NULL. */
  void (*tidy) (void *handle);
  void (*close) (void *handle);
};

/* list.c.  A peer whose library was not there when this was built has no
 * functions. */
struct entry {
  const char *name;
  const struct peer *peer;   /* NULL: built without */
  const char *package;       /* of the library */
};
extern const struct entry entries[];
extern const size_t nr_entries;

extern const struct peer peer_blkring1, peer_blkring2, peer_blkring2_direct, peer_bare;
extern const struct peer peer_sqlite, peer_lmdb, peer_redis, peer_beanstalkd;

/*---------------------------------------------------------------------*/
/* side.c */

/* Two processes, which have the peer open. */
struct pair {
  const struct peer *peer;
  pid_t pid[2];              /* by role */
  int fd[2];
};

/* What a side did. */
struct done {
  uint64_t items;
  uint64_t begin, end;       /* now () */
};

extern void pair_start (struct pair *pair, const struct peer *peer,
                        size_t length, size_t batch);
extern void pair_stop (struct pair *pair);

/* Put for so many seconds, and at most so many items. */
extern struct done pair_put (struct pair *pair, double seconds,
                             uint64_t most);
/* Take all of it. */
extern struct done pair_take (struct pair *pair, uint64_t items);
/* Both at once.  In *put and *take what each did. */
extern void pair_both (struct pair *pair, double seconds, uint64_t most,
                       struct done *put, struct done *take);
/* Put an item while the other waits, 'nr' times.  In each of the arrays, ns:
 * from the begin of the put, and from its return, to the delivery. */
extern void pair_wake (struct pair *pair, unsigned nr, double *from_begin,
                       double *from_return);

/*---------------------------------------------------------------------*/
/* server.c */

struct server {
  const char *name;
  pid_t pid;
};

/* The file in PATH, to be freed; or NULL. */
extern char *find_program (const char *name);
/* Its output goes to the file server.log. */
extern void server_start (struct server *server, char *const argv[]);
/* Call until it succeeds; fail with the server's last words if that ends,
 * or after some seconds. */
extern void server_wait (const struct server *server,
                         bool (*is_ready) (void));
extern void server_stop (struct server *server);

/* Of a child: be killed when this one ends, which may be already. */
extern void die_with_parent (pid_t parent);
/* Remove a directory with all that is in it; errors are told. */
extern void remove_tree (const char *dir);

/*---------------------------------------------------------------------*/
/* measure.c and report.c */

struct options {
  const char *dir;
  uint64_t size;             /* of a ring, bytes */
  const char *peers, *tests; /* which: names with commas; NULL = all */
  double seconds;
  unsigned rounds;
};

#define MAX_PEERS 8
enum what { PUT, TAKE, BOTH, NR_WHATS };

/* One number a round. */
struct series {
  double *rounds;
  double median;
};

struct result {              /* of a peer in a test */
  const struct peer *peer;
  struct series rate[NR_WHATS];  /* items per second */
  struct series ratio[NR_WHATS]; /* of blkring's to it, in each round */
  double from_begin, from_return; /* wake-up, median, ns */
};

struct test {
  size_t length, batch;
  unsigned nr;
  struct result results[MAX_PEERS]; /* the first is blkring's */
};

extern void measure_all (const struct options *options);

extern void parse_options (int argc, char *argv[], struct options *options);

extern void report_header (const struct options *options);
extern void report_peer (const struct peer *peer);
extern void report_missing (const char *name, const char *package);
extern void report_test (const struct test *test, unsigned rounds,
                         bool first);
extern void report_wake (const struct test *test);
extern void report_targets (const struct test *tests, unsigned nr);

#endif /* BLKRING_PEERS_H */
