/* `nightsweep run FILE...`: trains what is asked for, leaves a page for each sweep, and says what came of it. */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/file.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/export_page.h"
#include "orchestrator/printable.h"
#include "orchestrator/progress.h"
#include "orchestrator/progress_view.h"
#include "orchestrator/run.h"
#include "orchestrator/stages.h"
#include "orchestrator/summary.h"

/* The sweeps of a file: one, or its stages. */
struct named_file {
    const char *name;   /* of the page and the log */
    const char **names; /* of the sweeps */
    int n;
};

/* The command on its way. Zeroed: empty. */
struct running {
    const struct command_line *line;
    struct run_options options;
    struct arena arena;
    struct named_file *files; /* what each file makes */
    struct progress *progress;
    struct run_outcome outcome;
    struct text pages, sweeps; /* for --on-finish, separated by spaces */
    bool is_json;
    double at, until, lasting; /* seconds from the start of the command; negative: not given. `lasting`: --for. */
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory to run");
}

/* Before anything runs -----------------------------------------------------------------------------------------------
 */

static int read_options(struct running *r, struct err *err)
{
    const struct command_line *line = r->line;
    int64_t slots = 0, workers = 0, now = (int64_t)time(NULL);
    r->at = r->until = r->lasting = r->options.checkpoint_seconds = -1;
    int rc = command_get_int(line, "slots", 1, 1024, &slots, err);
    if (rc == 0)
        rc = command_get_int(line, "workers", 1, 1024, &workers, err);
    if (rc == 0)
        rc = command_get_clock(line, "at", now, &r->at, err);
    if (rc == 0)
        rc = command_get_clock(line, "until", now, &r->until, err); /* only checked here */
    if (rc == 0)
        rc = command_get_duration(line, "for", &r->lasting, err);
    if (rc == 0 && r->lasting == 0)
        rc = err_set(err, ERR_USAGE, "run: --for: a duration above 0 was expected");
    if (rc == 0)
        rc = command_get_duration(line, "checkpoint-every", &r->options.checkpoint_seconds, err);
    r->options.store = line->store;
    r->options.files = (const char *const *)line->arguments;
    r->options.n_files = line->n_arguments;
    r->options.new_name = command_value(line, "new");
    r->options.launcher = command_value(line, "launcher");
    r->options.slots = (int)slots;
    r->options.workers = (int)workers;
    if (rc == 0 && r->options.new_name && line->n_arguments > 1)
        rc = err_set(err, ERR_USAGE, "run: --new names one sweep, %d files are given", line->n_arguments);
    return rc == 0 && r->options.new_name ? definition_check_name(r->options.new_name, err) : rc;
}

static int keep_names(struct running *r, struct named_file *file, const struct stages *stages, struct err *err)
{
    file->names = arena_calloc(&r->arena, (size_t)stages->n, sizeof(*file->names));
    file->name = arena_strdup(&r->arena, stages->name);
    bool is_kept = file->names && file->name;
    for (int i = 0; i < stages->n && is_kept; i++)
        is_kept = (file->names[i] = arena_strdup(&r->arena, stages->items[i].name)) != NULL;
    file->n = stages->n;
    return is_kept ? 0 : no_memory(err);
}

/* Every definition is read before the first one runs, before a wait and before a detached process could fail unseen. */
static int read_names(struct running *r, struct err *err)
{
    int n = r->options.n_files, rc = 0;
    r->files = arena_calloc(&r->arena, (size_t)n + 1, sizeof(*r->files));
    if (!r->files)
        return no_memory(err);
    for (int i = 0; i < n && rc == 0; i++) {
        struct stages stages;
        rc = stages_read(&stages, r->options.files[i], r->options.new_name, err);
        if (rc == 0)
            fputs(stages.remarks, stderr);
        if (rc == 0)
            rc = keep_names(r, &r->files[i], &stages, err);
        stages_done(&stages);
        for (int j = 0; j < i && rc == 0; j++)
            if (text_equal(r->files[i].name, r->files[j].name))
                rc = err_set(err, ERR_USAGE, "'%s' and '%s' are both the sweep '%s'", r->options.files[j],
                             r->options.files[i], r->files[i].name);
    }
    return rc;
}

