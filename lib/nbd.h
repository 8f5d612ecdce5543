/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The parts of the NBD client, which device-nbd.c puts together: the
 * connection (nbd-connect.c) and what is in flight on it (nbd-loop.c).
 */

#ifndef BLKRING_NBD_H
#define BLKRING_NBD_H

#include <pthread.h>

#include <libnbd.h>

#include "blkring.h"
#include "error.h"

#define NS_PER_MS UINT64_C (1000000)
#define NS_PER_SECOND UINT64_C (1000000000)
#define FOR_EVER UINT64_MAX  /* ns */

/* What one thread waits for: commands that are in flight together. */
struct nbd_call {
  struct nbd_call *next;     /* in the list of those that wait */
  unsigned pending;          /* commands that were not answered yet */
  bool lost;                 /* the connection went before they were */
  uint64_t patience;         /* ns that it waits yet while nothing comes … */
  uint64_t allowance;        /* … and ns more while data flows */
};

struct nbd_device {
  /* These stay as they are. */
  char *uri, *shown;         /* 'shown': without a password */
  uint64_t timeout;          /* ns, FOR_EVER */
  uint64_t reconnect;        /* ns, 0 = never */
  bool read_only;            /* as it was opened */
  blkring_device *device;    /* NULL while it is opened … */
  blkring_log_fn log;        /* … when these are for the log */
  void *log_opaque;
  int wake;                  /* eventfd, for the thread that polls */

  /* For everything below, and around each call of libnbd. */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct nbd_handle *nbd;    /* NULL: there is no connection */
  uint64_t connection;       /* number of the last one, from 1 */
  bool polling;              /* a thread polls, for all … */
  uint64_t moves;            /* … and bytes came or went so often */
  bool closing;              /* a thread ends the connection */
  bool connecting;           /* a thread makes one, for all */
  unsigned waiting;          /* threads that wait for 'changed' */
  struct nbd_call *calls;
  struct blkring_geometry geometry;
  bool can_fua, can_flush;
  uint64_t lost_at;          /* ns */
  uint64_t waited;           /* ns that the server was silent in a call that
                                goes on in others, on a new connection */
  char why[ERROR_SIZE];      /* the last connection was lost, or could not
                                be made */
  uint64_t unflushed;        /* connection on which something was written
                                that no flush has covered, 0 = none */
  uint64_t writes;           /* such writes ever */
};

/* CLOCK_MONOTONIC, ns. */
extern uint64_t nbd_now (void);
/* The message of libnbd's last failure in this thread, with nothing in it
 * that is not to be shown. */
extern void nbd_last_error (const struct nbd_device *n, char *text,
                            size_t size);
extern void nbd_log (const struct nbd_device *n, enum blkring_log_level level,
                     const char *fmt, ...)
  __attribute__ ((format (printf, 3, 4)));

/* nbd-loop.c.  All with the lock held. */

/* Wait for 'changed', so many ns at most. */
extern void nbd_wait_changed (struct nbd_device *n, uint64_t ns);
/* Between these the call's commands may be issued and answered. */
extern void nbd_begin_call (struct nbd_device *n, struct nbd_call *call);
extern void nbd_end_call (struct nbd_device *n, struct nbd_call *call);
/* Wait until its commands are answered: 0; -1: the connection was lost
 * before, and 'why' says why; libnbd has let go of all buffers. */
extern int nbd_await (struct nbd_device *n, struct nbd_call *call);
/* End the connection: every call on it is lost. */
extern void nbd_drop (struct nbd_device *n, const char *why);
/* Whether the connection has failed: then it is dropped. */
extern bool nbd_check_dead (struct nbd_device *n);

/* nbd-connect.c. */

/* With the lock held: have a connection.  -1, ENOTCONN: there is none, and
 * none could be made in the time that reconnect, and the call's patience,
 * leave. */
extern int nbd_be_connected (struct nbd_device *n, struct nbd_call *call);
/* The first connection, without the lock.  -1: one attempt failed. */
extern int nbd_first_connection (struct nbd_device *n);

/* nbd-status.c: does the server of this device guard the ring?  Without the
 * lock; what cannot be found out is no. */
extern bool nbd_is_guarded (const struct nbd_device *n);

#endif /* BLKRING_NBD_H */
