// SPDX-License-Identifier: MIT
//
// The monitor's start, with this program in the app's place: makes the memfds, starts ringer-vmm with a guest that
// loops for ever, and looks at the process from outside. Nothing but the zone (and, where the host's kernel seals it,
// the vdso) may be mapped, nothing writable and executable at once; no file may be open; the jail must be closed.
//
// With guest mappings ("auto") the RAM file stays open; where the vdso cannot go (--stress=sealed) "auto" is as
// without, and "mapped" ends at once.
// usage: zone-start [checked|auto|sealed-auto|sealed-mapped] RINGER-VMM
#include "bus/shared.h"
#include "cpu/vcpu.h"
#include "mem/zone.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RAM_SIZE = 64 << 20, TC_SIZE = 16 << 20, START_SECONDS = 10, FDS = 64 };

struct box {
	struct shared *sh;
	struct vcpu *v;
	uint8_t *ram;
	pid_t pid;
};

static unsigned failed;

static void check(bool ok, const char *what, const char *detail)
{
	printf("%s %s %s\n", ok ? "ok  " : "FAIL", what, ok ? "" : detail);
	failed += !ok;
}

static void *make(int fd, size_t size, void *at)
{
	int made = memfd_create("zone-start", 0);
	void *p;

	if (made < 0 || ftruncate(made, (off_t)size) || dup2(made, fd) < 0) {
		perror("memfd");
		exit(1);
	}
	if (made != fd)
		close(made);
	p = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (p != at) {
		perror("mmap");
		exit(1);
	}
	return p;
}

// 64-bit code in identity-mapped memory: page tables from 0x1000, "jmp ." at 0x10000.
static void make_guest(struct box *b)
{
	uint64_t *pml4 = (uint64_t *)(b->ram + 0x1000), *pdpt = (uint64_t *)(b->ram + 0x2000);
	uint64_t *pd = (uint64_t *)(b->ram + 0x3000);
	const uint16_t code = SEG_P | SEG_S | SEG_TYPE_CODE | SEG_TYPE_R | SEG_TYPE_A;
	const uint16_t data = SEG_P | SEG_S | SEG_TYPE_W | SEG_TYPE_A;

	pml4[0] = 0x2000 | PTE_P | PTE_W;
	pdpt[0] = 0x3000 | PTE_P | PTE_W;
	pd[0] = PTE_P | PTE_W | PTE_PS;
	memcpy(b->ram + 0x10000, "\xeb\xfe", 2);
	b->v->rip = 0x10000;
	b->v->rflags = RFLAGS_FIXED1;
	b->v->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	b->v->cr3 = 0x1000;
	b->v->cr4 = CR4_PAE;
	b->v->efer = EFER_LME | EFER_LMA;
	for (unsigned i = 0; i < X86_SREGS; i++)
		b->v->seg[i] = (struct x86_seg){.sel = 0x10, .attr = data | SEG_DB | SEG_G, .limit = ~0u};
	b->v->seg[X86_CS] = (struct x86_seg){.sel = 8, .attr = code | SEG_L | SEG_G, .limit = ~0u};
	b->v->tr = (struct x86_seg){.attr = SEG_P | 0xb, .limit = 0x67};
	b->v->xcr0 = 1;
	b->v->apic_base = 0xfee00900;
	memcpy(b->v->xsave, "\x7f\x03", 2);
	memcpy(b->v->xsave + 24, "\x80\x1f", 2);
}

static void make_box(struct box *b)
{
	uint8_t *state = make(MONITOR_FD_STATE, STATE_FILE_SIZE, (void *)ZONE_SHARED);

	b->sh = (struct shared *)state;
	b->v = (struct vcpu *)(state + vcpu_file_offset(0));
	b->ram = make(MONITOR_FD_RAM, RAM_SIZE, (void *)ZONE_RAM);
	make(MONITOR_FD_TC, TC_SIZE, (void *)(ZONE_VCPU(0) + ZONE_VCPU_TC_RW));
	b->sh->magic = SHARED_MAGIC;
	b->sh->size = sizeof(*b->sh);
	b->sh->config.vcpus = 1;
	b->sh->config.tsc_hz = 2000000000;
	b->sh->config.tc_size = TC_SIZE;
	b->sh->config.mem = (struct mem){.ram_size = RAM_SIZE, .low_end = RAM_SIZE, .high_end = MEM_HIGH_START,
						  .rom_start = MEM_HIGH_START};
	make_guest(b);
}

static bool in_zone(uint64_t from, uint64_t to)
{
	return from >= ZONE_START + ZONE_GAP && to <= ZONE_END - ZONE_GAP;
}

