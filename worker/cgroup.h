/* The control group that a batch system or container put this process into, as far as it ends trainers. */
#ifndef WORKER_CGROUP_H
#define WORKER_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

/* Begins to count: what happened before is nobody's of ours. */
void cgroup_begin(void);
/* Whether the kernel ended one more process of this control group, because its memory was used up, than this function
 * told of before. Ask it when a trainer was ended by SIGKILL. False where there is no such count. */
bool cgroup_took_one(void);

/* Reads "oom_kill N" from the text of memory.events (version 2) or memory.oom_control (version 1); 0 when it is not in
 * it. */
uint64_t cgroup_parse_kills(const char *text);
/* The path of that file for a text like that of /proc/self/cgroup; version 1 where it has the memory. False: none is
 * named. */
bool cgroup_parse_path(const char *text, char *path, int size);

#endif
