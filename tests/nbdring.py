# SPDX-License-Identifier: BSD-3-Clause
"""Rings through an NBD server by hand: nothing but pread and pwrite of what
docs/format1.md and docs/format2.md say, and nothing of the library."""

import errno
import json
import os
import struct

import nbd

import format2_decode as f2
from format2_decode import crc32c

EINVAL, EPERM = errno.EINVAL, errno.EPERM
FUA = nbd.CMD_FLAG_FUA
FAST = nbd.CMD_FLAG_FAST_ZERO
NO_HOLE = nbd.CMD_FLAG_NO_HOLE


def connect(export="", socket="sock"):
    h = nbd.NBD()
    h.add_meta_context("base:allocation")
    h.set_export_name(export)
    # What the server says to a bad request is what is tested.
    h.set_strict_mode(0)
    h.connect_unix(socket)
    return h


def status():
    h = connect("status")
    return json.loads(h.pread(h.get_size(), 0))


def log_lines():
    with open("log", encoding="utf-8") as f:
        return [line for line in f if " refused" in line]


def file_content(name="ring"):
    with open(name, "rb") as f:
        return f.read()


def refused(error, call, *args, why=""):
    """It fails with this error and changes nothing; one line in the log and
    the status say why.  Fast zero can also be what the server cannot do."""
    before, lines, count = file_content(), len(log_lines()), \
        status()["rejected"]["count"]
    try:
        call(*args)
    except nbd.Error as e:
        if FAST in args and e.errnum == errno.ENOTSUP:
            assert file_content() == before
            return
        assert e.errnum == error, (e, log_lines()[-1:])
    else:
        raise AssertionError(f"{args} was let in")
    assert file_content() == before, "it was refused, and changed the ring"
    now = log_lines()
    assert len(now) == lines + 1, now[lines:]
    assert why in now[-1], now[-1]
    rejected = status()["rejected"]
    assert rejected["count"] == count + 1
    assert why in rejected["reason"], rejected


def padded(item):
    return struct.pack("<I", len(item)) + item + bytes(-len(item) % 4)


class Ring1:
    """Format 1, sectors of 512 bytes."""
    SECTOR = 512
    DATA = 3 * SECTOR

    def __init__(self, h):
        self.h = h
        self.capacity = h.get_size() - self.DATA
        assert h.pread(30, 0) == b"mirage shared-block-device 1.0"

    def pointer(self, sector):
        position, flag = struct.unpack(
            "<QB", self.h.pread(self.SECTOR, sector * self.SECTOR)[:9])
        assert flag in (1, 2), flag
        return position, flag

    def pointers(self):
        """producer, suspend_ack, consumer, suspend"""
        return self.pointer(1) + self.pointer(2)

    def set_pointer(self, sector, position, flag=None, text=None):
        """As docs/format1.md has it: the whole sector, with a text."""
        if flag is None:
            flag = self.pointer(sector)[1]
        if text is None:
            text = "by hand; {} = {}; {} = {}".format(
                ("producer", "consumer")[sector - 1], position,
                ("suspend_ack", "suspend")[sector - 1],
                "true" if flag == 1 else "false")
        p = struct.pack("<QB", position, flag).ljust(128, b"\0")
        self.h.pwrite((p + text.encode()).ljust(self.SECTOR, b"\0"),
                      sector * self.SECTOR)

    def set_producer(self, position, flag=None):
        self.set_pointer(1, position, flag)

    def set_consumer(self, position, flag=None):
        self.set_pointer(2, position, flag)

    def at(self, position):
        return self.DATA + position % self.capacity

    def read(self, position, count):
        first = min(count, self.capacity - position % self.capacity)
        p = self.h.pread(first, self.at(position)) if count else b""
        return p + self.h.pread(count - first, self.DATA) \
            if count > first else p

    def push(self, items, position=None):
        """Write them behind the producer; where they end."""
        if position is None:
            position = self.pointer(1)[0]
        for item in items:
            data = padded(item)
            while data:
                start = position - position % self.SECTOR
                n = min(len(data), start + self.SECTOR - position)
                p = bytearray(self.h.pread(self.SECTOR, self.at(start)))
                p[position - start:position - start + n] = data[:n]
                self.h.pwrite(p, self.at(start))
                position += n
                data = data[n:]
        self.h.flush()
        return position

    def append(self, items):
        self.set_producer(self.push(items))

    def pop(self):
        """All that is unread, and free it."""
        producer, _, position, _ = self.pointers()
        items = []
        while position < producer:
            length, = struct.unpack("<I", self.read(position, 4))
            items.append(self.read(position + 4, length))
            position += 4 + length + -length % 4
        self.set_consumer(position)
        return items


