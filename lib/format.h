/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a format has to answer, and the state that producer.c and
 * consumer.c share with it.
 *
 * What is the same for all formats (locks, poisoning, waiting, the age of
 * the last look, argument checks, tracing) stands above this table, in
 * producer.c, consumer.c and ring.c.  A format's functions are called
 * with the handle's lock held, and with a handle that is attached and not
 * poisoned.  A function that fails sets the error; one that fails to
 * write or flush calls poison ().
 */

#ifndef BLKRING_FORMAT_H
#define BLKRING_FORMAT_H

#include <limits.h>
#include <pthread.h>

#include "blkring.h"
#include "device.h"

struct format;

/* A ring that was found on a device. */
struct ring {
  blkring_device *device;
  const struct format *format;
  uint32_t sector_size;      /* unit of pointers and data on disk */
  uint64_t data_offset;      /* bytes, on the device */
  uint64_t capacity;         /* bytes of the data area */
  uint64_t largest_item;     /* bytes, that the empty ring can take */
  /* Of format 2 alone. */
  uint32_t block_size;
  unsigned consumers;
  uint64_t largest_frame;
  unsigned char uuid[16];
  char label[65];
  uint64_t created;          /* ns since 1970 */
  uint32_t features[3];      /* incompatible, compatible for reading,
                                compatible */
  bool read_only;            /* has features that forbid us to write */
};

/* What producer and consumer have in common. */
struct handle {
  pthread_mutex_t lock;
  struct ring ring;
  char *queue, *client;
  bool flushes;              /* false: durability none */
  uint64_t largest_item;     /* bytes, of attach */
  uint64_t poll_interval;    /* ns */
  uint64_t poll_limit;       /* ns */
  bool takeover;
  struct blkring_clock clock;
  bool real_clock;
  bool attached;
  int poison_errno;          /* 0 = not poisoned */
  char *poison_cause;
  uint64_t connection;       /* of the device, on which the ring was last
                                looked at and found to be as we know it */
  /* After that was lost: look again, 0 if this side is still ours.  NULL:
   * the caller gets ESTALE, and does that. */
  int (*look_again) (struct handle *h);
  void *watch;               /* NULL until the first wait */
  bool watch_taken;          /* a thread waits with it */
};

struct blkring_producer {
  struct handle h;
  uint64_t tail;             /* where the next push writes */
  uint64_t exposed;          /* what the consumer may read ends here */
  uint64_t freed_seen;       /* the consumer's position as last read … */
  uint64_t freed;            /* … and as far as it is known to be durable */
  bool suspend;              /* requested, as last read */
  bool suspend_ack;          /* acknowledged, as last written */
  uint64_t last_look;        /* ns, when the consumer was last looked at */
  uint64_t *pushed;          /* positions that push returned, ascending … */
  size_t nr_pushed, alloc_pushed; /* … and that were not advanced yet */
  void *format_state;
};

struct blkring_consumer {
  struct handle h;
  unsigned index;            /* which consumer */
  bool observer;
  bool force;
  bool salvage;
  blkring_skipped_fn skipped;
  void *skipped_opaque;
  uint64_t position;         /* everything before is freed */
  uint64_t popped;           /* end of the last item delivered */
  uint64_t *ends;            /* of items delivered, ascending, all before
                                'popped' or it; not all of them */
  size_t nr_ends;
  uint64_t limit;            /* what can be read ends here, as last read … */
  uint64_t limit_durable;    /* … and as far as it is known to be durable */
  bool suspend;              /* requested, as last read or written */
  bool suspend_ack;          /* acknowledged, as last read */
  void *format_state;
};

struct format {
  unsigned number;
  /* A request to suspend rewrites nothing that the consumer writes. */
  bool request_apart;

  /* Is it here?  1 and the ring, 0, or -1.  'sector_size' 0 = find out. */
  int (*probe) (blkring_device *device, uint32_t sector_size,
                struct ring *ring);
  /* Could a ring be made on such a device? */
  int (*create_check) (const struct blkring_geometry *geometry,
                       const struct blkring_create_options *options);
  /* With options that create_check has passed. */
  int (*create) (blkring_device *device,
                 const struct blkring_create_options *options);
  /* Make that there is no ring of this format, durably. */
  int (*wipe) (blkring_device *device);

  /* Open a side: read and check what the device holds, set the state
   * above and format_state. */
  int (*producer_open) (blkring_producer *p);
  void (*producer_close) (blkring_producer *p);
  /* Read what the consumer wrote: sets freed_seen and suspend. */
  int (*producer_look) (blkring_producer *p);
  /* Bytes of the data area that these items take, and whether they could
   * ever fit (EMSGSIZE). */
  int (*measure) (blkring_producer *p, const struct iovec *items, size_t nr,
                  uint64_t *needed);
  /* Write the items behind the tail, durably, and move the tail.  With
   * 'expose' also make them visible.  'needed' is what measure said. */
  int (*write) (blkring_producer *p, const struct iovec *items, size_t nr,
                uint64_t needed, bool expose);
  int (*expose) (blkring_producer *p, uint64_t position);
  /* What 'suspend' asks for. */
  int (*acknowledge) (blkring_producer *p);
  /* May be NULL.  Called after a look, before a push fails for want of
   * space. */
  int (*full) (blkring_producer *p);

