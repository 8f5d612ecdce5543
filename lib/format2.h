/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2: the structures on disk as the code sees them, and what its
 * files offer each other.  docs/format2.md is the specification; the
 * offsets of the fields are in format2-layout.c alone.
 */

#ifndef BLKRING_FORMAT2_H
#define BLKRING_FORMAT2_H

#include "bytes.h"
#include "format.h"

#define F2_SLOT 4096         /* bytes from one structure to the next … */
#define F2_CONTENT 512       /* … of which so many are used */
#define F2_VERSION 2
#define F2_HEADER 64         /* of a frame */
#define F2_MAX_CONSUMERS 64
#define F2_MIN_BLOCK 512
#define F2_MAX_BLOCK 65536
#define F2_DEFAULT_BLOCK 4096
#define F2_DEFAULT_FRAME (UINT64_C (4) << 20)
#define F2_MAX_FRAME (UINT64_C (1) << 30)
#define F2_LABEL 64
#define F2_NAME 128

struct f2_super {
  uint32_t incompat, ro_compat, compat;
  uint32_t block_size;
  uint32_t consumers;
  uint64_t data_offset, capacity, largest_frame;
  uint64_t created;          /* ns since 1970 */
  unsigned char uuid[16];
  char label[F2_LABEL + 1];
};

/* Who wrote a record. */
struct f2_identity {
  uint64_t pid, start_time, pid_namespace;
  unsigned char boot_id[16], machine_id[16];
  char host[65];
};

/* Which record: the producer's, the control record, or a consumer's. */
enum { F2_PRODUCER = 0, F2_CONTROL = 1, F2_CONSUMER = 2 };

#define F2_CLEAN     1       /* the owner has detached */
#define F2_ENABLED   2       /* consumer: holds back space */
#define F2_SUSPEND   4       /* control: suspend is asked for */
#define F2_UNFLUSHED 8       /* the ring was used with durability none */

struct f2_record {
  uint32_t flags;
  uint64_t epoch, sequence;
  uint64_t position;         /* producer: published; consumer: of the next
                                item */
  uint64_t frame;            /* consumer: start of the frame of 'position' */
  uint32_t chain;            /* header CRC of the frame that ends at
                                'published', or at 'frame' */
  uint64_t frame_epoch, since; /* producer */
  uint64_t suspend;          /* control: number of the request; producer: of
                                the one that is acknowledged */
  uint64_t time;             /* ns since 1970 */
  struct f2_identity owner;
  char queue[F2_NAME + 1], client[F2_NAME + 1];
  bool overwritten;          /* not on disk: its other copy is of an owner
                                before this one, and once was this one's */
};

/* All records, as one read gives them. */
struct f2_records {
  unsigned nr;               /* 2 + consumers */
  struct f2_record record[2 + F2_MAX_CONSUMERS];
  unsigned char copy[2 + F2_MAX_CONSUMERS]; /* which of the two counts */
  bool damaged[2 + F2_MAX_CONSUMERS];       /* the other one is not valid, or
                                overwritten */
  unsigned char *buffer;     /* for the read, and for a write */
  size_t size;
  uint64_t connection;       /* of the device, on which they were read */
};

struct f2_frame {
  uint32_t flags;
  uint64_t position;
  uint64_t epoch;
  uint32_t chain;
  uint32_t items;
  uint64_t length;           /* of the item area */
  uint64_t time;
  uint32_t area_crc;
  uint32_t crc;              /* of the header: the chain of the next */
};

#define F2_PUBLISHED 1

/* format2-layout.c: pure functions on byte arrays. */
extern void f2_encode_super (unsigned char *p, const struct f2_super *s);
extern bool f2_decode_super (const unsigned char *p, struct f2_super *s);
extern bool f2_has_magic (const unsigned char *p);
extern void f2_encode_record (unsigned char *p, const unsigned char *uuid,
                              unsigned kind, const struct f2_record *r);
extern bool f2_decode_record (const unsigned char *p,
                              const unsigned char *uuid, unsigned kind,
                              struct f2_record *r);
/* Sets f->crc. */
extern void f2_encode_frame (unsigned char *p, const unsigned char *uuid,
                             struct f2_frame *f);
