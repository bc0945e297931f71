/* nightsweep-trainer: one trial. The job comes on standard input, records go out on standard output, a line each. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/crash.h"
#include "common/file.h"
#include "common/json.h"
#include "common/line.h"
#include "common/log.h"
#include "common/version.h"
#include "trainer/bench_command.h"
#include "trainer/blas_settle.h"
#include "trainer/bus_error.h"
#include "trainer/check_gradient.h"
#include "trainer/data_check.h"
#include "trainer/extend_command.h"
#include "trainer/gemm.h"
#include "trainer/gemm_bf16.h"
#include "trainer/generate_command.h"
#include "trainer/kernels.h"
#include "trainer/merge_command.h"
#include "trainer/predict_command.h"
#include "trainer/request.h"
#include "trainer/sandbox.h"
#include "trainer/synthesize_command.h"
#include "trainer/token_cache.h"
#include "trainer/tokens_command.h"
#include "trainer/trial.h"
#include "trainer/vocabulary_command.h"
#include "trainer/weights_command.h"

static const char usage[] =
    "usage: nightsweep-trainer [--supervised] [--trap-nan] < JOB\n"
    "       nightsweep-trainer --check-grad < JOB\n"
    "       nightsweep-trainer --tokens | --tokens-decode | --tokens-time MODEL MAX_TOKENS < LINES\n"
    "       nightsweep-trainer --weights MODEL\n"
    "       nightsweep-trainer --generate | --predict | --merge | --vocabulary | --extend | --synthesize < REQUEST\n"
    "       nightsweep-trainer --data-check < REQUEST\n"
    "       nightsweep-trainer --bench [MODEL]\n"
    "       nightsweep-trainer --doctor | --help | --version\n"
    "\n"
    "Trains one trial. JOB is one JSON line (schemas/job.schema.json); records go to standard output, a line each.\n"
    "\n"
    "  --supervised   end at once when standard input ends (the worker is gone)\n"
    "  --trap-nan     stop at the first operation that gives a value that is not finite, and name it\n"
    "  --check-grad   compare every trained tensor's gradient with finite differences (build with VARIANT=f64)\n"
    "  --data-check   look a task's files over: duplicates, leakage, labels, lengths (`nightsweep data` asks for it)\n"
    "  --tokens       print the token ids of JSON texts, a line each; --tokens-decode prints the texts of lists of "
    "ids,\n"
    "                 --tokens-time the processor seconds that encoding took\n"
    "  --generate     go on with prompts (`nightsweep generate` asks for it)\n"
    "  --predict      answer new rows with a trained adapter (`nightsweep predict` asks for it)\n"
    "  --merge        fold an adapter into its base (`nightsweep merge` asks for it)\n"
    "  --vocabulary   learn a tokenizer from data files (`nightsweep vocabulary` asks for it)\n"
    "  --extend       give a model another vocabulary (`nightsweep extend` asks for it)\n"
    "  --synthesize   translate rows into parallel text (a stage of `nightsweep run` asks for it)\n"
    "  --weights      print the tensors of a model folder: name, type, shape, hash of the float32 values\n"
    "  --bench        measure products and kernels of a model folder's shapes (`nightsweep doctor --bench` asks for "
    "it)\n"
    "  --doctor       print what this program computes with, as JSON\n"
    "\n"
    "A line {\"v\":1,\"type\":\"stop\"} after the job writes a checkpoint and ends. SIGINT and SIGTERM do the same "
    "when not\n"
    "supervised.\n"
    "\n"
    "Environment: NIGHTSWEEP_CPU=portable|avx2|avx512 forces the kernels' level; NIGHTSWEEP_CACHE is the folder of\n"
    "kept hashes, tokens and activations (default ~/.cache/nightsweep), NIGHTSWEEP_CACHE_BYTES the most that\n"
    "activations take (default 4 GiB).\n"
    "Exit status: 0 finished or stopped, 1 failed (the last record says why), 2 the job is wrong, 3 environment, 70 "
    "bug.\n";

static atomic_bool stop_asked;
static struct go go;

static void on_signal(int signal_number)
{
    (void)signal_number;
    atomic_store(&stop_asked, true);
    sem_post(&go.said);
}

/* Lines after the job: stop and go exist. */
static int on_line(char *line, size_t n, void *context, struct err *err)
{
    cJSON *json = NULL;
    (void)context;
    const cJSON *type = json_parse(line, n, &json, err) == 0 ? json_get(json, "type") : NULL;
    bool is_stop = cJSON_IsString(type) && strcmp(type->valuestring, "stop") == 0;
    if (is_stop)
        atomic_store(&stop_asked, true);
    if (is_stop || (cJSON_IsString(type) && strcmp(type->valuestring, "go") == 0))
        sem_post(&go.said);
    json_free(json);
    return 0;
}

/* Watches standard input beside the training thread; a context other than NULL says that it is supervised. The thread
 * may outlive the caller's frame: nothing of it is read. */