/* <folder of the store>/<sweep><ending>; in the arena. */
static const char *beside_store(struct running *r, const char *sweep, const char *ending)
{
    struct text path = {0};
    char *folder = file_folder(r->line->store);
    text_printf(&path, "%s/%s%s", folder ? folder : ".", sweep, ending);
    const char *copy = path.failed || !folder ? NULL : arena_strdup(&r->arena, path.data);
    text_done(&path);
    free(folder);
    return copy;
}

/* Detaching ----------------------------------------------------------------------------------------------------------
 */

static int open_log(const char *path, struct err *err)
{
    char *folder = file_folder(path);
    int rc = folder ? file_make_folders(folder, err) : no_memory(err);
    int fd = rc == 0 ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (rc == 0 && fd < 0)
        rc = err_set_errno(err, "the log '%s'", path);
    free(folder);
    return rc < 0 ? rc : fd;
}

/* In the new process: a session of its own, no terminal, output into the log. */
static void become_session(int log)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    setsid();
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    if (null >= 0)
        close(null);
    close(log);
}

/* *is_parent says which of the two processes goes on from here. */
static int detach(struct running *r, bool *is_parent, struct err *err)
{
    const char *path = beside_store(r, r->files[0].name, ".log");
    int log = path ? open_log(path, err) : no_memory(err);
    if (log < 0)
        return log;
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) {
        close(log);
        return err_set_errno(err, "cannot start a process");
    }
    *is_parent = pid > 0;
    if (pid == 0) {
        become_session(log);
        return 0;
    }
    close(log);
    struct text out = {0};
    if (r->is_json) {
        text_printf(&out, "{\"v\":1,\"type\":\"detached\",\"pid\":%lld,\"log\":", (long long)pid);
        printable_add_json(&out, path);
        text_add(&out, "}\n");
    } else {
        text_printf(&out, "process %lld runs on its own; its log is '", (long long)pid);
        printable_add(&out, path);
        text_printf(&out, "'. `kill %lld` stops it in good order, `nightsweep status` says how far it is.\n",
                    (long long)pid);
    }
    return command_print(&out, "the process's number", 0, err);
}

/* Running ------------------------------------------------------------------------------------------------------------
 */

/* By the clock on the wall, so that a machine that sleeps meanwhile starts in time. */
static void wait_until(struct running *r)
{
    struct timespec then;
    struct text text = {0};
    progress_add_duration(&text, r->at);
    progress_say(r->progress, "waiting", "waiting until %s (%s)", command_value(r->line, "at"),
                 text.data ? text.data : "");
    text_done(&text);
    clock_gettime(CLOCK_REALTIME, &then);
    then.tv_sec += (time_t)r->at;
    while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &then, NULL) != 0)
        continue;
}

static int work(struct running *r, struct err *err)
{
    if (r->at >= 0)
        wait_until(r);
    /* --until is counted from here: with --at 22:00, 07:00 is the morning after. */
    int rc = command_get_clock(r->line, "until", (int64_t)time(NULL), &r->until, err);
    r->options.deadline_seconds = r->until > 0 ? r->until : 0;
    if (r->lasting > 0 && (r->options.deadline_seconds == 0 || r->lasting < r->options.deadline_seconds))
        r->options.deadline_seconds = r->lasting;
    r->options.progress = r->progress;
    return rc == 0 ? run_sweeps(&r->options, &r->outcome, err) : rc;
}

/* Afterwards ---------------------------------------------------------------------------------------------------------
 */

