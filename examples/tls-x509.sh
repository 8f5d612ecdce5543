#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Certificates for TLS: an authority, and one for each host.
#
#   tls-x509.sh DIRECTORY SERVER CLIENT
#
# SERVER is the host name that clients connect to.  DIRECTORY/server and
# DIRECTORY/client are what each of them needs; DIRECTORY/ca-key.pem stays
# where it is.
set -eu
dir=$1 server=$2 client=$3
umask 077
mkdir -p "$dir/server" "$dir/client"
cd "$dir"

# key FILE: one for elliptic curves, which is made at once.
key () {
  certtool --generate-privkey --key-type=ecdsa --curve=secp256r1 --outfile "$1"
}

key ca-key.pem
printf 'cn = "blkring authority"\nca\ncert_signing_key\n' >ca.info
certtool --generate-self-signed --load-privkey ca-key.pem --template ca.info \
  --outfile ca-cert.pem

# host DIRECTORY, NAME, and what its certificate is for
host () {
  key "$1/$1-key.pem"
  printf 'cn = "%s"\ndns_name = "%s"\n%s\nsigning_key\n' \
    "$2" "$2" "$3" >"$1.info"
  certtool --generate-certificate --load-privkey "$1/$1-key.pem" \
    --load-ca-privkey ca-key.pem --load-ca-certificate ca-cert.pem \
    --template "$1.info" --outfile "$1/$1-cert.pem"
  cp ca-cert.pem "$1/ca-cert.pem"
}
host server "$server" tls_www_server
host client "$client" tls_www_client
