# SPDX-License-Identifier: BSD-3-Clause
#
# For tests of format 2: to change what is on disk, as docs/format2.md has it.

needs_python () {
  command -v python3 >/dev/null || skip "python3 is missing"
}

# One bit of the byte at $1 is wrong.
flip () {
  perl -e 'open my $f, "+<", "ring" or die; seek $f, $ARGV[0], 0;
    read $f, my $c, 1; seek $f, $ARGV[0], 0; print $f chr (1 ^ ord $c)' "$1"
}

# The CRC of the $2 bytes at each $1, $3 ..., which stands behind them, is
# right again: seal FILE LENGTH OFFSET...
seal () {
  python3 -B -S - "$@" <<'EOF'
import os, sys
sys.path.insert(0, os.path.join(os.environ["abs_top_srcdir"], "tests"))
from format2_decode import crc32c
length = int(sys.argv[2])
with open(sys.argv[1], "r+b") as f:
    f.seek(64)
    uuid = f.read(16)
    for at in map(int, sys.argv[3:]):
        f.seek(at)
        crc = crc32c(uuid, f.read(length))
        f.seek(at + length)
        f.write(crc.to_bytes(4, "little"))
EOF
}

# Make the exposed frame at this byte of the ring a staged one.
stage () {
  [ "$(od -An -c -N 5 -j "$1" ring | tr -d ' ')" = 'BRFR001' ] ||
    fail "there is no exposed frame at byte $1"
  poke ring $(($1 + 4)) '\0'
  seal ring 60 "$1"
}

# The records of kind 0 (producer), 1 (control), 2 + K (consumer): both copies
# begin here.
record () {
  echo $((8192 * (1 + $1)))
}

# Change them, each at once: forge KIND OFFSET BYTES...
forge () {
  local at copy
  at=$(record "$1")
  shift
  cp ring forged
  while [ $# -gt 0 ]; do
    poke forged $((at + $1)) "$2"
    poke forged $((at + 4096 + $1)) "$2"
    shift 2
  done
  seal forged 508 "$at" $((at + 4096))
  for copy in "$at" $((at + 4096)); do
    dd if=forged of=ring bs=512 skip=$((copy / 512)) seek=$((copy / 512)) \
      count=1 conv=notrunc status=none
  done
}

# The owner is on another host, and nobody knows whether it lives; with a
# queue and a client of seven letters each.
move_elsewhere () {
  local at flags
  at=$(record "$1")
  flags=$(od -An -tu1 -j $((at + 8)) -N 1 ring)
  forge "$1" 8 "\\$(printf %o $((flags & ~1)))" 104 'another-boot-id.' \
    120 'far-away\0' 184 'their-q\0' 312 'their-c\0' 440 'another-machine.'
}
