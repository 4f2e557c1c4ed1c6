/* SPDX-License-Identifier: MIT */
/*
 * A boot sector for the firmware test: by the BIOS's calls it says hello, reads its second sector, asks for the memory
 * map, counts timer ticks, and goes there; the second sector switches A20 off and on by port 92, enters protected mode
 * and ends the machine through isa-debug-exit with status 2 * 0x10 + 1.
 */
	.code16
	.globl _start
_start:
	ljmp	$0, $1f
1:	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0x7c00, %sp
	mov	%dl, drive
	sti
	mov	$hello, %si
	call	say
	mov	$3, %bx			/* three ticks of the timer */
2:	mov	$0, %ah
	int	$0x1a
	mov	%dx, %di
3:	hlt
	mov	$0, %ah
	int	$0x1a
	cmp	%dx, %di
	je	3b
	dec	%bx
	jnz	2b
	mov	$ticks, %si
	call	say
	mov	$0xe820, %eax
	mov	$0x534d4150, %edx
	xor	%ebx, %ebx
	mov	$20, %ecx
	mov	$0x600, %di
	int	$0x15
	jc	fail
	cmp	$0x534d4150, %eax
	jne	fail
	mov	$map, %si
	call	say
	mov	drive, %dl
	test	%dl, %dl
	js	5f
	mov	$0x0201, %ax		/* of a floppy: sector 2 of track 0 */
	mov	$0x7e00, %bx
	mov	$2, %cx
	mov	$0, %dh
	jmp	6f
5:	mov	$0x42, %ah		/* extended read */
	mov	$packet, %si
6:	int	$0x13
	jc	fail
	cmpw	$0x600d, 0x7ffe
	jne	fail
	mov	$second, %si
	call	say
	jmp	0x7e00
fail:	mov	$failed, %si
	call	say
	mov	$1, %al
	out	%al, $0xf4
4:	hlt
	jmp	4b

say:	lodsb
	test	%al, %al
	jz	5f
	mov	$0x0e, %ah
	mov	$7, %bx
	int	$0x10
	jmp	say
5:	ret

hello:	.asciz "sector: hello\r\n"
ticks:	.asciz "sector: ticks\r\n"
map:	.asciz "sector: memory map\r\n"
second:	.asciz "sector: second sector\r\n"
failed:	.asciz "sector: FAILED\r\n"
	.balign 4
packet:	.byte 16, 0
	.word 1, 0x7e00, 0
	.quad 1
drive:	.byte 0
	.org 510
	.word 0xaa55

	mov	$0xffff, %ax		/* ffff:0510 is 100500, or 500 with line 20 low */
	mov	%ax, %fs
	movb	$0x11, 0x500
	in	$0x92, %al
	or	$2, %al
	out	%al, $0x92
	movb	$0x22, %fs:0x510
	cmpb	$0x11, 0x500
	jne	fail
	and	$0xfd, %al
	out	%al, $0x92
	cmpb	$0x11, %fs:0x510
	jne	fail
	movb	$0x33, %fs:0x510
	cmpb	$0x33, 0x500
	jne	fail
	or	$2, %al
	out	%al, $0x92
	cmpb	$0x22, %fs:0x510
	jne	fail
	mov	$a20, %si
	call	say
	hlt				/* the BIOS's serial console writes at ticks */
	hlt
	cli
	lgdt	gdtr
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmp	$8, $6f
	.code32
6:	mov	$16, %eax
	mov	%eax, %ds
	cmpb	$0x22, 0x100500
	mov	$0x10, %eax
	je	7f
	mov	$1, %eax
7:	out	%eax, $0xf4
	hlt
a20:	.asciz "sector: line 20\r\n"
	.balign 8
gdt:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:	.word 23
	.long gdt
	.org 1022
	.word 0x600d
