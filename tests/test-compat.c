/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Compatibility with the original implementation of format 1.  The images
 * in tests/data/v1 were written by it, and manifest.json says what is in
 * them and by which operations they came about.  Two tests for each image:
 * it is read as the manifest says, and the same operations carried out by
 * this library give the same image, byte for byte.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common.h"

static json_t *manifest;
static const char *folder;

static const char *
string (json_t *object, const char *key)
{
  const char *s = json_string_value (json_object_get (object, key));

  if (s == NULL)
    fail_msg ("the manifest lacks %s", key);
  return s;
}

static uint64_t
number (json_t *object, const char *key)
{
  json_t *value = json_object_get (object, key);

  if (!json_is_integer (value))
    fail_msg ("the manifest lacks %s", key);
  return json_integer_value (value);
}

static bool
boolean (json_t *object, const char *key)
{
  json_t *value = json_object_get (object, key);

  if (!json_is_boolean (value))
    fail_msg ("the manifest lacks %s", key);
  return json_boolean_value (value);
}

/* The whole image. */
static unsigned char *
load_image (json_t *fixture, size_t *size)
{
  unsigned char *image;
  char path[4096];
  FILE *f;

  *size = number (fixture, "file_size");
  image = malloc (*size);
  snprintf (path, sizeof path, "%s/%s", folder, string (fixture, "file"));
  f = fopen (path, "rb");
  if (f == NULL || image == NULL || fread (image, 1, *size, f) != *size)
    fail_msg ("cannot read %s", path);
  fclose (f);
  return image;
}

static void
assert_hex (const struct blkring_item *item, const char *hex)
{
  const unsigned char *data = item->data;
  char byte[3];
  size_t i;

  assert_int_equal (strlen (hex), 2 * item->length);
  for (i = 0; i < item->length; ++i) {
    snprintf (byte, sizeof byte, "%02x", data[i]);
    assert_memory_equal (byte, hex + 2 * i, 2);
  }
}

/*---------------------------------------------------------------------*/
/* Reading.                                                              */

static void
assert_info (blkring_device *device, json_t *fixture)
{
  static const enum blkring_state states[2][2] = {
    { BLKRING_RUNNING, BLKRING_RESUME_REQUESTED },
    { BLKRING_SUSPEND_REQUESTED, BLKRING_SUSPENDED },
  };
  json_t *items = json_object_get (fixture, "items"), *item;
  struct blkring_info info;
  uint64_t bytes = 0;
  size_t i;

  assert_ok (blkring_inspect (device, NULL, &info));
  assert_int_equal (info.format, 1);
  assert_int_equal (info.sector_size, number (fixture, "sector_size"));
  assert_int_equal (info.capacity, number (fixture, "data_bytes"));
  assert_int_equal (info.producer, number (fixture, "producer"));
  assert_int_equal (info.consumer, number (fixture, "consumer"));
  assert_int_equal (info.used, info.producer - info.consumer);
  assert_int_equal (info.free, info.capacity - info.used);
  assert_int_equal (info.largest_item, info.capacity - 4);
  assert_int_equal (info.state, states[boolean (fixture, "suspend")]
                                      [boolean (fixture, "suspend_ack")]);
  assert_string_equal (info.producer_text, string (fixture, "producer_text"));
  assert_string_equal (info.consumer_text, string (fixture, "consumer_text"));
  json_array_foreach (items, i, item)
    bytes += number (item, "length");
  assert_int_equal (info.items, json_array_size (items));
  assert_int_equal (info.item_bytes, bytes);
}

static void
no_finding (void *opaque, const struct blkring_finding *finding)
{
  (void) opaque;
  fail_msg ("byte %" PRIu64 ": %s", finding->offset, finding->message);
}

struct cover {
  uint64_t end, unread;
};

static int
add_region (void *opaque, const struct blkring_region *region)
{
  struct cover *cover = opaque;

  assert_int_equal (region->offset, cover->end);
  assert_true (region->length > 0);
  cover->end += region->length;
  if (region->kind == BLKRING_REGION_UNREAD)
    cover->unread += region->length;
  return 0;
}

static void
assert_map_covers (blkring_device *device, json_t *fixture)
{
  struct cover cover = { 0, 0 };

  assert_ok (blkring_map (device, NULL, add_region, &cover));
  assert_int_equal (cover.end, number (fixture, "file_size"));
  assert_int_equal (cover.unread, number (fixture, "producer") -
                    number (fixture, "consumer"));
}

