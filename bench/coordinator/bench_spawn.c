/* bench-spawn N SLOTS PROGRAM JOB: starts PROGRAM N times, SLOTS at a time, with the file JOB (each with an output
 * folder of its own) as its input, reads what it says to the end and waits for it: what a worker's processes cost at
 * least. */
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS_MAX = 256 };

static char job[1 << 20];
static size_t job_len, output_end; /* where the job's output folder ends: each process gets one of its own */

static bool write_job(int fd)
{
    static int n;
    char number[16];
    int len = snprintf(number, sizeof(number), "-%d", ++n);
    return write(fd, job, output_end) == (ssize_t)output_end && write(fd, number, (size_t)len) == len &&
           write(fd, job + output_end, job_len - output_end) == (ssize_t)(job_len - output_end);
}

static int start(const char *program, pid_t *pid, int *out)
{
    int in[2], from[2];
    posix_spawn_file_actions_t actions;
    char *arguments[] = {(char *)program, NULL};
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
        return -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    int code = posix_spawn(pid, program, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(from[1]);
    bool is_written = code == 0 && write_job(in[1]);
    close(in[1]);
    *out = from[0];
    return is_written ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct pollfd outs[SLOTS_MAX];
    pid_t pids[SLOTS_MAX];
    char buffer[65536];
    FILE *file = argc == 5 ? fopen(argv[4], "r") : NULL;
    if (!file)
        return 2;
    job_len = fread(job, 1, sizeof(job) - 1, file);
    fclose(file);
    const char *output = strstr(job, "\"output\":\""), *end = output ? strchr(output + 10, '"') : NULL;
    if (!end)
        return 2;
    output_end = (size_t)(end - job);
    long left = strtol(argv[1], NULL, 10), slots = strtol(argv[2], NULL, 10), running = 0;
    for (long i = 0; i < slots && i < SLOTS_MAX; i++)
        outs[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    while (left > 0 || running > 0) {
        for (long i = 0; i < slots && left > 0; i++)
            if (outs[i].fd < 0) {
                if (start(argv[3], &pids[i], &outs[i].fd) < 0)
                    return 3;
                left--;
                running++;
            }
        poll(outs, (nfds_t)slots, -1);
        for (long i = 0; i < slots; i++) {
            int status;
            if (outs[i].fd < 0 || !outs[i].revents || read(outs[i].fd, buffer, sizeof(buffer)) > 0)
                continue;
            close(outs[i].fd);
            outs[i].fd = -1;
            running--;
            if (waitpid(pids[i], &status, 0) < 0 || status != 0)
                return 3;
        }
    }
    return 0;
}
