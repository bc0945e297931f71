/* The socket beside the store: the run's end on its event loop, the command's end waiting. */
#include "orchestrator/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/file.h"
#include "orchestrator/printable.h"

/* The address ---------------------------------------------------------------------------------------------------------
 */

/* "nightsweep.db.control"; heap. */
static char *socket_name(const char *store)
{
    const char *slash = strrchr(store, '/');
    struct text name = {0};
    text_printf(&name, "%s.control", slash ? slash + 1 : store);
    return text_take(&name);
}

static int open_folder(const char *store, struct err *err)
{
    char *folder = file_folder(store);
    int fd = folder ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    int rc = fd >= 0 ? fd : folder ? err_set_errno(err, "'%s'", folder) : err_set(err, ERR_NOMEM, "no memory");
    free(folder);
    return rc;
}

/* Through the folder's descriptor: an address holds 107 bytes, a path 4095. */
static int make_address(struct sockaddr_un *address, int folder, const char *name, struct err *err)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof(address->sun_path))
        return err_set(err, ERR_IO, "the store's name '%s' is too long for a socket beside it", name);
    return 0;
}

/* The run's end ------------------------------------------------------------------------------------------------------
 */

struct control_client {
    uv_pipe_t pipe;
    struct control *control;
    struct control_client *next;
    struct text line;
    bool is_asked, is_answered, is_closing, is_closed;
    char buffer[4096];
};

/* A client goes when it is closed and nobody is going to answer it. */
static void free_if_over(struct control_client *client)
{
    struct control *control = client->control;
    if (!client->is_closed || (client->is_asked && !client->is_answered))
        return;
    for (struct control_client **at = &control->clients; *at; at = &(*at)->next)
        if (*at == client) {
            *at = client->next;
            break;
        }
    text_done(&client->line);
    free(client);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct control_client *client = handle->data;
    client->is_closed = true;
    client->control->n_clients--;
    free_if_over(client);
}

static void close_client(struct control_client *client)
{
    if (client->is_closing)
        return;
    client->is_closing = true;
    uv_close((uv_handle_t *)&client->pipe, on_client_closed);
}

static void take_line(struct control_client *client)
{
    struct control *control = client->control;
    struct err err = {0};
    struct text answer = {0};
    cJSON *request = NULL;
    uv_read_stop((uv_stream_t *)&client->pipe);
    client->is_asked = true;
    control->n_asked++;
    if (json_parse(client->line.data, client->line.len, &request, &err) == 0) {
        control->on_request(client, request, control->context);
        return;
    }
    text_printf(&answer, "{\"v\":1,\"ok\":false,\"code\":%d,\"message\":", err.code);
    printable_add_json(&answer, err.message);
    text_add_char(&answer, '}');
    control_answer(client, answer.data ? answer.data : "{}");
    text_done(&answer);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct control_client *client = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(client->buffer, sizeof(client->buffer));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct control_client *client = stream->data;
    const char *end = n > 0 ? memchr(buffer->base, '\n', (size_t)n) : NULL;
    if (n == 0)
        return;
    if (n > 0)
        text_add_n(&client->line, buffer->base, end ? (size_t)(end - buffer->base) : (size_t)n);
    if (n < 0 || client->line.failed || client->line.len > CONTROL_LINE_BYTES)
        close_client(client);
    else if (end)
        take_line(client);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct control *control = server->data;
    struct control_client *client = status < 0 ? NULL : calloc(1, sizeof(*client));
    if (!client)
        return;
    uv_pipe_init(server->loop, &client->pipe, 0);
    client->pipe.data = client;
    client->control = control;
    client->next = control->clients;
    control->clients = client;
    control->n_clients++;
    if (uv_accept(server, (uv_stream_t *)&client->pipe) < 0 || control->n_clients > CONTROL_CLIENTS_MAX ||
        uv_read_start((uv_stream_t *)&client->pipe, on_alloc, on_read) < 0)
        close_client(client);
}

void control_answer(struct control_client *client, const char *line)
{
    char newline[] = "\n";
    uv_buf_t parts[] = {uv_buf_init((char *)line, (unsigned)strlen(line)), uv_buf_init(newline, 1)};
    client->control->n_asked--;
    client->is_answered = true;
    if (client->is_closed) {
        free_if_over(client);
        return;
    }
    /* An answer is short: the socket takes it whole, or the other side is gone. */
    if (!client->is_closing)
        uv_try_write((uv_stream_t *)&client->pipe, parts, 2);
    close_client(client);
}

