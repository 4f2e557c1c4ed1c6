; SPDX-License-Identifier: MIT
;
; Reset code for tests/boot/image.c: into protected mode, the PIIX4's power management where the FADT says it is, then
; the registers of vCPU 0 as boot_load made them, and off to the kernel. RSDP at offset 0, parameters at 0x80.
	bits 16
	org 0xf0000
	times 0x80 db 0
p_cr0:	dq 0
p_cr3:	dq 0
p_cr4:	dq 0
p_efer:	dq 0
p_rip:	dq 0
p_rsi:	dq 0
p_rbx:	dq 0
p_rsp:	dq 0
	times 0x100 - ($ - $$) db 0
start:	cli
	o32 lgdt [cs:gdtr - $$]
	mov eax, 1
	mov cr0, eax
	jmp dword 0x08:start32
	bits 32
start32:
	mov eax, 0x10
	mov ds, eax
	mov es, eax
	mov ss, eax
	mov esp, 0x8000
	mov eax, 0x80000b40		; device 1, function 3: power management base
	mov ebx, 0x601
	call pci_write
	mov eax, 0x80000b80		; enable it
	mov ebx, 1
	call pci_write
	mov eax, 0x80000b04
	mov ebx, 1
	call pci_write
	lgdt [guest_gdtr]
	mov eax, [p_cr4]
	mov cr4, eax
	mov eax, [p_cr3]
	mov cr3, eax
	mov ecx, 0xc0000080
	mov eax, [p_efer]
	xor edx, edx
	and eax, 0x100			; LMA sets itself
	wrmsr
	mov esp, [p_rsp]
	mov esi, [p_rsi]
	mov ebx, [p_rbx]
	mov eax, [p_rip]
	mov [0x7000], eax
	mov dword [0x7004], 0x10
	mov eax, [p_cr0]
	mov cr0, eax
	jmp far [0x7000]
pci_write:
	mov edx, 0xcf8
	out dx, eax
	mov edx, 0xcfc
	mov eax, ebx
	out dx, eax
	ret
	align 8
gdt:	dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:	dw 23
	dd gdt
guest_gdtr:
	dw 0x2f
	dd 0x1000
	times 0xfff0 - ($ - $$) db 0
	bits 16
	jmp 0xf000:0x0100
	times 0x10000 - ($ - $$) db 0
