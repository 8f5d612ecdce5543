/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The message of the last failure, one a thread.  It lies in
 * thread-local storage, so that reporting an error needs no memory.
 */

#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "blkring.h"
#include "error.h"

/* What error.h tells the analyzer. */
#undef set_error
#undef set_errno_error
#undef set_corrupt

static _Thread_local char message[ERROR_SIZE];
static _Thread_local int message_errno;
static _Thread_local uint64_t message_offset;

const char *
blkring_get_error (void)
{
  return message;
}

int
blkring_get_errno (void)
{
  return message_errno;
}

int
set_error (int err, const char *fmt, ...)
{
  va_list args;

  va_start (args, fmt);
  vsnprintf (message, sizeof message, fmt, args);
  va_end (args);
  message_offset = 0;
  errno = message_errno = err;
  return -1;
}

int
set_errno_error (int err, const char *fmt, ...)
{
  va_list args;
  size_t len;

  va_start (args, fmt);
  vsnprintf (message, sizeof message, fmt, args);
  va_end (args);
  len = strlen (message);
  snprintf (message + len, sizeof message - len, ": %s", strerror (err));
  errno = message_errno = err;
  return -1;
}

int
set_corrupt (uint64_t offset, const char *fmt, ...)
{
  va_list args;
  int n = snprintf (message, sizeof message, "corrupt: ");

  va_start (args, fmt);
  vsnprintf (message + n, sizeof message - n, fmt, args);
  va_end (args);
  message_offset = offset;
  errno = message_errno = EBADMSG;
  return -1;
}

uint64_t
error_offset (void)
{
  return message_offset;
}

void
save_error (struct saved_error *e)
{
  e->err = message_errno;
  e->offset = message_offset;
  memcpy (e->message, message, sizeof e->message);
}

int
restore_error (const struct saved_error *e)
{
  memcpy (message, e->message, sizeof message);
  message_offset = e->offset;
  errno = message_errno = e->err;
  return -1;
}

const char *
blkring_version (void)
{
  return PACKAGE_VERSION;
}
