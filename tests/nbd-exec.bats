#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Journals on rings behind NBD servers: consume --exec, its dead letters, and
# the journal of the library.

load nbd-helpers

# A second server, on "socket2": $uri2.
serve_second () {
  nbdkit -f -U socket2 "$@" 2>server2.log 3>&- 5>&- 6>&- 7>&- &
  started+=("$!")
  uri2="nbd+unix:///?socket=$PWD/socket2"
  eventually [ -S socket2 ]
}

@test "consume --exec takes a URI" {
  serve memory 1M
  create 2
  seq 1 20 | blkring-img produce "$uri"
  # shellcheck disable=SC2016
  tool consume --until-empty --retry-interval=0.01 --exec='
    item=$(cat); echo "$item $BLKRING_ATTEMPT" >>log
    [ "$item" != 7 ] || [ "$BLKRING_ATTEMPT" = 3 ]' "$uri"
  [ "$status" = 0 ]
  { seq -f '%g 1' 7; printf '7 2\n7 3\n'; seq -f '%g 1' 8 20; } | cmp - log
  [ "$(field items "$uri")" = 0 ]
}

@test "consume --exec goes on when the server was away" {
  truncate -s 1M ring
  serve file ring
  create 2
  start consume --reconnect=20 --exec='cat >>got; echo >>got' "$uri"
  echo one | blkring-img produce "$uri"
  eventually lines_are got 1
  kill_server
  serve file ring
  echo two | blkring-img produce "$uri"
  eventually lines_are got 2
  kill -TERM "$pid"
  finish
  [ "$status" = 0 ]
  [ "$(paste -sd ' ' got)" = 'one two' ]
}

@test "consume --on-failure=dead-letter takes a URI, and stores durably" {
  truncate -s 1M ring
  blkring-img create -q ring
  serve_second --filter=log memory 1M logfile=log
  blkring-img create -q "$uri2"
  printf 'one\ntwo\n' | blkring-img produce ring
  tool consume --until-empty --max-attempts=1 \
    --on-failure="dead-letter=$uri2" --exec='grep -q one' ring
  [ "$status" = 0 ]
  grep -q 'gave up the item at .*, which is in nbd' err
  [ "$(blkring-img dump --output=raw "$uri2")" = two ]
  must_be items 0
  # The frame, behind all records, is at the beginning of the data area.
  grep 'Write .*offset=0x8000 ' log | grep -q 'fua=1'
}

@test "an item that could not be stored as a dead letter stays in the ring" {
  truncate -s 1M ring
  blkring-img create -q ring
  serve_second --filter=error memory 1M error-pwrite=EIO error-pwrite-rate=1 \
    error-file="$PWD/broken"
  blkring-img create -q "$uri2"
  printf 'one\ntwo\n' | blkring-img produce ring
  tool consume --until-empty --max-attempts=1 \
    --on-failure="dead-letter=$uri2" --exec='touch broken; false' ring
  [ "$status" = 1 ]
  must_be items 2
}

@test "the journal of the manual works on an export" {
  build=$abs_top_builddir
  serve memory 1M
  printf 'a\na/b\n' | "$build/tests/manual-mkdirs" "$uri"
  [ -d a/b ]
  status=0
  printf 'd/e\ng\n' | "$build/tests/manual-mkdirs" "$uri" 2>err || status=$?
  [ "$status" = 1 ]
  [ ! -e g ]
  [ "$(field items "$uri")" = 2 ]
  mkdir d
  "$build/tests/manual-mkdirs" "$uri" </dev/null
  [ -d d/e ]
  [ -d g ]
  [ "$(field items "$uri")" = 0 ]
}
