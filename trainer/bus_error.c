/* Only calls that a signal handler may make, and no memory but its own: the list of maps is read a character at a time
 * out of a small block. */
#include "trainer/bus_error.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

struct reader {
    int fd;
    char block[512];
    ssize_t at, n;
};

static int next(struct reader *reader)
{
    if (reader->at == reader->n) {
        reader->n = read(reader->fd, reader->block, sizeof(reader->block));
        reader->at = 0;
        if (reader->n <= 0) {
            reader->n = 0;
            return -1;
        }
    }
    return (unsigned char)reader->block[reader->at++];
}

/* Hexadecimal digits; *end is the character behind them. */
static uintptr_t next_number(struct reader *reader, int *end)
{
    uintptr_t number = 0;
    int c = next(reader);
    for (; (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); c = next(reader))
        number = number * 16 + (uintptr_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    *end = c;
    return number;
}

/* The rest of a line, at most size − 1 of it. */
static void next_line(struct reader *reader, int c, char *out, size_t size)
{
    size_t n = 0;
    for (; c >= 0 && c != '\n'; c = next(reader))
        if (n + 1 < size)
            out[n++] = (char)c;
    out[n] = '\0';
}

/* The file that is mapped at an address, and where in it; false: none. Lines are "from-to rwxp offset device inode
 * path" with hexadecimal from, to and offset. */
static bool find(uintptr_t address, char *path, size_t size, uintptr_t *place)
{
    struct reader reader = {.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
    bool is_found = false;
    int c = 0;
    while (reader.fd >= 0 && c >= 0 && !is_found) {
        uintptr_t from = next_number(&reader, &c), to = next_number(&reader, &c);
        for (int i = 0; i < 5 && c >= 0; i++)
            c = next(&reader);
        uintptr_t offset = next_number(&reader, &c);
        next_line(&reader, c, path, size);
        is_found = address >= from && address < to;
        *place = address - from + offset;
        c = is_found ? c : 0;
        if (reader.n == 0)
            break;
    }
    if (reader.fd >= 0)
        close(reader.fd);
    char *name = is_found ? strchr(path, '/') : NULL;
    if (name)
        memmove(path, name, strlen(name) + 1);
    return name != NULL;
}

static void add(char *line, size_t size, const char *text)
{
    size_t n = strlen(line);
    for (; *text && n + 2 < size; text++)
        line[n++] = *text;
    line[n] = '\0';
}

static void add_number(char *line, size_t size, uintptr_t number)
{
    char digits[24], *at = digits + sizeof(digits) - 1;
    *at = '\0';
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    add(line, size, at);
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    char path[1024], line[1400] = "nightsweep-trainer: ";
    uintptr_t place = 0;
    (void)context;
    if (find((uintptr_t)info->si_addr, path, sizeof(path), &place)) {
        add(line, sizeof(line), "'");
        add(line, sizeof(line), path);
        add(line, sizeof(line), "' cannot be read at byte ");
        add_number(line, sizeof(line), place);
        add(line, sizeof(line), " any more: it was cut off while it was in use, or its disk fails");
    } else
        add(line, sizeof(line), "memory cannot be read any more (bus error)");
    line[strlen(line)] = '\n';
    ssize_t written = write(STDERR_FILENO, line, sizeof(line) < strlen(line) ? sizeof(line) : strlen(line));
    (void)written;
    signal(number, SIG_DFL); /* on return the same access ends the process */
}

void bus_error_explain(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
