/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: what its files share.
 *
 *   blkring-bench.c  main, the tests, one after the other
 *   options.c        the command line
 *   common.c         failing, the stopwatch, quantiles, parsing numbers
 *   files.c          the files
 *   layout.c         what of the file each format touches
 *   ring.c           a test on the ring
 *   limit.c          the same bytes by bare system calls
 *   checksum.c       the same bytes through CRC32C alone
 *   journal.c        pushes into a journal by several threads …
 *   race.c           … that begin at once …
 *   journal-sqlite.c … and SQLite beside it
 *   durable.c        which durable write is the fastest here
 *   report.c         the tables
 *   targets.c        what was measured beside what is wanted
 *   report-json.c    the same for programs
 */

#ifndef BLKRING_BENCH_H
#define BLKRING_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blkring.h"
#include "common.h"

#define RING_SIZE (UINT64_C (64) << 20)
#define LARGEST_ITEM 65536
#define LARGEST_FRAME (UINT64_C (8) << 20)
#define BATCH 64
#define SECTOR 512
#define CHUNK_SIZE (UINT64_C (256) << 10) /* of the bare loops that read */

enum direction { PUSH, POP };

/* What can be measured of a test. */
enum subject {
  RING,
  LIMIT_PLAIN,               /* bare loop, not durable */
  LIMIT_DSYNC,               /* durable by RWF_DSYNC */
  LIMIT_FDATASYNC,           /* durable by fdatasync */
  LIMIT_DIRECT,              /* durable by O_DIRECT and O_DSYNC */
  BARE,                      /* requests of one sector, nothing else */
  CHECKSUM,                  /* CRC32C of the same bytes, no I/O */
  NR_SUBJECTS,
};

struct test {
  unsigned format;
  uint32_t block_size;       /* format 2, bytes */
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
  struct series ratio;       /* ring / limit, of each round */
  uint64_t items, advances;  /* of the ring, all rounds */
};

enum section { SECTION_RING = 1, SECTION_WRITES = 2, SECTION_JOURNAL = 4 };

struct bench {
  const char *dir;
  double seconds;            /* of a test in a round */
  unsigned rounds;
  unsigned format;           /* 1, 2, 0 = both */
  uint32_t block_size;       /* format 2; 0 = 4096, and 512 for small items */
  bool direct;               /* the ring with O_DIRECT */
  bool json;
  unsigned sections;         /* which to measure */
  blkring_device *device;    /* the ring's file … */
  int ring_fd;               /* … and a descriptor to flush it by */
  unsigned ring_format;      /* what is in it now */
  uint32_t ring_block_size;
  bool ring_unflushed;       /* it was used with durability none */
  int limit_fd;              /* the file of the bare loops … */
  int direct_fd;             /* … with O_DIRECT and O_DSYNC, or -1 */
  uint64_t limit_tail, limit_head;
  char *payload;             /* a batch of the largest items */
  char *chunk, *copy;        /* of the bare loops that read: CHUNK_SIZE,
                                and an item */
};

/* files.c */
extern void open_files (struct bench *b);
extern void close_files (struct bench *b);
extern int open_unnamed (const char *dir);
extern int open_direct (int fd);
extern void settle (const struct bench *b);

/* Steps between two looks at the clock: reading it takes as long as the
 * handling of a small item. */
extern unsigned stride (const struct test *t);

/* options.c */
extern void parse_options (int argc, char *argv[], struct bench *b);

/* layout.c: what the bare loops have to touch to touch what the ring does,
 * offsets and sizes in bytes. */
struct layout {
  uint64_t producer, consumer; /* a pointer or record each */
  uint64_t data, capacity;
  size_t header;             /* in front of the items of one push */
  size_t item;               /* an item with what is kept beside it */
  size_t unit;               /* the ring writes whole ones */
  bool pointer;              /* a push writes the producer's pointer too */
};
extern void find_layout (const struct test *t, struct layout *layout);

/* ring.c: a new ring of the test's kind, unless it is there. */
extern void make_ring (struct bench *b, const struct test *t);

/* ring.c and limit.c: run a test once, return items per second. */
extern double run_ring (struct bench *b, struct result *r);
extern double run_limit (struct bench *b, const struct test *t,
                         enum subject subject);
extern double run_bare (struct bench *b, const struct test *t);

/* checksum.c: what of the ring's time CRC32C takes. */
extern double run_checksum (struct bench *b, const struct test *t);
extern double checksum_share (const struct result *r);

/* durable.c */
enum { DSYNC, DIRECT_DSYNC, FDATASYNC, NR_WAYS };
#define NR_DURABLE 6         /* 3 sizes, unwritten and prewritten */
struct durable {
  size_t length;
  bool prewritten;
  struct series ways[NR_WAYS]; /* not measured: the file system cannot */
};
extern const char *way_name (unsigned way);
extern void measure_durable (struct bench *b,
                             struct durable durable[NR_DURABLE]);
extern void free_durable (struct durable durable[NR_DURABLE]);

/* journal.c: pushes a second into a journal. */
enum contender {
  JOURNAL,
  JOURNAL_DSYNC,             /* bare loops: one durable write at a time, in … */
  JOURNAL_FDATASYNC,
  JOURNAL_DIRECT,            /* … the order of LIMIT_DSYNC and behind it */
  JOURNAL_SQLITE,
  NR_CONTENDERS,
};
#define NR_THREAD_COUNTS 3
struct journal_result {
  unsigned threads;
  uint32_t block_size;
  struct series series[NR_CONTENDERS]; /* bare loops: of the first result */
  unsigned limit;            /* the fastest of the bare loops */
  struct series of_limit;    /* journal / limit, of each round */
  struct series of_one;      /* … / journal with one thread */
  struct series of_sqlite;   /* … / SQLite with as many threads */
  uint64_t pushes, advances; /* of the journal, all rounds */
};
extern void measure_journal (struct bench *b, struct journal_result
                             results[NR_THREAD_COUNTS]);
extern void free_journal (struct journal_result results[NR_THREAD_COUNTS]);

/* report.c */
extern const char *direction_name (const struct test *t);
extern const char *durability_name (const struct test *t);
extern const char *subject_name (enum subject s);
extern void report_header (const struct bench *b);
extern void report_result (const struct bench *b, const struct result *r);
extern void report_durable (const struct durable durable[NR_DURABLE]);
extern void report_journal (const struct bench *b, const struct
                            journal_result results[NR_THREAD_COUNTS]);
extern void report_bare (const struct result *results, size_t nr);

/* targets.c.  A target is met when the number that was measured is no less
 * than the one that is wanted. */
struct target {
  const char *name;
  char worst[32];            /* the test it was measured in, or "" */
  double measured, wanted;
};
#define MAX_TARGETS 16
extern size_t find_targets (const struct result *results, size_t nr,
                            struct target targets[MAX_TARGETS]);
/* Behind those, so many, that were found; the number of all. */
extern size_t find_journal_targets (const struct journal_result
                                    results[NR_THREAD_COUNTS],
                                    struct target targets[MAX_TARGETS],
                                    size_t found);
extern void report_targets (const struct target *targets, size_t nr);

/* report-json.c */
extern void report_json (const struct bench *b,
                         const struct result *results, size_t nr,
                         const struct durable durable[NR_DURABLE],
                         const struct journal_result *journal,
                         const struct target *targets, size_t nr_targets);

#endif /* BLKRING_BENCH_H */
