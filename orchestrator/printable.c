/* Escapes by code point; what is no UTF-8 is escaped byte by byte. */
#include "orchestrator/printable.h"

#include <string.h>

/* C0 and C1 controls, and the marks, embeddings, overrides and isolates of bidirectional text (Unicode UAX 9). */
static bool is_hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || c == 0x200e || c == 0x200f || c == 0x2028 ||
           c == 0x2029 || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static void add_escape(struct text *out, uint32_t c)
{
    if (c == '\n')
        text_add(out, "\\n");
    else if (c == '\t')
        text_add(out, "\\t");
    else if (c == '\r')
        text_add(out, "\\r");
    else if (c <= 0x9f)
        text_printf(out, "\\x%02x", (unsigned)c);
    else
        text_printf(out, "\\u%04x", (unsigned)c);
}

static void add_n(struct text *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t len = 1;
        if (utf8_valid_prefix(s + i, n - i < 4 ? n - i : 4) == 0) {
            text_printf(out, "\\x%02x", (unsigned)(unsigned char)s[i]);
        } else {
            uint32_t c = utf8_decode(s + i, n - i, &len);
            if (is_hidden(c))
                add_escape(out, c);
            else
                text_add_n(out, s + i, len);
        }
        i += len;
    }
}

void printable_add(struct text *out, const char *s)
{
    add_n(out, s, strlen(s));
}

void printable_add_lines(struct text *out, const char *s, const char *indent)
{
    while (*s) {
        size_t n = strcspn(s, "\n");
        text_add(out, indent);
        add_n(out, s, n);
        text_add_char(out, '\n');
        s += n + (s[n] == '\n');
    }
}

void printable_add_json(struct text *out, const char *s)
{
    size_t n = strlen(s);
    if (utf8_valid_prefix(s, n) == n) {
        text_add_json(out, s);
        return;
    }
    struct text valid = {0};
    for (size_t i = 0; i < n;) {
        size_t good = utf8_valid_prefix(s + i, n - i);
        text_add_n(&valid, s + i, good);
        i += good;
        if (i < n) {
            text_add(&valid, "\xef\xbf\xbd");
            i++;
        }
    }
    text_add_json(out, valid.data ? valid.data : "");
    out->failed = out->failed || valid.failed;
    text_done(&valid);
}

size_t printable_width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}
