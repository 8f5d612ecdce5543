#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img consume --exec: items are given to a command until it succeeds.
# How the command and the options are dealt with, whatever the format of the
# ring, is in consume-command.bats.

load helpers

# The command may complain through the tool's stderr, so look for one line.
complains () {
  grep -Eq "^blkring-img: $1" "${2-err}" || report "no message: $1"
}

@test "consume --exec: each item is on the command's stdin, byte for byte" {
  new_ring 64K
  random_items 30 600 >items
  succeeds produce --framing=length ring <items
  # shellcheck disable=SC2016
  succeeds consume --until-empty --exec='cat >now
    perl -e '\''print pack ("V", -s "now")'\'' >>got; cat now >>got' ring
  cmp items got
  must_be items 0
}

@test "consume --exec: an item stays until the command exits with 0" {
  small_ring
  store a b
  # shellcheck disable=SC2016
  tool consume --until-empty --retry-interval=0.01 --exec='
    echo "$(cat) $BLKRING_ATTEMPT" >>log
    blkring-img info --output=json ring | jq .items >>left
    [ "$BLKRING_ATTEMPT" = 3 ]' ring
  [ "$status" = 0 ]
  [ "$(paste -sd, log)" = 'a 1,a 2,a 3,b 1,b 2,b 3' ]
  [ "$(paste -sd, left)" = '2,2,2,1,1,1' ]
  complains 'ring: the command exited with status 1: attempt 1 at the item at'
  complains 'ring: .*: attempt 2 at the item at'
  must_be items 0
}

@test "consume --exec: BLKRING_POSITION tells the item, also by another run" {
  local positions
  small_ring
  store a b c
  positions=$(positions)
  # shellcheck disable=SC2016
  tool consume --until-empty --max-attempts=2 --retry-interval=0 --exec='
    echo "$BLKRING_POSITION" >>log; [ "$(cat)" = a ]' ring
  [ "$status" = 1 ]
  # shellcheck disable=SC2016
  succeeds consume --until-empty --exec='echo "$BLKRING_POSITION" >>log' ring
  # shellcheck disable=SC2086
  set -- $positions
  [ "$(paste -sd ' ' log)" = "$1 $2 $2 $2 $3" ]
}

@test "consume --exec: killed, it gives the same item to the command again" {
  small_ring
  store a b
  mkfifo go
  # shellcheck disable=SC2016
  start consume --exec='echo "$BLKRING_POSITION" >>log; read x <go' ring
  eventually lines_are log 1
  kill -KILL "$pid"
  finish
  echo >go
  must_be items 2
  # shellcheck disable=SC2016
  succeeds consume --until-empty --exec='echo "$BLKRING_POSITION" >>log' ring
  lines_are log 3
  [ "$(uniq log | wc -l)" = 2 ]
}

@test "consume --exec --count=N" {
  small_ring
  store a b c d
  succeeds consume --count=3 --exec='cat >>got' ring
  [ "$(cat got)" = abc ]
  succeeds consume --count=1 --exec-batch=9 --exec='cat >>got' ring
  printf 'abcd\0' | cmp - got
  must_be items 0
}

@test "consume --exec goes on, and wakes up on what another process wrote" {
  small_ring
  start consume --exec='cat >>got; echo >>got' ring
  store a
  eventually lines_are got 1
  store b
  eventually lines_are got 2
  eventually is items 0
  kill -TERM "$pid"
  finish
  [ "$status" = 0 ]
  [ "$(paste -sd ' ' got)" = 'a b' ]
}

@test "consume --exec-batch=N: up to N items, each with a NUL behind it" {
  small_ring
  store a '' c d $'e\ne'
  succeeds consume --until-empty --exec-batch=2 \
    --exec='cat >>got; echo / >>got' ring
  printf 'a\0\0/\nc\0d\0/\ne\ne\0/\n' | cmp - got
  must_be items 0
}

@test "consume --exec-batch=N: more than a consumer gives at once" {
  new_ring 1M
  seq 1 1000 >lines
  succeeds produce --batch=7 ring <lines
  # shellcheck disable=SC2016
  succeeds consume --until-empty --exec-batch=300 \
    --exec='tr "\0" "\n" | tee -a got | wc -l >>sizes' ring
  cmp lines got
  [ "$(paste -sd ' ' sizes)" = '300 300 300 100' ]
}

