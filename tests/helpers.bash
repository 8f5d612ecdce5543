# SPDX-License-Identifier: BSD-3-Clause
#
# What the tests of blkring-img have in common.  A test works in a directory
# of its own, on the ring "ring", and kills what it started.

bats_require_minimum_version 1.5.0

fixtures=$abs_top_srcdir/tests/data/v1
signature='mirage shared-block-device 1.0'
# Every subcommand, and those that need a ring to be there.
subcommands='create info check map produce consume dump suspend resume state
             erase'
on_a_ring='info check map produce consume dump suspend resume state erase'

setup () {
  cd "$BATS_TEST_TMPDIR" || return
  started=()
}

teardown () {
  kill_all
}

kill_all () {
  [ ${#started[@]} = 0 ] || kill -KILL "${started[@]}" 2>/dev/null || :
  wait
}

fail () {
  printf '%s\n' "$*" >&2
  return 1
}

# Running the tool -------------------------------------------------------

# Run it to its end: $status, and the files out and err.  A ring is of format
# 1 where a test does not say otherwise: the sizes and positions in the tests
# are of that.
tool () {
  status=0
  if [ "${1-}" = create ] && [[ " $* " != *" --format"* ]]; then
    set -- create --format=1 "${@:2}"
  fi
  timeout -k 1 20 blkring-img "$@" >out 2>err || status=$?
}

report () {
  fail "$*" "status $status" "stdout: $(head -c 2000 out | tr '\0' '@')" \
    "stderr: $(head -c 2000 err)"
}

# It must succeed in silence.
succeeds () {
  tool "$@"
  [ "$status" = 0 ] && [ ! -s err ] || report "fails or complains: $*"
}

# It must fail with this status and one line on stderr, which goes on with
# this expression behind "blkring-img: ".  The output stays empty and the
# ring what it was, or where there was none, none.
fails () {
  local want=$1 pattern=$2 before=none after=none
  shift 2
  [ ! -e ring ] || before=$(cksum <ring)
  tool "$@"
  [ ! -e ring ] || after=$(cksum <ring)
  [ "$status" = "$want" ] || report "status is not $want: $*"
  [ ! -s out ] || report "there is output: $*"
  says "$pattern" || report "message: $*"
  [ "$before" = "$after" ] || report "the ring was changed: $*"
}

# What the tool said in err, or in this file, in a single line.
says () {
  local lines
  mapfile -t lines <"${2-err}"
  [ ${#lines[@]} = 1 ] && [[ ${lines[0]} =~ ^blkring-img:\ $1 ]]
}

# A bad command line: status 1, and a text, with a hint perhaps, that matches.
misused () {
  local pattern=$1 before=none after=none message=
  shift
  [ ! -e ring ] || before=$(cksum <ring)
  tool "$@" </dev/null
  [ ! -e ring ] || after=$(cksum <ring)
  [ "$status" = 1 ] || report "status is not 1: $*"
  [ ! -s out ] || report "there is output: $*"
  read -r message <err || :
  [[ $message =~ ^blkring-img.*$pattern ]] || report "message: $*"
  [ "$before" = "$after" ] || report "the ring was changed: $*"
}

# Start it, with the process number in $pid.  Its output does not belong in
# out and err, which others overwrite.  A shell without job control would have
# it ignore SIGINT, and bats waits for whoever holds its fd 3.
start () {
  env --default-signal=INT,TERM,PIPE blkring-img "$@" \
    <&0 3>&- 5>&- 6>&- 7>&- &
  pid=$!
  started+=("$pid")
}

# A pipe, "input", for what is started next: what goes to fd 5 comes in, and
# it ends when that is closed.
input_pipe () {
  mkfifo input
  exec 5<>input
}

# A pipe, "pipe", for the output of what is started next, and when that has
# it open: fd 7 reads from it, up to the end or until it is closed.
output_pipe () {
  mkfifo pipe
  exec 6<>pipe
}
read_pipe () {
  exec 7<pipe 6>&-
}

# Wait for what was started last, or for the process $1: $status.
finish () {
  local process=${1-$pid}
  eventually gone "$process"
  status=0
  wait "$process" || status=$?
}

gone () {
  ! kill -0 "$1" 2>/dev/null
}

# A producer or consumer has its lock, and so is attached or about to be.
attached () {
  grep -qs '^lock:' "/proc/${1-$pid}/fdinfo/"*
}

# Wait until the command succeeds.
eventually () {
  local i
  for ((i = 0; i < 2000; i++)); do
    if "$@"; then return 0; fi
    sleep 0.01
  done
  fail "this did not come true: $*"
}

# So many items are unread.
has_items () {
  [ "$(blkring-img info --output=json ring | jq .items)" = "$1" ]
}

milliseconds () {
  local now=${EPOCHREALTIME/[.,]/}
  echo $((now / 1000))
}

# Rings ------------------------------------------------------------------

fixture () {
  cp "$fixtures/$1.img" ring
  chmod u+w ring
}

# An empty ring of this size.
new_ring () {
  succeeds create -q "${@:2}" ring "$1"
}

# Store the arguments, an item each.
store () {
  printf '%s\0' "$@" >items
  succeeds produce --framing=null ring <items
}

# A value of info, whether it is this, and that all of them are: KEY VALUE...
field () {
  blkring-img info --output=json "${2-ring}" | jq -r ".\"$1\""
}

is () {
  [ "$(field "$1")" = "$2" ]
}

must_be () {
  local keys=() wanted=() found
  while [ $# -gt 0 ]; do
    keys+=(".\"$1\"")
    wanted+=("$2")
    shift 2
  done
  found=$(blkring-img info --output=json ring |
    jq -r "$(IFS=,; echo "${keys[*]}")")
  [ "$found" = "$(printf '%s\n' "${wanted[@]}")" ] ||
    fail "wanted: ${keys[*]}" "${wanted[@]}" "found:" "$found"
}

state_is () {
  [ "$(blkring-img state "${2-ring}")" = "$1" ]
}

# Overwrite bytes (as printf writes them) of a file: poke FILE OFFSET BYTES
poke () {
  # shellcheck disable=SC2059
  printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# Copies of all fixtures, in v1: their names are in $copies.  They must be
# as they were when the test is over.
copy_fixtures () {
  mkdir v1
  cp "$fixtures"/*.img v1
  chmod u+w v1/*
  mapfile -t copies < <(manifest '.fixtures[] | "v1/\(.file)"')
  [ ${#copies[@]} -gt 10 ]
}
unchanged () {
  local f
  for f in v1/*; do
    cmp "$f" "$fixtures/${f#v1/}" || return 1
  done
}

manifest () {
  jq -r "$@" "$fixtures/manifest.json"
}

# The items of a fixture, each behind its length.
framed () {
  manifest ".fixtures[] | select (.file == \"$1.img\") | .items[].hex" |
    perl -ne 'chomp; $_ = pack "H*", $_; print pack ("V", length), $_'
}

# Items of random length, 0 to $2 bytes, and content: random_items N MAX
random_items () {
  perl -e 'srand 7; for (1 .. $ARGV[0]) { my $n = int rand $ARGV[1] + 1;
    print pack ("V", $n), pack ("C*", map { int rand 256 } 1 .. $n) }' "$@"
}

# Whether the lines of a file are what is expected.
lines_are () {
  [ "$(wc -l <"$1")" = "$2" ]
}
