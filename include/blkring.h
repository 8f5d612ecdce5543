/* SPDX-License-Identifier: BSD-3-Clause
 *
 * libblkring: a crash-safe producer/consumer ring of variable-sized
 * messages on a shared block device.
 *
 * This header is the whole public interface and can be read as its
 * manual.  The longer texts are in libblkring(3), blkring_device(3),
 * blkring_create(3), blkring_producer(3), blkring_consumer(3),
 * blkring_inspect(3) and blkring_journal(3).
 *
 * TERMS
 *
 *   device    random-access storage with a size and a sector size
 *   ring      what is formatted on a device
 *   item      one message of 0 bytes or more
 *   position  where an item begins or ends in the stream of all items;
 *             positions only grow
 *   push      write an item durably, still invisible to the consumer
 *   advance   producer: expose what was pushed, up to a position;
 *             consumer: free what was popped, up to a position
 *   append    push and advance in one call
 *   pop       read an item and leave it in the ring
 *   fold      visit every item that can be popped now
 *   suspend, resume
 *             requests of the consumer that the producer acknowledges
 *   queue, client
 *             two names given at attach, for diagnostics only
 *
 * RETURN VALUES
 *
 * Unless said otherwise functions return 0, or -1 with errno set and a
 * message for the calling thread in blkring_get_error ().
 *
 *   EAGAIN       try later: the ring is full, there is nothing to pop, or
 *                a suspend or resume is not acknowledged yet
 *   ESHUTDOWN    the ring is suspended
 *   EMSGSIZE     the item (or batch) can never fit
 *   EBADMSG      the device holds something that breaks the format; the
 *                message says what and where
 *   EMEDIUMTYPE  there is no ring on the device
 *   EBUSY        another producer or consumer owns that side
 *   EIO          the device failed (or the errno that it gave), or the
 *                handle is poisoned
 *   EINVAL       mistake of the caller
 *   EROFS        the device was opened read-only
 *   ETIMEDOUT    a wait ended without what was waited for
 *   ENOTCONN     the server cannot be reached
 *   ECONNABORTED the same, and whether the write under way has arrived is
 *                not known: after a push, whether it is in the ring
 *   EINTR        a wait was interrupted by a signal
 *   ECANCELED    the journal was shut down, or told to stop
 *   EDEADLK      a journal's perform waits for its own end
 *
 * DURABILITY, in short: when push returns 0 the item is durable; when an
 * advance returns 0 so is the pointer.  After a failed write or flush the
 * handle is poisoned: that call fails with the device's errno, and each
 * further one with EIO and the first cause, until a new attach re-reads the
 * device.  One that finds that another took its side over is poisoned with
 * EBUSY.
 *
 * THREADS: every handle (device, producer, consumer, journal) may be used
 * from several threads at once.  For data returned by pop see there.
 *
 * MEMORY: a device needs less than 4 KiB.  A producer holds one write
 * buffer that grows with the largest push, to 4 MiB at most (larger
 * pushes pass through it in parts; in format 2 to the largest frame), and
 * the ends of the last 65536 pushes that were not advanced yet: one cannot
 * advance to older ones alone.  A consumer holds one read buffer: 256 KiB, up to 4 MiB
 * where popv asks for more items than that holds, or the size of the
 * largest item that it met, rounded up to sectors.  None of it depends on
 * the size of the ring.
 */

#ifndef BLKRING_H
#define BLKRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/*---------------------------------------------------------------------*/
/* Version and errors.                                                   */

/* The version of the library, "MAJOR.MINOR.PATCH". */
extern const char *blkring_version (void);

/* The message of the call that has just failed in this thread, without a
 * newline.  Later calls may change it, also ones that succeed. */
extern const char *blkring_get_error (void);

/* errno of that call. */
extern int blkring_get_errno (void);

/*---------------------------------------------------------------------*/
/* Devices.                                                              */

typedef struct blkring_device blkring_device;

enum blkring_log_level {
  BLKRING_LOG_ERROR,
  BLKRING_LOG_INFO,
  BLKRING_LOG_DEBUG,
};

/* Gets one line, without a newline. */
typedef void (*blkring_log_fn) (void *opaque, enum blkring_log_level level,
                                const char *message);

/* What a device is.  Sizes in bytes. */
struct blkring_geometry {
  uint64_t size;             /* of the device */
  uint32_t sector_size;      /* smallest unit of I/O: a power of two,
                                1 … 65536; offset and length of every
                                request are multiples of it */
  uint32_t memory_alignment; /* of the buffers of requests: a power of two,
                                1 … 4096 */
  uint32_t max_request;      /* largest request, 0 = no limit */
  unsigned flags;            /* BLKRING_DEVICE_* */
};

