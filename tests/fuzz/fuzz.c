/* Files of a fuzz target in memory. */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"

static char folder[FUZZ_PATH_SIZE / 2];

static void remove_folder(void)
{
    struct err err;
    if (file_remove_tree(folder, &err) < 0)
        fprintf(stderr, "%s\n", err.message);
}

const char *fuzz_path(const char *name)
{
    static char paths[8][FUZZ_PATH_SIZE];
    static unsigned next;
    char *path = paths[next++ % 8];
    if (!folder[0]) {
        snprintf(folder, sizeof(folder), "/dev/shm/nightsweep-fuzz-XXXXXX");
        if (!mkdtemp(folder))
            fuzz_fail("no folder below /dev/shm");
        atexit(remove_folder);
    }
    snprintf(path, FUZZ_PATH_SIZE, "%s/%s", folder, name);
    return path;
}

const char *fuzz_file(const char *name, const void *data, size_t size)
{
    const char *path = fuzz_path(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        fuzz_fail("a file cannot be written");
    close(fd);
    return path;
}

void fuzz_folder(const char *name)
{
    if (mkdir(fuzz_path(name), 0700) < 0)
        fuzz_fail("a folder cannot be made");
}

void fuzz_fail(const char *what)
{
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}
