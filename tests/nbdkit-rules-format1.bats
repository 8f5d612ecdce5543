#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# What the guard lets in of a ring of format 1, on both sides of each limit.

load helpers
load nbdkit

# A ring of 8704 bytes with three items, at 16, 24 and 32, up to 44: two are
# consumed.  Before and behind them is free space.
start_ring () {
  small_ring
  printf 'one1\ntwo2\nfour\nfive\nseven77\n' >items
  succeeds produce ring <items
  succeeds consume --count=2 ring
  [ "$(positions)" = '16 24 32' ]
  serve ring "$@"
}

@test "the signature cannot be changed" {
  start_ring
  nbd <<'EOF'
from nbdring import *
h = connect()
whole = h.pread(512, 0)
h.pwrite(whole, 0)
h.pwrite(whole[10:100], 10)
for at in 0, 29, 30, 511:
    refused(EINVAL, h.pwrite, bytes([whole[at] ^ 1]), at, why="signature")
refused(EINVAL, h.pwrite, bytes(512), 0, why="signature")
refused(EINVAL, h.zero, 512, 0)
refused(EINVAL, h.zero, 1, 0, FAST)
refused(EINVAL, h.zero, 1, 29, NO_HOLE)
refused(EINVAL, h.trim, 512, 0)
# What is zero already, stays so.
h.zero(482, 30)
EOF
  export_is items 3
}

@test "unread bytes cannot be changed, those on either side can" {
  start_ring
  nbd <<'EOF'
from nbdring import *
h = connect()
r = Ring1(h)
live = h.pread(28, r.at(16))
for at in 16, 17, 43:
    refused(EINVAL, h.pwrite, bytes([live[at - 16] ^ 1]), r.at(at),
            why="is unread")
refused(EINVAL, h.pwrite, b"x" * 28, r.at(16))
refused(EINVAL, h.pwrite, b"x" * 2, r.at(15))
refused(EINVAL, h.pwrite, b"\xff" * 2, r.at(43))
refused(EINVAL, h.zero, 1, r.at(16))
refused(EINVAL, h.zero, r.capacity, r.at(0), FAST)
refused(EINVAL, h.trim, 1, r.at(43))
refused(EINVAL, h.trim, r.capacity, r.at(0))
# The same bytes, and what is free.
h.pwrite(live, r.at(16))
h.pwrite(b"x", r.at(15))
h.pwrite(b"x", r.at(44))
h.pwrite(b"y" * 16 + live + b"z" * 16, r.at(0))
h.zero(16, r.at(0))
h.zero(r.capacity - 44, r.at(44))
h.trim(16, r.at(0))
h.trim(r.capacity - 44, r.at(44))
assert h.pread(28, r.at(16)) == live
EOF
  export_is items 3
}

@test "the producer's position: forward, over items that were written" {
  start_ring
  nbd <<'EOF'
from nbdring import *
h = connect()
r = Ring1(h)
for position, why in (
        (40, "go back"), (0, "go back"), (43, ""),
        (46, ""), (48, "was not written"), (44 + 8704, ""),
        (16 + 8704 + 4, ""), (1 << 62, ""), ((1 << 63) - 4, ""),
        ((1 << 64) - 4, "")):
    refused(EINVAL, r.set_producer, position, why=why)
EOF
  nbd <<'EOF'
from nbdring import *
h = connect()
r = Ring1(h)
end = r.push([b"x" * 10, b"y" * 1000])
assert end == 44 + 16 + 1004, end
# Behind the items the sector was written as well: those are zeros, which
# could be empty items; behind the sector nothing was.
for position in 48, 56, end - 4, end + 1, 1536 + 4:
    refused(EINVAL, r.set_producer, position)
r.set_producer(60)
refused(EINVAL, r.set_producer, 44)
r.set_producer(60)
r.set_producer(end)
EOF
  export_is items 5
}

@test "the producer may fill the ring, to the last byte and no further" {
  small_ring
  serve ring
  nbd <<'EOF'
from nbdring import *
h = connect()
r = Ring1(h)
r.append([b"x" * 8696])
assert r.pointers()[0] == 8700
refused(EINVAL, r.set_producer, 8708)
r.append([b""])
refused(EINVAL, r.set_producer, 8708)
refused(EINVAL, h.pwrite, b"y", r.at(0))
refused(EINVAL, h.pwrite, b"y", r.at(8703))
assert status()["free"] == 0
assert r.pop() == [b"x" * 8696, b""]
assert status()["used"] == 0
EOF
  export_is items 0
}

