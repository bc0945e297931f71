/* What a trainer gives up once it has its job: the network, other processes, other programs, and every folder to write
 * to but its own. Model files, tokenizers and data come from anywhere; a mistake in what reads them should not reach
 * further than the trial. Both parts are the kernel's: a filter of system calls (seccomp), which answers EPERM, and
 * rules about folders (Landlock), which answer EACCES. Where the kernel lacks one, the trial runs without it;
 * `nightsweep doctor` says so. */
#ifndef TRAINER_SANDBOX_H
#define TRAINER_SANDBOX_H

#include <stdbool.h>

struct sandbox {
    bool has_calls;   /* the filter of system calls is active */
    bool has_folders; /* files are written and removed below the folders that were given, and nowhere else */
};

/* For this process, all its threads and for good; Landlock's part for the calling thread and those that it starts,
 * which are all that open files. `folders` end with NULL; those that do not exist are left out. */
struct sandbox sandbox_enter(const char *const *folders);

#endif