#define BLKRING_DEVICE_READ_ONLY 1 /* pwrite will fail */
#define BLKRING_DEVICE_FUA       2 /* pwrite honours BLKRING_WRITE_FUA */
#define BLKRING_DEVICE_NO_FLUSH  4 /* there is no way to make data durable */
#define BLKRING_DEVICE_SHARED    8 /* others that 'lock' does not reach may
                                      use the device (other hosts) */

#define BLKRING_WRITE_FUA 1        /* durable when pwrite returns */

enum blkring_lock_op {
  BLKRING_LOCK_TRY,          /* take it; -1, EAGAIN if another holds it */
  BLKRING_LOCK_WAIT,         /* take it, wait for the holder */
  BLKRING_LOCK_RELEASE,      /* give it back */
  BLKRING_LOCK_TEST,         /* 1 if another holds it, 0 if not */
};

/* One of several requests that a device gets at once. */
enum blkring_part_kind {
  BLKRING_PART_READ, BLKRING_PART_WRITE,
  BLKRING_PART_FLUSH         /* comes alone */
};
struct blkring_part {
  enum blkring_part_kind kind;
  unsigned flags;            /* write: 0 or BLKRING_WRITE_FUA */
  void *buf;                 /* a write leaves it alone */
  size_t count;              /* at most max_request */
  uint64_t offset;
  int error;                 /* to be set: 0, or an errno */
  void *reserved;            /* for the device */
};

/* A caller's own storage.  Calls may come from several threads at once.
 * Each returns -1 and sets errno on failure. */
struct blkring_device_ops {
  size_t struct_size;        /* sizeof (struct blkring_device_ops) */

  /* Called when the device is made, and again by create, erase, attach,
   * inspect, check and map, since a device may grow or shrink. */
  int (*geometry) (void *opaque, struct blkring_geometry *geometry);

  /* Return the number of bytes done.  A short count is continued, as is
   * -1 with EINTR; 0 means that the device ends here. */
  ssize_t (*pread) (void *opaque, void *buf, size_t count, uint64_t offset);
  ssize_t (*pwrite) (void *opaque, const void *buf, size_t count,
                     uint64_t offset, unsigned flags);

  /* When it returns 0, all writes answered before it began are durable
   * (or, with BLKRING_DEVICE_NO_FLUSH, nothing was done). */
  int (*flush) (void *opaque);

  /* Optional.  Locks that other openers of the same storage see, a byte
   * each, exclusive.  Released by close and by the death of the process.
   * One blkring_device never takes a lock that it has. */
  int (*lock) (void *opaque, unsigned byte, enum blkring_lock_op op);

  /* Optional.  'watch' gives an object that notices changes of the
   * device from then on (NULL: not possible now); 'watch_wait' returns 1
   * at once if something may have changed since the last call of it or
   * of 'watch', else sleeps until it does, or returns 0 after timeout_ms;
   * -1 with EINTR when a signal arrived. */
  void *(*watch) (void *opaque);
  int (*watch_wait) (void *watch, int timeout_ms);
  void (*unwatch) (void *watch);

  /* Optional.  Called once, by blkring_device_close. */
  void (*close) (void *opaque);

  /* Optional: without it one request comes after the other, by the
   * functions above; with it all come here.  Do all the parts, at once or
   * in any order; no write overlaps another part.  Returns 0 when each is
   * done whole.
   *
   * 'connection' is for devices whose connection to the storage can be lost
   * and made again, and 0 for others.  If it is not 0, and 'connection'
   * below would not return it any more, a write or flush fails with ESTALE:
   * the caller looks at what is there before it tries again. */
  int (*submit) (void *opaque, struct blkring_part *parts, size_t nr,
                 uint64_t connection);
  /* Optional, and with submit alone: number of the present connection, or
   * of the last one. */
  uint64_t (*connection) (void *opaque);

  /* Optional.  1: a server lets one client at a time write each side of the
   * ring, and fails the writes of others with EBUSY, so that an owner that
   * a record names is gone if it lets us write.  Asked for where that
   * matters. */
  int (*guarded) (void *opaque);
};

/* Make a device of the caller's functions.  'ops' is copied, and what it
 * points to must live until blkring_device_close.  NULL on error
 * (EINVAL: impossible geometry or a function missing; ENOMEM). */
extern blkring_device *
blkring_device_new (const struct blkring_device_ops *ops, void *opaque);

#define BLKRING_OPEN_READ_ONLY  1 /* open for reading alone */
#define BLKRING_OPEN_CREATE     2 /* make the file, of 'size' bytes */
#define BLKRING_OPEN_EXCLUSIVE  4 /* with CREATE: it must not exist; a block
                                     device must not be in use (mounted) */
