// SPDX-License-Identifier: MIT
//
// FP kernel: the Sun and four planets under gravity, in doubles.   nbody STEPS
// Units: astronomical units, years, solar masses. Prints the energy's drift in all digits, so that one wrong bit shows.
#include <math.h>

#include "common.h"

#define BODIES 5
#define PI 3.141592653589793

struct body {
	double mass, at[3], v[3];
};

/* Circular orbits of the giant planets' radii, slightly inclined: made up, but of the right sizes. */
static void place(struct body *b, double mass, double radius, double angle, double tilt)
{
	double speed = radius > 0 ? 2 * PI / sqrt(radius) : 0;

	*b = (struct body){ .mass = mass };
	b->at[0] = radius * cos(angle);
	b->at[1] = radius * sin(angle) * cos(tilt);
	b->at[2] = radius * sin(angle) * sin(tilt);
	b->v[0] = -speed * sin(angle);
	b->v[1] = speed * cos(angle) * cos(tilt);
	b->v[2] = speed * cos(angle) * sin(tilt);
}

static double energy(const struct body *b)
{
	double e = 0;

	for (int i = 0; i < BODIES; i++) {
		for (int k = 0; k < 3; k++)
			e += 0.5 * b[i].mass * b[i].v[k] * b[i].v[k];
		for (int j = i + 1; j < BODIES; j++) {
			double r2 = 0;

			for (int k = 0; k < 3; k++)
				r2 += (b[i].at[k] - b[j].at[k]) * (b[i].at[k] - b[j].at[k]);
			e -= 4 * PI * PI * b[i].mass * b[j].mass / sqrt(r2);
		}
	}
	return e;
}

static void step(struct body *b, double dt)
{
	for (int i = 0; i < BODIES; i++)
		for (int j = i + 1; j < BODIES; j++) {
			double d[3], r2 = 0, pull;

			for (int k = 0; k < 3; k++) {
				d[k] = b[j].at[k] - b[i].at[k];
				r2 += d[k] * d[k];
			}
			pull = 4 * PI * PI * dt / (r2 * sqrt(r2));
			for (int k = 0; k < 3; k++) {
				b[i].v[k] += d[k] * b[j].mass * pull;
				b[j].v[k] -= d[k] * b[i].mass * pull;
			}
		}
	for (int i = 0; i < BODIES; i++)
		for (int k = 0; k < 3; k++)
			b[i].at[k] += dt * b[i].v[k];
}

int main(int argc, char **argv)
{
	struct body b[BODIES];
	long steps = argument(argc, argv, 1);
	double before;

	place(&b[0], 1, 0, 0, 0);
	place(&b[1], 9.5e-4, 5.2, 0.3, 0.02);
	place(&b[2], 2.9e-4, 9.6, 1.9, 0.04);
	place(&b[3], 4.4e-5, 19.2, 3.1, 0.01);
	place(&b[4], 5.2e-5, 30.1, 4.7, 0.03);
	before = energy(b);
	for (long i = 0; i < steps; i++)
		step(b, 0.001);
	printf("nbody %ld: %.17g\n", steps, energy(b) - before);
	return 0;
}
