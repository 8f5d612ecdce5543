/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 1 on disk: encode and decode.  docs/format1.md is the
 * specification.
 *
 * All integers little-endian; S = sector size, 512 or 4096.
 *
 *   sector 0    bytes 0..29 "mirage shared-block-device 1.0", rest zero
 *   sector 1    producer: u64 position at 0, suspend_ack at 8, text at 128
 *   sector 2    consumer: u64 position at 0, suspend at 8, text at 128
 *   sector 3…   data area
 *
 * A flag is 1 for true and 2 for false.  An item at position p: u32
 * length, payload, padding to 4.
 */

#ifndef BLKRING_FORMAT1_H
#define BLKRING_FORMAT1_H

#include "bytes.h"
#include "format.h"

#define F1_MAGIC "mirage shared-block-device 1.0"
#define F1_MAGIC_LENGTH 30
#define F1_TEXT_OFFSET 128
#define F1_TEXT_LENGTH 384
#define F1_CONTENT 512       /* bytes of a pointer sector that are used */
#define F1_DATA_SECTOR 3
#define F1_MIN_SECTORS 4
#define F1_HEADER 4
#define F1_LARGEST_LENGTH UINT32_C (0x7fffffff)

/* One pointer sector. */
struct f1_pointer {
  uint64_t position;
  bool flag;
};

/* Both, as one read gives them. */
struct f1_pointers {
  struct f1_pointer producer, consumer;
};

/* format1-layout.c: pure functions on byte arrays. */
extern void f1_encode_signature (unsigned char *sector, uint32_t sector_size);
extern bool f1_is_signature (const unsigned char *sector);
extern void f1_encode_pointer (unsigned char *sector, uint32_t sector_size,
                               unsigned side, const struct f1_pointer *v,
                               const char *queue, const char *client);
/* -1 and EBADMSG; 'offset' of the sector on the device, for the message. */
extern int f1_decode_position (const unsigned char *sector, unsigned side,
                               uint64_t offset, struct f1_pointer *v);
extern int f1_decode_flag (const unsigned char *sector, unsigned side,
                           uint64_t offset, struct f1_pointer *v);
extern int f1_decode_pointer (const unsigned char *sector, unsigned side,
                              uint64_t offset, struct f1_pointer *v);
/* How they stand to each other. */
extern int f1_check_positions (const struct ring *ring,
                               const struct f1_pointers *v);
/* Both sectors, and how they stand to each other. */
extern int f1_decode_pointers (const unsigned char *sectors,
                               const struct ring *ring,
                               struct f1_pointers *v);
/* Length of the item whose header is at 'p', with 'unread' bytes from the
 * header to the end of what is exposed.  -1 and EBADMSG. */
extern int f1_decode_length (const unsigned char *p, uint64_t position,
                             uint64_t unread, const struct ring *ring,
                             uint32_t *length);
extern uint64_t f1_item_size (uint64_t length);

/* format1-inspect.c */
extern int f1_read_pointers (const struct ring *ring, unsigned char *sectors,
                             struct f1_pointers *v);

/* format1-producer.c */
extern int f1_producer_open (blkring_producer *p);
extern void f1_producer_close (blkring_producer *p);
extern int f1_producer_look (blkring_producer *p);
extern int f1_measure (blkring_producer *p, const struct iovec *items,
                       size_t nr, uint64_t *needed);
extern int f1_write (blkring_producer *p, const struct iovec *items,
                     size_t nr, uint64_t needed, bool expose);
extern int f1_expose (blkring_producer *p, uint64_t position);
extern int f1_acknowledge (blkring_producer *p);

/* format1-consumer.c */
extern int f1_consumer_open (blkring_consumer *c);
extern void f1_consumer_close (blkring_consumer *c);
extern int f1_consumer_look (blkring_consumer *c);
extern ssize_t f1_read (blkring_consumer *c, uint64_t from,
                        struct blkring_item *items, size_t max);
extern int f1_has_item (blkring_consumer *c, uint64_t at);
extern int f1_is_boundary (blkring_consumer *c, uint64_t position);
extern int f1_free_to (blkring_consumer *c, uint64_t position);
extern int f1_request (blkring_consumer *c, bool suspend);

/* format1-inspect.c */
extern int f1_texts (const struct ring *ring, unsigned index,
                     char *producer, char *consumer);
extern int f1_debug (const struct ring *ring, unsigned index,
                     blkring_debug_fn fn, void *opaque);
extern int f1_inspect (const struct ring *ring, unsigned flags,
                       struct blkring_info *info);
extern int f1_check (const struct ring *ring, blkring_finding_fn fn,
                     void *opaque);
extern int f1_repair (const struct ring *ring, enum blkring_repair what,
                      blkring_finding_fn fn, void *opaque);
extern int f1_map (const struct ring *ring, blkring_map_fn fn, void *opaque);

#endif /* BLKRING_FORMAT1_H */