#define BLKRING_OPEN_DIRECT     8 /* O_DIRECT, also for a regular file */
#define BLKRING_OPEN_BUFFERED  16 /* no O_DIRECT, also for a block device */
#define BLKRING_OPEN_RESIZE    32 /* with CREATE: change the size of a file
                                     that exists */
#define BLKRING_OPEN_SPARSE    64 /* with CREATE: do not write the blocks of
                                     the new file */

#define BLKRING_TIMEOUT_NONE  UINT32_MAX
#define BLKRING_RECONNECT_OFF UINT32_MAX

struct blkring_open_options {
  unsigned flags;            /* BLKRING_OPEN_* */
  uint64_t size;             /* with CREATE, bytes */
  /* Of NBD. */
  uint32_t timeout;          /* milliseconds, 0 = 60000: how long a call waits
                                for a server that does not answer */
  uint32_t reconnect;        /* milliseconds, 0 = 30000: how long a call tries
                                to connect again when the connection is
                                lost */
  blkring_log_fn log;        /* as blkring_device_set_log sets it, but from
                                the beginning; NULL = none */
  void *log_opaque;
  uint64_t reserved[5];      /* zero */
};

/* Open what a name says: an NBD URI (nbd://HOST, nbds://HOST,
 * nbd+unix:///?socket=PATH and all others that libnbd knows), or else a
 * file or block device.
 *
 * An NBD server is any, and may be used by others at the same time.  With
 * CREATE its export must have 'size' bytes; DIRECT and BUFFERED are
 * refused.  NULL on error, ENOENT for instance where there is no such
 * export, ECONNREFUSED, ETIMEDOUT.
 *
 * A file or block device: without DIRECT and
 * BUFFERED, block devices are opened with O_DIRECT (two hosts must not
 * read each other's past from a page cache), regular files without.
 * 'options' may be NULL.  With CREATE a file that exists must have the
 * size given, or be empty (unless RESIZE).
 *
 * NULL on error: what open(2) says, EINVAL for what is no file and no
 * block device, EEXIST, ENOSPC. */
extern blkring_device *
blkring_device_open (const char *name,
                     const struct blkring_open_options *options);

/* A device in memory, zeroed, of 'size' bytes and sectors of
 * 'sector_size' (0 = 512).  Its content ends with it. */
extern blkring_device *
blkring_device_memory (uint64_t size, uint32_t sector_size);

/* Close.  Every producer and consumer on it must have been freed.  NULL is
 * allowed. */
extern void blkring_device_close (blkring_device *device);

/* Name for messages; never NULL. */
extern const char *blkring_device_name (const blkring_device *device);
extern int blkring_device_set_name (blkring_device *device, const char *name);

/* Size and the like, as the device says now. */
extern int blkring_device_geometry (blkring_device *device,
                                    struct blkring_geometry *geometry);

/* Plain I/O for tools: whole requests, checked against the size of the
 * device, of any alignment for reads; writes must be aligned. */
extern int blkring_device_read (blkring_device *device, void *buf,
                                size_t count, uint64_t offset);
extern int blkring_device_write (blkring_device *device, const void *buf,
                                 size_t count, uint64_t offset);
extern int blkring_device_flush (blkring_device *device);

/*---------------------------------------------------------------------*/
/* Log, trace, clock.                                                    */

/* Set before any ring on the device is attached.  Callbacks must not
 * call the library.  NULL = none. */
extern void blkring_device_set_log (blkring_device *device,
                                    blkring_log_fn log, void *opaque);

enum blkring_trace_op { BLKRING_TRACE_GET, BLKRING_TRACE_SET };
enum blkring_trace_field {
  BLKRING_TRACE_PRODUCER,    /* value: a position */
  BLKRING_TRACE_CONSUMER,    /* value: a position */
  BLKRING_TRACE_SUSPEND,     /* value: 1 or 0 */
  BLKRING_TRACE_SUSPEND_ACK, /* value: 1 or 0 */
};

/* Called for each pointer and flag that a producer or consumer takes from
 * the device, and for each before it writes it. */
typedef void (*blkring_trace_fn) (void *opaque, enum blkring_trace_op op,
                                  const char *queue, const char *client,
                                  enum blkring_trace_field field,
                                  uint64_t value);
extern void blkring_device_set_trace (blkring_device *device,
                                      blkring_trace_fn trace, void *opaque);

/* A clock of the caller's, for tests: intervals are measured with 'now', and
 * wait sleeps in 'sleep' alone. */
struct blkring_clock {
  uint64_t (*now) (void *opaque);                   /* nanoseconds */
  int (*sleep) (void *opaque, uint64_t nanoseconds); /* -1: EINTR */
  void *opaque;
};

