/* Regular expressions of tokenizer.json on PCRE2.
 *
 * They are written for Oniguruma. Where the two differ, the expression is rewritten: \s is white space by the Unicode
 * property, \w letters, marks, decimal digits and connectors, a script its own characters only. Classes are those of
 * the installed PCRE2's Unicode version: characters that were assigned later are none of them. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "trainer/tokenizer_parts.h"

enum { MAX_EXPRESSION = 1 << 16, FIRST_STACK = 32 << 10, LARGEST_STACK = 16 << 20 };

struct pattern {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

#define SPACE "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define WORD  "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

static bool is_script(const char *name, size_t n)
{
    static const char *const scripts[] = {"Han",      "Hiragana", "Katakana", "Hangul", "Latin",      "Greek",
                                          "Cyrillic", "Arabic",   "Hebrew",   "Thai",   "Devanagari", "Bengali"};
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
        if (strlen(scripts[i]) == n && strncmp(name, scripts[i], n) == 0)
            return true;
    return false;
}

/* One escape at `at`; its length. Within a class a negated list cannot be written out: PCRE2's own stays. */
static size_t rewrite_escape(const char *at, bool is_in_class, struct text *out)
{
    char c = at[1];
    if (c == 's' || c == 'w') {
        text_printf(out, is_in_class ? "%s" : "[%s]", c == 's' ? SPACE : WORD);
        return 2;
    }
    if ((c == 'S' || c == 'W') && !is_in_class) {
        text_printf(out, "[^%s]", c == 'S' ? SPACE : WORD);
        return 2;
    }
    const char *end = (c == 'p' || c == 'P') && at[2] == '{' ? strchr(at, '}') : NULL;
    if (end && is_script(at + 3, (size_t)(end - at - 3))) {
        text_printf(out, "\\%c{sc:%.*s}", c, (int)(end - at - 3), at + 3);
        return (size_t)(end - at + 1);
    }
    text_add_n(out, at, c ? 2 : 1);
    return c ? 2 : 1;
}

/* False for what means something else there: intersections of classes. */
static bool rewrite(const char *expression, struct text *out)
{
    bool is_in_class = false;
    for (const char *at = expression; *at;) {
        if (*at == '\\') {
            at += rewrite_escape(at, is_in_class, out);
            continue;
        }
        if (is_in_class && at[0] == '&' && at[1] == '&')
            return false;
        if (is_in_class && *at == '[' && at[1] != ':')
            return false;
        if (is_in_class && *at == '[') { /* [:alpha:] */
            const char *end = strstr(at, ":]");
            if (!end)
                return false;
            text_add_n(out, at, (size_t)(end - at + 2));
            at = end + 2;
            continue;
        }
        if (*at == '[')
            is_in_class = true;
        else if (*at == ']')
            is_in_class = false;
        text_add_char(out, *at++);
    }
    return !out->failed;
}

static int compile(struct pattern *pattern, const struct text *expression, const char *where, struct err *err)
{
    int code;
    PCRE2_SIZE offset;
    PCRE2_UCHAR message[256] = "";
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return err_set(err, ERR_NOMEM, "no memory for a pattern");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pattern->code =
        pcre2_compile((PCRE2_SPTR)expression->data, expression->len,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_UTF_CHECK, &code, &offset, context);
    pcre2_compile_context_free(context);
    if (!pattern->code) {
        pcre2_get_error_message(code, message, sizeof(message));
        return err_set(err, ERR_UNSUPPORTED, "%s: the pattern is not understood at byte %zu of '%s': %s", where,
                       (size_t)offset, expression->data, (const char *)message);
    }
    (void)pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* without it matching is slower, no more */
    pattern->match = pcre2_match_data_create_from_pattern(pattern->code, NULL);
    pattern->context = pcre2_match_context_create(NULL);
    pattern->stack = pcre2_jit_stack_create(FIRST_STACK, LARGEST_STACK, NULL);
    if (!pattern->match || !pattern->context)
        return err_set(err, ERR_NOMEM, "no memory for a pattern");
    if (pattern->stack)
        pcre2_jit_stack_assign(pattern->context, NULL, pattern->stack);
    return 0;
}

int pattern_open(struct pattern **pattern, const char *expression, const char *where, struct err *err)
{
    struct text rewritten = {0};
    struct pattern *made = calloc(1, sizeof(*made));
    int rc = made ? 0 : err_set(err, ERR_NOMEM, "no memory for a pattern");
    if (rc == 0 && (!expression[0] || strlen(expression) > MAX_EXPRESSION))
        rc = err_set(err, ERR_FORMAT, "%s: a pattern of 1 to %d bytes was expected", where, MAX_EXPRESSION);
    if (rc == 0 && !rewrite(expression, &rewritten))
        rc = err_set(err, ERR_UNSUPPORTED, "%s: the pattern '%s' has classes within classes, which are not built in",
                     where, expression);
    if (rc == 0)
        rc = compile(made, &rewritten, where, err);
    text_done(&rewritten);
    if (rc < 0)
        pattern_close(made);
    else
        *pattern = made;
    return rc;
}

void pattern_close(struct pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_code_free(pattern->code);
    pcre2_match_data_free(pattern->match);
    pcre2_match_context_free(pattern->context);
    pcre2_jit_stack_free(pattern->stack);
    free(pattern);
}

int pattern_find(const struct pattern *pattern, const char *text, size_t n, size_t from, size_t *start, size_t *end)
{
    while (from < n) {
        int rc = pcre2_match(pattern->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                             pattern->match, pattern->context);
        if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
            rc = pcre2_match(pattern->code, (PCRE2_SPTR)text, n, from,
                             PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | PCRE2_NO_JIT, pattern->match, pattern->context);
        if (rc == PCRE2_ERROR_NOMATCH)
            return 0;
        if (rc < 0)
            return -1;
        const PCRE2_SIZE *places = pcre2_get_ovector_pointer(pattern->match);
        if (places[1] > places[0] && places[1] <= n) {
            *start = places[0];
            *end = places[1];
            return 1;
        }
        from = places[1] > from ? places[1] : from + 1; /* \K can end before it begins */
        while (from < n && ((unsigned char)text[from] & 0xc0) == 0x80)
            from++;
    }
    return 0;
}