class Export:
    """What format2_decode reads."""
    def __init__(self, h):
        self.h = h
        self.size = h.get_size()

    def read(self, offset, size):
        n = max(0, min(size, self.size - offset))
        return bytes(self.h.pread(n, offset)).ljust(size, b"\0") if n else \
            bytes(size)


class Ring2:
    """Format 2.  Records are taken from the ring, and changed."""
    PRODUCER, CONTROL, CONSUMER = 0, 1, 2
    FIELDS = {"flags": ("I", 8), "chain": ("I", 12), "epoch": ("Q", 16),
              "sequence": ("Q", 24), "position": ("Q", 32),
              "frame": ("Q", 40), "frame_epoch": ("Q", 48),
              "since": ("Q", 56), "suspend": ("Q", 64)}

    def __init__(self, h):
        self.h = h
        self.image = Export(h)
        self.super = f2.read_super(self.image, [])
        self.uuid = f2.uuid_bytes(self.super)
        self.block = self.super["block-size"]
        self.capacity = self.super["capacity"]
        self.data = self.super["data-offset"]
        self.look()

    def look(self):
        """Where the stream ends."""
        records = [f2.read_record(self.image, k, self.uuid, [])
                   for k in range(2 + self.super["consumers"])]
        walk = f2.Walk(f2.Stream(self.image, self.super), records[0],
                       records[2:], [])
        self.tail, self.items = walk.visible, walk.items
        self.chains = walk.chains

    def slot(self, kind, copy):
        return 4096 * (2 + 2 * kind + copy)

    def get(self, kind):
        """The record that counts: copy and fields."""
        copies = [self.h.pread(512, self.slot(kind, c)) for c in (0, 1)]
        rank = [struct.unpack_from("<QQ", p, 16) for p in copies]
        copy = 1 if rank[1] > rank[0] else 0
        return copy, {name: struct.unpack_from("<" + t, copies[copy], at)[0]
                      for name, (t, at) in self.FIELDS.items()}

    def encode(self, kind, copy=None, **changes):
        """The next record of that kind: where, and 4096 bytes."""
        old, fields = self.get(kind)
        fields["sequence"] += 1
        fields.update(changes)
        p = bytearray(self.h.pread(512, self.slot(kind, old)))
        for name, (t, at) in self.FIELDS.items():
            struct.pack_into("<" + t, p, at, fields[name])
        struct.pack_into("<I", p, 508, crc32c(self.uuid, p[:508]))
        return self.slot(kind, 1 - old if copy is None else copy), \
            bytes(p).ljust(4096, b"\0")

    def put(self, kind, copy=None, **changes):
        offset, p = self.encode(kind, copy, **changes)
        self.h.pwrite(p, offset)

    def claim_fields(self, kind):
        fields = self.get(kind)[1]
        changes = {"epoch": fields["epoch"] + 1, "sequence": 1,
                   "flags": fields["flags"] & ~f2.CLEAN}
        if kind == self.PRODUCER:
            self.look()
            changes.update(frame_epoch=fields["frame_epoch"] + 1,
                           position=self.tail, since=self.tail,
                           chain=self.chains[self.tail])
        return changes

    def claim(self, kind, **changes):
        self.put(kind, **{**self.claim_fields(kind), **changes})

    def encode_frame(self, items, **changes):
        area = b"".join(map(padded, items))
        f = {"flags": f2.EXPOSED, "position": self.tail,
             "epoch": self.get(self.PRODUCER)[1]["frame_epoch"],
             "chain": self.chains[self.tail], "count": len(items),
             "length": len(area), "area_crc": crc32c(self.uuid, area)}
        f.update(changes)
        p = struct.pack("<4sIQQIIQQI8x", b"BRFR", f["flags"], f["position"],
                        f["epoch"], f["chain"], f["count"], f["length"], 0,
                        f["area_crc"])
        assert len(p) == 60, len(p)
        p += struct.pack("<I", crc32c(self.uuid, p)) + area
        return p + bytes(-len(p) % self.block)

    def at(self, position):
        return self.data + position % self.capacity

    def write(self, position, data):
        first = min(len(data), self.capacity - position % self.capacity)
        self.h.pwrite(data[:first], self.at(position))
        if first < len(data):
            self.h.pwrite(data[first:], self.data)

    def append(self, items, **changes):
        p = self.encode_frame(items, **changes)
        self.write(self.tail, p)
        chain, = struct.unpack_from("<I", p, 60)
        self.tail += len(p)
        self.chains[self.tail] = chain

    def free(self, position, k=0):
        """The consumer's record to where a frame begins."""
        self.put(self.CONSUMER + k, position=position, frame=position,
                 chain=self.chains[position])


def ring(h):
    return Ring1(h) if os.environ["format"] == "1" else Ring2(h)
