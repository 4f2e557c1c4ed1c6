// SPDX-License-Identifier: MIT
//
// From exec to the first guest instruction: map the shared memfds at their addresses in the zone, make the private
// areas and stacks, leave the kernel's first stack, unmap everything that is not the zone's (the vdso included), close
// the jail. A failure before the request slot can be used ends in an exit status (enum start_failure) that the app
// turns into words. After start_run nothing is mapped, opened or created any more.
#include "bt/entry.h"
#include "shadow/shadow.h"
#include "vmm/jail.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include <asm/prctl.h>
#include <elf.h>
#include <errno.h>
#include <linux/close_range.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { STACK_SIZE = 1 << 20, SIGNAL_STACK_SIZE = 256 << 10, HWCAP2_FSGSBASE_BIT = BIT(1) };
enum { LINUX_SYS_MSEAL = 462 }; // younger than the headers
enum { SPIN_US = 20 }; // a world switch spins that long: about what a sleep and a wake cost

// A guard page stands below each stack.
#define STACK_BOTTOM (ZONE_STACK + PAGE_SIZE)
#define STACK_TOP (STACK_BOTTOM + STACK_SIZE)
#define STACK_TOP_USED (STACK_TOP - 16) // above it: start_map's word to start_run
#define SIGNAL_STACK (STACK_TOP + PAGE_SIZE)
#define SIGNAL_STACK_TOP (SIGNAL_STACK + SIGNAL_STACK_SIZE)
#define USER_END 0x7ffffffff000 // end of the lower half that mmap uses without being asked for more

extern const char monitor_image_end[]; // monitor.ld

uint64_t start_map(const uint64_t *sp);
_Noreturn void start_run(void);

static void map(uint64_t at, uint64_t size, int prot, int flags, int fd, uint64_t offset)
{
	long got;

	if (!size)
		return;
	flags |= fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	flags |= MAP_FIXED_NOREPLACE;
	got = linux_call6(SYS_mmap, at, size, (uint64_t)prot, (uint64_t)flags, (uint64_t)fd, offset);
	if (got != (long)at)
		linux_exit(START_MAP);
}

static void map_private(uint64_t at, uint64_t size)
{
	map(at, align_up(size, PAGE_SIZE), PROT_READ | PROT_WRITE, MAP_NORESERVE, -1, 0);
}

static void map_ram(const struct mem *m)
{
	const int rw = PROT_READ | PROT_WRITE;
	uint64_t high = UINT64_C(1) << 32;

	map(ZONE_RAM, m->low_end, rw, MAP_NORESERVE, MONITOR_FD_RAM, 0);
	if (m->rom_start < high)
		map(ZONE_RAM + m->rom_start, high - m->rom_start, PROT_READ, MAP_NORESERVE, MONITOR_FD_RAM, m->ram_size);
	map(ZONE_RAM + MEM_FRAME, m->frame_size, rw, MAP_NORESERVE, MONITOR_FD_RAM, mem_frame_offset(m));
	if (m->high_end > high)
		map(ZONE_RAM + high, m->high_end - high, rw, MAP_NORESERVE, MONITOR_FD_RAM, m->low_end);
}

// Readable where an address of the lower half with these bits 47-32 is a guest user's.
static void map_guard(uint64_t at)
{
	const uint64_t zone = at + (ZONE_START >> 32), zone_end = at + (ZONE_END >> 32), upper = at + 0x8000;

	map(at, zone - at, PROT_READ, MAP_NORESERVE, -1, 0);
	map(zone_end, upper - zone_end, PROT_READ, MAP_NORESERVE, -1, 0);
}

static void map_state(uint64_t at, uint64_t size, uint64_t offset)
{
	map(at, size, PROT_READ | PROT_WRITE, 0, MONITOR_FD_STATE, offset);
}

static const struct shared *map_shared(void)
{
	const struct shared *sh = (const struct shared *)ZONE_SHARED;

	map_state(ZONE_SHARED, SHARED_SIZE, 0);
	if (sh->magic != SHARED_MAGIC || sh->size != sizeof(*sh) || sh->config.vcpus - 1 >= VCPUS_MAX)
		linux_exit(START_SHARED);
	if (sh->config.tc_size > ZONE_VCPU_TC_RW - ZONE_VCPU_TC || sh->config.mem.high_end > ZONE_END - ZONE_GAP - ZONE_RAM)
		linux_exit(START_SIZE);
	return sh;
}

// Which vCPU this monitor runs: its one argument, a number.
static unsigned own_index(const uint64_t *sp, const struct shared *sh)
{
	const char *arg = *sp == 2 ? (const char *)sp[2] : "";
	unsigned n = *arg ? 0 : VCPUS_MAX;

	for (; *arg >= '0' && *arg <= '9' && n < VCPUS_MAX; arg++)
		n = n * 10 + (unsigned)(*arg - '0');
	if (*arg || n >= sh->config.vcpus)
		linux_exit(START_SHARED);
	return n;
}

