#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Damage to rings of format 1: what check finds, and what stops at it.

load helpers
load format1

@test "check finds no errors in any fixture" {
  local name
  copy_fixtures
  for name in "${copies[@]}"; do
    succeeds check "$name"
    succeeds check --output=json "$name"
    cat out >>all
    printf '{"corruptions":0,"filename":"%s","findings":[],"leaks":0}\n' \
      "$name" >>wanted
  done
  jq -cS . all | diff wanted -
  unchanged
}

# A fixture, what is broken where, and the byte that the finding names.
corruptions='
b1-six-items    520  \000                              520   0,
b1-six-items    520  \003                              520   3,
b1-six-items    1032 \377                              1032  255,
b1-six-items    512  \001                              512   3329
b1-six-items    1024 \002                              1024  2
b1-six-items    512  \000\000\000\000\000\000\000\200  512   2\^63
b1-six-items    1024 \000\020                          *     (4096|3556)
b1-six-items    512  \000\100                          *     16384.*8704
b1-six-items    1536 \001\020                          1536  4097
b1-six-items    1540 \377\377\377\377                  1540  4294967295
b1-six-items    3088 \000\007                          *     .
c1-wrap         9280 \000\000\001                      9280  65536
c2-wrap-header-last-word 10236 \377\377                10236 65535
h1-4k-six-items 4104 \000                              4104  0,
h1-4k-six-items 8200 \011                              8200  9,
h1-4k-six-items 8192 \003                              8192  3
h1-4k-six-items 12300 \000\000\001                     12300 65536
h2-4k-wrap      31328 \377\377                         31328 65535
'

@test "check finds each corruption, with the byte of the device" {
  local name where bytes offset words before
  while read -r name where bytes offset words; do
    [ -n "$name" ] || continue
    fixture "$name"
    poke ring "$where" "$bytes"
    before=$(cksum <ring)
    tool check --output=json ring
    [ "$status" = 2 ] || report "status: $name $where $bytes"
    [ ! -s err ] || report "stderr: $name $where $bytes"
    [ "$offset" != '*' ] || offset='[0-9]+'
    cat out >>all
    echo "^$offset .*($words)" >>wanted
    tool check ring
    [ "$status" = 2 ] || report "status: $name $where $bytes"
    [ ! -s err ] || report "stderr: $name $where $bytes"
    [[ $(<out) =~ ^ring:\ .*$offset ]] || report "human: $name $where $bytes"
    [ "$(cksum <ring)" = "$before" ] || report "repaired: $name $where $bytes"
  done <<<"$corruptions"
  jq -n --slurpfile all all --rawfile wanted wanted '
    ($wanted | split ("\n")) as $wanted | range ($all | length)
    | $wanted[.] as $wanted | $all[.] | select ((
      keys == ["corruptions", "filename", "findings", "leaks"]
      and .corruptions >= 1 and .corruptions == (.findings | length)
      and (.findings | all (keys == ["kind", "message", "offset"]))
      and (.findings | any ("\(.offset) \(.message)" | test ($wanted)))) | not)
    | $wanted, .' >wrong
  [ ! -s wrong ] || fail "$(cat wrong)"
}

@test "check walks everything: a second corruption is found beside a first" {
  fixture b1-six-items
  poke ring 520 '\0'
  poke ring 1032 '\0'
  tool check --output=json ring
  [ "$status" = 2 ]
  [ "$(jq -c '[.findings[].offset]' out)" = '[520,1032]' ]
}

@test "check walks everything: items are walked where a flag is corrupt" {
  fixture b1-six-items
  poke ring 1032 '\0'
  poke ring 1548 '\0\020'
  tool check --output=json ring
  [ "$status" = 2 ]
  [ "$(jq -c '[.findings[].offset]' out)" = '[1032,1548]' ]
}

@test "check: bytes behind the signature" {
  fixture b1-six-items
  poke ring 100 x
  tool check ring
  [ "$status" = 2 ]
  grep -q '^ring: .*\<100\>' out
}

@test "a damaged signature is no ring" {
  fixture b1-six-items
  poke ring 29 1
  fails 1 'ring: there is no ring' info ring
  fails 63 'ring: there is no ring' check ring
}

@test "a corrupt pointer stops all that need it, and nothing is written" {
  local s
  fixture b1-six-items
  poke ring 520 '\0'
  echo item >input
  for s in info map dump 'dump --output=raw' consume produce suspend resume \
    state; do
    # shellcheck disable=SC2086
    fails 1 'ring: corrupt: .*520.* 0, neither 1 nor 2' $s ring <input
  done
  fixture h1-4k-six-items
  poke ring 8192 '\1'
  for s in info consume produce; do
    fails 1 'ring: corrupt: .*8192.*multiple of 4' "$s" ring <input
  done
}

@test "a corrupt length stops those that read items, and nothing is written" {
  local s
  fixture c1-wrap
  poke ring $((1536 + 7744)) '\0\0\1\0'
  for s in info dump 'dump --output=json' 'consume --until-empty'; do
    # shellcheck disable=SC2086
    fails 1 'ring: corrupt: .*7744.*9280.*65536.*2112' $s ring
  done
}

@test "dump shows what is before a corrupt item, and then fails" {
  fixture b1-six-items
  poke ring 1548 '\0\020'
  cp ring before
  tool dump --output=json ring
  [ "$status" = 1 ]
  [ "$(jq -c .position out | paste -sd ' ')" = '0 4' ]
  says 'ring: corrupt: .*12.*1548.*4096'
  cmp ring before
}

@test "consume: a corrupt item behind good ones stops it in front of that" {
  fixture b1-six-items
  poke ring 1548 '\0\020'
  tool consume --until-empty --framing=length ring
  [ "$status" = 1 ]
  says 'ring: corrupt: .*12.*1548.*4096.*3544' || report message
  frame '' J | cmp - out
  [ "$(od -An -tu8 -j 1024 -N 8 ring | tr -d ' ')" = 12 ]
}

@test "check --repair=all sets a producer that is behind its consumer" {
  fixture b1-six-items
  succeeds consume --until-empty --framing=length ring
  poke ring 512 '\0\1\0\0'
  tool check ring
  [ "$status" = 2 ]
  # That is no leak.
  tool check --repair=leaks ring
  [ "$status" = 2 ]
  ! grep -q repaired out || report "repaired"
  tool check --output=json --repair=all ring
  [ "$status" = 0 ]
  jq -e '.corruptions == 0 and .findings == [] and (.repairs | length) == 1
    and .repairs[0].offset == 512
    and (.repairs[0].message | test ("producer.* 256 .* 3556"))' out
  must_be producer 3556 consumer 3556 items 0 free 8704
  echo next | succeeds produce ring
  holds next
  poke ring 512 '\0\1\0\0'
  succeeds check -r all ring
  [[ $(<out) =~ ^ring:\ repaired:\ offset\ 512:\ .*ring:\ no\ errors ]]
}