static void
assert_items (blkring_consumer *c, json_t *fixture, bool advance)
{
  blkring_position at = number (fixture, "consumer");
  struct blkring_item item;
  json_t *expected;
  size_t i;

  json_array_foreach (json_object_get (fixture, "items"), i, expected) {
    assert_ok (blkring_consumer_pop (c, &at, &item));
    assert_int_equal (item.length, number (expected, "length"));
    assert_int_equal (item.position, at);
    assert_int_equal (item.next, number (expected, "next_position"));
    assert_hex (&item, string (expected, "hex"));
    if (advance)
      assert_ok (blkring_consumer_advance (c, item.next));
    at = item.next;
  }
  assert_fails (EAGAIN, blkring_consumer_pop (c, &at, &item));
}

/* The image itself, which nobody may change. */
static void
assert_reads_file (json_t *fixture)
{
  const struct blkring_open_options o = { .flags = BLKRING_OPEN_READ_ONLY };
  const struct blkring_attach_options observer = {
    .flags = BLKRING_ATTACH_OBSERVER,
  };
  const bool suspended =
    strcmp (string (fixture, "consumer_state"), "Suspended") == 0;
  blkring_consumer *c;
  blkring_device *device;
  char path[4096];

  snprintf (path, sizeof path, "%s/%s", folder, string (fixture, "file"));
  device = blkring_device_open (path, &o);
  assert_handle (device);
  assert_info (device, fixture);
  assert_returns (0, blkring_check (device, NULL, no_finding, NULL));
  assert_map_covers (device, fixture);
  c = blkring_consumer_attach (device, &observer);
  assert_handle (c);
  assert_items (c, fixture, false);
  assert_returns (suspended ? BLKRING_SUSPENDED : BLKRING_RUNNING,
                  blkring_consumer_state (c));
  blkring_consumer_free (c);
  blkring_device_close (device);
}

/* A copy, in memory with the sectors that it was made with. */
static blkring_device *
memory_copy (json_t *fixture)
{
  size_t size;
  unsigned char *image = load_image (fixture, &size);
  blkring_device *device =
    blkring_device_memory (size, number (fixture, "sector_size"));

  assert_handle (device);
  assert_ok (blkring_device_write (device, image, size, 0));
  free (image);
  return device;
}

static void
reads_image (void **state)
{
  json_t *fixture = *state;
  blkring_device *device;
  blkring_producer *p;
  blkring_consumer *c;

  assert_reads_file (fixture);
  device = memory_copy (fixture);
  assert_info (device, fixture);
  p = blkring_producer_attach (device, NULL);
  assert_handle (p);
  c = blkring_consumer_attach (device, NULL);
  assert_handle (c);
  assert_items (c, fixture, true);
  assert_returns (boolean (fixture, "suspend") ? BLKRING_SUSPENDED
                  : BLKRING_RUNNING, blkring_consumer_state (c));
  if (!boolean (fixture, "suspend")) {
    assert_ok (append_seed (p, 100, 7, NULL));
    take_seed (c, 100, 7);
  }
  blkring_producer_free (p);
  blkring_consumer_free (c);
  blkring_device_close (device);
}

/*---------------------------------------------------------------------*/
/* Writing: the operations, and what the original printed for each.      */

struct writer {
  blkring_device *device;
  struct blkring_attach_options attach;
  uint32_t sector_size;
  blkring_producer *p;
  blkring_consumer *c;
  size_t a, b;               /* of the operation */
  blkring_position pushed, popped;
  char result[128];          /* as the original puts it */
};

static blkring_producer *
producer (struct writer *w)
{
  if (w->p == NULL)
    w->p = blkring_producer_attach (w->device, &w->attach);
  assert_handle (w->p);
  return w->p;
}

static blkring_consumer *
consumer (struct writer *w)
{
  if (w->c == NULL)
    w->c = blkring_consumer_attach (w->device, &w->attach);
  assert_handle (w->c);
  return w->c;
}

static int
op_create (struct writer *w)
{
  const struct blkring_create_options o = {
    .format = 1, .sector_size = w->sector_size,
  };

  return blkring_create (w->device, &o);
}

static int
op_push (struct writer *w)
{
  int r = push_seed (producer (w), w->a, w->b, &w->pushed);

  if (r == 0)
    sprintf (w->result, "Ok position=%" PRIu64, w->pushed);
  return r;
}

static int
op_padv (struct writer *w)
{
  return blkring_producer_advance (producer (w), w->pushed);
}

static int
op_pushadv (struct writer *w)
{
  const size_t n = w->a, length = w->b;
  size_t i;

  for (i = 0; i < n; ++i) {
    assert_ok (push_seed (producer (w), length, i, &w->pushed));
    assert_ok (op_padv (w));
  }
  sprintf (w->result, "Ok %zu", n);
  return 0;
}

