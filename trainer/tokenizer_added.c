/* Added tokens: texts that are tokens wherever they stand, before anything else is done. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "common/json.h"
#include "trainer/tokenizer_parts.h"

static int read_flags(const cJSON *item, struct added *added, struct err *err)
{
    int rc = json_opt_bool(item, "single_word", "added_tokens", &added->is_single_word, err);
    if (rc == 0)
        rc = json_opt_bool(item, "lstrip", "added_tokens", &added->strips_left, err);
    if (rc == 0)
        rc = json_opt_bool(item, "rstrip", "added_tokens", &added->strips_right, err);
    if (rc == 0)
        rc = json_opt_bool(item, "special", "added_tokens", &added->is_special, err);
    added->is_normalized = !added->is_special;
    return rc < 0 ? rc : json_opt_bool(item, "normalized", "added_tokens", &added->is_normalized, err);
}

static int read_one(struct tokenizer *t, const cJSON *item, struct err *err)
{
    const char *content;
    struct added added = {0};
    int rc = cJSON_IsObject(item) ? json_get_string(item, "content", "added_tokens", &content, err)
                                  : err_set(err, ERR_FORMAT, "added_tokens: an object was expected");
    if (rc == 0)
        rc = vocabulary_read_id(json_get(item, "id"), "added_tokens.id", &added.id, err);
    if (rc == 0 && content[0] == '\0')
        rc = err_set(err, ERR_FORMAT, "added_tokens: a content is empty");
    if (rc == 0)
        rc = read_flags(item, &added, err);
    if (rc == 0)
        rc = vocabulary_add(t, content, added.id, true, err);
    if (rc < 0)
        return rc;
    added.text = arena_strdup(&t->arena, content);
    added.n = strlen(content);
    if (!added.text)
        return err_set(err, ERR_NOMEM, "no memory for added tokens");
    t->added[t->n_added++] = added;
    return 0;
}

int added_read(struct tokenizer *t, const cJSON *list, struct err *err)
{
    size_t bytes = 0, n = 0;
    if (!list || cJSON_IsNull(list))
        return 0;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > TOKENIZER_MAX_ADDED)
        return err_set(err, ERR_FORMAT, "added_tokens: a list of at most %d was expected", TOKENIZER_MAX_ADDED);
    for (const cJSON *item = list->child; item; item = item->next, n++) {
        const cJSON *content = json_get(item, "content");
        bytes += cJSON_IsString(content) ? strlen(content->valuestring) + 1 : 0;
    }
    t->added = arena_calloc(&t->arena, n + 1, sizeof(*t->added));
    int rc = t->added ? vocabulary_reserve(t, n, bytes, err) : err_set(err, ERR_NOMEM, "no memory for added tokens");
    for (const cJSON *item = list->child; item && rc == 0; item = item->next)
        rc = read_one(t, item, err);
    return rc;
}

int added_normalize(struct tokenizer *t, struct err *err)
{
    for (int i = 0; i < t->n_added; i++) {
        struct added *added = &t->added[i];
        struct codes codes = {0};
        struct pieces text = {0};
        for (size_t at = 0, length; added->is_normalized && at < added->n; at += length)
            codes_add(&codes, (int32_t)utf8_decode(added->text + at, added->n - at, &length));
        if (added->is_normalized)
            tokenizer_normalize(t, &codes);
        for (size_t k = 0; k < codes.n; k++) {
            char c[4];
            pieces_add_text(&text, c, utf8_encode((uint32_t)codes.items[k], c));
        }
        const char *kept = added->is_normalized && text.n ? arena_strndup(&t->arena, text.text, text.n) : added->text;
        bool failed = codes.failed || text.failed || !kept;
        added->n = added->is_normalized ? text.n : added->n;
        added->text = kept;
        t->has_normalized_added = t->has_normalized_added || added->is_normalized;
        codes_done(&codes);
        pieces_done(&text);
        if (failed)
            return err_set(err, ERR_NOMEM, "no memory for added tokens");
        if (added->n > 0)
            t->added_first[(unsigned char)added->text[0]] = true;
    }
    return 0;
}

/* The longest one that begins here, or NULL. */
static const struct added *find(const struct tokenizer *t, const char *text, size_t n, bool is_normalized)
{
    const struct added *best = NULL;
    for (int i = 0; i < t->n_added; i++) {
        const struct added *added = &t->added[i];
        if (added->is_normalized == is_normalized && added->n > 0 && added->n <= n && added->text[0] == text[0] &&
            memcmp(text, added->text, added->n) == 0 && (!best || added->n > best->n))
            best = added;
    }
    return best;
}

static bool is_word(int32_t code)
{
    utf8proc_category_t c = utf8proc_category(code);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) ||
           (c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC ||
           (code >= 0x24b6 && code <= 0x24e9) || (code >= 0x1f130 && code <= 0x1f189) || code == 0x200c ||
           code == 0x200d;
}

static size_t last_code(const char *text, size_t n, int32_t *code)
{
    size_t length, start = n - 1;
    while (start > 0 && ((unsigned char)text[start] & 0xc0) == 0x80)
        start--;
    *code = (int32_t)utf8_decode(text + start, n - start, &length);
    return start;
}

static bool stands_alone(const struct added *added, const char *text, size_t n, size_t at)
{
    int32_t before = ' ', behind = ' ';
    size_t end = at + added->n, length;
    if (!added->is_single_word)
        return true;
    if (at > 0)
        last_code(text, at, &before);
    if (end < n)
        behind = (int32_t)utf8_decode(text + end, n - end, &length);
    return !is_word(before) && !is_word(behind);
}

/* Where it begins and ends with the white space that goes with it. */
static void widen(const struct added *added, const char *text, size_t n, size_t first, size_t *start, size_t *end)
{
    int32_t code;
    size_t at;
    while (added->strips_left && *start > first && (at = last_code(text, *start, &code), text_is_white_space(code)))
        *start = at;
    while (added->strips_right && *end < n && text_is_white_space((int32_t)utf8_decode(text + *end, n - *end, &at)))
        *end += at;
}

void added_cut(struct tokenizer *t, const char *text, size_t n, bool is_normalized, bool begins_text, added_rest *rest,
               struct codes *ids)
{
    size_t first = 0;
    for (size_t at = 0; at < n;) {
        const struct added *added =
            t->added_first[(unsigned char)text[at]] ? find(t, text + at, n - at, is_normalized) : NULL;
        if (!added) {
            at++;
            continue;
        }
        size_t start = at, end = at + added->n;
        at = end;
        if (!stands_alone(added, text, n, start))
            continue;
        widen(added, text, n, first, &start, &end);
        if (start > first)
            rest(t, text + first, start - first, begins_text && first == 0, ids);
        codes_add(ids, added->id);
        first = at = end;
    }
    if (n > first)
        rest(t, text + first, n - first, begins_text && first == 0, ids);
}
