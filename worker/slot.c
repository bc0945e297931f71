/* A trainer process on libuv: four handles, closed together when the process is gone and its streams are read. */
#include "worker/slot.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/crash.h"
#include "common/file.h"
#include "common/log.h"
#include "worker/cgroup.h"

extern char **environ;

/* One write to the trainer, with its text behind it. */
struct slot_write {
    uv_write_t request;
    char *data;
};

void slot_init(struct slot *slot, uv_loop_t *loop, const struct slot_owner *owner, int number)
{
    memset(slot, 0, sizeof(*slot));
    slot->loop = loop;
    slot->owner = owner;
    slot->number = number;
}

void slot_done(struct slot *slot)
{
    line_splitter_done(&slot->lines);
}

static double seconds_since(uint64_t start_ns)
{
    return (double)(uv_hrtime() - start_ns) / 1e9;
}

/* The end ------------------------------------------------------------------------------------------------------- */

static void report_end(struct slot *slot)
{
    struct text log = {0};
    /* Who ends a job step or a node's processes ends us in the next moment: then it is not said that the trainer
     * failed. */
    if (slot->signal == SIGKILL && !slot->reason && !slot->is_abandoned)
        poll(NULL, 0, SLOT_DOUBT_MS);
    relay_tail_text(&slot->tail, &log);
    if (slot->message.code < 0) {
        if (log.len > 0 && log.data[log.len - 1] != '\n')
            text_add_char(&log, '\n');
        text_printf(&log, "%s\n", slot->message.message);
    }
    energy_add(&slot->energy);
    struct relay_end end = {
        .attempt = slot->attempt,
        .slot = slot->number,
        .exit_status = slot->exit_status,
        .signal = slot->signal,
        .reason = slot->reason,
        .seconds = (double)(slot->exited_ns - slot->started_ns) / 1e9,
        .peak_bytes = slot->peak_bytes,
        .has_joules = slot->energy.is_known,
        .joules = slot->energy.joules,
        .log_tail = log.data && !log.failed ? log.data : "",
    };
    slot->is_busy = false;
    slot->owner->on_ended(slot, &end);
    text_done(&log);
}

