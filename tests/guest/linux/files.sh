# SPDX-License-Identifier: MIT
#
# Ordinary programs over the files that corpus makes: hashing, packing and unpacking, sorting, awk, dc, a shell's own
# work. Run by busybox's shell, with the programs to test first in PATH; all output goes to the runner.
#   sh files.sh DIRECTORY-OF-PROGRAMS        PART=20: a twentieth of the work, where a processor is very slow
here=$1
work=$(mktemp -d /tmp/files.XXXXXX)
trap 'rm -rf "$work"' EXIT
part=${PART:-1}
"$here/corpus" "$work" "$part" || exit 1
cd "$work" || exit 1

sums() { # what each summing program says of standard input, kept in a file
	cat >sum.tmp
	for sum in md5sum sha1sum sha256sum sha512sum; do echo "$1 $sum $($sum <sum.tmp | cut -d' ' -f1)"; done
	rm sum.tmp
}

pack() { # name, pack command, unpack command
	for f in text table binary; do
		$2 <$f >packed || echo "$1 cannot pack $f"
		$3 <packed >unpacked || echo "$1 cannot unpack $f"
		cmp unpacked $f && echo "$1 $f packed $(sha256sum <packed | cut -c1-32) $(wc -c <packed) and back"
	done
	rm -f packed unpacked
}

for f in text table binary; do sums $f <$f; done

pack 'busybox gzip' 'busybox gzip -6n' 'busybox gunzip'
pack 'busybox bzip2' 'busybox bzip2' 'busybox bunzip2'
pack 'xz' 'xz -2 -T1' 'busybox unxz'
pack 'xz itself' 'xz -1 -T1' 'xz -d -T1'
pack 'bzip2' 'bzip2 -9' 'bunzip2'
pack 'gzip' 'gzip -9n' 'gzip -d'

sort <table | sha256sum
sort -n -r <table | sha256sum
sort -k2,2 -k1,1n <table | sha256sum
sort -u -k2,2 <table | wc -l
tr -s ' .' '\n\n' <text | sort | uniq -c | sort -rn | head -20
tr 'a-z' 'n-za-m' <text | rev | sha256sum
sed -e 's/\([aeiou]\)\([b-d]\)/\2\1/g' -e '/^$/d' <text | sha256sum
grep -c 'ba.*ba' text
cut -d' ' -f3 table | paste -s -d+ | cut -c1-60
tar cf - text table | tar tf -
uuencode -m text <binary | uudecode -o - | cmp - binary && echo "encoded and decoded"
od -A n -t x1 binary | sha256sum
diff table text | sha256sum
seq 1 $((3000 / part)) | factor | tail -2

for awk in 'busybox awk' mawk gawk; do
	[ "$awk" = 'busybox awk' ] || command -v "$awk" >/dev/null || continue
	echo "$awk"
	$awk '{ n[$2]++; sum[$2] += $3 } END { for (w in n) printf "%s %d %.2f\n", w, n[w], sum[w] / n[w] }' table | sort | sha256sum
	$awk 'BEGIN { for (i = 1; i <= 2000; i++) s += sin(i) * exp(-i / 300) / sqrt(i) + log(i) * cos(i); printf "%.12f\n", s }'
	$awk -v end=$((20000 / part)) 'BEGIN { for (n = 2; n < end; n++) { if (!(n in c)) { p++; for (m = n * 2; m < end; m += n) c[m] = 1 } } print p }'
	$awk '{ $1 = toupper($2); gsub(/a/, "o"); print length($0), substr($0, 2, 7) }' table | sha256sum
done

echo 'dc'
busybox dc -e '2 200 ^ p 3 100 ^ 7 % p 20 k 2 v p 355 113 / p 10 o 123456789 987654321 * p'
for bc in 'busybox bc' bc; do
	command -v bc >/dev/null || continue
	echo "$bc"
	echo "scale=$((200 / part)); 4*a(1)" | $bc -l
	echo 'define f(n) { if (n < 2) return (1); return (n * f(n - 1)); } f(150) % 1000003; 2^1000 % 10^20; sqrt(2*10^100)' | $bc
done

if command -v perl >/dev/null; then
	perl -e 'my %n; open F, "text"; while (<F>) { $n{$_}++ for split /\W+/ } my $s = 0; $s += length($_) * $n{$_} for keys %n; print "perl $s ",
		join(",", (sort { $n{$b} <=> $n{$a} || $a cmp $b } keys %n)[0..9]), "\n";
		my $x = 1; $x = ($x * 1103515245 + 12345) % 2147483648 for 1..100000; printf "%d %.15g %s\n", $x, exp(1) ** 20, "abc" x 3;
		my @a = map { ($_ * 7919) % 10007 } 1..10006; print join(" ", (sort { $a <=> $b } @a)[0, 5000, 10005]), "\n";'
fi

i=0 sum=0
while [ $i -lt $((3000 / part)) ]; do
	i=$((i + 1)) sum=$(((sum * 31 + i) % 1000003))
done
echo "shell $sum"
for i in 1 2 3 4 5 6 7 8 9 10; do echo $i | cat | sed 's/$/ through a pipe/' | tail -1; done | sha256sum
