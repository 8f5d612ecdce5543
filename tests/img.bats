#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img: its command line, and the subcommands that make a ring and
# look at one.  What moves items is in produce-consume.bats and suspend.bats.

load helpers

# Command line -----------------------------------------------------------

@test "--help lists every subcommand on stdout" {
  succeeds --help
  for s in $subcommands; do
    grep -qw -- "$s" out || report "no $s"
  done
}

@test "--version prints name and version" {
  succeeds --version
  [[ $(cat out) =~ ^blkring-img\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "SUBCOMMAND --help lists its options on stdout and needs no ring" {
  local s o
  declare -A options=(
    [create]='--force --erase -p --format'
    [info]=--output [check]=--output [map]=--output
    [produce]='--batch --framing --wait --no-wait --durability -p'
    [consume]='--count --until-empty --follow --framing --output'
    [dump]='--from --count --output'
    [suspend]='--wait --force' [resume]='--wait --force' [state]=''
    [erase]='--force -p --pattern')
  for s in $subcommands; do
    succeeds "$s" --help
    for o in ${options[$s]} --quiet --verbose --trace --sector-size \
      --direct --queue --client --help; do
      grep -qE -- "(^|[ ,])$o([^a-z-]|$)" out || report "$s has no $o"
    done
  done
}

@test "without arguments: usage on stderr, status 1" {
  tool
  [ "$status" = 1 ]
  [ ! -s out ]
  grep -q '^usage: blkring-img' err
}

@test "an unknown subcommand is named" {
  misused "'frobnicate'" frobnicate ring
  misused "'--frobnicate'" --frobnicate
}

@test "an unknown option is named" {
  new_ring 10K
  local s
  for s in $subcommands; do
    misused '--frobnicate' "$s" --frobnicate ring
  done
  misused "'z'" info -z ring
}

@test "a missing RING is asked for" {
  local s
  for s in $subcommands; do
    misused 'RING' "$s"
  done
}

@test "an argument too many is named" {
  new_ring 10K
  local s
  for s in info check map consume dump suspend resume state erase; do
    misused "'surplus'" "$s" ring surplus
  done
  misused "'surplus'" create ring 10K surplus
}

@test "a bad value of an option is quoted, beside what is allowed" {
  new_ring 10K
  local line
  while read -r line; do
    # shellcheck disable=SC2086
    set -- ${line#*:}
    misused "${2%%=*}: '${2#*=}'.*${line%%:*}" "$1" "$2" ring
  done <<'END'
human.*json:info --output=raw
human.*json:check --output=
human.*json:map --output=JSON
human.*json.*raw:dump --output=items
items.*json:consume --output=human
line.*null.*length.*file:produce --framing=none
line.*null.*length.*none:consume --framing=file
full.*none:produce --durability=half
on.*off:info --direct=maybe
1 to 65536:produce --batch=0
1 to 65536:produce --batch=65537
1 to 65536:produce --batch=-1
1 to 65536:produce --batch=1x
1 to 65536:produce --batch=18446744073709551617
number:consume --count=-1
number:consume --count=ten
number:consume --count=
number:consume --count=99999999999999999999
number:dump --count=1.5
number:dump --from=x
number:dump --from=-4
number:suspend --wait=x
number:suspend --wait=-1
number:resume --wait=1s
number:resume --wait=nan
number:suspend --wait=
1:create --format=3
1:create --format=x
END
  misused 'sector-size.*1024.*512.*4096' info --sector-size=1024 ring
  misused 'sector-size.*x' info --sector-size=x ring
}

@test "an option without its value is named" {
  local line
  for line in 'info --output' 'produce --batch' 'consume --count' \
    'dump --from' 'erase --pattern' 'info --sector-size' 'info --queue'; do
    # shellcheck disable=SC2086
    misused "${line#* }" $line
  done
}

@test "a value for an option that takes none is refused" {
  misused '--until-empty' consume --until-empty=1 ring
  misused '--force' create --force=yes ring
}

@test "--count, --until-empty and --follow exclude each other" {
  fixture b1-six-items
  misused '--count.*--until-empty.*--follow' \
    consume --count=1 --until-empty ring
  misused '--count.*--until-empty.*--follow' \
    consume --until-empty --follow ring
  misused '--count.*--until-empty.*--follow' consume --follow --count=1 ring
}

# What every subcommand has ----------------------------------------------

@test "a ring that does not exist is named, status 1" {
  local s
  for s in create $on_a_ring; do
    fails 1 'ring: .*No such file or directory$' "$s" ring </dev/null
  done
}

@test "what is neither a file nor a block device is refused" {
  local s
  mkdir directory
  for s in create info check produce suspend erase; do
    fails 1 '/dev/null: neither a file nor a block device' \
      "$s" /dev/null </dev/null
  done
  for s in create check produce; do
    fails 1 'directory: .*(directory|neither a file nor a block device)' \
      "$s" directory </dev/null
  done
}

@test "a file that holds no ring is refused and stays as it is" {
  local s status
  head -c 10240 /dev/zero >ring
  for s in $on_a_ring; do
    status=1
    [ "$s" != check ] || status=63
    fails "$status" 'ring: there is no ring' "$s" ring </dev/null
  done
}

@test "an empty file holds no ring" {
  : >ring
  fails 1 'ring: there is no ring' info ring
  fails 63 'ring: there is no ring' check ring
}

@test "a damaged signature is no ring" {
  fixture b1-six-items
  poke ring 29 1
  fails 1 'ring: there is no ring' info ring
  fails 63 'ring: there is no ring' check ring
}

@test "a corrupt pointer stops all that need it, and nothing is written" {
  local s
  fixture b1-six-items
  poke ring 520 '\0'
  echo item >input
  for s in info map dump 'dump --output=raw' consume produce suspend resume \
    state; do
    # shellcheck disable=SC2086
    fails 1 'ring: corrupt: .*520.* 0, neither 1 nor 2' $s ring <input
  done
  fixture h1-4k-six-items
  poke ring 8192 '\1'
  for s in info consume produce; do
    fails 1 'ring: corrupt: .*8192.*multiple of 4' "$s" ring <input
  done
}

@test "a corrupt length stops those that read items, and nothing is written" {
  local s
  fixture c1-wrap
  poke ring $((1536 + 7744)) '\0\0\1\0'
  for s in info dump 'dump --output=json' 'consume --until-empty'; do
    # shellcheck disable=SC2086
    fails 1 'ring: corrupt: .*7744.*9280.*65536.*2112' $s ring
  done
}

@test "the name of the ring is printed as it is" {
  local name='100%s of %n.img'
  cp "$fixtures/a1-empty.img" "$name"
  succeeds info --output=json "$name"
  [ "$(jq -r .filename out)" = "$name" ]
  succeeds info "$name"
  grep -qF "$name" out
  poke "$name" 520 '\0'
  tool info "$name"
  [[ $(cat err) == "blkring-img: $name: corrupt: "* ]]
}

@test "output that cannot be written is an error" {
  [ -w /dev/full ] || skip "no /dev/full"
  fixture b1-six-items
  local s before
  before=$(cksum <ring)
  for s in info 'info --output=json' check map dump 'dump --output=raw' \
    state; do
    status=0
    # shellcheck disable=SC2086
    timeout 20 blkring-img $s ring >/dev/full 2>err || status=$?
    : >out
    [ "$status" = 1 ] || report "status: $s"
    says 'ring: .*No space left on device' || report "message: $s"
  done
  [ "$(cksum <ring)" = "$before" ]
}

@test "--sector-size: found out where it is not given" {
  fixture h1-4k-six-items
  must_be sector-size 4096
  fixture b1-six-items
  must_be sector-size 512
}

@test "--sector-size: the right one changes nothing" {
  fixture h1-4k-six-items
  succeeds info ring
  mv out guessed
  succeeds info --sector-size=4096 ring
  cmp out guessed
  succeeds check --sector-size=4096 ring
  succeeds dump --output=raw --count=3 --sector-size=4096 ring
  [ "$(wc -c <out)" = 4092 ]
}

@test "--sector-size: the wrong one finds corruption or a bad size" {
  fixture h1-4k-six-items
  fails 1 'ring: corrupt: .*520' info --sector-size=512 ring
  tool check --sector-size=512 ring
  [ "$status" = 2 ]
  fixture b1-six-items
  fails 1 'ring: .*512.*4096' info --sector-size=4096 ring
}

@test "--direct=on and --direct=off give the same" {
  fixture h1-4k-six-items
  dd if=ring of=/dev/null bs=4096 count=1 iflag=direct status=none \
    2>/dev/null || skip "this file system has no O_DIRECT"
  local direct
  for direct in on off; do
    fixture h1-4k-six-items
    succeeds consume --direct=$direct --until-empty --framing=length ring
    framed h1-4k-six-items | cmp - out
    printf 'one\ntwo' >input
    succeeds produce --direct=$direct ring <input
    succeeds dump --direct=$direct --output=raw ring
    [ "$(cat out)" = onetwo ]
    cksum <ring >ring.$direct
    rm -f new
    succeeds create --direct=$direct new 1M
    succeeds check --direct=$direct new
  done
}

@test "--queue and --client stay in the ring, at most 255 bytes of them" {
  fixture a1-empty
  local long
  long=$(printf '%255s' '' | tr ' ' q)
  echo a >input
  succeeds produce --queue=jobs --client='node 7' ring <input
  must_be producer-text \
    'jobs used by node 7; producer = 8; suspend_ack = false'
  must_be consumer-text ''
  succeeds consume --queue=other --client=reader --count=1 ring
  must_be consumer-text \
    'other used by reader; consumer = 8; suspend = false'
  succeeds info ring
  grep -qF 'jobs used by node 7; producer = 8; suspend_ack = false' out
  grep -qF 'other used by reader; consumer = 8; suspend = false' out
  succeeds produce --queue="$long" ring <input
  [[ $(field producer-text) == "$long used by "* ]]
  fails 1 '.*queue.*25[56]' produce --queue="q$long" ring <input
  fails 1 '.*client.*25[56]' produce --client="q$long" ring <input
}

@test "names by default: the ring's, and subcommand, process and host" {
  fixture a1-empty
  echo a >input
  start produce ring <input
  finish
  [ "$status" = 0 ]
  local text
  text=$(field producer-text)
  [[ $text =~ ^ring\ used\ by\ .*produce ]]
  [[ $text =~ [^0-9]$pid[^0-9] ]]
  [[ $text == *"$(uname -n)"* ]]
}

@test "--quiet: no messages" {
  succeeds create --quiet ring 10K
  [ ! -s out ]
  succeeds create -q ring
  [ ! -s out ]
  fails 1 'ring: ' create -q ring 20K
}

@test "--verbose and --trace log on stderr alone" {
  fixture b1-six-items
  succeeds dump ring
  mv out quiet
  tool dump -v ring
  [ "$status" = 0 ]
  cmp out quiet
  tool dump --verbose --trace ring
  [ "$status" = 0 ]
  cmp out quiet
  local what
  for what in producer suspend_ack consumer suspend; do
    grep -qE "get .*$what\>" err || report "no $what"
  done
  echo a >input
  tool produce --trace --queue=jobs --client=me ring <input
  [ "$status" = 0 ]
  grep -qE '^blkring-img: ring: .*set .*producer.*3564.*jobs.*me' err
}

# create -----------------------------------------------------------------

@test "create SIZE makes a file of this size with an empty ring" {
  succeeds create ring 1M
  [ "$(wc -l <out)" = 1 ]
  grep -q '^ring: ' out
  [ "$(stat -c %s ring)" = 1048576 ]
  must_be capacity $((1048576 - 3 * 512)) items 0 sector-size 512
  succeeds check ring
}

@test "create writes the same bytes as the original implementation" {
  succeeds create ring 10K
  cmp ring "$fixtures/a1-empty.img"
}

@test "create without SIZE takes the file's" {
  truncate -s 10240 ring
  succeeds create ring
  cmp ring "$fixtures/a1-empty.img"
}

@test "create: SIZE in bytes, K and M, and no smaller than four sectors" {
  local size
  for size in 2048:2048 2K:2048 10752:10752 3K:3072 2M:2097152; do
    rm -f ring
    succeeds create ring "${size%:*}"
    [ "$(stat -c %s ring)" = "${size#*:}" ]
  done
}

@test "create: the suffixes are powers of 1024, up to P" {
  new_ring 10K
  fails 1 'ring: .*10240.*20480' create ring 20K
  fails 1 'ring: .*10240.*3145728' create ring 3M
  fails 1 'ring: .*10240.*5368709120' create ring 5G
  fails 1 'ring: .*10240.*2199023255552' create ring 2T
  fails 1 'ring: .*10240.*1125899906842624' create ring 1P
}

@test "create: a bad size is an error with numbers, and leaves no file" {
  fails 1 'ring: .* 0 bytes.*2048' create ring 0
  fails 1 'ring: .*1536 bytes.*2048' create ring 1536
  fails 1 'ring: .*2049 .*512 .*2048.*2560' create ring 2049
  fails 1 'ring: .*12288 .*16384' create --sector-size=4096 ring 12K
  fails 1 'ring: .*17408 .*4096 .*16384.*20480' \
    create --sector-size=4096 ring 17K
}

@test "create: what is not a size is quoted, and leaves no file" {
  local size
  for size in '' x K 10x 1KB 1KiB 5.5K +4K ' 4K' '4K ' 0x1000 16384P \
    99999999999999999999; do
    fails 1 ".*'${size//+/\\+}'.*size" create ring "$size"
  done
  misused '' create ring -5
}

@test "create: a bad size of a file that exists leaves it alone" {
  truncate -s 1536 ring
  fails 1 'ring: .*1536.*2048' create ring
  fails 1 'ring: .*1536.*2048' create --force ring
  truncate -s 10241 ring
  fails 1 'ring: .*10241.*512.*10240.*10752' create ring
  fails 1 'ring: .*10241.*512.*10240.*10752' create --erase --force ring
}

@test "create --force with a bad SIZE leaves the ring that is there alone" {
  fixture b1-six-items
  fails 1 'ring: .*20481.*512' create --force ring 20481
  fails 1 'ring: .* 1024.*2048' create --force ring 1K
  cmp ring "$fixtures/b1-six-items.img"
}

@test "create: a file that cannot be made is an error" {
  fails 1 'missing/ring: .*No such file or directory' create missing/ring 1M
}

@test "create: no room for the file is an error, and leaves none" {
  trap '' XFSZ
  ulimit -S -f 64
  fails 1 'ring: .+' create ring 1M
}

@test "create keeps a ring that is there" {
  fixture b1-six-items
  succeeds create ring
  grep -q '^ring: .*kept' out
  succeeds create ring 10K
  succeeds create --erase ring
  cmp ring "$fixtures/b1-six-items.img"
  fixture h1-4k-six-items
  succeeds create ring
  succeeds create --sector-size=4096 ring
  cmp ring "$fixtures/h1-4k-six-items.img"
}

@test "create: a ring with other sectors than wanted stays, with a message" {
  fixture h1-4k-six-items
  fails 1 'ring: .*[a-z]' create --sector-size=512 ring
}

@test "create does not keep a corrupt ring as a valid one, nor destroys it" {
  fixture b1-six-items
  poke ring 520 '\0'
  fails 1 'ring: .*[a-z]' create ring
  succeeds create --force ring
  succeeds check ring
}

@test "create: SIZE is not that of the file: both are told" {
  fixture b1-six-items
  fails 1 'ring: .*10240.*20480' create ring 20K
  fails 1 'ring: .*10240.*5120' create ring 5K
}

@test "create --force formats a ring that is there" {
  fixture b1-six-items
  succeeds create --force ring
  must_be items 0 producer 0
  fixture b1-six-items
  succeeds create -f --sector-size=512 ring
  must_be items 0
}

@test "create --force SIZE gives the file another size" {
  fixture b1-six-items
  succeeds create -f ring 20K
  [ "$(stat -c %s ring)" = 20480 ]
  must_be capacity $((20480 - 1536)) items 0
  succeeds create -f ring 5K
  [ "$(stat -c %s ring)" = 5120 ]
  succeeds check ring
}

@test "create --sector-size=4096 makes the layout of such sectors" {
  succeeds create --sector-size=4096 ring 64K
  must_be sector-size 4096 capacity $((65536 - 3 * 4096))
  [ "$(head -c 30 ring)" = "$signature" ]
  succeeds create ring
  must_be sector-size 4096
}

@test "create --format=1" {
  succeeds create --format=1 ring 10K
  must_be format 1
}

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

@test "create --erase writes zeros first" {
  truncate -s 4M ring
  poke ring 2000000 'secret'
  succeeds create --erase ring
  succeeds create --format=1 other 4M
  cmp ring other
  poke ring 2000000 'secret'
  succeeds create --erase --force ring
  cmp ring other
}

@test "create -p shows the progress of --erase on stderr" {
  truncate -s 4M ring
  tool create --erase -p ring
  [ "$status" = 0 ]
  grep -q 100 err
  [ "$(wc -l <out)" = 1 ]
}

@test "create --force is refused while a consumer is attached" {
  fixture a1-empty
  start consume ring >copy
  eventually attached
  fails 1 'ring: .*consumer' create --force ring
  fails 1 'ring: .*consumer' create --force --erase ring
}

# info -------------------------------------------------------------------

@test "info: JSON has these keys and no others" {
  fixture b1-six-items
  succeeds info --output=json ring
  [ "$(jq -c keys out)" = '["capacity","consumer","consumer-text","filename",'\
'"format","free","items","largest-item","largest-unread","producer",'\
'"producer-text","sector-size","smallest-unread","suspend","unread-bytes",'\
'"used"]' ]
  jq -e '[.capacity, .consumer, .free, .items, ."largest-item",
    ."largest-unread", .producer, ."sector-size", ."smallest-unread",
    ."unread-bytes", .used | type == "number"] | all' out
  jq -e '[.filename, .format, .suspend, ."consumer-text", ."producer-text"
    | type == "string"] | all' out
}

@test "info tells of every fixture what the original left in it" {
  local name
  copy_fixtures
  for name in "${copies[@]}"; do
    succeeds info --output=json "$name"
    cat out >>all
  done
  jq -S . all >found
  manifest -S '.fixtures[] | . as $f | (.items | map (.length)) as $l | {
    filename: "v1/\(.file)", format: "1", "sector-size": .sector_size,
    capacity: .data_bytes, producer: .producer, consumer: .consumer,
    used: (.producer - .consumer),
    free: (.data_bytes - .producer + .consumer),
    items: ($l | length), "unread-bytes": ($l | add // 0),
    "smallest-unread": ($l | min // 0), "largest-unread": ($l | max // 0),
    "largest-item": (.data_bytes - 4),
    suspend: (if .suspend then
        if .suspend_ack then "suspended" else "suspend-requested" end
      else
        if .suspend_ack then "resume-requested" else "running" end end),
    "producer-text": .producer_text, "consumer-text": .consumer_text
    }' >wanted
  diff wanted found
  unchanged
}

@test "info: the human form has the same facts" {
  fixture c1-wrap
  succeeds info ring
  succeeds info --output=human ring
  local what
  for what in 'ring$' 512 8704 9856 7744 2112 6592 '\<3\>' 2100 700 8700 \
    running 'test used by test; producer = 9856; suspend_ack = false' \
    'test used by test; consumer = 7744; suspend = false'; do
    grep -q -- "$what" out || report "no $what"
  done
}

@test "info: what is not UTF-8 in the texts is shown as ?" {
  fixture b1-six-items
  poke ring $((512 + 128)) '\377\303'
  must_be producer-text \
    '??st used by test; producer = 3556; suspend_ack = false'
  fixture b1-six-items
  poke ring $((512 + 128)) '\303\251'
  must_be producer-text \
    'ést used by test; producer = 3556; suspend_ack = false'
}

@test "info: what is not UTF-8 is shown as ? in the human form, too" {
  fixture b1-six-items
  poke ring $((512 + 128)) '\377\303'
  succeeds info ring
  grep -qF '??st used by test; producer = 3556' out
}

@test "info works beside a producer and a consumer, and writes nothing" {
  fixture a1-empty
  local before
  input_pipe
  start consume ring >copy
  eventually attached
  start produce ring <input
  eventually attached
  before=$(cksum <ring)
  must_be items 0
  succeeds check ring
  succeeds map ring
  succeeds state ring
  succeeds dump ring
  [ "$(cksum <ring)" = "$before" ]
}

# check ------------------------------------------------------------------

@test "check finds no errors in any fixture" {
  local name
  copy_fixtures
  for name in "${copies[@]}"; do
    succeeds check "$name"
    succeeds check --output=json "$name"
    cat out >>all
    printf '{"corruptions":0,"filename":"%s","findings":[],"leaks":0}\n' \
      "$name" >>wanted
  done
  jq -cS . all | diff wanted -
  unchanged
}

# A fixture, what is broken where, and the byte that the finding names.
corruptions='
b1-six-items    520  \000                              520   0,
b1-six-items    520  \003                              520   3,
b1-six-items    1032 \377                              1032  255,
b1-six-items    512  \001                              512   3329
b1-six-items    1024 \002                              1024  2
b1-six-items    512  \000\000\000\000\000\000\000\200  512   2\^63
b1-six-items    1024 \000\020                          *     (4096|3556)
b1-six-items    512  \000\100                          *     16384.*8704
b1-six-items    1536 \001\020                          1536  4097
b1-six-items    1540 \377\377\377\377                  1540  4294967295
b1-six-items    3088 \000\007                          *     .
c1-wrap         9280 \000\000\001                      9280  65536
c2-wrap-header-last-word 10236 \377\377                10236 65535
h1-4k-six-items 4104 \000                              4104  0,
h1-4k-six-items 8200 \011                              8200  9,
h1-4k-six-items 8192 \003                              8192  3
h1-4k-six-items 12300 \000\000\001                     12300 65536
h2-4k-wrap      31328 \377\377                         31328 65535
'

@test "check finds each corruption, with the byte of the device" {
  local name where bytes offset words before
  while read -r name where bytes offset words; do
    [ -n "$name" ] || continue
    fixture "$name"
    poke ring "$where" "$bytes"
    before=$(cksum <ring)
    tool check --output=json ring
    [ "$status" = 2 ] || report "status: $name $where $bytes"
    [ ! -s err ] || report "stderr: $name $where $bytes"
    [ "$offset" != '*' ] || offset='[0-9]+'
    cat out >>all
    echo "^$offset .*($words)" >>wanted
    tool check ring
    [ "$status" = 2 ] || report "status: $name $where $bytes"
    [ ! -s err ] || report "stderr: $name $where $bytes"
    [[ $(<out) =~ ^ring:\ .*$offset ]] || report "human: $name $where $bytes"
    [ "$(cksum <ring)" = "$before" ] || report "repaired: $name $where $bytes"
  done <<<"$corruptions"
  jq -n --slurpfile all all --rawfile wanted wanted '
    ($wanted | split ("\n")) as $wanted | range ($all | length)
    | $wanted[.] as $wanted | $all[.] | select ((
      keys == ["corruptions", "filename", "findings", "leaks"]
      and .corruptions >= 1 and .corruptions == (.findings | length)
      and (.findings | all (keys == ["kind", "message", "offset"]))
      and (.findings | any ("\(.offset) \(.message)" | test ($wanted)))) | not)
    | $wanted, .' >wrong
  [ ! -s wrong ] || fail "$(cat wrong)"
}

@test "check walks everything: a second corruption is found beside a first" {
  fixture b1-six-items
  poke ring 520 '\0'
  poke ring 1032 '\0'
  tool check --output=json ring
  [ "$status" = 2 ]
  [ "$(jq -c '[.findings[].offset]' out)" = '[520,1032]' ]
}

@test "check walks everything: items are walked where a flag is corrupt" {
  fixture b1-six-items
  poke ring 1032 '\0'
  poke ring 1548 '\0\020'
  tool check --output=json ring
  [ "$status" = 2 ]
  [ "$(jq -c '[.findings[].offset]' out)" = '[1032,1548]' ]
}

@test "check: bytes behind the signature" {
  fixture b1-six-items
  poke ring 100 x
  tool check ring
  [ "$status" = 2 ]
  grep -q '^ring: .*\<100\>' out
}

@test "check: status 63 where there is no ring, in JSON too" {
  truncate -s 10K ring
  fails 63 'ring: there is no ring' check --output=json ring
}

# map --------------------------------------------------------------------

@test "map: JSON covers every fixture without gaps, and adds up" {
  local name
  copy_fixtures
  for name in "${copies[@]}"; do
    succeeds map --output=json "$name"
    cat out >>all
  done
  jq -n --slurpfile maps all --slurpfile m "$fixtures/manifest.json" '
    range ($maps | length) | $m[0].fixtures[.] as $f | $maps[.]
    | select ((
      all (keys == ["length", "offset", "type", "wrapped"]
        and .length > 0 and (.wrapped | type) == "boolean") and
      (.[:3] | map (.type) == ["signature", "producer", "consumer"]
        and map (.length) == [range (3) | $f.sector_size]) and
      (.[3:] | all (.type == "unread" or .type == "free")) and
      (reduce .[] as $r (0; if . == $r.offset then . + $r.length
                            else -1 end) == $f.file_size) and
      ([.[] | select (.type == "unread") | .length] | add // 0)
        == $f.producer - $f.consumer) | not)
    | $f.file, .' >wrong
  [ ! -s wrong ] || fail "$(cat wrong)"
  unchanged
}

regions () {
  jq -c '.[3:][] | [.offset, .length, .type, .wrapped]' out | paste -sd ' '
}

@test "map: what is cut by the end continues at the start as wrapped" {
  fixture c1-wrap
  succeeds map --output=json ring
  [ "$(regions)" = '[1536,1152,"unread",true] [2688,6592,"free",false]'\
' [9280,960,"unread",false]' ]
  succeeds map ring
  [ "$(grep -c wrapped out)" = 1 ]
  grep -qE '1536 +1152 +unread.*wrapped' out
  fixture h2-4k-wrap
  succeeds map --output=json ring
  jq -e '.[3] == {offset: 12288, length: 4272, type: "unread", wrapped: true}' \
    out
}

@test "map: free space wraps as well" {
  fixture b1-six-items
  succeeds consume --count=3 --framing=length ring
  succeeds map --output=json ring
  [ "$(regions)" = '[1536,524,"free",true] [2060,3032,"unread",false]'\
' [5092,5148,"free",false]' ]
}

@test "map: the bar has 64 cells, # where anything is unread" {
  bar () {
    tail -n 1 out | grep -oE '[#.]{64,}' | head -n 1
  }
  fixture a1-empty
  succeeds map ring
  [ "$(bar)" = "$(printf '%64s' '' | tr ' ' .)" ]
  fixture f1-full-exact
  succeeds map ring
  [ "$(bar)" = "$(printf '%64s' '' | tr ' ' '#')" ]
  fixture d1-pushed-not-advanced
  succeeds map ring
  [ "$(bar)" = "#$(printf '%63s' '' | tr ' ' .)" ]
  # 136 bytes a cell: 0 to 8.47 and from 56.94 on.
  fixture c1-wrap
  succeeds map --output=human ring
  [ "$(bar)" = "#########$(printf '%47s' '' | tr ' ' .)########" ]
}

# dump -------------------------------------------------------------------

@test "dump shows the items of every fixture, and leaves them" {
  local name
  copy_fixtures
  for name in "${copies[@]}"; do
    succeeds dump --output=json "$name"
    cat out >>json
    succeeds dump --output=raw "$name"
    cat out >>raw
  done
  jq -c '[.position, ."next-position", .length]' json >found
  manifest -c '.fixtures[] | .items as $i | .consumer as $c
    | range ($i | length)
    | [if . == 0 then $c else $i[. - 1].next_position end,
       $i[.].next_position, $i[.].length]' >wanted
  diff wanted found
  manifest '.fixtures[].items[].hex' | perl -ne 'chomp; print pack "H*", $_' |
    cmp - raw
  unchanged
}

@test "dump --output=json: keys and base64" {
  fixture c2-wrap-header-last-word
  succeeds dump --output=json ring
  lines_are out 3
  jq -e 'keys == ["data", "length", "next-position", "position"]' out
  jq -r .data out | while read -r line; do
    printf %s "$line" | base64 -d
  done >bytes
  succeeds dump --output=raw ring
  cmp out bytes
}

@test "dump: the human form has position, length and content" {
  fixture a3-example-produced
  succeeds dump ring
  cp out human
  succeeds dump --output=human ring
  cmp out human
  grep -qE '^position 0, 5 bytes.*hello$' human
  grep -qE '^position 12, 5 bytes.*world$' human
  grep -qE '^position 24, 0 bytes' human
  grep -qE '^position 28, 30 bytes.*fourth line after an empty one$' human
}

@test "dump: what is not text comes in hexadecimal" {
  fixture a1-empty
  store $'escape \e[2J' 'plain'
  succeeds dump ring
  grep -q '65 73 63 61 70 65 20 1b  *5b 32 4a' out
  ! grep -q $'\e' out || fail "the escape sequence came through"
  grep -q 'plain' out
}

@test "dump --from begins at this item, --count ends" {
  fixture b1-six-items
  succeeds dump --output=json --from=12 --count=2 ring
  [ "$(jq -c '[.position, .length]' out | paste -sd ' ')" = \
    '[12,507] [524,508]' ]
  succeeds dump --output=json --from=1552 ring
  [ "$(jq .position out)" = 1552 ]
  succeeds dump --output=json --count=1 ring
  [ "$(jq .position out)" = 0 ]
  succeeds dump --output=json --count=100 ring
  lines_are out 6
}

@test "dump --from where no item begins is an error with the position" {
  fixture c1-wrap
  local position
  for position in 7748 7745 9860 4294967296; do
    fails 1 "ring: .*$position" dump --from=$position ring
  done
}

@test "dump --from where the items are taken already is an error as well" {
  fixture c1-wrap
  local position
  for position in 0 1 7740; do
    fails 1 "ring: .*\<$position\>" dump --from=$position ring
  done
}

@test "dump of an empty ring prints nothing" {
  fixture a1-empty
  succeeds dump ring
  [ ! -s out ]
  succeeds dump --output=json ring
  [ ! -s out ]
}

@test "dump shows what is before a corrupt item, and then fails" {
  fixture b1-six-items
  poke ring 1548 '\0\020'
  cp ring before
  tool dump --output=json ring
  [ "$status" = 1 ]
  [ "$(jq -c .position out | paste -sd ' ')" = '0 4' ]
  says 'ring: corrupt: .*12.*1548.*4096'
  cmp ring before
}

@test "dump goes on behind what a consumer takes away meanwhile" {
  new_ring 1M
  seq -f 'old-%05g-and-some-text-to-make-it-longer' 1 16000 >old
  seq -f 'new-%05g-and-some-text-to-make-it-longer' 1 16000 >new
  succeeds produce ring <old
  output_pipe
  start dump --output=json ring >pipe 2>log
  read_pipe
  read -r line <&7
  [ "$(jq -r '.data | @base64d' <<<"$line")" = "$(head -n 1 old)" ]
  succeeds consume --until-empty ring
  cmp out old
  succeeds produce ring <new
  jq -r '.data | @base64d' <&7 >shown
  finish
  [ "$status" = 0 ]
  [ ! -s log ]
  # Whole items, in their order, each once.
  sort -c <(sed 's/^old/a/;s/^new/b/' shown)
  [ "$(sort -u shown | wc -l)" = "$(wc -l <shown)" ]
  [ -z "$(sort shown | comm -23 - <(sort old new))" ]
}

# state ------------------------------------------------------------------

@test "state prints one word" {
  local name
  declare -A words=(
    [a1-empty]=running [e1-suspended-acked]=suspended
    [e2-suspend-requested]=suspend-requested
    [e3-resume-requested]=resume-requested)
  for name in "${!words[@]}"; do
    fixture "$name"
    succeeds state ring
    [ "$(cat out)" = "${words[$name]}" ]
    must_be suspend "${words[$name]}"
    cmp ring "$fixtures/$name.img"
  done
}

# erase ------------------------------------------------------------------

@test "erase overwrites the whole device with zeros" {
  local name
  for name in b1-six-items h1-4k-six-items e1-suspended-acked; do
    fixture "$name"
    succeeds erase ring
    [ ! -s out ]
    [ "$(stat -c %s ring)" = "$(stat -c %s "$fixtures/$name.img")" ]
    cmp -n "$(stat -c %s ring)" ring /dev/zero
    fails 63 'ring: there is no ring' check ring
  done
  succeeds create ring
}

@test "erase --pattern writes the text again and again" {
  local pattern
  for pattern in x 'no ring' "$(seq 1 400)"; do
    fixture b1-six-items
    succeeds erase --pattern="$pattern" ring
    PATTERN=$pattern perl -e 'print substr ($ENV{PATTERN} x 10240, 0, 10240)' |
      cmp - ring
  done
}

@test "erase: where there is no ring only with --force" {
  head -c 10240 /dev/urandom >ring
  fails 1 'ring: there is no ring.*--force' erase ring
  fails 1 'ring: there is no ring.*--force' erase -p ring
  succeeds erase -f ring
  cmp -n 10240 ring /dev/zero
  succeeds erase --force --pattern=ab ring
  [ "$(tail -c 4 ring)" = abab ]
}

@test "erase fails while a producer is attached" {
  fixture b1-six-items
  input_pipe
  start produce ring <input
  eventually attached
  fails 1 'ring: .*producer' erase ring
  fails 1 'ring: .*producer' erase --force ring
  exec 5>&-
  finish
  succeeds erase ring
}

@test "erase fails while a consumer is attached" {
  fixture a1-empty
  start consume ring >copy
  eventually attached
  fails 1 'ring: .*consumer' erase ring
  fails 1 'ring: .*consumer' erase --force ring
}

@test "erase -p shows the progress on stderr" {
  fixture b1-six-items
  tool erase -p ring
  [ "$status" = 0 ]
  grep -q 100 err
  [ ! -s out ]
}

# What has happened -----------------------------------------------------

@test "create --force with another SIZE leaves a ring in use alone" {
  new_ring 64K
  input_pipe
  start produce ring <input
  eventually attached
  cp ring before
  fails 1 'ring: .*(attached|makes)' create --force ring 32K
  cmp ring before
}

@test "create keeps a ring that is in use" {
  new_ring 64K
  input_pipe
  start produce ring <input
  eventually attached
  succeeds create ring
  grep -q kept out
}

@test "create leaves a name alone under which it can make nothing" {
  ln -s missing/ring link
  fails 1 'link: ' create link 64K
  [ -L link ]
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

@test "a pipe is not a ring, and nothing waits for its other end" {
  mkfifo pipe
  fails 1 'pipe: neither a file nor a block device' info pipe
}

@test "control characters of names do not reach the terminal" {
  new_ring 64K
  printf x | blkring-img produce --client=$'a\302\233[31mb' ring
  succeeds info ring
  ! grep -q $'\302\233' out
  grep -qF 'a??[31mb' out
}
