/* Files: whole reads with a limit, atomic writes, read-only maps, folders. */
#ifndef COMMON_FILE_H
#define COMMON_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* The whole file in a heap block with a NUL behind it (owned by the caller). Refuses more than max_bytes. */
int file_read(const char *path, size_t max_bytes, char **data, size_t *len, struct err *err) MUST_CHECK;
/* Replaces `path` with the data so that a crash leaves the old file or the new one: tmp, fsync, rename, fsync of the
 * folder. */
int file_write_atomic(const char *path, const void *data, size_t len, struct err *err) MUST_CHECK;
/* The same for what nobody needs after a power cut: without the fsyncs. */
int file_write_fleeting(const char *path, const void *data, size_t len, struct err *err) MUST_CHECK;
/* Atomic in pieces, for what must not stand in memory as a whole: begin, add …, then commit or abandon. Abandon
 * accepts zeroed and committed ones. */
struct file_write {
    char *path, *temporary;
    int fd;
    bool is_open;
};
int file_write_begin(struct file_write *file, const char *path, struct err *err) MUST_CHECK;
int file_write_add(struct file_write *file, const void *data, size_t len, struct err *err) MUST_CHECK;
int file_write_commit(struct file_write *file, struct err *err) MUST_CHECK;
void file_write_abandon(struct file_write *file);
/* Replaces `to` with the content of `from`, of at most max_bytes, as file_write_atomic does. */
int file_copy(const char *from, const char *to, size_t max_bytes, struct err *err) MUST_CHECK;
/* mkdir -p. */
int file_make_folders(const char *path, struct err *err) MUST_CHECK;
bool file_exists(const char *path);
bool file_is_folder(const char *path);
/* Removes a file or a folder with all in it; a missing one is no error. Does not follow links. */
int file_remove_tree(const char *path, struct err *err) MUST_CHECK;
/* base/name, or name alone when it is absolute; heap, owned by the caller; NULL without memory. */
char *file_join(const char *base, const char *name);
/* The folder part of a path ("." when there is none); heap, owned by the caller. */
char *file_folder(const char *path);
/* Absolute form without '.', '..' or links; heap, owned by the caller. */
int file_absolute(const char *path, char **out, struct err *err) MUST_CHECK;
/* The folder of the running program (through /proc/self/exe); heap, owned by the caller. */
char *file_program_folder(void);

/* Memory of `bytes` in a file without a name in `folder`: its pages can be given back and read again. munmap ends it.
 * The space is reserved, so that a full disk is an error here and not a crash later. */
int file_scratch_map(const char *folder, size_t bytes, void **memory, struct err *err) MUST_CHECK;

/* ERR_IO unless the process may open n more files. */
int file_check_descriptors(int n, struct err *err) MUST_CHECK;

struct file_map {
    const unsigned char *data;
    size_t len;
};
/* Maps a file read-only and private. An empty file gives len 0. */
int file_map_open(struct file_map *map, const char *path, struct err *err) MUST_CHECK;
/* The same; the open file goes to the caller, who closes it. */
int file_map_open_file(struct file_map *map, int *fd, const char *path, struct err *err) MUST_CHECK;
void file_map_close(struct file_map *map);
/* Gives back the memory of pages read so far; they are read again when they are needed. */
void file_map_release(const struct file_map *map);

#endif
