#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Free space is a hole, and a copy takes the live part alone.

load helpers
load nbdkit

# 1 GiB with ten items, in a file that is allocated where it was used: the
# consumed ones before them are free space again.
setup_file () {
  cd "$BATS_FILE_TMPDIR"
  new_ring 1G --sparse
  perl -e 'print pack ("V", 100000), "y" x 100000 for 1 .. 30' |
    succeeds produce --framing=length ring
  succeeds consume --framing=length --until-empty ring
  random_items 10 2000 >items
  succeeds produce --framing=length ring <items
}
big_ring () {
  cp --sparse=always "$BATS_FILE_TMPDIR"/{ring,items} .
  serve ring
}

# KiB that a file takes.
allocated () {
  du -k "$1" | cut -f1
}

is_a_small_copy () {
  [ "$(stat -c %s "$1")" = $((1 << 30)) ]
  [ "$(allocated "$1")" -lt 512 ] || fail "$1 takes $(allocated "$1") KiB"
  cmp items <(contents "$1")
  ring_is_valid "$1"
}

@test "nbdcopy of 1 GiB takes the live part" {
  big_ring
  [ "$(allocated ring)" -gt 2000 ]
  nbdcopy "$uri" copy
  is_a_small_copy copy
}

@test "qemu-img convert of 1 GiB takes the live part" {
  big_ring
  qemu-img convert -f raw -O raw "$uri" copy
  is_a_small_copy copy
  qemu-img convert -f raw -O qcow2 "$uri" copy.qcow2
  [ "$(allocated copy.qcow2)" -lt 2048 ]
}

@test "a copy asks for the live part alone" {
  [ $by = filter ] || skip "seen by a filter above"
  big_ring
  stop_server
  start_nbdkit --filter=log "--filter=$filter" file ring logfile=requests
  nbdcopy "$uri" copy
  is_a_small_copy copy
  [ "$(grep -c ' Read ' requests)" -lt 10 ]
}

@test "nbdinfo --map and qemu-img map show what is free" {
  big_ring
  nbdinfo --map --json "$uri" >map
  jq -e '[.[] | select (.type == 0) | .length] | add < 200000' map
  jq -e '[.[] | select (.type == 3) | .length] | add > 1073500000' map
  jq -e '[.[].length] | add == 1073741824' map
  qemu-img map --output=json -f raw "$uri" >map
  jq -e '[.[] | select (.data) | .length] | add < 200000' map
  jq -e 'all (.[]; .data != .zero)' map
}

@test "free space reads as zeros, though the file holds what was consumed" {
  big_ring
  grep -qc 'yyyyyyyy' ring
  nbd <<'EOF'
from nbdring import *
h = connect()
extents = []
def note(name, offset, entries, error):
    at = offset
    for length, flags in zip(entries[::2], entries[1::2]):
        extents.append((at, length, flags))
        at += length
at = 0
while at < h.get_size():
    h.block_status(min(1 << 28, h.get_size() - at), at, note)
    at = extents[-1][0] + extents[-1][1]
holes = [e for e in extents if e[2] == 3]
assert holes and extents[0][2] == 0
for at, length, _ in holes:
    n = min(length, 8 << 20)
    assert not any(h.pread(n, at))
    assert not any(h.pread(min(n, 65536), at + length - min(n, 65536)))
EOF
  export_is items 10
}

@test "what is pushed becomes data, what is consumed becomes a hole" {
  new_ring 1M
  serve ring
  data () {
    nbdinfo --map --json "$uri" |
      jq '[.[] | select (.type == 0) | .length] | add'
  }
  before=$(data)
  perl -e 'print "x" x 100000, "\n"' | succeeds produce "$uri"
  [ "$(data)" -ge $((before + 100000)) ]
  [ "$(data)" -lt $((before + 110000)) ]
  succeeds consume --until-empty "$uri"
  [ "$(data)" -le $((before + 4096)) ]
}
