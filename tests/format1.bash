# SPDX-License-Identifier: BSD-3-Clause
#
# For tests of format 1: rings that the original implementation has written.

fixtures=$abs_top_srcdir/tests/data/v1

# One of them as the file ring.
fixture () {
  cp "$fixtures/$1.img" ring
  chmod u+w ring
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
