/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service's own structures.
 *
 * One request of a client goes through these steps, in requests.c:
 *
 *   begin    wait until no other write touches the same place, and keep
 *            others away from it: rq is "in flight"
 *   check    may this client do that, and does it keep the rules of the
 *            format?  Nothing has been written if not
 *   execute  data, a flush where pointers follow, pointers
 *   commit   take over what was written into the state in memory
 *   end      let others go on
 *
 * s->lock covers everything in memory.  It is never held during I/O, but
 * for learning the state anew after a failure.  What lies on the device is
 * covered by being in flight: the exclusive ranges of requests in flight
 * never overlap, and metadata that belongs together is one range.
 */

#ifndef BLKRING_SERVICE_INTERNAL_H
#define BLKRING_SERVICE_INTERNAL_H

#include <pthread.h>

#include "bytes.h"
#include "error.h"
#include "format1.h"
#include "format2.h"
#include "intervals.h"
#include "lock.h"
#include "service.h"

/* Bytes of one piece of a scan, a comparison or a write of zeros. */
#define SERVICE_CHUNK (UINT64_C (64) << 10)
/* Stretches of free space that are remembered as written. */
#define MAX_WRITTEN 4096
/* Metadata that one request may change. */
#define MAX_UNITS 4
/* Parts of a request's data: live and free, cut twice by the end. */
#define MAX_PIECES 8

struct service_client {
  struct service *service;
  struct service_client *next;
  uint64_t id;               /* never used again */
  const struct service_view *export;
  const struct view *view;
  char peer[129];
  bool read_only;

  /* s->lock */
  uint64_t last_request;     /* ns */
  unsigned busy;             /* requests under way */
  bool lost[MAX_SIDES];      /* was silent, and another took the side */
  bool overwritten;          /* another wrote over what it pushed */
  uint64_t answered;         /* of s->answered, its last write that needs a
                                flush */
  bool must_fail;            /* that was lost with a flush that failed, and
                                it does not know yet */
  uint64_t seen_consumer;    /* format 1: the position that it read last */
  unsigned refused;          /* requests */
  char *snapshot;            /* of the status, from its last read at 0 */
};

/* How a view answers.  A member that is NULL cannot be done. */
struct view {
  uint64_t (*size) (const struct service *s);
  int (*pread) (struct service_client *c, void *buf, uint64_t count,
                uint64_t offset);
  bool writable;
  int (*extents) (struct service_client *c, uint64_t count, uint64_t offset,
                  bool one, service_extent_fn fn, void *opaque);
};

/* One kind of request. */
enum request_kind { REQUEST_WRITE, REQUEST_ZERO, REQUEST_TRIM };

/* A part of a request in the data area. */
struct piece {
  uint64_t offset, count;    /* on the device */
  uint64_t position;         /* in the stream */
  bool live;                 /* must not change */
};

/* A pointer sector or record that a request changes. */
struct unit {
  uint64_t offset;
  size_t length;             /* that is written */
  unsigned char *content;    /* of the whole unit */
  unsigned kind;             /* format 1: SIDE_*; format 2: F2_* */
  unsigned side;             /* SIDE_* */
  bool owns;                 /* its writer owns the side from then on */
  uint64_t items;            /* pushed or consumed by it */
  struct f1_pointer pointer;
  struct f2_record record;
  unsigned copy;             /* format 2 */
  uint64_t index;            /* format 2: items of its frame before the new
                                position */
  bool new_frames;           /* format 2: a claim after recovery */
  bool unchanged;            /* format 2: but for what nobody reads */
};

/* Frames that a request completes. */
struct frames {
  unsigned nr;
  uint64_t tail, exposed;
  uint32_t chain, exposed_chain;
  uint64_t items;            /* that are exposed */
  uint64_t padding;
};

struct request {
  struct service_client *client;
  enum request_kind kind;
  const unsigned char *buf;  /* NULL: zeros */
  uint64_t count, offset;
  unsigned flags;            /* SERVICE_FLAG_* */

