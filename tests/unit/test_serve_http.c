/* Requests that `serve` reads: the few that are answered, and the many that are not. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/serve_http.h"

static int read_text(struct http_request *request, const char *text)
{
    struct err err;
    return http_read(request, text, strlen(text), &err);
}

Test(serve_http, reads_a_browsers_request)
{
    struct http_request r;
    cr_assert_eq(read_text(&r, "GET /data?x=1&token=abc&y=2 HTTP/1.1\r\nHost: LocalHost:80\r\nAccept: */*\r\n\r\n"), 1);
    cr_expect_str_eq(r.method, "GET");
    cr_expect_str_eq(r.path, "/data");
    cr_expect_str_eq(r.token, "abc");
    cr_expect_str_eq(r.host, "localhost:80");
    cr_assert_eq(read_text(&r, "GET / HTTP/1.0\r\nhost:a\r\n\r\n"), 1);
    cr_expect_str_eq(r.token, "");
}

Test(serve_http, wants_more_until_the_head_is_whole)
{
    static const char whole[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_request r;
    struct err err;
    for (size_t n = 0; n < sizeof(whole) - 1; n++)
        cr_expect_eq(http_read(&r, whole, n, &err), 0, "%zu bytes", n);
    cr_expect_eq(http_read(&r, whole, sizeof(whole) - 1, &err), 1);
}

Test(serve_http, refuses_what_no_browser_sends)
{
    static const char *const bad[] = {
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        " / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
        "GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n",
        "AVERYLONGMETHODNAME / HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    struct http_request r;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_eq(read_text(&r, bad[i]), ERR_FORMAT, "%s", bad[i]);
    /* Too long in every part, and a head without end. */
    char *text = malloc(HTTP_MAX_HEAD + 1);
    memset(text, 'a', HTTP_MAX_HEAD);
    text[HTTP_MAX_HEAD] = '\0';
    cr_expect_eq(read_text(&r, text), ERR_FORMAT);
    static const char *const fronts[] = {"GET /", "GET /?token=", "GET / HTTP/1.1\r\nHost: "};
    for (size_t i = 0; i < 3; i++) {
        memset(text, 'a', HTTP_MAX_HEAD);
        memcpy(text, fronts[i], strlen(fronts[i]));
        snprintf(text + 4000, 64, "%s", i == 2 ? "\r\n\r\n" : " HTTP/1.1\r\nHost: a\r\n\r\n");
        cr_expect_eq(read_text(&r, text), ERR_FORMAT, "%s", fronts[i]);
    }
    free(text);
}

/* Any bytes at all: nothing is read outside (the sanitizers watch), and no part is left without its end. */
Test(serve_http, survives_noise)
{
    static const char seed[] = "GET /data?token=abc HTTP/1.1\r\nHost: localhost:80\r\nA: b\r\n\r\n";
    struct http_request r;
    struct err err;
    unsigned state = 1;
    for (int round = 0; round < 20000; round++) {
        char text[sizeof(seed)];
        memcpy(text, seed, sizeof(seed));
        for (int k = 0; k < 4; k++) {
            state = state * 1664525U + 1013904223U;
            text[(state >> 8) % (sizeof(seed) - 1)] = (char)(state >> 24);
        }
        if (http_read(&r, text, sizeof(seed) - 1, &err) == 1)
            cr_assert(strlen(r.path) < sizeof(r.path) && r.host[0] != '\0' && r.path[0] == '/');
    }
}

Test(serve_http, knows_its_own_names_alone)
{
    static const char *const ours[] = {"localhost:8000", "127.0.0.1:8000", "[::1]:8000", "10.0.0.5:8000", "node1:8000"};
    static const char *const others[] = {
        "localhost", "localhost:8001", "evil.example:8000", "127.0.0.1.evil:8000", "localhost:80000", "xlocalhost:8000",
        "",          "[::1]:8000."};
    const char *const more[] = {"node1"};
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        cr_expect(http_host_is_ours(ours[i], 8000, "10.0.0.5", more, 1), "%s", ours[i]);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        cr_expect_not(http_host_is_ours(others[i], 8000, "10.0.0.5", more, 1), "%s", others[i]);
}

Test(serve_http, compares_whole_tokens)
{
    cr_expect(http_token_is("abcdef", "abcdef"));
    cr_expect_not(http_token_is("abcde", "abcdef"));
    cr_expect_not(http_token_is("abcdefg", "abcdef"));
    cr_expect_not(http_token_is("", "abcdef"));
}
