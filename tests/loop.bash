# SPDX-License-Identifier: BSD-3-Clause
#
# For tests on block devices: loop devices, which go with the test.  They need
# root; where a test cannot have one it is skipped and says why.

setup () {
  cd "$BATS_TEST_TMPDIR" || return
  started=()
  loops=()
}

# Skip the test, unless the caller counts on it.
cannot () {
  [ "${BLKRING_REQUIRE_ROOT-}" != 1 ] || fail "$1"
  skip "$1"
}

# A loop device of $1 bytes and sectors of $2, in $device, on the file ring.
loop_device () {
  [ "$(id -u)" = 0 ] || cannot "not root"
  type losetup >/dev/null 2>&1 || cannot "no losetup"
  truncate -s "$1" ring
  device=$(losetup --find --show --sector-size "$2" ring 2>/dev/null) ||
    cannot "no loop device"
  loops+=("$device")
  [ "$(blockdev --getss "$device" 2>/dev/null)" = "$2" ] ||
    cannot "no loop device with sectors of $2 bytes"
}

teardown () {
  local device
  kill_all
  for device in "${loops[@]}"; do
    blockdev --setrw "$device"
    losetup --detach "$device"
  done
}

state_of_device_is () {
  state_is "$1" "$device"
}

device_is () {
  [ "$(field "$1" "$device")" = "$2" ]
}
