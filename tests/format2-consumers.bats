#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# A ring of several consumers: each gets every item, the slowest holds back
# the space, and blkring-img consumer says which of them take part.

load helpers
load format2

# A ring of three consumers with room for eight frames of 512 bytes.
make_ring () {
  new_ring $((49152 + 4096)) --block-size=512 --consumers=3
}

# Store each line of the arguments in a frame of its own.
put () {
  printf '%s\n' "$@" | succeeds produce --batch=1 ring
}

# Consumer $1 gets these lines, and then there is nothing more.
gets () {
  succeeds consume --consumer="$1" --until-empty ring
  [ "$(paste -sd ' ' out)" = "${*:2}" ] || report "consumer $1"
}

# What consumer list says of consumer $1.
listed () {
  blkring-img consumer list ring | sed -n "s/^$1 //p"
}

@test "each consumer gets every item, at its own pace" {
  make_ring
  put 1 2 3
  gets 0 1 2 3
  put 4
  succeeds consume --consumer=1 --count=2 ring
  [ "$(paste -sd ' ' out)" = '1 2' ]
  gets 2 1 2 3 4
  gets 1 3 4
  gets 0 4
  must_be items 0 used 0
}

@test "dump shows what this consumer has not read" {
  make_ring
  put 1 2 3
  succeeds consume --consumer=1 --count=2 ring
  gets 2 1 2 3
  local k
  for k in 0:123 1:3 2:; do
    succeeds dump --output=raw --consumer=${k%:*} ring
    [ "$(cat out)" = "${k#*:}" ]
  done
  succeeds dump --output=raw ring
  [ "$(cat out)" = 123 ]
}

@test "consumers run side by side, each with a lock of its own" {
  make_ring
  local k
  for k in 0 1 2; do
    start consume --consumer=$k --client="reader $k" ring >copy.$k
  done
  put 1 2 3
  for k in 0 1 2; do
    eventually lines_are copy.$k 3
    fails 1 "ring: another consumer .*reader $k, " \
      consume --consumer=$k --until-empty ring
  done
  eventually is items 0
  [ "$(blkring-img info --output=json ring | jq -c '[.consumers[].owner]')" \
    = '["alive","alive","alive"]' ]
}

@test "many items to three consumers around the ring, all of them get all" {
  new_ring 128K --block-size=512 --consumers=3
  local k all=()
  random_items 300 3000 >items
  for k in 0 1 2; do
    start consume --consumer=$k --framing=length --count=300 ring >copy.$k
    all+=("$pid")
  done
  succeeds produce --framing=length ring <items
  for k in 0 1 2; do
    finish "${all[k]}"
    [ "$status" = 0 ]
    cmp items copy.$k
  done
  must_be items 0 used 0
  succeeds check ring
}

@test "the slowest consumer holds back the space, and info shows it" {
  make_ring
  put 1 2 3 4 5 6 7 8
  gets 0 1 2 3 4 5 6 7 8
  gets 1 1 2 3 4 5 6 7 8
  must_be free 0 items 8 used 4096
  echo 9 >input
  fails 3 'ring: .*full: 0 items' produce --no-wait ring <input
  [ "$(listed 0)" = 'enabled, at position 4096, 0 items and 0 bytes behind' ]
  [ "$(listed 2)" = 'enabled, at position 0, 8 items and 4096 bytes behind' ]
  succeeds consume --consumer=2 --count=1 ring
  must_be free 512 items 7
  succeeds produce --no-wait ring <input
  fails 3 'ring: .*full: 0 items' produce --no-wait ring <input
}

@test "a producer that waits goes on when the slowest consumer has read" {
  make_ring
  put 1 2 3 4 5 6 7 8
  echo 9 >input
  start produce ring <input
  eventually attached
  gets 0 1 2 3 4 5 6 7 8
  gets 1 1 2 3 4 5 6 7 8
  kill -0 "$pid"
  is items 8
  # No more than there was: the producer may be quick.
  succeeds consume --consumer=2 --count=8 ring
  [ "$(paste -sd ' ' out)" = '1 2 3 4 5 6 7 8' ]
  finish
  [ "$status" = 0 ]
  gets 2 9
}

@test "within a frame: its space comes when all have left it" {
  make_ring
  printf '%s\n' a b c | succeeds produce ring
  gets 0 a b c
  gets 1 a b c
  succeeds consume --consumer=2 --count=2 ring
  must_be used 512 items 1
  gets 2 c
  must_be used 0
}

@test "consumer list: who takes part, where, and how far behind" {
  make_ring
  put 1 2
  succeeds consume --consumer=1 --count=1 ring
  succeeds consumer disable ring 2
  succeeds consumer list ring
  printf '%s\n' '0 enabled, at position 0, 2 items and 1024 bytes behind' \
    '1 enabled, at position 512, 1 items and 512 bytes behind' \
    '2 disabled' | cmp - out
  # It only looks.
  input_pipe
  start produce ring <input
  eventually attached
  succeeds consumer list ring
}

@test "a consumer that is disabled holds back nothing and gets nothing" {
  make_ring
  put 1 2 3 4 5 6 7 8
  gets 0 1 2 3 4 5 6 7 8
  gets 1 1 2 3 4 5 6 7 8
  succeeds consumer disable ring 2
  [ ! -s out ]
  must_be items 0 used 0 free 4096
  put 9 10
  gets 0 9 10
  [ "$(listed 2)" = disabled ]
  fails 1 'ring: consumer 2 is disabled: enable it first' \
    consume --consumer=2 --until-empty ring
  fails 1 'ring: consumer 2 is disabled: enable it first' \
    dump --consumer=2 ring
  succeeds check ring
}

