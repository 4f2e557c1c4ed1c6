// SPDX-License-Identifier: MIT
//
// Words for writing seccomp filters, as tables of instructions: see jail.c. Jumps count the instructions they pass.
#ifndef VMM_FILTER_H
#define VMM_FILTER_H

#include "mem/zone.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_HIGH(n) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[n]) + 4)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define IF(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, skip, 0)
#define IF_AT_LEAST(value, skip) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, value, skip, 0)
#define AND(mask) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask)
#define ALLOW_CALL(nr) UNLESS(nr, 1), ALLOW
#define KILL_UNLESS(value) IF(value, 1), KILL
#define KILL_IF(value) UNLESS(value, 1), KILL
#define TRAP BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)
#define LOAD_PC BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer))
#define LOAD_PC_HIGH BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4)

#endif