/* "complete", "failed", "deadline", "interrupted", "canceled": what kept the run from more comes first. */
static const char *outcome_word(const struct running *r)
{
    if (r->outcome.was_interrupted)
        return "interrupted";
    if (r->outcome.n_open > 0)
        return "deadline";
    if (r->outcome.was_canceled)
        return "canceled";
    return r->outcome.n_failed > 0 ? "failed" : "complete";
}

/* `page` is told behind the last sweep of a file; NULL before. */
static void add_summary(struct text *out, const struct running *r, const struct summary *summary, const char *page)
{
    if (r->is_json) {
        text_add(out, "{\"v\":1,\"type\":\"summary\",\"page\":");
        if (page)
            printable_add_json(out, page);
        else
            text_add(out, "null");
        text_add(out, ",\"summary\":");
        summary_add_json(out, summary);
        text_add(out, "}\n");
        return;
    }
    struct text table = {0};
    text_add(out, "\nsweep '");
    printable_add(out, summary->sweep);
    text_printf(out, "': %d complete", summary->n_trials[TRIAL_COMPLETE]);
    if (summary->n_trials[TRIAL_PRUNED] > 0)
        text_printf(out, ", %d pruned", summary->n_trials[TRIAL_PRUNED]);
    if (summary->n_trials[TRIAL_FAILED] > 0)
        text_printf(out, ", %d failed", summary->n_trials[TRIAL_FAILED]);
    int n_left = summary->n_trials[TRIAL_WAITING] + summary->n_trials[TRIAL_RUNNING] + summary->n_trials[TRIAL_PAUSED];
    if (n_left > 0)
        text_printf(out, ", %d left", n_left);
    text_add_char(out, '\n');
    if (summary->n_methods > 0)
        summary_add_table(&table, summary);
    printable_add_lines(out, table.data ? table.data : "", "  ");
    if (page) {
        text_add(out, "page: ");
        printable_add(out, page);
        text_add_char(out, '\n');
    }
    text_done(&table);
}

/* The names of those sweeps of a file that have begun: *n of them. */
static int find_begun(struct store *store, const struct named_file *file, const char **names, int *n, struct err *err)
{
    int rc = 0;
    *n = 0;
    for (int i = 0; i < file->n && rc == 0; i++) {
        int64_t id = 0;
        rc = store_find_sweep(store, file->names[i], &id, err);
        if (id != 0)
            names[(*n)++] = file->names[i];
    }
    return rc;
}

/* The page of a file's sweeps, and a table of each; those that were not begun have neither. */
static int finish_file(struct text *out, struct running *r, struct store *store, const struct named_file *file,
                       struct err *err)
{
    const char *page = beside_store(r, file->name, ".html");
    const char **names = arena_calloc(&r->arena, (size_t)file->n + 1, sizeof(*names));
    int n = 0, rc = page && names ? find_begun(store, file, names, &n, err) : no_memory(err);
    if (rc < 0 || n == 0)
        return rc;
    rc = export_page_file(page, store, names, n, false, err);
    if (rc == 0)
        text_printf(&r->pages, "%s%s", r->pages.len ? " " : "", page);
    for (int i = 0; i < n && rc == 0; i++) {
        struct arena arena = {0};
        struct summary summary = {0};
        rc = summary_read(store, names[i], &arena, &summary, err);
        if (rc == 0)
            add_summary(out, r, &summary, i + 1 < n ? NULL : page);
        text_printf(&r->sweeps, "%s%s", r->sweeps.len ? " " : "", names[i]);
        arena_done(&arena);
    }
    return rc;
}

static void add_store(struct text *out, const struct running *r)
{
    if (!r->line->given_store)
        return;
    text_add(out, " --store ");
    printable_add(out, r->line->store);
}

static void add_again(struct text *out, const struct running *r)
{
    text_add(out, "`nightsweep run");
    for (int i = 0; i < r->options.n_files; i++) {
        text_add_char(out, ' ');
        printable_add(out, r->options.files[i]);
    }
    if (r->options.new_name)
        text_printf(out, " --new %s", r->options.new_name);
    add_store(out, r);
    text_add(out, "` goes on where they are\n");
}

