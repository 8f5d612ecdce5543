/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: what its files share.
 *
 *   blkring-bench.c  options, the tests, one after the other
 *   common.c         failing, files, the stopwatch
 *   ring.c           a test on the ring
 *   limit.c          the same bytes by bare system calls
 *   report.c         the table, the targets
 *   report-json.c    the same for programs
 */

#ifndef BLKRING_BENCH_H
#define BLKRING_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blkring.h"

#define RING_SIZE (UINT64_C (64) << 20)
#define LARGEST_ITEM 65536
#define BATCH 64
#define SECTOR 512
#define CHUNK_SIZE (UINT64_C (256) << 10) /* of the bare loops that read */

/* How format 1 lays out a file with sectors of 512 bytes: what the bare
 * loops have to write to touch the sectors that the ring touches. */
#define PRODUCER_OFFSET SECTOR
#define CONSUMER_OFFSET (2 * SECTOR)
#define DATA_OFFSET (3 * SECTOR)
#define CAPACITY (RING_SIZE - DATA_OFFSET)
#define ITEM_SIZE(length) (((length) + 4 + 3) / 4 * 4)

enum direction { PUSH, POP };

/* What can be measured of a test. */
enum subject {
  RING,
  LIMIT_PLAIN,               /* bare loop, not durable */
  LIMIT_DSYNC,               /* durable by RWF_DSYNC */
  LIMIT_FDATASYNC,           /* durable by fdatasync */
  BARE,                      /* requests of one sector, nothing else */
  NR_SUBJECTS,
};

struct test {
  enum direction direction;
  bool durable;
  size_t length;             /* of an item, bytes */
  size_t batch;              /* items for each advance */
  bool bare;                 /* measure BARE as well */
};

/* One number a round, items (BARE: requests) per second. */
struct series {
  double *rounds;            /* NULL: not measured */
  double median;
};

struct result {
  struct test test;
  struct series series[NR_SUBJECTS];
  enum subject limit;        /* the fastest that there is */
  double ratio;              /* ring / limit */
  uint64_t items, advances;  /* of the ring, all rounds */
};

struct bench {
  const char *dir;
  double seconds;            /* of a test in a round */
  unsigned rounds;
  blkring_device *device;    /* the ring's file … */
  int ring_fd;               /* … and a descriptor to flush it by */
  int limit_fd;              /* the file of the bare loops */
  uint64_t limit_tail, limit_head;
  char *payload;             /* a batch of the largest items */
  char *chunk, *copy;        /* of the bare loops that read: CHUNK_SIZE,
                                and an item */
};

/* Time that is measured; runs between start and stop. */
struct stopwatch {
  uint64_t elapsed, started, limit; /* ns */
};

/* common.c */
extern void fail (const char *fmt, ...)
  __attribute__ ((noreturn, format (printf, 1, 2)));
extern void fail_errno (const char *what) __attribute__ ((noreturn));
extern void fail_ring (const char *what) __attribute__ ((noreturn));
extern void *allocate (size_t size);
extern void open_files (struct bench *b);
extern void close_files (struct bench *b);
extern void settle (const struct bench *b);
extern void stopwatch_init (struct stopwatch *w, double seconds);
extern void stopwatch_start (struct stopwatch *w);
extern void stopwatch_stop (struct stopwatch *w);
extern bool stopwatch_over (const struct stopwatch *w);
extern double stopwatch_seconds (const struct stopwatch *w);

/* Steps between two looks at the clock: reading it takes as long as the
 * handling of a small item. */
extern unsigned stride (const struct test *t);

/* ring.c and limit.c: run a test once, return items per second. */
extern double run_ring (struct bench *b, struct result *r);
extern double run_limit (struct bench *b, const struct test *t,
                         enum subject subject);
extern double run_bare (struct bench *b, const struct test *t);

/* report.c.  A target is met when the number that was measured is no less
 * than the one that is wanted. */
struct target {
  const char *name;
  char worst[32];            /* the test it was measured in, or "" */
  double measured, wanted;
};
#define NR_TARGETS 5

extern const char *direction_name (const struct test *t);
extern const char *durability_name (const struct test *t);
extern const char *subject_name (enum subject s);
extern void report_header (const struct bench *b);
extern void report_result (const struct result *r);
extern void report_targets (const struct result *results, size_t nr);
extern void find_targets (const struct result *results, size_t nr,
                          struct target targets[NR_TARGETS]);

/* report-json.c */
extern void report_json (const struct bench *b,
                         const struct result *results, size_t nr);

#endif /* BLKRING_BENCH_H */
