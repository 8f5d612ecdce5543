/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the subcommands of blkring-img share: exit statuses, the options
 * that all of them take, opening a ring, messages.
 */

#ifndef BLKRING_IMG_H
#define BLKRING_IMG_H

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "blkring.h"

enum {
  STATUS_DONE = 0,
  STATUS_FAILED = 1,
  STATUS_CORRUPT = 2,
  STATUS_LEAKS = 3,          /* check */
  STATUS_WOULD_WAIT = 3,     /* produce */
  STATUS_TIMED_OUT = 4,
  STATUS_NOT_A_RING = 63,
};

struct subcommand {
  const char *name;
  const char *arguments;     /* for the usage line */
  const char *summary;
  const char *options;       /* help text of its own options */
  bool consumes;             /* knows --consumer */
  int (*run) (int argc, char **argv);
};

extern const struct subcommand create_command, info_command, check_command,
  map_command, produce_command, consume_command, consumer_command,
  dump_command, suspend_command, resume_command, state_command,
  erase_command;

/* Options of every subcommand. */
struct common {
  const struct subcommand *subcommand;
  const char *ring;          /* as the user wrote it, to open it … */
  const char *name;          /* … and to show: without a password */
  uint32_t timeout, reconnect; /* of the library's open options */
  bool quiet, verbose, trace;
  uint32_t sector_size;      /* 0 = find out */
  unsigned consumer;         /* which one */
  uint64_t largest_item;     /* bytes, 0 = the library's default */
  unsigned direct;           /* BLKRING_OPEN_DIRECT, _BUFFERED or 0 */
  char queue[256], client[256];
};

enum {
  OPT_HELP = 0x100, OPT_TRACE, OPT_SECTOR_SIZE, OPT_DIRECT, OPT_QUEUE,
  OPT_CLIENT, OPT_OUTPUT, OPT_CONSUMER, OPT_LARGEST,
  OPT_TIMEOUT, OPT_RECONNECT,
  OPT_OWN                    /* a subcommand's own begin here */
};

#define COMMON_SHORT "qv"
#define COMMON_LONG \
  { "help", no_argument, NULL, OPT_HELP }, \
  { "quiet", no_argument, NULL, 'q' }, \
  { "verbose", no_argument, NULL, 'v' }, \
  { "trace", no_argument, NULL, OPT_TRACE }, \
  { "sector-size", required_argument, NULL, OPT_SECTOR_SIZE }, \
  { "direct", required_argument, NULL, OPT_DIRECT }, \
  { "queue", required_argument, NULL, OPT_QUEUE }, \
  { "client", required_argument, NULL, OPT_CLIENT }, \
  { "consumer", required_argument, NULL, OPT_CONSUMER }, \
  { "largest-item", required_argument, NULL, OPT_LARGEST }, \
  { "timeout", required_argument, NULL, OPT_TIMEOUT }, \
  { "reconnect", required_argument, NULL, OPT_RECONNECT }, \
  { NULL, 0, NULL, 0 }

/* options.c */

/* Take one option that the subcommand does not know itself: 0; -1 when it
 * is wrong, with a message. */
extern int common_option (struct common *common, int c);
/* After the options: the RING, and at most 'max_more' arguments behind it.
 * Returns the number of those, or -1 with a message. */
extern int common_arguments (struct common *common, int argc, char **argv,
                             int max_more);
/* All of it for a subcommand whose one option is --output=human|json. */
extern int human_or_json (struct common *common, int argc, char **argv,
                          bool *json);
#define OUTPUT_HELP "      --output=human|json\n"
extern void print_help (const struct subcommand *subcommand, FILE *to);
/* Decimal number in [min, max]; -1 with a message that names 'what'. */
extern int parse_number (const char *what, const char *text, uint64_t min,
                         uint64_t max, uint64_t *value);
/* The same with a suffix K, M, G or T. */
extern int parse_size (const char *what, const char *text, uint64_t *value);
/* Seconds, fractions allowed, into milliseconds. */
extern int parse_seconds (const char *what, const char *text, int *ms);
/* One of the words, NULL-ended: its index, or -1 with a message. */
extern int parse_word (const char *what, const char *text,
                       const char *const *words);

/* ring.c */
extern blkring_device *open_ring (const struct common *common,
                                  unsigned flags, uint64_t size);
extern struct blkring_attach_options
attach_options (const struct common *common);
extern struct blkring_inspect_options
inspect_options (const struct common *common);
extern const char *state_in_words (enum blkring_state state);
/* Texts that a device holds must not control the terminal, and may not be
 * UTF-8: '?' for what is not fit to print.  In place. */
extern char *without_controls (char *text);
/* What salvage left out, on stderr.  'opaque' is a struct salvage. */
struct salvage {
  const struct common *common;
  uint64_t bytes;            /* in all; not 0: the exit status is 2 */
};
extern void report_skipped (void *opaque, blkring_position from,
                            blkring_position to, const char *why);
/* "blkring-img: RING: what" on stderr; returns STATUS_FAILED. */
extern int fail (const struct common *common, const char *fmt, ...)
  __attribute__ ((format (printf, 2, 3)));
/* The same with the library's message. */
extern int fail_ring (const struct common *common);
/* Flush and check stdout; returns 'status', or STATUS_FAILED. */
extern int finish_output (const struct common *common, int status);

/* progress.c: blkring_progress_fn, opaque is a struct progress. */
struct progress {
  bool enabled, shown;
  int last;                  /* percent * 100 that was printed last */
};
extern void show_progress (void *opaque, uint64_t done, uint64_t total);
extern void end_progress (struct progress *progress);

/* signals.c: SIGINT and SIGTERM ask to stop; a second one kills. */
extern volatile sig_atomic_t stop_requested;
extern void catch_stop_signals (void);

/* json.c */
extern json_t *json_text (const char *text);
/* Print and free it. */
extern int print_json (const struct common *common, json_t *json);
/* One line with position, next-position, length and data (base64).  To be
 * freed; NULL when out of memory. */
extern char *item_to_json (const struct blkring_item *item);

#endif /* BLKRING_IMG_H */