/*---------------------------------------------------------------------*/
/* Rings.                                                                */

/* A count of bytes since the ring was created.  Opaque: compare it, keep
 * it, print it, give it back; do not calculate with it. */
typedef uint64_t blkring_position;

/* Less than, equal to or greater than 0, as a is before, at or after b. */
extern int blkring_position_compare (blkring_position a, blkring_position b);

enum blkring_state {
  BLKRING_RUNNING = 0,
  BLKRING_SUSPEND_REQUESTED = 1,
  BLKRING_SUSPENDED = 2,
  BLKRING_RESUME_REQUESTED = 3,
};

#define BLKRING_CREATE_FORCE 1 /* format a device that is not blank */

struct blkring_create_options {
  unsigned flags;            /* BLKRING_CREATE_* */
  unsigned format;           /* 2; 1 = MirageOS compatible; 0 = 2 */
  uint32_t sector_size;      /* format 1: 512 or 4096; 0 = the device's */
  /* Format 2. */
  uint32_t block_size;       /* bytes: a power of two, 512 … 65536, at least
                                the device's sector; 0 = 4096.  Each push
                                takes a whole number of blocks */
  unsigned consumers;        /* 1 … 64, each of which gets every item; 0 = 1 */
  uint64_t largest_frame;    /* bytes that one push may take, a multiple of
                                block_size; 0 = 4 MiB, or the capacity */
  const char *label;         /* at most 64 bytes; NULL = "" */
  uint64_t reserved[8];      /* zero */
};

/* Make an empty ring.  Returns 1, and keeps its content, where a valid
 * ring is already (unless FORCE); 0 when a ring was made.
 *
 * Only a blank device is formatted without FORCE: one in which neither
 * libblkid nor blkring's own list of image formats finds anything, and
 * whose first MiB and last 64 KiB are zeros.
 *
 * EINVAL  too small, or size not a multiple of the sector size
 * EEXIST  the device holds something else (the message says what)
 * EBUSY   a producer or consumer is attached, or a server guards the ring */
extern int blkring_create (blkring_device *device,
                           const struct blkring_create_options *options);

/* Would create take a device of this size and sector size (bytes; 1 for a
 * file)?  Nothing is read or written.  EINVAL, with the numbers in the
 * message. */
extern int
blkring_create_check (uint64_t size, uint32_t sector_size,
                      const struct blkring_create_options *options);

/* Called with the bytes done and the bytes in all. */
typedef void (*blkring_progress_fn) (void *opaque, uint64_t done,
                                     uint64_t total);

/* Overwrite the whole device, ring included, with the 'length' bytes of
 * 'pattern' again and again (NULL: zeros), and flush.  The signature goes
 * first, durably.  Fails with EBUSY while somebody is attached, or a server
 * guards the ring. */
extern int blkring_erase (blkring_device *device,
                          const void *pattern, size_t length,
                          blkring_progress_fn progress, void *opaque);

/*---------------------------------------------------------------------*/
/* Attaching.                                                            */

enum blkring_durability {
  BLKRING_DURABILITY_FULL = 0, /* the contract */
  BLKRING_DURABILITY_NONE = 1, /* no flushes: survives the death of the
                                  process, not of the machine */
};

#define BLKRING_ATTACH_OBSERVER 1 /* consumer: own nothing; pop, fold, state,
                                     suspend and resume work beside a running
                                     consumer, advance does not */
#define BLKRING_ATTACH_FORCE    2 /* observer: suspend and resume also where
                                     locks cannot reach the consumer */

#define BLKRING_ATTACH_TAKEOVER 4 /* format 2: replace an owner that may be
                                     alive; waits two poll intervals,
                                     a producer twice */

#define BLKRING_ATTACH_SALVAGE 8  /* format 2, consumer: go on behind what is
                                     damaged, and report it to 'skipped' */

/* What salvage left out: from one position to another, and why. */
typedef void (*blkring_skipped_fn) (void *opaque, blkring_position from,
                                    blkring_position to, const char *why);

struct blkring_attach_options {
  const char *queue;         /* NULL = "unknown" */
  const char *client;        /* NULL = "unknown" */
  unsigned flags;            /* BLKRING_ATTACH_* */
  enum blkring_durability durability;
  uint64_t largest_item;     /* bytes, 0 = 64 MiB.  Larger ones are refused
                                (EMSGSIZE) by push and by pop */
  uint32_t poll_interval;    /* milliseconds, 0 = 100: how old the last look
                                at the other side may be before a write */
  uint32_t poll_limit;       /* milliseconds, 0 = 100: how slow wait polls at
                                most where it has to poll */
  uint32_t sector_size;      /* format 1: 512 or 4096; 0 = probe */
  unsigned consumer;         /* which one, from 0 */
  const struct blkring_clock *clock; /* NULL = the system's */
  blkring_skipped_fn skipped; /* with SALVAGE; may be NULL.  Called with the
                                 handle locked */
  void *skipped_opaque;
  uint64_t reserved[8];      /* zero */
};

