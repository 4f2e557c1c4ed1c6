/* SPDX-License-Identifier: MIT
 *
 * A boot sector that sets MODE and draws: coloured blanks (3), bytes with the planes of their number (12H), a pattern
 * with a grey palette (13H), the same by the linear frame buffer (VESA's with 4000H). Then says 'D' to port E9H. */
	.code16
	.globl _start
_start:
	cli
	cld
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0x7c00, %sp
#if MODE >= 0x100
	mov	$0x4f02, %ax
	mov	$MODE, %bx
	int	$0x10
	mov	$0x4f01, %ax		/* where is it? */
	mov	$MODE & 0xfff, %cx
	mov	$0x8000, %di
	int	$0x10
	mov	0x8028, %edi
	lgdt	gdt_pointer
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	mov	$8, %bx
	mov	%bx, %ds
	and	$~1, %al
	mov	%eax, %cr0		/* 4 GiB in DS, as everybody does */
	xor	%ecx, %ecx
1:	mov	%cx, %ax
	xor	%ch, %al
	addr32 mov %al, (%edi,%ecx)
	inc	%cx
	jnz	1b
#else
	mov	$MODE, %ax
	int	$0x10
#if MODE == 3
	mov	$0x0e57, %ax		/* a letter by the BIOS */
	mov	$7, %bx
	int	$0x10
	mov	$0xb800, %ax
	mov	%ax, %es
	mov	$160, %di
	xor	%cx, %cx
1:	mov	$' ', %al
	mov	%cl, %ah
	shl	$4, %ah
	stosw
	inc	%cx
	cmp	$80, %cx
	jb	1b
#elif MODE == 0x12
	mov	$0xa000, %ax
	mov	%ax, %es
	xor	%di, %di
1:	mov	$0x3c4, %dx
	mov	%di, %ax
	mov	%al, %ah
	and	$0xf, %ah
	mov	$2, %al
	out	%ax, %dx
	mov	$0xff, %al
	stosb
	cmp	$80 * 480, %di
	jb	1b
#else
	mov	$0x3c8, %dx
	xor	%ax, %ax
	out	%al, %dx
	inc	%dx
	xor	%cx, %cx
2:	mov	%cl, %al
	out	%al, %dx
	out	%al, %dx
	out	%al, %dx
	inc	%cl
	jnz	2b
	mov	$0xa000, %ax
	mov	%ax, %es
	xor	%di, %di
1:	mov	%di, %ax
	xor	%ah, %al
	stosb
	test	%di, %di
	jnz	1b
#endif
#endif
	mov	$'D', %al
	out	%al, $0xe9
3:	hlt
	jmp	3b

	.balign 8
gdt:	.quad	0, 0x00cf92000000ffff
gdt_pointer:
	.word	15
	.long	gdt
	.org	510
	.word	0xaa55
