/* Coverage counters that outlive their process (VARIANT=coverage only).
 *
 * gcc counts in memory and writes at exit: what SIGKILL or _exit ends is lost, a trainer in its sandbox may not write,
 * and thousands of short processes spend their time merging files. Here a file is mapped over the counters (counters.ld
 * puts them together), shared by all processes of the same program: they count into it as they run, and nothing is
 * written at exit. The file is named by the program's build id, for tests copy programs under other names. With
 * COVERAGE_DUMP in the environment a program writes what the file has as gcc's own .gcda files, and ends:
 * tests/support/coverage/report.py does that once for each. */
#include <elf.h>
#include <fcntl.h>
#include <gcov.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char coverage_counters_begin[], coverage_counters_end[];

/* The first object that the loader names is the program: its build id as hexadecimal digits, or "". */
static int read_build_id(struct dl_phdr_info *info, size_t size, void *context)
{
    char *hex = context;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const char *at = (const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        const char *end = at + info->dlpi_phdr[i].p_memsz;
        while (info->dlpi_phdr[i].p_type == PT_NOTE && at < end) {
            const ElfW(Nhdr) *note = (const void *)at;
            const unsigned char *id = (const unsigned char *)at + sizeof(*note) + ((note->n_namesz + 3u) & ~3u);
            if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp(note + 1, "GNU", 4) == 0) {
                for (unsigned k = 0; k < note->n_descsz && k < 20; k++)
                    snprintf(hex + 2 * k, 3, "%02x", id[k]);
                return 1;
            }
            at = (const char *)id + ((note->n_descsz + 3u) & ~3u);
        }
    }
    return 1;
}

/* By number: the C library's functions may be those of tests/support/faults. */
static void map_counters(void)
{
    char id[41] = "", path[512];
    size_t n = (size_t)(coverage_counters_end - coverage_counters_begin);
    struct stat info;
    dl_iterate_phdr(read_build_id, id);
    snprintf(path, sizeof(path), "%s/%s", COVERAGE_FOLDER, id);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (fstat(fd, &info) == 0 && ((size_t)info.st_size >= n || syscall(SYS_ftruncate, fd, n) == 0))
        syscall(SYS_mmap, coverage_counters_begin, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    syscall(SYS_close, fd);
}

/* Last of what exit() does, in front of gcc's own writing. */
static void leave(int status, void *context)
{
    (void)context;
    fflush(NULL);
    _exit(status);
}

__attribute__((constructor)) static void start(void)
{
    on_exit(leave, NULL);
    map_counters();
    if (!getenv("COVERAGE_DUMP"))
        return;
    __gcov_dump();
    _exit(0);
}
