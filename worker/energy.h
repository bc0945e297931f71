/* Energy: what the machine's processor packages report by themselves (Linux powercap, RAPL), and nothing else: a
 * machine without such counters, or one that keeps them from us, has no figure. A counter is the whole package's: what
 * else ran there is in it. */
#ifndef WORKER_ENERGY_H
#define WORKER_ENERGY_H

#include <stdbool.h>
#include <stdint.h>

enum { ENERGY_MAX_PACKAGES = 64 };

struct energy_meter {
    const char *folder; /* kept */
    int n;              /* counters; 0: none can be read */
    uint64_t last[ENERGY_MAX_PACKAGES],
        range[ENERGY_MAX_PACKAGES]; /* microjoules; a counter begins again behind range */
    double joules;                  /* since the start */
    bool is_known;
};

/* Starts at 0 joules. `folder`: NULL for NIGHTSWEEP_POWERCAP or /sys/class/powercap. */
void energy_start(struct energy_meter *meter, const char *folder);
/* Adds what was used since the last reading; to be called more often than a counter goes round (minutes). A counter
 * that can no longer be read makes the figure unknown. */
void energy_add(struct energy_meter *meter);

#endif
