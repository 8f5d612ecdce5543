#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img consume: what comes out, and when it ends.

load helpers

@test "consume --until-empty: all items, byte for byte" {
  local make
  for make in "ring_of ${six_items[*]}" full_ring wrapped_ring; do
    $make
    succeeds consume --until-empty --framing=length ring
    cmp out items
    must_be items 0 used 0
    succeeds check ring
  done
}

@test "consume: framings line, null and none" {
  local f
  for f in '' --framing=line; do
    small_ring
    store one '' two
    # shellcheck disable=SC2086
    succeeds consume --until-empty $f ring
    printf 'one\n\ntwo\n' | cmp - out
  done
  store one '' $'t\nwo'
  succeeds consume --until-empty --framing=null ring
  printf 'one\0\0t\nwo\0' | cmp - out
  store one '' $'t\nwo'
  succeeds consume --until-empty --framing=none ring
  printf 'onet\nwo' | cmp - out
  must_be items 0
}

@test "consume: an item with the separator is written as it is, one warning" {
  small_ring
  store $'a\nb' plain $'c\n' $'\nd'
  tool consume --until-empty ring
  [ "$status" = 0 ]
  says 'ring: warning: .*--framing=length' || report warning
  printf 'a\nb\nplain\nc\n\n\nd\n' | cmp - out
  printf '\3\0\0\0a\0b\1\0\0\0\0' >input
  succeeds produce --framing=length ring <input
  tool consume --until-empty --framing=null ring
  [ "$status" = 0 ]
  says 'ring: warning: .*--framing=length' || report warning
  printf 'a\0b\0\0\0' | cmp - out
}

@test "consume: no warning where items stay apart, nor with --quiet" {
  small_ring
  local options
  for options in --framing=length --framing=none --framing=null \
    --output=json --quiet; do
    store $'a\nb'
    succeeds consume --until-empty $options ring
  done
}

@test "consume --output=json: what dump shows" {
  wrapped_ring
  blkring-img dump --output=json ring >shown
  succeeds consume --until-empty --output=json ring
  lines_are out 3
  cmp out shown
}

@test "consume --count=N takes N items" {
  local at
  ring_of "${six_items[@]}"
  at=$(positions | cut -d ' ' -f 3)
  succeeds consume --count=2 --framing=length ring
  letters 0 1 | cmp - out
  must_be items 4 consumer "$at"
  succeeds consume --count=0 --framing=none ring
  [ ! -s out ]
  must_be items 4
  succeeds consume --count=4 --framing=none ring
  must_be items 0
}

@test "consume --count=N waits for what is missing" {
  small_ring
  store a
  start consume --count=3 ring >copy
  eventually lines_are copy 1
  store b
  eventually lines_are copy 2
  store c d
  finish
  [ "$status" = 0 ]
  [ "$(paste -sd ' ' copy)" = 'a b c' ]
  holds d
}

@test "consume --until-empty of an empty ring ends with nothing" {
  local before
  small_ring
  before=$(picture)
  succeeds consume --until-empty ring
  [ ! -s out ]
  [ "$(picture)" = "$before" ]
}

@test "consume goes on without options, and with --follow" {
  local o
  for o in '' --follow; do
    small_ring
    # shellcheck disable=SC2086
    start consume $o ring >copy
    store a
    eventually lines_are copy 1
    store b c
    eventually lines_are copy 3
    eventually is items 0
    kill -TERM "$pid"
    finish
    [ "$status" = 0 ]
    [ "$(paste -sd ' ' copy)" = 'a b c' ]
  done
}

@test "consume wakes up at once on what another process wrote" {
  small_ring
  start consume --framing=line ring >copy
  store first
  eventually lines_are copy 1
  local i begin end
  for i in 2 3 4 5; do
    store item
    begin=$(milliseconds)
    eventually lines_are copy $i
    end=$(milliseconds)
    [ $((end - begin)) -lt 1000 ] ||
      fail "item $i came after $((end - begin)) ms"
  done
}

@test "consume appends to a file" {
  small_ring
  echo before >copy
  store a b
  blkring-img consume --until-empty ring >>copy
  [ "$(paste -sd ' ' copy)" = 'before a b' ]
}

@test "a second consumer is refused, with the text of the first" {
  small_ring
  store a b
  start consume --queue=jobs --client=first ring >copy
  eventually lines_are copy 2
  eventually is items 0
  fails 1 'ring: .*consumer.*jobs used by first' consume --until-empty ring
  kill -TERM "$pid"
  finish
  succeeds consume --until-empty ring
}
