/* The page, live: served to a browser on this machine, with news of every change of the store.
 *
 * GET /        the page as it stands now
 * GET /data    its data alone
 * GET /events  server-sent events: "changed" within half a second of a change of the store
 * Each asks for ?token=… and a Host that is ours; anything else is refused. Nothing is ever written. The page
 * is written by a process of its own into a file without a name, which all who are sent it share: the server stays as
 * small whatever the store's size, and no client waits for another's answer. A client that
 * does not send its request in ten seconds, or takes nothing for thirty, is dropped; at most 64 are served at a time.
 */
#ifndef ORCHESTRATOR_SERVE_H
#define ORCHESTRATOR_SERVE_H

#include "common/err.h"

struct serve_options {
    const char *store;        /* path */
    const char *const *names; /* sweeps; none: all that the store has, also later ones */
    int n_names;
    const char *address;      /* numeric, "127.0.0.1" */
    int port;                 /* 0: a free one */
    const char *token;        /* NULL: a random one */
    const char *const *hosts; /* more names that the Host header may have */
    int n_hosts;
    /* Called once when it listens, with the address to open. */
    void (*on_ready)(const char *url, void *context);
    void *context;
};

/* Serves until SIGINT or SIGTERM. ERR_IO when it cannot listen, ERR_NOT_FOUND for a missing store or sweep. */
int serve(const struct serve_options *options, struct err *err) MUST_CHECK;

#endif