  struct request *next;      /* in flight */
  uint64_t start, end;       /* exclusive */

  uint64_t data_start, data_end; /* of it, in the data area */
  struct piece pieces[MAX_PIECES];
  unsigned nr_pieces;
  bool keep_data;            /* it is not changed: write none */
  struct unit units[MAX_UNITS];
  unsigned nr_units;
  struct frames frames;
  bool refused;              /* the error is a refusal */
};

struct owner {
  struct service_client *client; /* NULL: nobody */
  uint64_t since;            /* ns since 1970 */
};

struct counts {
  uint64_t items, bytes;
};

struct state1 {
  struct f1_pointers v;
  uint64_t frozen;           /* a pointer to this is being written */
};

struct state2 {
  struct f2_records records;
  uint64_t exposed, tail;    /* between them: staged */
  uint32_t exposed_chain, tail_chain;
  uint64_t padding;          /* where the items of the last frame end */
  uint64_t index[F2_MAX_CONSUMERS]; /* items of the frame before its
                                position */
  bool known;                /* it was learnt before */
  bool damaged;              /* at the tail */
  unsigned finishing;        /* requests that may complete a frame */
  bool committing;           /* a frame that came in parts is looked at … */
  uint64_t commit_end;       /* … which ends here */
};

struct service {
  blkring_device *device;
  struct service_options options;
  struct ring ring;
  const struct guard *guard; /* NULL: off */
  uint64_t size;
  uint64_t unit;             /* granularity of what reads as zeros */
  bool read_only, locked;

  pthread_mutex_t lock;
  pthread_cond_t changed;    /* something left the flight */
  struct request *in_flight;
  struct service_client *clients;
  uint64_t next_id;
  struct owner owners[MAX_SIDES];

  /* Writes that were answered and need a flush. */
  uint64_t answered, flushed;
  bool unknown;              /* after a failure: learn the state anew */

  /* The metadata, as it durably is. */
  unsigned char *meta;
  uint64_t meta_size;
  /* The stream: what must not change, and in the free space behind it what
   * clients wrote. */
  uint64_t live_start, live_end;
  struct intervals written;
  /* What lies in free space before this, and is not in 'written', was there
   * when the service began: a client may have written it then. */
  uint64_t unknown_end;
  union {
    struct state1 f1;
    struct state2 f2;
  };

  struct counts pushed, consumed[F2_MAX_CONSUMERS];
  uint64_t rejected, rejected_time;
  char rejected_reason[400], rejected_peer[129];
};

/* What a format has to answer.  Called with the lock held; 'check', 'learn'
 * and 'after' give it up meanwhile ('learn' does not). */
struct guard {
  /* Read the state from the device. */
  int (*learn) (struct service *s);
  void (*forget) (struct service *s);
  /* Widen [*start, *end) to what must be exclusive. */
  void (*exclusive) (const struct service *s, uint64_t *start,
                     uint64_t *end);
  /* The metadata and what the format asks of the data; fills units. */
  int (*check) (struct request *rq);
  /* A unit, and the data, have been written. */
  void (*commit_unit) (struct request *rq, const struct unit *u);
  void (*commit_data) (struct request *rq);
  /* The request is over, done or not; called with the lock held. */
  int (*after) (struct request *rq, bool done);
  enum blkring_state (*state) (const struct service *s);
};
extern const struct guard guard1, guard2;

/* service.c */
extern uint64_t service_now (const struct service *s);
extern void service_log (struct service *s, enum blkring_log_level level,
                         const char *fmt, ...)
  __attribute__ ((format (printf, 3, 4)));

/* calls.c */
/* The error of a request that breaks a rule; -1. */
extern int refuse (struct request *rq, int err, const char *fmt, ...)
  __attribute__ ((format (printf, 3, 4)));
/* The same for what a decoder of the format has just complained about. */
extern int refuse_corrupt (struct request *rq);

