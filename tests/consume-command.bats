#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img consume --exec: the command, its end, signals, and options: what
# does not depend on the format of the ring.

load helpers

# The command may complain through the tool's stderr, so look for one line.
complains () {
  grep -Eq "^blkring-img: $1" "${2-err}" || report "no message: $1"
}

# Nothing fits in there any more.
fill_dead () {
  # shellcheck disable=SC2046
  letters $(yes 500 | head -n 20; yes 0 | head -n 200) |
    timeout 20 blkring-img produce --batch=1 --no-wait --framing=length dead \
      2>err || :
  letters $(yes 0 | head -n 200) |
    timeout 20 blkring-img produce --batch=1 --no-wait --framing=length dead \
      2>err || :
}

@test "consume --exec: an empty item, and a command that does not read" {
  new_ring 4M
  { letters 0 1; letters 1000000; } >items
  succeeds produce --framing=length ring <items
  succeeds consume --until-empty --exec='echo run >>log' ring
  lines_are log 3
  must_be items 0
}

@test "consume --exec: the output of the command is the tool's" {
  small_ring
  store one two
  succeeds consume --until-empty --exec='cat; echo' ring
  [ "$(cat out)" = $'one\ntwo' ]
}

@test "consume --exec: a command killed by a signal has failed" {
  small_ring
  store a
  # shellcheck disable=SC2016
  fails 1 'ring: the command was killed by signal 9: stopped at the item' \
    consume --until-empty --max-attempts=1 --exec='kill -9 $$' ring
  # shellcheck disable=SC2016
  fails 1 'ring: the command exited with status 127: stopped' \
    consume --until-empty --max-attempts=1 --exec='no-such-command 2>&-' ring
  holds a
}

@test "consume --exec: SIGPIPE is for the command what it is elsewhere" {
  small_ring
  store a
  succeeds consume --until-empty --exec='yes | head -n 1 >/dev/null' ring
}

@test "consume --exec-batch: one warning of an item that contains NUL" {
  small_ring
  printf '\3\0\0\0a\0b\3\0\0\0a\0b\1\0\0\0c' >items
  succeeds produce --framing=length ring <items
  tool consume --until-empty --exec-batch=5 --exec='cat >got' ring
  [ "$status" = 0 ]
  says 'ring: warning: .*NUL' || report warning
  printf 'a\0b\0a\0b\0c\0' | cmp - got
}

@test "consume --exec-batch: a batch fails and is retried as a whole" {
  small_ring
  store a b c
  # shellcheck disable=SC2016
  tool consume --until-empty --exec-batch=5 --retry-interval=0 -q --exec='
    tr "\0" " " >>log; echo "$BLKRING_ATTEMPT" >>log
    [ "$BLKRING_ATTEMPT" = 3 ]' ring
  [ "$status" = 0 ]
  [ ! -s err ]
  [ "$(paste -sd, log)" = 'a b c 1,a b c 2,a b c 3' ]
}

@test "consume --flush-interval: items wait until a batch is full" {
  small_ring
  start consume --exec-batch=3 --flush-interval=1000 \
    --exec='tr "\0" " " >>got; echo >>got' ring
  store a
  store b
  store c d
  eventually lines_are got 1
  [ "$(cat got)" = 'a b c ' ]
  eventually is items 1
  kill -TERM "$pid"
  finish
  [ "$status" = 0 ]
  lines_are got 1
  holds d
}

@test "consume --flush-interval: it ends, and then all that waits is done" {
  local began
  small_ring
  store a b
  began=$(milliseconds)
  start consume --exec-batch=3 --flush-interval=0.4 \
    --exec='tr "\0" " " >>got; echo >>got' ring
  eventually lines_are got 1
  [ $(($(milliseconds) - began)) -ge 400 ]
  [ "$(cat got)" = 'a b ' ]
  store c
  eventually lines_are got 2
  kill -TERM "$pid"
  finish
  [ "$status" = 0 ]
}

@test "consume --flush-interval: without a batch, too" {
  local began
  small_ring
  store a b
  began=$(milliseconds)
  start consume --flush-interval=0.4 --exec='cat >>got; echo >>got' ring
  eventually lines_are got 2
  [ $(($(milliseconds) - began)) -ge 400 ]
  kill -TERM "$pid"
  finish
  [ "$status" = 0 ]
}

