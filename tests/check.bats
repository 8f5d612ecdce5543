#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img check: what each format has to find is in format1.bats and
# format2-check.bats.

load helpers

@test "check: nothing is wrong with a ring, whatever it holds" {
  local make
  for make in small_ring 'ring_of 1 2 3' full_ring wrapped_ring \
    'ring_that_is suspended' 'ring_that_is resume-requested'; do
    $make
    succeeds check ring
    [ "$(wc -l <out)" = 1 ]
    grep -q '^ring: no errors' out
    succeeds check --output=json ring
    [ "$(jq -cS . out)" = \
      '{"corruptions":0,"filename":"ring","findings":[],"leaks":0}' ]
  done
}

@test "check: damage at an item, status 2, human and JSON" {
  wrapped_ring
  local at before
  at=$(field consumer)
  spoil_item "$at"
  at=$(((format == 1 ? 1536 : 32768) + at % 8704))
  before=$(whole)
  tool check ring
  [ "$status" = 2 ]
  [ ! -s err ]
  grep -qE "^ring: offset $at: " out
  grep -q '^ring: 1 error was found$' out
  tool check --output=json ring
  [ "$status" = 2 ]
  [ ! -s err ]
  jq -e "keys == [\"corruptions\", \"filename\", \"findings\", \"leaks\"]
    and .corruptions == 1 and .leaks == 0 and (.findings | length) == 1
    and (.findings[0] | keys == [\"kind\", \"message\", \"offset\"]
      and .kind == \"corruption\" and .offset == $at)" out
  [ "$(whole)" = "$before" ]
}

@test "check: status 63 where there is no ring, in JSON and for repair too" {
  truncate -s 64K ring
  fails 63 'ring: there is no ring' check ring
  fails 63 'ring: there is no ring' check --output=json ring
  fails 63 'ring: there is no ring' check --repair=all ring
}

@test "check: status 1 where it cannot look" {
  fails 1 'ring: .*No such file' check ring
  fails 1 'ring: .*No such file' check --repair=leaks ring
}

@test "check --repair of what is whole changes nothing and says so" {
  local what before
  ring_of "${six_items[@]}"
  before=$(whole)
  for what in leaks all; do
    succeeds check --repair=$what ring
    [ "$(cat out)" = 'ring: no errors were found' ]
    succeeds check -r $what --output=json ring
    jq -e '.repairs == [] and .corruptions == 0 and .leaks == 0' out
  done
  [ "$(whole)" = "$before" ]
}

@test "check --repair leaves a ring alone to which somebody is attached" {
  local what
  ring_of 1 2 3
  input_pipe
  start produce ring <input
  eventually attached
  for what in leaks all; do
    fails 1 'ring: .*producer' check --repair=$what ring
  done
  exec 5>&-
  finish
  start consume ring >copy
  eventually lines_are copy 3
  eventually is items 0
  for what in leaks all; do
    fails 1 'ring: .*consumer' check --repair=$what ring
  done
}
