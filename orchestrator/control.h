/* How a command reaches the run that is using a store: a Unix socket beside the store, FILE.control.
 *
 * The store has one writer. A command that changes something takes the lock itself when it is free; while a run holds
 * it, the command asks the run: one JSON object a line there, one back, then the connection ends. The answer comes
 * after the commit, so what was answered is on disk. The socket is its owner's alone (mode 0600), and works on the host
 * of the run only. */
#ifndef ORCHESTRATOR_CONTROL_H
#define ORCHESTRATOR_CONTROL_H

#include <uv.h>

#include "common/json.h"

enum {
    CONTROL_LINE_BYTES = 64 << 10, /* of a request; longer ones end the connection */
    CONTROL_CLIENTS_MAX = 16,      /* more are closed at once */
    CONTROL_ANSWER_SECONDS = 60    /* how long a command waits for its answer */
};

struct control_client;

/* The run's end. Zeroed: closed. */
struct control {
    uv_pipe_t server;
    bool is_open;
    int folder; /* file descriptor of the store's folder: the address of a socket is short, its path may not be */
    char *name; /* of the socket in it */
    struct control_client *clients;
    int n_clients, n_asked; /* connected; whose request is not answered yet */
    /* A request; answered now or later by control_answer, once. The JSON is the callee's (json_free). */
    void (*on_request)(struct control_client *client, cJSON *request, void *context);
    void *context;
};

/* Listens for commands about `store`, whose lock the caller holds: a socket that is there is a dead run's. ERR_IO when
 * the file system has no sockets or the folder cannot be written. */
int control_listen(struct control *control, uv_loop_t *loop, const char *store, struct err *err) MUST_CHECK;
/* Answers with a line (without its newline) and ends the connection; fine when the other side is gone. */
void control_answer(struct control_client *client, const char *line);
/* Removes the socket and closes the handles; requests may still be answered, by nobody's leave. */
void control_close(struct control *control);

/* The command's end: sends the line and waits for the answer. ERR_NOT_FOUND when nobody listens, ERR_IO when no answer
 * came: the request may or may not have been carried out. */
int control_ask(const char *store, const char *request, struct text *answer, struct err *err) MUST_CHECK;

#endif
