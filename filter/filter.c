/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbdkit --filter=blkring: nbdkit's callbacks, in terms of the service.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <nbdkit-filter.h>
#include <nbdkit-version.h>

#include "backing.h"
#include "glue.h"

/* -D blkring.requests=1 */
NBDKIT_DLL_PUBLIC int blkring_debug_requests;
/* -D blkring.parallel=1 */
NBDKIT_DLL_PUBLIC int blkring_debug_parallel;

struct connection {
  nbdkit_backend *backend;
  const char *name, *view;   /* of the ring, and of what of it is served */
  char peer[128];
  struct backing *backing;
  struct service_client *client;
};

static struct service_options options;
/* Each export of the plugin is a ring of its own: nothing to look at before
 * a client names one.  Not found out by trying: outside a connection a plugin
 * that asks for the export's name gets none, and some crash then. */
static bool named_exports;
/* Else the default export's, from the start to the end. */
static struct backing *default_backing;

static const char prefix[] = "blkring-";

static void
blkring_load (void)
{
  service_options_init (&options);
  options.log = glue_log;
}

static int
set_exports (const char *value)
{
  named_exports = strcmp (value, "named") == 0;
  if (named_exports || strcmp (value, "default") == 0)
    return 0;
  nbdkit_error ("blkring-exports=%s: either 'default', one ring that is the "
                "default export, or 'named', a ring for each name", value);
  return -1;
}

static int
blkring_config (nbdkit_next_config *next, nbdkit_backend *nxdata,
                const char *key, const char *value)
{
  int r;

  if (strncmp (key, prefix, sizeof prefix - 1) != 0) {
    /* nbdkit-file-plugin(1) */
    if (strcmp (key, "dir") == 0)
      named_exports = true;
    return next (nxdata, key, value);
  }
  if (strcmp (key, "blkring-exports") == 0)
    return set_exports (value);
  r = glue_config (&options, prefix, key + sizeof prefix - 1, value);
  if (r == 0)
    nbdkit_error ("unknown parameter: %s (nbdkit --filter=blkring --help "
                  "PLUGIN lists them)", key);
  return r == 1 ? 0 : -1;
}

static int
blkring_config_complete (nbdkit_next_config_complete *next,
                         nbdkit_backend *nxdata)
{
  if (glue_config_complete (&options, prefix) == -1)
    return -1;
  return next (nxdata);
}

/* nbdkit before 1.34 aborts when a client vanishes that has several
 * requests under way. */
static int
blkring_thread_model (void)
{
#if NBDKIT_VERSION_MAJOR > 1 || NBDKIT_VERSION_MINOR >= 34
  return NBDKIT_THREAD_MODEL_PARALLEL;
#else
  return blkring_debug_parallel ? NBDKIT_THREAD_MODEL_PARALLEL
    : NBDKIT_THREAD_MODEL_SERIALIZE_REQUESTS;
#endif
}

/* What is no ring is refused at once, not when a client comes. */
static int
blkring_after_fork (nbdkit_backend *backend)
{
  if (named_exports)
    return 0;
  default_backing = backing_get (backend, "", &options);
  return default_backing ? 0 : -1;
}

static void
blkring_cleanup (nbdkit_backend *backend)
{
  (void) backend;
  backing_put (default_backing);
  default_backing = NULL;
}

static int
add_views (struct nbdkit_exports *exports, const char *name)
{
  const struct service_view *v;
  const char *full;

  for (v = service_views (); v->name; ++v) {
    full = v->name[0] == '\0' ? name
      : name[0] == '\0' ? v->name
      : nbdkit_printf_intern ("%s/%s", name, v->name);
    if (full == NULL || nbdkit_add_export (exports, full, v->description)
        == -1)
      return -1;
  }
  return 0;
}

static int
blkring_list_exports (nbdkit_next_list_exports *next, nbdkit_backend *nxdata,
                      int readonly, int is_tls,
                      struct nbdkit_exports *exports)
{
  struct nbdkit_exports *below;
  size_t i;
  int r;

