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
  bool repair;
  enum blkring_repair what;
  json_t *repairs;           /* NULL: print them */
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
    printf ("%s: %soffset %" PRIu64 ": %s\n", c->common.name,
            leak ? "leak: " : "", finding->offset, finding->message);
}

static void
report_repair (void *opaque, const struct blkring_finding *finding)
{
  struct check *c = opaque;

  if (c->repairs)
    json_array_append_new (c->repairs, json_pack
      ("{sI so}", "offset", (json_int_t) finding->offset,
       "message", json_text (finding->message)));
  else
    printf ("%s: repaired: offset %" PRIu64 ": %s\n", c->common.name,
            finding->offset, finding->message);
}

static int
print_result (struct check *c)
{
  json_t *json;

  if (c->findings) {
    json = json_pack ("{so si si sO}",
                      "filename", json_text (c->common.name),
                      "corruptions", c->corruptions, "leaks", c->leaks,
                      "findings", c->findings);
    if (json && c->repair)
      json_object_set (json, "repairs", c->repairs);
    return print_json (&c->common, json);
  }
  if (c->common.quiet)
    return STATUS_DONE;
  if (c->corruptions == 0)
    printf ("%s: no errors were found\n", c->common.name);
  else
    printf ("%s: %d error%s found\n", c->common.name, c->corruptions,
            c->corruptions == 1 ? " was" : "s were");
  return STATUS_DONE;
}

static int
check (struct check *c)
{
  const struct blkring_inspect_options o = inspect_options (&c->common);
  blkring_device *device = open_ring (&c->common, c->repair ? 0
                                      : BLKRING_OPEN_READ_ONLY, 0);
  int status;

  if (device == NULL)
    return STATUS_FAILED;
  /* What is too damaged to be repaired is what check reports. */
  if ((c->repair && blkring_repair (device, &o, c->what, report_repair, c)
       == -1 && errno != EBADMSG) ||
      blkring_check (device, &o, report, c) == -1) {
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
  static const struct option options[] = {
    { "repair", required_argument, NULL, 'r' },
    { "output", required_argument, NULL, OPT_OUTPUT },
    COMMON_LONG
  };
  static const char *const outputs[] = { "human", "json", NULL };
  static const char *const whats[] = {
    [BLKRING_REPAIR_LEAKS] = "leaks", [BLKRING_REPAIR_ALL] = "all", NULL
  };
  struct check c = { .common.subcommand = &check_command };
  int opt, output = 0, what, status;

  while ((opt = getopt_long (argc, argv, "r:" COMMON_SHORT, options, NULL))
         != -1)
    switch (opt) {
    case 'r':
      what = parse_word ("--repair", optarg, whats);
      if (what == -1)
        return STATUS_FAILED;
      c.repair = true;
      c.what = what;
      break;
    case OPT_OUTPUT:
      output = parse_word ("--output", optarg, outputs);
      if (output == -1)
        return STATUS_FAILED;
      break;
    default:
      if (common_option (&c.common, opt) == -1)
        return STATUS_FAILED;
    }
  if (common_arguments (&c.common, argc, argv, 0) == -1)
    return STATUS_FAILED;
  if (output == 1) {
    c.findings = json_array ();
    c.repairs = json_array ();
  }
  status = check (&c);
  json_decref (c.findings);
  json_decref (c.repairs);
  return status;
}

const struct subcommand check_command = {
  .name = "check",
  .arguments = "RING",
  .summary = "look for corruption, also beside a running ring",
  .options =
  "  -r, --repair=leaks|all drop what was pushed and never exposed; and mend "
  "what\n"
  "                         has a good copy\n"
  OUTPUT_HELP,
  .run = run_check,
};
