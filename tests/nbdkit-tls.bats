#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# TLS, with keys made as the README says.

load helpers
load nbdkit

examples=$abs_top_srcdir/examples

psk_uri () {
  echo "nbds+unix://$1@/?socket=sock&tls-psk-file=$2"
}
x509_uri () {
  echo "nbds+unix://$1/?socket=sock&tls-certificates=$PWD/$2"
}

psk_server () {
  type psktool >/dev/null 2>&1 || skip "no psktool"
  "$examples/tls-psk.sh" keys alice
  new_ring 1M
  options=(--tls=require "--tls-psk=$PWD/keys/keys.psk")
  serve ring
}
x509_server () {
  type certtool >/dev/null 2>&1 || skip "no certtool"
  "$examples/tls-x509.sh" certificates server.example client.example 2>err ||
    fail "$(cat err)"
  new_ring 1M
  options=(--tls=require --tls-verify-peer
    "--tls-certificates=$PWD/certificates/server")
  serve ring
}

# Items go through an export.
carries () {
  random_items 200 2000 >items
  succeeds produce --framing=length "$1" <items
  succeeds consume --framing=length --until-empty "$1"
  cmp items out
}

# A client is not let in.
shut_out () {
  tool info "$1"
  [ "$status" != 0 ] && [ ! -s out ] && [ -s err ] || report "let in: $1"
}

@test "PSK: producer and consumer with the key" {
  psk_server
  carries "$(psk_uri alice keys/keys.psk)"
}

@test "PSK: a wrong key and an unknown user are shut out" {
  psk_server
  "$examples/tls-psk.sh" other alice
  shut_out "$(psk_uri alice other/keys.psk)"
  "$examples/tls-psk.sh" keys2 mallory
  shut_out "$(psk_uri mallory keys2/keys.psk)"
  export_is items 0 "$(psk_uri alice keys/keys.psk)"
}

@test "PSK: the keys can be read by their owner alone" {
  psk_server
  [ "$(stat -c %a keys/keys.psk)" = 600 ]
}

@test "certificates: producer and consumer with theirs" {
  x509_server
  carries "$(x509_uri server.example certificates/client)"
}

@test "certificates: those of another authority are shut out" {
  x509_server
  "$examples/tls-x509.sh" other server.example client.example 2>err
  shut_out "$(x509_uri server.example other/client)"
  cp certificates/client/ca-cert.pem other/client
  shut_out "$(x509_uri server.example other/client)"
  export_is items 0 "$(x509_uri server.example certificates/client)"
}

@test "a client without TLS is shut out" {
  psk_server
  shut_out "$uri"
  shut_out "$status_uri"
}
