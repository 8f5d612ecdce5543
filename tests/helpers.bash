# SPDX-License-Identifier: BSD-3-Clause
#
# What the tests of blkring-img have in common.  A test works in a directory
# of its own, on the ring "ring", and kills what it started.

bats_require_minimum_version 1.5.0

# The format of the rings that create makes here.  NAME-format1.bats is a link
# to NAME.bats: the same tests on format 1.
case $BATS_TEST_FILENAME in
  *format1*.bats) format=1 ;;
  *) format=2 ;;
esac

# Every subcommand but consumer, and those that need a ring to be there.
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

# So long, in seconds, may take what takes one at most: valgrind is slow.
patience=20
[ "${BLKRING_VALGRIND-}" != 1 ] || patience=300

# Run it to its end: $status, and the files out and err.
tool () {
  status=0
  if [ $format = 1 ] && [ "${1-}" = create ] &&
    [[ " $* " != *" --format"* ]]; then
    set -- create --format=1 "${@:2}"
  fi
  timeout -k 1 $patience blkring-img "$@" >out 2>err || status=$?
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
  local want=$1 pattern=$2 before after look=whole
  shift 2
  [[ $1 != @(produce|consume) ]] || look=picture
  before=$($look)
  tool "$@"
  after=$($look)
  [ "$status" = "$want" ] || report "status is not $want: $*"
  [ ! -s out ] || report "there is output: $*"
  says "$pattern" || report "message: $*"
  [ "$before" = "$after" ] || report "the ring was changed: $*"
}

# All bytes of the ring in a number, or that there is none.
whole () {
  if [ -e "${1-ring}" ]; then cksum <"${1-ring}"; else echo none; fi
}

# What the ring holds in a number.  The records of format 2 also tell who came
# and went: of those it is what a reader makes of them.
picture () {
  if [ "$(head -c 8 "${1-ring}" 2>&1)" = blkring2 ]; then
    {
      head -c 8192 "${1-ring}"
      tail -c +$((1 + $(data_offset "${1-ring}"))) "${1-ring}"
      blkring-img dump --output=json "${1-ring}"
      blkring-img state "${1-ring}"
    } 2>&1 | cksum
  else
    whole "$@"
  fi
}

# What the tool said in err, or in this file, in a single line.
says () {
  local lines
  mapfile -t lines <"${2-err}"
  [ ${#lines[@]} = 1 ] && [[ ${lines[0]} =~ ^blkring-img:\ $1 ]]
}

# A bad command line: status 1, and a text, with a hint perhaps, that matches.
misused () {
  local pattern=$1 before after message=
  shift
  before=$(whole)
  tool "$@" </dev/null
  after=$(whole)
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

# A producer that waits for lines from fd 5, and has stored so many, or one.
idle_producer () {
  input_pipe
  start produce ring <input
  producer=$pid
  seq "${1-1}" >&5
  eventually is items "${1-1}"
}

# A producer or consumer has its lock, and has claimed its side: it writes
# nothing more for having come.
attached () {
  grep -qs '^lock:' "/proc/${1-$pid}/fdinfo/"* || return 1
  [ $format = 1 ] || claimed "${1-$pid}"
}

# Both copies of a record of format 2 are of this process, and not clean.
claimed () {
  perl -e 'my ($pid, $n) = @ARGV;
    open my $f, "<", "ring" or die "ring: $!";
    for my $copy (map { 8192 + 8192 * $_ } 0, 2 .. 1 + $n) {
      exit 0 if 2 == grep {
        seek $f, $_, 0 and 512 == read $f, my $record, 512 or die;
        my ($flags, $process) = unpack "x8 V x68 Q<", $record;
        $process == $pid && !($flags & 1)
      } $copy, $copy + 4096;
    }
    exit 1' "$1" "$(od -An -tu4 -j 28 -N 4 ring)"
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

# An empty ring, the file of this size.
new_ring () {
  succeeds create -q "${@:2}" ring "$1"
}

# An empty ring with so many bytes for items, in sectors or blocks of 512.
ring_for () {
  rm -f ring
  if [ $format = 1 ]; then
    new_ring $((3 * 512 + $1)) "${@:2}"
  else
    new_ring $((32768 + $1)) --block-size=512 "${@:2}"
  fi
}
small_ring () {
  ring_for 8704 "$@"
}
# No smaller one is possible.  Its largest item has 508 or 444 bytes.
smallest_ring () {
  ring_for 512 "$@"
}

# Where the items of format 2 begin.
data_offset () {
  od -An -tu8 -j 32 -N 8 "${1-ring}" | tr -d ' '
}

# Items of these lengths, each of a letter of its own.
letters () {
  perl -e 'for (@ARGV) { $c = chr (65 + $n++ % 26); print pack ("V", $_),
    $c x $_ }' -- "$@"
}

# A small ring that holds such items.  In format 2 two of them are a frame.
ring_of () {
  small_ring
  letters "$@" >items
  succeeds produce --framing=length --batch=2 ring <items
}
six_items=(0 1 507 508 509 2000)

# A small ring without room for anything more, 17 items.
full_ring () {
  small_ring
  # shellcheck disable=SC2046
  letters $(yes $((format == 1 ? 508 : 444)) | head -n 17) >items
  succeeds produce --framing=length --batch=1 ring <items
}

# Three items of 700 bytes, around the end of the data area.
wrapped_ring () {
  small_ring
  for _ in 1 2 3 4 5 6 7 8; do
    letters 700 | succeeds produce --framing=length ring
    succeeds consume --until-empty ring
  done
  if [ $format = 1 ]; then
    letters 1400 700 | succeeds produce --framing=length ring
    succeeds consume --until-empty ring
  fi
  letters 700 700 700 >items
  succeeds produce --framing=length ring <items
}

# Two items, and suspend or resume asked for or acknowledged.
ring_that_is () {
  small_ring
  letters 5 6 >items
  succeeds produce --framing=length ring <items
  succeeds suspend ring
  [ "$1" = suspend-requested ] || succeeds produce ring </dev/null
  [ "$1" != resume-requested ] || succeeds resume ring
}

# Store the arguments, an item each.
store () {
  printf '%s\0' "$@" >items
  succeeds produce --framing=null ring <items
}

# The items of the ring, and of arguments, each behind its length.
contents () {
  blkring-img dump --output=json "${1-ring}" | jq -r .data |
    perl -MMIME::Base64 \
      -ne '$_ = decode_base64 ($_); print pack ("V", length), $_'
}
frame () {
  perl -e 'print pack ("V", length), $_ for @ARGV' -- "$@"
}
holds () {
  frame "$@" | cmp - <(contents)
}

# The positions of its items.
positions () {
  blkring-img dump --output=json ring | jq .position | paste -sd ' '
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

# Damage that nobody can overlook: where the producer or the consumer is, in
# both copies of format 2; the item at this position, or the frame that begins
# there.
spoil_producer () {
  if [ $format = 1 ]; then
    poke ring 520 '\0'
  else
    poke ring 8192 x
    poke ring 12288 x
  fi
}
spoil_consumer () {
  if [ $format = 1 ]; then
    poke ring 1032 '\0'
  else
    poke ring 24576 x
    poke ring 28672 x
  fi
}
spoil_item () {
  if [ $format = 1 ]; then
    poke ring $((1536 + $1 % 8704)) '\0\0\1'
  else
    poke ring $((32768 + $1 % 8704)) x
  fi
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
