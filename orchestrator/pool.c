/* The worker process and its three streams. A worker counts as gone once its process has exited and its output is read
 * to the end, so that no record it wrote is lost. */
#include "orchestrator/pool.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

struct pool_worker {
    struct pool *pool;
    uv_process_t process;
    uv_pipe_t in, out;
    int open_handles;
    bool has_exited, out_has_ended, is_closing;
    uint64_t heard_ns; /* of its last line */
    struct line_splitter lines;
    struct points points;
    struct text unsent;         /* lines for it, until pool_flush */
    char why[ERR_MESSAGE_SIZE]; /* what we have against it; "": nothing */
    int64_t exit_status;
    int signal;
    char buffer[POOL_READ_BYTES];
};

struct pool_write {
    uv_write_t request;
    char *data;
};

void pool_init(struct pool *pool, uv_loop_t *loop, const struct pool_options *options)
{
    *pool = (struct pool){.loop = loop, .options = *options};
}

/* The end ------------------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct pool_worker *worker = handle->data;
    struct pool *pool = worker->pool;
    char why[ERR_MESSAGE_SIZE];
    if (--worker->open_handles > 0)
        return;
    if (worker->why[0])
        snprintf(why, sizeof(why), "%s", worker->why);
    else if (worker->signal)
        snprintf(why, sizeof(why), "the worker was ended by signal %d", worker->signal);
    else
        snprintf(why, sizeof(why), "the worker ended with exit status %" PRId64, worker->exit_status);
    line_splitter_done(&worker->lines);
    points_done(&worker->points);
    text_done(&worker->unsent);
    free(worker);
    pool->worker = NULL;
    pool->cpu_before += pool->cpu_seconds;
    pool->cpu_seconds = 0;
    pool->is_ready = pool->is_paused = pool->is_silent = false;
    pool->options.on_gone(pool, why);
}

static void close_if_over(struct pool_worker *worker)
{
    if (!worker->has_exited || !worker->out_has_ended || worker->is_closing)
        return;
    worker->is_closing = true;
    uv_close((uv_handle_t *)&worker->process, on_closed);
    uv_close((uv_handle_t *)&worker->in, on_closed);
    uv_close((uv_handle_t *)&worker->out, on_closed);
}

/* It cannot be trusted or cannot be heard any more. */
static void give_up(struct pool_worker *worker, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void give_up(struct pool_worker *worker, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!worker->why[0])
        vsnprintf(worker->why, sizeof(worker->why), format, arguments);
    va_end(arguments);
    if (!worker->has_exited)
        uv_process_kill(&worker->process, SIGKILL);
}

static void on_exit_of_process(uv_process_t *process, int64_t exit_status, int term_signal)
{
    struct pool_worker *worker = process->data;
    worker->has_exited = true;
    worker->exit_status = exit_status;
    worker->signal = term_signal;
    if (worker->pool->is_paused)
        pool_pause(worker->pool, false);
    close_if_over(worker);
}

/* Lines --------------------------------------------------------------------------------------------------------- */

static void on_hello(struct pool_worker *worker, const cJSON *message)
{
    struct pool *pool = worker->pool;
    const cJSON *marker = json_get(message, "marker"), *host = json_get(message, "host");
    snprintf(pool->host, sizeof(pool->host), "%s", cJSON_IsString(host) ? host->valuestring : "");
    if (!cJSON_IsString(marker) || strcmp(marker->valuestring, pool->options.marker) != 0) {
        give_up(worker,
                "the worker on host '%s' does not see the file '%s' as it is here: a shared file system is needed",
                pool->host, pool->options.marker_path);
        return;
    }
    const cJSON *missing = cJSON_GetArrayItem(json_get(message, "missing"), 0);
    if (cJSON_IsString(missing)) {
        give_up(worker, "on host '%s' there is no '%.500s', which the sweep reads", pool->host, missing->valuestring);
        return;
    }
    pool->is_ready = true;
    pool->options.on_ready(pool);
}

