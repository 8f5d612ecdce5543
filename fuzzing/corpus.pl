#!/usr/bin/env perl
# SPDX-License-Identifier: BSD-3-Clause
#
# A corpus is a text file here: an input a line, in hexadecimal.  Lines that
# begin with # say what the one below has found.
#
#   corpus.pl unpack FILE DIRECTORY    a file each, for a fuzzer
#   corpus.pl pack DIRECTORY > FILE

use strict;
use warnings;

my ($what, $from, $to) = @ARGV;

if (@ARGV == 3 && $what eq 'unpack') {
  my $nr = 0;
  open my $in, '<', $from or die "$from: $!\n";
  while (<$in>) {
    chomp;
    next if /^#/;
    die "$from: line $. is not hexadecimal\n" unless /^(?:[0-9a-f]{2})*$/;
    my $name = sprintf '%s/%05d', $to, ++$nr;
    open my $out, '>:raw', $name or die "$name: $!\n";
    print $out pack 'H*', $_;
    close $out or die "$name: $!\n";
  }
}
elsif (@ARGV == 2 && $what eq 'pack') {
  my @inputs;
  for my $name (glob "$from/*") {
    open my $in, '<:raw', $name or die "$name: $!\n";
    local $/;
    push @inputs, unpack 'H*', <$in> // '';
  }
  print "$_\n" for sort { length $a <=> length $b || $a cmp $b } @inputs;
}
else {
  die "usage: $0 unpack FILE DIRECTORY | pack DIRECTORY\n";
}
