/* The loop of the worker. Everything it owns hangs on struct worker, which the handles' data point to. */
#include "worker/worker.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "common/crash.h"
#include "common/file.h"
#include "common/line.h"
#include "common/log.h"
#include "worker/cgroup.h"
#include "worker/command.h"
#include "worker/relay.h"
#include "worker/slot.h"

struct worker {
    const struct worker_options *options;
    uv_loop_t loop;
    uv_pipe_t in, out;
    uv_timer_t heartbeat, watch;
    uv_signal_t terminate, hang_up;
    struct slot *slots; /* room for WORKER_MAX_SLOTS, n_slots of them in use */
    int n_slots;
    struct slot_owner owner;
    struct line_splitter lines;
    bool is_paused;  /* our output is not taken fast enough */
    bool is_leaving; /* trainers are killed; what is left is reported and written */
    bool is_silent;  /* nobody reads our output any more: it is not waited for */
    bool is_closed;  /* the handles are closing */
    uint64_t leaving_ns;
    int rc; /* what worker_run returns, with err */
    struct err err;
    char buffer[64 << 10];
};

/* One write to standard output, with its text. */
struct worker_write {
    uv_write_t request;
    struct worker *worker;
    char *data;
};

static void leave(struct worker *worker, bool is_silent);
static void close_if_done(struct worker *worker);

/* Output -------------------------------------------------------------------------------------------------------- */

static void pause_slots(struct worker *worker, bool is_paused)
{
    worker->is_paused = is_paused;
    for (int i = 0; i < worker->n_slots; i++)
        slot_pause(&worker->slots[i], is_paused);
}

static void fail(struct worker *worker, int rc, const struct err *err)
{
    if (worker->rc == 0) {
        worker->rc = rc;
        worker->err = *err;
    }
    leave(worker, true);
}

static void on_written(uv_write_t *request, int status)
{
    struct worker_write *write = (struct worker_write *)request;
    struct worker *worker = write->worker;
    free(write->data);
    free(write);
    if (status < 0 && status != UV_ECANCELED) {
        leave(worker, true); /* nobody takes it any more: the coordinator is gone */
        return;
    }
    if (worker->is_paused && uv_stream_get_write_queue_size((uv_stream_t *)&worker->out) < WORKER_GO_ON_BYTES)
        pause_slots(worker, false);
    close_if_done(worker);
}

/* Writes the text, which is taken over. */
static void send_text(struct worker *worker, struct text *text)
{
    size_t len = text->len;
    char *data = text_take(text);
    struct worker_write *write = data ? malloc(sizeof(*write)) : NULL;
    if (!write) {
        struct err err;
        free(data);
        fail(worker, err_set(&err, ERR_NOMEM, "no memory for %zu bytes of output", len), &err);
        return;
    }
    uv_buf_t buffer = uv_buf_init(data, (unsigned)len);
    write->worker = worker;
    write->data = data;
    if (worker->is_closed || uv_write(&write->request, (uv_stream_t *)&worker->out, &buffer, 1, on_written) < 0) {
        free(data);
        free(write);
        return;
    }
    if (!worker->is_paused && uv_stream_get_write_queue_size((uv_stream_t *)&worker->out) > WORKER_PAUSE_BYTES)
        pause_slots(worker, true);
}

static void on_record(struct slot *slot, char *line, size_t len)
{
    struct worker *worker = slot->owner->context;
    struct text text = {0};
    crash_at(CRASH_RECORD_READ);
    line[len] = '\n';
    text_add_n(&text, line, len + 1);
    send_text(worker, &text);
}

static void send_end(struct worker *worker, const struct relay_end *end)
{
    struct text text = {0};
    relay_add_ended(&text, end);
    send_text(worker, &text);
}

