# SPDX-License-Identifier: MIT
# Perl at work: hashes, regular expressions, string building and sorting.   perl perl.pl N
use strict;
use warnings;

my $n = shift;
my ($seed, %count, @lines) = (12345);

sub next_random { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; return $seed >> 8 }

for my $i (1 .. $n * 100) {
	push @lines, join ' ', map { "k" . next_random() % 997 . "=" . next_random() % 10007 } 1 .. 6;
}
for (@lines) {
	while (/k(\d+)=(\d+)/g) { $count{$1} += $2 }
	s/k(\d)\d*=/<$1>/g;
}
my @order = sort { $count{$b} <=> $count{$a} || $a <=> $b } keys %count;
my $text = join "\n", sort @lines;
my $digits = ($text =~ tr/0-9//);
print "perl $n: $order[0] $count{$order[0]} $digits ", length $text, "\n";
