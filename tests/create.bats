#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img create: the ring that it makes, its size, and when it keeps one.

load helpers

@test "create SIZE makes a file of this size with an empty ring" {
  succeeds create ring 1M
  [ "$(wc -l <out)" = 1 ]
  grep -q '^ring: ' out
  [ "$(stat -c %s ring)" = 1048576 ]
  must_be items 0 sector-size 512 \
    capacity $((1048576 - (format == 1 ? 1536 : 32768)))
  succeeds check ring
}

@test "create without SIZE takes the file's" {
  truncate -s 64K ring
  succeeds create ring
  [ "$(stat -c %s ring)" = 65536 ]
  must_be items 0 producer 0
}

@test "create: SIZE in bytes, K and M" {
  local size
  for size in 65536:65536 64K:65536 64k:65536 81920b:81920 2M:2097152; do
    rm -f ring
    succeeds create ring "${size%:*}"
    [ "$(stat -c %s ring)" = "${size#*:}" ]
  done
}

@test "create: the suffixes are powers of 1024, up to P" {
  new_ring 64K
  fails 1 'ring: .*65536.*81920' create ring 80K
  fails 1 'ring: .*65536.*3145728' create ring 3M
  fails 1 'ring: .*65536.*5368709120' create ring 5G
  fails 1 'ring: .*65536.*2199023255552' create ring 2T
  fails 1 'ring: .*65536.*1125899906842624' create ring 1P
}

@test "create: the smallest ring, and a smaller one, which leaves no file" {
  local smallest=$((format == 1 ? 2048 : 36864)) size
  for size in 0 512 $((smallest - 512)) $((smallest - 1)); do
    fails 1 "ring: .* $size bytes.*$smallest" create ring "$size"
  done
  succeeds create ring $smallest
  [ "$(stat -c %s ring)" = $smallest ]
  store x
  holds x
}

@test "create: what is not a size is quoted, and leaves no file" {
  local size
  for size in '' x K 10x 1KB 1KiB 5.5K +4K ' 4K' '4K ' 0x1000 16384P \
    99999999999999999999; do
    fails 1 ".*'${size//+/\\+}'.*size" create ring "$size"
  done
  misused '' create ring -5
}

@test "create: a file that is too small stays as it is" {
  truncate -s 1536 ring
  fails 1 'ring: .*1536.*(2048|36864)' create ring
  fails 1 'ring: .*1536.*(2048|36864)' create --force ring
  fails 1 'ring: .*1536.*(2048|36864)' create --erase --force ring
}

@test "create --force with a bad SIZE leaves the ring that is there alone" {
  small_ring
  store one two
  fails 1 'ring: .* 1024.*(2048|36864)' create --force ring 1K
  holds one two
}

@test "create: a file that cannot be made is an error" {
  fails 1 'missing/ring: .*No such file or directory' create missing/ring 1M
}

@test "create: no room for the file is an error, and leaves none" {
  trap '' XFSZ
  ulimit -S -f 64
  fails 1 'ring: .+' create ring 1M
}

@test "create keeps a ring that is there" {
  ring_of "${six_items[@]}"
  local before size
  before=$(whole)
  size=$(stat -c %s ring)
  succeeds create ring
  grep -q '^ring: .*kept' out
  succeeds create ring "$size"
  grep -q '^ring: .*kept' out
  succeeds create --erase ring
  grep -q '^ring: .*kept' out
  [ "$(whole)" = "$before" ]
}

@test "create does not keep a corrupt ring as a valid one, nor destroys it" {
  ring_of "${six_items[@]}"
  spoil_producer
  fails 1 'ring: .*[a-z]' create ring
  succeeds create --force ring
  succeeds check ring
}

@test "create: SIZE is not that of the file: both are told" {
  new_ring 64K
  fails 1 'ring: .*65536.*81920' create ring 80K
  fails 1 'ring: .*65536.*49152' create ring 48K
}

@test "create --force formats a ring that is there" {
  local o
  for o in -f --force; do
    ring_of "${six_items[@]}"
    succeeds create $o ring
    must_be items 0 producer 0
    store one
    holds one
  done
}

@test "create --force SIZE gives the file another size" {
  new_ring 64K
  succeeds create -f ring 80K
  [ "$(stat -c %s ring)" = 81920 ]
  must_be items 0
  [ "$(field capacity)" -gt 45000 ]
  succeeds create -f ring 48K
  [ "$(stat -c %s ring)" = 49152 ]
  [ "$(field capacity)" -lt 48000 ]
  succeeds check ring
}

@test "create: the format is 2 unless another is wanted" {
  tool create --format=$format ring 64K
  must_be format $format
  rm ring
  blkring-img create -q ring 64K
  must_be format 2
}

@test "create --erase writes zeros first" {
  local o
  for o in '' --force; do
    truncate -s 4M ring
    poke ring 2000000 'secret'
    # shellcheck disable=SC2086
    succeeds create --erase $o ring
    ! grep -q secret ring || fail "it is still there"
    # What the ring has for items.
    tail -c "$(field capacity)" ring | cmp -n "$(field capacity)" - /dev/zero
  done
}

@test "create -p shows the progress of --erase on stderr" {
  truncate -s 4M ring
  tool create --erase -p ring
  [ "$status" = 0 ]
  grep -q 100 err
  [ "$(wc -l <out)" = 1 ]
}

@test "create --force is refused while a consumer is attached" {
  small_ring
  start consume ring >copy
  eventually attached
  fails 1 'ring: .*consumer' create --force ring
  fails 1 'ring: .*consumer' create --force --erase ring
}

@test "create --force with another SIZE leaves a ring in use alone" {
  new_ring 64K
  idle_producer
  cp ring before
  fails 1 'ring: .*(attached|makes)' create --force ring 48K
  cmp ring before
}

@test "create keeps a ring that is in use" {
  new_ring 64K
  input_pipe
  start produce ring <input
  eventually attached
  succeeds create ring
  grep -q kept out
}

@test "create leaves a name alone under which it can make nothing" {
  ln -s missing/ring link
  fails 1 'link: ' create link 64K
  [ -L link ]
}