static int bind_socket(struct control *control, struct err *err)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = fd < 0 ? err_set_errno(err, "no socket") : make_address(&address, control->folder, control->name, err);
    if (rc == 0 && unlinkat(control->folder, control->name, 0) < 0 && errno != ENOENT)
        rc = err_set_errno(err, "cannot remove '%s'", control->name);
    /* The mode of the file is that of the socket. */
    if (rc == 0 && (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0))
        rc = err_set_errno(err, "cannot make the socket '%s'", control->name);
    if (rc < 0 && fd >= 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

static void forget(struct control *control)
{
    if (control->folder >= 0)
        close(control->folder);
    control->folder = -1;
    free(control->name);
    control->name = NULL;
}

int control_listen(struct control *control, uv_loop_t *loop, const char *store, struct err *err)
{
    control->name = socket_name(store);
    control->folder = control->name ? open_folder(store, err) : err_set(err, ERR_NOMEM, "no memory for a socket");
    int fd = control->folder < 0 ? control->folder : bind_socket(control, err);
    if (fd < 0) {
        forget(control);
        return fd;
    }
    uv_pipe_init(loop, &control->server, 0);
    control->server.data = control;
    control->is_open = true;
    int status = uv_pipe_open(&control->server, fd);
    if (status == 0)
        status = uv_listen((uv_stream_t *)&control->server, CONTROL_CLIENTS_MAX, on_connection);
    if (status == 0)
        return 0;
    control_close(control);
    return err_set(err, ERR_IO, "cannot listen beside the store: %s", uv_strerror(status));
}

void control_close(struct control *control)
{
    if (!control->is_open)
        return;
    control->is_open = false;
    unlinkat(control->folder, control->name, 0);
    forget(control);
    uv_close((uv_handle_t *)&control->server, NULL);
    for (struct control_client *client = control->clients; client; client = client->next)
        close_client(client);
}

/* The command's end --------------------------------------------------------------------------------------------------
 */

static int connect_socket(const char *store, struct err *err)
{
    struct sockaddr_un address;
    char *name = socket_name(store);
    int folder = name ? open_folder(store, err) : err_set(err, ERR_NOMEM, "no memory for a socket");
    int fd = folder < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = folder < 0 ? folder : fd < 0 ? err_set_errno(err, "no socket") : make_address(&address, folder, name, err);
    if (rc == 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        rc = errno == ECONNREFUSED ? err_set(err, ERR_NOT_FOUND, "nobody listens at '%s.control'", store)
                                   : err_set_errno(err, "'%s.control'", store);
    if (rc < 0 && fd >= 0)
        close(fd);
    if (folder >= 0)
        close(folder);
    free(name);
    return rc < 0 ? rc : fd;
}

static int send_line(int fd, const char *request, struct err *err)
{
    struct text line = {0};
    int rc = 0;
    text_printf(&line, "%s\n", request);
    for (size_t at = 0; rc == 0 && at < line.len;) {
        ssize_t n = send(fd, line.data + at, line.len - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            rc = err_set_errno(err, "the run cannot be asked");
        at += n > 0 ? (size_t)n : 0;
    }
    text_done(&line);
    return rc;
}

static int receive_line(int fd, struct text *answer, struct err *err)
{
    char buffer[4096];
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int ready = poll(&wait, 1, CONTROL_ANSWER_SECONDS * 1000);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0)
            return err_set(err, ERR_IO, "the run did not answer within %d seconds: what was asked may still be done",
                           CONTROL_ANSWER_SECONDS);
        ssize_t n = ready < 0 ? -1 : read(fd, buffer, sizeof(buffer));
        if (n <= 0)
            return err_set(err, ERR_IO, "the run ended before it answered: `nightsweep status` says how things stand");
        const char *end = memchr(buffer, '\n', (size_t)n);
        text_add_n(answer, buffer, end ? (size_t)(end - buffer) : (size_t)n);
        if (end)
            return answer->failed ? err_set(err, ERR_NOMEM, "no memory for the answer") : 0;
    }
}

int control_ask(const char *store, const char *request, struct text *answer, struct err *err)
{
    int fd = connect_socket(store, err);
    if (fd < 0)
        return fd;
    int rc = send_line(fd, request, err);
    if (rc == 0)
        rc = receive_line(fd, answer, err);
    close(fd);
    return rc;
}
