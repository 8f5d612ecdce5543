/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A ring for each case: of both formats, in memory and in temporary files,
 * with small and large sectors or blocks, and of two consumers.  A case
 * stands in its table once, and runs on all kinds of ring that the macro
 * around it names; what is different between them it asks the functions
 * here for.
 */

#ifndef BLKRING_TESTS_RING_FIXTURE_H
#define BLKRING_TESTS_RING_FIXTURE_H

#include "common.h"

struct ring_kind {
  unsigned format;
  bool file;
  uint32_t unit;             /* bytes of a sector (format 1), or of a block
                                and of the device's sectors (format 2) */
  unsigned units;            /* of the data area; 0 = RING_UNITS */
  unsigned consumers;        /* 0 = 1; the last one is the test's */
};

#define RING_UNITS 17

/* Initial states for cases with setup_ring. */
extern struct ring_kind memory1_512, memory1_4096, file1_512, file1_4096;
extern struct ring_kind memory2_512, memory2_4096, file2_512, file2_4096;
extern struct ring_kind memory2_two, file2_two;

#define ON_KIND(function, text, kind) \
  { #function " (" text ")", function, setup_ring, teardown_ring, kind }

#define IN_EACH_KIND(function) \
  ON_KIND (function, "format 1, memory, 512", &memory1_512), \
  ON_KIND (function, "format 1, memory, 4096", &memory1_4096), \
  ON_KIND (function, "format 1, file, 512", &file1_512), \
  ON_KIND (function, "format 1, file, 4096", &file1_4096), \
  ON_KIND (function, "format 2, memory, 512", &memory2_512), \
  ON_KIND (function, "format 2, memory, 4096", &memory2_4096), \
  ON_KIND (function, "format 2, file, 512", &file2_512), \
  ON_KIND (function, "format 2, file, 4096", &file2_4096), \
  ON_KIND (function, "format 2, memory, two consumers", &memory2_two)

#define IN_MEMORY(function) \
  ON_KIND (function, "format 1, memory", &memory1_512), \
  ON_KIND (function, "format 2, memory", &memory2_512), \
  ON_KIND (function, "format 2, memory, two consumers", &memory2_two)

#define IN_FILE(function) \
  ON_KIND (function, "format 1, file", &file1_512), \
  ON_KIND (function, "format 2, file", &file2_512), \
  ON_KIND (function, "format 2, file, two consumers", &file2_two)

/* A case that is about two: format 1 has one. */
#define WITH_TWO_CONSUMERS(function) \
  ON_KIND (function, "format 2, memory, two consumers", &memory2_two), \
  ON_KIND (function, "format 2, file, two consumers", &file2_two)

/* A case that is about the layout of format 1, and says why. */
#define IN_FORMAT1(function) \
  ON_KIND (function, "format 1, memory", &memory1_512)

/* What takes many pushes takes them without flushes. */
extern const struct blkring_attach_options fast;

/* The state of a case. */
struct test_ring {
  const struct ring_kind *kind;
  struct blkring_create_options create; /* how it was made */
  unsigned format;
  uint32_t unit;             /* bytes, see above */
  uint64_t capacity, largest_item; /* bytes */
  char dir[128], path[160];  /* "" in memory */
  blkring_device *device;
  /* Not attached by setup. */
  blkring_producer *p;
  unsigned index;            /* of the consumer that the case is about … */
  blkring_consumer *c;       /* … which is this */
  blkring_consumer *other;   /* NULL where there is one consumer */
};

/* A new ring of the kind that *state points to. */
extern int setup_ring (void **state);
extern int teardown_ring (void **state);

/* Attach the consumer of the case. */
extern blkring_consumer *
attach_consumer (const struct test_ring *t, blkring_device *device,
                 const struct blkring_attach_options *options);

/* Attach all sides, with the same options. */
extern void attach_all (struct test_ring *t,
                        const struct blkring_attach_options *options);
extern void detach_all (struct test_ring *t);

/* A second device object for the same storage: the file again; or in
 * memory, where there is no second one, the same. */
extern blkring_device *open_again (struct test_ring *t);
extern void close_again (struct test_ring *t, blkring_device *device);

/* Pop, compare and free, by all consumers that attach_all attached. */
extern void take (struct test_ring *t, size_t length, unsigned seed);

/* What t->c has popped is freed by all consumers. */
extern int free_up_to (struct test_ring *t, blkring_position position);

/* No other consumer holds back space: for cases that do not attach one.
 * Before a producer is there. */
extern void leave_others_out (struct test_ring *t);

extern void assert_nothing_to_pop (struct test_ring *t);
extern struct blkring_info inspect (const struct test_ring *t);

/* Bytes of the data area that a push takes: of one item, of a batch. */
extern uint64_t push_size (const struct test_ring *t, uint64_t length);
extern uint64_t batch_size (const struct test_ring *t,
                            const struct iovec *items, size_t nr);
/* The part of a push of one item that is in front of its payload. */
extern uint64_t overhead (const struct test_ring *t);
/* Byte of the device at which the data area begins. */
extern uint64_t data_offset (const struct test_ring *t);

#endif /* BLKRING_TESTS_RING_FIXTURE_H */