/* Magic, CRC, position and bounds. */
extern bool f2_decode_frame (const unsigned char *p, const struct ring *ring,
                             uint64_t position, struct f2_frame *f);
/* It was written behind a frame with this chain value, and no other. */
extern bool f2_continues (const struct f2_frame *f, uint32_t chain);
/* The item area behind the header is what the header says. */
extern bool f2_area_is_valid (const unsigned char *p, const struct ring *ring,
                              const struct f2_frame *f);
extern uint64_t f2_frame_size (const struct ring *ring, uint64_t length);
extern uint64_t f2_item_size (uint64_t length);
/* Length of the item at 'offset' of an area; -1 and EBADMSG. */
extern int f2_item_length (const unsigned char *area,
                           const struct f2_frame *f, uint64_t offset,
                           uint32_t *length);

/* format2-identity.c */
extern void f2_identify (struct f2_identity *me);
/* Is the owner known to be dead: it was on this host, and is not there
 * any more?  For a caller that holds the owner lock; with 'shared' that lock
 * says nothing about another way to the same storage in this process. */
extern bool f2_is_dead (const struct f2_identity *owner, bool shared);
/* One and the same write of a record?  Two that claim it at the same time
 * give it the same epoch and sequence. */
extern bool f2_same_write (const struct f2_record *a,
                           const struct f2_record *b);
/* One line about the owner of a record. */
extern void f2_describe_owner (const struct f2_record *r, char *text,
                               size_t size);
extern uint64_t f2_wall_clock (void);

/* format2-records.c */
extern int f2_records_init (struct f2_records *rs, const struct ring *ring);
extern void f2_records_free (struct f2_records *rs);
/* Read them all: one read.  EBADMSG when both copies of one are not
 * valid, and stay so. */
extern int f2_read_records (const struct ring *ring, struct f2_records *rs);
extern uint64_t f2_record_offset (unsigned kind, unsigned copy);
/* "the producer's", "the control" or "consumer K's", for messages: perhaps in
 * 'text'. */
extern const char *f2_whose (unsigned kind, char *text, size_t size);
/* Write rs->record[kind] to the copy that does not count, with the next
 * sequence number, and let it count.  Durable if 'flush'. */
extern int f2_write_record (const struct ring *ring, struct f2_records *rs,
                            unsigned kind, bool flush);
/* Smallest frame of the enabled consumers. */
extern uint64_t f2_lowest_frame (const struct f2_records *rs,
                                 uint64_t published);
/* The highest place from which one can walk: no frame behind it was
 * overwritten. */
extern uint64_t f2_highest_start (const struct f2_records *rs,
                                  uint32_t *chain);
/* Positions of all records, checked against each other. */
extern int f2_check_records (const struct ring *ring,
                             const struct f2_records *rs);
/* An enabled consumer whose position is past 'tail'; 0: there is none. */
extern unsigned f2_find_past (const struct f2_records *rs, uint64_t tail);
/* The stream ends at 'tail': no consumer can be behind it. */
extern int f2_check_tail (const struct ring *ring,
                          const struct f2_records *rs, uint64_t tail);
/* Can its side be taken at once: has the owner detached, is it known to be
 * dead, or would a server refuse what we write if it were not? */
extern bool f2_owner_is_gone (const struct ring *ring,
                              const struct f2_record *r);
/* May this side be owned?  1: at once; 0: by a takeover; -1, EBUSY with the
 * owner's identity. */
extern int f2_check_owner (const struct ring *ring, const struct f2_record *r,
                           const char *who, bool takeover);
/* Let the copy that counts be durable, for the other one is to be written: a
 * crash could tear both.  'rs' may have changed by that. */
extern int f2_flush_record (struct handle *h, struct f2_records *rs,
                            unsigned kind);
/* Take the record.  Writes both copies. */
extern int f2_claim (struct handle *h, struct f2_records *rs, unsigned kind);
/* Is our record still as we wrote it last?  -1, EBUSY, and the handle is
 * poisoned, when somebody else has written it. */
extern int f2_check_mine (struct handle *h, const struct f2_records *rs,
                          unsigned kind, const struct f2_record *written);

