/* SPDX-License-Identifier: MIT */
/*
 * Faults of the processor as a Linux process sees them: for each kind the signal, its code and address, the trap
 * number and error code, the place of the instruction, and that no register was changed by the instruction that
 * faulted. Each row of the table is one faulting instruction.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "catch.h"
#include "../../vendor.h"
#include "features.h"

/* rdi: the row's address; rsi: some readable and writable memory. */
CODE(read_byte, "nop; movb (%rdi), %al");
CODE(read_quad, "nop; nop; mov (%rdi), %rax");
CODE(write_byte, "movb $1, (%rdi)");
CODE(write_quad_crossing, "nop; mov %rsi, -2(%rdi)");
CODE(read_crossing, "mov -3(%rdi), %rax");
CODE(read_modify_write, "nop; incl (%rdi)");
CODE(locked_write, "lock xadd %rax, (%rdi)");
CODE(compare_exchange, "xor %eax, %eax; lock cmpxchg %rsi, (%rdi)");
CODE(read_vector, "movups -8(%rdi), %xmm0");
CODE(write_vector, "movdqu %xmm0, -8(%rdi)");
CODE(unaligned_vector, "movaps 1(%rsi), %xmm0");
CODE(push_memory, "push (%rdi)");
CODE(pop_memory, "push %rax; pop (%rdi)");
CODE(execute, "jmp *%rdi");
CODE(call_there, "call *%rdi");
CODE(return_there, "push %rdi; ret");
CODE(bad_stack, "mov %rsp, %rax; mov %rdi, %rsp; push %rax");
CODE(string_copy, "push %rdi; lea -5(%rdi), %rdi; mov $16, %ecx; rep movsb; pop %rdi");
CODE(string_store, "xor %eax, %eax; lea -16(%rdi), %rdi; mov $16, %ecx; rep stosl");
CODE(string_scan, "xor %ecx, %ecx; dec %rcx; mov $0xee, %al; lea -100(%rdi), %rdi; repne scasb");
CODE(enter_frame, "mov %rsp, %rax; lea 8(%rdi), %rsp; enter $16, $0");
CODE(divide_zero, "xor %edx, %edx; mov $7, %eax; xor %ecx, %ecx; div %ecx");
CODE(divide_overflow, "mov $0x80000000, %eax; cltd; mov $-1, %ecx; idiv %ecx");
CODE(divide_too_large, "mov $1, %edx; xor %eax, %eax; mov $1, %ecx; div %rcx");
CODE(divide_byte, "mov $0x7fff, %ax; movb $1, (%rsi); divb (%rsi)");
CODE(ud2, "nop; nop; nop; ud2");
CODE(ud0_memory, "ud0 (%rdi), %eax");
CODE(bad_lock, ".byte 0xf0; nop");
CODE(bad_lock_register, ".byte 0xf0, 0x01, 0xc0");
CODE(bad_lock_load, ".byte 0xf0; .byte 0x8b, 0x06");
CODE(bad_vex, ".byte 0x66, 0xc5, 0xf8, 0x57, 0xc0");
CODE(too_long, ".byte 0x2e,0x2e,0x2e,0x2e,0x2e,0x2e,0x2e,0x2e,0x2e,0x2e,0x2e,0x2e,0x2e,0x2e,0x2e; nop");
CODE(bad_mov_cs, ".byte 0x8e, 0xc8");
CODE(load_segment, "mov $0x1234, %eax; mov %eax, %ds");
CODE(null_stack_segment, "xor %eax, %eax; mov %eax, %ss");
CODE(kernel_segment, "mov $0x10, %eax; mov %eax, %es");
CODE(breakpoint, "nop; int3");
CODE(int_3, "int $3");
CODE(interrupt_vector, "nop; int $0x42");
CODE(interrupt_page_fault, "int $14");
CODE(overflow_vector, "int $4");
CODE(port_in, "nop; inb $0x80, %al");
CODE(port_out, "outb %al, $0x80");
CODE(port_string, "mov $0x80, %edx; insb");
CODE(halt, "nop; hlt");
CODE(clear_interrupts, "cli");
CODE(set_interrupts, "nop; sti");
CODE(read_control, "mov %cr0, %rax");
CODE(write_control, "mov %rax, %cr3");
CODE(read_debug, "mov %db7, %rax");
CODE(read_msr, "mov $0xc0000080, %ecx; rdmsr");
CODE(load_descriptors, "lgdt (%rsi)");
CODE(invalidate, "invlpg (%rsi)");
CODE(clear_ts, "clts");
CODE(write_back, "wbinvd");
CODE(set_xcr, "xor %ecx, %ecx; xsetbv");
CODE(far_call, "lcall *(%rsi)");
CODE(trap_flag, "pushf; orl $0x100, (%rsp); popf; nop; nop");
CODE(trap_flag_jump, "pushf; orl $0x100, (%rsp); popf; jmp 1f; nop; nop; 1: nop");
CODE(icebp, "nop; .byte 0xf1; nop");
CODE(set_alignment, "pushf; orl $0x40000, (%rsp); popf; movl 1(%rsi), %eax; nop");
CODE(aligned_enough,
     "pushf; orl $0x40000, (%rsp); popf; movl 4(%rsi), %eax; movb 1(%rsi), %al; pushf; andl $~0x40000, (%rsp); popf");
