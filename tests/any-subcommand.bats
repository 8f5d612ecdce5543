#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# What the subcommands of blkring-img have in common: a RING that is none, or
# damaged, and the options that all of them take.

load helpers

@test "a ring that does not exist is named, status 1" {
  local s
  for s in create $on_a_ring; do
    fails 1 'ring: .*No such file or directory$' "$s" ring </dev/null
  done
}

@test "what is neither a file nor a block device is refused" {
  local s
  mkdir directory
  for s in create info check produce suspend erase; do
    fails 1 '/dev/null: neither a file nor a block device' \
      "$s" /dev/null </dev/null
  done
  for s in create check produce; do
    fails 1 'directory: .*(directory|neither a file nor a block device)' \
      "$s" directory </dev/null
  done
}

@test "a file that holds no ring is refused and stays as it is" {
  local s status
  head -c 10240 /dev/zero >ring
  for s in $on_a_ring; do
    status=1
    [ "$s" != check ] || status=63
    fails "$status" 'ring: there is no ring' "$s" ring </dev/null
  done
}

@test "an empty file holds no ring" {
  : >ring
  fails 1 'ring: there is no ring' info ring
  fails 63 'ring: there is no ring' check ring
}

@test "no ring is one of which the signature is damaged" {
  small_ring
  poke ring 0 x
  [ $format = 1 ] || poke ring 4096 x
  fails 1 'ring: there is no ring' info ring
  fails 63 'ring: there is no ring' check ring
}

@test "damage at the producer stops all that need it, nothing is written" {
  local s
  ring_of "${six_items[@]}"
  spoil_producer
  echo item >input
  for s in info map dump 'dump --output=raw' consume produce suspend resume \
    state; do
    # shellcheck disable=SC2086
    fails 1 'ring: corrupt: .*bytes? ' $s ring <input
  done
}

@test "damage at an item stops those that read items, nothing is written" {
  local s
  wrapped_ring
  spoil_item "$(field consumer)"
  for s in info dump 'dump --output=json' 'consume --until-empty'; do
    # shellcheck disable=SC2086
    fails 1 'ring: corrupt: .*bytes? ' $s ring
  done
}

@test "the name of the ring is printed as it is" {
  local name='100%s of %n.img'
  small_ring
  spoil_producer
  cp ring "$name"
  tool info "$name"
  [[ $(cat err) == "blkring-img: $name: corrupt: "* ]]
  small_ring
  mv ring "$name"
  succeeds info --output=json "$name"
  [ "$(jq -r .filename out)" = "$name" ]
  succeeds info "$name"
  grep -qF "$name" out
}

@test "output that cannot be written is an error" {
  [ -w /dev/full ] || skip "no /dev/full"
  ring_of "${six_items[@]}"
  local s before
  before=$(cksum <ring)
  for s in info 'info --output=json' check map dump 'dump --output=raw' \
    state; do
    status=0
    # shellcheck disable=SC2086
    timeout 20 blkring-img $s ring >/dev/full 2>err || status=$?
    : >out
    [ "$status" = 1 ] || report "status: $s"
    says 'ring: .*No space left on device' || report "message: $s"
  done
  [ "$(cksum <ring)" = "$before" ]
}

@test "--direct=on and --direct=off give the same" {
  small_ring
  dd if=ring of=/dev/null bs=4096 count=1 iflag=direct status=none \
    2>/dev/null || skip "this file system has no O_DIRECT"
  random_items 20 600 >items
  local direct
  for direct in on off; do
    small_ring --direct=$direct
    succeeds produce --direct=$direct --framing=length ring <items
    succeeds check --direct=$direct ring
    succeeds consume --direct=$direct --until-empty --framing=length ring
    cmp out items
    printf 'one\ntwo' | succeeds produce --direct=$direct ring
    succeeds dump --direct=$direct --output=raw ring
    [ "$(cat out)" = onetwo ]
  done
}

@test "--queue and --client stay in the ring, at most 255 bytes of them" {
  local long
  small_ring
  long=$(printf '%255s' '' | tr ' ' q)
  echo a >input
  succeeds produce --queue=jobs --client='node 7' ring <input
  [[ $(field producer-text) == 'jobs used by node 7'[,\;]* ]]
  must_be consumer-text ''
  succeeds consume --queue=other --client=reader --count=1 ring
  [[ $(field consumer-text) == 'other used by reader'[,\;]* ]]
  succeeds info ring
  grep -q 'jobs used by node 7[,;]' out
  grep -q 'other used by reader[,;]' out
  succeeds produce --queue="$long" ring <input
  # Format 2 has room for 128.
  [ $format = 1 ] || long=${long:0:128}
  [[ $(field producer-text) == "$long used by "* ]]
  long=$(printf '%256s' '' | tr ' ' q)
  fails 1 '.*queue.*256.*255' produce --queue="$long" ring <input
  fails 1 '.*client.*256.*255' produce --client="$long" ring <input
}

@test "--largest-item: a larger one is neither stored nor read" {
  small_ring
  store '12345'
  letters 6 >input
  fails 1 'ring: .*6 bytes.*largest item.* 5' \
    produce --largest-item=5 --framing=length ring <input
  fails 1 'ring: .*5 bytes.*largest item of 4' \
    consume --largest-item=4 --until-empty ring
  fails 1 'ring: .*5 bytes.*largest item of 4' dump --largest-item=4 ring
  succeeds consume --largest-item=5 --until-empty ring
  [ "$(cat out)" = 12345 ]
}

@test "names by default: the ring's, and subcommand, process and host" {
  small_ring
  echo a >input
  start produce ring <input
  finish
  [ "$status" = 0 ]
  local text
  text=$(field producer-text)
  [[ $text =~ ^ring\ used\ by\ .*produce ]]
  [[ $text =~ [^0-9]$pid[^0-9] ]]
  [[ $text == *"$(uname -n)"* ]]
}

@test "--quiet: no messages" {
  succeeds create --quiet ring 64K
  [ ! -s out ]
  succeeds create -q ring
  [ ! -s out ]
  succeeds check -q ring
  [ ! -s out ]
  fails 1 'ring: ' create -q ring 20K
}

@test "--verbose and --trace log on stderr alone" {
  ring_of "${six_items[@]}"
  succeeds dump ring
  mv out quiet
  tool dump -v ring
  [ "$status" = 0 ]
  cmp out quiet
  tool dump --verbose --trace ring
  [ "$status" = 0 ]
  cmp out quiet
  local what
  for what in producer suspend_ack consumer suspend; do
    grep -qE "get .*$what\>" err || report "no $what"
  done
  echo a >input
  tool produce --trace --queue=jobs --client=me ring <input
  [ "$status" = 0 ]
  what="set producer = $(field producer) .*jobs.*me"
  grep -q "^blkring-img: ring: .*$what" err
}

@test "a pipe is not a ring, and nothing waits for its other end" {
  mkfifo pipe
  fails 1 'pipe: neither a file nor a block device' info pipe
}

@test "control characters of names do not reach the terminal" {
  new_ring 64K
  printf x | blkring-img produce --client=$'a\302\233[31mb' ring
  succeeds info ring
  ! grep -q $'\302\233' out || fail "it came through"
  grep -qF 'a??[31mb' out
}