/* Key/value pairs for diagnostics.  At least producer/offset,
 * producer/suspend_ack, consumer/offset, consumer/suspend (format 1: the
 * flags as on disk, 1 true, 2 false; format 2: the numbers of the request
 * that was acknowledged last and of the last one).  fn must not use the
 * handle. */
typedef void (*blkring_debug_fn) (void *opaque, const char *key,
                                  const char *value);

/*---------------------------------------------------------------------*/
/* Producer.                                                             */

typedef struct blkring_producer blkring_producer;

/* Become the producer.  Acknowledges a pending suspend or resume, and
 * succeeds on a suspended ring.  'options' may be NULL.
 *
 * NULL on error: EBUSY (another producer: the message has its text, once it
 * has written one), EMEDIUMTYPE, EBADMSG, EROFS, ENOTSUP (durability full on
 * a device that cannot flush), EINVAL (sector_size), ENOMEM, EIO. */
extern blkring_producer *
blkring_producer_attach (blkring_device *device,
                         const struct blkring_attach_options *options);

/* Write one item of 'length' bytes, durably, behind the last one pushed.
 * It stays invisible until blkring_producer_advance.  In *after (may be
 * NULL) the position to advance to.
 *
 * EAGAIN does not fit now; ESHUTDOWN suspended; EMSGSIZE never fits. */
extern int blkring_producer_push (blkring_producer *producer,
                                  const void *item, size_t length,
                                  blkring_position *after);

/* The same for 'nr' items, one or more, as one durable write: all are
 * pushed or none. */
extern int blkring_producer_pushv (blkring_producer *producer,
                                   const struct iovec *items, size_t nr,
                                   blkring_position *after);

/* Expose everything up to 'position', which a push of this handle
 * returned (EINVAL otherwise, and for going back). */
extern int blkring_producer_advance (blkring_producer *producer,
                                     blkring_position position);

/* Push and advance.  Also exposes what was pushed before. */
extern int blkring_producer_append (blkring_producer *producer,
                                    const void *item, size_t length,
                                    blkring_position *after);
extern int blkring_producer_appendv (blkring_producer *producer,
                                     const struct iovec *items, size_t nr,
                                     blkring_position *after);

/* BLKRING_RUNNING or BLKRING_SUSPENDED, or -1.  Looks at the device, and
 * acknowledges what the consumer requested. */
extern int blkring_producer_state (blkring_producer *producer);

/* Sleep until an item of 'length' bytes can be pushed and the ring is not
 * suspended; or with length (size_t)-1 until the ring is not suspended.
 * Acknowledges suspend and resume.  'timeout_ms' < 0: no limit.  The
 * handle can be used from other threads meanwhile.
 *
 * ETIMEDOUT, EINTR (a signal), EMSGSIZE (never). */
extern int blkring_producer_wait (blkring_producer *producer, size_t length,
                                  int timeout_ms);

/* Largest item that this handle can push into the empty ring, bytes. */
extern uint64_t blkring_producer_largest_item (blkring_producer *producer);

extern int blkring_producer_debug_info (blkring_producer *producer,
                                        blkring_debug_fn fn, void *opaque);

/* Stop being the producer.  What was pushed and not advanced is dropped.
 * Every later call but free fails with EINVAL. */
extern int blkring_producer_detach (blkring_producer *producer);

/* Detach if needed and free.  NULL is allowed. */
extern void blkring_producer_free (blkring_producer *producer);

/*---------------------------------------------------------------------*/
/* Consumer.                                                             */

typedef struct blkring_consumer blkring_consumer;

struct blkring_item {
  const void *data;          /* NULL or not where length is 0 */
  size_t length;
  blkring_position position; /* of the item */
  blkring_position next;     /* what to advance to, or to pop from, next */
};

/* Become the consumer, or an observer.  Errors as for the producer. */
extern blkring_consumer *
blkring_consumer_attach (blkring_device *device,
                         const struct blkring_attach_options *options);

/* Read the item at *from, or with from == NULL the oldest one.  It stays
 * in the ring: pop without advance gives the same item again.
 *
 * item->data points into the handle's buffer, and is valid until the next
 * pop, fold, detach or free of this handle: threads that share a consumer
 * must agree on that, or use blkring_consumer_pop_copy.
 *
 * EAGAIN nothing there; EINVAL *from is not where an item starts;
 * EMSGSIZE larger than the largest_item of attach: item->length and
 * item->next are set, and one may advance over it; EBADMSG. */