/* CPU time of all trainers so far: of those that are gone, and of those that run. */
static double cpu_seconds(const struct worker *worker)
{
    struct rusage gone;
    double sum = 0;
    if (getrusage(RUSAGE_CHILDREN, &gone) == 0)
        sum = (double)(gone.ru_utime.tv_sec + gone.ru_stime.tv_sec) +
              1e-6 * (double)(gone.ru_utime.tv_usec + gone.ru_stime.tv_usec);
    for (int i = 0; i < worker->options->slots; i++)
        sum += slot_cpu_seconds(&worker->slots[i]);
    return sum;
}

static void send_heartbeat(struct worker *worker)
{
    struct text text = {0};
    relay_add_heartbeat(&text, cpu_seconds(worker));
    send_text(worker, &text);
}

static void on_ended(struct slot *slot, const struct relay_end *end)
{
    struct worker *worker = slot->owner->context;
    crash_at(CRASH_EXIT_SEEN);
    if (!worker->is_leaving)
        send_heartbeat(worker); /* what the trainer used is known before it is gone */
    send_end(worker, end);
    crash_at(CRASH_EXIT_TOLD);
    close_if_done(worker);
}

static void on_heartbeat(uv_timer_t *timer)
{
    send_heartbeat(timer->data);
}

/* The marker's text without its line end, owned by the caller; NULL when it cannot be read: the coordinator, which
 * knows what it should say, tells the person that the folder is not the same. */
static char *read_marker(const char *path)
{
    struct err err = {0};
    char *marker = NULL;
    size_t len = 0;
    if (!path)
        return NULL;
    if (file_read(path, WORKER_MARKER_MAX_BYTES, &marker, &len, &err) < 0) {
        log_debug("worker", "marker %s", err.message);
        return NULL;
    }
    while (len > 0 && (marker[len - 1] == '\n' || marker[len - 1] == '\r'))
        marker[--len] = '\0';
    if (utf8_valid_prefix(marker, len) < len || strlen(marker) < len) {
        log_debug("worker", "marker '%s': is no text", path);
        free(marker);
        return NULL;
    }
    return marker;
}

static void send_hello(struct worker *worker)
{
    char host[UV_MAXHOSTNAMESIZE] = "";
    size_t size = sizeof(host);
    struct text text = {0};
    char *marker = read_marker(worker->options->marker);
    const char *missing[WORKER_FILES_MAX + 1] = {NULL};
    for (int i = 0, n = 0; i < worker->options->n_files; i++)
        if (access(worker->options->files[i], R_OK) != 0)
            missing[n++] = worker->options->files[i];
    if (uv_os_gethostname(host, &size) < 0 || utf8_valid_prefix(host, strlen(host)) < strlen(host))
        host[0] = '\0';
    relay_add_hello(&text, host, getpid(), worker->n_slots, marker, missing);
    free(marker);
    send_text(worker, &text);
}

/* Commands ------------------------------------------------------------------------------------------------------ */

/* Answers a start that cannot be, as an attempt that ended at once. */
static void refuse_start(struct worker *worker, const struct command *command, const struct err *err)
{
    struct relay_end end = {
        .attempt = command->attempt,
        .slot = command->slot,
        .exit_status = 70,
        .reason = "crashed",
        .log_tail = err->message,
    };
    send_end(worker, &end);
}

static int check_start(const struct worker *worker, const struct command *command, struct err *err)
{
    if (worker->is_leaving)
        return err_set(err, ERR_BUSY, "the worker is about to end");
    if (command->slot < 1 || command->slot > worker->n_slots)
        return err_set(err, ERR_NOT_FOUND, "slot %" PRId64 " does not exist, the slots are 1 to %d", command->slot,
                       worker->n_slots);
    if (worker->slots[command->slot - 1].is_busy)
        return err_set(err, ERR_BUSY, "slot %" PRId64 " is busy", command->slot);
    for (int i = 0; i < worker->n_slots; i++)
        if (worker->slots[i].is_busy && worker->slots[i].attempt == command->attempt)
            return err_set(err, ERR_BUSY, "attempt %" PRId64 " runs in slot %d already", command->attempt, i + 1);
    return 0;
}

