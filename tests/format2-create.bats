#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img create: the options of format 2.  What is wrong in them is one
# clear error, and nothing is written.

load helpers
load format2

# create with these options is refused: in no file, in a blank one, and in a
# ring.
refused () {
  local pattern=$1
  shift
  rm -f ring
  fails 1 "$pattern" create "$@" ring 1M
  [ ! -e ring ] || report "there is a file: $*"
  truncate -s 1M ring
  fails 1 "$pattern" create "$@" ring
  cp good ring
  fails 1 "$pattern" create --force "$@" ring
}

@test "create: a wrong value of an option is one error, and writes nothing" {
  local line
  blkring-img create -q good 1M
  while read -r line; do
    # shellcheck disable=SC2086
    refused "${line#* }" ${line%% *}
  done <<'END'
--block-size=0 --block-size: '0'.*512 to 65536
--block-size=256 --block-size: '256'.*512 to 65536
--block-size=131072 --block-size: '131072'.*512 to 65536
--block-size=4K --block-size: '4K'.*512 to 65536
--block-size= --block-size: ''.*512 to 65536
--block-size=513 ring: .*513 .*power of two
--block-size=3072 ring: .*3072 .*power of two
--consumers=0 --consumers: '0'.*1 to 64
--consumers=65 --consumers: '65'.*1 to 64
--consumers=-1 --consumers: '-1'.*1 to 64
--consumers=two --consumers: 'two'.*1 to 64
--largest-frame=x --largest-frame: 'x'.*size
--largest-frame= --largest-frame: ''.*size
--largest-frame=0 --largest-frame: 0
--largest-frame=512 ring: .*largest frame of 512 .*4096
--largest-frame=4097 ring: .*largest frame of 4097 .*4096
--largest-frame=2M ring: .*largest frame of 2097152 .*1015808
--largest-frame=8192P --largest-frame: '8192P'.*size
--format=0 --format: '0'.*1 to 2
--format=3 --format: '3'.*1 to 2
--format=two --format: 'two'.*1 to 2
END
  refused "ring: .*label.* 65 .*64" --label="$(printf '%65s' '')"
  # In bytes: 22 characters of three.
  refused "ring: .*label.* 66 .*64" --label="$(printf '€%.0s' {1..22})"
}

@test "create: options of the other format are refused" {
  local o
  blkring-img create -q good 1M
  cp good ring
  for o in --block-size=512 --consumers=1 --largest-frame=4096 --label=x; do
    misused 'are of format 2' create --format=1 $o ring 1M
    misused 'are of format 2' create --format=1 --force $o ring
  done
  for o in '' --format=2 --force; do
    # shellcheck disable=SC2086
    misused 'is of format 1.*--block-size' create $o --sector-size=512 ring
  done
  cmp good ring
  rm ring
  misused 'are of format 2' create --format=1 --label=x ring 1M
  misused 'is of format 1' create --sector-size=4096 ring 1M
  [ ! -e ring ]
}

@test "create: too small a device for the blocks and consumers, with numbers" {
  local line
  while read -r line; do
    # shellcheck disable=SC2086
    set -- $line
    fails 1 "ring: .* $(($2 - 1)) bytes.* $2 bytes" create $1 ring $(($2 - 1))
    # shellcheck disable=SC2086
    fails 1 "ring: .* $(($2 - 1)) bytes.* $2 bytes" \
      create --force $1 ring $(($2 - 1))
    succeeds create -q $1 ring "$2"
    must_be capacity "$3"
    store ''
    holds ''
    rm ring
  done <<'END'
--block-size=512 33280 512
--block-size=4096 36864 4096
--block-size=65536 131072 65536
--consumers=2 45056 4096
--consumers=64 552960 4096
END
}

@test "create: blocks of every size" {
  local size
  for size in 512 1024 2048 4096 8192 16384 32768 65536; do
    rm -f ring
    succeeds create --block-size=$size ring 256K
    grep -q "^ring: created, format 2, blocks of $size bytes" out
    store one
    store two
    must_be block-size $size used $((2 * size))
    succeeds check ring
  done
}

