#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# What the guard lets in of a ring of format 2, on both sides of each limit.

load helpers
load nbdkit

# Three items, of which one is consumed, a frame of 512 bytes each.
start_ring () {
  small_ring
  printf 'one\ntwo\nthree\n' >items
  succeeds produce --batch=1 ring <items
  succeeds consume --count=1 ring
  serve ring "$@"
}

@test "the superblock cannot be changed, nor what is part of nothing" {
  start_ring
  nbd <<'EOF'
from nbdring import *
h = connect()
for slot in 0, 4096:
    p = h.pread(4096, slot)
    h.pwrite(p, slot)
    for at in 0, 8, 511:
        refused(EINVAL, h.pwrite, bytes([p[at] ^ 1]), slot + at)
    refused(EINVAL, h.zero, 4096, slot)
    refused(EINVAL, h.trim, 4096, slot)
h = connect()
r = Ring2(h)
# Behind the record in its slot.
refused(EINVAL, h.pwrite, b"x", r.slot(0, 0) + 512)
refused(EINVAL, h.zero, 8192, r.slot(0, 0))
refused(EINVAL, h.zero, h.get_size(), 0, FAST)
refused(EINVAL, h.trim, h.get_size(), 0)
EOF
  export_is items 2
}

@test "a hand-written producer and consumer are let in" {
  start_ring
  nbd <<'EOF'
from nbdring import *
r = Ring2(connect())
r.claim(r.PRODUCER)
r.append([b"four", b"five"])
r.append([b"x" * 3000])
assert [i["data"] for i in r.items[-2:]] == [b"two", b"three"]
c = Ring2(connect())
assert len(c.items) == 5
c.claim(c.CONSUMER)
c.free(c.tail)
assert status()["consumers"][0]["consumed"]["items"] == 5
assert status()["producer"]["pushed"]["items"] == 3
assert status()["rejected"]["count"] == 0
EOF
  export_is items 0
}

@test "unread frames cannot be changed, those on either side can" {
  start_ring
  nbd <<'EOF'
from nbdring import *
h = connect()
r = Ring2(h)
start, end = 512, r.tail
live = h.pread(end - start, r.at(start))
for at in start, start + 64, end - 1:
    refused(EINVAL, h.pwrite, bytes([live[at - start] ^ 1]), r.at(at))
refused(EINVAL, h.pwrite, b"\1" * 2, r.at(start - 1))
refused(EINVAL, h.pwrite, b"\1" * 2, r.at(end - 1))
refused(EINVAL, h.zero, 64, r.at(start))
refused(EINVAL, h.zero, r.capacity, r.at(0), FAST)
refused(EINVAL, h.trim, 1, r.at(end - 1))
h.pwrite(live, r.at(start))
h.pwrite(b"x", r.at(start - 1))
h.pwrite(b"x", r.at(end))
h.zero(r.capacity - end, r.at(end))
h.trim(r.capacity - end, r.at(end))
assert h.pread(end - start, r.at(start)) == live
EOF
  export_is items 2
}

@test "a record is the next one of its side" {
  start_ring
  nbd <<'EOF'
from nbdring import *
h = connect()
r = Ring2(h)
P = r.PRODUCER
counts = r.get(P)[0]
fields = r.get(P)[1]
# Nobody has claimed it.
refused(EINVAL, r.put, P, why="detached")
for changes in ({"epoch": fields["epoch"] + 2},
                {"epoch": fields["epoch"]}, {"sequence": 2},
                {"flags": 1}, {"flags": 16},
                {"frame_epoch": fields["frame_epoch"] + 2},
                {"position": 0, "since": 0, "chain": 0}, {"chain": 1},
                {"position": 1 << 62, "since": 1 << 62},
                {"suspend": 1}):
    def claim():
        r.claim(P, **changes)
    refused(EINVAL, claim)
r.claim(P)
refused(EINVAL, lambda: r.put(P, sequence=1))
EOF
  nbd <<'EOF'
from nbdring import *
r = Ring2(connect())
P = r.PRODUCER
r.claim(P)
copy = r.get(P)[0]
refused(EINVAL, lambda: r.put(P, copy=copy), why="the copy that counts")
refused(EINVAL, lambda: r.put(P, sequence=r.get(P)[1]["sequence"] + 2))
refused(EINVAL, lambda: r.put(P, position=0, chain=0), why="go back")
refused(EINVAL, lambda: r.put(P, position=r.tail + 512))
refused(EINVAL, lambda: r.put(P, since=0))
# A CRC that is wrong, and the wrong kind.
offset, p = r.encode(P)
refused(EINVAL, r.h.pwrite, p[:508] + b"\0\0\0\0" + p[512:], offset)
refused(EINVAL, r.h.pwrite, r.encode(r.CONTROL)[1], offset)
r.put(P)
r.put(P, flags=1)
EOF
}

@test "a frame is the next valid one, in free space, by who claimed" {
  start_ring
  nbd <<'EOF'
from nbdring import *
r = Ring2(connect())
refused(EINVAL, r.append, [b"x"], why="claimed")
r.claim(r.PRODUCER)
epoch = r.get(r.PRODUCER)[1]["frame_epoch"]
for changes in ({"epoch": epoch - 1}, {"epoch": epoch + 1}, {"chain": 1},
                {"flags": 3}, {"area_crc": 1}, {"count": 2}, {"count": 0},
                {"position": r.tail + 512}, {"length": 1 << 40}):
    def append():
        r.append([b"x"], **changes)
    refused(EINVAL, append)
def early():
    r.write(r.tail + 512, r.encode_frame([b"y"], position=r.tail + 512))
refused(EINVAL, early)
r.append([b"x"])
# To the last byte of free space, and no further.
free = r.capacity - (r.tail - 512)
big = r.encode_frame([b"z" * (free - 68)])
assert len(big) == free
refused(EINVAL, lambda: r.write(r.tail, r.encode_frame([b"z" * free])))
r.append([b"z" * (free - 68)])
assert status()["free"] == 0
EOF
  export_is items 4
}

@test "a consumer goes forward, over frames that are exposed" {
  start_ring
  nbd <<'EOF'
from nbdring import *
r = Ring2(connect())
C = r.CONSUMER
refused(EINVAL, r.put, C, why="detached")
refused(EINVAL, lambda: r.claim(C, position=1024, frame=1024))
r.claim(C)
for position in 0, 512 + 8, r.tail + 512:
    refused(EINVAL, lambda: r.put(C, position=position))
refused(EINVAL, lambda: r.put(C, position=1024, frame=1024, chain=1))
refused(EINVAL, lambda: r.put(C, flags=0), why="enabled")
r.free(1024)
refused(EINVAL, r.free, 512, why="back")
r.free(r.tail)
EOF
  export_is items 0
}
