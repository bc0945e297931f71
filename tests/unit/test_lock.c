/* Tests of orchestrator/lock: one holder, a message that names it, and no lock left behind by a crash. */
#include "orchestrator/lock.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temp.h"

static struct temp temp;

static void setup(void)
{
    temp_open(&temp);
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(lock, .init = setup, .fini = teardown);

Test(lock, second_is_refused_with_pid_of_first)
{
    struct lock first = {0}, second = {0};
    struct err err;
    char expected[64];
    const char *path = temp_path(&temp, "x.lock");
    cr_assert_eq(lock_acquire(&first, path, &err), 0, "%s", err.message);
    cr_assert_eq(lock_acquire(&second, path, &err), ERR_BUSY);
    snprintf(expected, sizeof expected, "held by process %d on host '", (int)getpid());
    cr_assert_not_null(strstr(err.message, expected), "%s", err.message);
    cr_assert_not(second.is_held);
    lock_release(&first);
    cr_assert_eq(lock_acquire(&second, path, &err), 0, "%s", err.message);
    lock_release(&second);
}

Test(lock, ends_with_its_holder)
{
    const char *path = temp_path(&temp, "x.lock");
    struct err err;
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct lock lock = {0};
        if (lock_acquire(&lock, path, NULL) == 0 && write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    struct lock_holder holder = {0};
    cr_assert_eq(lock_query(path, &holder, &err), 0, "%s", err.message);
    cr_assert(holder.is_held);
    cr_assert_eq(holder.pid, child);
    cr_assert_gt(strlen(holder.host), 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    cr_assert_eq(lock_query(path, &holder, &err), 0, "%s", err.message);
    cr_assert_not(holder.is_held);
    struct lock lock = {0};
    cr_assert_eq(lock_acquire(&lock, path, &err), 0, "%s", err.message);
    lock_release(&lock);
}

/* What the holder starts (exec) must not keep the lock when the holder is gone. */
Test(lock, programs_it_starts_do_not_hold_it)
{
    const char *path = temp_path(&temp, "x.lock");
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct lock lock = {0};
        if (lock_acquire(&lock, path, NULL) != 0)
            _exit(1);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            dup2(ready[1], STDOUT_FILENO); /* says a byte once it is another program, and stays */
            execl("/bin/sh", "sh", "-c", "echo x; exec sleep 5", (char *)NULL);
            _exit(1);
        }
        pause();
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    struct lock_holder holder = {0};
    struct err err;
    cr_assert_eq(lock_query(path, &holder, &err), 0, "%s", err.message);
    cr_assert_not(holder.is_held);
}

Test(lock, odd_files)
{
    struct lock lock = {0};
    struct lock_holder holder = {.is_held = true};
    struct err err;
    cr_assert_eq(lock_query(temp_path(&temp, "missing.lock"), &holder, &err), 0);
    cr_assert_not(holder.is_held);
    cr_assert_eq(lock_acquire(&lock, temp_path(&temp, "no/folder/x.lock"), &err), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(err.message, "cannot open the lock file '"), "%s", err.message);
    temp_write(&temp, "garbage.lock", "\xff\xff no pid", 9);
    cr_assert_eq(lock_acquire(&lock, temp_path(&temp, "garbage.lock"), &err), 0, "%s", err.message);
    lock_release(&lock);
    lock_release(&lock); /* twice is fine */
}
