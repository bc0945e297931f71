/* What the simulation's trainers report, for whoever checks it. */
#ifndef TESTS_SIMULATE_CREW_H
#define TESTS_SIMULATE_CREW_H

#include "tests/simulate/world.h"

enum { CREW_STEPS = 12 };

double crew_loss(const char *identity, int64_t step);
int64_t crew_diverges(const char *identity);
/* Ends the worker as a kill does. */
void crew_end(struct pool *pool, const char *why);

#endif
