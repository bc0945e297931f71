/* System calls are made by number: the C library has no names for these, and another library is not worth it. */
#include "trainer/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define SANDBOX_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define SANDBOX_ARCH AUDIT_ARCH_AARCH64
#endif

/* System calls -------------------------------------------------------------------------------------------------------
 */

#ifdef SANDBOX_ARCH

static const int refused[] = {
    /* The network; io_uring would open sockets past this filter. */
    SYS_socket,
    SYS_socketpair,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_io_uring_setup,
    /* The machine. */
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_open_by_handle_at,
    SYS_mknodat,
    /* What Landlock does not cover in every kernel. */
    SYS_truncate,
    SYS_fchmodat,
    SYS_fchownat,
#ifdef SYS_chmod
    SYS_chmod,
    SYS_chown,
    SYS_lchown,
#endif
#if !defined(NIGHTSWEEP_ASAN) && !defined(__SANITIZE_THREAD__)
    /* Other processes and programs; the sanitizers look for leaks and name places with their help. */
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kill,
    SYS_tkill,
    SYS_execve,
    SYS_execveat,
#endif
};

enum { N_REFUSED = sizeof(refused) / sizeof(refused[0]), X32_BIT = 0x40000000 };

static bool refuse_calls(void)
{
    struct sock_filter filter[N_REFUSED + 8];
    unsigned short n = 0;
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    /* Another instruction set has other numbers. */
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SANDBOX_ARCH, 0, N_REFUSED + 3);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, N_REFUSED + 1, 0);
    for (int i = 0; i < N_REFUSED; i++)
        filter[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)refused[i], (uint8_t)(N_REFUSED - i), 0);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    struct sock_fprog program = {.len = n, .filter = filter};
    /* OpenBLAS has started its threads already: they are filtered too. */
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

#else

static bool refuse_calls(void)
{
    return false;
}

#endif

/* Folders ------------------------------------------------------------------------------------------------------------
 */

enum {
    /* What a trainer does in its own folders: plain files and folders, no links, pipes or devices. */
    ALLOWED = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
              LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG,
    HANDLED = ALLOWED | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_SOCK |
              LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK
};

static bool allow_folder(int rules, const char *folder, uint64_t access)
{
    const struct landlock_path_beneath_attr rule = {.allowed_access = access,
                                                    .parent_fd = open(folder, O_PATH | O_CLOEXEC)};
    if (rule.parent_fd < 0)
        return errno == ENOENT;
    bool is_added = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    close(rule.parent_fd);
    return is_added;
}

static bool keep_to_folders(const char *const *folders)
{
    const struct landlock_ruleset_attr attributes = {.handled_access_fs = HANDLED};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
    if (rules < 0)
        return false;
    bool is_active = allow_folder(rules, "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE);
    for (; is_active && *folders; folders++)
        is_active = allow_folder(rules, *folders, ALLOWED);
    is_active = is_active && syscall(SYS_landlock_restrict_self, rules, 0) == 0;
    close(rules);
    return is_active;
}

struct sandbox sandbox_enter(const char *const *folders)
{
    struct sandbox sandbox = {0};
    const struct rlimit no_core = {0, 0}; /* weights and data would lie in it */
    setrlimit(RLIMIT_CORE, &no_core);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return sandbox;
    sandbox.has_folders = keep_to_folders(folders);
    sandbox.has_calls = refuse_calls();
    return sandbox;
}