static int on_line(char *line, size_t len, void *context, struct err *err)
{
    struct pool_worker *worker = context;
    struct pool *pool = worker->pool;
    cJSON *message = NULL;
    const char *type = NULL;
    int64_t version = 0;
    worker->heard_ns = uv_hrtime();
    pool->is_silent = false;
    if (worker->why[0])
        return 0;
    if (pool->is_ready && points_parse(line, len, &worker->points)) {
        points_end_names(&worker->points);
        pool->options.on_points(pool, &worker->points);
        return 0;
    }
    int rc = json_parse(line, len, &message, err);
    if (rc == 0 && !cJSON_IsObject(message))
        rc = err_set(err, ERR_FORMAT, "%s, an object was expected", json_type_name(message));
    if (rc == 0)
        rc = json_get_int64(message, "v", "message", &version, err);
    if (rc == 0 && version != 1)
        rc = err_set(err, ERR_FORMAT, "version %" PRId64 " of the protocol, 1 was expected", version);
    if (rc == 0)
        rc = json_get_string(message, "type", "message", &type, err);
    if (rc == 0 && strcmp(type, "hello") == 0)
        on_hello(worker, message);
    else if (rc == 0 && strcmp(type, "heartbeat") == 0)
        rc = json_opt_double(message, "cpu_seconds", "heartbeat", &pool->cpu_seconds, err);
    else if (rc == 0 && pool->is_ready)
        pool->options.on_message(pool, type, message);
    json_free(message);
    return rc;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct pool_worker *worker = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(worker->buffer, sizeof(worker->buffer));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct pool_worker *worker = stream->data;
    struct err err = {0};
    if (n < 0) {
        uv_read_stop(stream);
        worker->out_has_ended = true;
        if (!worker->has_exited)
            give_up(worker, "the worker closed its output");
        close_if_over(worker);
    } else if (n > 0 && line_splitter_feed(&worker->lines, buffer->base, (size_t)n, on_line, worker, &err) < 0)
        give_up(worker, "a line of the worker is no message: %.1000s", err.message);
}

static void on_written(uv_write_t *request, int status)
{
    struct pool_write *write = (struct pool_write *)request;
    (void)status; /* a worker that does not read is gone or going: its exit says the rest */
    free(write->data);
    free(write);
}

void pool_send(struct pool *pool, struct text *line)
{
    struct pool_worker *worker = pool->worker;
    if (worker && !worker->is_closing) {
        text_add_n(&worker->unsent, line->data ? line->data : "", line->len);
        text_add_char(&worker->unsent, '\n');
        worker->unsent.failed = worker->unsent.failed || line->failed;
        if (worker->unsent.len > POOL_FLUSH_BYTES)
            pool_flush(pool);
    }
    text_done(line);
}

void pool_flush(struct pool *pool)
{
    struct pool_worker *worker = pool->worker;
    if (!worker || worker->is_closing || (worker->unsent.len == 0 && !worker->unsent.failed))
        return;
    size_t len = worker->unsent.len;
    char *data = text_take(&worker->unsent);
    struct pool_write *write = data ? malloc(sizeof(*write)) : NULL;
    if (!write) {
        free(data);
        give_up(worker, "no memory to write to the worker");
        return;
    }
    uv_buf_t buffer = uv_buf_init(data, (unsigned)len);
    write->data = data;
    if (uv_write(&write->request, (uv_stream_t *)&worker->in, &buffer, 1, on_written) < 0)
        on_written(&write->request, -1);
}

/* The beginning ------------------------------------------------------------------------------------------------- */

enum { ARGUMENTS_MAX = 256, LAUNCHER_WORDS_MAX = 110 };

/* The launcher with the worker's number in the place of each {worker}; heap. */
static char *fill_in(const char *launcher, int number)
{
    static const char place[] = "{worker}";
    struct text text = {0};
    text_add(&text, "");
    for (const char *at; (at = strstr(launcher, place)); launcher = at + sizeof(place) - 1) {
        text_add_n(&text, launcher, (size_t)(at - launcher));
        text_printf(&text, "%d", number);
    }
    text_add(&text, launcher);
    return text_take(&text);
}

/* The launcher's words, then the worker's command line; the words lie in `words`, which the caller frees. */
static int make_arguments(const struct pool_options *options, char *slots, char **words, char *arguments[],
                          struct err *err)
{
    int n = 0;
    char *place = NULL;
    *words = fill_in(options->launcher ? options->launcher : "", options->number);
    if (!*words)
        return err_set(err, ERR_NOMEM, "no memory to start a worker");
    for (char *word = strtok_r(*words, " ", &place); word; word = strtok_r(NULL, " ", &place)) {
        if (n == LAUNCHER_WORDS_MAX)
            return err_set(err, ERR_USAGE, "the launcher has more than %d words", LAUNCHER_WORDS_MAX);
        arguments[n++] = word;
    }
    arguments[n++] = (char *)options->program;
    arguments[n++] = (char *)"--slots";
    arguments[n++] = slots;
    arguments[n++] = (char *)"--marker";
    arguments[n++] = (char *)options->marker_path;
    for (const char *const *file = options->files; *file && n < ARGUMENTS_MAX - 2; file++) {
        arguments[n++] = (char *)"--file";
        arguments[n++] = (char *)*file;
    }
    arguments[n] = NULL;
    return 0;
}