extern int blkring_consumer_pop (blkring_consumer *consumer,
                                 const blkring_position *from,
                                 struct blkring_item *item);

/* Read up to 'max' items into items[], the first at *from; as many as
 * are at hand, at least one.  Returns their number (1 … max) or -1. */
extern ssize_t blkring_consumer_popv (blkring_consumer *consumer,
                                      const blkring_position *from,
                                      struct blkring_item *items,
                                      size_t max);

/* Like pop, into the caller's buffer of 'size' bytes: item->data = buf.
 * EMSGSIZE if it is too small, with item->length set. */
extern int blkring_consumer_pop_copy (blkring_consumer *consumer,
                                      const blkring_position *from,
                                      void *buf, size_t size,
                                      struct blkring_item *item);

/* Call fn for every item that can be popped, oldest first, from *from
 * (NULL: the oldest), those included that arrive meanwhile.  fn must not use
 * this handle.  Ends early when fn returns other than 0, and returns
 * that. */
typedef int (*blkring_fold_fn) (void *opaque,
                                const struct blkring_item *item);
extern int blkring_consumer_fold (blkring_consumer *consumer,
                                  const blkring_position *from,
                                  blkring_fold_fn fn, void *opaque);

/* Free everything up to 'position', the 'next' of an item that was
 * popped (EINVAL otherwise, and for going back).  Those items will not be
 * delivered again.  EAGAIN: after a crash of its host the producer stands
 * before that position again; pop anew. */
extern int blkring_consumer_advance (blkring_consumer *consumer,
                                     blkring_position position);

/* Ask the producer to stop, or to go on.  No error when that is already
 * so or already asked for.  EAGAIN while the opposite is not acknowledged
 * yet. */
extern int blkring_consumer_suspend (blkring_consumer *consumer);
extern int blkring_consumer_resume (blkring_consumer *consumer);

/* BLKRING_RUNNING or BLKRING_SUSPENDED: what the producer acknowledged
 * last; or -1. */
extern int blkring_consumer_state (blkring_consumer *consumer);

/* Sleep until there is an item at or behind *from (NULL: the oldest).
 * As blkring_producer_wait otherwise. */
extern int blkring_consumer_wait (blkring_consumer *consumer,
                                  const blkring_position *from,
                                  int timeout_ms);

/* Sleep until the producer has acknowledged 'state' (RUNNING or
 * SUSPENDED). */
extern int blkring_consumer_wait_state (blkring_consumer *consumer,
                                        enum blkring_state state,
                                        int timeout_ms);

/* Where the next pop without 'from' reads; for an observer, as it was when
 * it last looked. */
extern int blkring_consumer_position (blkring_consumer *consumer,
                                      blkring_position *position);

extern int blkring_consumer_debug_info (blkring_consumer *consumer,
                                        blkring_debug_fn fn, void *opaque);

extern int blkring_consumer_detach (blkring_consumer *consumer);
extern void blkring_consumer_free (blkring_consumer *consumer);

/*---------------------------------------------------------------------*/
/* Journal.                                                              */

/* At-least-once execution: what is pushed is performed, in order, also
 * after a crash.  A journal is both sides of one ring, and a thread that
 * calls 'perform'. */
typedef struct blkring_journal blkring_journal;

/* Perform these items, one or more, oldest first.  0: done; they are freed,
 * durably: at once, or while pushes are under way together with what is
 * performed next, as if all of that were one batch.  -1: the same items are
 * tried again after the retry interval, and those behind them wait.  What they
 * point to is valid until it returns.  Called by the journal's thread alone.
 * It must not wait for its own journal: sync and shutdown give it EDEADLK,
 * and push does what it does with NONBLOCK. */
typedef int (*blkring_perform_fn) (const struct blkring_item *items,
                                   size_t nr, void *opaque);

/* What to do about an item that has failed 'attempts' times. */
enum blkring_verdict {
  BLKRING_VERDICT_RETRY,     /* go on trying; ask again after the next one */
  BLKRING_VERDICT_SKIP,      /* free it without it having been performed */
  BLKRING_VERDICT_STOP,      /* stop the journal; the item stays */
};
typedef enum blkring_verdict
(*blkring_verdict_fn) (const struct blkring_item *item, unsigned attempts,
                       void *opaque);

#define BLKRING_JOURNAL_CREATE  1 /* make the ring where the device is blank */
#define BLKRING_JOURNAL_NO_WAIT 2 /* start: do not wait for the replay */