  int (*consumer_open) (blkring_consumer *c);
  void (*consumer_close) (blkring_consumer *c);
  /* Read what the producer wrote, and our own record. */
  int (*consumer_look) (blkring_consumer *c);
  /* Read up to 'max' items at 'from' (which is where an item may start):
   * their number, or -1 and EAGAIN. */
  ssize_t (*read) (blkring_consumer *c, uint64_t from,
                   struct blkring_item *items, size_t max);
  /* Can an item be popped at 'at'?  1, 0, -1.  Like the next two, it leaves
   * alone what 'read' handed out. */
  int (*has_item) (blkring_consumer *c, uint64_t at);
  /* Is this where an item starts or the last one ends?  Up to 'popped'.
   * 1, 0, -1. */
  int (*is_boundary) (blkring_consumer *c, uint64_t position);
  int (*free_to) (blkring_consumer *c, uint64_t position);
  int (*request) (blkring_consumer *c, bool suspend);

  /* 'index': of which consumer. */
  int (*texts) (const struct ring *ring, unsigned index, char *producer,
                char *consumer);
  /* 'index': likewise, or FARTHEST_BEHIND. */
  int (*debug) (const struct ring *ring, unsigned index, blkring_debug_fn fn,
                void *opaque);
  int (*inspect) (const struct ring *ring, unsigned flags,
                  struct blkring_info *info);
  int (*check) (const struct ring *ring, blkring_finding_fn fn,
                void *opaque);
  int (*map) (const struct ring *ring, blkring_map_fn fn, void *opaque);
  /* May be NULL: there is one consumer.  With its owner lock held. */
  int (*enable) (const struct ring *ring, unsigned index, bool on);
  /* Reports each thing that was repaired; their number.  With both owner
   * locks held. */
  int (*repair) (const struct ring *ring, enum blkring_repair what,
                 blkring_finding_fn fn, void *opaque);
};

#define FARTHEST_BEHIND UINT_MAX

extern const struct format format1, format2;

/* Formats by probe order, NULL-ended. */
extern const struct format *const formats[];

/* ring.c: find the ring on a device.  -1, EMEDIUMTYPE: there is none. */
extern int ring_open (blkring_device *device, uint32_t sector_size,
                      struct ring *ring);
/* Keep everybody from attaching; fails with EBUSY where somebody is. */
extern int lock_sides (blkring_device *device);
extern void unlock_sides (blkring_device *device);
/* The same to change the ring as a whole: also fails where a server guards
 * it. */
extern int lock_ring (blkring_device *device);

/* Where a position lies on the device. */
extern uint64_t ring_offset (const struct ring *ring, uint64_t position);
/* Stream positions [from, to), whole sectors or blocks, at most the
 * capacity and a sector, as requests: one, or two around the end of the data area. */
extern size_t ring_parts (const struct ring *ring,
                          enum blkring_part_kind kind, void *buf,
                          uint64_t from, uint64_t to,
                          struct blkring_part *parts);
/* Read stream positions [from, to), whole sectors or blocks, at most the
 * capacity: one request, or two around the end of the data area. */
extern int ring_read (const struct ring *ring, void *buf, uint64_t from,
                      uint64_t to);

/* blank.c: 1 when the device is blank, 0 when not and 'what' says what is
 * there, -1 error. */
extern int device_is_blank (blkring_device *device, char *what, size_t size);

/* handle.c */
/* 'flags': those that this side knows. */
extern int handle_init (struct handle *h, blkring_device *device,
                        const struct blkring_attach_options *options,
                        unsigned flags);
extern void handle_free (struct handle *h);
/* Whether an attach failed only because the connection was lost, and shall be
 * tried again, after so many tries: from the beginning. */
extern bool handle_attach_again (int tries);
/* May the handle be used?  -1 when detached or poisoned. */
extern int handle_check (struct handle *h);
/* Keep the error that is set as the cause of all later failures; -1. */
extern int poison (struct handle *h);
/* Flush, or nothing with durability none; poisons on failure.  As the two
 * below, but without poisoning, ESTALE where the connection was lost and
 * there is no look_again. */
extern int handle_flush (struct handle *h);
/* Write durably, or with durability none just write; poisons. */
extern int handle_write_durable (struct handle *h, const void *buf,
                                 size_t count, uint64_t offset);
/* Parts at once, perhaps with reads beside; see device_submit. */
extern int handle_submit (struct handle *h, struct blkring_part *parts,
                          size_t nr, bool durable);

#endif /* BLKRING_FORMAT_H */