static void on_closed(uv_handle_t *handle)
{
    struct slot *slot = handle->data;
    if (--slot->open_handles == 0)
        report_end(slot);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void refuse_output(struct slot *slot, const struct err *err);

/* Closes everything once the process is gone and both streams are read to their end. */
static void end_if_over(struct slot *slot)
{
    struct err err = {0};
    if (!slot->has_exited || (!slot->is_abandoned && (!slot->out_has_ended || !slot->log_has_ended)))
        return;
    /* A process that was killed may have been in the middle of a line; one that ended by itself was not. */
    if (!slot->is_refused && !slot->is_abandoned && slot->signal == 0 && line_splitter_end(&slot->lines, &err) < 0)
        refuse_output(slot, &err);
    close_handle((uv_handle_t *)&slot->process);
    close_handle((uv_handle_t *)&slot->in);
    close_handle((uv_handle_t *)&slot->out);
    close_handle((uv_handle_t *)&slot->log);
}

static void on_exit_of_process(uv_process_t *process, int64_t exit_status, int term_signal)
{
    struct slot *slot = process->data;
    slot->has_exited = true;
    slot->exit_status = exit_status;
    slot->signal = term_signal;
    slot->exited_ns = slot->draining_ns = uv_hrtime();
    /* We only ever send SIGKILL: who sends these takes the machine away, as a batch system does. */
    if (!slot->reason && (term_signal == SIGTERM || term_signal == SIGHUP || term_signal == SIGINT))
        slot->reason = "interrupted";
    if (!slot->reason && term_signal == SIGKILL && cgroup_took_one()) {
        err_set(&slot->message, ERR_NOMEM, "the kernel ended the trainer: the memory of its control group is used up");
        slot->reason = "out_of_memory";
    }
    /* Whatever the trainer left running hears that the worker is gone. */
    close_handle((uv_handle_t *)&slot->in);
    log_debug("worker", "slot %d: attempt %" PRId64 " exited with %" PRId64 ", signal %d", slot->number, slot->attempt,
              exit_status, term_signal);
    end_if_over(slot);
}

/* The streams --------------------------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct slot *slot = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(slot->buffer, sizeof(slot->buffer));
}

static int on_record(char *line, size_t len, void *context, struct err *err)
{
    struct slot *slot = context;
    int rc = relay_check(line, len, slot->attempt, err);
    if (rc == 0)
        slot->owner->on_line(slot, line, len);
    return rc;
}

/* Whatever it says after a line that is no record cannot be trusted: it is killed, the rest is not looked at. */
static void refuse_output(struct slot *slot, const struct err *err)
{
    slot->is_refused = true;
    if (!slot->reason) {
        slot->reason = "crashed";
        slot->message = *err;
        err_wrap(&slot->message, "the trainer's output is refused");
    }
    slot_kill(slot);
}

static void on_out(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct slot *slot = stream->data;
    struct err err = {0};
    if (n < 0) {
        uv_read_stop(stream);
        slot->out_has_ended = true;
        end_if_over(slot);
    } else if (n > 0 && !slot->is_refused && !slot->is_abandoned &&
               line_splitter_feed(&slot->lines, buffer->base, (size_t)n, on_record, slot, &err) < 0)
        refuse_output(slot, &err);
}

static void on_log(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct slot *slot = stream->data;
    if (n > 0)
        relay_tail_add(&slot->tail, buffer->base, (size_t)n);
    if (n >= 0)
        return;
    uv_read_stop(stream);
    slot->log_has_ended = true;
    end_if_over(slot);
}

static void on_written(uv_write_t *request, int status)
{
    struct slot_write *write = (struct slot_write *)request;
    (void)status; /* a trainer that does not read is gone or going: its exit says the rest */
    free(write->data);
    free(write);
}

/* Sends text[0..len), owned by this call, to the trainer. */
static void send_owned(struct slot *slot, char *data, size_t len)
{
    struct slot_write *write = data ? malloc(sizeof(*write)) : NULL;
    if (!write || len > UINT32_MAX) {
        err_set(&slot->message, ERR_NOMEM, "no memory to write to the trainer");
        slot->reason = "crashed";
        slot_kill(slot);
        free(write);
        free(data);
        return;
    }
    uv_buf_t buffer = uv_buf_init(data, (unsigned)len);
    write->data = data;
    if (uv_write(&write->request, (uv_stream_t *)&slot->in, &buffer, 1, on_written) < 0)
        on_written(&write->request, -1);
}

/* The beginning ------------------------------------------------------------------------------------------------- */

/* What a trainer gets of the worker's environment: names, and beginnings of names (with _ at the end). */
static const char *const passed[] = {"HOME", "PATH", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME", "NIGHTSWEEP_", "LD_",
                                     /* Of the libraries that compute, and of the compilers' tools. */
                                     "OPENBLAS_", "GOTO_", "OMP_", "GOMP_", "KMP_", "MKL_", "DNNL_", "ONEDNN_",
                                     "MALLOC_", "GLIBC_", "GCOV_", "ASAN_", "LSAN_", "UBSAN_", "TSAN_", NULL};

static bool is_named(const char *item, const char *name, size_t n)
{
    return n > 0 && strncmp(item, name, n) == 0 && (name[n - 1] == '_' || item[n] == '=');
}

/* NIGHTSWEEP_PASS names more, separated by commas. */
static bool is_passed(const char *item)
{
    const char *more = getenv("NIGHTSWEEP_PASS");
    for (const char *const *name = passed; *name; name++)
        if (is_named(item, *name, strlen(*name)))
            return true;
    for (; more && *more; more += *more == ',') {
        size_t n = strcspn(more, ",");
        if (is_named(item, more, n))
            return true;
        more += n;
    }
    return false;
}

/* A fixed environment: what is passed, no locale, and the job's number of threads; a block of pointers with its own
 * texts behind them. NULL without memory. */
static char **make_environment(int threads)
{
    static const char *const own[] = {"OPENBLAS_NUM_THREADS=", "OMP_NUM_THREADS=", "LC_ALL="};
    enum { OWN = sizeof(own) / sizeof(own[0]), ITEM_BYTES = 48 };
    size_t n = 0, used = OWN;
    while (environ[n])
        n++;
    char **list = calloc(1, (n + OWN + 1) * sizeof(*list) + OWN * ITEM_BYTES);
    if (!list)
        return NULL;
    char *items = (char *)(list + n + OWN + 1);
    for (size_t i = 0; i < OWN; i++) {
        list[i] = items + i * ITEM_BYTES;
        if (i < 2)
            snprintf(list[i], ITEM_BYTES, "%s%d", own[i], threads);
        else
            snprintf(list[i], ITEM_BYTES, "%sC", own[i]);
    }
    for (size_t i = 0; i < n; i++)
        if (is_passed(environ[i]) && !text_starts_with(environ[i], own[0]) && !text_starts_with(environ[i], own[1]))
            list[used++] = environ[i];
    return list;
}

static void init_handles(struct slot *slot)
{
    uv_pipe_init(slot->loop, &slot->in, 0);
    uv_pipe_init(slot->loop, &slot->out, 0);
    uv_pipe_init(slot->loop, &slot->log, 0);
    slot->process.data = slot->in.data = slot->out.data = slot->log.data = slot;
    slot->open_handles = 4;
}

static int spawn(struct slot *slot, char **environment)
{
    char supervised[] = "--supervised";
    char *arguments[] = {(char *)slot->owner->trainer, supervised, NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&slot->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&slot->out},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&slot->log},
    };
    uv_process_options_t options = {
        .exit_cb = on_exit_of_process,
        .file = slot->owner->trainer,
        .args = arguments,
        .env = environment,
        .stdio_count = 3,
        .stdio = stdio,
    };
    return uv_spawn(slot->loop, &slot->process, &options);
}