struct blkring_journal_options {
  unsigned flags;            /* BLKRING_JOURNAL_* */
  uint32_t retry_interval;   /* milliseconds, 0 = 5000 */
  uint32_t flush_interval;   /* milliseconds that an item may wait for others
                                to be performed with it */
  uint32_t batch_items;      /* at most so many in one call of perform … */
  uint64_t batch_bytes;      /* … and so many bytes, unless one item has more;
                                0 = 1024 and 1 MiB */
  unsigned max_attempts;     /* ask 'verdict' after so many; 0 = never */
  blkring_verdict_fn verdict;  /* its opaque is that of perform */
  const struct blkring_create_options *create; /* with CREATE, without FORCE;
                                NULL = the defaults */
  const struct blkring_attach_options *attach; /* of both sides; its clock is
                                the journal's too; NULL = the defaults */
  uint64_t reserved[8];      /* zero */
};

/* Become producer and consumer of the ring, and perform what is left in it.
 * Returns when all of that was performed, or an attempt failed (unless
 * NO_WAIT).  'options' may be NULL; they are copied.  'device' must stay
 * open until blkring_journal_free.
 *
 * NULL on error: as for blkring_create and for attach, what stopped the
 * journal during the replay, EINVAL (options). */
extern blkring_journal *
blkring_journal_start (blkring_device *device,
                       const struct blkring_journal_options *options,
                       blkring_perform_fn perform, void *opaque);

/* Which item a push has stored; of one journal, until it is freed. */
typedef uint64_t blkring_journal_waiter;

#define BLKRING_JOURNAL_NONBLOCK 1 /* fail where push had to wait */

/* Store an item.  When it returns 0 the item is durable, and will be
 * performed even if the process dies.  Waits while the ring is full or
 * suspended.  Pushes of several threads share durable writes.  In *waiter
 * (may be NULL) what flush and sync take.
 *
 * With NONBLOCK: EAGAIN full, ESHUTDOWN suspended.  EMSGSIZE too large;
 * ECANCELED the journal was shut down, the item is not stored; or what
 * stopped the journal. */
extern int blkring_journal_push (blkring_journal *journal,
                                 const void *item, size_t length,
                                 unsigned flags,
                                 blkring_journal_waiter *waiter);

/* End the flush interval for this item and all before it.  Does not wait. */
extern int blkring_journal_flush (blkring_journal *journal,
                                  blkring_journal_waiter waiter);

/* Wait until the item has been performed and freed, or skipped.
 * 'timeout_ms' < 0: no limit.
 *
 * ETIMEDOUT; ECANCELED the journal was shut down before; or what stopped
 * the journal. */
extern int blkring_journal_sync (blkring_journal *journal,
                                 blkring_journal_waiter waiter,
                                 int timeout_ms);

#define BLKRING_JOURNAL_DRAIN 1 /* perform what is left, until an attempt
                                   fails */

/* Stop: refuse pushes, wake whoever waits, let a perform that runs end,
 * detach.  Items that were not performed stay in the ring.
 *
 * EAGAIN a drain left items; or what had stopped the journal.  It is shut
 * down in any case but EDEADLK (called by perform) and EINVAL (flags). */
extern int blkring_journal_shutdown (blkring_journal *journal,
                                     unsigned flags);

/* Shut down if needed and free.  NULL is allowed. */
extern void blkring_journal_free (blkring_journal *journal);

/*---------------------------------------------------------------------*/
/* Looking, without attaching.                                           */

#define BLKRING_TEXT_SIZE 385

enum blkring_owner {
  BLKRING_OWNER_NONE,        /* nobody, or one that detached */
  BLKRING_OWNER_ALIVE,       /* a process on this host */
  BLKRING_OWNER_DEAD,        /* was one */
  BLKRING_OWNER_ELSEWHERE,   /* on another host, nobody knows */
};

/* One side of a ring of format 2. */
struct blkring_side_info {
  enum blkring_owner owner;
  char queue[129], client[129], host[65];
  uint64_t process;
  uint64_t since;            /* ns since 1970, of its last record */
  bool enabled;              /* consumers */
  blkring_position position;
  uint64_t items, bytes;     /* consumers: unread; bytes of the data area */
};