  (void) is_tls;
  if (!named_exports)
    return add_views (exports, "");
  below = nbdkit_exports_new ();
  if (below == NULL)
    return -1;
  r = next (nxdata, readonly, below);
  for (i = 0; r == 0 && i < nbdkit_exports_count (below); ++i)
    r = add_views (exports, nbdkit_get_export (below, i).name);
  nbdkit_exports_free (below);
  return r;
}

static const char *
blkring_default_export (nbdkit_next_default_export *next,
                        nbdkit_backend *nxdata, int readonly, int is_tls)
{
  (void) is_tls;
  return named_exports ? next (nxdata, readonly) : "";
}

/*---------------------------------------------------------------------*/

/* Most plugins serve the same under any name: were each a ring of its own,
 * none of them would know what the others let in. */
static int
check_name (const char *exportname, size_t length)
{
  if (named_exports || length == 0)
    return 0;
  nbdkit_error ("there is no export \"%s\": the ring is the default export, "
                "and its state is \"status\"", exportname);
  errno = ENOENT;
  return -1;
}

static void *
blkring_open (nbdkit_next_open *next, nbdkit_context *context, int readonly,
              const char *exportname, int is_tls)
{
  struct connection *c;
  size_t length;
  const char *view = service_split_name (exportname, &length);

  (void) is_tls;
  if (check_name (exportname, length) == -1)
    return NULL;
  c = calloc (1, sizeof *c);
  if (c == NULL) {
    nbdkit_error ("out of memory");
    return NULL;
  }
  c->backend = nbdkit_context_get_backend (context);
  c->view = view;
  c->name = nbdkit_strndup_intern (exportname, length);
  glue_peer (c->peer, sizeof c->peer);
  if (c->name == NULL || next (context, readonly, c->name) == -1) {
    free (c);
    return NULL;
  }
  return c;
}

static void
blkring_close (void *handle)
{
  struct connection *c = handle;

  service_disconnect (c->client);
  backing_put (c->backing);
  free (c);
}

static int
blkring_prepare (nbdkit_next *next, void *handle, int readonly)
{
  struct connection *c = handle;

  if (backing_prepare (next) == -1)
    return -1;
  backing_enter (next);
  c->backing = backing_get (named_exports ? NULL : c->backend, c->name,
                            &options);
  backing_enter (NULL);
  if (c->backing == NULL)
    return -1;
  c->client = service_connect (backing_service (c->backing), c->view,
                               c->peer, readonly);
  return c->client ? 0 : (glue_error (), -1);
}

static int64_t
blkring_get_size (nbdkit_next *next, void *handle)
{
  const struct connection *c = handle;

  (void) next;
  return service_size (c->client);
}

static const char *
blkring_export_description (nbdkit_next *next, void *handle)
{
  const struct connection *c = handle;

  (void) next;
  return service_description (c->client);
}

static int
blkring_block_size (nbdkit_next *next, void *handle, uint32_t *minimum,
                    uint32_t *preferred, uint32_t *maximum)
{
  const struct connection *c = handle;
  struct service_block_size size;

  (void) next;
  service_block_size (c->client, &size);
  *minimum = size.minimum;
  *preferred = size.preferred;
  *maximum = size.maximum;
  return 0;
}

#define CAN(name, feature, yes)                                 \
  static int                                                    \
  blkring_##name (nbdkit_next *next, void *handle)              \
  {                                                             \
    const struct connection *c = handle;                        \
                                                                \
    (void) next;                                                \
    return service_can (c->client, feature) ? (yes) : 0;        \
  }

CAN (can_write, SERVICE_CAN_WRITE, 1)
CAN (can_flush, SERVICE_CAN_FLUSH, 1)
CAN (can_fua, SERVICE_CAN_FUA, NBDKIT_FUA_NATIVE)
CAN (can_trim, SERVICE_CAN_TRIM, 1)
CAN (can_zero, SERVICE_CAN_ZERO, NBDKIT_ZERO_NATIVE)
/* Always: where it is not, a client that asks nevertheless meets an assertion
 * of nbdkit's.  The service fails such a request with ENOTSUP. */
CAN (can_fast_zero, SERVICE_CAN_ZERO, 1)
CAN (can_extents, SERVICE_CAN_EXTENTS, 1)
CAN (can_multi_conn, SERVICE_CAN_MULTI_CONN, 1)
CAN (can_cache, SERVICE_CAN_CACHE, NBDKIT_CACHE_NATIVE)

