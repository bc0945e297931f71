/* libuv handles of one child; it is over when the process has ended and both its streams are read to their end. */
#include "orchestrator/child.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"

/* Ending -------------------------------------------------------------------------------------------------------------
 */

static void on_closed(uv_handle_t *handle)
{
    struct child *child = handle->data;
    if (--child->n_open > 0)
        return;
    line_splitter_done(&child->lines);
    if (child->options.on_end)
        child->options.on_end(child, child->options.context);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

/* One of: process, standard output, standard error is over. */
static void part_over(struct child *child)
{
    if (--child->n_busy > 0)
        return;
    close_handle((uv_handle_t *)&child->process);
    close_handle((uv_handle_t *)&child->in);
    close_handle((uv_handle_t *)&child->out);
    close_handle((uv_handle_t *)&child->errors);
    close_handle((uv_handle_t *)&child->timer);
}

static void on_exit_status(uv_process_t *process, int64_t exit_status, int signal)
{
    struct child *child = process->data;
    child->exit_status = exit_status;
    child->signal = signal;
    part_over(child);
}

void child_kill(struct child *child, int signal)
{
    if (uv_is_active((uv_handle_t *)&child->process))
        uv_process_kill(&child->process, signal);
}

static void on_timeout(uv_timer_t *timer)
{
    struct child *child = timer->data;
    child->is_timed_out = true;
    child_kill(child, SIGKILL);
}

/* Reading ------------------------------------------------------------------------------------------------------------
 */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct child *child = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(child->buffer, sizeof(child->buffer));
}

static int take_line(char *line, size_t n, void *context, struct err *err)
{
    const struct child_options *options = &((struct child *)context)->options;
    if (options->on_line)
        return options->on_line(line, n, options->context, err);
    return err_set(err, ERR_INTERNAL, "%s gave an answer where none was expected", options->argv[0]);
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct child *child = stream->data;
    int rc = 0;
    if (n > 0 && child->err.code == 0)
        rc = line_splitter_feed(&child->lines, buffer->base, (size_t)n, take_line, child, &child->err);
    if (rc < 0)
        child_kill(child, SIGKILL);
    if (n < 0) {
        uv_read_stop(stream);
        part_over(child);
    }
}

static void keep_tail(struct child *child, const char *data, size_t n)
{
    if (n > CHILD_TAIL_BYTES) {
        data += n - CHILD_TAIL_BYTES;
        n = CHILD_TAIL_BYTES;
    }
    size_t kept = child->tail_len + n > CHILD_TAIL_BYTES ? CHILD_TAIL_BYTES - n : child->tail_len;
    memmove(child->tail, child->tail + child->tail_len - kept, kept);
    memcpy(child->tail + kept, data, n);
    child->tail_len = kept + n;
    child->tail[child->tail_len] = '\0';
}

static void on_errors(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct child *child = stream->data;
    if (n > 0)
        keep_tail(child, buffer->base, (size_t)n);
    if (n < 0) {
        uv_read_stop(stream);
        part_over(child);
    }
}

/* Starting -----------------------------------------------------------------------------------------------------------
 */

static void init_handles(struct child *child, uv_loop_t *loop)
{
    uv_pipe_init(loop, &child->in, 0);
    uv_pipe_init(loop, &child->out, 0);
    uv_pipe_init(loop, &child->errors, 0);
    uv_timer_init(loop, &child->timer);
    child->process.data = child->in.data = child->out.data = child->errors.data = child->timer.data = child;
    child->n_open = CHILD_HANDLES;
}

static int spawn(struct child *child, uv_loop_t *loop, const char *path)
{
    const struct child_options *options = &child->options;
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&child->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&child->out},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&child->errors},
    };
    if (options->shows_errors)
        stdio[2] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = 2};
    uv_process_options_t process = {
        .file = path,
        .args = (char **)options->argv, /* libuv copies them; its type only lacks the const */
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = on_exit_status,
    };
    return uv_spawn(loop, &child->process, &process);
}

int child_start(struct child *child, uv_loop_t *loop, const struct child_options *options, struct err *err)
{
    memset(child, 0, sizeof(*child));
    child->options = *options;
    char *folder = file_program_folder(), *path = folder ? file_join(folder, options->argv[0]) : NULL;
    if (!path) {
        free(folder);
        return err_set(err, ERR_NOMEM, "no memory to start '%s'", options->argv[0]);
    }
    init_handles(child, loop);
    int code = spawn(child, loop, path), rc = 0;
    if (code < 0) {
        rc = err_set(err, ERR_IO, "cannot start '%s': %s", path, uv_strerror(code));
        child->options.on_end = NULL;
        child->n_busy = 1;
        part_over(child);
    } else {
        child->n_busy = options->shows_errors ? 2 : 3;
        uv_read_start((uv_stream_t *)&child->out, on_alloc, on_output);
        if (!options->shows_errors)
            uv_read_start((uv_stream_t *)&child->errors, on_alloc, on_errors);
        uv_buf_t buffer = uv_buf_init((char *)options->input, (unsigned)options->input_len);
        if (options->input_len > 0)
            uv_write(&child->write, (uv_stream_t *)&child->in, &buffer, 1, NULL);
        if (options->timeout_seconds > 0)
            uv_timer_start(&child->timer, on_timeout, (uint64_t)(1000 * options->timeout_seconds), 0);
    }
    free(path);
    free(folder);
    return rc;
}

void child_send(struct child *child, const char *line)
{
    uv_buf_t buffer = uv_buf_init((char *)line, (unsigned)strlen(line));
    uv_try_write((uv_stream_t *)&child->in, &buffer, 1);
}

/* The last line of standard error, without its newline. */
static const char *last_line(const struct child *child, int *n)
{
    const char *end = child->tail + child->tail_len, *begin;
    while (end > child->tail && end[-1] == '\n')
        end--;
    for (begin = end; begin > child->tail && begin[-1] != '\n';)
        begin--;
    *n = (int)(end - begin);
    return begin;
}

int child_result(const struct child *child, int64_t most, struct err *err)
{
    int n;
    const char *name = child->options.argv[0], *line = last_line(child, &n), *colon = n ? ": " : "";
    if (child->err.code < 0)
        return err_set(err, child->err.code, "%s: %s", name, child->err.message);
    if (child->is_timed_out)
        return err_set(err, ERR_IO, "%s: no end after %.0f seconds", name, child->options.timeout_seconds);
    if (child->signal)
        return err_set(err, ERR_IO, "%s: killed by signal %d (%s)%s%.*s", name, child->signal, strsignal(child->signal),
                       colon, n, line);
    if (child->exit_status > most)
        return err_set(err, ERR_IO, "%s: ended with status %lld%s%.*s", name, (long long)child->exit_status, colon, n,
                       line);
    return 0;
}

int child_run(const struct child_options *options, struct err *err)
{
    struct child *child = calloc(1, sizeof(*child));
    uv_loop_t loop;
    if (!child || uv_loop_init(&loop) < 0) {
        free(child);
        return err_set(err, ERR_IO, "cannot start an event loop");
    }
    int rc = child_start(child, &loop, options, err);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    if (rc == 0)
        rc = child_result(child, 0, err);
    free(child);
    return rc;
}
