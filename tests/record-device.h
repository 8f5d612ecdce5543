/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A device for tests, made with the public blkring_device_new.  It keeps
 * its content in memory, writes down every request, and can be told to
 * misbehave: fail, do less than asked, be interrupted, shrink, lose power.
 *
 * Three states of the content matter to a crash:
 *
 *   content   what a read gives
 *   durable   what was flushed, or written with FUA
 *   pending   the sectors of 512 bytes that were written since: after a
 *             crash each of them may have survived or not, in any
 *             combination
 */

#ifndef RECORD_DEVICE_H
#define RECORD_DEVICE_H

#include <pthread.h>

#include "blkring.h"

#define RECORD_ATOM 512      /* bytes that survive a crash whole or not */

enum record_kind { RECORD_READ, RECORD_WRITE, RECORD_FLUSH };
#define RECORD_KINDS 3

struct record_request {
  enum record_kind kind;
  uint64_t offset;           /* bytes; 0 for a flush */
  size_t length;             /* bytes asked for */
  bool fua;
  int error;                 /* errno that it got, 0 = done */
};

struct record_options {
  uint64_t size;             /* bytes */
  uint32_t sector_size;      /* 0 = 512 */
  uint32_t memory_alignment; /* 0 = 1 */
  uint32_t max_request;      /* 0 = no limit */
  unsigned flags;            /* BLKRING_DEVICE_* */
  const void *image;         /* first content, durable; NULL = zeros */
};

struct record_pending {
  uint64_t offset;
  size_t length;             /* RECORD_ATOM at most */
  unsigned char data[RECORD_ATOM];
};

struct record_fault {
  bool armed;
  unsigned after;            /* requests of the kind that still work */
  int error;
};

struct record_device {
  blkring_device *device;

  /* A test may change these at any time. */
  struct blkring_geometry geometry; /* what the device says about itself.
                                A smaller size: reads and writes end there */
  size_t short_count;        /* do at most so many bytes a request; 0 = all */
  bool interrupts;           /* each request fails with EINTR first */
  /* Called once, behind the next flush, as if somebody else did it; or before
   * the next read. */
  void (*behind_flush) (struct record_device *rd);
  void (*before_read) (struct record_device *rd);

  unsigned char *content, *durable;
  size_t allocated;          /* bytes of each: the first size */

  /* Since record_device_forget.  Requests that failed with EINTR are in
   * the log, and in no count. */
  struct record_request *log;
  size_t nr_log, alloc_log;
  unsigned reads, writes, fua_writes, flushes; /* writes has the FUA ones */
  uint64_t bytes_read, bytes_written;
  /* Ever: requests that broke the rules of the geometry. */
  unsigned bad_requests;

  /* Use the functions. */
  struct record_pending *pending;
  size_t nr_pending, alloc_pending;
  struct record_fault faults[RECORD_KINDS];
  struct record_fault cut;
  bool interrupted;
  pthread_mutex_t lock;
};

/* Aborts where memory ends, as all functions here do. */
extern struct record_device *
record_device_new (const struct record_options *options);

/* The same, with an empty ring of format 1 on it, and nothing recorded.
 * 'sector_size' is that of the ring, 0 = the device's. */
extern struct record_device *
record_device_new_ring (const struct record_options *options,
                        uint32_t sector_size);

/* Closes the blkring_device, too. */
extern void record_device_free (struct record_device *rd);

/* Empty the log, and set the counts to 0. */
extern void record_device_forget (struct record_device *rd);

/* The request of this kind that comes after 'after' others fails, with
 * nothing done.  Those behind it work again. */
extern void record_device_fail (struct record_device *rd,
                                enum record_kind kind, unsigned after,
                                int error);

/* The power goes in the middle of the write or flush that comes after
 * 'after' others: some of its sectors may arrive.  From then on everything
 * fails with EIO. */
extern void record_device_cut_power (struct record_device *rd,
                                     unsigned after);
extern bool record_device_is_cut (const struct record_device *rd);

/* A new device of the same kind, with the content that a crash now leaves:
 * pending sector i survived if bit i % 64 of 'survivors' is set.  So 0 is
 * what was durable alone. */
extern struct record_device *
record_device_after_crash (const struct record_device *rd,
                           uint64_t survivors);

/* The first request of the log from 'from' on of this kind, as an index;
 * nr_log if there is none. */
extern size_t record_device_find (const struct record_device *rd,
                                  enum record_kind kind, size_t from);

/* Change the content behind the back of whoever is attached.  Durable. */
extern void record_device_poke (struct record_device *rd, uint64_t offset,
                                const void *bytes, size_t length);

/* The same, but not durable yet: as another host writes. */
extern void record_device_write (struct record_device *rd, uint64_t offset,
                                 const void *bytes, size_t length);

/* A clock that stands still at *ns until the test moves it.  Sleeping
 * moves it, too. */
extern struct blkring_clock record_clock (uint64_t *ns);

/* Options of create for a ring of format 1. */
#define FORMAT1 (&(const struct blkring_create_options) { .format = 1 })

#endif /* RECORD_DEVICE_H */