// --stress=sealed: with its data, which lies below. Neither can be sealed in part, and nobody tells their sizes.
static void seal_vdso(uint64_t at)
{
	enum { PAGES = 16 };

	for (uint64_t n = 1; n <= PAGES; n++)
		if (!linux_call3(LINUX_SYS_MSEAL, at, n * PAGE_SIZE, 0))
			break;
	for (uint64_t n = PAGES; n > 0; n--)
		if (!linux_call3(LINUX_SYS_MSEAL, at - n * PAGE_SIZE, n * PAGE_SIZE, 0))
			break;
}

// On the kernel's first stack: map all there will be. Returns the top of the monitor's own stack.
uint64_t start_map(const uint64_t *sp)
{
	const struct shared *sh = map_shared();
	uint64_t area = ZONE_VCPU(own_index(sp, sh));
	struct vmm *vm = vmm_of((struct vcpu *)area);

	for (unsigned i = 0; i < sh->config.vcpus; i++)
		map_state(ZONE_VCPU(i), VCPU_SHARED_SIZE, vcpu_file_offset(i));
	map_state(ZONE_CHIPS, CHIPS_SHARED_SIZE, CHIPS_FILE_OFFSET);
	map_state(ZONE_PEERS, PEERS_SHARED_SIZE, PEERS_FILE_OFFSET);
	map(area + ZONE_VCPU_TC, sh->config.tc_size, PROT_READ | PROT_EXEC, MAP_NORESERVE, MONITOR_FD_TC, 0);
	map(area + ZONE_VCPU_TC_RW, sh->config.tc_size, PROT_READ | PROT_WRITE, MAP_NORESERVE, MONITOR_FD_TC, 0);
	map_private(area + ZONE_VCPU_VMM, sizeof(*vm));
	map_private(area + ZONE_VCPU_CALLS, ZONE_VCPU_CALLS_SIZE);
	map_private(area + ZONE_VCPU_BT, ZONE_VCPU_BT_SIZE);
	map_private(STACK_BOTTOM, STACK_SIZE);
	map_private(SIGNAL_STACK, SIGNAL_STACK_SIZE);
	map_ram(&sh->config.mem);
	if (sh->config.memory != MEMORY_CHECKED) {
		map_private(area + ZONE_VCPU_SHADOW, sizeof(struct shadow));
		map_guard(area + ZONE_VCPU_GUARD);
	}
	// The software TLB and RAM are walked at random: large pages where the host gives them. The other tables are
	// touched here and there only. Failure changes nothing.
	linux_call3(SYS_madvise, area + ZONE_VCPU_BT, ZONE_VCPU_BT_SIZE, MADV_NOHUGEPAGE);
	linux_call3(SYS_madvise, area + ZONE_VCPU_BT, 2 << 20, MADV_HUGEPAGE);
	linux_call3(SYS_madvise, ZONE_RAM, sh->config.mem.low_end, MADV_HUGEPAGE);

	vm->self = vm;
	vm->vcpu = (struct vcpu *)area;
	vm->shared = (struct shared *)ZONE_SHARED;
	vm->chips = (struct chips *)ZONE_CHIPS;
	for (sp += *sp + 2; *sp; sp++) // argc, argv, 0, environment ...
		;
	for (sp++; sp[0] != AT_NULL; sp += 2) // ... 0, auxiliary vector
		if (sp[0] == AT_HWCAP2)
			vm->fsgsbase = sp[1] & HWCAP2_FSGSBASE_BIT;
		else if (sp[0] == AT_SYSINFO_EHDR && sh->config.stress & STRESS_SEALED)
			seal_vdso(sp[1]);
	*(struct vmm **)STACK_TOP_USED = vm;
	return STACK_TOP_USED;
}

// Unmap [from, to). Newer kernels seal the vdso against that: then unmap all around it, by halves, and do without guest
// mappings: the guest's own may have to be where it is.
static void unmap(uint64_t from, uint64_t to)
{
	struct shared *sh = (struct shared *)ZONE_SHARED;
	long err = from < to ? linux_call3(SYS_munmap, from, to - from, 0) : 0;
	uint64_t middle = align_down(from + (to - from) / 2, PAGE_SIZE);

	if (!err)
		return;
	if (err != -EPERM)
		linux_exit(START_UNMAP);
	if (sh->config.memory == MEMORY_MAPPED || memory_is_direct(sh->config.memory))
		linux_exit(START_SEALED);
	sh->stats[0].shadow_sealed |= sh->config.memory == MEMORY_AUTO;
	sh->config.memory = MEMORY_CHECKED;
	if (to - from > PAGE_SIZE) {
		unmap(from, middle);
		unmap(middle, to);
	}
}