static void *watch_input(void *context)
{
    bool is_supervised = context != NULL;
    struct line_splitter lines = {0};
    char buffer[4096];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buffer, sizeof(buffer));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (line_splitter_feed(&lines, buffer, (size_t)n, on_line, NULL, NULL) < 0)
            break;
    }
    line_splitter_done(&lines);
    if (is_supervised)
        _exit(3);
    atomic_store(&go.is_all, true);
    sem_post(&go.said);
    return NULL;
}

/* The first line of standard input, byte by byte: what follows belongs to the watcher. */
static int read_job(struct text *line, struct err *err)
{
    for (;;) {
        char c;
        ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, "standard input");
        if (n == 0 || c == '\n')
            break;
        text_add_char(line, c);
        if (line->failed || line->len > LINE_MAX_BYTES)
            return err_set(err, ERR_FORMAT, "the job is longer than %d bytes", LINE_MAX_BYTES);
    }
    return line->len ? 0 : err_set(err, ERR_USAGE, "no job on standard input");
}

static const char *reason_of(int code)
{
    switch (code) {
    case ERR_NUMERIC:
        return "diverged";
    case ERR_NOMEM:
        return "out_of_memory";
    case ERR_DATA:
        return "bad_data";
    case ERR_UNSUPPORTED:
    case ERR_USAGE:
    case ERR_FORMAT:
    case ERR_NOT_FOUND:
        return "infeasible";
    default:
        return "crashed";
    }
}

/* From here on, what reads models and data reaches the trial's folder and the kept tokens at most. */
static struct sandbox enter_sandbox(const char *output)
{
    char *cache = cache_folder();
    const char *folders[] = {output ? output : cache, output ? cache : NULL, NULL};
    log_debug("trainer", "sandbox"); /* opens the log, if there is one */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    struct sandbox sandbox = {0}; /* at its end a sanitizer traces the process and writes its report */
    (void)folders;
#else
    struct sandbox sandbox = sandbox_enter(folders);
#endif
    free(cache);
    return sandbox;
}

static int run(bool is_supervised, bool trap_nan, struct err *err)
{
    struct text line = {0};
    struct trial_job job = {0};
    struct records records = {0};
    struct trial trial = {.trap_nan = trap_nan};
    pthread_t watcher;
    int status = 0, rc = read_job(&line, err);
    if (rc == 0)
        rc = trial_job_parse(&job, line.data, line.len, err);
    if (rc < 0) {
        fprintf(stderr, "nightsweep-trainer: %s\n", err->message);
        status = err_exit_status(rc);
        if (job.attempt == 0)
            goto out;
    }
    records_init(&records, stdout, job.attempt);
    crash_at(CRASH_JOB_READ);
    if (rc == 0 && is_supervised && !getenv("NIGHTSWEEP_CRASH_AT")) { /* whose mark may lie anywhere */
        rc = file_make_folders(job.output, err);
        enter_sandbox(job.output);
    }
    if (rc == 0 && pthread_create(&watcher, NULL, watch_input, is_supervised ? &stop_asked : NULL) == 0) {
        pthread_detach(watcher);
        trial.go = &go;
    }
    if (rc == 0)
        rc = trial_open(&trial, &job, &records, &stop_asked, err);
    if (rc == 0)
        rc = trial_run(&trial, err);
    if (rc < 0) {
        struct text *record = records_begin(&records, "failed");
        records_add_text(record, "reason", reason_of(rc));
        records_add_text(record, "message", err->message);
        records_add_int(record, "step", trial.progress.step);
        records_send(&records);
        fprintf(stderr, "nightsweep-trainer: %s\n", err->message);
        status = status ? status : 1;
    }
out:
    records_done(&records);
    trial_close(&trial);
    trial_job_done(&job);
    text_done(&line);
    return status;
}

/* The job's model and methods against finite differences; a line a tensor. */
static int check_job_gradient(struct err *err)
{
    struct text line = {0};
    struct trial_job job = {0};
    struct records records = {0};
    struct trial trial = {0};
    struct gradient_error *errors = NULL;
    size_t n = 0;
    int rc = read_job(&line, err);
    if (rc == 0)
        rc = trial_job_parse(&job, line.data, line.len, err);
    if (rc == 0)
        rc = trial_open(&trial, &job, &records, &stop_asked, err);
    if (rc == 0)
        rc = check_gradient(&trial, &errors, &n, err);
    for (size_t i = 0; i < n; i++)
        printf("%-5s %-80s %zu elements, largest difference %.1e (backward %.10g, difference %.10g)\n",
               errors[i].is_wrong ? "WRONG" : "ok", errors[i].name, errors[i].n_checked, errors[i].largest,
               errors[i].backward, errors[i].difference);
    if (rc < 0)
        fprintf(stderr, "nightsweep-trainer: %s\n", err->message);
    trial_close(&trial);
    trial_job_done(&job);
    text_done(&line);
    return rc < 0 ? err_exit_status(rc) : 0;
}

