#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img create formats only what is blank.

load helpers

@test "create does not format a file system" {
  type mkfs.ext4 >/dev/null 2>&1 || skip "no mkfs.ext4"
  truncate -s 2M ring
  mkfs.ext4 -q ring
  fails 1 'ring: .*not blank.*ext4' create ring
  succeeds create --force ring
  must_be items 0
}

@test "create does not format what begins like a disk image" {
  truncate -s 2M ring
  poke ring 0 'QFI\373\0\0\0\3'
  fails 1 'ring: .*not blank.*qcow2' create ring
  fails 1 'ring: .*not blank.*qcow2' create --erase ring
  succeeds create --force ring
  must_be items 0
}

@test "create does not format where the first MiB is not zeros" {
  local offset
  for offset in 0 511 5000 1048575; do
    rm -f ring
    truncate -s 4M ring
    poke ring $offset x
    fails 1 "ring: .*not blank.*$offset" create ring
  done
  succeeds create -f ring
}

@test "create does not format where the last 64 KiB are not zeros" {
  local offset size=4194304
  for offset in $((size - 65536)) $((size - 1)); do
    rm -f ring
    truncate -s $size ring
    poke ring $offset x
    fails 1 "ring: .*not blank.*$offset" create ring
  done
  succeeds create -f ring
}

@test "create formats where only the middle is not zeros, and leaves it" {
  truncate -s 4M ring
  poke ring 1048576 x
  poke ring $((4194304 - 65537)) y
  succeeds create ring
  [ "$(tail -c +1048577 ring | head -c 1)" = x ]
  [ "$(tail -c 65537 ring | head -c 1)" = y ]
}

@test "create sees a second header of LUKS2 at 4 MiB" {
  truncate -s 64M other
  # Magic, version, header size, sequence, label, and the offset at 256.
  poke other 4194304 'SKUL\272\276\000\002\000\000\000\000\000\100\000\000'
  poke other 4194560 '\000\000\000\000\000\100\000\000'
  if [ "$(blkid -p -s TYPE -o value other || :)" != crypto_LUKS ]; then
    skip "this libblkid does not know it"
  fi
  fails 1 'other: .*LUKS' create other
}