static void start(struct worker *worker, const struct command *command)
{
    struct err err = {0};
    if (check_start(worker, command, &err) < 0)
        refuse_start(worker, command, &err);
    else
        slot_start(&worker->slots[command->slot - 1], command);
}

/* An attempt that does not run has ended meanwhile: its `ended` is under way. */
static void each_slot(struct worker *worker, int64_t attempt, void (*act)(struct slot *slot))
{
    for (int i = 0; i < worker->n_slots; i++)
        if (worker->slots[i].is_busy && (attempt == 0 || worker->slots[i].attempt == attempt))
            act(&worker->slots[i]);
}

/* More slots; there are never fewer, since what is not started takes nothing. */
static void grow(struct worker *worker, int64_t slots)
{
    for (; worker->n_slots < slots && worker->n_slots < WORKER_MAX_SLOTS; worker->n_slots++) {
        slot_init(&worker->slots[worker->n_slots], &worker->loop, &worker->owner, worker->n_slots + 1);
        slot_pause(&worker->slots[worker->n_slots], worker->is_paused);
    }
}

static int on_command(char *line, size_t len, void *context, struct err *err)
{
    struct worker *worker = context;
    struct command command = {0};
    int rc = command_parse(&command, line, len, err);
    if (rc < 0)
        err_wrap(err, "standard input");
    else if (command.kind == COMMAND_START)
        start(worker, &command);
    else if (command.kind == COMMAND_STOP)
        each_slot(worker, command.attempt, slot_stop);
    else if (command.kind == COMMAND_GO)
        each_slot(worker, command.attempt, slot_go);
    else if (command.kind == COMMAND_KILL)
        each_slot(worker, command.attempt, slot_kill);
    else if (command.kind == COMMAND_SLOTS)
        grow(worker, command.slot);
    else
        leave(worker, false);
    command_done(&command);
    return rc;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct worker *worker = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(worker->buffer, sizeof(worker->buffer));
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct worker *worker = stream->data;
    struct err err = {0};
    if (n < 0) {
        leave(worker, true);
        return;
    }
    int rc = line_splitter_feed(&worker->lines, buffer->base, (size_t)n, on_command, worker, &err);
    if (rc < 0)
        fail(worker, rc, &err);
}

/* The end ------------------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    (void)handle;
}

static void close_all(struct worker *worker)
{
    worker->is_closed = true;
    uv_handle_t *handles[] = {(uv_handle_t *)&worker->in,        (uv_handle_t *)&worker->out,
                              (uv_handle_t *)&worker->heartbeat, (uv_handle_t *)&worker->watch,
                              (uv_handle_t *)&worker->terminate, (uv_handle_t *)&worker->hang_up};
    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
        uv_close(handles[i], on_closed);
}

/* When leaving: closes everything once no trainer is left and what was to say is written. */
static void close_if_done(struct worker *worker)
{
    if (!worker->is_leaving || worker->is_closed)
        return;
    for (int i = 0; i < worker->n_slots; i++)
        if (worker->slots[i].is_busy)
            return;
    if (uv_stream_get_write_queue_size((uv_stream_t *)&worker->out) == 0 || worker->is_silent)
        close_all(worker);
}

/* Kills the trainers and ends the loop when they are gone; silent: nobody reads our output any more. */
static void leave(struct worker *worker, bool is_silent)
{
    if (!worker->is_leaving) {
        worker->is_leaving = true;
        worker->leaving_ns = uv_hrtime();
        uv_timer_stop(&worker->heartbeat);
        each_slot(worker, 0, slot_interrupt);
    }
    worker->is_silent = worker->is_silent || is_silent;
    close_if_done(worker);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    leave(handle->data, false);
}

static void on_watch(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    for (int i = 0; i < worker->n_slots; i++)
        slot_watch(&worker->slots[i]);
    if (worker->is_leaving && uv_hrtime() - worker->leaving_ns > WORKER_LEAVE_SECONDS * UINT64_C(1000000000))
        leave(worker, true);
}

/* The beginning ------------------------------------------------------------------------------------------------- */

