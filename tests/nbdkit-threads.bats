#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Many connections at once: a producer, a consumer, who suspends and resumes
# beside them, readers, and those who try what they must not.  Items go through
# in order.  make check-tsan runs this on a server with ThreadSanitizer, on
# which the server must say nothing.

load helpers
load nbdkit

items=${BLKRING_ITEMS-3000}
workers=(watch read read vandalise vandalise usurp come-and-go)
# It takes its threads in turn.
if [ "${BLKRING_VALGRIND-}" = 1 ]; then
  items=200
  workers=(watch read vandalise usurp come-and-go)
fi

# Eight connections that stay, and others that come and go.
through_the_crowd () {
  local load
  [ "${BLKRING_REQUIRE_TSAN-}" != 1 ] || [[ ${nbdkit[*]} = *libtsan* ]] ||
    fail "there is no ThreadSanitizer in the server"
  new_ring 256K
  # Who has nothing to do for a while, stays the owner.
  serve ring owner-timeout=1000
  start consume --follow "$uri" >copy
  consumer=$pid
  input_pipe
  start produce --batch=20 "$uri" <input
  producer=$pid
  # It is the owner from here on, and so is the consumer.
  echo 0 >&5
  eventually lines_are copy 1
  PYTHONPATH=$abs_top_srcdir/tests PYTHONDONTWRITEBYTECODE=1 format=$format \
    timeout -k 1 500 $python "$abs_top_srcdir/tests/nbdload.py" "${workers[@]}" \
    >load.log 2>&1 3>&- 5>&- &
  load=$!
  started+=("$load")
  seq "$items" >&5 &
  for _ in 1 2 3; do
    succeeds suspend --wait "$uri"
    succeeds resume --wait "$uri"
  done
  patiently lines_are copy $((items + 1))
  : >stop
  finish "$load"
  [ "$status" = 0 ] || fail "$(cat load.log)"
  exec 5>&-
  finish "$producer"
  [ "$status" = 0 ]
  kill -INT "$consumer"
  finish "$consumer"
  seq 0 "$items" | cmp - copy
  eventually is_idle
  stop_server
  [ "$status" = 0 ] || fail "the server ends with $status:" \
    "$(grep -v refused log | tail -n 100)"
  ! grep -A 40 'Sanitizer' log
  ring_is_valid
}

patiently () {
  eventually "$@" || eventually "$@" || eventually "$@"
}

@test "eight connections, a request of each at a time" {
  through_the_crowd
}

@test "eight connections, many requests of each at a time" {
  options=(-D blkring.parallel=1)
  through_the_crowd
}