CODE(bad_mxcsr, "movl $0x10000, (%rsi); ldmxcsr (%rsi)");
CODE(bad_fxrstor, "fxrstor 8(%rsi)");
CODE(monitor_wait, "mov %rsi, %rax; xor %ecx, %ecx; xor %edx, %edx; monitor");

#ifdef __x86_64__
CODE(noncanonical_read, "mov $0x8000000000000000, %rax; mov (%rax), %al");
CODE(noncanonical_stack, "mov $0x8000000000000000, %rsp; push %rax");
CODE(noncanonical_jump, "mov $0x8000000000000000, %rax; jmp *%rax");
CODE(noncanonical_call, "mov $0x4141414141414141, %rax; nop; call *%rax");
CODE(noncanonical_return, "mov $0x4141414141414141, %rax; push %rax; ret");
CODE(kernel_read, "mov $0xffffffff81000000, %rax; mov (%rax), %rax");
CODE(kernel_jump, "mov $0xffffffff81000000, %rax; jmp *%rax");
CODE(not_in_64_bits, ".byte 0x27");
CODE(not_in_64_bits_push, ".byte 0x06");
CODE(swap_gs, "swapgs");
CODE(system_return, "sysretq");
CODE(interrupt_return, "push $0x2b; push %rsp; pushf; push $0x1234; push $0; iretq");
CODE(cmpxchg16_unaligned, "lock cmpxchg16b 8(%rsi)");
#endif

enum where { NOWHERE, AT_NULL, UNMAPPED, READ_ONLY, NO_ACCESS, NOT_EXECUTABLE, BEYOND_FILE, AFTER_CODE };
static char *where[8];
static char *scratch;

struct row {
	void (*code)(void *, void *);
	const char *name;
	enum where where;
};

