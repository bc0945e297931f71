/* One loop: a listener, connections, a timer that looks for changes, and one reading thread at a time, which has the
 * page written by a program of its own. */
#include "orchestrator/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "common/log.h"
#include "orchestrator/export_page.h"
#include "orchestrator/serve_http.h"
#include "orchestrator/store.h"

enum {
    MAX_CONNECTIONS = 64,
    LOOK_MS = 200,        /* between looks at the store */
    REQUEST_MS = 10000,   /* for a request to be sent */
    TAKE_MS = 30000,      /* for a piece of an answer to be taken */
    BEAT_MS = 15000,      /* between signs of life on a stream */
    PIECE_BYTES = 1 << 15 /* of an answer at a time */
};

/* The page as it was at one moment, in a file without a name; shared by all who are sent it. */
struct snapshot {
    int file;
    size_t len, data_start, data_len; /* of the whole, and of the JSON inside it */
    int64_t version;
    int n_users;
};

struct server;

struct connection {
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    struct server *server;
    struct connection *next;
    char head[HTTP_MAX_HEAD];
    size_t n_head;
    struct text answer; /* head of the answer, or all of a short one */
    struct snapshot *snapshot;
    size_t body_start, body_len, n_sent; /* within the snapshot */
    char *piece;                         /* PIECE_BYTES, while a snapshot is sent */
    int n_handles;                       /* still to be closed */
    bool is_waiting, is_stream, is_writing, has_news, is_closing, wants_data;
};

struct server {
    const struct serve_options *options;
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_timer_t look;
    uv_signal_t interrupt, terminate;
    uv_work_t work;
    struct store *store;
    struct connection *connections;
    struct snapshot *newest;
    char token[HTTP_MAX_TOKEN + 1];
    int port, n_connections;
    int64_t version; /* of the store, as last seen */
    bool is_working, is_stopping;
    /* The reading thread's: what it is to do, and what came of it. */
    bool must_build;
    struct snapshot *built;
    int64_t seen;
    int work_rc;
    struct err work_err;
};

static void start_work(struct server *server);
static void answer_waiting(struct server *server);

/* Snapshots ----------------------------------------------------------------------------------------------------------
 */

static void snapshot_release(struct snapshot *snapshot)
{
    if (!snapshot || --snapshot->n_users > 0)
        return;
    if (snapshot->file >= 0)
        close(snapshot->file);
    free(snapshot);
}

static struct snapshot *snapshot_hold(struct snapshot *snapshot)
{
    snapshot->n_users++;
    return snapshot;
}

/* In the reading thread. */
static int read_version(struct server *server, int64_t *version)
{
    sqlite3_stmt *row = NULL;
    sqlite3 *db = store_database(server->store);
    int rc =
        sqlite3_prepare_v2(db, "PRAGMA data_version", -1, &row, NULL) == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW
            ? 0
            : err_set(&server->work_err, ERR_STORE, "%s: %s", server->options->store, sqlite3_errmsg(db));
    if (rc == 0)
        *version = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return rc;
}

/* A program of its own writes the page, so that the server stays small however large the store is: `export` of this
 * very executable, with the file as its standard output. */
static int write_page(struct server *server, int file, const char *const *names, int n)
{
    const struct serve_options *o = server->options;
    const char *head[] = {"nightsweep", "export", "--store", o->store, "--format", "live", "--output", "-"};
    const size_t n_head = sizeof(head) / sizeof(head[0]);
    char **argv = calloc(n_head + (size_t)n + 1, sizeof(*argv));
    posix_spawn_file_actions_t actions;
    pid_t child = 0;
    int status = 0;
    if (!argv)
        return err_set(&server->work_err, ERR_NOMEM, "no memory for the page");
    for (size_t i = 0; i < n_head + (size_t)n; i++)
        argv[i] = (char *)(uintptr_t)(i < n_head ? head[i] : names[i - n_head]);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, file, STDOUT_FILENO);
    int failure = posix_spawn(&child, "/proc/self/exe", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    free(argv);
    if (failure == 0)
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
    return failure == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0
               ? 0
               : err_set(&server->work_err, ERR_IO, "%s: the page could not be written", o->store);
}

static int open_nameless_file(struct err *err)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof(path), "%s/nightsweep-page-XXXXXX", folder && folder[0] ? folder : "/tmp");
    int file = mkostemp(path, O_CLOEXEC);
    if (file < 0)
        return err_set_errno(err, "cannot make a temporary file '%s'", path);
    unlink(path);
    return file;
}