// Everything that start_map has not mapped goes: below and above the zone, and what may lie in its gaps.
static void unmap_rest(const struct vmm *vm)
{
	const struct mem *m = &vm->shared->config.mem;
	uint64_t tc_size = ((const struct shared *)ZONE_SHARED)->config.tc_size;

	unmap(0, ZONE_IMAGE);
	unmap((uintptr_t)monitor_image_end, STACK_BOTTOM);
	unmap(STACK_TOP, SIGNAL_STACK);
	unmap(SIGNAL_STACK_TOP, ZONE_SHARED);
	unmap(ZONE_SHARED + SHARED_SIZE, ZONE_PEERS);
	unmap(ZONE_PEERS + PEERS_SHARED_SIZE, ZONE_CHIPS);
	unmap(ZONE_CHIPS + CHIPS_SHARED_SIZE, ZONE_VCPU(0));
	for (unsigned i = 0, n = vm->shared->config.vcpus; i < n; i++)
		unmap(ZONE_VCPU(i) + (i == vm->vcpu->index ? ZONE_VCPU_TC_RW + align_up(tc_size, PAGE_SIZE) :
			VCPU_SHARED_SIZE), i + 1 < n ? ZONE_VCPU(i + 1) : ZONE_RAM);
	unmap(ZONE_RAM + m->high_end, USER_END);
	unmap(ZONE_RAM + m->low_end, ZONE_RAM + MEM_FRAME);
	unmap(ZONE_RAM + MEM_FRAME + m->frame_size, ZONE_RAM + m->rom_start);
}

// The GS base leads to this vCPU's area; the FS base is nobody's.
static void set_bases(const struct vmm *vm)
{
	if (vm->fsgsbase) {
		__asm__ volatile("wrgsbase %0" : : "r"(vm->vcpu));
		__asm__ volatile("wrfsbase %0" : : "r"(UINT64_C(0)));
	} else if (linux_call3(SYS_arch_prctl, ARCH_SET_GS, (uintptr_t)vm->vcpu, 0) ||
		   linux_call3(SYS_arch_prctl, ARCH_SET_FS, 0, 0)) {
		linux_exit(START_GS);
	}
}

static void close_files(unsigned first, unsigned last)
{
	if (linux_call3(SYS_close_range, first, last, 0))
		for (unsigned fd = first; fd <= last && fd <= MONITOR_FD_TC; fd++)
			linux_call3(SYS_close, fd, 0, 0);
}

// Nothing of the app's is left open, but for the RAM file if it is to be mapped for the guest; no core dump of a
// guest's memory; no life after the app's.
static void leave_host(bool maps)
{
	const struct rlimit none = {0, 0};

	linux_call3(SYS_prctl, PR_SET_PDEATHSIG, 9 /* SIGKILL */, 0);
	linux_call6(SYS_prlimit64, 0, RLIMIT_CORE, (uintptr_t)&none, 0, 0, 0);
	close_files(0, maps ? MONITOR_FD_RAM - 1 : MONITOR_FD_RAM);
	close_files(MONITOR_FD_RAM + 1, ~0u);
}

static unsigned count_processors(void)
{
	uint64_t mask[128] = {0};
	unsigned n = 0;

	linux_call3(SYS_sched_getaffinity, 0, sizeof(mask), (uintptr_t)mask);
	for (unsigned i = 0; i < ARRAY_SIZE(mask); i++)
		for (uint64_t m = mask[i]; m; m &= m - 1)
			n++;
	return MAX(n, 1u);
}

static int close_jail(const struct vmm *vm, bool maps)
{
	uint32_t runner[VMM_WORLDS + VMM_SPARES], mapper[VMM_WORLDS + VMM_SPARES], any = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(runner); i++) {
		runner[i] = vm->direct.world[i].pid;
		mapper[i] = vm->direct.world[i].mapper;
		any |= runner[i];
	}
	return any ? jail_close_with_worlds(runner, mapper) : jail_close(maps);
}

// On the monitor's own stack.
_Noreturn void start_run(void)
{
	struct vmm *vm = *(struct vmm **)STACK_TOP_USED;
	bool maps;

	unmap_rest(vm);
	// With several vCPUs for a locked operation across pages: see bt/careful.c.
	maps = vm->shared->config.memory != MEMORY_CHECKED || vm->shared->config.vcpus > 1;
	set_bases(vm);
	leave_host(maps);
	vm->processors = count_processors();
	// With a processor to itself the app answers while a world switch spins; on a single one that only delays it.
	vm->spin_cycles = vm->processors == 1 ? 0 : (uint32_t)(vm->shared->config.tsc_hz / 1000000 * SPIN_US);
	if (fault_catch_signals((void *)SIGNAL_STACK, SIGNAL_STACK_SIZE))
		linux_exit(START_SIGNAL);
	if (clock_make_timers(vm))
		linux_exit(START_TIMER);
	if (vm->shared->config.memory == MEMORY_AUTO || memory_is_direct(vm->shared->config.memory))
		direct_make(vm);
	if (!vm->direct.world[0].pid && memory_is_direct(vm->shared->config.memory))
		linux_exit(START_DIRECT);
	if (close_jail(vm, maps))
		linux_exit(START_JAIL);
	vmm_init(vm);
	shadow_init(vm->vcpu);
	bt_init(vm->vcpu);
	bt_run(vm->vcpu);
	linux_exit(START_ENDED);
}
