#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img map.

load helpers

# Where the data area is.
if [ $format = 1 ]; then data=1536; else data=32768; fi
data_end=$((data + 8704))

# The map in JSON: offset, length, type and wrapped of the data area.
regions () {
  jq -c ".[] | select (.offset >= $data and .offset < $data_end)
    | [.offset, .length, .type, .wrapped]" out | paste -sd ' '
}

@test "map: JSON covers the device without gaps, and adds up" {
  local make types='["signature","producer","consumer"]'
  [ $format = 1 ] || types='["signature","producer","control","consumer"]'
  for make in small_ring 'ring_of 1 2 3' full_ring wrapped_ring; do
    $make
    succeeds map --output=json ring
    jq -e --argjson size "$(stat -c %s ring)" --argjson types "$types" \
      --argjson used "$(field used)" --argjson free "$(field free)" '
      def sum (f): map (select (f) | .length) | add // 0;
      all (keys == ["length", "offset", "type", "wrapped"]
        and .length > 0 and (.wrapped | type) == "boolean") and
      (.[:($types | length)] | map (.type)) == $types and
      (.[($types | length):]
        | all (.type == "unread" or .type == "free")) and
      (reduce .[] as $r (0; if . == $r.offset then . + $r.length
                            else -1 end) == $size) and
      sum (.type == "unread") == $used and sum (.type == "free") == $free' \
      out || report "$make"
  done
}

@test "map: what is cut by the end continues at the start as wrapped" {
  local from to
  wrapped_ring
  from=$(($(field consumer) % 8704 + data))
  to=$(($(field producer) % 8704 + data))
  succeeds map --output=json ring
  [ "$(regions)" = "[$data,$((to - data)),\"unread\",true]"\
" [$to,$((from - to)),\"free\",false]"\
" [$from,$((data_end - from)),\"unread\",false]" ] || report regions
  succeeds map ring
  [ "$(grep -c wrapped out)" = 1 ]
  grep -qE "$data +$((to - data)) +unread.*wrapped" out
}

@test "map: free space wraps as well" {
  local from to
  ring_of "${six_items[@]}"
  # Up to the third frame of format 2.
  succeeds consume --count=4 --framing=length ring
  from=$(($(field consumer) + data))
  to=$(($(field producer) + data))
  succeeds map --output=json ring
  [ "$(regions)" = "[$data,$((from - data)),\"free\",true]"\
" [$from,$((to - from)),\"unread\",false]"\
" [$to,$((data_end - to)),\"free\",false]" ] || report regions
}

@test "map: the bar has 64 cells, # where anything is unread" {
  bar () {
    tail -n 1 out | grep -oE '[#.]{64,}' | head -n 1
  }
  small_ring
  succeeds map ring
  [ "$(bar)" = "$(printf '%64s' '' | tr ' ' .)" ]
  # 136 bytes a cell: of 16 or 512 bytes the first four.
  store 'hello there'
  succeeds map --output=human ring
  if [ $format = 1 ]; then
    [ "$(bar)" = "#$(printf '%63s' '' | tr ' ' .)" ]
  else
    [ "$(bar)" = "####$(printf '%60s' '' | tr ' ' .)" ]
  fi
  full_ring
  succeeds map ring
  [ "$(bar)" = "$(printf '%64s' '' | tr ' ' '#')" ]
  wrapped_ring
  succeeds map ring
  [[ "$(bar)" =~ ^#+\.+#+$ ]]
}
