/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A small NBD server for tests, in threads of the test itself, on a unix
 * socket.  It serves memory, counts what it is asked for, and can be told to
 * misbehave in ways that no real server can be told: to end a connection
 * before or after a certain request, to keep silent, to answer late, to come
 * back as another export.
 */

#ifndef NBD_SERVER_H
#define NBD_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Transmission flags of the protocol. */
#define SERVER_READ_ONLY 2
#define SERVER_FLUSH 4
#define SERVER_FUA 8
#define SERVER_MULTI_CONN 256

enum server_end { END_NEVER, END_BEFORE, END_AFTER };
#define SERVER_CONNECTIONS 4096

struct nbd_server {
  /* To be set before start; the sizes and flags also while it is not
   * connected. */
  const char *dir;           /* the socket is made there */
  uint64_t size;
  unsigned flags;            /* SERVER_* */
  uint32_t minimum, maximum; /* 0 = say nothing */

  char uri[256];
  unsigned char *content, *durable;

  /* A test may change these at any time, by server_lock. */
  enum server_end end;       /* the connection, at the request … */
  unsigned end_after;        /* … after so many others */
  bool crash;                /* and what was not flushed is lost then */
  bool refuse;               /* no new connections: closed at once */
  bool silent;               /* requests are not answered … */
  unsigned silent_until;     /* … nor on the connections up to this one */
  bool mute;                 /* a new connection is not answered */
  unsigned dribble;          /* ms between each 64 KiB of an answer */
  unsigned hold;             /* answer when so many requests are there */
  uint32_t write_error;      /* of the protocol, for each write … */
  uint32_t flush_error;      /* … and each flush */

  unsigned connections;      /* ever */
  unsigned kicked;           /* so many of them were ended */
  unsigned reads, writes, fua_writes, flushes;
  uint32_t largest;          /* request, bytes */
  unsigned most_in_flight;

  /* Use the functions. */
  pthread_mutex_t lock;
  pthread_t acceptor, threads[SERVER_CONNECTIONS];
  int fds[SERVER_CONNECTIONS];
  unsigned nr_threads;
  int listener;
  bool stopping;
  char path[128];
};

extern void server_start (struct nbd_server *s);
extern void server_stop (struct nbd_server *s);
extern void server_lock (struct nbd_server *s);
extern void server_unlock (struct nbd_server *s);
/* End all connections, as by kill -9. */
extern void server_kick (struct nbd_server *s);
/* The request after 'after' others ends its connection. */
extern void server_plan_end (struct nbd_server *s, enum server_end end,
                             unsigned after, bool crash);
extern void server_forget (struct nbd_server *s);

#endif /* NBD_SERVER_H */
