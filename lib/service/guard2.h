/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of the guard of format 2 offer each other.
 */

#ifndef BLKRING_GUARD2_H
#define BLKRING_GUARD2_H

#include "internal.h"

/* guard2-walk.c; without the lock */

/* 64 bytes that are the header of a frame of this ring, of whatever position
 * and sizes. */
extern bool guard2_is_header (const struct service *s,
                              const unsigned char *p);
/* The frame at a place: 1 if it is valid with that chain; 0; -1.  Without
 * 'whole' the header alone is looked at. */
extern int guard2_read_frame (struct service *s, uint64_t position,
                              uint32_t chain, bool whole,
                              struct f2_frame *f);
/* Go over whole frames by their headers, as far as 'to': 1 if a frame ends
 * there, with the chain behind it; 0 if none does; 2 if one on the way is not
 * valid; -1.  Adds their items. */
extern int guard2_walk (struct service *s, uint64_t from, uint32_t *chain,
                        uint64_t to, uint64_t *items);
/* The items of a frame, from where one begins up to 'to', where another one
 * must begin, or the area end: 1, 0, -1.  Adds them. */
extern int guard2_walk_items (struct service *s, const struct f2_frame *f,
                              uint64_t from, uint64_t to, uint64_t *items);
/* The same for all items of a frame that lies in memory. */
extern bool guard2_has_items (const unsigned char *area,
                              const struct f2_frame *f);

/* guard2-frames.c */

/* Where the stream ends, from the records; with the lock. */
extern int guard2_find_tail (struct service *s);
/* What is live, from where lowest frame and tail are. */
extern void guard2_set_live (struct service *s);
extern void guard2_expose (struct service *s, uint64_t position,
                           uint32_t chain, uint64_t items);
/* The frames of a request, and that there are no others. */
extern int guard2_check_frames (struct request *rq);
/* Frames that are complete now, though they came in several requests.
 * Gives up the lock. */
extern int guard2_finish_frames (struct request *rq);
/* A frame can be read before its request is answered: wait for those that
 * are on their way to this position. */
extern void guard2_wait_for_frames (struct request *rq, uint64_t position);

/* guard2-records.c */
extern struct f2_record *guard2_record (struct service *s, unsigned kind);
extern int guard2_check_record (struct request *rq, struct unit *u);
/* Items of the frame at a consumer's position that are before it. */
extern int guard2_find_index (struct service *s, unsigned kind);

#endif /* BLKRING_GUARD2_H */