#define ROW(name, where) { name, #name " " #where, where }
static const struct row rows[] = {
	ROW(read_byte, AT_NULL), ROW(read_byte, UNMAPPED), ROW(read_byte, NO_ACCESS), ROW(read_quad, BEYOND_FILE),
	ROW(write_byte, UNMAPPED), ROW(write_byte, READ_ONLY), ROW(write_byte, NO_ACCESS),
	ROW(write_byte, BEYOND_FILE), ROW(write_quad_crossing, UNMAPPED), ROW(write_quad_crossing, READ_ONLY),
	ROW(read_crossing, UNMAPPED), ROW(read_crossing, BEYOND_FILE), ROW(read_modify_write, READ_ONLY),
	ROW(read_modify_write, UNMAPPED), ROW(locked_write, READ_ONLY), ROW(locked_write, UNMAPPED),
	ROW(compare_exchange, READ_ONLY), ROW(read_vector, UNMAPPED), ROW(write_vector, READ_ONLY),
	ROW(unaligned_vector, NOWHERE), ROW(push_memory, UNMAPPED), ROW(pop_memory, READ_ONLY), ROW(execute, AT_NULL),
	ROW(execute, UNMAPPED), ROW(execute, NOT_EXECUTABLE), ROW(execute, NO_ACCESS), ROW(execute, AFTER_CODE),
	ROW(call_there, NOT_EXECUTABLE), ROW(return_there, UNMAPPED), ROW(bad_stack, UNMAPPED),
	ROW(bad_stack, AT_NULL), ROW(string_copy, UNMAPPED), ROW(string_copy, READ_ONLY), ROW(string_store, UNMAPPED),
	ROW(string_scan, NO_ACCESS), ROW(enter_frame, READ_ONLY), ROW(divide_zero, NOWHERE),
	ROW(divide_overflow, NOWHERE), ROW(divide_too_large, NOWHERE), ROW(divide_byte, NOWHERE), ROW(ud2, NOWHERE),
	ROW(ud0_memory, NOWHERE), ROW(bad_lock, NOWHERE), ROW(bad_lock_register, NOWHERE),
	ROW(bad_lock_load, NOWHERE), ROW(bad_vex, NOWHERE), ROW(too_long, NOWHERE), ROW(bad_mov_cs, NOWHERE),
	ROW(load_segment, NOWHERE), ROW(null_stack_segment, NOWHERE), ROW(kernel_segment, NOWHERE),
	ROW(breakpoint, NOWHERE), ROW(int_3, NOWHERE), ROW(interrupt_vector, NOWHERE),
	ROW(interrupt_page_fault, NOWHERE), ROW(overflow_vector, NOWHERE), ROW(port_in, NOWHERE),
	ROW(port_out, NOWHERE), ROW(port_string, NOWHERE), ROW(halt, NOWHERE), ROW(clear_interrupts, NOWHERE),
	ROW(set_interrupts, NOWHERE), ROW(read_control, NOWHERE), ROW(write_control, NOWHERE),
	ROW(read_debug, NOWHERE), ROW(read_msr, NOWHERE), ROW(load_descriptors, NOWHERE), ROW(invalidate, NOWHERE),
	ROW(clear_ts, NOWHERE), ROW(write_back, NOWHERE), ROW(set_xcr, NOWHERE), ROW(far_call, NOWHERE),
	ROW(trap_flag, NOWHERE), ROW(trap_flag_jump, NOWHERE), ROW(icebp, NOWHERE), ROW(set_alignment, NOWHERE),
	ROW(aligned_enough, NOWHERE), ROW(bad_mxcsr, NOWHERE), ROW(bad_fxrstor, NOWHERE), ROW(monitor_wait, NOWHERE),
#ifdef __x86_64__
	ROW(noncanonical_read, NOWHERE), ROW(noncanonical_stack, NOWHERE), ROW(noncanonical_jump, NOWHERE),
	ROW(noncanonical_call, NOWHERE), ROW(noncanonical_return, NOWHERE), ROW(kernel_read, NOWHERE),
	ROW(kernel_jump, NOWHERE), ROW(not_in_64_bits, NOWHERE), ROW(not_in_64_bits_push, NOWHERE),
	ROW(swap_gs, NOWHERE), ROW(system_return, NOWHERE), ROW(interrupt_return, NOWHERE),
	ROW(cmpxchg16_unaligned, NOWHERE),
#endif
};

/*
 * Linux 6.1's 686-pae kernel leaves user pages executable (no NX in their entries, under QEMU TCG either), and has
 * pages of its own at the top.
 */
static bool kernel_differs(const struct row *r)
{
	return !have("kernel64") && (r->where == NOT_EXECUTABLE || r->code == bad_stack);
}

