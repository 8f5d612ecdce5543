/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The ring that the command line names: open it, say what is wrong with
 * it, and what its log and trace tell.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "img.h"

char *
without_controls (char *text)
{
  json_t *utf8 = json_string (text);
  char *p;

  for (p = text; *p; ++p)
    if ((unsigned char) *p < ' ' || *p == 0x7f ||
        (!utf8 && (unsigned char) *p >= 0x80))
      *p = '?';
  /* U+0080 to U+009F control terminals too. */
  for (p = text; utf8 && *p; ++p)
    if ((unsigned char) p[0] == 0xc2 && (unsigned char) p[1] < 0xa0)
      p[0] = p[1] = '?';
  json_decref (utf8);
  return text;
}

int
fail (const struct common *common, const char *fmt, ...)
{
  char message[2048];
  va_list args;

  va_start (args, fmt);
  vsnprintf (message, sizeof message, fmt, args);
  va_end (args);
  fprintf (stderr, "blkring-img: %s: %s\n", common->name,
           without_controls (message));
  return STATUS_FAILED;
}

int
fail_ring (const struct common *common)
{
  return fail (common, "%s", blkring_get_error ());
}

int
finish_output (const struct common *common, int status)
{
  if (fflush (stdout) == EOF || ferror (stdout))
    return fail (common, "cannot write the output: %s", strerror (errno));
  return status;
}

static void
print_log (void *opaque, enum blkring_log_level level, const char *message)
{
  static const char *const levels[] = {
    [BLKRING_LOG_ERROR] = "error",
    [BLKRING_LOG_INFO] = "info",
    [BLKRING_LOG_DEBUG] = "debug",
  };
  const struct common *common = opaque;

  fprintf (stderr, "blkring-img: %s: %s: %s\n", common->name, levels[level],
           message);
}

static void
print_trace (void *opaque, enum blkring_trace_op op, const char *queue,
             const char *client, enum blkring_trace_field field,
             uint64_t value)
{
  static const char *const fields[] = {
    [BLKRING_TRACE_PRODUCER] = "producer",
    [BLKRING_TRACE_CONSUMER] = "consumer",
    [BLKRING_TRACE_SUSPEND] = "suspend",
    [BLKRING_TRACE_SUSPEND_ACK] = "suspend_ack",
  };
  const struct common *common = opaque;

  fprintf (stderr, "blkring-img: %s: trace: %s %s = %" PRIu64
           " (queue %s, client %s)\n", common->name,
           op == BLKRING_TRACE_GET ? "get" : "set", fields[field], value,
           queue, client);
}

blkring_device *
open_ring (const struct common *common, unsigned flags, uint64_t size)
{
  const struct blkring_open_options options = {
    .flags = flags | common->direct,
    .size = size,
    .timeout = common->timeout,
    .reconnect = common->reconnect,
    .log = common->verbose ? print_log : NULL,
    .log_opaque = (void *) common,
  };
  blkring_device *device = blkring_device_open (common->ring, &options);

  if (device == NULL) {
    fail_ring (common);
    return NULL;
  }
  if (common->trace)
    blkring_device_set_trace (device, print_trace, (void *) common);
  return device;
}

/* Without names of the user's, those that tell an administrator whom to
 * look for. */
struct blkring_attach_options
attach_options (const struct common *common)
{
  static char client[sizeof common->client];
  char host[65];
  const char *slash = strrchr (common->name, '/');
  struct blkring_attach_options options = {
    .queue = slash && slash[1] ? slash + 1 : common->name,
    .client = client,
    .sector_size = common->sector_size,
    .consumer = common->consumer,
    .largest_item = common->largest_item,
  };

  if (gethostname (host, sizeof host) == -1)
    strcpy (host, "localhost");
  host[sizeof host - 1] = '\0';
  snprintf (client, sizeof client, "blkring-img %s, process %ld on %s",
            common->subcommand->name, (long) getpid (), host);
  if (common->queue[0])
    options.queue = common->queue;
  if (common->client[0])
    options.client = common->client;
  return options;
}

struct blkring_inspect_options
inspect_options (const struct common *common)
{
  return (struct blkring_inspect_options) {
    .sector_size = common->sector_size,
  };
}

void
report_skipped (void *opaque, blkring_position from, blkring_position to,
                const char *why)
{
  struct salvage *s = opaque;

  s->bytes += to - from;
  fail (s->common, "skipped %" PRIu64 " bytes, from position %" PRIu64
        " to %" PRIu64 ": %s", to - from, from, to, why);
}

const char *
state_in_words (enum blkring_state state)
{
  static const char *const words[] = {
    [BLKRING_RUNNING] = "running",
    [BLKRING_SUSPEND_REQUESTED] = "suspend-requested",
    [BLKRING_SUSPENDED] = "suspended",
    [BLKRING_RESUME_REQUESTED] = "resume-requested",
  };

  return words[state];
}
