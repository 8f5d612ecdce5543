# SPDX-License-Identifier: BSD-3-Clause
#
# For tests of the nbdkit filter and plugin that were just built.  A file runs
# on the filter and format 2; links to it, NAME-format1.bats, NAME-plugin.bats
# and NAME-plugin-format1.bats, run the same on the others.

case $BATS_TEST_FILENAME in
  *-plugin*) by=plugin prefix= ;;
  *) by=filter prefix=blkring- ;;
esac
filter=$abs_top_builddir/filter/.libs/nbdkit-blkring-filter.so
plugin=$abs_top_builddir/plugin/.libs/nbdkit-blkring-plugin.so
uri='nbd+unix:///?socket=sock'
status_uri='nbd+unix:///status?socket=sock'

# Debian's, which has the module nbd.
python=/usr/bin/python3

# nbdkit itself was not built with the sanitizer that the module may need, and
# what it does not free is its own affair.
sanitizer=$(ldd "$filter" | awk '/lib[at]san/ { print $3 }')
nbdkit=(env ASAN_OPTIONS="${ASAN_OPTIONS+$ASAN_OPTIONS:}detect_leaks=0"
  TSAN_OPTIONS="${TSAN_OPTIONS+$TSAN_OPTIONS:}suppressions=$abs_top_srcdir/tests/tsan-nbdkit.txt"
  LD_PRELOAD="${sanitizer:+$sanitizer:$abs_top_builddir/tests/.libs/no-freelocale.so}"
  nbdkit)
# make check-leaks: one that leaks or worse ends with 119.
if [ "${BLKRING_VALGRIND-}" = 1 ]; then
  nbdkit=(valgrind -q --fair-sched=yes --leak-check=full --errors-for-leak-kinds=definite
    --error-exitcode=119 nbdkit)
  nbd_timeout=600
fi

# Skip the test, unless the caller counts on it.
cannot () {
  [ "${BLKRING_REQUIRE_ROOT-}" != 1 ] || fail "$1"
  skip "$1"
}

# What nbdkit is to serve: the ring in file $1, with these parameters, those of
# blkring, as in "ring guard=off".  In $command.
serving () {
  local file=$1
  shift
  if [ $by = filter ]; then
    command=("--filter=$filter" file "$file" "${@/#/blkring-}")
  else
    command=("$plugin" "$file" "$@")
  fi
}

# Start a server of the ring in file $1.  $options are nbdkit's own.
serve () {
  local command
  serving "$@"
  start_nbdkit "${options[@]}" "${command[@]}"
}

# Start nbdkit, and wait until clients can connect.  Its process is $server,
# and what it says is in the file log.
start_nbdkit () {
  launch_nbdkit -U "${socket-sock}" "$@"
  is_ready "${socket-sock}"
}
launch_nbdkit () {
  rm -f "${socket-sock}" "${socket-sock}.pid"
  "${nbdkit[@]}" -f -P "${socket-sock}.pid" "$@" </dev/null >>log 2>&1 3>&- &
  server=$!
  started+=("$server")
}
is_ready () {
  eventually listens_or_is_gone "$1.pid"
  listens "$1.pid" || fail "the server did not start: $(cat log)"
}
# The file is written by the process that listens.
listens () {
  [ -s "$1" ]
}
listens_or_is_gone () {
  listens "$1" || gone "$server"
}

# It is up, and answers.
is_up () {
  ! gone "$server" && nbdinfo --size "$uri" >/dev/null
}

# It has noticed that all clients left: one that ends earlier forgets to free
# what it has of them.
is_idle () {
  local tasks=(/proc/"$server"/task/*) own=1
  # ThreadSanitizer has a thread of its own.
  [[ ${nbdkit[*]} != *libtsan* ]] || own=2
  [ ${#tasks[@]} -le $own ]
}

# End the server, as a user would: $status.
stop_server () {
  kill -TERM "$server"
  finish "$server"
}

# A server that must not start: one message, which matches.
refused () {
  local pattern=$1 command
  shift
  serving "$@"
  refused_by_nbdkit "$pattern" "${options[@]}" "${command[@]}"
}
refused_by_nbdkit () {
  local pattern=$1 lines
  shift
  status=0
  rm -f sock
  "${nbdkit[@]}" -f -U sock "$@" </dev/null >out 2>err 3>&- &
  started+=($!)
  eventually gone $!
  wait $! || status=$?
  [ "$status" = 1 ] || report "status is not 1: $*"
  [ ! -s out ] || report "there is output: $*"
  mapfile -t lines <err
  [ ${#lines[@]} = 1 ] && [[ ${lines[0]} =~ ^nbdkit:\ error:\ .*$pattern ]] ||
    report "message: $*"
}

# A program in Python's nbd, from standard input, with what tests/nbdring.py
# has; the arguments are its own.
nbd () {
  PYTHONPATH=$abs_top_srcdir/tests PYTHONDONTWRITEBYTECODE=1 format=$format \
    timeout -k 1 "${nbd_timeout-60}" $python - "$@"
}

# A member of the status, as jq names it.
status_of () {
  nbdcopy "${2-$status_uri}" - | jq -r "$1"
}
status_is () {
  local found
  found=$(status_of "$1" "${3-$status_uri}")
  [ "$found" = "$2" ] || fail "$1 is $found, not $2"
}

# A value of info, through the server: KEY VALUE [URI]
export_is () {
  local found
  found=$(field "$1" "${3-$uri}")
  [ "$found" = "$2" ] || fail "$1 is $found, not $2"
}

# So many lines of the log match.
logged () {
  local n
  n=$(grep -cE -- "$2" log) || :
  [ "$n" = "$1" ] || fail "not $1 but $n times: $2" "$(cat log)"
}

# The ring in the file is valid; nobody serves it now.
ring_is_valid () {
  succeeds check -q "${1-ring}"
}