/* format2-takeover.c: claim the record of an owner that may be alive, and
 * wait until it must know.  What it wrote meanwhile is in 'rs'. */
extern int f2_take_over (struct handle *h, struct f2_records *rs,
                         unsigned kind);

/* format2-scan.c: the walk over frames that recovery, check and info do. */
struct f2_scan {
  const struct ring *ring;
  unsigned char *buffer;
  size_t size;
  uint64_t limit;            /* no frame can end behind it */
  uint64_t start, end;       /* of the stream, in the buffer */
  uint64_t at;               /* the next frame */
  uint32_t chain;
  uint64_t patience;         /* bytes that resync may still read of frames
                                that are not valid */
  struct f2_frame frame;     /* the one found last … */
  const unsigned char *bytes; /* … and where it is in the buffer */
};
extern int f2_scan_begin (struct f2_scan *s, const struct ring *ring,
                          uint64_t at, uint32_t chain, uint64_t limit);
/* 1: a valid frame, which is in 'frame', and 'at' is behind it; 0: none
 * here; -1. */
extern int f2_scan_next (struct f2_scan *s);
extern void f2_scan_end (struct f2_scan *s);
/* The next frame that is valid in itself, whatever its chain, at or behind
 * 'from' and before 'end': 1 and s->at and s->chain are such that
 * f2_scan_next finds it; 0; -1. */
extern int f2_scan_resync (struct f2_scan *s, uint64_t from, uint64_t end);
/* Is it of an epoch that was over at its place?  A staged one was there
 * before; an exposed one was written by a producer that had been replaced. */
extern bool f2_is_late (const struct f2_record *producer,
                        const struct f2_frame *f);
/* A valid visible frame of this epoch beyond 'tail'?  1 and where, 0, -1. */
extern int f2_find_beyond (const struct ring *ring, uint64_t tail,
                           uint64_t epoch, uint64_t *where);

/* format2-producer.c */
extern int f2_producer_open (blkring_producer *p);
extern void f2_producer_close (blkring_producer *p);
extern int f2_producer_look (blkring_producer *p);
extern int f2_measure (blkring_producer *p, const struct iovec *items,
                       size_t nr, uint64_t *needed);
extern int f2_write (blkring_producer *p, const struct iovec *items,
                     size_t nr, uint64_t needed, bool expose);
extern int f2_expose (blkring_producer *p, uint64_t position);
extern int f2_acknowledge (blkring_producer *p);
extern int f2_full (blkring_producer *p);

/* format2-consumer.c */
extern int f2_consumer_open (blkring_consumer *c);
extern void f2_consumer_close (blkring_consumer *c);
extern int f2_consumer_look (blkring_consumer *c);
extern ssize_t f2_read (blkring_consumer *c, uint64_t from,
                        struct blkring_item *items, size_t max);
extern int f2_has_item (blkring_consumer *c, uint64_t at);
extern int f2_is_boundary (blkring_consumer *c, uint64_t position);
extern int f2_free_to (blkring_consumer *c, uint64_t position);
extern int f2_request (blkring_consumer *c, bool suspend);

/* format2-manage.c */
extern int f2_enable (const struct ring *ring, unsigned index, bool on);
extern int f2_repair (const struct ring *ring, enum blkring_repair what,
                      blkring_finding_fn fn, void *opaque);

/* format2-inspect.c */
extern int f2_texts (const struct ring *ring, unsigned index,
                     char *producer, char *consumer);
extern int f2_debug (const struct ring *ring, unsigned index,
                     blkring_debug_fn fn, void *opaque);
extern int f2_inspect (const struct ring *ring, unsigned flags,
                       struct blkring_info *info);
/* Is the frame behind the end one of a producer that had been replaced,
 * which may have destroyed another one?  1 and its position; 0; -1. */
extern int f2_find_late (const struct ring *ring, uint64_t *where);
extern int f2_check (const struct ring *ring, blkring_finding_fn fn,
                     void *opaque);
extern int f2_map (const struct ring *ring, blkring_map_fn fn, void *opaque);

#endif /* BLKRING_FORMAT2_H */
