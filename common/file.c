/* Files. Every write that must survive a crash goes through file_write_atomic. */
#include "common/file.h"
#include "common/crash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int file_read(const char *path, size_t max_bytes, char **data, size_t *len, struct err *err)
{
    struct stat st;
    char *buffer = NULL;
    size_t used = 0;
    int rc = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, "'%s': cannot be opened", path);
    if (fstat(fd, &st) < 0)
        rc = err_set_errno(err, "'%s': cannot be read", path);
    else if (S_ISDIR(st.st_mode))
        rc = err_set(err, ERR_FORMAT, "'%s': is a folder, a file was expected", path);
    else if (st.st_size > 0 && (uintmax_t)st.st_size > max_bytes)
        rc = err_set(err, ERR_FORMAT, "'%s': has %jd bytes, at most %zu are read", path, (intmax_t)st.st_size,
                     max_bytes);
    size_t capacity = rc == 0 && st.st_size > 0 ? (size_t)st.st_size + 1 : 65536;
    /* A pipe has no size: grow while there is more. */
    while (rc == 0) {
        char *grown = realloc(buffer, capacity + 1);
        if (!grown) {
            rc = err_set(err, ERR_NOMEM, "'%s': no memory for %zu bytes", path, capacity);
            break;
        }
        buffer = grown;
        ssize_t n = read(fd, buffer + used, capacity - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = err_set_errno(err, "'%s': cannot be read", path);
        if (n <= 0)
            break;
        used += (size_t)n;
        if (used > max_bytes)
            rc = err_set(err, ERR_FORMAT, "'%s': is larger than %zu bytes", path, max_bytes);
        if (used == capacity)
            capacity *= 2;
    }
    close(fd);
    if (rc < 0) {
        free(buffer);
        return rc;
    }
    buffer[used] = '\0';
    *data = buffer;
    *len = used;
    return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* A rename is durable once the folder that holds the name is. */
static int sync_folder_of(const char *path, struct err *err)
{
    char *folder = file_folder(path);
    if (!folder)
        return err_set(err, ERR_NOMEM, "'%s': no memory", path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) < 0 ? err_set_errno(err, "'%s': the folder cannot be synchronised", folder) : 0;
    if (fd >= 0)
        close(fd);
    free(folder);
    return rc;
}

void file_write_abandon(struct file_write *file)
{
    if (file->is_open) {
        close(file->fd);
        unlink(file->temporary);
    }
    free(file->path);
    free(file->temporary);
    *file = (struct file_write){0};
}

int file_write_begin(struct file_write *file, const char *path, struct err *err)
{
    char temporary[PATH_MAX];
    *file = (struct file_write){0};
    if (snprintf(temporary, sizeof(temporary), "%s.tmp-%ld", path, (long)getpid()) >= (int)sizeof(temporary))
        return err_set(err, ERR_USAGE, "'%s': the path is too long", path);
    file->path = strdup(path);
    file->temporary = strdup(temporary);
    if (!file->path || !file->temporary)
        return err_set(err, ERR_NOMEM, "'%s': no memory", path);
    file->fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file->fd < 0)
        return err_set_errno(err, "'%s': cannot be created", temporary);
    file->is_open = true;
    return 0;
}

int file_write_add(struct file_write *file, const void *data, size_t len, struct err *err)
{
    return write_all(file->fd, data, len) < 0 ? err_set_errno(err, "'%s': cannot be written", file->temporary) : 0;
}

static int give_name(struct file_write *file, bool is_lasting, struct err *err)
{
    int rc = is_lasting && fsync(file->fd) < 0 ? err_set_errno(err, "'%s': cannot be written", file->temporary) : 0;
    if (close(file->fd) < 0 && rc == 0)
        rc = err_set_errno(err, "'%s': cannot be written", file->temporary);
    crash_at(CRASH_FILE_WRITTEN);
    if (rc == 0 && rename(file->temporary, file->path) < 0)
        rc = err_set_errno(err, "'%s': cannot be renamed to '%s'", file->temporary, file->path);
    if (rc < 0)
        unlink(file->temporary);
    file->is_open = false;
    crash_at(CRASH_FILE_RENAMED);
    return rc == 0 && is_lasting ? sync_folder_of(file->path, err) : rc;
}

int file_write_commit(struct file_write *file, struct err *err)
{
    return give_name(file, true, err);
}

static int replace(const char *path, const void *data, size_t len, bool is_lasting, struct err *err)
{
    struct file_write file;
    int rc = file_write_begin(&file, path, err);
    if (rc == 0)
        rc = file_write_add(&file, data, len, err);
    if (rc == 0)
        rc = give_name(&file, is_lasting, err);
    file_write_abandon(&file);
    return rc;
}

