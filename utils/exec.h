/* SPDX-License-Identifier: BSD-3-Clause
 *
 * consume --exec: items are given to a command, again and again until it
 * succeeds.
 */

#ifndef BLKRING_EXEC_H
#define BLKRING_EXEC_H

#include "img.h"

enum on_failure { ON_FAILURE_STOP, ON_FAILURE_SKIP, ON_FAILURE_DEAD_LETTER };

struct exec {
  const struct common *common;
  blkring_device *device;
  blkring_consumer *consumer;
  const char *command;       /* NULL: no --exec */
  size_t batch;              /* items at once, each with a NUL behind it; 0:
                                one, as it is */
  int retry_ms, flush_ms;
  uint64_t max_attempts;     /* 0: no end */
  enum on_failure on_failure;
  const char *dead_letter;   /* the other ring, as the user wrote it */
  bool drain, until_empty;
  uint64_t left;             /* items still to be consumed */
};

/* Until there is nothing to do, or a signal: the exit status. */
extern int exec_items (struct exec *e);

/* command.c: run it with these bytes on its stdin.  0 when it exits with
 * status 0; else -1 and what happened. */
#define COMMAND_ERROR 256
extern int run_command (const char *command, const void *input,
                        size_t length, char error[COMMAND_ERROR]);

/* dead-letter.c: another ring, to which items go that are given up. */
struct dead_letter {
  struct common common;
  char *shown;               /* its name in messages */
  blkring_device *device;
  blkring_producer *producer;
};
extern int open_dead_letter (struct dead_letter *d,
                             const struct common *common, const char *ring);
/* Durable in it: STATUS_DONE; STATUS_WOULD_WAIT: a signal came while there
 * was no room; or another status. */
extern int put_dead_letter (struct dead_letter *d,
                            const struct blkring_item *item);
extern void close_dead_letter (struct dead_letter *d);

#endif /* BLKRING_EXEC_H */
