/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The message of the last failure, one a thread.
 */

#ifndef BLKRING_ERROR_H
#define BLKRING_ERROR_H

#include <stdint.h>

/* Set errno and the message for this thread; returns -1, so that a
 * function can end with `return set_error (...)`. */
extern int set_error (int err, const char *fmt, ...)
  __attribute__ ((format (printf, 2, 3)));

/* The same, with ": " and strerror (err) behind the message. */
extern int set_errno_error (int err, const char *fmt, ...)
  __attribute__ ((format (printf, 2, 3)));

/* EBADMSG: "corrupt: " and the message.  'offset' is the byte on the device
 * that is wrong; error_offset () gives it back. */
extern int set_corrupt (uint64_t offset, const char *fmt, ...)
  __attribute__ ((format (printf, 2, 3)));
extern uint64_t error_offset (void);

#ifdef __clang_analyzer__
/* The analyzer sees one file at a time: that they return -1. */
#define set_error(...) (set_error (__VA_ARGS__), -1)
#define set_errno_error(...) (set_errno_error (__VA_ARGS__), -1)
#define set_corrupt(...) (set_corrupt (__VA_ARGS__), -1)
#endif

/* Keep the error that is set, for the case that what is done about it sets
 * another.  restore_error returns -1. */
#define ERROR_SIZE 1024
struct saved_error {
  int err;
  uint64_t offset;
  char message[ERROR_SIZE];
};
extern void save_error (struct saved_error *e);
extern int restore_error (const struct saved_error *e);

#endif /* BLKRING_ERROR_H */
