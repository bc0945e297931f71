/* Requests are refused rather than understood generously: whoever sends something odd is not the page. */
#include "orchestrator/serve_http.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int refuse(struct err *err, const char *what)
{
    return err_set(err, ERR_FORMAT, "a request with %s", what);
}

/* Copies n bytes into a fixed field if they fit with their NUL. */
static bool take(char *out, size_t size, const char *from, size_t n)
{
    if (n >= size)
        return false;
    memcpy(out, from, n);
    out[n] = '\0';
    return true;
}

static int read_query(struct http_request *request, const char *query, size_t n, struct err *err)
{
    for (const char *end = query + n; query < end;) {
        size_t part = strcspn(query, "&");
        part = part < (size_t)(end - query) ? part : (size_t)(end - query);
        if (part > 6 && strncmp(query, "token=", 6) == 0 &&
            !take(request->token, sizeof(request->token), query + 6, part - 6))
            return refuse(err, "a token that is too long");
        query += part + 1;
    }
    return 0;
}

/* GET /path?query HTTP/1.1 */
static int read_line(struct http_request *request, const char *line, size_t n, struct err *err)
{
    const char *target = memchr(line, ' ', n);
    const char *end = target ? memchr(target + 1, ' ', n - (size_t)(target + 1 - line)) : NULL;
    if (!end || target == line || !take(request->method, sizeof(request->method), line, (size_t)(target - line)))
        return refuse(err, "a first line that is none");
    size_t version = n - (size_t)(end + 1 - line);
    if (version != 8 || strncmp(end + 1, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)end[8]))
        return refuse(err, "another version than HTTP/1");
    target++;
    if (*target != '/')
        return refuse(err, "a target that is no path");
    const char *query = memchr(target, '?', (size_t)(end - target));
    if (!take(request->path, sizeof(request->path), target, (size_t)((query ? query : end) - target)))
        return refuse(err, "a path that is too long");
    return query ? read_query(request, query + 1, (size_t)(end - query - 1), err) : 0;
}

static bool is_header(const char *line, size_t n, const char *name, const char **value, size_t *value_n)
{
    size_t length = strlen(name);
    if (n <= length || strncasecmp(line, name, length) != 0 || line[length] != ':')
        return false;
    for (*value = line + length + 1; *value < line + n && (**value == ' ' || **value == '\t');)
        (*value)++;
    *value_n = (size_t)(line + n - *value);
    while (*value_n > 0 && ((*value)[*value_n - 1] == ' ' || (*value)[*value_n - 1] == '\t'))
        (*value_n)--;
    return true;
}

static int read_header(struct http_request *request, const char *line, size_t n, struct err *err)
{
    const char *value;
    size_t value_n;
    if (!memchr(line, ':', n) || line[0] == ' ' || line[0] == '\t')
        return refuse(err, "a header line that is none");
    if (is_header(line, n, "transfer-encoding", &value, &value_n))
        return refuse(err, "a body");
    if (is_header(line, n, "content-length", &value, &value_n) && !(value_n == 1 && *value == '0'))
        return refuse(err, "a body");
    if (!is_header(line, n, "host", &value, &value_n))
        return 0;
    if (request->host[0] != '\0')
        return refuse(err, "two hosts");
    if (value_n == 0 || !take(request->host, sizeof(request->host), value, value_n))
        return refuse(err, "a host that is empty or too long");
    for (char *c = request->host; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return 0;
}

static bool has_control(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 && line[i] != '\t')
            return true;
    return false;
}

int http_read(struct http_request *request, const char *data, size_t n, struct err *err)
{
    const char *end = memmem(data, n, "\r\n\r\n", 4);
    if (!end)
        return n >= HTTP_MAX_HEAD ? refuse(err, "a head that is too long") : 0;
    memset(request, 0, sizeof(*request));
    int rc = 0;
    const char *line = data;
    for (int i = 0; rc == 0 && line < end + 2; i++) {
        const char *stop = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        size_t length = (size_t)(stop - line);
        if (has_control(line, length))
            return refuse(err, "a control character");
        rc = i == 0 ? read_line(request, line, length, err) : read_header(request, line, length, err);
        line = stop + 2;
    }
    if (rc == 0 && request->host[0] == '\0')
        rc = refuse(err, "no host");
    return rc < 0 ? rc : 1;
}

static bool is_name(const char *host, const char *name, int port)
{
    char whole[HTTP_MAX_HOST + 16];
    bool is_literal = strchr(name, ':') && name[0] != '[';
    snprintf(whole, sizeof(whole), is_literal ? "[%s]:%d" : "%s:%d", name, port);
    return strcasecmp(host, whole) == 0;
}

bool http_host_is_ours(const char *host, int port, const char *address, const char *const *more, int n)
{
    if (is_name(host, "localhost", port) || is_name(host, "127.0.0.1", port) || is_name(host, "::1", port) ||
        is_name(host, address, port))
        return true;
    for (int i = 0; i < n; i++)
        if (is_name(host, more[i], port))
            return true;
    return false;
}

bool http_token_is(const char *given, const char *token)
{
    size_t n = strlen(token), given_n = strlen(given);
    unsigned char difference = n != given_n;
    for (size_t i = 0; i < n; i++)
        difference |= (unsigned char)(token[i] ^ (i < given_n ? given[i] : 0));
    return difference == 0;
}

static const char *reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    default:
        return "Service Unavailable";
    }
}

void http_add_head(struct text *out, int status, const char *type, long long length)
{
    text_printf(out,
                "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                "X-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n"
                "Connection: close\r\n",
                status, reason(status), type);
    if (status == 405)
        text_add(out, "Allow: GET\r\n");
    if (length >= 0)
        text_printf(out, "Content-Length: %lld\r\n", length);
    text_add(out, "\r\n");
}
