# SPDX-License-Identifier: MIT
# The short way in; Meson does the work.
#   make            build/ringer and build/ringer-vmm
#   make run        build, fetch Debian's kernel and busybox, boot to a shell (Ctrl-a x quits)
#   make test       everything; ends with "N passed, N failed"
#   make bench      every program natively, under ringer and under QEMU; ROUNDS=5 ONLY="fib gcc" PLACES="native ringer"
#   make lint       include rules, file headers, line lengths
#   make clean      remove what was built; the guests fetched stay in build/guest
# MODE=release|debug|asan|ubsan|tsan|coverage and CC=gcc|clang choose a build; each has a directory of its own.

MODE ?= release
ifeq ($(origin CC),default)
CC := gcc
endif
FLAVOUR ?= cloud

MESON_release  := -Doptimization=2
MESON_debug    := -Doptimization=g
MESON_asan     := -Doptimization=1 -Db_sanitize=address -Db_lundef=false
MESON_ubsan    := -Doptimization=1 -Db_sanitize=undefined -Db_lundef=false
MESON_tsan     := -Doptimization=1 -Db_sanitize=thread -Db_lundef=false
MESON_coverage := -Doptimization=0 -Db_coverage=true
ifeq ($(MESON_$(MODE)),)
$(error MODE=$(MODE) is not built yet: release, debug, asan, ubsan, tsan or coverage)
endif

B := build$(if $(filter-out release,$(MODE)),-$(MODE))$(if $(filter-out gcc,$(notdir $(CC))),-$(notdir $(CC)))

.PHONY: all build run test bench lint clean

all: build

build: $(B)/build.ninja
	@ninja -C $(B) --quiet

$(B)/build.ninja:
	@tools/deps.sh run
	@CC=$(CC) meson setup $(B) $(MESON_$(MODE)) >$(B).log 2>&1 || { cat $(B).log; exit 1; }
	@mv $(B).log $(B)/setup.log

run: build
	@kernel=$$(tools/guest_kernel.sh $(FLAVOUR)) && tools/guest_initramfs.sh -i -o $(B)/shell.gz && \
	exec $(B)/ringer -m 512M -kernel $$kernel -initrd $(B)/shell.gz -append "console=ttyS0 quiet" -nographic -no-reboot

test:
	@[ -z "$$(tools/deps.sh test 2>&1 | tee /dev/stderr)" ] || rm -rf $(B)/build.ninja $(B)/meson-private
	@$(MAKE) --no-print-directory build
	@tools/run_tests.sh $(B)

bench: build
	@python3 bench/bench.py $(B)

lint:
	@tools/lint.sh

clean:
	@for d in build build-*; do [ ! -d $$d ] || find $$d -mindepth 1 -maxdepth 1 ! -name guest -exec rm -rf {} +; done