/* What is left, and how to go on. */
static void add_end(struct text *out, const struct running *r)
{
    const struct run_outcome *outcome = &r->outcome;
    const char *word = outcome_word(r);
    if (r->is_json) {
        text_printf(out, "{\"v\":1,\"type\":\"end\",\"outcome\":\"%s\",\"failed\":%lld,\"left\":%lld}\n", word,
                    (long long)outcome->n_failed, (long long)outcome->n_open);
        return;
    }
    if (outcome->n_failed > 0) {
        text_printf(out, "%lld trial%s failed; `nightsweep status", (long long)outcome->n_failed,
                    outcome->n_failed == 1 ? "" : "s");
        add_store(out, r);
        text_add(out, "` says why\n");
    }
    if (outcome->was_interrupted)
        text_add(out, "stopped as asked");
    else if (outcome->n_open > 0)
        text_add(out, "time is up");
    if (outcome->n_open > 0) {
        text_printf(out, ": %lld trial%s left; ", (long long)outcome->n_open, outcome->n_open == 1 ? " is" : "s are");
        add_again(out, r);
    } else if (outcome->was_interrupted) {
        text_add_char(out, '\n');
    }
}

static int finish(struct running *r, struct err *err)
{
    struct store *store = NULL;
    struct text out = {0};
    int rc = store_open(&store, r->line->store, STORE_READ, err);
    for (int i = 0; i < r->options.n_files && rc == 0; i++)
        rc = finish_file(&out, r, store, &r->files[i], err);
    if (rc == 0)
        add_end(&out, r);
    store_close(store);
    return command_print(&out, "the summary", rc, err);
}

/* --on-finish --------------------------------------------------------------------------------------------------------
 */

static void set_variables(const struct running *r, int rc, int status, const struct err *err)
{
    char number[32];
    setenv("NIGHTSWEEP_OUTCOME", rc < 0 ? "error" : outcome_word(r), 1);
    setenv("NIGHTSWEEP_MESSAGE", rc < 0 ? err->message : "", 1);
    setenv("NIGHTSWEEP_STORE", r->line->store, 1);
    setenv("NIGHTSWEEP_SWEEPS", r->sweeps.data ? r->sweeps.data : "", 1);
    setenv("NIGHTSWEEP_PAGES", r->pages.data ? r->pages.data : "", 1);
    snprintf(number, sizeof(number), "%d", status);
    setenv("NIGHTSWEEP_STATUS", number, 1);
    snprintf(number, sizeof(number), "%lld", (long long)r->outcome.n_failed);
    setenv("NIGHTSWEEP_FAILED", number, 1);
    snprintf(number, sizeof(number), "%lld", (long long)r->outcome.n_open);
    setenv("NIGHTSWEEP_LEFT", number, 1);
}

