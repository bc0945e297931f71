/* See crash.h. */
#include "common/crash.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CRASH_INFO(constant, name, where, state) [constant] = {name, where, state},
const struct crash_point_info crash_points[CRASH_POINT_COUNT] = {CRASH_POINTS(CRASH_INFO)};
#undef CRASH_INFO

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int asked_for = -1; /* a point, or −1: none */
static _Atomic long left;  /* passes until it crashes */
static const char *mark;

static void read_environment(void)
{
    const char *text = getenv("NIGHTSWEEP_CRASH_AT");
    const char *colon = text ? strchr(text, ':') : NULL;
    size_t len = colon ? (size_t)(colon - text) : text ? strlen(text) : 0;
    for (int i = 0; len > 0 && i < CRASH_POINT_COUNT; i++)
        if (strlen(crash_points[i].name) == len && strncmp(crash_points[i].name, text, len) == 0)
            asked_for = i;
    left = colon ? strtol(colon + 1, NULL, 10) : 1;
    mark = getenv("NIGHTSWEEP_CRASH_MARK");
}

void crash_at(enum crash_point point)
{
    pthread_once(&once, read_environment);
    if (asked_for != (int)point || --left != 0)
        return;
    int fd = mark ? open(mark, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (mark && fd < 0)
        return;
    kill(getpid(), SIGKILL);
}
