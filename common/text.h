/* Text: a growable string, UTF-8 checks, numbers as text, and the nearest known name for error messages. */
#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* A zeroed struct text is the empty string. `data` is always NUL-terminated once anything was added.
 * Running out of memory sets `failed`, after which additions do nothing: check once, at the end. */
struct text {
    char *data;
    size_t len, capacity;
    bool failed;
};

void text_add(struct text *text, const char *s);
void text_add_n(struct text *text, const char *s, size_t n);
void text_add_char(struct text *text, char c);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The shortest decimal that reads back as the same double (at most 17 digits, '.' whatever the locale, no
 * exponent sign games: "0.001", "1e-05", "3", "-0.25"). NaN and infinity are our bug here. */
void text_add_double(struct text *text, double value);
/* `s` as a JSON string literal with its quotes; `s` must be valid UTF-8. */
void text_add_json(struct text *text, const char *s);
/* `s` with & < > " ' escaped for HTML text and attributes. */
void text_add_html(struct text *text, const char *s);
/* data as base64 (RFC 4648, padded); text_decode_base64 gives a heap block the caller frees. */
void text_add_base64(struct text *text, const void *data, size_t n);
int text_decode_base64(const char *s, size_t n, unsigned char **out, size_t *out_len, struct err *err) MUST_CHECK;
void text_reset(struct text *text); /* empty, memory kept */
void text_done(struct text *text);
/* The string itself, owned by the caller; the text is empty afterwards. NULL when it failed. */
char *text_take(struct text *text);

/* Offset of the first byte that is not valid UTF-8 (overlong forms, surrogates and > U+10FFFF are not), or n. */
size_t utf8_valid_prefix(const char *s, size_t n);
/* Decodes the code point at s (valid UTF-8, n > 0 bytes left); *len is its length in bytes. */
uint32_t utf8_decode(const char *s, size_t n, size_t *len);
/* Encodes into out[4]; the length. */
size_t utf8_encode(uint32_t code_point, char out[4]);

bool text_equal(const char *a, const char *b);
bool text_starts_with(const char *s, const char *prefix);
bool text_ends_with(const char *s, const char *suffix);
/* The entry of `names` (NULL-terminated) nearest to `name` in edits (Damerau-Levenshtein), or NULL when none
 * is near (more than a third of its length away). For "unknown key 'lerning_rate', nearest is 'learning_rate'". */
const char *text_nearest(const char *name, const char *const *names);
/* Reads all of `s` as a number: no trailing characters, no NaN or infinity; '.' whatever the locale. */
int text_parse_double(const char *s, double *out, struct err *err) MUST_CHECK;
int text_parse_int64(const char *s, int64_t *out, struct err *err) MUST_CHECK;
/* "2GiB", "512MiB", "1500000" → bytes; "20m", "1h30m", "45s", "2d" → seconds. */
int text_parse_bytes(const char *s, uint64_t *out, struct err *err) MUST_CHECK;
int text_parse_duration(const char *s, double *out_seconds, struct err *err) MUST_CHECK;

#endif