// What the kernel may leave above the zone: it seals the vdso on some hosts, and the vsyscall page is not user memory.
static bool is_kernels(const char *line)
{
	return strstr(line, "[vsyscall]") || strstr(line, "[vdso]") || strstr(line, "[vvar") != NULL;
}

static void check_maps(const struct box *b)
{
	char path[64], line[512], prot[8];
	bool outside = false, wx = false;
	uint64_t from, to;
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", b->pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to, prot) == 3) {
		n++;
		if (!in_zone(from, to) && !is_kernels(line)) {
			outside = true;
			printf("outside the zone: %s", line);
		}
		if (prot[1] == 'w' && prot[2] == 'x') {
			wx = true;
			printf("writable and executable: %s", line);
		}
	}
	if (f)
		fclose(f);
	check(n > 5, "the map can be read", path);
	check(!outside, "nothing outside the zone", "see above");
	check(!wx, "nothing writable and executable", "see above");
}

static void check_status(const struct box *b)
{
	char path[64], line[512] = "";
	bool jailed = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", b->pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		jailed |= !strncmp(line, "Seccomp:\t2", 10);
	if (f)
		fclose(f);
	check(jailed, "the jail is closed", "Seccomp is not 2");
}

static void check_files(const struct box *b)
{
	char path[64], target[64];
	bool open = false, maps = b->sh->config.memory != MEMORY_CHECKED;

	for (unsigned fd = 0; fd < FDS; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%u", b->pid, fd);
		open |= readlink(path, target, sizeof(target)) >= 0 && !(maps && fd == MONITOR_FD_RAM);
	}
	check(!open, "no file is open but what is to be mapped", path);
}

// The vdso could be sealed, or this kernel is too old for that and nothing is shown.
static void check_sealed(const struct box *b)
{
	char path[64], line[512];
	bool sealed = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", b->pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		sealed |= strstr(line, "[vdso]") != NULL;
	if (f)
		fclose(f);
	check(!sealed || b->sh->config.memory == MEMORY_CHECKED, "with a sealed vdso all access is checked", "it is not");
	check(sealed == !!b->sh->stats[0].shadow_sealed, "the statistics say so", "they do not");
}

// --memory=mapped needs what a sealed vdso takes away.
static int expect_refusal(const struct box *b)
{
	int status;

	if (waitpid(b->pid, &status, 0) != b->pid || !WIFEXITED(status))
		return 1;
	check(WEXITSTATUS(status) == START_SEALED, "refused", "another status");
	return failed != 0;
}

// Wait until the monitor is behind its jail, or has said why not.
static bool await_start(const struct box *b)
{
	const struct timespec tick = {0, 10000000};
	int status;

	for (unsigned i = 0; i < START_SECONDS * 100; i++) {
		if (waitpid(b->pid, &status, WNOHANG) == b->pid) {
			printf("the monitor ended with status %x\n%s\n", status, b->sh->report);
			return false;
		}
		if (b->sh->request[0].state == REQ_POSTED || b->sh->stats[0].tu_translated)
			return true;
		nanosleep(&tick, NULL);
	}
	return true;
}

// By its error for a bad flag. 462: mseal(2), younger than the headers.
static bool has_mseal(void)
{
	return syscall(462, NULL, 0, ~0ul) < 0 && errno == EINVAL;
}

int main(int argc, char **argv)
{
	char *const args[] = {argv[argc - 1], "0", NULL};
	struct box b = {0};

	const char *how = argc == 3 ? argv[1] : "checked";

	if (argc < 2 || argc > 3)
		return 2;
	make_box(&b);
	b.sh->config.memory = strstr(how, "mapped") ? MEMORY_MAPPED : strstr(how, "auto") ? MEMORY_AUTO : MEMORY_CHECKED;
	b.sh->config.stress = strstr(how, "sealed") ? STRESS_SEALED : 0;
	if (posix_spawn(&b.pid, args[0], NULL, NULL, args, environ)) {
		perror(args[0]);
		return 1;
	}
	if (!strcmp(how, "sealed-mapped") && has_mseal())
		return expect_refusal(&b);
	if (!await_start(&b))
		return 1;
	check_sealed(&b);
	check_maps(&b);
	check_status(&b);
	check_files(&b);
	check(b.sh->request[0].state != REQ_POSTED || b.sh->request[0].kind != REQ_CRASH, "no crash", b.sh->report);
	kill(b.pid, SIGKILL);
	waitpid(b.pid, NULL, 0);
	return failed != 0;
}
