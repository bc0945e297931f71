/* Text. Nothing here depends on the locale: numbers always have a '.'. */
#include "common/text.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Growing ------------------------------------------------------------------------------------------------------------
 */

static bool reserve(struct text *text, size_t more)
{
    if (text->failed || more > SIZE_MAX / 2 - text->len - 1) {
        text->failed = true;
        return false;
    }
    size_t needed = text->len + more + 1;
    if (needed <= text->capacity)
        return true;
    size_t grown = text->capacity < 64 ? 64 : text->capacity * 2;
    if (grown < needed)
        grown = needed;
    char *data = realloc(text->data, grown);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = grown;
    return true;
}

void text_add_n(struct text *text, const char *s, size_t n)
{
    if (!reserve(text, n))
        return;
    if (n > 0)
        memcpy(text->data + text->len, s, n);
    text->len += n;
    text->data[text->len] = '\0';
}

void text_add(struct text *text, const char *s)
{
    text_add_n(text, s, strlen(s));
}

void text_add_char(struct text *text, char c)
{
    text_add_n(text, &c, 1);
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    size_t room = text->failed || !text->data ? 0 : text->capacity - text->len;
    int n = vsnprintf(room ? text->data + text->len : NULL, room, format, arguments);
    va_end(arguments);
    if (n < 0) {
        text->failed = true;
    } else if ((size_t)n < room) { /* mostly it fits at once */
        text->len += (size_t)n;
    } else {
        if (room > 0)
            text->data[text->len] = '\0';
        if (reserve(text, (size_t)n)) {
            vsnprintf(text->data + text->len, (size_t)n + 1, format, again);
            text->len += (size_t)n;
        }
    }
    va_end(again);
}

void text_reset(struct text *text)
{
    text->len = 0;
    text->failed = false;
    if (text->data)
        text->data[0] = '\0';
}

void text_done(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

char *text_take(struct text *text)
{
    if (!text->failed && !text->data)
        text_add(text, "");
    char *data = text->failed ? NULL : text->data;
    if (!data)
        free(text->data);
    *text = (struct text){0};
    return data;
}

/* Numbers ------------------------------------------------------------------------------------------------------------
 */

enum { NUMBER_MAX_CHARACTERS = 63 };

/* Whatever the process's locale is, numbers are read with a point. */
static locale_t point_locale;

__attribute__((constructor)) static void make_point_locale(void)
{
    point_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* never fails: it is built in */
}

/* printf's decimal point is the locale's; ours is not. */
static void use_point(char *number)
{
    for (char *c = number; *c; c++)
        if (!isdigit((unsigned char)*c) && !strchr("+-eE.", *c))
            *c = '.';
}

static double parse_point(const char *s)
{
    double value;
    struct err ignored;
    return text_parse_double(s, &value, &ignored) == 0 ? value : NAN;
}

void text_add_double(struct text *text, double value)
{
    char number[40];
    assert(isfinite(value));
    if (value == 0)
        value = 0;                                               /* no "-0": equal numbers have equal texts */
    if (fabs(value) < 1e15 && value == (double)(int64_t)value) { /* what %.15g says, many times faster */
        text_printf(text, "%" PRId64, (int64_t)value);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(number, sizeof(number), "%.*g", digits, value);
        use_point(number);
        if (digits == 17 || parse_point(number) == value)
            break;
    }
    text_add(text, number);
    /* Whole numbers beyond 2^53 are refused where JSON is read, since they may have lost digits; this one has not. */
    if (fabs(value) > 9007199254740992.0 && !strpbrk(number, ".e"))
        text_add(text, ".0");
}

int text_parse_double(const char *s, double *out, struct err *err)
{
    /* strtod reads hexadecimal, "inf" and "nan" too: let through only what JSON-like numbers have. */
    size_t n = strlen(s);
    char *end;
    if (n == 0 || n > NUMBER_MAX_CHARACTERS || strspn(s, "+-0123456789.eE") != n)
        return err_set(err, ERR_FORMAT, "'%.80s' is not a number", s);
    double value = strtod_l(s, &end, point_locale);
    if (*end != '\0' || end == s)
        return err_set(err, ERR_FORMAT, "'%.80s' is not a number", s);
    if (!isfinite(value))
        return err_set(err, ERR_FORMAT, "'%.80s' is beyond the largest double", s);
    *out = value;
    return 0;
}

int text_parse_int64(const char *s, int64_t *out, struct err *err)
{
    char *end;
    size_t n = strlen(s);
    if (n == 0 || strspn(s, "+-0123456789") != n)
        return err_set(err, ERR_FORMAT, "'%.80s' is not a whole number", s);
    errno = 0;
    intmax_t value = strtoimax(s, &end, 10);
    if (*end != '\0')
        return err_set(err, ERR_FORMAT, "'%.80s' is not a whole number", s);
    if (errno == ERANGE || value > INT64_MAX || value < INT64_MIN)
        return err_set(err, ERR_FORMAT, "'%.80s' is beyond 64 bits", s);
    *out = (int64_t)value;
    return 0;
}

/* Splits "1.5GiB" into number and unit. */
static int split_unit(const char *s, double *number, const char **unit, struct err *err)
{
    char digits[40];
    size_t n = strspn(s, "0123456789.");
    if (n == 0 || n >= sizeof(digits))
        return err_set(err, ERR_FORMAT, "'%.80s' does not start with a number", s);
    memcpy(digits, s, n);
    digits[n] = '\0';
    *unit = s + n;
    return text_parse_double(digits, number, err);
}

int text_parse_bytes(const char *s, uint64_t *out, struct err *err)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1},         {"B", 1},    {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30},
                 {"TiB", 0x1p40}, {"kB", 1e3}, {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};
    double number;
    const char *unit;
    int rc = split_unit(s, &number, &unit, err);
    for (size_t i = 0; rc == 0 && i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(unit, units[i].name) == 0 && number * units[i].factor < 0x1p63) {
            *out = (uint64_t)(number * units[i].factor);
            return 0;
        }
    return rc < 0 ? rc : err_set(err, ERR_FORMAT, "'%.80s' is not a size like 512MiB or 2GiB", s);
}

