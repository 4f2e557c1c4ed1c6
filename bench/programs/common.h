/* SPDX-License-Identifier: MIT */
/*
 * What the bench's own C programs share. Each does a fixed amount of work, given by its arguments, and prints a result
 * that depends on all of it: what a guest prints must be what the host prints.
 */
#ifndef COMMON_H
#define COMMON_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void die(const char *what)
{
	perror(what);
	exit(1);
}

static inline long argument(int argc, char **argv, int i)
{
	if (i >= argc)
		exit(2);
	return atol(argv[i]);
}

#endif
