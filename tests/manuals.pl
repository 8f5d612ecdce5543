#!/usr/bin/env perl
# SPDX-License-Identifier: BSD-3-Clause
#
# The manuals of section 3 and include/blkring.h tell the same: each public
# name is in a manual, with the same prototype or the same fields, and each
# name in a manual is public.  Whether what is said is true is not looked at.

use strict;
use warnings;

my $top = $ENV{abs_top_srcdir} or die "abs_top_srcdir is not set\n";
my @failures;

sub slurp
{
  my ($name) = @_;
  open my $file, '<', $name or die "$name: $!\n";
  local $/;
  return scalar <$file>;
}

# One space where there may be any, none beside punctuation, no comments.
sub normalize
{
  my ($c) = @_;
  $c =~ s{/\*.*?\*/}{ }gs;
  $c =~ s/\s+/ /g;
  $c =~ s/ ?([^\w ]) ?/$1/g;
  return $c =~ s/^ | $//gr;
}

# What C text declares: name => declaration.
sub declarations
{
  my ($c) = @_;
  my %found = (function => {}, struct => {}, enum => {}, typedef => {},
               define => {});

  $c =~ s{/\*.*?\*/}{ }gs;
  while ($c =~ /^ *# *define +(BLKRING_\w+) +(\S.*)$/mg) {
    my ($name, $value) = ($1, $2);
    $found{define}{$name} = normalize ($value);
  }
  $c =~ s/^ *#.*$//mg;
  while ($c =~ /\b(struct|enum)\s+(blkring_\w+)\s*\{(.*?)\}\s*;/sg) {
    my ($kind, $name, $body) = ($1, $2, $3);
    $found{$kind}{$name} = normalize ($body) =~ s/,$//r;
  }
  $c =~ s/\b(?:struct|enum)\s+blkring_\w+\s*\{.*?\}\s*;//sg;
  while ($c =~ /\btypedef\s+([^;]*);/sg) {
    my $type = normalize ($1);
    my ($name) = $type =~ /^[^()]*\(\*(\w+)\)/ ? $1 : $type =~ /(\w+)$/;
    $found{typedef}{$name} = $type;
  }
  $c =~ s/\btypedef\s+[^;]*;//sg;
  # A prototype begins a line, so that calls in examples are none.
  while ($c =~ /^\ ?(?:extern\ )?
                ((?:const\ )?(?:struct\ )?\w+[\s*]+
                 (blkring_\w+)\s*\([^;{}]*\))\s*;/xmg) {
    my ($text, $name) = ($1, $2);
    $found{function}{$name} = normalize ($text)
      unless $text =~ /^(?:return|else|if|while)\b/;
  }
  return \%found;
}

