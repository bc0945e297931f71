/* `nightsweep serve [SWEEP...]`: the page, live, for a browser on this machine. */
#include <signal.h>
#include <stdio.h>

#include "orchestrator/command_kinds.h"
#include "orchestrator/serve.h"
#include "orchestrator/store.h"

static void on_ready(const char *url, void *context)
{
    (void)context;
    printf("%s\n", url);
    fflush(stdout);
}

/* A sweep that is not there is said now, not to the browser. */
static int check_names(const struct command_line *line, struct err *err)
{
    struct store *store = NULL;
    int rc = store_open(&store, line->store, STORE_READ, err);
    for (int i = 0; rc == 0 && i < line->n_arguments; i++) {
        int64_t id = 0;
        rc = store_find_sweep(store, line->arguments[i], &id, err);
        if (rc == 0 && id == 0)
            rc = err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' in '%s'", line->arguments[i], line->store);
    }
    store_close(store);
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    const char *address = command_value(line, "address"), *host = command_value(line, "host");
    int64_t port = 0;
    int rc = command_get_int(line, "port", 0, 65535, &port, err);
    if (rc == 0)
        rc = check_names(line, err);
    if (rc < 0)
        return rc;
    signal(SIGPIPE, SIG_IGN); /* a browser that is closed is no end */
    struct serve_options options = {.store = line->store,
                                    .names = (const char *const *)line->arguments,
                                    .n_names = line->n_arguments,
                                    .address = address ? address : "127.0.0.1",
                                    .port = (int)port,
                                    .hosts = &host,
                                    .n_hosts = host ? 1 : 0,
                                    .on_ready = on_ready};
    return serve(&options, err);
}

static const struct command_option options[] = {
    {"port", "N", "port to listen at (default: a free one)"},
    {"address", "ADDRESS", "numeric address to listen at (default: 127.0.0.1, this machine alone)"},
    {"host", "NAME", "another name of this machine that the browser may use"},
    {NULL, NULL, NULL},
};

const struct command command_serve = {
    .name = "serve",
    .arguments = "[SWEEP...]",
    .summary = "show the page of sweeps live in a browser",
    .description =
        "Prints the address to open, with a random token in it, and serves the page until it is interrupted. The "
        "page follows the store within a second while a run writes to it. Nothing can be changed through it. Without "
        "sweeps all of the store are shown.\n\n"
        "Other machines reach it only with --address; then whoever has the address with its token can read the "
        "results, and the connection is not encrypted: ssh -L PORT:127.0.0.1:PORT is the better way.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = COMMAND_MAX_FILES,
    .run = run,
};