@test "a consumer that is enabled begins with what is stored from then on" {
  make_ring
  put 1 2
  succeeds consumer disable ring 1
  put 3 4
  succeeds consumer enable ring 1
  gets 1
  put 5
  gets 1 5
  gets 0 1 2 3 4 5
}

@test "to disable and enable what is so already changes nothing" {
  make_ring
  put 1 2
  local before
  before=$(whole)
  succeeds consumer enable ring 1
  [ "$(whole)" = "$before" ]
  gets 1 1 2
  succeeds consumer disable ring 1
  before=$(whole)
  succeeds consumer disable ring 1
  [ "$(whole)" = "$before" ]
}

@test "the last consumer that is enabled cannot be disabled" {
  make_ring
  succeeds consumer disable ring 0
  succeeds consumer disable ring 2
  fails 1 'ring: .*last consumer' consumer disable ring 1
  gets 1
  put 1
  gets 1 1
  # Requests to suspend are nobody's in particular.
  succeeds suspend ring
  state_is suspend-requested
  succeeds produce ring </dev/null
  state_is suspended
}

@test "suspend, resume and state: by any consumer, and the same for all" {
  make_ring
  local k other
  idle_producer
  for k in 2 0 1; do
    succeeds suspend --consumer=$k --wait=10 ring
    for other in 0 1 2; do
      succeeds state --consumer=$other ring
      [ "$(cat out)" = suspended ]
    done
    # Another one's request is the same.
    succeeds resume --consumer=$(((k + 1) % 3)) --wait=10 ring
    succeeds state --consumer=$k ring
    [ "$(cat out)" = running ]
  done
  for k in suspend resume state; do
    fails 1 'ring: there is no consumer 3: the ring has 3' $k --consumer=3 ring
  done
  state_is running
}

@test "suspend beside consumers at work" {
  make_ring
  local k
  for k in 0 1 2; do
    start consume --consumer=$k ring >copy.$k
  done
  idle_producer_of 1
  for k in 0 1 2; do
    eventually lines_are copy.$k 1
  done
  succeeds suspend --wait=10 ring
  echo 2 >&5
  state_is suspended
  succeeds resume --consumer=1 --wait=10 ring
  for k in 0 1 2; do
    eventually lines_are copy.$k 2
  done
}

# It has stored a line, which may be gone already.
idle_producer_of () {
  input_pipe
  start produce ring <input
  echo "$1" >&5
}

@test "consumer: what is wrong in the command line" {
  make_ring
  misused 'list, enable or disable' consumer
  misused "'stop' is none of list enable disable" consumer stop ring 1
  misused 'which one' consumer enable ring
  misused 'which one' consumer disable ring
  misused "'x' is not .* 0 to 63" consumer enable ring x
  misused "'64' is not .* 0 to 63" consumer disable ring 64
  misused "'-1' is not .* 0 to 63|invalid option" consumer disable ring -1
  fails 1 'ring: there is no consumer 3 .*: the ring has 3' \
    consumer disable ring 3
  fails 1 'ring: there is no consumer 3: the ring has 3' \
    consume --consumer=3 ring
  fails 1 'ring: there is no consumer 63: the ring has 3' \
    dump --consumer=63 ring
  fails 1 'none: .*No such file' consumer list none
  fails 1 'none: .*No such file' consumer enable none 0
}

@test "consumer of a ring of format 1: there is but one, of no number" {
  blkring-img create -q --format=1 ring 10K
  fails 1 'ring: a ring of format 1 has one consumer' consumer list ring
  fails 1 'ring: a ring of format 1 has one consumer' consumer enable ring 0
  fails 1 'ring: a ring of format 1 has one consumer' consumer disable ring 0
  store x
  local s
  for s in 'consume --until-empty' dump suspend resume state; do
    # shellcheck disable=SC2086
    fails 1 'ring: there is no consumer 1: the ring has 1' \
      $s --consumer=1 ring
  done
  succeeds consume --consumer=0 --until-empty ring
  [ "$(cat out)" = x ]
}

@test "consumer: not while it is attached" {
  make_ring
  put 1
  start consume --consumer=1 ring >copy
  eventually lines_are copy 1
  eventually attached
  fails 1 'ring: another consumer is attached' consumer disable ring 1
  # Another can.
  succeeds consumer disable ring 2
  kill -TERM "$pid"
  finish
  succeeds consumer disable ring 1
}

@test "consumer: not while a producer is at work, but when it is suspended" {
  make_ring
  idle_producer
  fails 1 'ring: a producer is at work: suspend' consumer disable ring 1
  succeeds suspend --wait=10 ring
  succeeds consumer disable ring 1
  succeeds resume --wait=10 ring
  fails 1 'ring: a producer is at work: suspend' consumer enable ring 1
  echo more >&5
  eventually is items 2
  exec 5>&-
  finish
  [ "$status" = 0 ]
  succeeds consumer enable ring 1
  put last
  gets 0 1 more last
  gets 1 last
}

@test "consumer: a producer that was killed does not count" {
  make_ring
  idle_producer 2
  kill -KILL "$pid"
  finish
  succeeds consumer disable ring 1
  # Its items are there for the others.
  gets 0 1 2
}

@test "consumer: the producer or the consumer may be on another host" {
  needs_python
  make_ring
  put 1
  cp ring good
  move_elsewhere 0
  fails 1 'ring: a producer is at work: suspend' consumer disable ring 1
  cp good ring
  move_elsewhere 3
  fails 1 'ring: another consumer .*their-c.*far-away' consumer disable ring 1
  succeeds consumer disable ring 2
  succeeds consume --takeover --consumer=1 --until-empty ring
  succeeds consumer disable ring 1
}
