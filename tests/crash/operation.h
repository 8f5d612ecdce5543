/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The operations, each by the library and by the model of what the ring
 * promises.  operation.c knows them all; the others have those of one side,
 * and of those who replace somebody or were replaced.
 */

#ifndef CRASH_OPERATION_H
#define CRASH_OPERATION_H

#include "world.h"

/* operation.c */
/* Of the item that it pushes, or of item 'i' of its batch. */
extern size_t op_length (const struct world *w, enum op op, unsigned i);
/* A number that changes with each request; 0 while one is under way. */
extern unsigned requests (const struct world *w);
/* The producer saw all there was, and settled it. */
extern bool saw_all (const struct world *w, unsigned requests_before);
/* What failed, and must not; but damage by one that was replaced is to be
 * told. */
extern void op_failed (struct actor *a);
/* The ring knows who owns this side, or that nobody does. */
extern void settle_owner (struct actor *a, bool clean);

/* operate-producer.c */
extern void do_push (struct actor *a, bool batch, bool expose);
extern void do_producer_advance (struct actor *a);
extern void do_look (struct actor *a);
extern void do_attach_producer (struct actor *a);
extern void do_detach_producer (struct actor *a);

/* operate-consumer.c */
extern void do_pop (struct actor *a);
extern void do_consumer_advance (struct actor *a);
extern void do_take (struct actor *a);
extern void do_request (struct actor *a, bool suspend);
extern void do_attach_consumer (struct actor *a);
extern void do_detach_consumer (struct actor *a);

/* takeover.c */
extern void begin_to_replace (struct actor *a);
/* It could not attach. */
extern void judge_attach (struct actor *a);
/* So many items are exposed, or freed, as its record says. */
extern void note_settled (struct actor *a, unsigned number);
/* A successor writes its record. */
extern void note_claim (struct actor *a);
/* It was replaced, or one that was has written over its record. */
extern bool may_be_busy (const struct actor *a);
/* What it wrote last was overwritten before its successor saw it. */
extern bool is_undone (const struct actor *a);
/* A push of a producer that was replaced meanwhile, or had been before.  It
 * may work if its successor has taken it over. */
extern void judge_overtaken (struct actor *a, int r, int err, uint32_t id,
                             unsigned number, bool expose);
extern void push_in_vain (struct actor *a, bool expose);
/* The like of an advance of a consumer. */
extern void advance_in_vain (struct actor *a);
extern void judge_overtaken_advance (struct actor *a, int r);
/* What was freed was not what had been delivered: must that be told later? */
extern bool may_tell_later (const struct actor *a);

#endif /* CRASH_OPERATION_H */
