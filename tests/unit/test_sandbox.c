/* What a trainer cannot do any more once it has its job, and what it still can. A child enters the sandbox and tries;
 * what came of each try lies in memory that the test shares with it. */
#include "trainer/sandbox.h"

#include <cblas.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temp.h"

static struct temp temp;
static char own[TEMP_PATH_SIZE + 256], inside[TEMP_PATH_SIZE + 512], moved[TEMP_PATH_SIZE + 512],
    outside[TEMP_PATH_SIZE + 512];

enum { TRIES_MAX = 32 };
struct outcome {
    struct sandbox sandbox;
    int n, errors[TRIES_MAX]; /* 0: it went through */
    float c[4];
};
static struct outcome *outcome;

static void start(void)
{
    temp_open(&temp);
    snprintf(own, sizeof(own), "%s", temp_path(&temp, "own"));
    snprintf(inside, sizeof(inside), "%s/file", own);
    snprintf(moved, sizeof(moved), "%s/moved", own);
    temp_write(&temp, "outside", "x", 1);
    snprintf(outside, sizeof(outside), "%s", temp_path(&temp, "outside"));
    cr_assert_eq(mkdir(own, 0755), 0);
    outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(outcome, MAP_FAILED);
}

static void end(void)
{
    temp_close(&temp);
}

TestSuite(sandbox, .init = start, .fini = end);

static void enter(void)
{
    const char *folders[] = {own, "/there/is/none", NULL};
    outcome->sandbox = sandbox_enter(folders);
}

static void try(long result)
{
    outcome->errors[outcome->n++] = result < 0 ? errno : 0;
}

static void in_a_child(void (*act)(void))
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        act();
        _exit(0);
    }
    cr_assert_gt(child, 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0, "the child ended with %d", status);
}

/* A kernel without seccomp or Landlock has no such part: said, and nothing else fails. */
static bool lacks(bool has, const char *part)
{
    if (!has)
        cr_log_warn("this kernel has no %s", part);
    return !has;
}

static void expect_all(int code)
{
    cr_assert_gt(outcome->n, 0);
    for (int i = 0; i < outcome->n; i++)
        cr_expect_eq(outcome->errors[i], code, "try %d: errno %d, %d was expected", i, outcome->errors[i], code);
}

static void use_network(void)
{
    enter();
    try(socket(AF_INET, SOCK_STREAM, 0));
    try(socket(AF_INET6, SOCK_DGRAM, 0));
    try(socket(AF_UNIX, SOCK_STREAM, 0));
    try(socket(AF_NETLINK, SOCK_RAW, 0));
    try(syscall(SYS_io_uring_setup, 1, NULL));
}

Test(sandbox, no_network)
{
    in_a_child(use_network);
    if (!lacks(outcome->sandbox.has_calls, "seccomp"))
        expect_all(EPERM);
}

static void reach_others(void)
{
    enter();
#if !defined(NIGHTSWEEP_ASAN) && !defined(__SANITIZE_THREAD__)
    static char *const arguments[] = {(char *)"/bin/true", NULL};
    try(execv(arguments[0], arguments));
    try(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
    try(kill(getppid(), 0));
#endif
    try(unshare(0));
    try(truncate("/dev/null", 0));
    try(chmod(outside, 0777));
}

Test(sandbox, no_programs_and_no_other_processes)
{
    in_a_child(reach_others);
    if (!lacks(outcome->sandbox.has_calls, "seccomp"))
        expect_all(EPERM);
}

static int ready[2], go[2];

static void *open_socket(void *context)
{
    char byte = 0;
    (void)context;
    if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
        _exit(1);
    try(socket(AF_INET, SOCK_STREAM, 0));
    return NULL;
}

static void enter_beside_a_thread(void)
{
    pthread_t thread;
    char byte = 0;
    if (pipe(ready) != 0 || pipe(go) != 0 || pthread_create(&thread, NULL, open_socket, NULL) != 0 ||
        read(ready[0], &byte, 1) != 1)
        _exit(1);
    enter();
    if (write(go[1], &byte, 1) != 1)
        _exit(1);
    pthread_join(thread, NULL);
}

Test(sandbox, threads_that_ran_before_are_in_it)
{
    in_a_child(enter_beside_a_thread);
    if (!lacks(outcome->sandbox.has_calls, "seccomp"))
        expect_all(EPERM);
}

static void write_outside(void)
{
    enter();
    try(open(outside, O_WRONLY));
    try(open("/tmp/nightsweep-sandbox-test", O_WRONLY | O_CREAT, 0644));
    try(unlink(outside));
    try(symlink("/etc", inside)); /* no way out is laid */
    try(mkdir("/tmp/nightsweep-sandbox-test", 0755));
}

Test(sandbox, writes_nothing_outside_its_folder)
{
    in_a_child(write_outside);
    if (!lacks(outcome->sandbox.has_folders, "Landlock"))
        expect_all(EACCES);
    cr_expect_eq(access(outside, R_OK), 0);
}

static void write_inside(void)
{
    enter();
    int fd = open(inside, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    try(fd);
    try(write(fd, "x", 1));
    try(ftruncate(fd, 0));
    try(rename(inside, moved));
    try(mkdir(inside, 0755));
    try(rmdir(inside));
    try(unlink(moved));
    try(open(outside, O_RDONLY));
    try(open("/dev/null", O_WRONLY));
}

Test(sandbox, keeps_its_own_folder_and_reads_everything)
{
    in_a_child(write_inside);
    expect_all(0);
}

static void compute(void)
{
    static const float a[4] = {1, 2, 3, 4}, b[4] = {5, 6, 7, 8};
    enter();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 2, 2, 2, 1, a, 2, b, 2, 0, outcome->c, 2);
}

Test(sandbox, computes_as_before)
{
    in_a_child(compute);
    cr_expect_eq(outcome->c[0], 19);
    cr_expect_eq(outcome->c[1], 22);
    cr_expect_eq(outcome->c[2], 43);
    cr_expect_eq(outcome->c[3], 50);
}