/* owner.c, all with the lock held */
extern const char *service_side_name (const struct service *s, unsigned side,
                                      char *text, size_t size);
/* Nobody else owns the side, or one that is silent. */
extern bool service_may_own (const struct service_client *c, unsigned side);
/* The same, and EPERM. */
extern int service_need_side (struct request *rq, unsigned side);
extern void service_take_side (struct service_client *c, unsigned side);
/* An owner that is silent loses the side to whoever comes. */
extern void service_expire_side (struct service_client *c, unsigned side);
extern void service_release_side (struct service *s, unsigned side);
extern struct service_client *service_find_client (const struct service *s,
                                                   uint64_t id);

/* io.c */
/* Write to the device; 'buf' NULL: zeros.  Takes care of sectors that are
 * covered in part: they must be in flight. */
extern int service_write_device (struct service *s, const unsigned char *buf,
                                 uint64_t count, uint64_t offset,
                                 unsigned zero_flags, bool durable);
extern void service_trim_device (struct service *s, uint64_t count,
                                 uint64_t offset);
/* Make what was answered durable; with the lock held, which it gives up. */
extern int service_sync (struct service *s);
/* A write or a flush failed: nobody knows what the device holds.  'teller' is
 * told by his own error.  With the lock held. */
extern void service_failed (struct service *s, struct service_client *teller);
/* The bytes of a request at a place on the device; NULL: zeros. */
extern const unsigned char *request_bytes (const struct request *rq,
                                           uint64_t offset);
/* Does the request leave [offset, offset + count) of the device as it is?
 * 1; 0 and the first byte that differs; -1.  Without the lock. */
extern int request_keeps (const struct request *rq, uint64_t offset,
                          uint64_t count, uint64_t *where);
/* Read from the device what will be there after the request. */
extern int request_read (const struct request *rq, void *buf, uint64_t count,
                         uint64_t offset);

/* data.c: the data area, whatever the format.  With the lock held. */
/* Which position of the stream lies at a place of the data area, from
 * live_start on. */
extern uint64_t service_position (const struct service *s, uint64_t offset);
/* Is what is at 'offset' data or hole, and how far, up to 'end'? */
extern uint64_t service_extent (const struct service *s, uint64_t offset,
                                uint64_t end, bool *hole);
/* The data of a request: may it be written?  Gives up the lock. */
extern int service_check_data (struct request *rq);
extern int service_check_outside (struct request *rq);
/* It was written. */
extern void service_mark_written (struct request *rq);
/* Wait until no other request in flight has data in [from, to) of the
 * stream. */
extern void service_wait_for_data (struct service *s,
                                   const struct request *mine,
                                   uint64_t from, uint64_t to);

/* window.c */
/* Part of the stream, in memory; with 'rq' as it will be after that. */
struct window {
  struct service *s;
  const struct request *rq;
  unsigned char *buf;
  uint64_t start, end;
};
extern int window_open (struct window *w, struct service *s,
                        const struct request *rq);
extern void window_close (struct window *w);
/* 'need' bytes at 'at', which do not lie around the end of the data area;
 * nothing is read from 'to' on.  'last_step' is how far it was to here from
 * what was looked at before.  NULL on failure. */
extern const unsigned char *window_at (struct window *w, uint64_t at,
                                       uint64_t need, uint64_t to,
                                       uint64_t last_step);

/* requests.c */
/* Read metadata and state again; with the lock held, and nobody in
 * flight. */
extern int service_learn_again (struct service *s);
extern int service_do_request (struct request *rq);
extern int ring_view_pread (struct service_client *c, void *buf,
                            uint64_t count, uint64_t offset);
extern int ring_view_extents (struct service_client *c, uint64_t count,
                              uint64_t offset, bool one,
                              service_extent_fn fn, void *opaque);

/* status.c */
extern uint64_t status_view_size (const struct service *s);
extern int status_view_pread (struct service_client *c, void *buf,
                              uint64_t count, uint64_t offset);

#endif /* BLKRING_SERVICE_INTERNAL_H */
