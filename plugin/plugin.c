/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbdkit blkring: nbdkit's callbacks, in terms of the service, on a file, a
 * block device, or another NBD server.
 */

#include <config.h>

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "glue.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* -D blkring.requests=1 */
NBDKIT_DLL_PUBLIC int blkring_debug_requests;
/* -D blkring.parallel=1 */
NBDKIT_DLL_PUBLIC int blkring_debug_parallel;

static struct service_options options;
static struct blkring_open_options open_options;
static char *file;           /* or an NBD URI */
static blkring_device *device;
static struct service *service;

static void
plugin_load (void)
{
  service_options_init (&options);
  options.log = glue_log;
}

static void
plugin_unload (void)
{
  service_close (service);
  blkring_device_close (device);
  free (file);
}

/*---------------------------------------------------------------------*/

static int
set_file (const char *key, const char *value)
{
  if (file) {
    nbdkit_error ("%s=%s: one ring is served, and %s is it already", key,
                  value, file);
    return -1;
  }
  file = strcmp (key, "file") == 0 ? nbdkit_absolute_path (value)
    : strdup (value);
  return file ? 0 : -1;
}

static int
set_size (const char *value)
{
  int64_t size;

  if (value[0] < '0' || value[0] > '9') {
    nbdkit_error ("create=%s: either the size of a file to make, as 64M, or "
                  "'blank', for a ring on a device that holds nothing",
                  value);
    return -1;
  }
  size = nbdkit_parse_size (value);
  if (size == -1)
    return -1;
  open_options.flags |= BLKRING_OPEN_CREATE | BLKRING_OPEN_EXCLUSIVE;
  open_options.size = size;
  options.create_blank = true;
  return 0;
}

static int
set_direct (const char *value)
{
  int r = glue_parse_switch ("", "direct", value);

  if (r == -1)
    return -1;
  open_options.flags &= ~(BLKRING_OPEN_DIRECT | BLKRING_OPEN_BUFFERED);
  open_options.flags |= r ? BLKRING_OPEN_DIRECT : BLKRING_OPEN_BUFFERED;
  return 0;
}

static int
plugin_config (const char *key, const char *value)
{
  int r;

  if (strcmp (key, "file") == 0 || strcmp (key, "nbd") == 0)
    return set_file (key, value);
  if (strcmp (key, "create") == 0 && strcmp (value, "blank") != 0)
    return set_size (value);
  if (strcmp (key, "direct") == 0)
    return set_direct (value);
  r = glue_config (&options, "", key, value);
  if (r == 0)
    nbdkit_error ("unknown parameter: %s (nbdkit blkring --help lists them)",
                  key);
  return r == 1 ? 0 : -1;
}

static int
plugin_config_complete (void)
{
  if (file == NULL) {
    nbdkit_error ("what to serve is missing: file=FILENAME or nbd=URI");
    return -1;
  }
  return glue_config_complete (&options, "");
}

#define plugin_config_help \
  "file=FILENAME         (required, or nbd=) File or block device to serve.\n" \
  "nbd=URI               Serve a ring that is on another NBD server.\n" \
  "create=SIZE           Make the file and a ring in it, if it is missing.\n" \
  "direct=on|off         Use O_DIRECT (default: for block devices).\n" \
  GLUE_HELP ("")

/* nbdkit before 1.34 aborts when a client vanishes that has several requests
 * under way.  There is no way to ask for the version, but for a function
 * that 1.36 brought. */
static int
plugin_thread_model (void)
{
  return blkring_debug_parallel ||
    dlsym (RTLD_DEFAULT, "nbdkit_parse_probability")
    ? NBDKIT_THREAD_MODEL_PARALLEL : NBDKIT_THREAD_MODEL_SERIALIZE_REQUESTS;
}

static void
plugin_dump (void)
{
  printf ("blkring_version=%s\n", PACKAGE_VERSION);
  printf ("blkring_formats=1 2\n");
  printf ("blkring_views=");
  for (const struct service_view *v = service_views (); v->name; ++v)
    printf ("\"%s\"%s", v->name, v[1].name ? " " : "\n");
}

/*---------------------------------------------------------------------*/

/* 'create=SIZE' says nothing about a file that is there. */
static blkring_device *
open_device (bool *made)
{
  struct blkring_open_options o = open_options;
  const unsigned create = BLKRING_OPEN_CREATE | BLKRING_OPEN_EXCLUSIVE;
  blkring_device *d = blkring_device_open (file, &o);

  *made = d && o.flags & BLKRING_OPEN_CREATE;
  if (d == NULL && errno == EEXIST && o.flags & BLKRING_OPEN_CREATE) {
    o.flags &= ~create;
    o.size = 0;
    d = blkring_device_open (file, &o);
  }
  if (d == NULL && (errno == EACCES || errno == EROFS)) {
    o.flags = (o.flags & ~create) | BLKRING_OPEN_READ_ONLY;
    o.size = 0;
    d = blkring_device_open (file, &o);
    options.read_only = true;
  }
  return d;
}

static int
plugin_get_ready (void)
{
  bool made;

  device = open_device (&made);
  if (device == NULL) {
    nbdkit_error ("%s: %s", file, blkring_get_error ());
    return -1;
  }
  service = service_open (device, &options);
  if (service)
    return 0;
  glue_error ();
  /* The size may be one that no ring fits. */
  if (made)
    unlink (file);
  return -1;
}

static int
plugin_list_exports (int readonly, int is_tls,
                     struct nbdkit_exports *exports)
{
  const struct service_view *v;

