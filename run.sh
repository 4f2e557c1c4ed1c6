#!/bin/bash
exec $P timeout -k 1 -s TERM ${T:-10} build/ringer -cpu ${CPU:-max} -m 512M -kernel /work/guest/${K:-cloud}/vmlinuz -initrd /work/guest/init.gz -append "console=ttyS0 earlyprintk=ttyS0 ${A}" -nographic -no-reboot --stats "$@"
