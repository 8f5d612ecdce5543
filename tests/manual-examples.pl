#!/usr/bin/env perl
# SPDX-License-Identifier: BSD-3-Clause
#
# Takes the examples out of the manuals, so that they are compiled.
#
#   manual-examples.pl --program=NAME.c PAGE.pod
#       the program below the heading NAME.c
#   manual-examples.pl --fragments PAGE.pod...
#       what is in the sections EXAMPLE and is no program, a function each

use strict;
use warnings;

my $mode = shift @ARGV or die "usage: $0 --program=NAME|--fragments POD...\n";

# The lines of a section of a page, without the headings of its parts.
sub section
{
  my ($file, $heading) = @_;
  my ($level, @lines);

  open my $in, '<', $file or die "$file: $!\n";
  while (<$in>) {
    if (/^=head(\d)\s+(.*?)\s*$/) {
      undef $level if defined $level && $1 <= $level;
      $level = $1 if $2 eq $heading;
    }
    elsif (defined $level) {
      push @lines, $_;
    }
  }
  return @lines;
}

# The indented parts, of which text cuts one from the next.
sub blocks
{
  my @blocks = ('');

  for (@_) {
    if (/^ (.*)/s) {
      $blocks[-1] .= $1;
    }
    elsif (/\S/) {
      push @blocks, '' if $blocks[-1] =~ /\S/;
    }
    else {
      $blocks[-1] .= "\n" if $blocks[-1] ne '';
    }
  }
  return grep { /\S/ } @blocks;
}

if ($mode =~ /^--program=(.+)/) {
  my @found = blocks (section ($ARGV[0], $1));
  die "$ARGV[0]: no program $1\n" unless @found == 1;
  print $found[0];
  exit 0;
}

die "$mode is not known\n" unless $mode eq '--fragments';
print <<'END';
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <blkring.h>

extern int process (const void *data, size_t length);
extern int perform (const struct blkring_item *items, size_t nr,
                    void *opaque);
END
my $nr = 0;
for my $page (@ARGV) {
  my @examples = blocks (section ($page, 'EXAMPLE'));

  die "$page: no example\n" unless @examples;
  for (grep { !/^main \(/m && /;/ } @examples) {
    my $functions = '';
    # From the line with static to the one with the last brace.
    $functions .= $1 while s/^(static\b[^;{}]*\)\n\{\n.*?^\}\n)//sm;
    $functions = $1 . $functions while s/^(static\b[^;{}]*;\n)//sm;
    $functions .= $1 while s/^(static\b[^;{}]*\{.*?^\};\n)//sm;
    $nr++;
    print <<"END";

/* $page */
#define example example_$nr
extern int example (blkring_device *device, blkring_producer *producer,
  blkring_consumer *consumer, blkring_journal *journal,
  const void *item, size_t length,
  void *head, size_t head_length, void *body, size_t body_length);

$functions
int
example (blkring_device *device, blkring_producer *producer,
  blkring_consumer *consumer, blkring_journal *journal,
  const void *item, size_t length,
  void *head, size_t head_length, void *body, size_t body_length)
{
  {
$_
  }
  return 0;
}
#undef example
END
  }
}
