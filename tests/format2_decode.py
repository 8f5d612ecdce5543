#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Read a ring of format 2 as docs/format2.md says it, and print what is there
as one JSON document.  It shares nothing with the library: where the two do not
agree, one of them or the page is wrong.

usage: format2_decode.py [--consumer=K|--consumer=all] IMAGE

'items' are what consumer K (0) has not read; with 'all' a list of such lists,
which is empty for one that is disabled.

Exit status: 0, 1 when errors were found, 2 when there is no ring to decode.
"""

import binascii
import json
import os
import struct
import sys
import time

SLOT = 4096
CONTENT = 512
CLEAN, ENABLED, SUSPEND, UNFLUSHED = 1, 2, 4, 8
PRODUCER, CONTROL, CONSUMER = 0, 1, 2
EXPOSED = 1
HEADER = 64


def crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82f63b78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = crc_table()


def crc32c(*parts):
    table = TABLE
    crc = 0xffffffff
    for part in parts:
        for byte in part:
            crc = table[(crc ^ byte) & 0xff] ^ crc >> 8
    return crc ^ 0xffffffff


def get(fmt, data, offset):
    return struct.unpack_from("<" + fmt, data, offset)[0]


def text(data, offset, size):
    return data[offset:offset + size].split(b"\0")[0].decode("utf-8",
                                                             "replace")


def uuid_text(p):
    digits = p.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20],
                     digits[20:]))


def uuid_bytes(s):
    return bytes.fromhex(s["uuid"].replace("-", ""))


def when(ns):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // 10**9))


class NoRing(Exception):
    pass


class Image:
    def __init__(self, name):
        self.file = open(name, "rb")
        self.size = self.file.seek(0, os.SEEK_END)

    def read(self, offset, size):
        """Zeros stand for what the image does not have."""
        self.file.seek(offset)
        return self.file.read(size).ljust(size, b"\0")


# Superblock ------------------------------------------------------------

def decode_super(p):
    ring_uuid = p[64:80]
    if (p[:8] != b"blkring2" or get("I", p, 8) != 2 or
            get("I", p, 508) != crc32c(ring_uuid, p[:508])):
        return None
    return {
        "incompat": get("I", p, 12),
        "ro-compat": get("I", p, 16),
        "compat": get("I", p, 20),
        "block-size": get("I", p, 24),
        "consumers": get("I", p, 28),
        "data-offset": get("Q", p, 32),
        "capacity": get("Q", p, 40),
        "largest-frame": get("Q", p, 48),
        "created": get("Q", p, 56),
        "uuid": uuid_text(ring_uuid),
        "label": text(p, 80, 64),
    }


def check_super(s, size):
    block = s["block-size"]
    if s["incompat"]:
        return "there are features that are not known"
    if block not in [512 << n for n in range(8)]:
        return "the block size is impossible"
    if not 1 <= s["consumers"] <= 64:
        return "the number of consumers is impossible"
    if (s["data-offset"] % block or s["data-offset"] >= 1 << 62 or
            s["data-offset"] < SLOT * (6 + 2 * s["consumers"])):
        return "the data offset is impossible"
    if not block <= s["capacity"] < 1 << 61 or s["capacity"] % block:
        return "the capacity is impossible"
    if (s["largest-frame"] % block or
            not block <= s["largest-frame"] <= min(s["capacity"], 1 << 30)):
        return "the largest frame is impossible"
    if s["data-offset"] + s["capacity"] > size:
        return "the device has shrunk"
    return None


def read_super(image, errors):
    copies = [image.read(slot * SLOT, CONTENT) for slot in (0, 1)]
    if copies[0].startswith(b"mirage shared-block-device 1.0"):
        raise NoRing("this is a ring of format 1")
    decoded = [decode_super(p) for p in copies]
    for slot in (0, 1):
        if decoded[slot] is None:
            errors.append(f"the superblock at byte {slot * SLOT} is not valid")
    if decoded[0] is None and decoded[1] is None:
        if any(p[:8] == b"blkring2" for p in copies):
            raise NoRing("both superblocks are damaged")
        raise NoRing("this is no ring of format 2")
    used = 0 if decoded[0] else 1
    wrong = check_super(decoded[used], image.size)
    if wrong:
        raise NoRing(wrong)
    return {"valid": [d is not None for d in decoded], "counts": used,
            **decoded[used]}


# Records ---------------------------------------------------------------

def decode_record(p, kind, ring_uuid):
    if (p[:4] != b"BRRC" or get("I", p, 4) != kind or
            get("I", p, 508) != crc32c(ring_uuid, p[:508])):
        return None
    r = {
        "flags": get("I", p, 8),
        "epoch": get("Q", p, 16),
        "sequence": get("Q", p, 24),
        "time": get("Q", p, 72),
        "process": get("Q", p, 80),
        "start-time": get("Q", p, 88),
        "pid-namespace": get("Q", p, 96),
        "boot-id": p[104:120].hex(),
        "machine-id": p[440:456].hex(),
        "host": text(p, 120, 64),
        "queue": text(p, 184, 128),
        "client": text(p, 312, 128),
    }
    if kind == PRODUCER:
        r["published"] = get("Q", p, 32)
        r["frame-epoch"] = get("Q", p, 48)
        r["since"] = get("Q", p, 56)
    if kind >= CONSUMER:
        r["position"] = get("Q", p, 32)
        r["frame"] = get("Q", p, 40)
    if kind == CONTROL:
        r["suspend"] = bool(r["flags"] & SUSPEND)
    else:
        r["chain"] = get("I", p, 12)
        r["clean"] = bool(r["flags"] & CLEAN)
    if kind <= CONTROL:
        r["request"] = get("Q", p, 64)
    else:
        r["enabled"] = bool(r["flags"] & ENABLED)
    return r


def read_record(image, kind, ring_uuid, errors):
    decoded = []
    for copy in (0, 1):
        offset = SLOT * (2 + 2 * kind + copy)
        decoded.append(decode_record(image.read(offset, CONTENT), kind,
                                     ring_uuid))
        if decoded[copy] is None:
            errors.append(f"the record at byte {offset} is not valid")
    if decoded[0] is None and decoded[1] is None:
        raise NoRing(f"both copies of record {kind} are damaged")
    rank = [(d["epoch"], d["sequence"]) if d else (-1, -1) for d in decoded]
    counts = 1 if rank[1] > rank[0] else 0
    return {"valid": [d is not None for d in decoded], "counts": counts,
            **decoded[counts]}


def check_records(s, producer, consumers, errors):
    published = producer["published"]
    if (published % s["block-size"] or producer["since"] > published or
            published > (1 << 63) - 1 - 2 * s["capacity"]):
        errors.append("the producer's record has impossible positions")
    for k, c in enumerate(consumers):
        if (c["frame"] % s["block-size"] or c["position"] % 4 or
                not 0 <= c["position"] - c["frame"] < s["largest-frame"]):
            errors.append(f"consumer {k} has impossible positions")
        elif c["enabled"] and (published - c["frame"] > s["capacity"] or
                               c["frame"] - published > 4 * s["capacity"]):
            errors.append(f"consumer {k} is too far from the producer")


# Frames ----------------------------------------------------------------

class Stream:
    def __init__(self, image, s):
        self.image = image
        self.offset = s["data-offset"]
        self.capacity = s["capacity"]
        self.block = s["block-size"]
        self.largest = s["largest-frame"]
        self.uuid = uuid_bytes(s)

    def read(self, position, size):
        at = position % self.capacity
        first = min(size, self.capacity - at)
        data = self.image.read(self.offset + at, first)
        if first < size:
            data += self.image.read(self.offset, size - first)
        return data

    def header(self, position):
        """The header at a position, if it is one of this place."""
        p = self.read(position, HEADER)
        if p[:4] != b"BRFR" or get("I", p, 60) != crc32c(self.uuid, p[:60]):
            return None
        f = {
            "flags": get("I", p, 4),
            "position": get("Q", p, 8),
            "epoch": get("Q", p, 16),
            "chain": get("I", p, 24),
            "items": get("I", p, 28),
            "length": get("Q", p, 32),
            "area-crc": get("I", p, 48),
            "crc": get("I", p, 60),
        }
        if (f["position"] != position or f["items"] < 1 or f["length"] % 4 or
                f["length"] < 4 * f["items"] or
                f["length"] > self.largest - HEADER):
            return None
        size = HEADER + f["length"]
        f["end"] = position + size + -size % self.block
        return f

    def frame(self, position, chain):
        """The valid frame at a position, with its item area, or None."""
        f = self.header(position)
        if f is None or f["chain"] != chain:
            return None
        f["area"] = self.read(position + HEADER, f["length"])
        return f if crc32c(self.uuid, f["area"]) == f["area-crc"] else None


def items_of(f, errors):
    items = []
    offset = 0
    for _ in range(f["items"]):
        if offset + 4 > f["length"]:
            break
        length = get("I", f["area"], offset)
        after = offset + 4 + length + -length % 4
        if after > f["length"]:
            break
        items.append({
            "position": f["position"] + (HEADER + offset if offset else 0),
            "next-position": f["end"] if after == f["length"]
            else f["position"] + HEADER + after,
            "length": length,
            "data": f["area"][offset + 4:offset + 4 + length],
        })
        offset = after
    if len(items) != f["items"] or offset != f["length"]:
        errors.append(f"the items of the frame at position {f['position']} "
                      "do not fill it")
    return items


class Walk:
    """All frames from the oldest that an enabled consumer needs."""

    def __init__(self, stream, producer, consumers, errors):
        enabled = [c for c in consumers if c["enabled"]]
        lowest = min(enabled, key=lambda c: c["frame"], default=None)
        self.start = lowest["frame"] if lowest else producer["published"]
        chain = (lowest or producer)["chain"]
        published = producer["published"]
        self.chains = {self.start: chain}   # at each boundary of frames
        self.items = []                     # the visible ones
        self.end = self.visible = self.start
        visible = True
        while True:
            f = stream.frame(self.end, chain)
            if f is None:
                break
            visible = visible and (bool(f["flags"] & EXPOSED) or
                                   f["end"] <= published)
            if visible:
                self.items += items_of(f, errors)
                self.visible = f["end"]
            self.end = f["end"]
            chain = f["crc"]
            self.chains[self.end] = chain
        self.check(stream, producer, enabled, errors)

    def check(self, stream, producer, enabled, errors):
        published = producer["published"]
        if self.end < published:
            errors.append(f"there is no valid frame at position {self.end}, "
                          f"but published is {published}")
        elif published >= self.start and \
                self.chains.get(published) != producer["chain"]:
            errors.append(f"published, {published}, is not where a frame ends,"
                          " or has another chain")
        starts = {item["position"] for item in self.items} | {self.visible}
        for c in enabled:
            if self.chains.get(c["frame"]) != c["chain"] or \
                    c["position"] not in starts:
                errors.append(f"a consumer is at position {c['position']}, "
                              "where no item begins")
        at = self.end + stream.block
        limit = self.end + min(stream.largest + stream.block, stream.capacity)
        while at < limit:
            f = stream.header(at)
            if f and f["flags"] & EXPOSED and \
                    f["epoch"] == producer["frame-epoch"]:
                errors.append(f"there is no valid frame at position {self.end}"
                              f", but one that came later at {at}")
                break
            at += stream.block


# What it comes to ------------------------------------------------------

def state_of(producer, control):
    acknowledged = producer["request"] == control["request"]
    if control["suspend"]:
        return "suspended" if acknowledged else "suspend-requested"
    return "running" if acknowledged else "resume-requested"


def owner(r):
    return {"queue": r["queue"], "client": r["client"], "host": r["host"],
            "process": r["process"], "since": when(r["time"]),
            "clean": r["clean"]}


def consumer_info(k, c, walk):
    info = {"consumer": k, "enabled": c["enabled"], **owner(c)}
    if c["enabled"]:
        info["position"] = c["position"]
        info["items"] = sum(item["position"] >= c["position"]
                            for item in walk.items)
        info["bytes"] = max(0, walk.visible - c["position"])
    return info


def info_of(s, producer, control, consumers, walk):
    """What info says of the whole ring, under the same names."""
    enabled = [c["position"] for c in consumers if c["enabled"]]
    behind = min(enabled, default=producer["published"])
    lengths = [item["length"] for item in walk.items
               if item["position"] >= behind]
    flags = producer["flags"]
    for c in consumers:
        flags |= c["flags"]
    return {
        "format": "2",
        "capacity": s["capacity"],
        "producer": walk.visible,
        "consumer": behind,
        "used": walk.end - walk.start,
        "free": s["capacity"] - (walk.end - walk.start),
        "items": len(lengths),
        "unread-bytes": sum(lengths),
        "smallest-unread": min(lengths, default=0),
        "largest-unread": max(lengths, default=0),
        "largest-item": s["largest-frame"] - HEADER - 4,
        "suspend": state_of(producer, control),
        "uuid": s["uuid"],
        "features": {
            "incompatible": s["incompat"],
            "read-compatible": s["ro-compat"],
            "compatible": s["compat"],
        },
        "label": s["label"],
        "block-size": s["block-size"],
        "largest-frame": s["largest-frame"],
        "created": when(s["created"]),
        "epoch": producer["epoch"],
        "staged": walk.end - walk.visible,
        "unflushed": bool(flags & UNFLUSHED),
        "producer-owner": owner(producer),
        "consumers": [consumer_info(k, c, walk)
                      for k, c in enumerate(consumers)],
    }


def unread(walk, c):
    return [{**item,
             "data": binascii.b2a_base64(item["data"], newline=False).decode()}
            for item in walk.items
            if c["enabled"] and item["position"] >= c["position"]]


def decode(image, index, errors):
    """index: None for all consumers."""
    s = read_super(image, errors)
    if index is not None and index >= s["consumers"]:
        raise NoRing(f"there is no consumer {index}")
    ring_uuid = uuid_bytes(s)
    records = [read_record(image, kind, ring_uuid, errors)
               for kind in range(CONSUMER + s["consumers"])]
    producer, control, *consumers = records
    check_records(s, producer, consumers, errors)
    walk = Walk(Stream(image, s), producer, consumers, errors)
    return {
        "superblock": s,
        "producer": producer,
        "control": control,
        "consumers": consumers,
        "tail": walk.visible,
        "staged": walk.end - walk.visible,
        "info": info_of(s, producer, control, consumers, walk),
        "consumer": "all" if index is None else index,
        "items": [unread(walk, c) for c in consumers] if index is None
        else unread(walk, consumers[index]),
    }


def arguments(argv):
    """The consumer, None for all, and the image."""
    index = 0
    if argv and argv[0].startswith("--consumer="):
        word = argv.pop(0)[len("--consumer="):]
        if word != "all" and not word.isdecimal():
            sys.exit("format2_decode.py: --consumer=K: a number, or all")
        index = None if word == "all" else int(word)
    if len(argv) != 1:
        sys.exit("usage: format2_decode.py [--consumer=K|--consumer=all] "
                 "IMAGE")
    return index, argv[0]


def main():
    assert crc32c(b"123456789") == 0xe3069283
    index, name = arguments(sys.argv[1:])
    errors = []
    status = 0
    try:
        result = decode(Image(name), index, errors)
    except NoRing as e:
        errors.append(str(e))
        result = {}
        status = 2
    json.dump({**result, "errors": errors}, sys.stdout)
    print()
    return status or (1 if errors else 0)


if __name__ == "__main__":
    sys.exit(main())
