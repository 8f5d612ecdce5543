#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Nobody is asked for the format of a ring: every subcommand finds it out.

load helpers

# In the file ring, with two items.
ring_of_format () {
  rm -f ring
  blkring-img create -q --format="$1" ring 64K
  store one two
}

@test "every subcommand finds out the format of the ring" {
  local f
  for f in 1 2; do
    ring_of_format $f
    must_be format "$f" items 2
    succeeds info ring
    grep -qx "format: $f" out
    succeeds check ring
    grep -qx 'ring: no errors were found' out
    succeeds check --repair=all ring
    succeeds map --output=json ring
    [ "$(jq '.[1].offset' out)" = $((f == 1 ? 512 : 8192)) ]
    succeeds dump --output=raw ring
    [ "$(cat out)" = onetwo ]
    succeeds suspend ring
    succeeds state ring
    [ "$(cat out)" = suspend-requested ]
    succeeds produce ring </dev/null
    succeeds state ring
    [ "$(cat out)" = suspended ]
    succeeds resume ring
    echo three >input
    succeeds produce ring input
    succeeds consume --until-empty ring
    [ "$(paste -sd ' ' out)" = 'one two three' ]
    succeeds create ring
    grep -q "kept, format $f" out
    succeeds erase ring
    fails 63 'ring: there is no ring' check ring
  done
}

@test "no subcommand but create takes --format" {
  ring_of_format 2
  local s
  for s in info check map dump consume suspend resume state erase produce \
    'consumer list'; do
    # shellcheck disable=SC2086
    misused '--format' $s --format=2 ring
  done
}

@test "--sector-size makes no difference to a ring of format 2" {
  ring_of_format 2
  succeeds info ring
  mv out info
  succeeds info --sector-size=4096 ring
  cmp info out
  succeeds check --sector-size=512 ring
  succeeds consume --sector-size=4096 --until-empty ring
  [ "$(cat out)" = $'one\ntwo' ]
}

@test "a ring of one format in another's place is the new one alone" {
  local f other
  for f in 1 2; do
    other=$((3 - f))
    ring_of_format $other
    succeeds create --force --format=$f ring
    must_be format $f items 0
    succeeds check ring
    store x
    succeeds consume --until-empty ring
    [ "$(cat out)" = x ]
  done
}

@test "items go from a ring of one format to one of the other" {
  local f
  random_items 100 2000 >items
  for f in 1 2; do
    rm -f ring second
    blkring-img create -q --format=$f ring 1M
    blkring-img create -q --format=$((3 - f)) second 1M
    succeeds produce --framing=length ring <items
    blkring-img consume --until-empty --framing=length ring |
      blkring-img produce --framing=length second
    mv second ring
    succeeds consume --until-empty --framing=length ring
    cmp items out
  done
}
