/* Diagnostics on standard error and in the trace file. The environment is read at every call: these calls are rare, and
 * nothing has to be kept. */
#include "common/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/text.h"

bool log_enabled(const char *component)
{
    const char *list = getenv("NIGHTSWEEP_DEBUG");
    size_t n = strlen(component);
    for (const char *at = list; at && (at = strstr(at, component)); at += n)
        if ((at == list || at[-1] == ',') && (at[n] == '\0' || at[n] == ','))
            return true;
    return list && strcmp(list, "all") == 0;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void log_debug(const char *component, const char *format, ...)
{
    char line[2048];
    va_list arguments;
    if (!log_enabled(component))
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    fprintf(stderr, "%.3f %s[%ld]: %s\n", seconds_now(), component, (long)getpid(), line);
}

void log_trace(const char *component, const char *event, const char *members)
{
    const char *path = getenv("NIGHTSWEEP_TRACE");
    if (!path || !path[0])
        return;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    struct text line = {0};
    text_printf(&line, "{\"time\":%.6f,\"pid\":%ld,\"component\":", seconds_now(), (long)getpid());
    text_add_json(&line, component);
    text_add(&line, ",\"event\":");
    text_add_json(&line, event);
    text_printf(&line, "%s%s}\n", members[0] ? "," : "", members);
    if (!line.failed && write(fd, line.data, line.len) < 0)
        line.failed = true; /* a full disk must not stop the program for a trace */
    text_done(&line);
    close(fd);
}
