#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img info.

load helpers

keys_of_all='"capacity","consumer","consumer-text","filename","format","free",
  "items","largest-item","largest-unread","producer","producer-text",
  "sector-size","smallest-unread","suspend","unread-bytes","used"'
keys_of_2='"block-size","consumers","created","epoch","features","label",
  "largest-frame","producer-owner","staged","unflushed","uuid"'

@test "info: JSON has these keys and no others" {
  local keys=$keys_of_all
  [ $format = 1 ] || keys+=,$keys_of_2
  ring_of "${six_items[@]}"
  succeeds info --output=json ring
  jq -e "keys == ([$keys] | sort)" out || fail "$(jq -c keys out)"
  jq -e '[.capacity, .consumer, .free, .items, ."largest-item",
    ."largest-unread", .producer, ."sector-size", ."smallest-unread",
    ."unread-bytes", .used | type == "number"] | all' out
  jq -e '[.filename, .format, .suspend, ."consumer-text", ."producer-text"
    | type == "string"] | all' out
}

@test "info: the numbers add up" {
  ring_of "${six_items[@]}"
  must_be format $format capacity 8704 items 6 unread-bytes 3525 \
    smallest-unread 0 largest-unread 2000 consumer 0
  succeeds consume --count=3 --framing=none ring
  must_be items 3 unread-bytes 3017 smallest-unread 508 largest-unread 2000 \
    consumer "$(positions | cut -d ' ' -f 1)"
  [ $(($(field used) + $(field free))) = 8704 ]
  [ "$(field largest-item)" = $((format == 1 ? 8700 : 8636)) ]
  succeeds consume --until-empty --framing=none ring
  must_be items 0 unread-bytes 0 smallest-unread 0 largest-unread 0 used 0
}

@test "info: the human form has the same facts" {
  local what
  ring_of "${six_items[@]}"
  succeeds consume --count=1 --framing=none ring
  succeeds suspend ring
  succeeds info ring
  cp out human
  succeeds info --output=human ring
  cmp out human
  succeeds info --output=json ring
  jq -r '.capacity, .consumer, .free, .items, ."largest-item",
    ."largest-unread", .producer, ."sector-size", ."smallest-unread",
    ."unread-bytes", .used, .filename, .format, .suspend' out >facts
  [ "$(wc -l <facts)" = 14 ]
  while read -r what; do
    grep -qw -- "$what" human || fail "no $what: $(cat human)"
  done <facts
}

@test "info: what is not UTF-8 in the names is shown as ?" {
  small_ring
  echo x | succeeds produce --queue=$'\377\303st' --client=here ring
  [[ $(field producer-text) == '??st used by here'[\;,]* ]]
  succeeds info ring
  grep -qF '??st used by here' out
  echo x | succeeds produce --queue=$'\303\251st' --client=here ring
  [[ $(field producer-text) == 'ést used by here'[\;,]* ]]
  succeeds info ring
  grep -qF 'ést used by here' out
}

@test "info works beside a producer and a consumer, and writes nothing" {
  small_ring
  local before
  input_pipe
  start consume ring >copy
  eventually attached
  start produce ring <input
  echo one >&5
  eventually lines_are copy 1
  eventually is items 0
  before=$(whole)
  must_be items 0
  succeeds check ring
  succeeds map ring
  succeeds state ring
  succeeds dump ring
  [ "$(whole)" = "$before" ]
}
