#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Judge what reached a disk, by what qemu's blklogwrites wrote down (the format
of Linux's dm-log-writes), and by when which call returned.

usage: witness.py FORMAT BEFORE LOG CALLS EACH

BEFORE is what the disk held, and EACH of how many prefixes one is looked at.
Of the order of writes and flushes: that it is the contract's
(docs/durability.md).  Of each prefix of the log that ends with a flush or a
write with FUA: that blkring-img check finds a valid ring in it, with each item
in it whose storing had returned, and none whose freeing had.  Nothing of the
library is used to judge the order.
"""

import base64
import json
import struct
import subprocess
import sys

S = 512
FLUSH, FUA, DISCARD = 1, 2, 4
MAGIC = 0x6a736677736872
SLOT = 4096


def fail(text):
    sys.exit("witness: " + text)


def read_log(name):
    """[(offset, data, flags, end of the entry in the log)]"""
    with open(name, "rb") as f:
        log = f.read()
    magic, version, nr, size = struct.unpack_from("<QQQI", log)
    if magic != MAGIC or version != 1 or size != S:
        fail("this is no log of writes in sectors of 512 bytes")
    at, entries = S, []
    for _ in range(nr):
        sector, sectors, flags, _ = struct.unpack_from("<QQQQ", log, at)
        at += S
        data = b""
        if not flags & DISCARD:
            data = log[at:at + sectors * S]
            at += sectors * S
        entries.append((sector * S, data, flags, at))
    if at > len(log):
        fail("the log is cut off")
    return entries


def get(fmt, data, offset):
    return struct.unpack_from("<" + fmt, data, offset)[0]


class Disk:
    """What was written, what of it is durable, and what the contract says of
    the next write."""

    def __init__(self, before):
        with open(before, "rb") as f:
            self.content = bytearray(f.read())
        self.durable = bytearray(self.content)
        self.pending = []      # (offset, length)
        self.flushes = 0

    def write(self, offset, data, flags):
        self.content[offset:offset + len(data)] = data
        if flags & FUA:
            self.durable[offset:offset + len(data)] = data
        else:
            self.pending.append((offset, len(data)))

    def flush(self):
        for offset, n in self.pending:
            self.durable[offset:offset + n] = self.content[offset:offset + n]
        self.pending = []
        self.flushes += 1

    def is_pending(self, start, end):
        return any(o < end and o + n > start for o, n in self.pending)


class Order1:
    """Format 1: the rules for a write that is about to be made."""

    def __init__(self, disk):
        self.d = disk
        self.data = 3 * S
        self.capacity = len(disk.content) - self.data
        self.pointers = 0

    def exists(self):
        return self.d.content[:7] == b"mirage "

    def live(self, consumer, producer):
        return {self.data + p % self.capacity
                for p in range(consumer, producer)}

    def check(self, offset, data):
        if not self.exists():
            return
        d = self.d
        if offset == S:
            if d.is_pending(self.data, len(d.content)):
                fail("the producer's pointer before its data are durable")
            if get("Q", data, 0) != get("Q", d.content, S):
                self.pointers += 1
        elif offset == 2 * S:
            if get("Q", data, 0) > get("Q", d.durable, S):
                fail("the consumer's pointer ahead of the producer's that is "
                     "durable")
            if get("Q", data, 0) != get("Q", d.content, 2 * S):
                self.pointers += 1
        elif offset >= self.data:
            # What a consumer may go back to, if the power goes now.
            live = self.live(get("Q", d.durable, 2 * S),
                             get("Q", d.content, S))
            for i, byte in enumerate(data):
                if offset + i in live and d.content[offset + i] != byte:
                    fail("byte %d is overwritten while it is unread"
                         % (offset + i))


class Order2:
    """Format 2, of one consumer."""

    def __init__(self, disk):
        self.d = disk
        self.data = 32768
        self.pointers = 0

    def exists(self):
        return self.d.content[:8] == b"blkring2"

    def record(self, disk, slot):
        """The copy that counts."""
        copies = [disk[(slot + i) * SLOT:][:S] for i in (0, 1)]
        return max(copies, key=lambda r: (get("Q", r, 16), get("Q", r, 24)))

    def check(self, offset, data):
        if not self.exists():
            return
        d = self.d
        capacity = get("Q", d.content, 40)
        if offset >= self.data:
            frame = self.record(d.durable, 6)
            start = get("Q", frame, 40)
            self.check_frame(offset, data, start, capacity)
        elif offset >= 2 * SLOT:
            slot = offset // SLOT
            other = (slot ^ 1) * SLOT
            if d.is_pending(other, other + S):
                fail("both copies of a record under way")
            before = self.record(d.content, slot & ~1)
            if slot >= 6 and get("Q", data, 32) != get("Q", before, 32):
                if d.pending:
                    fail("the consumer's record before what it passes is "
                         "durable")
                self.pointers += 1
            if slot < 4 and d.is_pending(self.data, len(d.content)):
                fail("the producer's record before its frames are durable")

    def check_frame(self, offset, data, start, capacity):
        d = self.d
        for o, n in d.pending:
            # The other part of a frame that goes around the end.
            ends = {self.data, self.data + capacity}
            if o >= self.data and not (ends <= {offset, o, o + n,
                                                offset + len(data)}):
                fail("a frame before the one in front of it is durable")
        if data[:4] != b"BRFR":
            return
        position = get("Q", data, 8)
        if self.data + position % capacity != offset:
            fail("a frame at a position that is not its own")
        if position + len(data) > start + capacity:
            fail("the frame at %d overwrites what is unread from %d on"
                 % (position, start))


def items(image):
    r = subprocess.run(["blkring-img", "dump", "--output=json", image],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if r.returncode != 0:
        fail("dump: " + r.stderr.decode())
    out = []
    for line in r.stdout.decode().splitlines():
        data = base64.b64decode(json.loads(line)["data"])
        number, filling = data.split(b":", 1)
        if filling.strip(bytes([97 + int(number) % 26])):
            fail("item %d is not what was stored" % int(number))
        out.append(int(number))
    return out


def bounds(calls, kind, at):
    """What had returned by then, and what may have been done."""
    sure = maybe = 0
    for begin, what, number, length in calls:
        if what != kind:
            continue
        if begin and length < at:
            maybe = number
        if not begin and length <= at:
            sure = number
    return sure, max(sure, maybe)


def check_image(image, calls, at):
    r = subprocess.run(["blkring-img", "check", image],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    created = any(not b and k == "created" and n <= at
                  for b, k, _, n in calls)
    if not created:
        return
    if r.returncode not in (0, 3):
        fail("check of the first %d bytes of the log: %s%s"
             % (at, r.stdout.decode(), r.stderr.decode()))
    found = items(image)
    stored, may_be_stored = bounds(calls, "stored", at)
    freed, may_be_freed = bounds(calls, "freed", at)
    first = found[0] if found else None
    if found != list(range(first or 0, (first or 0) + len(found))):
        fail("items out of order: %s" % found)
    end = found[-1] + 1 if found else None
    if found and not (freed <= first <= may_be_freed and
                      stored <= end <= may_be_stored):
        fail("items %d to %d, and it should be %d-%d to %d-%d"
             % (first, end, freed, may_be_freed, stored, may_be_stored))
    if not found and may_be_freed < stored:
        fail("no items, and it should be %d to %d" % (freed, stored))


def read_calls(name):
    calls = []
    for line in open(name):
        words = line.split()
        begin = words[0] == "begin"
        calls.append((begin, words[-3], int(words[-2]), int(words[-1])))
    return calls


def main():
    number, before, log, calls, each = sys.argv[1:]
    entries, calls = read_log(log), read_calls(calls)
    disk = Disk(before)
    order = (Order1 if number == "1" else Order2)(disk)
    prefixes = writes = 0
    for offset, data, flags, end in entries:
        if data:
            order.check(offset, data)
            disk.write(offset, data, flags)
            writes += 1
        if flags & FLUSH:
            disk.flush()
        if flags & (FLUSH | FUA):
            prefixes += 1
        if flags & (FLUSH | FUA) and prefixes % int(each) == 0:
            with open("image", "wb") as f:
                f.write(disk.content)
            check_image("image", calls, end)
            # And what of it the power leaves.
            if disk.durable != disk.content:
                with open("image", "wb") as f:
                    f.write(disk.durable)
                check_image("image", calls, end)
    if prefixes < 50 or order.pointers < 20 or \
       bounds(calls, "stored", 1 << 62)[0] < 60:
        fail("too little happened: %d prefixes, %d pointers"
             % (prefixes, order.pointers))
    print("%d writes, %d flushes, %d prefixes are valid rings"
          % (writes, disk.flushes, prefixes // int(each)))


main()