/* Intel's processors fault at a branch to a non-canonical address, AMD's there, as ringer does: docs/FIDELITY.md. */
static bool place_differs(const struct row *r)
{
#ifdef __x86_64__
	return r->code == noncanonical_jump || r->code == noncanonical_call || r->code == noncanonical_return;
#else
	(void)r;
	return false;
#endif
}

/*
 * A KVM on AMD's processors has the trap of INT1 say where it stands, not what follows it (Linux 6.18: the exception is
 * given back to the guest without the length of the instruction). That host's answer is not the processor's.
 */
static uintptr_t behind_int1(const struct row *r, uintptr_t pc)
{
	bool stands = r->code == icebp && pc == (uintptr_t)r->code + 1;

	return stands && processor_is_amd() ? pc + 1 : pc;
}

/* An address as what it is near to. */
static void print_place(const char *what, uintptr_t addr, const struct row *r)
{
	size_t i;

	if (addr - (uintptr_t)r->code < 64) {
		printf(" %s code+%d", what, (int)(addr - (uintptr_t)r->code));
		return;
	}
	for (i = UNMAPPED; i < COUNT(where); i++)
		if (where[i] && addr - (uintptr_t)where[i] + 64 < 128) {
			printf(" %s place%zu%+d", what, i, (int)(addr - (uintptr_t)where[i]));
			return;
		}
	if (addr < 0x10000 || (uint64_t)addr >> 47)
		printf(" %s %lx", what, (long)addr);
	else
		printf(" %s elsewhere", what);
}

static void run(const struct row *r)
{
	memset(scratch, 0xcc, 256);
	if (!catch_text(r->code, where[r->where], scratch)) {
		printf("%-36s passes\n", r->name);
		return;
	}
	printf("%-36s %s code %d trap %lu error %lx", r->name, catch_name(caught.signo), caught.code, caught.trap,
	       caught.error);
	if (!place_differs(r))
		print_place("at", behind_int1(r, caught.pc), r);
	print_place("address", behind_int1(r, caught.addr), r);
	if (r->code == string_copy || r->code == string_store || r->code == string_scan)
		printf(" rcx %ld rdi %+ld", (long)caught.regs[REG_RCX], (long)(caught.regs[REG_RDI] - (long)where[r->where]));
	printf(" flags %lx\n", (long)caught.regs[REG_EFL] & 0x40d00);
}

static char *pages(int protection, int count)
{
	return mmap(NULL, count * 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void make_places(void)
{
	int fd = memfd_create("short", 0);
	char *p;

	scratch = pages(PROT_READ | PROT_WRITE, 1);
	where[UNMAPPED] = pages(PROT_READ | PROT_WRITE, 3) + 4096;
	where[READ_ONLY] = pages(PROT_READ | PROT_WRITE, 3) + 4096;
	mprotect(where[READ_ONLY], 4096, PROT_READ);
	where[NO_ACCESS] = pages(PROT_READ | PROT_WRITE, 3) + 4096;
	memset(where[NO_ACCESS] - 4096, 0x55, 4096);
	mprotect(where[NO_ACCESS], 4096, PROT_NONE);
	where[NOT_EXECUTABLE] = pages(PROT_READ | PROT_WRITE, 1);
	*where[NOT_EXECUTABLE] = (char)0xc3;
	if (ftruncate(fd, 4096))
		exit(1);
	where[BEYOND_FILE] = (char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) + 4096;
	p = pages(PROT_READ | PROT_WRITE, 2); /* an instruction whose last byte is on a page that is not there */
	where[AFTER_CODE] = p + 4096 - 3;
	memcpy(where[AFTER_CODE], "\x48\xc7\xc0", 3);
	mprotect(p, 4096, PROT_READ | PROT_EXEC);
	munmap(p + 4096, 4096);
	munmap(where[UNMAPPED], 4096);
}

int main(void)
{
	size_t i;

	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	catch_init();
	make_places();
	for (i = 0; i < COUNT(rows); i++)
		if ((rows[i].code != set_xcr || have("xsave")) && !kernel_differs(&rows[i]))
			run(&rows[i]);
}
