#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img on block devices, which it opens with O_DIRECT, and which other
# hosts may share: loop devices, as root where they are to be had.

load helpers
load loop

# A ring on the device in sectors or blocks of this size.
create_in_units () {
  if [ $format = 1 ]; then
    succeeds create --sector-size="$1" "$device"
  else
    succeeds create --block-size="$1" "$device"
  fi
}

# Everything once, on sectors of $1 bytes.
everything () {
  loop_device 4M "$1"
  succeeds create "$device"
  grep -q "^$device: .*\<$((format == 1 ? $1 : 4096))\>" out
  device_is sector-size "$1"
  device_is filename "$device"
  device_is capacity $((4194304 - (format == 1 ? 3 * $1 : 32768)))
  device_is suspend running
  random_items 300 3000 >input
  succeeds produce --framing=length "$device" <input
  device_is items 300
  succeeds check "$device"
  succeeds check --output=json "$device"
  [ "$(jq .corruptions out)" = 0 ]
  succeeds map --output=json "$device"
  [ "$(jq 'map (.length) | add' out)" = 4194304 ]
  succeeds dump --output=raw "$device"
  [ "$(wc -c <out)" = "$(field unread-bytes "$device")" ]
  succeeds create "$device"
  device_is items 300
  succeeds consume --until-empty --framing=length "$device"
  cmp out input
  device_is items 0
  succeeds check "$device"
}

@test "create, info, check, map, dump, produce, consume on 512-byte sectors" {
  everything 512
}

@test "create, info, check, map, dump, produce, consume on 4096-byte sectors" {
  everything 4096
}

@test "streams go round a small device" {
  local size producer
  for size in 512 4096; do
    rm -f ring
    loop_device $(((format == 1 ? 0 : 32768) + 16 * size)) $size
    create_in_units $size
    random_items 100 $((10 * size)) >input
    start produce --framing=length "$device" <input
    producer=$pid
    start consume --framing=length --count=100 "$device" >output
    finish
    [ "$status" = 0 ]
    finish "$producer"
    [ "$status" = 0 ]
    cmp input output
  done
}

@test "the device is read past the page cache, and --direct=off is through it" {
  loop_device 1M 512
  succeeds create "$device"
  local options want
  for want in on off; do
    options=
    [ $want = on ] || options=--direct=off
    input_pipe
    # shellcheck disable=SC2086
    start produce $options "$device" <input
    eventually attached_directly $want
    exec 5>&-
    finish
    [ "$status" = 0 ]
    rm input
  done
}

# O_DIRECT among the flags (octal) of the file on which it has its lock.
attached_directly () {
  local f direct
  direct=$((0$(perl -MFcntl -e 'printf "%o", Fcntl::O_DIRECT ()')))
  f=$(grep -ls '^lock:' "/proc/$pid/fdinfo/"*) || return 1
  f=$(awk '/^flags:/ { print $2 }' "$f")
  if [ "$1" = on ]; then [ $((f & direct)) != 0 ]
  else [ $((f & direct)) = 0 ]; fi
}

@test "--direct=off reads what was written with O_DIRECT, and back" {
  loop_device 1M 4096
  succeeds create "$device"
  printf 'one\ntwo\n' | succeeds produce "$device"
  succeeds dump --direct=off --output=raw "$device"
  [ "$(cat out)" = onetwo ]
  printf 'three\n' | succeeds produce --direct=off "$device"
  succeeds consume --direct=on --until-empty --framing=none "$device"
  [ "$(cat out)" = onetwothree ]
}

@test "create: SIZE of a device that has another is refused" {
  loop_device 1M 512
  fails 1 "$device: .*size" create "$device" 2M
  fails 1 "$device: .*size" create --force "$device" 2M
}

@test "create --erase and erase overwrite the device" {
  loop_device 4M 4096
  poke ring 2000000 secret
  blockdev --flushbufs "$device"
  succeeds create --erase "$device"
  succeeds dump --output=raw "$device"
  [ "$(grep -c secret ring)" = 0 ]
  printf 'one\n' | succeeds produce "$device"
  succeeds erase --pattern=gone. "$device"
  perl -e 'print substr ("gone." x 838861, 0, 4194304)' | cmp - ring
  fails 63 "$device: there is no ring" check "$device"
  fails 1 "$device: there is no ring" erase "$device"
  succeeds erase -f "$device"
  cmp -n 4194304 ring /dev/zero
}

@test "create refuses a device that is not blank" {
  loop_device 4M 512
  poke ring 4194303 x
  blockdev --flushbufs "$device"
  fails 1 "$device: .*not blank.*4194303" create "$device"
  succeeds create -f "$device"
}

@test "suspend needs no force beside a consumer of this host" {
  loop_device 1M 4096
  succeeds create "$device"
  input_pipe
  start produce "$device" <input
  start consume "$device" >copy
  echo first >&5
  eventually lines_are copy 1
  succeeds suspend --wait=10 "$device"
  state_of_device_is suspended
  succeeds resume --wait=10 "$device"
  state_of_device_is running
  echo second >&5
  eventually lines_are copy 2
  eventually device_is items 0
}

@test "a producer on a device acknowledges while its stdin is idle" {
  loop_device 1M 512
  succeeds create "$device"
  input_pipe
  start produce "$device" <input
  echo first >&5
  eventually device_is items 1
  succeeds suspend --force --wait=10 "$device"
  state_of_device_is suspended
  succeeds resume --force --wait=10 "$device"
  state_of_device_is running
}

@test "locks: a second producer, a second consumer and erase are refused" {
  loop_device 1M 512
  succeeds create "$device"
  input_pipe
  start produce --client=first-producer "$device" <input
  start consume --client=first-consumer "$device" >copy
  echo first >&5
  eventually lines_are copy 1
  eventually device_is items 0
  fails 1 "$device: .*producer.*first-producer" produce "$device" </dev/null
  fails 1 "$device: .*consumer.*first-consumer" consume "$device"
  fails 1 "$device: .*(producer|consumer)" erase "$device"
  fails 1 "$device: .*(producer|consumer)" create --force "$device"
}

@test "a device that cannot be written: reading works, the rest is refused" {
  loop_device 1M 512
  succeeds create "$device"
  # This outlives the loop device, unless it is taken back.
  blockdev --setro "$device"
  succeeds info "$device"
  succeeds check "$device"
  succeeds dump "$device"
  local why='([Rr]ead-only|not permitted|denied)'
  echo item >input
  fails 1 "$device: .*$why" produce "$device" <input
  fails 1 "$device: .*$why" suspend --force "$device"
  fails 1 "$device: .*$why" erase "$device"
}
