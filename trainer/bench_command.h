/* nightsweep-trainer --bench [MODEL]: how fast this machine and these libraries are, component by component.
 *
 * One JSON object: GFLOP/s of a model's matrix products beside the library's own best, bandwidth of the kernels between
 * them beside a STREAM triad of the same run, and from both what a step can reach in tokens a second. By the thread's
 * processor time, one thread. */
#ifndef TRAINER_BENCH_COMMAND_H
#define TRAINER_BENCH_COMMAND_H

#include <stdio.h>

#include "common/err.h"

/* `folder`: a model folder, or NULL for the shapes of MiniLM-L6. Takes a few seconds and 100 MB. */
int bench_command(const char *folder, FILE *out, struct err *err) MUST_CHECK;

#endif