/* Every request: by this connection's context, and with the error that the
 * service gave. */
#define REQUEST(call)                           \
  do {                                          \
    int r_;                                     \
                                                \
    backing_enter (next);                       \
    r_ = (call);                                \
    backing_enter (NULL);                       \
    if (r_ == -1)                               \
      *err = glue_errno ();                     \
    return r_;                                  \
  } while (0)

static void
debug_request (const char *what, uint64_t count, uint64_t offset,
               uint32_t flags)
{
  if (blkring_debug_requests)
    nbdkit_debug ("blkring: %s count=%" PRIu64 " offset=%" PRIu64
                  " flags=%" PRIu32, what, count, offset, flags);
}

static int
blkring_pread (nbdkit_next *next, void *handle, void *buf, uint32_t count,
               uint64_t offset, uint32_t flags, int *err)
{
  const struct connection *c = handle;

  debug_request ("pread", count, offset, flags);
  REQUEST (service_pread (c->client, buf, count, offset));
}

static int
blkring_pwrite (nbdkit_next *next, void *handle, const void *buf,
                uint32_t count, uint64_t offset, uint32_t flags, int *err)
{
  const struct connection *c = handle;

  debug_request ("pwrite", count, offset, flags);
  REQUEST (service_pwrite (c->client, buf, count, offset,
                           glue_flags (flags)));
}

static int
blkring_flush (nbdkit_next *next, void *handle, uint32_t flags, int *err)
{
  const struct connection *c = handle;

  debug_request ("flush", 0, 0, flags);
  REQUEST (service_flush (c->client));
}

static int
blkring_trim (nbdkit_next *next, void *handle, uint32_t count,
              uint64_t offset, uint32_t flags, int *err)
{
  const struct connection *c = handle;

  debug_request ("trim", count, offset, flags);
  REQUEST (service_trim (c->client, count, offset, glue_flags (flags)));
}

static int
blkring_zero (nbdkit_next *next, void *handle, uint32_t count,
              uint64_t offset, uint32_t flags, int *err)
{
  const struct connection *c = handle;

  debug_request ("zero", count, offset, flags);
  REQUEST (service_zero (c->client, count, offset, glue_flags (flags)));
}

static int
blkring_extents (nbdkit_next *next, void *handle, uint32_t count,
                 uint64_t offset, uint32_t flags,
                 struct nbdkit_extents *extents, int *err)
{
  const struct connection *c = handle;

  debug_request ("extents", count, offset, flags);
  REQUEST (service_extents (c->client, count, offset,
                            flags & NBDKIT_FLAG_REQ_ONE, glue_add_extent,
                            extents));
}

static struct nbdkit_filter filter = {
  .name = "blkring",
  .longname = "nbdkit blkring filter",
  .description = "serve a crash-safe ring of messages, and guard it",
  .load = blkring_load,
  .config = blkring_config,
  .config_complete = blkring_config_complete,
  .config_help = GLUE_HELP ("blkring-") "\n"
    "blkring-exports=named         Each export of the plugin is a ring.",
  .thread_model = blkring_thread_model,
  .after_fork = blkring_after_fork,
  .cleanup = blkring_cleanup,
  .list_exports = blkring_list_exports,
  .default_export = blkring_default_export,
  .open = blkring_open,
  .close = blkring_close,
  .prepare = blkring_prepare,
  .get_size = blkring_get_size,
  .export_description = blkring_export_description,
  .block_size = blkring_block_size,
  .can_write = blkring_can_write,
  .can_flush = blkring_can_flush,
  .can_fua = blkring_can_fua,
  .can_trim = blkring_can_trim,
  .can_zero = blkring_can_zero,
  .can_fast_zero = blkring_can_fast_zero,
  .can_extents = blkring_can_extents,
  .can_multi_conn = blkring_can_multi_conn,
  .can_cache = blkring_can_cache,
  .pread = blkring_pread,
  .pwrite = blkring_pwrite,
  .flush = blkring_flush,
  .trim = blkring_trim,
  .zero = blkring_zero,
  .extents = blkring_extents,
};

NBDKIT_REGISTER_FILTER (filter)