static int
op_pop (struct writer *w)
{
  struct blkring_item item;
  const unsigned char *data;
  char hex[2 * 24 + 1] = "";
  size_t i;

  if (blkring_consumer_pop (consumer (w), NULL, &item) == -1)
    return -1;
  data = item.data;
  for (i = 0; i < item.length && i < 24; ++i)
    sprintf (hex + 2 * i, "%02x", data[i]);
  w->popped = item.next;
  sprintf (w->result, "Ok position=%" PRIu64 " len=%zu %s..(%zu)", item.next,
           item.length, hex, item.length);
  return 0;
}

static int
op_cadv (struct writer *w)
{
  return blkring_consumer_advance (consumer (w), w->popped);
}

static int
op_suspend (struct writer *w)
{
  return blkring_consumer_suspend (consumer (w));
}

static int
op_resume (struct writer *w)
{
  return blkring_consumer_resume (consumer (w));
}

static int
op_pstate (struct writer *w)
{
  int r = blkring_producer_state (producer (w));

  strcpy (w->result, r == BLKRING_SUSPENDED ? "Suspended" : "Running");
  return r;
}

static const struct {
  const char *name;
  int (*run) (struct writer *w);
} ops[] = {
  { "create", op_create }, { "push", op_push }, { "padv", op_padv },
  { "pop", op_pop }, { "cadv", op_cadv }, { "pushadv", op_pushadv },
  { "suspend", op_suspend }, { "resume", op_resume },
  { "pstate", op_pstate },
};

/* One operation, "NAME" or "NAME=A" or "NAME=A,B". */
static void
run_op (struct writer *w, const char *op, const char *expected)
{
  const size_t name = strcspn (op, "=");
  char line[256];
  size_t i = 0;

  w->a = w->b = 0;
  if (op[name] == '=')
    sscanf (op + name + 1, "%zu,%zu", &w->a, &w->b);
  while (i < LENGTH (ops) && (strlen (ops[i].name) != name ||
                              memcmp (op, ops[i].name, name) != 0))
    i++;
  if (i == LENGTH (ops))
    fail_msg ("the operation %s is not known", op);
  strcpy (w->result, "Ok");
  if (ops[i].run (w) == -1)
    strcpy (w->result, errno == EAGAIN ? "Retry" : "Error");
  snprintf (line, sizeof line, "%s -> %s", op, w->result);
  /* The texts of errors are our own. */
  if (strcmp (w->result, "Error") == 0)
    assert_memory_equal (line, expected, strlen (line));
  else
    assert_string_equal (line, expected);
}

/*---------------------------------------------------------------------*/

static void
run_driver (struct writer *w, json_t *operation)
{
  json_t *args = json_object_get (operation, "args"), *arg;
  json_t *output = json_object_get (operation, "stdout");
  size_t i, line = 0;

  w->attach.queue = w->attach.client = "test";
  json_array_foreach (args, i, arg) {
    if (strcmp (json_string_value (arg), "--sector") == 0)
      w->sector_size = atoi (json_string_value (json_array_get (args, ++i)));
    else
      run_op (w, json_string_value (arg),
              json_string_value (json_array_get (output, line++)));
  }
  assert_int_equal (line, json_array_size (output));
}

/* The example tool's create erases the device with a text of its own
 * before, and its produce exposes each line of its input by itself. */
static void
run_example (struct writer *w, json_t *operation, const char *name)
{
  const struct blkring_create_options force = {
    .flags = BLKRING_CREATE_FORCE, .format = 1,
  };
  json_t *args = json_object_get (operation, "args");
  const char *text, *end;
  char pattern[256];

  if (strcmp (json_string_value (json_array_get (args, 0)), "create") == 0) {
    snprintf (pattern, sizeof pattern, "shared-block-ring/example/main.ml "
              "erased the %s volume; ", name);
    assert_ok (blkring_erase (w->device, pattern, strlen (pattern), NULL,
                              NULL));
    assert_ok (blkring_create (w->device, &force));
    return;
  }
  for (text = string (operation, "stdin"); *text; text = end + 1) {
    end = strchr (text, '\n');
    assert_ok (blkring_producer_append (producer (w), text, end - text,
                                        NULL));
  }
}

/* The journal makes a ring, has its consumer resume it (which writes the
 * consumer's record, and here takes a suspend before it), and appends. */
