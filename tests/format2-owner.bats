#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Format 2: one producer, and one of each consumer.  Who is refused is told
# by whom; who died on this host is in nobody's way; --takeover replaces who
# may be alive on another.

load helpers
load format2

owner_of () {
  blkring-img info --output=json ring | jq -r "$1.owner"
}

# Be this side for a moment.
be () {
  case $1 in
    producer) tool produce "${@:2}" ring <one ;;
    consumer) tool consume --until-empty "${@:2}" ring ;;
  esac
}

# Call it for both sides, with a side's name, the kind of its record, and
# where info has it.  (Not with "||": errors would not end it.)
each_side () {
  echo one >one
  two_items
  "$1" producer 0 '."producer-owner"'
  two_items
  "$1" consumer 2 .consumers[0]
}

two_items () {
  rm -f ring input
  new_ring 64K
  store 1 2
}

@test "a second one is refused, with the first one's identity" {
  local when
  when="on $(uname -n), last written 20[0-9-]* [0-9:]* UTC$"
  new_ring 64K
  input_pipe
  start produce --queue=jobs --client=first ring <input
  echo one >&5
  eventually is items 1
  fails 1 "ring: another producer .*: jobs used by first, process $pid $when" \
    produce ring </dev/null
  start consume --queue=out --client=second ring >copy
  eventually lines_are copy 1
  eventually is items 0
  fails 1 "ring: another consumer .*: out used by second, process $pid $when" \
    consume --until-empty ring
}

@test "--takeover does not replace one that runs on this host" {
  new_ring 64K
  input_pipe
  start produce --client=first ring <input
  eventually owner_is_alive producer-owner
  fails 1 'ring: another producer is attached: .*first, ' \
    produce --takeover ring </dev/null
  start consume --client=second ring >copy
  echo one >&5
  eventually lines_are copy 1
  fails 1 'ring: another consumer is attached: .*second, ' \
    consume --takeover --until-empty ring
  echo two >&5
  eventually lines_are copy 2
  exec 5>&-
}

owner_is_alive () {
  [ "$(owner_of ".\"$1\"")" = alive ]
}

crashed () {
  case $1 in
    producer) idle_producer_behind 2 ;;
    consumer)
      start consume ring >copy
      eventually lines_are copy 2
      eventually is items 0
      ;;
  esac
  kill -KILL "$pid"
  finish
  [ "$(owner_of "$3")" = dead ]
  be "$1"
  [ "$status" = 0 ] && [ ! -s err ] || report "$1"
  [ "$(owner_of "$3")" = none ]
  succeeds check ring
}

# A producer that has stored a line behind so many items.
idle_producer_behind () {
  input_pipe
  start produce ring <input
  echo more >&5
  eventually is items $(($1 + 1))
}

@test "one that was killed on this host never needs --takeover" {
  each_side crashed
}

@test "one that was killed while it stored or took items needs none, either" {
  local i
  new_ring 256K --block-size=512
  random_items 300 3000 >items
  for i in 1 2 3; do
    start produce --framing=length --batch=2 ring <items
    eventually has_some_items
    kill -KILL "$pid"
    finish
    echo next | succeeds produce ring
    output_pipe
    start consume --framing=length ring >pipe
    read_pipe
    head -c 2000 <&7 >copy
    kill -KILL "$pid"
    finish
    exec 7<&-
    rm pipe
    succeeds check ring
    succeeds consume --until-empty --framing=length ring
    succeeds check ring
  done
}

has_some_items () {
  [ "$(field items)" -gt 5 ]
}

elsewhere () {
  local before
  move_elsewhere "$2"
  [ "$(owner_of "$3")" = elsewhere ]
  before=$(whole)
  be "$1"
  [ "$status" = 1 ] && [ ! -s out ] || report "$1 is not refused"
  says "ring: another $1 .*their-q used by their-c, process [0-9]+ on far-away"\
', last written 20' || report "$1: message"
  [ "$(whole)" = "$before" ]
  be "$1" --takeover
  [ "$status" = 0 ] && [ ! -s err ] || report "$1 --takeover"
  [ "$(owner_of "$3")" = none ]
  # Now it is free.
  be "$1"
  [ "$status" = 0 ] || report "$1 after that"
  succeeds check ring
}

@test "one on another host is refused without --takeover, and not with it" {
  needs_python
  each_side elsewhere
}

waits () {
  local begin end
  move_elsewhere "$2"
  begin=$(milliseconds)
  be "$1" --takeover
  end=$(milliseconds)
  [ "$status" = 0 ]
  # Twice the 100 ms in which a live owner looks.
  [ $((end - begin)) -ge 200 ] || fail "$1: after $((end - begin)) ms"
}

@test "--takeover gives the one that it replaces time to notice" {
  needs_python
  each_side waits
}

free () {
  be "$1" --takeover
  [ "$status" = 0 ] && [ ! -s err ] || report "$1"
  [ "$(owner_of "$3")" = none ]
}

@test "--takeover of what nobody owns does no harm" {
  each_side free
}

# An owner that runs here, and sees in its record that it was replaced: what
# a takeover on another host looks like to it.
@test "a producer that was replaced stops at its next write, with EBUSY" {
  needs_python
  new_ring 64K
  input_pipe
  start produce ring <input 2>log
  echo one >&5
  eventually is items 1
  # The higher epoch counts.
  forge 0 16 '\144' 120 'far-away\0' 312 'usurper\0'
  # Longer than the poll interval, so that it has to look.
  sleep 0.2
  echo two >&5
  finish
  [ "$status" = 1 ]
  says 'ring: .*(replaced|took|another|busy).*' log || fail "$(cat log)"
  [ "$(field epoch)" = 100 ]
  is items 1
}

@test "a consumer that was replaced takes nothing more" {
  needs_python
  new_ring 64K
  start consume ring >copy 2>log
  store one
  eventually lines_are copy 1
  eventually is items 0
  forge 2 16 '\144' 120 'far-away\0' 312 'usurper\0'
  store two
  finish
  [ "$status" = 1 ]
  says 'ring: .*(replaced|took|another|busy).*' log || fail "$(cat log)"
  is items 1
}

@test "another pid namespace: nobody knows whether it is alive" {
  [ "$(id -u)" = 0 ] || skip "not root"
  unshare --pid --fork true 2>/dev/null || skip "no pid namespaces"
  new_ring 64K
  input_pipe
  env --default-signal=INT,TERM,PIPE unshare --pid --fork --kill-child \
    blkring-img produce ring <input 3>&- 5>&- 6>&- 7>&- &
  pid=$!
  started+=("$pid")
  echo one >&5
  eventually is items 1
  # The lock is seen, as on any one host.
  fails 1 'ring: another producer is attached' produce ring </dev/null
  kill -KILL "$pid"
  finish
  eventually lock_is_gone
  fails 1 'ring: another producer .*takeover' produce ring </dev/null
  succeeds produce --takeover ring </dev/null
  succeeds consume --until-empty ring
  [ "$(cat out)" = one ]
}

# Whoever had the ring open and locked does so no more.
lock_is_gone () {
  ! grep -q "^.*OFDLCK.*:$(stat -c %i ring) " /proc/locks
}