int text_parse_duration(const char *s, double *out_seconds, struct err *err)
{
    static const struct {
        char unit;
        double seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    double total = 0;
    size_t next = 0; /* units come from large to small, each once: 1h30m, not 30m1h */
    const char *rest = s;
    do {
        double number;
        const char *unit;
        int rc = split_unit(rest, &number, &unit, err);
        if (rc < 0)
            return err_set(err, ERR_FORMAT, "'%.80s' is not a duration like 20m, 1h30m or 45s", s);
        while (next < 4 && units[next].unit != *unit)
            next++;
        if (next == 4)
            return err_set(err, ERR_FORMAT, "'%.80s' is not a duration like 20m, 1h30m or 45s", s);
        total += number * units[next++].seconds;
        rest = unit + 1;
    } while (*rest);
    *out_seconds = total;
    return 0;
}

/* Escapes ------------------------------------------------------------------------------------------------------------
 */

void text_add_json(struct text *text, const char *s)
{
    text_add_char(text, '"');
    for (; *s; s++) {
        const char *plain = s;
        while ((unsigned char)*s >= 0x20 && *s != 0x7f && *s != '"' && *s != '\\')
            s++;
        text_add_n(text, plain, (size_t)(s - plain));
        unsigned char c = (unsigned char)*s;
        if (c == '\0') {
            break;
        } else if (c == '"' || c == '\\') {
            text_add_char(text, '\\');
            text_add_char(text, (char)c);
        } else if (c == '\n') {
            text_add(text, "\\n");
        } else if (c == '\t') {
            text_add(text, "\\t");
        } else if (c == '\r') {
            text_add(text, "\\r");
        } else {
            text_printf(text, "\\u%04x", c);
        }
    }
    text_add_char(text, '"');
}

void text_add_html(struct text *text, const char *s)
{
    for (; *s; s++) {
        switch (*s) {
        case '&':
            text_add(text, "&amp;");
            break;
        case '<':
            text_add(text, "&lt;");
            break;
        case '>':
            text_add(text, "&gt;");
            break;
        case '"':
            text_add(text, "&quot;");
            break;
        case '\'':
            text_add(text, "&#39;");
            break;
        default:
            text_add_char(text, *s);
        }
    }
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void text_add_base64(struct text *text, const void *data, size_t n)
{
    const unsigned char *in = data;
    text_add(text, ""); /* ends it where there is nothing to add */
    if (!reserve(text, (n + 2) / 3 * 4))
        return;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t word = (uint32_t)in[i] << 16;
        if (i + 1 < n)
            word |= (uint32_t)in[i + 1] << 8;
        if (i + 2 < n)
            word |= in[i + 2];
        char digits[4] = {base64_digits[word >> 18], base64_digits[word >> 12 & 63],
                          i + 1 < n ? base64_digits[word >> 6 & 63] : '=', i + 2 < n ? base64_digits[word & 63] : '='};
        text_add_n(text, digits, 4);
    }
}

int text_decode_base64(const char *s, size_t n, unsigned char **out, size_t *out_len, struct err *err)
{
    if (n % 4 != 0)
        return err_set(err, ERR_FORMAT, "base64 text of %zu characters: a multiple of 4 was expected", n);
    unsigned char *data = malloc(n / 4 * 3 + 1);
    size_t len = 0;
    if (!data)
        return err_set(err, ERR_NOMEM, "no memory for %zu bytes of base64", n);
    for (size_t i = 0; i < n; i += 4) {
        uint32_t word = 0;
        int padding = 0;
        for (size_t k = 0; k < 4; k++) {
            const char *digit = s[i + k] ? strchr(base64_digits, s[i + k]) : NULL;
            bool is_padding = s[i + k] == '=' && i + 4 == n && k >= 2;
            if ((!digit && !is_padding) || (digit && padding)) {
                free(data);
                return err_set(err, ERR_FORMAT, "base64 text has a wrong character at %zu", i + k);
            }
            padding += is_padding;
            word = word << 6 | (digit ? (uint32_t)(digit - base64_digits) : 0);
        }
        for (int k = 0; k < 3 - padding; k++)
            data[len++] = (unsigned char)(word >> (16 - 8 * k));
    }
    *out = data;
    *out_len = len;
    return 0;
}

/* UTF-8 --------------------------------------------------------------------------------------------------------------
 */

/* Length of the valid sequence at s, 0 if there is none (Unicode 15, table 3-7). */
static size_t utf8_sequence(const unsigned char *s, size_t n)
{
    unsigned char first = s[0];
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return n >= 2 && (s[1] & 0xc0) == 0x80 ? 2 : 0;
    if ((first & 0xf0) == 0xe0) {
        unsigned char low = first == 0xe0 ? 0xa0 : 0x80, high = first == 0xed ? 0x9f : 0xbf;
        return n >= 3 && s[1] >= low && s[1] <= high && (s[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        unsigned char low = first == 0xf0 ? 0x90 : 0x80, high = first == 0xf4 ? 0x8f : 0xbf;
        return n >= 4 && s[1] >= low && s[1] <= high && (s[2] & 0xc0) == 0x80 && (s[3] & 0xc0) == 0x80 ? 4 : 0;
    }
    return 0;
}

size_t utf8_valid_prefix(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        size_t len = utf8_sequence((const unsigned char *)s + i, n - i);
        if (len == 0)
            break;
        i += len;
    }
    return i;
}

uint32_t utf8_decode(const char *s, size_t n, size_t *len)
{
    const unsigned char *u = (const unsigned char *)s;
    *len = utf8_sequence(u, n);
    switch (*len) {
    case 1:
        return u[0];
    case 2:
        return (uint32_t)(u[0] & 0x1f) << 6 | (u[1] & 0x3f);
    case 3:
        return (uint32_t)(u[0] & 0x0f) << 12 | (uint32_t)(u[1] & 0x3f) << 6 | (u[2] & 0x3f);
    case 4:
        return (uint32_t)(u[0] & 0x07) << 18 | (uint32_t)(u[1] & 0x3f) << 12 | (uint32_t)(u[2] & 0x3f) << 6 |
               (u[3] & 0x3f);
    default:
        *len = 1; /* invalid: callers check first; the replacement character keeps loops going */
        return 0xfffd;
    }
}

size_t utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Comparing ----------------------------------------------------------------------------------------------------------
 */

bool text_equal(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

bool text_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

enum { NEAREST_MAX = 64 };

static int smallest(int a, int b, int c)
{
    int least = a < b ? a : b;
    return least < c ? least : c;
}

/* Damerau-Levenshtein distance with adjacent transpositions (optimal string alignment); names beyond 64 are far away.
 */
static int edit_distance(const char *a, const char *b)
{
    int rows[3][NEAREST_MAX + 1];
    size_t n = strlen(a), m = strlen(b);
    if (n > NEAREST_MAX || m > NEAREST_MAX)
        return NEAREST_MAX;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *now = rows[i % 3], *before = rows[(i - 1) % 3], *two_before = rows[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = smallest(before[j] + 1, now[j - 1] + 1, before[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && two_before[j - 2] + 1 < now[j])
                now[j] = two_before[j - 2] + 1;
        }
    }
    return rows[n % 3][m];
}

const char *text_nearest(const char *name, const char *const *names)
{
    const char *nearest = NULL;
    int best = (int)(strlen(name) + 2) / 3 + 1; /* up to a third of its length away */
    for (; *names; names++) {
        int distance = edit_distance(name, *names);
        if (distance < best) {
            best = distance;
            nearest = *names;
        }
    }
    return nearest;
}
