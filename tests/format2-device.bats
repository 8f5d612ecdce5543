#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# What is of format 2 alone on a block device: its blocks, which are not its
# sectors, and a device that is larger or smaller than the ring.

load helpers
load loop

@test "suspend needs no force in format 2" {
  loop_device 1M 4096
  succeeds create "$device"
  succeeds suspend "$device"
  state_of_device_is suspend-requested
  succeeds produce "$device" </dev/null
  succeeds resume "$device"
  state_of_device_is resume-requested
}

@test "blocks are not smaller than the sectors of the device" {
  local size subcommand
  loop_device 1M 4096
  for size in 512 2048; do
    fails 1 "$device: .*$size.*4096" create --block-size=$size "$device"
  done
  for size in 4096 8192 65536; do
    succeeds create --force --block-size=$size "$device"
    printf 'one\ntwo\n' | succeeds produce --batch=1 "$device"
    device_is used $((2 * size))
    succeeds consume --until-empty "$device"
    [ "$(cat out)" = $'one\ntwo' ]
    succeeds check "$device"
  done
}

@test "a ring with smaller blocks than the sectors of the device is refused" {
  local subcommand
  loop_device 1M 4096
  blkring-img create -q --block-size=512 image 1M
  dd if=image of="$device" bs=1M oflag=direct status=none
  cksum <ring >before
  echo item >input
  for subcommand in info check map dump consume produce suspend state create \
    'consumer list' 'check -r all'; do
    # shellcheck disable=SC2086
    fails 1 "$device: block size of 512 .* sectors of 4096" \
      $subcommand "$device" <input
  done
  cksum <ring | cmp - before
}

@test "a ring that was made on small sectors works on large ones" {
  loop_device 1M 4096
  blkring-img create -q image 1M
  printf 'one\ntwo\n' | blkring-img produce --batch=1 image
  dd if=image of="$device" bs=1M oflag=direct status=none
  device_is items 2
  printf 'three\n' | succeeds produce "$device"
  succeeds consume --until-empty "$device"
  [ "$(cat out)" = $'one\ntwo\nthree' ]
  succeeds check "$device"
}

@test "a device that has grown is fine, and its new part stays untouched" {
  loop_device 1M 4096
  succeeds create "$device"
  printf 'one\n' | succeeds produce "$device"
  truncate -s 2M ring
  poke ring 1048576 x
  losetup --set-capacity "$device"
  blockdev --flushbufs "$device"
  succeeds check "$device"
  succeeds map --output=json "$device"
  jq -e '.[-1] == {offset: 1048576, length: 1048576, type: "outside",
    wrapped: false}' out
  random_items 200 20000 >items
  start produce --framing=length "$device" <items
  succeeds consume --count=1 "$device"
  succeeds consume --count=200 --framing=length "$device"
  cmp out items
  finish
  [ "$status" = 0 ]
  [ "$(od -An -c -j 1048576 -N 2 ring | tr -d ' ')" = 'x\0' ]
  succeeds create "$device"
  grep -q kept out
}

@test "a device that has shrunk is no damage, and is told so" {
  local subcommand
  loop_device 1M 512
  succeeds create "$device"
  printf 'one\n' | succeeds produce "$device"
  truncate -s 512K ring
  losetup --set-capacity "$device"
  cksum <ring >before
  for subcommand in info check map dump consume produce suspend state create \
    'consumer list' 'check -r all' erase; do
    # shellcheck disable=SC2086
    fails 1 "$device: .*shrunk.* 1048576 .* 524288.*" \
      $subcommand "$device" </dev/null
    ! grep -q corrupt err || report "it is called damage: $subcommand"
  done
  cksum <ring | cmp - before
  truncate -s 1M ring
  losetup --set-capacity "$device"
  succeeds dump --output=raw "$device"
  [ "$(cat out)" = one ]
}
