/* Just enough HTTP for `serve`: the head of a GET request, read without trust, and the head of an answer. */
#ifndef ORCHESTRATOR_SERVE_HTTP_H
#define ORCHESTRATOR_SERVE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/text.h"

enum { HTTP_MAX_HEAD = 8192, HTTP_MAX_PATH = 256, HTTP_MAX_TOKEN = 128, HTTP_MAX_HOST = 256 };

struct http_request {
    char method[16];
    char path[HTTP_MAX_PATH];       /* without the query; no decoding: no path here needs it */
    char token[HTTP_MAX_TOKEN + 1]; /* of the query's "token=…", "" without */
    char host[HTTP_MAX_HOST];       /* of the header Host, lower case */
};

/* Reads a request's head. 1: it is whole; 0: more bytes are needed; ERR_FORMAT: it is no request that is answered (a
 * body, no Host or two, control characters, a part that is too long), and the connection is to be closed with 400. */
int http_read(struct http_request *request, const char *data, size_t n, struct err *err) MUST_CHECK;

/* Whether `host` names this server: `address`, localhost or a loopback literal, or one of `more` (n of them), with
 * `port` behind it. A page from elsewhere whose name was made to point here (DNS rebinding) says another name. */
bool http_host_is_ours(const char *host, int port, const char *address, const char *const *more, int n);
/* Equal in a time that does not tell how much is. */
bool http_token_is(const char *given, const char *token);
/* Status line and headers, with the empty line. length < 0: a stream. */
void http_add_head(struct text *out, int status, const char *type, long long length);

#endif
