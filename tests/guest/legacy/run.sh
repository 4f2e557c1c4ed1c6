#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The bare-metal guests outside long mode: tests/guest/metal/run.sh on this folder, with its variables.
#   tests/guest/legacy/run.sh [GUEST...]
METAL_FOLDER=legacy exec "$(dirname "$0")/../metal/run.sh" "$@"
