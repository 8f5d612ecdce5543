#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# What is of format 1 alone on a block device: its sectors, and a request that
# shares one with the consumer's position.

load helpers
load loop

@test "a ring in other sectors than the device's: --sector-size, or found out" {
  loop_device 1M 512
  succeeds create --sector-size=4096 "$device"
  device_is sector-size 4096
  printf 'one\n' | succeeds produce "$device"
  succeeds consume --until-empty "$device"
  [ "$(cat out)" = one ]
}

@test "suspend is refused where no consumer of this host is attached" {
  loop_device 1M 512
  succeeds create "$device"
  # What is asked for already, or acknowledged, makes no difference.
  fails 1 "$device: .*force" suspend "$device"
  fails 1 "$device: .*force" suspend --wait=0.1 "$device"
  state_of_device_is running
  succeeds suspend --force "$device"
  state_of_device_is suspend-requested
  succeeds produce "$device" </dev/null
  state_of_device_is suspended
  fails 1 "$device: .*force" resume "$device"
  state_of_device_is suspended
  succeeds resume -f "$device"
  state_of_device_is resume-requested
  succeeds produce "$device" </dev/null
  state_of_device_is running
}