/* Reports exit status 3, the environment's: at once without handles, else when they are closed. */
static void fail_to_spawn(struct slot *slot, int status)
{
    err_set(&slot->message, ERR_IO, "'%s': cannot be started: %s", slot->owner->trainer, uv_strerror(status));
    slot->has_exited = slot->out_has_ended = slot->log_has_ended = true;
    slot->exit_status = 3;
    slot->exited_ns = uv_hrtime();
    if (slot->open_handles > 0)
        end_if_over(slot);
    else
        report_end(slot);
}

static void reset(struct slot *slot)
{
    uv_loop_t *loop = slot->loop;
    const struct slot_owner *owner = slot->owner;
    int number = slot->number;
    bool is_paused = slot->is_paused;
    slot_done(slot);
    slot_init(slot, loop, owner, number);
    slot->is_paused = is_paused;
}

/* What the trainer allocates cannot grow beyond its limit between two looks at it. Never its address space: weights are
 * mapped. The room on top is for what libraries reserve and never touch. */
static void limit_memory(const struct slot *slot)
{
    const struct rlimit limit = {.rlim_cur = slot->limits.memory_bytes + SLOT_RESERVED_BYTES,
                                 .rlim_max = slot->limits.memory_bytes + SLOT_RESERVED_BYTES};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    bool is_possible = false; /* a sanitizer maps terabytes that it never touches */
#else
    bool is_possible = slot->limits.memory_bytes > 0;
#endif
    if (is_possible && prlimit(slot->process.pid, RLIMIT_DATA, &limit, NULL) != 0)
        log_debug("worker", "slot %d: no limit of its memory: %s", slot->number, strerror(errno));
}

void slot_start(struct slot *slot, const struct command *command)
{
    reset(slot);
    slot->is_busy = true;
    slot->attempt = command->attempt;
    slot->limits = command->limits;
    slot->started_ns = uv_hrtime();
    energy_start(&slot->energy, NULL);
    char **environment = make_environment(slot->limits.threads);
    if (!environment) {
        fail_to_spawn(slot, UV_ENOMEM);
        return;
    }
    init_handles(slot);
    int status = spawn(slot, environment);
    free(environment);
    if (status < 0) {
        fail_to_spawn(slot, status);
        return;
    }
    log_debug("worker", "slot %d: attempt %" PRId64 " is process %d", slot->number, slot->attempt, slot->process.pid);
    crash_at(CRASH_TRAINER_STARTED);
    limit_memory(slot);
    uv_read_start((uv_stream_t *)&slot->log, on_alloc, on_log);
    if (!slot->is_paused)
        uv_read_start((uv_stream_t *)&slot->out, on_alloc, on_out);
    char *copy = malloc(command->job.len);
    if (copy)
        memcpy(copy, command->job.data, command->job.len);
    send_owned(slot, copy, command->job.len);
}

