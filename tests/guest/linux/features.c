/* SPDX-License-Identifier: MIT */
/* Print the names of the features that may be used here, on one line: the runner takes what host and guest share. */
#include "features.h"

int main(void)
{
	size_t i;

	for (i = 0; i < COUNT(features); i++)
		if (have(features[i].name))
			printf("%s ", features[i].name);
	putchar('\n');
}