static void
run_journal (struct writer *w, json_t *fixture)
{
  json_t *item;
  size_t i;

  w->attach.queue = "journal-fixture";
  w->attach.client = "oracle";
  assert_ok (op_create (w));
  assert_ok (blkring_consumer_suspend (consumer (w)));
  assert_returns (BLKRING_SUSPENDED, blkring_producer_state (producer (w)));
  assert_ok (blkring_consumer_resume (w->c));
  assert_returns (BLKRING_RUNNING, blkring_producer_state (w->p));
  json_array_foreach (json_object_get (fixture, "items"), i, item) {
    const char *hex = string (item, "hex");
    const size_t length = strlen (hex) / 2;
    unsigned char *data = malloc (length);
    size_t k;

    for (k = 0; k < length; ++k)
      sscanf (hex + 2 * k, "%2hhx", &data[k]);
    assert_ok (blkring_producer_append (w->p, data, length, NULL));
    free (data);
  }
}

static blkring_device *
new_device (json_t *fixture, bool file, const char *dir)
{
  const struct blkring_open_options o = {
    .flags = BLKRING_OPEN_CREATE | BLKRING_OPEN_EXCLUSIVE,
    .size = number (fixture, "file_size"),
  };
  blkring_device *device;
  char path[200];

  /* What the tests would have to fill otherwise. */
  assert_int_equal (number (fixture, "initial_fill_byte"), 0);
  snprintf (path, sizeof path, "%s/ring", dir);
  device = file ? blkring_device_open (path, &o)
    : blkring_device_memory (o.size, number (fixture, "sector_size"));
  assert_handle (device);
  return device;
}

static void
assert_image (blkring_device *device, json_t *fixture)
{
  size_t size, i;
  unsigned char *expected = load_image (fixture, &size);
  unsigned char *actual = malloc (size);

  assert_non_null (actual);
  assert_ok (blkring_device_read (device, actual, size, 0));
  for (i = 0; i < size; ++i)
    if (actual[i] != expected[i])
      fail_msg ("byte %zu is %u, the original wrote %u", i, actual[i],
                expected[i]);
  free (actual);
  free (expected);
}

static void
write_image (json_t *fixture, bool file, const char *dir)
{
  struct writer w = {
    .device = new_device (fixture, file, dir),
    .sector_size = number (fixture, "sector_size"),
  };
  json_t *operation;
  size_t i;

  json_array_foreach (json_object_get (fixture, "operations"), i, operation) {
    const char *tool = string (operation, "tool");

    if (strcmp (tool, "driver") == 0)
      run_driver (&w, operation);
    else if (strcmp (tool, "example") == 0)
      run_example (&w, operation, string (fixture, "file"));
    else
      run_journal (&w, fixture);
  }
  blkring_producer_free (w.p);
  blkring_consumer_free (w.c);
  assert_image (w.device, fixture);
  blkring_device_close (w.device);
}

static void
writes_image (void **state)
{
  char dir[128];

  make_scratch (dir, sizeof dir);
  write_image (*state, true, dir);
  write_image (*state, false, dir);
  remove_scratch (dir);
}

/*---------------------------------------------------------------------*/

static void
add_test (struct CMUnitTest *test, const char *text, CMUnitTestFunction fn,
          json_t *fixture)
{
  char *name;

  if (asprintf (&name, "%s %s", text, string (fixture, "file")) == -1)
    abort ();
  *test = (struct CMUnitTest) { name, fn, NULL, NULL, fixture };
}

int
main (void)
{
  const char *top = getenv ("abs_top_srcdir");
  struct CMUnitTest tests[64];
  char path[4096], data[4000];
  json_t *fixture, *fixtures;
  json_error_t error;
  size_t i, n = 0;
  int r;

  snprintf (data, sizeof data, "%s/tests/data/v1", top ? top : ".");
  folder = data;
  snprintf (path, sizeof path, "%s/manifest.json", folder);
  manifest = json_load_file (path, 0, &error);
  fixtures = json_object_get (manifest, "fixtures");
  if (json_array_size (fixtures) == 0 ||
      2 * json_array_size (fixtures) > LENGTH (tests)) {
    printf ("Bail out! %s: %s (is abs_top_srcdir set?)\n", path, error.text);
    return 1;
  }
  json_array_foreach (fixtures, i, fixture) {
    add_test (&tests[n++], "reads", reads_image, fixture);
    add_test (&tests[n++], "writes", writes_image, fixture);
  }
  r = _cmocka_run_group_tests ("compat", tests, n, NULL, NULL);
  while (n > 0)
    free ((char *) tests[--n].name);
  json_decref (manifest);
  return r;
}