static int doctor(void)
{
    struct text out = {0};
    struct fingerprint f;
    fingerprint_take(&f);
    text_add(&out, "{\"program_version\":");
    text_add_json(&out, version_program());
    records_add_text(&out, "git_commit", version_commit());
    records_add_text(&out, "blas_version", f.blas_version);
    records_add_text(&out, "blas_core", f.blas_core);
    records_add_text(&out, "cpu", f.cpu);
    records_add_text(&out, "kernel_level", f.kernel_level);
    struct err why = {0};
    records_add_text(&out, "bf16", gemm_bf16_open(&why) == 0 ? gemm_bf16_library() : why.message);
    struct sandbox sandbox = enter_sandbox(NULL);
    records_add_text(&out, "sandbox",
                     sandbox.has_calls && sandbox.has_folders ? "no network, no programs, no other folders"
                     : sandbox.has_calls                      ? "no network, no programs (no Landlock in this kernel)"
                     : sandbox.has_folders
                         ? "no other folders (no seccomp in this kernel)"
                         : "none: this kernel has neither seccomp nor Landlock, or this build looks for memory errors");
    text_add(&out, "}");
    puts(out.data);
    text_done(&out);
    return 0;
}

/* One request, a JSON line on standard input; one answer (trainer/data_check.h). */
static int check_data(struct err *err)
{
    cJSON *request = NULL;
    struct text out = {0};
    int rc = request_read(stdin, &request, err);
    if (rc == 0)
        rc = data_check(request, &out, err);
    if (rc == 0)
        fputs(out.data, stdout);
    json_free(request);
    text_done(&out);
    return rc;
}

/* One request; the folder that it names is all that is written to (trainer/merge_command.h). */
static int merge(struct err *err)
{
    cJSON *request = NULL;
    const char *output = NULL;
    int rc = request_read(stdin, &request, err);
    if (rc == 0)
        rc = json_get_string(request, "output", "request", &output, err);
    if (rc == 0) {
        enter_sandbox(output);
        rc = merge_command(request, err);
    }
    json_free(request);
    return rc;
}

/* The exit status of a command that ended with rc, said on standard error when it failed. */
static int status_of(int rc, const struct err *err)
{
    if (rc < 0)
        fprintf(stderr, "nightsweep-trainer: %s\n", err->message);
    return err_exit_status(rc);
}

/* "" encodes, "-decode" and "-time"; −1: none of them. */
static int tokens_mode(const char *suffix)
{
    return !suffix[0]                       ? TOKENS_ENCODE
           : strcmp(suffix, "-decode") == 0 ? TOKENS_DECODE
           : strcmp(suffix, "-time") == 0   ? TOKENS_TIME
                                            : -1;
}

int main(int argc, char **argv)
{
    bool is_supervised = false, trap_nan = false;
    struct err err = {0};
    blas_settle(argv);
    bus_error_explain();
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--supervised") == 0) {
            is_supervised = true;
        } else if (strcmp(argv[i], "--trap-nan") == 0) {
            trap_nan = true;
        } else if (strcmp(argv[i], "--check-grad") == 0) {
            return check_job_gradient(&err);
        } else if (strcmp(argv[i], "--data-check") == 0) {
            enter_sandbox(NULL);
            return status_of(check_data(&err), &err);
        } else if (strcmp(argv[i], "--bench") == 0 && i + 2 >= argc) {
            return status_of(bench_command(argv[i + 1], stdout, &err), &err);
        } else if (strcmp(argv[i], "--doctor") == 0) {
            return doctor();
        } else if (strcmp(argv[i], "--version") == 0) {
            printf("nightsweep-trainer %s (%s)\n", version_program(), version_commit());
            return 0;
        } else if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (strcmp(argv[i], "--generate") == 0) {
            enter_sandbox(NULL);
            return status_of(generate_command(stdin, stdout, &err), &err);
        } else if (strcmp(argv[i], "--merge") == 0) {
            return status_of(merge(&err), &err);
        } else if (strcmp(argv[i], "--vocabulary") == 0) {
            return status_of(vocabulary_command(stdin, &err), &err);
        } else if (strcmp(argv[i], "--extend") == 0) {
            return status_of(extend_command(stdin, stdout, &err), &err);
        } else if (strcmp(argv[i], "--synthesize") == 0) {
            return status_of(synthesize_command(stdin, stdout, &err), &err);
        } else if (strcmp(argv[i], "--predict") == 0) {
            enter_sandbox(NULL);
            return status_of(predict_command(stdin, stdout, &err), &err);
        } else if (strcmp(argv[i], "--weights") == 0 && i + 2 == argc) {
            return status_of(weights_command(argv[i + 1], stdout, &err), &err);
        } else if (strncmp(argv[i], "--tokens", 8) == 0 && tokens_mode(argv[i] + 8) >= 0 && i + 3 == argc) {
            return status_of(tokens_command((enum tokens_mode)tokens_mode(argv[i] + 8), argv[i + 1],
                                            (int)strtol(argv[i + 2], NULL, 10), stdin, stdout, &err),
                             &err);
        } else {
            fprintf(stderr, "nightsweep-trainer: '%s' is not known here\n%s", argv[i], usage);
            return 2;
        }
    }
    sem_init(&go.said, 0, 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT,
           is_supervised ? SIG_IGN : on_signal); /* Ctrl-C reaches the whole terminal; the coordinator decides */
    signal(SIGTERM, on_signal);
    if (is_supervised)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return run(is_supervised, trap_nan, &err);
}