/* Where the data lies: behind what the page has without any, up to what follows. */
static void measure(struct snapshot *snapshot, size_t len)
{
    static const char mark[] = "id=\"data\">\n";
    struct text shell = {0};
    export_page_shell(&shell, true);
    const char *at = shell.failed ? NULL : strstr(shell.data, mark);
    if (at && len >= shell.len) {
        snapshot->data_start = (size_t)(at - shell.data) + sizeof(mark) - 1;
        snapshot->data_len = len - shell.len;
        snapshot->len = len;
    }
    text_done(&shell);
}

static int build(struct server *server, struct snapshot *snapshot)
{
    struct arena arena = {0};
    const char *const *names = server->options->names;
    int n = server->options->n_names, rc = 0;
    if (n == 0) {
        rc = store_listed_names(server->store, &arena, &names, &server->work_err);
        while (rc == 0 && names[n])
            n++;
    }
    if (rc == 0)
        rc = snapshot->file = open_nameless_file(&server->work_err);
    if (rc >= 0)
        rc = write_page(server, snapshot->file, names, n);
    arena_done(&arena);
    if (rc < 0)
        return rc;
    measure(snapshot, (size_t)lseek(snapshot->file, 0, SEEK_END));
    return snapshot->len > 0 ? 0 : err_set(&server->work_err, ERR_IO, "the page is incomplete");
}

static void work(uv_work_t *request)
{
    struct server *server = request->data;
    server->work_rc = read_version(server, &server->seen);
    if (server->work_rc < 0 || !server->must_build || (server->newest && server->newest->version == server->seen))
        return;
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (!snapshot) {
        server->work_rc = err_set(&server->work_err, ERR_NOMEM, "no memory for the page");
        return;
    }
    /* The version before the reading: a change in between is one more change, never one missed. */
    snapshot->version = server->seen;
    snapshot->n_users = 1;
    snapshot->file = -1;
    server->work_rc = build(server, snapshot);
    if (server->work_rc == 0)
        server->built = snapshot;
    else
        snapshot_release(snapshot);
}

/* Connections --------------------------------------------------------------------------------------------------------
 */

static void on_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    if (--c->n_handles > 0)
        return;
    struct connection **place = &c->server->connections;
    while (*place != c)
        place = &(*place)->next;
    *place = c->next;
    c->server->n_connections--;
    snapshot_release(c->snapshot);
    free(c->piece);
    text_done(&c->answer);
    free(c);
}

static void drop(struct connection *c)
{
    if (c->is_closing)
        return;
    c->is_closing = true;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void on_late(uv_timer_t *timer);
static void send_more(struct connection *c);

static void wait_at_most(struct connection *c, uint64_t ms)
{
    uv_timer_start(&c->timer, on_late, ms, 0);
}

static void on_written(uv_write_t *request, int status)
{
    struct connection *c = request->data;
    c->is_writing = false;
    if (status < 0 || c->is_closing)
        drop(c);
    else
        send_more(c);
}

static void write_bytes(struct connection *c, const char *data, size_t n)
{
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)data, (unsigned)n);
    c->is_writing = true;
    c->write.data = c;
    wait_at_most(c, TAKE_MS);
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buffer, 1, on_written) < 0) {
        c->is_writing = false;
        drop(c);
    }
}

/* The next piece of the answer; a stream that has none waits for news or the next sign of life. */
static void send_more(struct connection *c)
{
    static const char news[] = "event: changed\ndata: 1\n\n";
    if (c->is_writing || c->is_closing)
        return;
    if (c->n_sent < c->body_len) {
        size_t n = c->body_len - c->n_sent < PIECE_BYTES ? c->body_len - c->n_sent : PIECE_BYTES;
        ssize_t got = pread(c->snapshot->file, c->piece, n, (off_t)(c->body_start + c->n_sent));
        c->n_sent += got > 0 ? (size_t)got : 0;
        if (got > 0)
            write_bytes(c, c->piece, (size_t)got);
        else
            drop(c);
    } else if (!c->is_stream) {
        drop(c);
    } else if (c->has_news) {
        c->has_news = false;
        write_bytes(c, news, sizeof(news) - 1);
    } else {
        wait_at_most(c, BEAT_MS);
    }
}

static void on_late(uv_timer_t *timer)
{
    static const char beat[] = ": alive\n\n";
    struct connection *c = timer->data;
    if (c->is_stream && !c->is_writing)
        write_bytes(c, beat, sizeof(beat) - 1);
    else
        drop(c);
}

static void answer_short(struct connection *c, int status, const char *words)
{
    text_reset(&c->answer);
    http_add_head(&c->answer, status, "text/plain; charset=utf-8", (long long)strlen(words));
    text_add(&c->answer, words);
    c->is_waiting = false;
    if (c->answer.failed)
        drop(c);
    else
        write_bytes(c, c->answer.data, c->answer.len);
}