@test "consume --on-failure=skip: the item is gone, with a message" {
  small_ring
  store a X c
  # shellcheck disable=SC2016
  tool consume --until-empty --retry-interval=0 --max-attempts=2 \
    --on-failure=skip \
    --exec='item=$(cat); echo "$item" >>log; [ "$item" != X ]' ring
  [ "$status" = 0 ]
  complains 'ring: the command exited with status 1: gave up the item at'
  [ "$(paste -sd, log)" = a,X,X,c ]
  must_be items 0
}

@test "consume --on-failure=dead-letter: it waits for room in that ring" {
  small_ring
  cp ring dead
  store a
  fill_dead
  local full
  full=$(field items dead)
  start consume --retry-interval=0 --max-attempts=1 \
    --on-failure=dead-letter=dead --exec=false ring 2>log
  eventually grep -q 'dead: the ring is full: waiting' log
  must_be items 1
  # No more than that: what waits may come meanwhile.
  succeeds consume --count="$full" dead
  eventually is items 0
  kill -TERM "$pid"
  finish
  [ "$status" = 0 ]
  [ "$full" -gt 1 ]
  succeeds consume --until-empty dead
  [ "$(cat out)" = a ]
}

@test "consume --on-failure=dead-letter: a signal ends the wait for room" {
  small_ring
  cp ring dead
  store a
  fill_dead
  start consume --retry-interval=0 --max-attempts=1 \
    --on-failure=dead-letter=dead --exec=false ring 2>log
  eventually grep -q 'dead: the ring is full: waiting' log
  kill -TERM "$pid"
  finish
  [ "$status" = 0 ]
  holds a
}

@test "consume --on-failure=dead-letter: what is no ring is told at once" {
  small_ring
  store a
  echo text >dead
  tool consume --until-empty --max-attempts=1 --on-failure=dead-letter=dead \
    --exec='echo >>log' ring
  [ "$status" = 1 ]
  complains 'dead: '
  tool consume --until-empty --max-attempts=1 --on-failure=dead-letter=no \
    --exec='echo >>log' ring
  [ "$status" = 1 ]
  complains 'no: '
  [ ! -e log ]
  holds a
}

@test "consume --exec: an item is not given up for a signal that hits both" {
  small_ring
  store a
  # shellcheck disable=SC2016
  tool consume --until-empty --max-attempts=1 --on-failure=skip \
    --exec='kill -INT $PPID $$' ring
  [ "$status" = 0 ]
  complains 'ring: .*attempt 1 at the item'
  holds a
  # One that drains tries it once more.
  # shellcheck disable=SC2016
  tool consume --drain --max-attempts=1 --retry-interval=0 --on-failure=skip \
    --exec='[ $BLKRING_ATTEMPT = 2 ] || kill -INT $PPID $$' ring
  [ "$status" = 0 ]
  must_be items 0
}

@test "consume --exec: a signal ends the wait for the next attempt" {
  small_ring
  store a
  start consume --retry-interval=1000 --exec='echo >>log; false' ring 2>said
  eventually grep -q 'attempt 1' said
  kill -TERM "$pid"
  finish
  [ "$status" = 0 ]
  lines_are log 1
  holds a
}

@test "consume --exec --drain: it ends when the command fails" {
  small_ring
  store a b
  # shellcheck disable=SC2016
  start consume --drain --retry-interval=1000 \
    --exec='item=$(cat); echo "$item" >>log; [ "$item" != b ]' ring 2>said
  eventually grep -q 'attempt 1' said
  kill -TERM "$pid"
  finish
  [ "$status" = 1 ]
  # One more, at once.
  [ "$(paste -sd ' ' log)" = 'a b b' ]
  grep -q 'stopped by a signal: the command failed' said
  holds b
}

@test "consume --exec: what does not go together" {
  small_ring
  local option
  for option in --exec-batch=2 --retry-interval=1 --flush-interval=1 \
    --max-attempts=1 --drain; do
    misused 'are for --exec' consume $option ring
  done
  misused 'not for --exec' consume --exec=true --framing=null ring
  misused 'not for --exec' consume --exec=true --output=json ring
  misused 'needs --max-attempts' consume --exec=true --on-failure=skip ring
  misused '--exec-batch' consume --exec=true --exec-batch=0 ring
  misused '--retry-interval' consume --exec=true --retry-interval=-1 ring
  misused '--flush-interval' consume --exec=true --flush-interval=x ring
  misused '--max-attempts' consume --exec=true --max-attempts=x ring
  misused '--on-failure.*stop skip dead-letter' \
    consume --exec=true --max-attempts=1 --on-failure=panic ring
  misused '--on-failure.*dead-letter=RING' \
    consume --exec=true --max-attempts=1 --on-failure=dead-letter= ring
}
