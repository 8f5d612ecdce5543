#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# A connection that is lost on the client's side alone: the server still has
# it, and keeps a side of the ring for it until it has heard nothing for
# owner-timeout.  A client that comes back before gets its side all the same.

load helpers
load nbdkit

# A server, and a relay before it, which can lose the clients.
relayed () {
  new_ring 1M
  serve ring "$@"
  python3 "$abs_top_srcdir/tests/relay.py" front sock 3>&- 5>&- &
  relay=$!
  started+=("$relay")
  eventually [ -S front ]
  via='nbd+unix:///?socket=front'
}
vanish () {
  kill -USR1 "$relay"
  eventually [ -e front.cut ]
}

holds_items () {
  [ "$(field items "$uri")" = "$1" ]
}

@test "a producer that comes back gets its side, and stores what it has once" {
  relayed owner-timeout=3
  input_pipe
  start produce --batch=1 -v "$via" <input 2>producer.err
  echo one >&5
  eventually holds_items 1
  vanish
  echo two >&5
  eventually holds_items 2
  echo three >&5
  exec 5>&-
  finish
  [ "$status" = 0 ] || fail "$(cat producer.err log)"
  grep -q 'connection is lost: .* keeps this side' producer.err
  [ "$(blkring-img dump --output=raw "$uri")" = onetwothree ]
}

@test "a consumer that comes back gets its side, and frees what it took" {
  relayed owner-timeout=3
  seq 3 | blkring-img produce "$uri"
  start consume -v "$via" >items 2>consumer.err
  eventually lines_are items 3
  eventually holds_items 0
  vanish
  seq 4 6 | blkring-img produce "$uri"
  eventually lines_are items 6
  eventually holds_items 0
  kill -TERM "$pid"
  finish
  [ "$status" = 0 ] || fail "$(cat consumer.err log)"
  grep -q 'connection is lost: .* keeps this side' consumer.err
  seq 6 | cmp - items
}

@test "a side that is not given back is an error when reconnect is over" {
  relayed owner-timeout=1000
  input_pipe
  start produce --batch=1 --reconnect=1 --timeout=10 "$via" <input 2>producer.err
  echo one >&5
  eventually holds_items 1
  vanish
  echo two >&5
  finish
  [ "$status" = 1 ] || fail "$(cat producer.err log)"
  grep -q 'another client owns this side' producer.err
  [ "$(blkring-img dump --output=raw "$uri")" = one ]
}
