#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img dump.

load helpers

# Four items, one of them empty.
lines='hello
world

fourth line after an empty one
'
ring_of_lines () {
  small_ring
  printf %s "$lines" | succeeds produce ring
}

@test "dump shows the items and leaves them" {
  ring_of_lines
  local before
  before=$(whole)
  succeeds dump --output=raw ring
  printf %s "$lines" | tr -d '\n' | cmp - out
  succeeds dump ring
  [ "$(whole)" = "$before" ]
  must_be items 4
}

@test "dump --output=json: keys, positions and base64" {
  wrapped_ring
  succeeds dump --output=json ring
  lines_are out 3
  jq -se 'all (keys == ["data", "length", "next-position", "position"])' out
  jq -se --argjson from "$(field consumer)" --argjson to "$(field producer)" '
    .[0].position == $from and .[2]."next-position" == $to and
    .[0]."next-position" == .[1].position and
    .[1]."next-position" == .[2].position and all (.length == 700)' out
  contents | cmp - items
  jq -r .data out | while read -r line; do
    printf %s "$line" | base64 -d
  done >bytes
  succeeds dump --output=raw ring
  cmp out bytes
}

@test "dump: the human form has position, length and content" {
  local at
  ring_of_lines
  succeeds dump ring
  cp out human
  succeeds dump --output=human ring
  cmp out human
  read -ra at <<<"$(positions)"
  grep -q "^position ${at[0]}, 5 bytes.*hello$" human
  grep -q "^position ${at[1]}, 5 bytes.*world$" human
  grep -q "^position ${at[2]}, 0 bytes" human
  grep -q "^position ${at[3]}, 30 bytes.*fourth line after an empty one$" \
    human
}

@test "dump: what is not text comes in hexadecimal" {
  small_ring
  store $'escape \e[2J' 'plain'
  succeeds dump ring
  grep -q '65 73 63 61 70 65 20 1b  *5b 32 4a' out
  ! grep -q $'\e' out || fail "the escape sequence came through"
  grep -q 'plain' out
}

@test "dump --from begins at this item, --count ends" {
  local at
  ring_of "${six_items[@]}"
  read -ra at <<<"$(positions)"
  succeeds dump --output=json --from="${at[2]}" --count=2 ring
  [ "$(jq -c '[.position, .length]' out | paste -sd ' ')" = \
    "[${at[2]},507] [${at[3]},508]" ]
  succeeds dump --output=json --from="${at[5]}" ring
  [ "$(jq .position out)" = "${at[5]}" ]
  succeeds dump --output=json --count=1 ring
  [ "$(jq .position out)" = 0 ]
  succeeds dump --output=json --count=100 ring
  lines_are out 6
  succeeds dump --output=json --count=0 ring
  [ ! -s out ]
}

@test "dump --from the end of the ring shows nothing" {
  wrapped_ring
  succeeds dump --from="$(field producer)" ring
  [ ! -s out ]
}

@test "dump --from where no item begins is an error with the position" {
  wrapped_ring
  local position first
  first=$(field consumer)
  for position in $((first + 4)) $((first + 1)) $(($(field producer) + 4)) \
    4294967296; do
    fails 1 "ring: .*\<$position\>" dump --from=$position ring
  done
}

@test "dump --from where the items are taken already is an error as well" {
  wrapped_ring
  local position
  for position in 0 1 $(($(field consumer) - 4)); do
    fails 1 "ring: .*\<$position\>" dump --from=$position ring
  done
}

@test "dump of an empty ring prints nothing" {
  small_ring
  succeeds dump ring
  [ ! -s out ]
  succeeds dump --output=json ring
  [ ! -s out ]
}

@test "dump shows what is before a corrupt item, and then fails" {
  local at before
  ring_of "${six_items[@]}"
  read -ra at <<<"$(positions)"
  spoil_item "${at[2]}"
  before=$(whole)
  tool dump --output=json ring
  [ "$status" = 1 ]
  [ "$(jq -c .position out | paste -sd ' ')" = "${at[0]} ${at[1]}" ]
  says "ring: corrupt: .*\<${at[2]}\>.*byte" || report message
  [ "$(whole)" = "$before" ]
}

@test "dump goes on behind what a consumer takes away meanwhile" {
  new_ring 2M
  seq -f 'old-%05g-and-some-text-to-make-it-longer' 1 16000 >old
  seq -f 'new-%05g-and-some-text-to-make-it-longer' 1 16000 >new
  succeeds produce ring <old
  output_pipe
  start dump --output=json ring >pipe 2>log
  read_pipe
  read -r line <&7
  [ "$(jq -r '.data | @base64d' <<<"$line")" = "$(head -n 1 old)" ]
  succeeds consume --until-empty ring
  cmp out old
  succeeds produce ring <new
  jq -r '.data | @base64d' <&7 >shown
  finish
  [ "$status" = 0 ]
  [ ! -s log ]
  # Whole items, in their order, each once.
  sort -c <(sed 's/^old/a/;s/^new/b/' shown)
  [ "$(sort -u shown | wc -l)" = "$(wc -l <shown)" ]
  [ -z "$(sort shown | comm -23 - <(sort old new))" ]
}