@test "create: 1 to 64 consumers, each of which gets every item" {
  local n
  for n in 1 2 64; do
    rm -f ring
    succeeds create --consumers=$n ring 1M
    [ "$(blkring-img info --output=json ring | jq '.consumers | length')" = $n ]
    store one two
    succeeds consume --consumer=$((n - 1)) --until-empty ring
    [ "$(cat out)" = $'one\ntwo' ]
    [ "$(blkring-img info --output=json ring |
      jq -c '[.consumers[].items] | add')" = $((2 * n - 2)) ]
    [ $n = 64 ] || fails 1 "ring: there is no consumer $n: the ring has $n" \
      dump --consumer=$n ring
  done
}

@test "create: the label stays, whatever it is, up to 64 bytes" {
  local label
  for label in x 'two words' "$(printf '%64s' '' | tr ' ' z)" \
    "$(printf 'ä%.0s' {1..32})" '' ' ' '%s"\'; do
    succeeds create --force --label="$label" ring 1M
    [ "$(field label)" = "$label" ]
    succeeds info ring
    grep -qxF "label: $label" out
    succeeds check ring
  done
}

@test "create: the largest frame bounds items and batches" {
  succeeds create --block-size=512 --largest-frame=1K ring 64K
  must_be largest-frame 1024 largest-item $((1024 - 68))
  letters 957 >items
  fails 1 'ring: .*957.*956' produce --framing=length ring <items
  letters 956 1 1 >items
  succeeds produce --framing=length --batch=3 ring <items
  # Two frames: the batch did not fit into one.
  must_be items 3 used 1536
  contents | cmp - items
  succeeds create --force --largest-frame=4096 ring 64K
  must_be largest-frame 4096 largest-item 4028
}

@test "create: the largest frame is 4 MiB, or the ring" {
  succeeds create --sparse ring 64M
  must_be largest-frame 4194304
  rm ring
  succeeds create ring 64K
  must_be largest-frame 32768 capacity 32768
}

@test "create: no two rings have the same uuid" {
  local a b
  succeeds create ring 64K
  a=$(field uuid)
  succeeds create --force ring
  b=$(field uuid)
  local h='[0-9a-f]'
  [[ $a =~ ^$h{8}-$h{4}-4$h{3}-[89ab]$h{3}-$h{12}$ ]]
  [ "$a" != "$b" ]
}

@test "create: what is behind the last whole block stays as it is" {
  truncate -s 65000 ring
  succeeds create --block-size=4096 ring
  must_be capacity 28672
  poke ring $((32768 + 28672)) xyz
  letters 28604 >items
  succeeds produce --framing=length ring <items
  must_be free 0
  [ "$(od -An -c -j $((32768 + 28672)) -N 3 ring | tr -d ' ')" = xyz ]
  succeeds check ring
}

@test "create keeps no ring that is another one than what was asked for" {
  local o before
  succeeds create --block-size=512 --consumers=2 --label=mine \
    --largest-frame=8K ring 256K
  store one
  before=$(whole)
  for o in --block-size=4096 --consumers=1 --label=yours --label= \
    --largest-frame=16K --format=1; do
    fails 1 "ring: holds a ring already.*${o%%=*}.*--force" create $o ring
  done
  succeeds create --block-size=512 --consumers=2 --label=mine \
    --largest-frame=8K --format=2 ring 256K
  grep -q kept out
  [ "$(whole)" = "$before" ]
  cp "$abs_top_srcdir/tests/data/v1/b1-six-items.img" ring
  before=$(whole)
  for o in --format=2 --block-size=512 --consumers=1 --label=x \
    --largest-frame=4K; do
    fails 1 "ring: holds a ring already.*${o%%=*}.*--force" create $o ring
  done
  succeeds create ring
  succeeds create --format=1 ring
  grep -q 'kept, format 1' out
  [ "$(whole)" = "$before" ]
}

@test "create --force makes either format out of the other" {
  cp "$abs_top_srcdir/tests/data/v1/b1-six-items.img" ring
  truncate -s 64K ring
  succeeds create --force ring
  must_be format 2 items 0
  store one two
  succeeds create --force --format=1 ring
  must_be format 1 items 0
  succeeds check ring
  succeeds create --force ring
  must_be format 2 items 0
  succeeds check ring
}

@test "create --sparse leaves the blocks of the file to later" {
  succeeds create ring 4M
  [ $(($(stat -c %b ring) * $(stat -c %B ring))) -ge 4194304 ]
  rm ring
  succeeds create --sparse ring 4M
  [ $(($(stat -c %b ring) * $(stat -c %B ring))) -lt 2097152 ]
  [ "$(stat -c %s ring)" = 4194304 ]
  store one
  holds one
}
