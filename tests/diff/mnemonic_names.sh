#!/bin/sh
# SPDX-License-Identifier: MIT
# The names of the generated mnemonics as a table: mnemonic_names.sh mnemonic.h > mnemonic_names.h
echo '#include "x86/decode.h"'
echo 'static const char *const mnemonic_names[] = {'
sed -n 's/^\tX86_MNEM_\([A-Z0-9_]*\) = \([0-9]*\),/\t[\2] = "\1",/p' "$1"
echo '};'