static int spawn(struct pool_worker *worker, char *arguments[], struct err *err)
{
    uv_stdio_container_t streams[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&worker->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&worker->out},
        {.flags = UV_INHERIT_FD, .data.fd = 2}};
    /* A session of its own: Ctrl-C reaches the coordinator alone, which then decides what it means. */
    uv_process_options_t options = {.file = arguments[0],
                                    .args = arguments,
                                    .stdio = streams,
                                    .stdio_count = 3,
                                    .flags = UV_PROCESS_DETACHED,
                                    .exit_cb = on_exit_of_process};
    int status = uv_spawn(worker->pool->loop, &worker->process, &options);
    if (status < 0)
        return err_set(err, ERR_IO, "the worker '%s' cannot be started: %s", arguments[0], uv_strerror(status));
    status = uv_read_start((uv_stream_t *)&worker->out, on_alloc, on_read);
    return status < 0 ? err_set(err, ERR_IO, "the worker cannot be read: %s", uv_strerror(status)) : 0;
}

static void on_discarded(uv_handle_t *handle)
{
    struct pool_worker *worker = handle->data;
    if (--worker->open_handles == 0)
        free(worker);
}

int pool_start(struct pool *pool, struct err *err)
{
    char slots[16], *words = NULL, *arguments[ARGUMENTS_MAX];
    struct pool_worker *worker = calloc(1, sizeof(*worker));
    if (!worker)
        return err_set(err, ERR_NOMEM, "no memory to start a worker");
    snprintf(slots, sizeof(slots), "%d", pool->options.slots);
    worker->pool = pool;
    worker->heard_ns = uv_hrtime();
    worker->open_handles = 3;
    worker->process.data = worker->in.data = worker->out.data = worker;
    uv_pipe_init(pool->loop, &worker->in, 0);
    uv_pipe_init(pool->loop, &worker->out, 0);
    int rc = make_arguments(&pool->options, slots, &words, arguments, err);
    if (rc == 0)
        rc = spawn(worker, arguments, err);
    pool->n_starts++;
    if (rc == 0)
        pool->worker = worker;
    else {
        /* uv_spawn leaves a handle that must be closed in any case; without a call to it there is none. */
        worker->open_handles = worker->process.type == UV_PROCESS ? 3 : 2;
        uv_close((uv_handle_t *)&worker->in, on_discarded);
        uv_close((uv_handle_t *)&worker->out, on_discarded);
        if (worker->open_handles == 3)
            uv_close((uv_handle_t *)&worker->process, on_discarded);
    }
    free(words);
    return rc;
}

/* Control ------------------------------------------------------------------------------------------------------- */

void pool_pause(struct pool *pool, bool is_paused)
{
    if (!pool->worker || pool->is_paused == is_paused || pool->worker->out_has_ended)
        return;
    pool->is_paused = is_paused;
    if (is_paused)
        uv_read_stop((uv_stream_t *)&pool->worker->out);
    else
        uv_read_start((uv_stream_t *)&pool->worker->out, on_alloc, on_read);
    pool->worker->heard_ns = uv_hrtime();
}

void pool_quit(struct pool *pool)
{
    struct text line = {0};
    if (!pool->worker)
        return;
    pool_pause(pool, false);
    text_add(&line, "{\"v\":1,\"type\":\"quit\"}");
    pool_send(pool, &line);
}

void pool_kill(struct pool *pool)
{
    if (pool->worker)
        give_up(pool->worker, "the worker was killed");
}

void pool_watch(struct pool *pool)
{
    struct pool_worker *worker = pool->worker;
    uint64_t seconds = pool->is_ready ? POOL_SILENCE_SECONDS : POOL_HELLO_SECONDS, now = uv_hrtime();
    bool is_late = now - pool->watched_ns > POOL_WATCH_LATE_MS * UINT64_C(1000000);
    pool->watched_ns = now;
    if (!worker || pool->is_paused || worker->has_exited)
        return;
    if (is_late)
        worker->heard_ns = now;
    uint64_t silent_ns = now - worker->heard_ns;
    if (pool->is_ready && !pool->is_silent && silent_ns > POOL_NOTICE_MS * UINT64_C(1000000)) {
        pool->is_silent = true;
        pool->options.on_silent(pool);
    }
    if (silent_ns > seconds * UINT64_C(1000000000))
        give_up(worker, "the worker said nothing for %" PRIu64 " seconds", seconds);
}