static void answer_snapshot(struct connection *c, struct snapshot *snapshot)
{
    c->is_waiting = false;
    c->snapshot = snapshot_hold(snapshot);
    c->piece = malloc(PIECE_BYTES);
    c->body_start = c->wants_data ? snapshot->data_start : 0;
    c->body_len = c->wants_data ? snapshot->data_len : snapshot->len;
    http_add_head(&c->answer, 200, c->wants_data ? "application/json" : "text/html; charset=utf-8",
                  (long long)c->body_len);
    if (c->answer.failed || !c->piece)
        drop(c);
    else
        write_bytes(c, c->answer.data, c->answer.len);
}

static void answer_stream(struct connection *c)
{
    c->is_stream = true;
    http_add_head(&c->answer, 200, "text/event-stream", -1);
    text_add(&c->answer, "retry: 2000\n\n");
    if (c->answer.failed)
        drop(c);
    else
        write_bytes(c, c->answer.data, c->answer.len);
}

static void answer(struct connection *c, const struct http_request *request)
{
    struct server *server = c->server;
    const struct serve_options *o = server->options;
    if (!http_host_is_ours(request->host, server->port, o->address, o->hosts, o->n_hosts))
        answer_short(c, 403, "This is not the host that was asked for.\n");
    else if (!http_token_is(request->token, server->token))
        answer_short(c, 403, "The token is missing or wrong: open the address that `nightsweep serve` printed.\n");
    else if (!text_equal(request->method, "GET"))
        answer_short(c, 405, "Only reading is possible.\n");
    else if (text_equal(request->path, "/events"))
        answer_stream(c);
    else if (text_equal(request->path, "/") || text_equal(request->path, "/data")) {
        c->wants_data = request->path[1] != '\0';
        c->is_waiting = true;
        wait_at_most(c, TAKE_MS);
        start_work(server); /* a look first: nobody looked while nobody was here */
    } else
        answer_short(c, 404, "There is nothing here but the page.\n");
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    (void)size;
    struct connection *c = handle->data;
    *buffer = uv_buf_init(c->head + c->n_head, (unsigned)(sizeof(c->head) - c->n_head));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    (void)buffer;
    struct connection *c = stream->data;
    struct http_request request;
    struct err err;
    if (n < 0 || c->is_closing) {
        drop(c);
        return;
    }
    if (c->is_waiting || c->is_stream || c->is_writing)
        return; /* nothing more is expected, and what comes is not kept */
    c->n_head += (size_t)n;
    int rc = http_read(&request, c->head, c->n_head, &err);
    if (rc == 0)
        return;
    c->n_head = 0;
    if (rc < 0) {
        log_debug("serve", "refused %s", err.message);
        answer_short(c, 400, "This is not a request that is understood here.\n");
    } else {
        answer(c, &request);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct server *server = listener->data;
    struct connection *c = status < 0 ? NULL : calloc(1, sizeof(*c));
    if (!c)
        return;
    c->server = server;
    c->next = server->connections;
    server->connections = c;
    server->n_connections++;
    c->n_handles = 2;
    uv_tcp_init(&server->loop, &c->tcp);
    uv_timer_init(&server->loop, &c->timer);
    c->tcp.data = c->timer.data = c;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0 || server->n_connections > MAX_CONNECTIONS) {
        drop(c);
        return;
    }
    wait_at_most(c, REQUEST_MS);
    if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
        drop(c);
}

/* Looking at the store -----------------------------------------------------------------------------------------------
 */

static bool somebody_waits(const struct server *server)
{
    for (const struct connection *c = server->connections; c; c = c->next)
        if (c->is_waiting && !c->is_closing)
            return true;
    return false;
}

/* Sends what is there to whom waits, or has it read. */
static void answer_waiting(struct server *server)
{
    if (!somebody_waits(server))
        return;
    if (!server->newest || server->newest->version != server->version) {
        start_work(server);
        return;
    }
    for (struct connection *c = server->connections; c; c = c->next)
        if (c->is_waiting && !c->is_closing)
            answer_snapshot(c, server->newest);
}

static void tell_streams(struct server *server)
{
    for (struct connection *c = server->connections; c; c = c->next)
        if (c->is_stream && !c->is_closing) {
            c->has_news = true;
            send_more(c);
        }
}

/* Who is still being sent a page older than the one before this would keep any number of them in memory. */
static void take_built(struct server *server)
{
    struct snapshot *before = server->newest;
    for (struct connection *c = server->connections; c; c = c->next)
        if (c->snapshot && c->snapshot != before)
            drop(c);
    snapshot_release(before);
    server->newest = server->built;
    server->built = NULL;
}

