/* Normalizers: steps on the code points of a text. */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "trainer/tokenizer_parts.h"

static void replace(struct codes *codes, struct codes *with)
{
    with->failed = with->failed || codes->failed;
    free(codes->items);
    *codes = *with;
}

static void add_text(struct codes *codes, const char *text, size_t n)
{
    for (size_t at = 0, length; at < n; at += length)
        codes_add(codes, (int32_t)utf8_decode(text + at, n - at, &length));
}

/* BertNormalizer --------------------------------------------------------------------------------------------------- */

static int read_bert(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    struct bert_normalizer *bert = &step->bert;
    (void)t;
    *bert = (struct bert_normalizer){true, true, true, true};
    int rc = json_opt_bool(json, "clean_text", "normalizer", &bert->clean_text, err);
    if (rc == 0)
        rc = json_opt_bool(json, "handle_chinese_chars", "normalizer", &bert->handle_chinese_chars, err);
    if (rc == 0)
        rc = json_opt_bool(json, "lowercase", "normalizer", &bert->lowercase, err);
    bert->strip_accents = bert->lowercase; /* null: as lowercase */
    return rc < 0 ? rc : json_opt_bool(json, "strip_accents", "normalizer", &bert->strip_accents, err);
}

static void apply_bert(const struct step *step, struct codes *codes)
{
    text_normalize_bert(&step->bert, codes);
}

/* Forms and case --------------------------------------------------------------------------------------------------- */

static void apply_lowercase(const struct step *step, struct codes *codes)
{
    (void)step;
    text_lowercase(codes);
}

static void apply_strip_accents(const struct step *step, struct codes *codes)
{
    (void)step;
    text_strip_marks(codes);
}

static void apply_form(const struct step *step, struct codes *codes)
{
    text_normal_form(step->kind->name, codes);
}

/* Prepend, Replace, Strip ------------------------------------------------------------------------------------------ */

static int read_prepend(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    const char *text;
    int rc = json_get_string(json, "prepend", "normalizer", &text, err);
    if (rc == 0 && !(step->text = arena_strdup(&t->arena, text)))
        rc = err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    return rc;
}

static void apply_prepend(const struct step *step, struct codes *codes)
{
    struct codes out = {0};
    if (codes->n == 0)
        return;
    add_text(&out, step->text, strlen(step->text));
    for (size_t i = 0; i < codes->n; i++)
        codes_add(&out, codes->items[i]);
    replace(codes, &out);
}

static int read_replace(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    const char *content;
    int rc = step_read_pattern(t, step, json, "normalizer", err);
    if (rc == 0)
        rc = json_get_string(json, "content", "normalizer", &content, err);
    if (rc == 0 && !(step->content = arena_strdup(&t->arena, content)))
        rc = err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    return rc;
}

static void replace_text(const struct step *step, const struct codes *codes, struct codes *out)
{
    struct codes from = {0}, to = {0};
    add_text(&from, step->text, strlen(step->text));
    add_text(&to, step->content, strlen(step->content));
    for (size_t i = 0; i < codes->n;) {
        bool is_here = codes->n - i >= from.n && from.n > 0 &&
                       memcmp(codes->items + i, from.items, from.n * sizeof(*from.items)) == 0;
        for (size_t k = 0; is_here && k < to.n; k++)
            codes_add(out, to.items[k]);
        if (!is_here)
            codes_add(out, codes->items[i]);
        i += is_here ? from.n : 1;
    }
    out->failed = out->failed || from.failed || to.failed;
    codes_done(&from);
    codes_done(&to);
}

static void replace_matches(const struct step *step, const struct codes *codes, struct codes *out)
{
    struct pieces text = {0};
    size_t at = 0, start, end;
    for (size_t i = 0; i < codes->n; i++) {
        char c[4];
        pieces_add_text(&text, c, utf8_encode((uint32_t)codes->items[i], c));
    }
    int found = 0;
    while (!text.failed && (found = pattern_find(step->pattern, text.text, text.n, at, &start, &end)) > 0) {
        add_text(out, text.text + at, start - at);
        add_text(out, step->content, strlen(step->content));
        at = end;
    }
    if (!text.failed && text.n > at)
        add_text(out, text.text + at, text.n - at);
    out->failed = out->failed || text.failed || found < 0;
    pieces_done(&text);
}

