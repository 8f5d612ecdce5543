#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# An independent witness of what reaches the disk: qemu-storage-daemon serves a
# disk, and its driver blklogwrites writes down each write and flush in the
# order in which they come.  Under the NBD client, by FUA and by flushes, and
# under the nbdkit filter.  Of the prefixes of the log every fifth is looked at,
# or each with BLKRING_EACH=1.

load nbd-helpers

size=$((48 << 10))
# What the filter wants in nbdkit, where it was built with one.
sanitizer=

# nbdkit on a socket $1, until it listens.
start_nbdkit () {
  local socket=$1
  shift
  env ASAN_OPTIONS="${ASAN_OPTIONS+$ASAN_OPTIONS:}detect_leaks=0" \
    LD_PRELOAD="$sanitizer" \
    nbdkit -f -U "$socket" -P "$socket.pid" "$@" 2>"$socket.log" 3>&- &
  nbdkit=$!
  started+=("$nbdkit")
  eventually [ -s "$socket.pid" ]
}

# A server that is watched: what it sees is in the file log.  qemu makes flushes
# of FUA, and spares some that blklogwrites should get to see, so that nobody
# may ask it for FUA: what comes to "front.sock" of nbdkit, with these arguments
# in front of the disk's, goes to it as writes and flushes.
serve_watched () {
  truncate -s $size disk
  cp disk before
  : >log
  qemu-storage-daemon \
    --blockdev driver=file,node-name=disk,filename=disk \
    --blockdev driver=file,node-name=log,filename=log \
    --blockdev driver=blklogwrites,node-name=watched,file=disk,log=log,log-sector-size=512 \
    --nbd-server addr.type=unix,addr.path=watched.sock,max-connections=0 \
    --export type=nbd,id=export,node-name=watched,writable=on \
    --pidfile pid 3>&- >server.log 2>&1 &
  server=$!
  started+=("$server")
  eventually [ -s pid ]
  start_nbdkit front.sock ${1:+"$1"} --filter=fua nbd \
    uri="nbd+unix:///watched?socket=$PWD/watched.sock" $fuamode
  uri="nbd+unix:///?socket=$PWD/front.sock"
}

# The log is whole when the daemon has ended.
stop_watched () {
  kill -TERM "$server"
  wait "$server" || fail "$(cat server.log)"
}

judge () {
  stop_watched
  timeout 120 python3 -B "$abs_top_srcdir/tests/witness.py" "$1" before log \
    calls "${BLKRING_EACH-5}" >verdict 2>&1 || fail "$(cat verdict)"
  echo "# $(cat verdict)" >&3
}

needs () {
  command -v qemu-storage-daemon >/dev/null ||
    skip "no qemu-storage-daemon (Debian: qemu-system-common)"
  command -v nbdkit >/dev/null || skip "no nbdkit"
}

work () {
  timeout 60 "$abs_top_builddir/tests/witness" "$uri" "$1" log >calls ||
    fail "$(cat ./*.log)"
  kill -TERM "$nbdkit"
  wait "$nbdkit" || fail "$(cat front.sock.log)"
  judge "$1"
}

by_client () {
  needs
  fuamode=fuamode=emulate
  serve_watched
  nbdinfo --can fua "$uri"
  work "$1"
}

# As the filter is without a mode.
by_flushes () {
  needs
  fuamode=
  serve_watched
  if nbdinfo --can fua "$uri"; then fail "there is FUA"; fi
  work "$1"
}

by_filter () {
  local filter=$abs_top_builddir/filter/.libs/nbdkit-blkring-filter.so
  needs
  [ -e "$filter" ] || skip "no nbdkit filter was built"
  fuamode=fuamode=emulate
  if [ "$1" = 1 ]; then
    succeeds create -q --format=1 disk $size
  else
    succeeds create -q --format=2 --block-size=512 disk $size
  fi
  sanitizer=$(ldd "$filter" | awk '/lib[at]san/ { print $3 }')
  serve_watched "--filter=$filter"
  work "$1"
}

@test "format 1, NBD client: the order on the disk is the contract's" {
  by_client 1
}

@test "format 2, NBD client: the order on the disk is the contract's" {
  by_client 2
}

@test "format 1, by flushes: the order on the disk is the contract's" {
  by_flushes 1
}

@test "format 2, by flushes: the order on the disk is the contract's" {
  by_flushes 2
}

@test "format 1, under the filter: the order on the disk is the contract's" {
  by_filter 1
}

@test "format 2, under the filter: the order on the disk is the contract's" {
  by_filter 2
}