struct blkring_info {
  unsigned format;           /* 1 or 2 */
  uint32_t sector_size;      /* bytes */
  uint64_t capacity;         /* bytes of the data area */
  blkring_position producer; /* the end of what is exposed */
  blkring_position consumer; /* the start of what is unread */
  uint64_t used, free;       /* bytes of the data area */
  uint64_t largest_item;     /* bytes, that the empty ring can take */
  uint64_t items;            /* number of unread items */
  uint64_t item_bytes;       /* their payload in all */
  uint64_t smallest_unread, largest_unread; /* bytes; 0 when none */
  enum blkring_state state;
  char producer_text[BLKRING_TEXT_SIZE]; /* NUL-ended, may be "" */
  char consumer_text[BLKRING_TEXT_SIZE];
  /* Format 2.  'consumer', 'used', 'items' and what follows them are of the
   * enabled consumer that is farthest behind. */
  uint32_t block_size;       /* bytes */
  uint64_t largest_frame;    /* bytes */
  unsigned char uuid[16];
  char label[65];
  uint64_t created;          /* ns since 1970 */
  uint64_t epoch;            /* of the producer */
  uint64_t staged;           /* bytes that were pushed and not exposed */
  bool unflushed;            /* was used with durability none */
  unsigned nr_consumers;
  struct blkring_side_info producer_side;
  struct blkring_side_info consumers[64];
  uint32_t features[3];      /* bits: incompatible, compatible for reading,
                                compatible; see docs/format2.md */
  uint64_t reserved[6];
};

#define BLKRING_INSPECT_POINTERS 1 /* inspect: look at the pointers alone, not
                                      at items; 'items' and what depends on
                                      them is 0 */

struct blkring_inspect_options {
  uint32_t sector_size;      /* format 1: 512 or 4096; 0 = probe */
  unsigned flags;            /* BLKRING_INSPECT_* */
  uint64_t reserved[8];      /* zero */
};

/* Describe the ring.  Takes no lock, writes nothing, works beside a
 * running ring. */
extern int blkring_inspect (blkring_device *device,
                            const struct blkring_inspect_options *options,
                            struct blkring_info *info);

enum blkring_finding_kind {
  BLKRING_FINDING_CORRUPTION,
  BLKRING_FINDING_LEAK,      /* space in use that nothing needs */
};
struct blkring_finding {
  enum blkring_finding_kind kind;
  uint64_t offset;           /* byte on the device */
  const char *message;       /* one line */
};
typedef void (*blkring_finding_fn) (void *opaque,
                                    const struct blkring_finding *finding);

/* Walk everything, as far as it can be followed, and report what breaks the
 * format.  Beside a running
 * ring only what persists is reported.  'fn' may be NULL.  Returns the
 * number of findings, 0 = clean; or -1: could not look (EMEDIUMTYPE: not a
 * ring). */
extern int blkring_check (blkring_device *device,
                          const struct blkring_inspect_options *options,
                          blkring_finding_fn fn, void *opaque);

enum blkring_repair {
  BLKRING_REPAIR_LEAKS,      /* drop what was pushed and never exposed */
  BLKRING_REPAIR_ALL,        /* format 2: also write a damaged copy of the
                                superblock or of a record anew from the good
                                one, and drop a frame behind the end that a
                                producer wrote which had been replaced;
                                format 1: set a producer that stands
                                behind its consumer to the consumer's
                                position */
};

/* Repair what can be repaired without a loss.  fn (may be NULL) is told of
 * each repair.  Returns their number, or -1: EBUSY while somebody is
 * attached, or a server guards the ring. */
extern int blkring_repair (blkring_device *device,
                           const struct blkring_inspect_options *options,
                           enum blkring_repair what,
                           blkring_finding_fn fn, void *opaque);

/* Format 2, a ring of several consumers: let consumer 'index' get items and
 * hold back space, or not.  One that is enabled begins with what is exposed
 * from then on.  The last one cannot be disabled (EINVAL).  EBUSY while that
 * consumer is attached, or a producer that is not suspended. */
extern int blkring_consumer_enable (blkring_device *device, unsigned index,
                                    bool enable);

enum blkring_region_kind {
  BLKRING_REGION_SIGNATURE,
  BLKRING_REGION_PRODUCER,
  BLKRING_REGION_CONSUMER,
  BLKRING_REGION_UNREAD,
  BLKRING_REGION_FREE,
  BLKRING_REGION_CONTROL,    /* format 2: requests to suspend */
  BLKRING_REGION_OUTSIDE,    /* behind the ring, not touched */
};
struct blkring_region {
  uint64_t offset, length;   /* bytes on the device */
  enum blkring_region_kind kind;
  bool wrapped;              /* continues a region that was cut by the end
                                of the data area */
};
typedef int (*blkring_map_fn) (void *opaque,
                               const struct blkring_region *region);

/* Call fn for the regions of the device, in order of their offset; they
 * cover it without gaps.  Ends early when fn returns other than 0, and
 * returns that. */
extern int blkring_map (blkring_device *device,
                        const struct blkring_inspect_options *options,
                        blkring_map_fn fn, void *opaque);

#ifdef __cplusplus
}
#endif

#endif /* BLKRING_H */