/* What the coordinator and the limits ask ----------------------------------------------------------------------- */

static void send_word(struct slot *slot, const char *line)
{
    size_t len = strlen(line);
    if (!slot->is_busy || slot->has_exited)
        return;
    char *copy = malloc(len);
    if (copy)
        memcpy(copy, line, len);
    send_owned(slot, copy, len);
}

void slot_stop(struct slot *slot)
{
    send_word(slot, "{\"v\":1,\"type\":\"stop\"}\n");
}

void slot_go(struct slot *slot)
{
    send_word(slot, "{\"v\":1,\"type\":\"go\"}\n");
}

void slot_kill(struct slot *slot)
{
    if (slot->is_busy && !slot->has_exited)
        uv_process_kill(&slot->process, SIGKILL);
}

void slot_abandon(struct slot *slot)
{
    if (!slot->is_busy)
        return;
    slot->is_abandoned = true;
    slot_kill(slot);
    end_if_over(slot);
}

void slot_interrupt(struct slot *slot)
{
    if (slot->is_busy && !slot->has_exited && !slot->reason)
        slot->reason = "interrupted";
    slot_abandon(slot);
}

void slot_pause(struct slot *slot, bool is_paused)
{
    bool is_reading = slot->is_busy && !slot->out_has_ended && !uv_is_closing((uv_handle_t *)&slot->out);
    if (is_reading && is_paused && !slot->is_paused)
        uv_read_stop((uv_stream_t *)&slot->out);
    if (is_reading && !is_paused && slot->is_paused)
        uv_read_start((uv_stream_t *)&slot->out, on_alloc, on_out);
    slot->is_paused = is_paused;
    slot->draining_ns = uv_hrtime();
}

uint64_t slot_parse_peak(const char *status)
{
    static const char key[] = "\nVmHWM:";
    const char *found = strstr(status, key);
    return found ? strtoull(found + sizeof(key) - 1, NULL, 10) * 1024 : 0;
}

static void measure(struct slot *slot)
{
    char path[64], *status = NULL;
    size_t len = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", slot->process.pid);
    if (file_read(path, 1 << 16, &status, &len, NULL) < 0)
        return;
    uint64_t peak = slot_parse_peak(status);
    if (peak > slot->peak_bytes)
        slot->peak_bytes = peak;
    free(status);
}

uint64_t slot_parse_cpu(const char *stat)
{
    unsigned long long user = 0, system = 0;
    const char *rest = strrchr(stat, ')'); /* behind the name, which may hold anything */
    int n = rest ? sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) : 0;
    return n == 2 ? user + system : 0;
}

double slot_cpu_seconds(const struct slot *slot)
{
    char path[64], *stat = NULL;
    size_t len = 0;
    if (!slot->is_busy || slot->has_exited)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", slot->process.pid);
    if (file_read(path, 1 << 16, &stat, &len, NULL) < 0)
        return 0;
    uint64_t ticks = slot_parse_cpu(stat);
    free(stat);
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* Kills it and remembers why, unless it is dying of something else already. */
static void kill_because(struct slot *slot, const char *reason)
{
    if (!slot->reason)
        slot->reason = reason;
    slot_kill(slot);
}

void slot_watch(struct slot *slot)
{
    if (!slot->is_busy)
        return;
    if (slot->has_exited) {
        /* A child of the trainer may hold its streams for ever: what is not here by now does not come. */
        if (!slot->is_paused && seconds_since(slot->draining_ns) > SLOT_DRAIN_SECONDS)
            slot_abandon(slot);
        return;
    }
    measure(slot);
    energy_add(&slot->energy);
    if (slot->limits.memory_bytes > 0 && slot->peak_bytes > slot->limits.memory_bytes && !slot->reason) {
        err_set(&slot->message, ERR_NOMEM, "the trainer used %" PRIu64 " bytes, its limit is %" PRIu64,
                slot->peak_bytes, slot->limits.memory_bytes);
        kill_because(slot, "out_of_memory");
    }
    if (slot->limits.time_seconds > 0 && seconds_since(slot->started_ns) > slot->limits.time_seconds && !slot->reason) {
        err_set(&slot->message, ERR_CANCELED, "the trainer ran longer than its limit of %g seconds",
                slot->limits.time_seconds);
        kill_because(slot, "timeout");
    }
}
