#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Producer, consumer and server on hosts of their own, with a network between
# them that takes its time and fails, and a server that is killed: all comes
# through, in order.  And the same where it is only the server that fails, on a
# unix socket, without root.
#
# BLKRING_ITEMS=100000 BLKRING_OUTAGE=5 is its full length.

load helpers
load nbdkit
load hosts

items=${BLKRING_ITEMS-3000}
outage=${BLKRING_OUTAGE-2}  # s

# Longer than the server needs to notice, or to give up on the connection.
times=(--timeout=$((outage * 2)) --reconnect=60)

# What is between the server and the others takes a millisecond each way.
launch () {
  launch_nbdkit "$@" --filter=delay "--filter=$filter" file ring \
    rdelay=1ms wdelay=1ms 5>&-
}

# start_at HOST ARGUMENT...: as start; HOST may be none.
start_at () {
  local at=()
  [ "$1" = none ] || at "$1"
  "${at[@]}" env --default-signal=INT,TERM,PIPE blkring-img "${@:2}" \
    <&0 3>&- 5>&- &
  pid=$!
  started+=("$pid")
}

# Lines of the input for the producer, from one to the other.
feed () {
  sed -n "$1,$2p" in >&5 3>&- &
  feeder=$!
  started+=("$feeder")
}

# The consumer has stored more than this many bytes, or will not any more.
has_come () {
  [ "$(stat -c %s out)" -gt "$1" ] || gone "$producer" || gone "$consumer"
}
goes_on () {
  eventually has_come $(($(stat -c %s out) + 100))
}

# From one to the other, with this at a third and at two thirds of it, while
# there is more to do.
goes_through () {
  local first=$1 second=$2
  perl -e 'srand 5; for (1 .. $ARGV[0]) { print "line $_ ",
    "x" x int rand 200, "\n" }' "$items" >in
  start_at "$consumer_host" consume --count="$items" "${times[@]}" -v "$uri" \
    >out 2>consumer.err
  consumer=$pid
  input_pipe
  start_at "$producer_host" produce --batch=8 "${times[@]}" -v "$uri" <input \
    2>producer.err
  producer=$pid
  feed 1 $((items / 3))
  goes_on
  wait "$feeder"
  $first feed $((items / 3 + 1)) $((items * 2 / 3))
  goes_on
  wait "$feeder"
  $second feed $((items * 2 / 3 + 1)) "$items"
  wait "$feeder"
  exec 5>&-
  finish "$producer" || fail "$(tail -n 20 producer.err log)"
  [ "$status" = 0 ] || fail "$(tail -n 20 producer.err log)"
  finish "$consumer" || fail "$(tail -n 20 consumer.err log)"
  [ "$status" = 0 ] || fail "$(tail -n 20 consumer.err log)"
  cmp in out
}

# Each is told what comes next, so that there is something to store meanwhile.
server_dies () {
  kill -KILL "$server"
  wait "$server" || :
  "$@"
  restart
}
cables_fail () {
  unplug server producer
  unplug server consumer
  "$@"
  sleep "$outage"
  plug server producer
  plug server consumer
}
server_stalls () {
  kill -STOP "$server"
  "$@"
  sleep "$outage"
  kill -CONT "$server"
}

@test "three hosts: cables that fail, and a server that is killed" {
  hosts server producer consumer
  join server 192.0.2.1 producer 192.0.2.2
  join server 192.0.2.5 consumer 192.0.2.6
  producer_host=producer
  consumer_host=consumer
  uri=nbd://192.0.2.1
  # The server has one address for both.
  ip_on consumer route add 192.0.2.0/30 via 192.0.2.5
  local at
  at server
  nbdkit=("${at[@]}" "${nbdkit[@]}")
  restart () {
    launch -i 192.0.2.1
    is_ready sock
  }
  new_ring 256K
  restart
  goes_through cables_fail server_dies
  stop_server
  ring_is_valid
}

@test "a unix socket: a server that stalls, and that is killed" {
  producer_host=none
  consumer_host=none
  restart () {
    launch -U sock
    is_ready sock
  }
  new_ring 256K
  restart
  goes_through server_stalls server_dies
  stop_server
  ring_is_valid
}