sub constants
{
  my ($enums) = @_;
  return map { map { s/=.*//r } split /,/ } values %$enums;
}

# The members of a struct: the last word of each declarator.
sub members
{
  my ($body) = @_;
  my @names;

  for (split /;/, $body) {
    if (/\(\*(\w+)\)/) {
      push @names, $1;
    }
    else {
      push @names, map { s/\[\w*\]$//r =~ /(\w+)$/ } split /,/;
    }
  }
  return @names;
}

sub check
{
  my ($what, @bad) = @_;
  push @failures, [ $what, sort @bad ];
}

# ------------------------------------------------------------------------

my $header = declarations (slurp ("$top/include/blkring.h"));
my @pages = map { m{([^/]+)\.pod$} } sort glob "$top/man/*blkring*.pod";
my @library = grep { $_ ne 'blkring-img' } @pages;
my (%text, %prose, %shown);
for my $page (@pages) {
  my @lines = split /\n/, $text{$page} = slurp ("$top/man/$page.pod");
  # Declarations stand in the lines that are indented; what is said of them
  # stands in the others.
  $prose{$page} = join "\n", grep { !/^ / } @lines;
  $shown{$page} = declarations (join "\n", grep { /^ / } @lines);
}
my $all = join "\n", @text{@library};
my $all_prose = join "\n", @prose{@library};

check ('the header declares what this test knows how to read',
       (grep { !%{$header->{$_}} } keys %$header),
       grep { !exists $header->{struct}{$_} }
            qw (blkring_info blkring_device_ops));

# All that has our prefix, less what the parser has understood.
my %public;
for my $kind (keys %$header) {
  $public{$_} = $kind for keys %{$header->{$kind}};
}
$public{$_} = 'constant' for constants ($header->{enum});
my $plain = slurp ("$top/include/blkring.h") =~ s{/\*.*?\*/}{ }gsr;
check ('no public name escapes this test',
       grep { !$public{$_} && $_ ne 'BLKRING_H' }
            $plain =~ /\b(blkring_\w+|BLKRING_\w+)\b/g);

check ('each public name is in a manual', grep { $all !~ /\b$_\b/ } keys %public);

check ('each function, constant and flag is explained in a manual',
       grep { $public{$_} =~ /^(?:function|constant|define)$/ &&
              $all_prose !~ /\b$_\b/ } keys %public);

check ('each function is in the NAME of a manual, or of libblkring',
       grep { my $name = $_;
              !grep { /^=head1 NAME\n\n(.*?)\n\n/s && $1 =~ /\b$name\b/ }
                    @text{@library} }
            keys %{$header->{function}});

for my $kind (qw (function struct enum typedef define)) {
  my (@differ, @unknown, %seen);

  for my $page (@library) {
    while (my ($name, $is) = each %{$shown{$page}{$kind}}) {
      my $ought = $header->{$kind}{$name};
      push @unknown, "$page: $name" if !defined $ought && $name =~ /^blkring_/i;
      push @differ, "$page: $name is '$is', in the header '$ought'"
        if defined $ought && $is ne $ought;
      $seen{$name} = 1;
    }
  }
  check ("each $kind that a manual shows is as in the header", @differ);
  check ("each $kind that a manual shows is in the header", @unknown);
  # Constants can be told one by one, as items of a list.
  check ("each $kind of the header is shown in a manual",
         grep { !$seen{$_} } keys %{$header->{$kind}})
    unless $kind eq 'enum' || $kind eq 'define';
}

# In the page that shows it, or in one that this refers to.
my @silent;
for my $struct (keys %{$header->{struct}}) {
  for my $member (members ($header->{struct}{$struct})) {
    push @silent, "$struct.$member"
      unless grep { $shown{$_}{struct}{$struct} &&
                    $prose{$_} =~ /I<\*?$member>|^=head\d .*\b$member\b/m }
                  @library;
  }
}
check ('each member of a public struct is explained where it is shown',
       @silent);

my $environment = slurp ("$top/utils/exec.c");
my (%unknown, %dangling);
for my $page (@pages) {
  for ($text{$page} =~ /\b(blkring_\w+|BLKRING_\w+)/g) {
    my $used = $_;
    next if $public{$used} || exists $text{$used};
    # Of the environment of consume --exec.
    next if $page eq 'blkring-img' && $environment =~ /"$used"/;
    # BLKRING_OPEN_* and the like stand for all that begin so.
    next if $used =~ /_$/ && grep { index ($_, $used) == 0 } keys %public;
    $unknown{"$page: $used"} = 1;
  }
  while ($text{$page} =~ m{L<(?:((?:lib)?blkring[\w-]*)\(\d\))?
                            (?:/([^>]+))?>}xg) {
    my ($to, $section) = ($1 // $page, $2);
    $dangling{"$page: $to"} = 1 unless exists $text{$to};
    $dangling{"$page: $to/$section"} = 1
      if defined $section &&
         ($text{$to} // '') !~ /^=(?:head\d|item) \Q$section\E\s*$/m;
  }
}
check ('each name that a manual uses is public', keys %unknown);
check ('each page and section that is referred to is there', keys %dangling);

check ('each errno of the header is explained in libblkring(3)',
       grep { $text{libblkring} !~ /^=item C<$_>$/m }
            keys %{{ map { $_ => 1 }
                     slurp ("$top/include/blkring.h") =~
                     /^ \*   (E[A-Z]+)  /mg }});

my @pod_errors;
my $checks_pod = eval { require Pod::Checker };
for my $page ($checks_pod ? @pages : ()) {
  my $log = '';
  my $checker = Pod::Checker->new (-warnings => 1);
  open my $out, '>', \$log or die "$!\n";
  $checker->parse_from_file ("$top/man/$page.pod", $out);
  push @pod_errors, split /\n/, $log
    if $checker->num_errors || $checker->num_warnings;
}
check ('the pod of each manual is well-formed' .
       ($checks_pod ? '' : ' # SKIP perl has no Pod::Checker'), @pod_errors);

# ------------------------------------------------------------------------

printf "1..%d\n", scalar @failures;
my $nr = 0;
for (@failures) {
  my ($what, @bad) = @$_;
  printf "%s %d - %s\n", @bad ? 'not ok' : 'ok', ++$nr, $what;
  print "# $_\n" for @bad;
}
exit grep { @$_ > 1 } @failures;
