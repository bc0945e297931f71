/* A folder of a test's own that goes with all in it when the test ends. */
#ifndef TESTS_SUPPORT_TEMP_H
#define TESTS_SUPPORT_TEMP_H

#include <stddef.h>

enum { TEMP_PATH_SIZE = 4096 };

struct temp {
    char folder[TEMP_PATH_SIZE];
    char path[TEMP_PATH_SIZE + 256]; /* what temp_path gave last */
};

/* Makes the folder below TMPDIR or /tmp; ends the test when it cannot. */
void temp_open(struct temp *temp);
void temp_close(struct temp *temp);
/* folder/name, valid until the next call. */
const char *temp_path(struct temp *temp, const char *name);
/* Writes a file into the folder. */
void temp_write(struct temp *temp, const char *name, const void *data, size_t n);

#endif