int file_write_atomic(const char *path, const void *data, size_t len, struct err *err)
{
    return replace(path, data, len, true, err);
}

int file_write_fleeting(const char *path, const void *data, size_t len, struct err *err)
{
    return replace(path, data, len, false, err);
}

int file_copy(const char *from, const char *to, size_t max_bytes, struct err *err)
{
    char *data = NULL;
    size_t n = 0;
    int rc = file_read(from, max_bytes, &data, &n, err);
    if (rc == 0)
        rc = file_write_atomic(to, data, n, err);
    free(data);
    return rc;
}

int file_make_folders(const char *path, struct err *err)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof(part))
        return err_set(err, ERR_USAGE, "'%s': the path is too long", path);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        char kept = part[i];
        part[i] = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return err_set_errno(err, "'%s': cannot be made", part);
        part[i] = kept;
    }
    if (!file_is_folder(path))
        return err_set(err, ERR_IO, "'%s': is not a folder", path);
    return 0;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool file_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Removes `name` in the open folder `at`; opens sub-folders by O_NOFOLLOW, so no link leads outside. */
static int remove_at(int at, const char *name)
{
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return 0;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    DIR *folder = fdopendir(fd);
    if (!folder) {
        close(fd);
        return -1;
    }
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = remove_at(fd, entry->d_name);
    closedir(folder);
    return rc < 0 ? rc : unlinkat(at, name, AT_REMOVEDIR);
}

int file_remove_tree(const char *path, struct err *err)
{
    return remove_at(AT_FDCWD, path) < 0 ? err_set_errno(err, "'%s': cannot be removed", path) : 0;
}

char *file_join(const char *base, const char *name)
{
    if (name[0] == '/' || base[0] == '\0')
        return strdup(name);
    size_t n = strlen(base) + strlen(name) + 2;
    char *path = malloc(n);
    if (path)
        snprintf(path, n, "%s%s%s", base, base[strlen(base) - 1] == '/' ? "" : "/", name);
    return path;
}

char *file_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

int file_absolute(const char *path, char **out, struct err *err)
{
    char *absolute = realpath(path, NULL);
    if (!absolute)
        return err_set_errno(err, "'%s': cannot be found", path);
    *out = absolute;
    return 0;
}

char *file_program_folder(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n < 0)
        return NULL;
    path[n] = '\0';
    return file_folder(path);
}

int file_map_open(struct file_map *map, const char *path, struct err *err)
{
    int fd, rc = file_map_open_file(map, &fd, path, err);
    if (rc == 0)
        close(fd);
    return rc;
}

int file_map_open_file(struct file_map *map, int *file, const char *path, struct err *err)
{
    struct stat st;
    int rc = 0;
    void *data = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, "'%s': cannot be opened", path);
    if (fstat(fd, &st) < 0)
        rc = err_set_errno(err, "'%s': cannot be read", path);
    else if (!S_ISREG(st.st_mode))
        rc = err_set(err, ERR_FORMAT, "'%s': is not a regular file", path);
    else if (st.st_size > 0 && (data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        rc = err_set_errno(err, "'%s': cannot be mapped", path);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    *map = (struct file_map){data, (size_t)st.st_size};
    *file = fd;
    return 0; /* cppcheck-suppress memleak ; the map's */
}

void file_map_release(const struct file_map *map)
{
    if (map->data)
        (void)madvise((void *)(uintptr_t)map->data, map->len, MADV_DONTNEED);
}

void file_map_close(struct file_map *map)
{
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->len);
    *map = (struct file_map){0};
}

int file_scratch_map(const char *folder, size_t bytes, void **memory, struct err *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/.scratch-XXXXXX", folder) >= (int)sizeof(path))
        return err_set(err, ERR_USAGE, "'%s': the path is too long", folder);
    int rc = 0, fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, "'%s': cannot be created", path);
    unlink(path);
    errno = posix_fallocate(fd, 0, (off_t)bytes);
    if (errno)
        rc = err_set_errno(err, "'%s': %zu bytes cannot be reserved", folder, bytes);
    void *mapped = rc == 0 ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (rc == 0 && mapped == MAP_FAILED)
        rc = err_set_errno(err, "'%s': %zu bytes cannot be mapped", folder, bytes);
    close(fd);
    if (rc == 0)
        *memory = mapped;
    return rc;
}

int file_check_descriptors(int n, struct err *err)
{
    enum { MOST = 64 };
    int opened[MOST], rc = 0, i = 0;
    for (; i < n && i < MOST && rc == 0; i++) {
        opened[i] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (opened[i] < 0)
            rc = err_set_errno(err, "%d more files must be open than may be", n);
    }
    while (i > 0)
        if (opened[--i] >= 0)
            close(opened[i]);
    return rc;
}
