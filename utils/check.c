/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img check: walk everything, and say what breaks the format.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "img.h"

struct check {
  struct common common;
  json_t *findings;          /* NULL: print them */
  int corruptions, leaks;
};

static void
report (void *opaque, const struct blkring_finding *finding)
{
  struct check *c = opaque;
  const bool leak = finding->kind == BLKRING_FINDING_LEAK;

  *(leak ? &c->leaks : &c->corruptions) += 1;
  if (c->findings)
    json_array_append_new (c->findings, json_pack
      ("{ss sI so}", "kind", leak ? "leak" : "corruption",
       "offset", (json_int_t) finding->offset,
       "message", json_text (finding->message)));
  else
    printf ("%s: %soffset %" PRIu64 ": %s\n", c->common.ring,
            leak ? "leak: " : "", finding->offset, finding->message);
}

static int
print_result (struct check *c)
{
  if (c->findings)
    return print_json (&c->common, json_pack
      ("{so si si sO}", "filename", json_text (c->common.ring),
       "corruptions", c->corruptions, "leaks", c->leaks,
       "findings", c->findings));
  if (c->common.quiet)
    return STATUS_DONE;
  if (c->corruptions == 0)
    printf ("%s: no errors were found\n", c->common.ring);
  else
    printf ("%s: %d error%s found\n", c->common.ring, c->corruptions,
            c->corruptions == 1 ? " was" : "s were");
  return STATUS_DONE;
}

static int
check (struct check *c)
{
  const struct blkring_inspect_options o = inspect_options (&c->common);
  blkring_device *device = open_ring (&c->common, BLKRING_OPEN_READ_ONLY, 0);
  int status;

  if (device == NULL)
    return STATUS_FAILED;
  if (blkring_check (device, &o, report, c) == -1) {
    status = errno == EMEDIUMTYPE ? STATUS_NOT_A_RING : STATUS_FAILED;
    fail_ring (&c->common);
  }
  else {
    status = print_result (c);
    if (status == STATUS_DONE)
      status = c->corruptions ? STATUS_CORRUPT
        : c->leaks ? STATUS_LEAKS : STATUS_DONE;
  }
  blkring_device_close (device);
  return finish_output (&c->common, status);
}

static int
run_check (int argc, char **argv)
{
  struct check c = { .common.subcommand = &check_command };
  bool json;
  int status;

  if (human_or_json (&c.common, argc, argv, &json) == -1)
    return STATUS_FAILED;
  if (json)
    c.findings = json_array ();
  status = check (&c);
  json_decref (c.findings);
  return status;
}

const struct subcommand check_command = {
  .name = "check",
  .arguments = "RING",
  .summary = "look for corruption, also beside a running ring",
  .options = OUTPUT_HELP,
  .run = run_check,
};
