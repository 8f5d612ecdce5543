/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img suspend, resume and state: the consumer's requests to the
 * producer, made by an observer, so that they work beside a running
 * consumer.
 */

#include <config.h>

#include <errno.h>

#include "img.h"

struct request {
  struct common common;
  bool suspend, force, wait;
  int timeout;               /* ms, -1 = no limit */
};

static int
wait_for (const struct request *r, blkring_consumer *consumer)
{
  const enum blkring_state state = r->suspend ? BLKRING_SUSPENDED
    : BLKRING_RUNNING;

  if (!r->wait ||
      blkring_consumer_wait_state (consumer, state, r->timeout) == 0)
    return STATUS_DONE;
  if (errno != ETIMEDOUT)
    return fail_ring (&r->common);
  fail (&r->common, "the producer has not acknowledged the %s after %.3g s: "
        "the request stands, and a producer that attaches will see it",
        r->suspend ? "suspend" : "resume", r->timeout / 1000.0);
  return STATUS_TIMED_OUT;
}

/* A request is no consumer's in particular, but only one that is enabled can
 * be observed: the first of them. */
static unsigned
first_enabled (const struct common *common, blkring_device *device)
{
  struct blkring_inspect_options o = inspect_options (common);
  struct blkring_info info;
  unsigned k = 0;

  o.flags = BLKRING_INSPECT_POINTERS;
  /* What fails here fails at attach, and is told then. */
  if (blkring_inspect (device, &o, &info) == -1)
    return 0;
  while (k + 1 < info.nr_consumers && !info.consumers[k].enabled)
    ++k;
  return k;
}

static int
ask (const struct request *r, blkring_device *device)
{
  struct blkring_attach_options o = attach_options (&r->common);
  blkring_consumer *consumer;
  int status;

  o.consumer = first_enabled (&r->common, device);
  o.flags = BLKRING_ATTACH_OBSERVER | (r->force ? BLKRING_ATTACH_FORCE : 0);
  consumer = blkring_consumer_attach (device, &o);
  if (consumer == NULL)
    return fail_ring (&r->common);
  if ((r->suspend ? blkring_consumer_suspend (consumer)
       : blkring_consumer_resume (consumer)) == -1)
    status = fail_ring (&r->common);
  else
    status = wait_for (r, consumer);
  blkring_consumer_free (consumer);
  return status;
}

static int
run_request (int argc, char **argv, struct request *r)
{
  enum { OPT_WAIT = OPT_OWN };
  static const struct option options[] = {
    { "force", no_argument, NULL, 'f' },
    { "wait", optional_argument, NULL, OPT_WAIT },
    COMMON_LONG
  };
  blkring_device *device;
  int opt, status;

  while ((opt = getopt_long (argc, argv, "f" COMMON_SHORT, options, NULL))
         != -1)
    switch (opt) {
    case 'f':
      r->force = true;
      break;
    case OPT_WAIT:
      r->wait = true;
      r->timeout = -1;
      if (optarg && parse_seconds ("--wait", optarg, &r->timeout) == -1)
        return STATUS_FAILED;
      break;
    default:
      if (common_option (&r->common, opt) == -1)
        return STATUS_FAILED;
    }
  if (common_arguments (&r->common, argc, argv, 0) == -1)
    return STATUS_FAILED;
  device = open_ring (&r->common, 0, 0);
  if (device == NULL)
    return STATUS_FAILED;
  status = ask (r, device);
  blkring_device_close (device);
  return status;
}

static int
run_suspend (int argc, char **argv)
{
  struct request r = { .common.subcommand = &suspend_command,
                       .suspend = true };

  return run_request (argc, argv, &r);
}

static int
run_resume (int argc, char **argv)
{
  struct request r = { .common.subcommand = &resume_command };

  return run_request (argc, argv, &r);
}

static int
run_state (int argc, char **argv)
{
  static const struct option options[] = { COMMON_LONG };
  struct common common = { .subcommand = &state_command };
  struct blkring_inspect_options o;
  struct blkring_info info;
  blkring_device *device;
  int opt, status = STATUS_DONE;

  while ((opt = getopt_long (argc, argv, COMMON_SHORT, options, NULL)) != -1)
    if (common_option (&common, opt) == -1)
      return STATUS_FAILED;
  if (common_arguments (&common, argc, argv, 0) == -1)
    return STATUS_FAILED;
  device = open_ring (&common, BLKRING_OPEN_READ_ONLY, 0);
  if (device == NULL)
    return STATUS_FAILED;
  o = inspect_options (&common);
  o.flags = BLKRING_INSPECT_POINTERS;
  if (blkring_inspect (device, &o, &info) == -1)
    status = fail_ring (&common);
  else
    printf ("%s\n", state_in_words (info.state));
  blkring_device_close (device);
  return finish_output (&common, status);
}

#define REQUEST_OPTIONS \
  "      --wait[=SECONDS]   wait for the producer's acknowledgement\n" \
  "  -f, --force            also where a consumer on another host would " \
  "not be seen\n"

const struct subcommand suspend_command = {
  .name = "suspend",
  .arguments = "RING",
  .summary = "ask the producer to stop",
  .options = REQUEST_OPTIONS,
  .run = run_suspend,
};

const struct subcommand resume_command = {
  .name = "resume",
  .arguments = "RING",
  .summary = "ask the producer to go on",
  .options = REQUEST_OPTIONS,
  .run = run_resume,
};

const struct subcommand state_command = {
  .name = "state",
  .arguments = "RING",
  .summary = "print the state of suspend and resume",
  .options = "",
  .run = run_state,
};
