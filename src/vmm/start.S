/* SPDX-License-Identifier: MIT
 *
 * The monitor's first and last instructions. monitor_start: entered by the kernel on the process's first stack; maps
 * the zone (start_map, still on that stack), moves to the monitor's own stack and never comes back. fault_restorer:
 * where signal handlers return to.
 */
	.text
	.globl	monitor_start, fault_restorer
	.hidden	monitor_start, fault_restorer
	.type	monitor_start, @function
monitor_start:
	xor	%ebp, %ebp
	mov	%rsp, %rdi		/* argc, argv, environment, auxiliary vector */
	and	$-16, %rsp
	call	start_map		/* returns the top of the monitor's stack */
	mov	%rax, %rsp
	call	start_run
	ud2
	.size	monitor_start, . - monitor_start

	.type	fault_restorer, @function
fault_restorer:
	mov	$15, %eax		/* rt_sigreturn */
	syscall
	ud2
	.size	fault_restorer, . - fault_restorer
	.section .note.GNU-stack, "", @progbits