@test "consume --exec-batch: only the bad item of a batch is given up" {
  small_ring
  store a X c
  # shellcheck disable=SC2016
  tool consume --until-empty --exec-batch=5 --retry-interval=0 \
    --max-attempts=2 --on-failure=skip --exec='
    items=$(tr "\0" " "); echo "$items$BLKRING_ATTEMPT" >>log
    case $items in *X*) exit 1 ;; esac' ring
  [ "$status" = 0 ]
  complains 'ring: .*: gave up the item at position'
  # How often an item was tried before goes on being told.
  [ "$(paste -sd, log)" = 'a X c 1,a X c 2,a 3,X 3,X 4,c 3' ]
  must_be items 0
}

@test "consume --flush-interval: a ring that fills up is not waited for" {
  small_ring
  start consume --exec-batch=1000 --flush-interval=1000 \
    --exec='tr "\0" "\n" >>got' ring
  # More than it holds.
  seq -f 'a line of some length, number %06g' 1 400 |
    succeeds produce --batch=1 ring
  kill -TERM "$pid"
  finish
  [ "$status" = 0 ]
  seq -f 'a line of some length, number %06g' 1 400 |
    head -n "$(wc -l <got)" | cmp - got
  [ -s got ]
}

@test "consume --max-attempts: the item stays, status 1" {
  small_ring
  store a X c
  # shellcheck disable=SC2016
  tool consume --until-empty --retry-interval=0.01 --max-attempts=3 \
    --exec='item=$(cat); echo "$item" >>log; [ "$item" != X ]' ring
  [ "$status" = 1 ]
  complains 'ring: the command exited with status 1: stopped at the item at'
  [ "$(paste -sd, log)" = a,X,X,X ]
  holds X c
}

@test "consume --on-failure=dead-letter: the item goes to another ring" {
  new_ring 64K
  cp ring dead
  { frame one; letters 0 700; frame $'t\nwo' three; } >items
  succeeds produce --framing=length ring <items
  local options
  for options in '' --exec-batch=3; do
    # shellcheck disable=SC2016,SC2086
    tool consume --until-empty --retry-interval=0 --max-attempts=1 $options \
      --on-failure=dead-letter=dead --exec='! grep -q .' ring
    [ "$status" = 0 ]
    complains 'ring: .*: gave up the item at .*, which is in dead now'
    must_be items 0
    { frame one; letters 0 700 | tail -c 704; frame $'t\nwo' three; } >want
    contents dead | cmp - want
    succeeds consume --until-empty --framing=length dead
    succeeds produce --framing=length ring <items
  done
}

@test "consume --exec: on a signal the command that runs is waited for" {
  local signal
  mkfifo go
  for signal in TERM INT; do
    rm -f log
    small_ring
    store a b
    start consume --exec='echo begun >>log; read x <go; echo done >>log' ring
    eventually lines_are log 1
    kill -$signal "$pid"
    echo >go
    finish
    [ "$status" = 0 ]
    [ "$(paste -sd ' ' log)" = 'begun done' ]
    holds b
  done
}

@test "consume --exec --drain: on a signal it does what is in the ring" {
  mkfifo go
  small_ring
  store a b c
  start consume --drain --exec='cat >>log; echo >>log; read x <go' ring
  eventually lines_are log 1
  kill -TERM "$pid"
  exec 5<>go
  printf '\n\n\n' >&5
  finish
  [ "$status" = 0 ]
  [ "$(paste -sd ' ' log)" = 'a b c' ]
  must_be items 0
}

@test "consume --exec: a corrupt item behind good ones stops it there" {
  small_ring
  letters 500 500 500 >items
  succeeds produce --framing=length --batch=1 ring <items
  spoil_item "$(positions | cut -d ' ' -f 2)"
  tool consume --until-empty --exec='cat >>got' ring
  if [ $format = 1 ]; then
    [ "$status" = 1 ]
    complains 'ring: corrupt'
  fi
  [ "$(cat got)" = "$(printf 'A%.0s' {1..500})" ]
}
