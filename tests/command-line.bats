#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# The command line of blkring-img: help, and what is wrong in it is named.

load helpers

@test "--help lists every subcommand on stdout" {
  succeeds --help
  for s in $subcommands consumer; do
    grep -qw -- "$s" out || report "no $s"
  done
}

@test "--version prints name and version" {
  succeeds --version
  [[ $(cat out) =~ ^blkring-img\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "SUBCOMMAND --help lists its options on stdout and needs no ring" {
  local s o
  declare -A options=(
    [create]='--force --erase --sparse -p --format --block-size --consumers
              --largest-frame --label'
    [info]=--output [check]='--output -r --repair' [map]=--output
    [produce]='--batch --framing --wait --no-wait --durability --takeover -p'
    [consume]='--count --until-empty --follow --framing --output --consumer
               --takeover --salvage'
    [consumer]='' [dump]='--from --count --output --consumer --salvage'
    [suspend]='--wait --force' [resume]='--wait --force' [state]=''
    [erase]='--force -p --pattern')
  for s in $subcommands consumer; do
    succeeds "$s" --help
    for o in ${options[$s]} --quiet --verbose --trace --sector-size \
      --direct --largest-item --queue --client --help; do
      grep -qE -- "(^|[ ,])$o([^a-z-]|$)" out || report "$s has no $o"
    done
  done
}

@test "without arguments: usage on stderr, status 1" {
  tool
  [ "$status" = 1 ]
  [ ! -s out ]
  grep -q '^usage: blkring-img' err
}

@test "an unknown subcommand is named" {
  misused "'frobnicate'" frobnicate ring
  misused "'--frobnicate'" --frobnicate
}

@test "an unknown option is named" {
  small_ring
  local s
  for s in $subcommands 'consumer list'; do
    # shellcheck disable=SC2086
    misused '--frobnicate' $s --frobnicate ring
  done
  misused "'z'" info -z ring
}

@test "a missing RING is asked for" {
  local s
  for s in $subcommands 'consumer list' 'consumer enable'; do
    # shellcheck disable=SC2086
    misused 'RING' $s
  done
}

@test "an argument too many is named" {
  small_ring
  local s
  for s in info check map consume dump suspend resume state erase; do
    misused "'surplus'" "$s" ring surplus
  done
  misused "'surplus'" create ring 64K surplus
  misused "'surplus'" consumer list ring surplus
  misused "'surplus'" consumer enable ring 0 surplus
}

@test "a bad value of an option is quoted, beside what is allowed" {
  small_ring
  local line
  while read -r line; do
    # shellcheck disable=SC2086
    set -- ${line#*:}
    misused "${2%%=*}: '${2#*=}'.*${line%%:*}" "$1" "$2" ring
  done <<'END'
human.*json:info --output=raw
human.*json:check --output=
human.*json:map --output=JSON
human.*json.*raw:dump --output=items
items.*json:consume --output=human
line.*null.*length.*file:produce --framing=none
line.*null.*length.*none:consume --framing=file
full.*none:produce --durability=half
on.*off:info --direct=maybe
1 to 65536:produce --batch=0
1 to 65536:produce --batch=65537
1 to 65536:produce --batch=-1
1 to 65536:produce --batch=1x
1 to 65536:produce --batch=18446744073709551617
number:consume --count=-1
number:consume --count=ten
number:consume --count=
number:consume --count=99999999999999999999
number:dump --count=1.5
number:dump --from=x
number:dump --from=-4
number:suspend --wait=x
number:suspend --wait=-1
number:resume --wait=1s
number:resume --wait=nan
number:suspend --wait=
1 to 2:create --format=0
1 to 2:create --format=3
1 to 2:create --format=x
1 to 2:create --format=
leaks.*all:check --repair=none
0 to 63:consume --consumer=64
0 to 63:consume --consumer=-1
0 to 63:dump --consumer=x
size.*64M:consume --largest-item=x
END
  misused 'sector-size.*1024.*512.*4096' info --sector-size=1024 ring
  misused 'sector-size.*x' info --sector-size=x ring
}

@test "an option without its value is named" {
  local line
  for line in 'info --output' 'produce --batch' 'consume --count' \
    'dump --from' 'erase --pattern' 'info --sector-size' 'info --queue'; do
    # shellcheck disable=SC2086
    misused "${line#* }" $line
  done
}

@test "an option of one subcommand is not taken by others" {
  small_ring
  local line option
  for line in 'info --takeover' 'dump --takeover' 'produce --salvage' \
    'info --salvage' 'produce --count=1' 'erase --erase' 'map --repair=all' \
    'consumer list --output=json'; do
    # shellcheck disable=SC2086
    set -- $line
    option=${line##* }
    misused "${option%=*}" "$@" ring
  done
  for line in produce state suspend check erase 'consumer list'; do
    # shellcheck disable=SC2086
    misused '--consumer is for consume and dump' $line --consumer=0 ring
  done
}

@test "a value for an option that takes none is refused" {
  misused '--until-empty' consume --until-empty=1 ring
  misused '--force' create --force=yes ring
  misused '--takeover' produce --takeover=1 ring
  misused '--salvage' dump --salvage=yes ring
}

@test "--count, --until-empty and --follow exclude each other" {
  small_ring
  misused '--count.*--until-empty.*--follow' \
    consume --count=1 --until-empty ring
  misused '--count.*--until-empty.*--follow' \
    consume --until-empty --follow ring
  misused '--count.*--until-empty.*--follow' consume --follow --count=1 ring
}