/* The user's own command, by the shell as in a terminal; what it returns changes nothing: it is only said. */
static void call_on_finish(const struct running *r, int rc, int status, const struct err *err)
{
    const char *command = command_value(r->line, "on-finish");
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
    posix_spawnattr_t attributes;
    sigset_t signals;
    pid_t pid;
    int ended = 0;
    if (!command)
        return;
    set_variables(r, rc, status, err);
    fflush(stdout);
    sigemptyset(&signals);
    sigaddset(&signals, SIGPIPE); /* which this program ignores */
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    int code = posix_spawn(&pid, "/bin/sh", NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    if (code != 0)
        fprintf(stderr, "nightsweep: --on-finish cannot be started: %s\n", strerror(code));
    else if (waitpid(pid, &ended, 0) == pid && ended != 0)
        fprintf(stderr, "nightsweep: --on-finish ended with %s %d\n", WIFEXITED(ended) ? "status" : "signal",
                WIFEXITED(ended) ? WEXITSTATUS(ended) : WTERMSIG(ended));
}

/* The command --------------------------------------------------------------------------------------------------------
 */

static int open_progress(struct running *r, struct err *err)
{
    enum progress_style style = r->is_json                      ? PROGRESS_JSON
                                : command_has(r->line, "quiet") ? PROGRESS_QUIET
                                                                : PROGRESS_AUTO;
    r->progress = progress_new(style);
    return r->progress ? 0 : no_memory(err);
}

static int run_here(struct running *r, struct err *err)
{
    int rc = open_progress(r, err);
    if (rc == 0)
        rc = work(r, err);
    /* What is drawn goes before the table is printed: it could not be told from it later. */
    progress_free(r->progress);
    r->progress = NULL;
    if (rc == 0)
        rc = finish(r, err);
    bool is_whole = r->outcome.n_failed == 0 && r->outcome.n_open == 0 && !r->outcome.was_canceled;
    int status = rc < 0 ? err_exit_status(rc) : is_whole ? 0 : 1;
    call_on_finish(r, rc, status, err);
    return rc < 0 ? rc : status;
}

static int run(const struct command_line *line, struct err *err)
{
    struct running r = {.line = line, .is_json = command_has(line, "json")};
    bool is_parent = false;
    int rc = read_options(&r, err);
    if (rc == 0)
        rc = read_names(&r, err);
    if (rc == 0 && command_has(line, "detach"))
        rc = detach(&r, &is_parent, err);
    if (rc == 0 && !is_parent)
        rc = run_here(&r, err);
    progress_free(r.progress);
    text_done(&r.pages);
    text_done(&r.sweeps);
    arena_done(&r.arena);
    return rc;
}

static const struct command_option options[] = {
    {"until", "HH:MM", "stop at this time of day: running trials write checkpoints, another run goes on from them"},
    {"for", "DURATION", "stop after so long: 8h, 1h30m, 20m"},
    {"at", "HH:MM", "wait until this time of day before anything starts"},
    {"slots", "N", "trials at a time (default: what the definition says, or as many as there are cores)"},
    {"launcher", "PREFIX",
     "command prefix that starts the worker, 'srun -n1' (default: it is started on this machine)"},
    {"workers", "N",
     "workers to start, each with its slots; {worker} in the launcher is the number of each, from 0 (default: 1)"},
    {"checkpoint-every", "DURATION", "time between a trial's checkpoints (default: 30s; 0s: after every step)"},
    {"new", "NAME", "start another sweep of this name instead of going on with the one in the store"},
    {"detach", NULL, "go on in the background, in a session of its own; prints the process and the log file"},
    {"on-finish", "COMMAND",
     "shell command to call at the end; it finds NIGHTSWEEP_OUTCOME (complete, failed, deadline, canceled, "
     "interrupted, error), "
     "_STATUS, _FAILED, _LEFT, _SWEEPS, _PAGES, _STORE and _MESSAGE in its environment"},
    {"quiet", NULL, "show only what goes wrong, and the table at the end"},
    {"json", NULL, "write events, progress and the result as JSON lines"},
    {NULL, NULL, NULL},
};

const struct command command_run = {
    .name = "run",
    .arguments = "SWEEP.json...",
    .summary = "train what sweeps ask for, or go on with it",
    .description =
        "Works through the definitions in order, with one deadline for all; of a definition with stages, through one "
        "after "
        "the other. Everything is kept in the store while it "
        "happens: stopped or killed at any moment, the same command goes on where it was. A definition whose sweep is "
        "in "
        "the store already may add values, configurations and seeds; other changes are refused, and --new starts "
        "another "
        "sweep.\n\n"
        "Ctrl-C once: running trials write checkpoints, and it says what is left. Twice: it stops at once.\n\n"
        "At the end the page of each sweep stands beside the store as SWEEP.html, and a table is printed: method, "
        "trained "
        "parameters, score with its interval over seeds, flip rate before and after, seconds. The exit status is 0 "
        "when "
        "every trial has been trained, and 1 when some failed, are left, or a sweep was canceled.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = COMMAND_MAX_FILES,
    .run = run,
};