  (void) readonly;
  (void) is_tls;
  for (v = service_views (); v->name; ++v)
    if (nbdkit_add_export (exports, v->name, v->description) == -1)
      return -1;
  return 0;
}

static void *
plugin_open (int readonly)
{
  const char *name = nbdkit_export_name ();
  struct service_client *client;
  const char *view;
  char peer[128];
  size_t length;

  if (name == NULL)
    return NULL;
  view = service_split_name (name, &length);
  if (length > 0) {
    nbdkit_error ("there is no export \"%s\": the ring is the default export"
                  ", and its state is \"status\"", name);
    nbdkit_set_error (ENOENT);
    return NULL;
  }
  glue_peer (peer, sizeof peer);
  client = service_connect (service, view, peer, readonly);
  if (client == NULL)
    nbdkit_set_error (glue_error ());
  return client;
}

static void
plugin_close (void *handle)
{
  service_disconnect (handle);
}

static int64_t
plugin_get_size (void *handle)
{
  return service_size (handle);
}

static const char *
plugin_export_description (void *handle)
{
  return service_description (handle);
}

static int
plugin_block_size (void *handle, uint32_t *minimum, uint32_t *preferred,
                   uint32_t *maximum)
{
  struct service_block_size size;

  service_block_size (handle, &size);
  *minimum = size.minimum;
  *preferred = size.preferred;
  *maximum = size.maximum;
  return 0;
}

#define CAN(name, feature, yes)                         \
  static int                                            \
  plugin_##name (void *handle)                          \
  {                                                     \
    return service_can (handle, feature) ? (yes) : 0;   \
  }

CAN (can_write, SERVICE_CAN_WRITE, 1)
CAN (can_flush, SERVICE_CAN_FLUSH, 1)
CAN (can_fua, SERVICE_CAN_FUA, NBDKIT_FUA_NATIVE)
CAN (can_trim, SERVICE_CAN_TRIM, 1)
CAN (can_zero, SERVICE_CAN_ZERO, 1)
/* Always: where it is not, a client that asks nevertheless meets an assertion
 * of nbdkit's.  The service fails such a request with ENOTSUP. */
CAN (can_fast_zero, SERVICE_CAN_ZERO, 1)
CAN (can_extents, SERVICE_CAN_EXTENTS, 1)
CAN (can_multi_conn, SERVICE_CAN_MULTI_CONN, 1)
CAN (can_cache, SERVICE_CAN_CACHE, NBDKIT_CACHE_NATIVE)

static int
result (int r)
{
  if (r == -1)
    nbdkit_set_error (glue_errno ());
  return r;
}

static void
debug_request (const char *what, uint64_t count, uint64_t offset,
               uint32_t flags)
{
  if (blkring_debug_requests)
    nbdkit_debug ("blkring: %s count=%" PRIu64 " offset=%" PRIu64
                  " flags=%" PRIu32, what, count, offset, flags);
}

static int
plugin_pread (void *handle, void *buf, uint32_t count, uint64_t offset,
              uint32_t flags)
{
  debug_request ("pread", count, offset, flags);
  return result (service_pread (handle, buf, count, offset));
}

static int
plugin_pwrite (void *handle, const void *buf, uint32_t count,
               uint64_t offset, uint32_t flags)
{
  debug_request ("pwrite", count, offset, flags);
  return result (service_pwrite (handle, buf, count, offset,
                                 glue_flags (flags)));
}

static int
plugin_flush (void *handle, uint32_t flags)
{
  debug_request ("flush", 0, 0, flags);
  return result (service_flush (handle));
}

static int
plugin_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  debug_request ("trim", count, offset, flags);
  return result (service_trim (handle, count, offset, glue_flags (flags)));
}

static int
plugin_zero (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  debug_request ("zero", count, offset, flags);
  return result (service_zero (handle, count, offset, glue_flags (flags)));
}

static int
plugin_extents (void *handle, uint32_t count, uint64_t offset,
                uint32_t flags, struct nbdkit_extents *extents)
{
  debug_request ("extents", count, offset, flags);
  return result (service_extents (handle, count, offset,
                                  flags & NBDKIT_FLAG_REQ_ONE,
                                  glue_add_extent, extents));
}

static struct nbdkit_plugin plugin = {
  .name = "blkring",
  .version = PACKAGE_VERSION,
  .longname = "nbdkit blkring plugin",
  .description = "serve a crash-safe ring of messages, and guard it",
  .load = plugin_load,
  .unload = plugin_unload,
  .dump_plugin = plugin_dump,
  .config = plugin_config,
  .config_complete = plugin_config_complete,
  .config_help = plugin_config_help,
  .magic_config_key = "file",
  .thread_model = plugin_thread_model,
  .get_ready = plugin_get_ready,
  .list_exports = plugin_list_exports,
  .open = plugin_open,
  .close = plugin_close,
  .get_size = plugin_get_size,
  .export_description = plugin_export_description,
  .block_size = plugin_block_size,
  .can_write = plugin_can_write,
  .can_flush = plugin_can_flush,
  .can_fua = plugin_can_fua,
  .can_trim = plugin_can_trim,
  .can_zero = plugin_can_zero,
  .can_fast_zero = plugin_can_fast_zero,
  .can_extents = plugin_can_extents,
  .can_multi_conn = plugin_can_multi_conn,
  .can_cache = plugin_can_cache,
  .pread = plugin_pread,
  .pwrite = plugin_pwrite,
  .flush = plugin_flush,
  .trim = plugin_trim,
  .zero = plugin_zero,
  .extents = plugin_extents,
};

NBDKIT_REGISTER_PLUGIN (plugin)
