/* Control groups: version 2 has one hierarchy ("0::/path"), version 1 one a controller ("4:memory:/path"). */
#include "worker/cgroup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"

static uint64_t n_told;

uint64_t cgroup_parse_kills(const char *text)
{
    static const char key[] = "oom_kill ";
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, sizeof(key) - 1) == 0)
            return strtoull(line + sizeof(key) - 1, NULL, 10);
    }
    return 0;
}

/* The path behind a line's second colon when the controllers between its colons are these. */
static bool find(const char *text, const char *controllers, const char **path, int *n)
{
    size_t length = strlen(controllers);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *first = strchr(line, ':');
        if (first && strncmp(first + 1, controllers, length) == 0 && first[1 + length] == ':') {
            *path = first + length + 2;
            *n = (int)strcspn(*path, "\n");
            return true;
        }
    }
    return false;
}

bool cgroup_parse_path(const char *text, char *path, int size)
{
    const char *own = NULL;
    int n = 0;
    if (find(text, "memory", &own, &n))
        return snprintf(path, (size_t)size, "/sys/fs/cgroup/memory%.*s/memory.oom_control", n, own) < size;
    return find(text, "", &own, &n) && snprintf(path, (size_t)size, "/sys/fs/cgroup%.*s/memory.events", n, own) < size;
}

static uint64_t count_kills(void)
{
    char path[4096], *text = NULL;
    size_t len = 0;
    uint64_t kills = 0;
    if (file_read("/proc/self/cgroup", 1 << 16, &text, &len, NULL) < 0)
        return 0;
    bool is_named = cgroup_parse_path(text, path, sizeof(path));
    free(text);
    text = NULL;
    if (is_named && file_read(path, 1 << 16, &text, &len, NULL) == 0)
        kills = cgroup_parse_kills(text);
    free(text);
    return kills;
}

void cgroup_begin(void)
{
    n_told = count_kills();
}

bool cgroup_took_one(void)
{
    bool is_one = count_kills() > n_told;
    n_told += is_one;
    return is_one;
}