@test "the consumer's position: forward, over items that are exposed" {
  start_ring
  nbd <<'EOF'
from nbdring import *
h = connect()
r = Ring1(h)
r.push([b"pushed, and not exposed"])
for position, why in (
        (8, "go back"), (12, "go back"), (0, "go back"),
        (20, "no item ends"), (28, "no item ends"), (17, ""),
        (48, ""), (56, ""), (72, ""), (1 << 62, ""), ((1 << 64) - 4, "")):
    refused(EINVAL, r.set_consumer, position, why=why)
r.set_consumer(24)
refused(EINVAL, r.set_consumer, 16)
r.set_consumer(44)
assert status()["consumers"][0]["consumed"] == {"items": 3, "bytes": 28}
EOF
  export_is items 0
}

@test "flags: as the suspend protocol has it" {
  start_ring
  nbd <<'EOF'
from nbdring import *
r, other = Ring1(connect()), Ring1(connect())
for sector, position in (1, 44), (2, 16):
    for flag in 0, 3, 255:
        refused(EINVAL, other.set_pointer, sector, position, flag)
refused(EINVAL, other.set_producer, 44, 1, why="did not ask")
r.set_consumer(16, 1)
assert status()["state"] == "suspend-requested"
refused(EINVAL, r.set_consumer, 16, 2, why="not acknowledged")
r.set_producer(44, 1)
assert status()["state"] == "suspended"
EOF
  nbd <<'EOF'
from nbdring import *
r = Ring1(connect())
refused(EINVAL, r.set_producer, 44, 2, why="did not ask")
refused(EINVAL, r.push, [b"x"], why="suspended")
r.set_consumer(16, 2)
refused(EINVAL, r.set_consumer, 16, 1, why="not acknowledged")
r.set_producer(44, 2)
assert status()["state"] == "running"
EOF
}

@test "a write that moves a position changes no flag" {
  start_ring
  nbd <<'EOF'
from nbdring import *
consumer, admin = Ring1(connect()), Ring1(connect())
consumer.set_consumer(24)
admin.set_consumer(24, 1)
# It does not know of the request yet.
consumer.set_consumer(32, 2)
assert consumer.pointers() == (44, 2, 32, 1)
# Nor does the administrator of the position.
admin.set_producer(44, 1)
assert admin.pointers() == (44, 1, 32, 1)
consumer.set_consumer(44, 1)
admin.set_consumer(32, 2)
assert consumer.pointers() == (44, 1, 44, 2)
EOF
}

@test "pointers in parts and unaligned, and several regions in one write" {
  start_ring
  nbd <<'EOF'
from nbdring import *
h = connect()
r = Ring1(h)
# Two bytes of the position are enough, and one that breaks a rule is none.
h.pwrite(struct.pack("<H", 24), 1024)
assert r.pointers()[2] == 24
refused(EINVAL, h.pwrite, b"\1", 1031)
h.pwrite(b"a text", 512 + 128)
# The whole ring at once: data and both pointers.
image = bytearray(h.pread(h.get_size(), 0))
image[r.at(44):r.at(44) + 8] = padded(b"1234")
struct.pack_into("<Q", image, 512, 52)
struct.pack_into("<Q", image, 1024, 44)
h.pwrite(image, 0)
assert r.pointers() == (52, 2, 44, 2)
# One rule that is broken: nothing of it is done.
bad = bytearray(image)
bad[r.at(52):r.at(52) + 8] = padded(b"5678")
struct.pack_into("<Q", bad, 512, 60)
bad[r.at(44)] ^= 1
refused(EINVAL, h.pwrite, bad, 0, why="is unread")
bad[r.at(44)] ^= 1
bad[0] ^= 1
refused(EINVAL, h.pwrite, bad, 0, why="signature")
bad[0] ^= 1
struct.pack_into("<Q", bad, 1024, 48)
refused(EINVAL, h.pwrite, bad, 0)
struct.pack_into("<Q", bad, 1024, 44)
h.pwrite(bad, 0)
assert r.pop() == [b"1234", b"5678"]
EOF
}

@test "pointers cannot be zeroed or trimmed" {
  start_ring
  nbd <<'EOF'
from nbdring import *
h = connect()
for offset, count in (512, 512), (1024, 512), (0, 1536), (512, 1), (1032, 1):
    refused(EINVAL, h.zero, count, offset)
    refused(EINVAL, h.trim, count, offset)
refused(EINVAL, h.zero, h.get_size(), 0, FAST)
refused(EINVAL, h.zero, h.get_size(), 0, NO_HOLE)
EOF
  export_is items 3
}
