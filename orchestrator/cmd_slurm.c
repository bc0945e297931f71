/* `nightsweep slurm submit SWEEP.json... -- SBATCH OPTIONS` and `nightsweep slurm status`.
 *
 * One job holds the whole sweep: its batch script runs the coordinator, which starts a worker on each node with srun.
 * Shortly before the time limit Slurm signals the script, running trials checkpoint, the job puts itself back into the
 * queue and goes on from the store; the same happens after a preemption or the loss of the first node. The loss of
 * another node costs its trials their steps since the last checkpoint. Slurm sees one job however many trials there
 * are. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/printable.h"
#include "orchestrator/stages.h"

enum { ARGUMENTS_MAX = 64, SIGNAL_SECONDS = 120 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for a batch script");
}

/* Runs a program of Slurm's with our streams; its exit status, or ERR_NOT_FOUND when there is none. */
static int call(char *const *arguments, struct err *err)
{
    pid_t pid;
    int ended = 0;
    fflush(stdout);
    int code = posix_spawnp(&pid, arguments[0], NULL, NULL, arguments, environ);
    if (code != 0)
        return err_set(err, ERR_NOT_FOUND, "'%s' cannot be started: %s; is this a machine that submits to Slurm?",
                       arguments[0], strerror(code));
    while (waitpid(pid, &ended, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(ended) ? WEXITSTATUS(ended) : 70;
}

/* The script ----------------------------------------------------------------------------------------------------------
 */

/* 'text' for a POSIX shell. */
static void add_quoted(struct text *out, const char *s)
{
    text_add_char(out, '\'');
    for (; *s; s++)
        if (*s == '\'')
            text_add(out, "'\\''");
        else
            text_add_char(out, *s);
    text_add_char(out, '\'');
}

struct submission {
    const struct command_line *line;
    int n_files; /* the arguments behind are sbatch's */
    char *program, *store, *folder;
    char **files;     /* absolute */
    const char *name; /* of the first sweep */
    struct stages stages;
};

static void add_script(struct text *out, const struct submission *s, int64_t slots)
{
    text_printf(
        out,
        "#!/bin/sh\n"
        "# Written by nightsweep slurm submit. Runs a sweep inside the allocation; put back into the queue while "
        "trials are left.\n"
        "#SBATCH --job-name=nightsweep-%s\n"
        "#SBATCH --requeue\n"
        "#SBATCH --no-kill\n"
        "#SBATCH --open-mode=append\n"
        "#SBATCH --signal=B:USR1@%d\n",
        s->name, SIGNAL_SECONDS);
    text_printf(out, "#SBATCH --output=%s/%s.slurm.log\n", s->folder, s->name);
    text_add(out, "left=");
    add_quoted(out, s->store);
    text_add(out, ".left\nrm -f \"$left\"\n");
    if (slots > 0)
        text_printf(out, "slots=%lld\n", (long long)slots);
    else
        text_printf(out, "slots=$((${SLURM_CPUS_ON_NODE:-1} / %d))\n[ \"$slots\" -gt 0 ] || slots=1\n",
                    s->stages.items[0].resources.threads);
    add_quoted(out, s->program);
    text_add(out, " run");
    for (int i = 0; i < s->n_files; i++) {
        text_add_char(out, ' ');
        add_quoted(out, s->files[i]);
    }
    text_add(out, " --store ");
    add_quoted(out, s->store);
    text_add(
        out,
        " \\\n    --workers \"${SLURM_JOB_NUM_NODES:-1}\" --slots \"$slots\" \\\n"
        "    --launcher 'srun --exact --unbuffered --nodes=1 --ntasks=1 --cpus-per-task='\"${SLURM_CPUS_ON_NODE:-1}\"'"
        " --relative={worker}' \\\n"
        "    --on-finish 'printf %s \"$NIGHTSWEEP_LEFT\" >\"$NIGHTSWEEP_STORE.left\"' &\n"
        "run=$!\n"
        "signaled=\n"
        "# The run counts by signal: USR1, the time limit is near; TERM, others want the machine.\n"
        "tell() { signaled=1; kill \"-$1\" \"$run\" 2>/dev/null; }\n"
        "is_preempted() { scontrol show job \"$SLURM_JOB_ID\" 2>/dev/null | grep -q 'PreemptTime=[0-9]'; }\n"
        "trap 'if is_preempted; then tell TERM; else tell USR1; fi' USR1\n"
        "trap 'tell TERM' TERM\n"
        "wait \"$run\"\n"
        "status=$?\n"
        "# A signal ends the first wait; the run then writes its checkpoints.\n"
        "while kill -0 \"$run\" 2>/dev/null; do wait \"$run\"; status=$?; done\n"
        "if [ -n \"$signaled\" ] && [ \"$(cat \"$left\" 2>/dev/null || echo 1)\" != 0 ]; then\n"
        "    scontrol requeue \"$SLURM_JOB_ID\" && exit 0\n"
        "fi\n"
        "exit \"$status\"\n");
}

/* Submitting --------------------------------------------------------------------------------------------------------
 */

static int read_files(struct submission *s, struct err *err)
{
    const struct command_line *line = s->line;
    int rc = 0;
    while (s->n_files + 1 < line->n_arguments && line->arguments[s->n_files + 1][0] != '-')
        s->n_files++;
    if (s->n_files == 0)
        return err_set(err, ERR_USAGE, "slurm submit: a sweep's file was expected");
    s->files = calloc((size_t)s->n_files, sizeof(*s->files));
    if (!s->files)
        return no_memory(err);
    for (int i = s->n_files; i-- > 0 && rc == 0;) {
        stages_done(&s->stages);
        rc = stages_read(&s->stages, line->arguments[i + 1], NULL, err);
        if (rc == 0)
            rc = file_absolute(line->arguments[i + 1], &s->files[i], err);
    }
    s->name = s->stages.name;
    return rc;
}

static int find_paths(struct submission *s, struct err *err)
{
    char *beside = file_program_folder(), *folder = file_folder(s->line->store);
    int rc = beside && folder ? file_make_folders(folder, err) : no_memory(err);
    if (rc == 0)
        rc = file_absolute(folder, &s->folder, err);
    const char *slash = strrchr(s->line->store, '/');
    s->store = rc == 0 ? file_join(s->folder, slash ? slash + 1 : s->line->store) : NULL;
    s->program = beside ? file_join(beside, "nightsweep") : NULL;
    free(beside);
    free(folder);
    return rc == 0 && (!s->store || !s->program) ? no_memory(err) : rc;
}

static int submit(const struct command_line *line, struct err *err)
{
    struct submission s = {.line = line};
    struct text script = {0}, path = {0};
    int64_t slots = 0;
    int rc = command_get_int(line, "slots", 1, 1024, &slots, err);
    if (rc == 0)
        rc = read_files(&s, err);
    if (rc == 0)
        rc = find_paths(&s, err);
    if (rc == 0) {
        add_script(&script, &s, slots);
        text_printf(&path, "%s/%s.slurm.sh", s.folder, s.name);
        rc = script.failed || path.failed ? no_memory(err) : file_write_atomic(path.data, script.data, script.len, err);
    }
    if (rc == 0 && command_has(line, "dry-run"))
        printf("%s\n", path.data);
    else if (rc == 0) {
        char *arguments[ARGUMENTS_MAX] = {(char *)"sbatch"};
        int n = 1, i = s.n_files + 1;
        while (i < line->n_arguments && n < ARGUMENTS_MAX - 2)
            arguments[n++] = line->arguments[i++];
        arguments[n++] = path.data;
        arguments[n] = NULL;
        rc = i < line->n_arguments ? err_set(err, ERR_USAGE, "more than %d options for sbatch", ARGUMENTS_MAX - 3)
                                   : call(arguments, err);
    }
    for (int i = 0; s.files && i < s.n_files; i++)
        free(s.files[i]);
    free(s.files);
    free(s.program);
    free(s.store);
    free(s.folder);
    stages_done(&s.stages);
    text_done(&script);
    text_done(&path);
    return rc;
}

/* The user's jobs in the queue, then what the store says. */
static int status(const struct command_line *line, struct err *err)
{
    char *arguments[] = {(char *)"squeue", (char *)"--me", (char *)"--format=%.18i %.9P %.30j %.8T %.10M %.10l %.6D %R",
                         NULL};
    struct command_line rest = {.action = COMMAND_RUN,
                                .command = &command_status,
                                .store = line->store,
                                .arguments = line->arguments + 1,
                                .n_arguments = line->n_arguments - 1};
    int rc = call(arguments, err);
    if (rc != 0)
        return rc;
    if (!file_exists(line->store)) {
        printf("no store yet\n");
        return 0;
    }
    return command_status.run(&rest, err);
}

static int run(const struct command_line *line, struct err *err)
{
    static const char *const actions[] = {"submit", "status", NULL};
    const char *action = line->arguments[0], *nearest = text_nearest(action, actions);
    if (text_equal(action, "submit"))
        return submit(line, err);
    if (text_equal(action, "status"))
        return status(line, err);
    return err_set(err, ERR_USAGE, "slurm: '%.80s', submit or status was expected%s%s", action,
                   nearest ? ", nearest is " : "", nearest ? nearest : "");
}

static const struct command_option options[] = {
    {"slots", "N", "trials at a time on each node (default: its cores over the definition's threads)"},
    {"dry-run", NULL, "write the batch script and print its path, submit nothing"},
    {NULL, NULL, NULL},
};

const struct command command_slurm = {
    .name = "slurm",
    .arguments = "submit SWEEP.json... -- SBATCH OPTIONS | status [SWEEP...]",
    .summary = "run a sweep as one job of a Slurm cluster, or show the queue",
    .description =
        "submit writes a batch script beside the store and gives it to sbatch with the options behind `--` (as "
        "--name=value). The job runs the coordinator on its first node and starts a worker on each node with srun. Two "
        "minutes before the time limit running trials write checkpoints and the job puts itself back into the queue; "
        "the same when it is preempted; `status` counts both apart from what trials did wrong. It goes on from the "
        "store. The store, the model and the data must lie on "
        "a file system that all nodes see.\n\n"
        "status shows the user's jobs and what the store knows.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = COMMAND_MAX_FILES,
    .run = run,
};
