#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img produce: what is an item, how many go into one write, options.

load helpers

@test "produce: lines of stdin, also an empty one and one without newline" {
  small_ring
  printf 'one\n\n two \r\nlast' | succeeds produce ring
  [ ! -s out ]
  holds one '' $' two \r' last
  printf 'x\n\n' | succeeds produce --framing=line ring
  holds one '' $' two \r' last x ''
}

@test "produce: a line keeps NUL bytes" {
  small_ring
  printf 'a\0b\n\0\n' | succeeds produce ring
  contents | cmp - <(printf '\3\0\0\0a\0b\1\0\0\0\0')
}

@test "produce --framing=null: items keep newlines" {
  small_ring
  printf 'a\nb\0\0\n\0last' | succeeds produce --framing=null ring
  holds $'a\nb' '' $'\n' last
}

@test "produce --framing=length: items keep every byte" {
  small_ring
  {
    frame '' $'\n' x
    printf '\4\0\0\0\0\n\377\0'
  } >input
  succeeds produce --framing=length ring <input
  contents | cmp - input
}

@test "produce --framing=file: each file is an item, stdin too" {
  small_ring
  printf 'one\n\0two' >a
  : >b
  printf 'all\nof\nstdin\n' | succeeds produce --framing=file ring a - b
  { printf '\10\0\0\0one\n\0two'; frame $'all\nof\nstdin\n' ''; } |
    cmp - <(contents)
  small_ring
  printf 'all\nof it' | succeeds produce --framing=file ring
  holds $'all\nof it'
}

@test "produce: an empty input stores nothing" {
  small_ring
  local f
  for f in line null length; do
    succeeds produce --framing=$f ring </dev/null
    must_be items 0 producer 0
  done
}

@test "produce --framing=file: an empty stdin is an empty item" {
  small_ring
  succeeds produce --framing=file ring </dev/null
  holds ''
}

@test "produce: FILEs in their order, - is stdin" {
  small_ring
  printf '1\n2\n' >a
  printf '5' >b
  printf '6\n' >c
  printf '3\n4\n' | succeeds produce ring a - b c
  holds 1 2 3 4 5 6
}

@test "produce: a FILE alone leaves stdin unread" {
  small_ring
  echo a >a
  { succeeds produce ring a; cat >rest; } <<<stdin
  [ "$(cat rest)" = stdin ]
  holds a
}

@test "produce goes on behind what is in the ring" {
  local make
  for make in 'ring_of 11' wrapped_ring "ring_of ${six_items[*]}"; do
    $make
    { contents; frame one two; } >wanted
    printf 'one\ntwo\n' | succeeds produce ring
    contents | cmp - wanted
    succeeds check ring
  done
}

@test "produce: many items, in batches of the default size" {
  new_ring 1M
  seq 1 20000 >input
  succeeds produce ring <input
  must_be items 20000
  succeeds consume --until-empty ring
  cmp out input
}

@test "produce --batch=N stores at most N items in one write" {
  local n
  seq 1 12 >input
  for n in 1:12 5:3 65536:1; do
    small_ring
    succeeds produce --batch=${n%:*} ring <input
    must_be items 12
    if [ $format = 2 ]; then
      # Each write is a frame, which begins with a block.
      must_be used $((512 * ${n#*:}))
    else
      tool produce --batch=${n%:*} --trace ring <input
      [ "$(grep -c 'set producer' err)" -ge ${n#*:} ]
    fi
  done
}

@test "produce --durability=none and full store the same" {
  local d
  for d in none full; do
    small_ring
    printf 'a\nb\n' | succeeds produce --durability=$d ring
    holds a b
  done
}

@test "produce -p shows the progress on stderr where the size is known" {
  small_ring
  seq 1 100 >input
  tool produce -p ring <input
  [ "$status" = 0 ]
  grep -q 100 err
  [ ! -s out ]
  seq 1 100 >more
  tool produce -p ring input more
  [ "$status" = 0 ]
  grep -q 100 err
  seq 1 100 | succeeds produce -p ring
  must_be items 400
}

@test "produce -q and consume -q say nothing" {
  small_ring
  printf 'a\nb\n' | succeeds produce -q ring
  succeeds consume -q --until-empty ring
}