static int check_input(struct err *err)
{
    uv_handle_type type = uv_guess_handle(0);
    if (type == UV_NAMED_PIPE || type == UV_TCP || type == UV_TTY)
        return 0;
    /* The loop cannot wait for a file. */
    return err_set(err, ERR_USAGE, "standard input is a file or closed, a pipe, socket or terminal was expected");
}

static int init_handles(struct worker *worker, struct err *err)
{
    int rc = file_check_descriptors(WORKER_DESCRIPTORS, err); /* without them libuv ends the process */
    int status = rc == 0 ? uv_loop_init(&worker->loop) : 0;
    if (rc < 0)
        return rc;
    if (status < 0)
        return err_set(err, ERR_IO, "no event loop: %s", uv_strerror(status));
    uv_pipe_init(&worker->loop, &worker->in, 0);
    uv_pipe_init(&worker->loop, &worker->out, 0);
    uv_timer_init(&worker->loop, &worker->heartbeat);
    uv_timer_init(&worker->loop, &worker->watch);
    uv_signal_init(&worker->loop, &worker->terminate);
    uv_signal_init(&worker->loop, &worker->hang_up);
    worker->in.data = worker->out.data = worker->heartbeat.data = worker->watch.data = worker;
    worker->terminate.data = worker->hang_up.data = worker;
    return 0;
}

static int open_streams(struct worker *worker, struct err *err)
{
    int status = uv_pipe_open(&worker->in, 0);
    if (status == 0)
        status = uv_pipe_open(&worker->out, 1);
    if (status == 0)
        status = uv_read_start((uv_stream_t *)&worker->in, on_alloc, on_input);
    return status < 0 ? err_set(err, ERR_IO, "standard input and output cannot be used: %s", uv_strerror(status)) : 0;
}

static void start_timers(struct worker *worker)
{
    uint64_t ms = (uint64_t)worker->options->heartbeat_ms;
    uv_timer_start(&worker->heartbeat, on_heartbeat, ms, ms);
    uv_timer_start(&worker->watch, on_watch, WORKER_WATCH_MS, WORKER_WATCH_MS);
    uv_signal_start(&worker->terminate, on_signal, SIGTERM);
    uv_signal_start(&worker->hang_up, on_signal, SIGHUP);
}

static int serve(struct worker *worker, struct err *err)
{
    int rc = init_handles(worker, err);
    if (rc < 0)
        return rc;
    for (int i = 0; i < worker->n_slots; i++)
        slot_init(&worker->slots[i], &worker->loop, &worker->owner, i + 1);
    rc = open_streams(worker, err);
    if (rc == 0) {
        crash_at(CRASH_WORKER_STARTED);
        cgroup_begin();
        send_hello(worker);
        start_timers(worker);
    } else
        close_all(worker);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    uv_loop_close(&worker->loop);
    if (rc == 0 && worker->rc < 0) {
        *err = worker->err;
        rc = worker->rc;
    }
    return rc;
}

int worker_run(const struct worker_options *options, struct err *err)
{
    struct worker *worker = NULL;
    int rc = check_input(err);
    if (rc < 0)
        return rc;
    /* Ctrl-C reaches the whole terminal: what it means is the coordinator's decision. */
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    worker = calloc(1, sizeof(*worker));
    if (worker)
        worker->slots = calloc(WORKER_MAX_SLOTS, sizeof(*worker->slots)); /* what is not used takes no memory */
    if (!worker || !worker->slots) {
        rc = err_set(err, ERR_NOMEM, "no memory for %d slots", options->slots);
        goto out;
    }
    worker->options = options;
    worker->n_slots = options->slots;
    worker->owner =
        (struct slot_owner){.trainer = options->trainer, .context = worker, .on_line = on_record, .on_ended = on_ended};
    rc = serve(worker, err);
    for (int i = 0; i < worker->n_slots; i++)
        slot_done(&worker->slots[i]);
    line_splitter_done(&worker->lines);
out:
    if (worker)
        free(worker->slots);
    free(worker);
    return rc;
}
