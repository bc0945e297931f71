/* What the fuzz targets share: a folder of the process's own in memory, and a file in it for each input. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

enum { FUZZ_PATH_SIZE = 256 };

/* The fuzzer's entry: called once for each input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* folder/name in a buffer of its own for each of the last eight calls; the folder is made at the first one, below
 * /dev/shm, and removed when the process ends. */
const char *fuzz_path(const char *name);
/* Writes folder/name and gives its path. */
const char *fuzz_file(const char *name, const void *data, size_t size);
/* Makes the folder folder/name. */
void fuzz_folder(const char *name);
/* Ends the process as a finding. */
void fuzz_fail(const char *what) __attribute__((noreturn));

#endif
