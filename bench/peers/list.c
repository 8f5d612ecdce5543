/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: who is measured.  The first is what the others are
 * compared with.
 */

#include <config.h>

#include "peers.h"

#ifdef HAVE_SQLITE3
#define SQLITE &peer_sqlite
#else
#define SQLITE NULL
#endif

#ifdef HAVE_LMDB
#define LMDB &peer_lmdb
#else
#define LMDB NULL
#endif

#ifdef HAVE_HIREDIS
#define REDIS &peer_redis
#else
#define REDIS NULL
#endif

const struct entry entries[] = {
  { "blkring", &peer_blkring2, NULL },
  { "blkring-direct", &peer_blkring2_direct, NULL },
  { "blkring-1", &peer_blkring1, NULL },
  { "bare", &peer_bare, NULL },
  { "sqlite", SQLITE, "libsqlite3-dev" },
  { "lmdb", LMDB, "liblmdb-dev" },
  { "redis", REDIS, "libhiredis-dev" },
  { "beanstalkd", &peer_beanstalkd, NULL },
};
const size_t nr_entries = sizeof entries / sizeof entries[0];