static void after_work(uv_work_t *request, int status)
{
    (void)status;
    struct server *server = request->data;
    server->is_working = false;
    if (server->is_stopping)
        return;
    if (server->work_rc < 0) {
        log_debug("serve", "%s", server->work_err.message);
        for (struct connection *c = server->connections; c; c = c->next)
            if (c->is_waiting && !c->is_closing)
                answer_short(c, 503, "The store cannot be read just now.\n");
        return;
    }
    bool is_new = server->seen != server->version && server->version != 0;
    server->version = server->seen;
    if (server->built)
        take_built(server);
    if (is_new)
        tell_streams(server);
    answer_waiting(server);
}

static void start_work(struct server *server)
{
    if (server->is_working || server->is_stopping)
        return;
    server->is_working = true;
    server->must_build = somebody_waits(server);
    server->work.data = server;
    if (uv_queue_work(&server->loop, &server->work, work, after_work) < 0)
        server->is_working = false;
}

static void on_look(uv_timer_t *timer)
{
    struct server *server = timer->data;
    if (server->connections)
        start_work(server);
}

/* Beginning and end --------------------------------------------------------------------------------------------------
 */

static void stop(uv_signal_t *handle, int signal)
{
    (void)signal;
    struct server *server = handle->data;
    if (server->is_stopping)
        return;
    server->is_stopping = true;
    for (struct connection *c = server->connections; c; c = c->next)
        drop(c);
    uv_close((uv_handle_t *)&server->listener, NULL);
    uv_close((uv_handle_t *)&server->look, NULL);
    uv_close((uv_handle_t *)&server->interrupt, NULL);
    uv_close((uv_handle_t *)&server->terminate, NULL);
}

static int make_token(struct server *server, struct err *err)
{
    unsigned char bytes[16];
    if (server->options->token) {
        snprintf(server->token, sizeof(server->token), "%s", server->options->token);
        return 0;
    }
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return err_set_errno(err, "no random bytes for a token");
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(server->token + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

static int listen_at(struct server *server, struct err *err)
{
    const struct serve_options *o = server->options;
    struct sockaddr_storage address = {0};
    int size = sizeof(address), code = uv_ip4_addr(o->address, o->port, (struct sockaddr_in *)&address);
    if (code < 0)
        code = uv_ip6_addr(o->address, o->port, (struct sockaddr_in6 *)&address);
    if (code < 0)
        return err_set(err, ERR_USAGE, "'%s' is no numeric address like 127.0.0.1", o->address);
    code = uv_tcp_bind(&server->listener, (struct sockaddr *)&address, 0);
    if (code == 0)
        code = uv_listen((uv_stream_t *)&server->listener, 16, on_connection);
    if (code == 0)
        code = uv_tcp_getsockname(&server->listener, (struct sockaddr *)&address, &size);
    if (code < 0)
        return err_set(err, ERR_IO, "cannot listen at %s, port %d: %s", o->address, o->port, uv_strerror(code));
    server->port = ntohs(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                                      : ((struct sockaddr_in6 *)&address)->sin6_port);
    return 0;
}

static void say_ready(struct server *server)
{
    char url[512];
    bool is_literal = strchr(server->options->address, ':') != NULL;
    snprintf(url, sizeof(url), is_literal ? "http://[%s]:%d/?token=%s" : "http://%s:%d/?token=%s",
             server->options->address, server->port, server->token);
    server->options->on_ready(url, server->options->context);
}

static void open_handles(struct server *server)
{
    uv_tcp_init(&server->loop, &server->listener);
    uv_timer_init(&server->loop, &server->look);
    uv_signal_init(&server->loop, &server->interrupt);
    uv_signal_init(&server->loop, &server->terminate);
    server->listener.data = server->look.data = server->interrupt.data = server->terminate.data = server;
    uv_signal_start(&server->interrupt, stop, SIGINT);
    uv_signal_start(&server->terminate, stop, SIGTERM);
    uv_timer_start(&server->look, on_look, LOOK_MS, LOOK_MS);
}

int serve(const struct serve_options *options, struct err *err)
{
    struct server *server = calloc(1, sizeof(*server));
    if (!server)
        return err_set(err, ERR_NOMEM, "no memory for a server");
    server->options = options;
    int rc = make_token(server, err);
    if (rc == 0)
        rc = store_open(&server->store, options->store, STORE_READ, err);
    if (rc == 0 && uv_loop_init(&server->loop) < 0)
        rc = err_set(err, ERR_NOMEM, "no memory for a loop");
    if (rc == 0) {
        open_handles(server);
        rc = listen_at(server, err);
        if (rc == 0)
            say_ready(server);
        else
            stop(&server->interrupt, 0);
        uv_run(&server->loop, UV_RUN_DEFAULT);
        uv_loop_close(&server->loop);
    }
    snapshot_release(server->newest);
    snapshot_release(server->built);
    store_close(server->store);
    free(server);
    return rc;
}