static void apply_replace(const struct step *step, struct codes *codes)
{
    struct codes out = {0};
    if (step->pattern)
        replace_matches(step, codes, &out);
    else
        replace_text(step, codes, &out);
    replace(codes, &out);
}

static int read_strip(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    (void)t;
    step->strips_left = step->strips_right = true;
    int rc = json_opt_bool(json, "strip_left", "normalizer", &step->strips_left, err);
    return rc < 0 ? rc : json_opt_bool(json, "strip_right", "normalizer", &step->strips_right, err);
}

static void apply_strip(const struct step *step, struct codes *codes)
{
    size_t first = 0, n = codes->n;
    while (step->strips_left && first < n && text_is_white_space(codes->items[first]))
        first++;
    while (step->strips_right && n > first && text_is_white_space(codes->items[n - 1]))
        n--;
    if (first > 0 && n > first)
        memmove(codes->items, codes->items + first, (n - first) * sizeof(*codes->items));
    codes->n = n - first;
}

/* Nmt, ByteLevel, Precompiled -------------------------------------------------------------------------------------- */

/* Control characters out, kinds of white space to ' ', as sentencepiece's nmt rules have it. */
static void apply_nmt(const struct step *step, struct codes *codes)
{
    struct codes out = {0};
    (void)step;
    for (size_t i = 0; i < codes->n; i++) {
        int32_t c = codes->items[i];
        if ((c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f)
            continue;
        bool is_space = c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
                        c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
        codes_add(&out, is_space ? ' ' : c);
    }
    replace(codes, &out);
}

static void apply_byte_level(const struct step *step, struct codes *codes)
{
    struct codes out = {0};
    (void)step;
    for (size_t i = 0; i < codes->n; i++) {
        char bytes[4];
        size_t n = utf8_encode((uint32_t)codes->items[i], bytes);
        for (size_t k = 0; k < n; k++)
            codes_add(&out, byte_level_code((unsigned char)bytes[k]));
    }
    replace(codes, &out);
}

static int read_precompiled(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    const char *map = NULL;
    int rc = json_opt_string(json, "precompiled_charsmap", "normalizer", &map, err);
    return rc < 0 || !map || !map[0] ? rc : charsmap_read(&step->charsmap, map, &t->arena, err);
}

static void apply_precompiled(const struct step *step, struct codes *codes)
{
    if (step->charsmap)
        charsmap_apply(step->charsmap, codes);
}

const struct step_kind normalizer_kinds[] = {
    {.name = "BertNormalizer", .read = read_bert, .normalize = apply_bert},
    {.name = "Lowercase", .normalize = apply_lowercase},
    {.name = "StripAccents", .normalize = apply_strip_accents},
    {.name = "NFC", .normalize = apply_form},
    {.name = "NFD", .normalize = apply_form},
    {.name = "NFKC", .normalize = apply_form},
    {.name = "NFKD", .normalize = apply_form},
    {.name = "Prepend", .read = read_prepend, .normalize = apply_prepend},
    {.name = "Replace", .read = read_replace, .normalize = apply_replace},
    {.name = "Strip", .read = read_strip, .normalize = apply_strip},
    {.name = "Nmt", .normalize = apply_nmt},
    {.name = "ByteLevel", .normalize = apply_byte_level},
    {.name = "Precompiled", .read = read_precompiled, .normalize = apply_precompiled},
    {0}};

void tokenizer_normalize(const struct tokenizer *t, struct codes *codes)
{
    for (int i = 0; i < t->normalizers.n; i++)
        t->normalizers.items[i].kind->normalize(&t->normalizers.items[i], codes);
}
