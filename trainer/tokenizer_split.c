/* Pre-tokenizers: steps that cut a text into words. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "common/json.h"
#include "trainer/tokenizer_parts.h"

/* Cutting at matches ----------------------------------------------------------------------------------------------- */

struct cut {
    size_t start, end;
    bool is_match;
};

/* Stretches of a word that match and those between them, joined to words as the behavior says while they come. Joining
 * with the next one is done from the end, so all are collected first. */
struct cuts {
    struct cut *items;
    size_t n, capacity;
    bool failed;
};

static void add_cut(struct cuts *cuts, size_t start, size_t end, bool is_match)
{
    if (cuts->failed || start == end)
        return;
    if (cuts->n == cuts->capacity) {
        size_t capacity = cuts->capacity ? 2 * cuts->capacity : 64;
        struct cut *grown = realloc(cuts->items, capacity * sizeof(*grown));
        cuts->failed = grown == NULL;
        if (!grown)
            return;
        cuts->items = grown;
        cuts->capacity = capacity;
    }
    cuts->items[cuts->n++] = (struct cut){start, end, is_match};
}

static void join_same(struct cuts *cuts)
{
    size_t n = 0;
    for (size_t i = 0; i < cuts->n; i++)
        if (n > 0 && cuts->items[n - 1].is_match == cuts->items[i].is_match)
            cuts->items[n - 1].end = cuts->items[i].end;
        else
            cuts->items[n++] = cuts->items[i];
    cuts->n = n;
}

/* A match goes to what stands in front of it, unless that is a match too. */
static void join_previous(struct cuts *cuts)
{
    size_t n = 0;
    bool was_match = false;
    for (size_t i = 0; i < cuts->n; i++) {
        const struct cut cut = cuts->items[i];
        if (cut.is_match && !was_match && n > 0)
            cuts->items[n - 1].end = cut.end;
        else
            cuts->items[n++] = cut;
        was_match = cut.is_match;
    }
    cuts->n = n;
}

static void join_next(struct cuts *cuts)
{
    size_t first = cuts->n; /* joined ones stand at the end */
    bool was_match = false;
    for (size_t i = cuts->n; i-- > 0;) {
        const struct cut cut = cuts->items[i];
        if (cut.is_match && !was_match && first < cuts->n)
            cuts->items[first].start = cut.start;
        else
            cuts->items[--first] = cut;
        was_match = cut.is_match;
    }
    memmove(cuts->items, cuts->items + first, (cuts->n - first) * sizeof(*cuts->items));
    cuts->n -= first;
}

static void put_cuts(struct cuts *cuts, enum split_behavior behavior, const char *word, struct pieces *out)
{
    if (cuts->n && behavior == SPLIT_CONTIGUOUS)
        join_same(cuts);
    else if (cuts->n && behavior == SPLIT_MERGED_PREVIOUS)
        join_previous(cuts);
    else if (cuts->n && behavior == SPLIT_MERGED_NEXT)
        join_next(cuts);
    for (size_t i = 0; i < cuts->n; i++)
        if (behavior != SPLIT_REMOVED || !cuts->items[i].is_match)
            pieces_add(out, word + cuts->items[i].start, cuts->items[i].end - cuts->items[i].start);
    out->failed = out->failed || cuts->failed;
    free(cuts->items);
}

static void split_pattern(const struct tokenizer *t, const struct pattern *pattern, enum split_behavior behavior,
                          bool inverts, const char *word, size_t n, struct pieces *out)
{
    struct cuts cuts = {0};
    size_t at = 0, start, end;
    int found;
    bool is_plain = behavior == SPLIT_ISOLATED;
    while ((found = pattern_find(pattern, word, n, at, &start, &end)) > 0) {
        if (is_plain) {
            pieces_add(out, word + at, start - at);
            pieces_add(out, word + start, end - start);
        } else {
            add_cut(&cuts, at, start, inverts);
            add_cut(&cuts, start, end, !inverts);
        }
        at = end;
    }
    if (found < 0)
        t->work->failed = true;
    if (is_plain)
        pieces_add(out, word + at, n - at);
    else
        add_cut(&cuts, at, n, inverts);
    put_cuts(&cuts, behavior, word, out);
}

/* The same for single characters of a kind. */
static void split_codes(bool (*is_match)(const struct step *step, int32_t code), const struct step *step,
                        enum split_behavior behavior, const char *word, size_t n, struct pieces *out)
{
    struct cuts cuts = {0};
    size_t start = 0;
    for (size_t at = 0, length; at < n; at += length) {
        if (!is_match(step, (int32_t)utf8_decode(word + at, n - at, &length)))
            continue;
        add_cut(&cuts, start, at, false);
        add_cut(&cuts, at, at + length, true);
        start = at + length;
    }
    add_cut(&cuts, start, n, false);
    put_cuts(&cuts, behavior, word, out);
}

static int read_behavior(const cJSON *json, enum split_behavior *behavior, struct err *err)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = "Isolated";
    int rc = json_opt_string(json, "behavior", "pre_tokenizer", &name, err);
    for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0) {
            *behavior = (enum split_behavior)i;
            return 0;
        }
    return rc < 0 ? rc
                  : err_set(err, ERR_FORMAT,
                            "pre_tokenizer: behavior '%s', Removed, Isolated, MergedWithPrevious, MergedWithNext or "
                            "Contiguous was expected",
                            name);
}

/* White space and punctuation -------------------------------------------------------------------------------------- */

static bool is_space(const struct step *step, int32_t code)
{
    (void)step;
    return text_is_white_space(code);
}

static bool is_punctuation(const struct step *step, int32_t code)
{
    (void)step;
    return text_is_punctuation(code);
}

static void split_bert(const struct tokenizer *t, const struct step *step, const char *word, size_t n, bool begins_text,
                       struct pieces *out)
{
    size_t start = 0;
    (void)t, (void)step, (void)begins_text;
    for (size_t at = 0, length; at < n; at += length) {
        int32_t code = (int32_t)utf8_decode(word + at, n - at, &length);
        bool space = text_is_white_space(code), mark = !space && text_is_punctuation(code);
        if (!space && !mark)
            continue;
        pieces_add(out, word + start, at - start);
        if (mark)
            pieces_add(out, word + at, length);
        start = at + length;
    }
    pieces_add(out, word + start, n - start);
}

static void split_white_space(const struct tokenizer *t, const struct step *step, const char *word, size_t n,
                              bool begins_text, struct pieces *out)
{
    (void)t, (void)begins_text;
    split_codes(is_space, step, SPLIT_REMOVED, word, n, out);
}

static int read_punctuation(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    (void)t;
    return read_behavior(json, &step->behavior, err);
}

static void split_punctuation(const struct tokenizer *t, const struct step *step, const char *word, size_t n,
                              bool begins_text, struct pieces *out)
{
    (void)t, (void)begins_text;
    split_codes(is_punctuation, step, step->behavior, word, n, out);
}

/* Words of letters, digits and marks, and stretches of anything else but white space. */
static int read_whitespace(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    (void)t, (void)json;
    return pattern_open(&step->pattern, "[\\w\\x{200c}\\x{200d}]+|[^\\w\\s\\x{200c}\\x{200d}]+", "pre_tokenizer", err);
}

static void split_whitespace(const struct tokenizer *t, const struct step *step, const char *word, size_t n,
                             bool begins_text, struct pieces *out)
{
    (void)begins_text;
    split_pattern(t, step->pattern, SPLIT_REMOVED, true, word, n, out);
}

/* Digits ----------------------------------------------------------------------------------------------------------- */

static int read_digits(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    (void)t;
    return json_opt_bool(json, "individual_digits", "pre_tokenizer", &step->individual, err);
}

static bool is_numeric(const struct step *step, int32_t code)
{
    (void)step;
    if (code < 128)
        return code >= '0' && code <= '9';
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

static void split_digits(const struct tokenizer *t, const struct step *step, const char *word, size_t n,
                         bool begins_text, struct pieces *out)
{
    (void)t, (void)begins_text;
    split_codes(is_numeric, step, step->individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, word, n, out);
}

/* Split ------------------------------------------------------------------------------------------------------------ */

static int read_split(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    int rc = step_read_pattern(t, step, json, "pre_tokenizer", err);
    if (rc == 0)
        rc = read_behavior(json, &step->behavior, err);
    return rc < 0 ? rc : json_opt_bool(json, "invert", "pre_tokenizer", &step->inverts, err);
}

static void split_text(const struct tokenizer *t, const struct step *step, const char *word, size_t n, bool begins_text,
                       struct pieces *out)
{
    struct cuts cuts = {0};
    size_t m = step->text ? strlen(step->text) : 0, start = 0;
    (void)begins_text;
    if (step->pattern) {
        split_pattern(t, step->pattern, step->behavior, step->inverts, word, n, out);
        return;
    }
    for (size_t at = 0; at < n;) {
        if (n - at < m || memcmp(word + at, step->text, m) != 0) {
            at++;
            continue;
        }
        add_cut(&cuts, start, at, step->inverts);
        add_cut(&cuts, at, at + m, !step->inverts);
        start = at += m;
    }
    add_cut(&cuts, start, n, step->inverts);
    put_cuts(&cuts, step->behavior, word, out);
}

static int read_delimiter(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    const char *delimiter;
    int rc = json_get_string(json, "delimiter", "pre_tokenizer", &delimiter, err);
    if (rc == 0 && !delimiter[0])
        rc = err_set(err, ERR_FORMAT, "pre_tokenizer: the delimiter is empty");
    if (rc == 0 && !(step->text = arena_strdup(&t->arena, delimiter)))
        rc = err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    return rc;
}

/* Metaspace: ' ' is a character of the alphabet, "▁", and a word begins with it -------------------------------------
 */

static int read_scheme(const cJSON *json, enum prepend_scheme *scheme, struct err *err)
{
    bool adds = true;
    const char *name = NULL;
    int rc = json_opt_bool(json, "add_prefix_space", "pre_tokenizer", &adds, err);
    if (rc == 0)
        rc = json_opt_string(json, "prepend_scheme", "pre_tokenizer", &name, err);
    if (rc < 0)
        return rc;
    name = name ? name : adds ? "always" : "never";
    if (strcmp(name, "always") == 0)
        *scheme = PREPEND_ALWAYS;
    else if (strcmp(name, "first") == 0)
        *scheme = PREPEND_FIRST;
    else if (strcmp(name, "never") == 0)
        *scheme = PREPEND_NEVER;
    else
        return err_set(err, ERR_FORMAT, "pre_tokenizer: prepend_scheme '%s', always, first or never was expected",
                       name);
    return 0;
}

static int read_metaspace(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    const char *replacement = "\u2581";
    size_t length = 0;
    step->splits = true;
    int rc = json_opt_string(json, "replacement", "pre_tokenizer", &replacement, err);
    if (rc == 0 && (replacement[0] == '\0' ||
                    (utf8_decode(replacement, strlen(replacement), &length), replacement[length] != '\0')))
        rc = err_set(err, ERR_FORMAT, "pre_tokenizer: replacement '%s', one character was expected", replacement);
    if (rc == 0)
        rc = read_scheme(json, &step->scheme, err);
    if (rc == 0)
        rc = json_opt_bool(json, "split", "pre_tokenizer", &step->splits, err);
    if (rc == 0 && !(step->text = arena_strdup(&t->arena, replacement)))
        rc = err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    return rc;
}

static void split_metaspace(const struct tokenizer *t, const struct step *step, const char *word, size_t n,
                            bool begins_text, struct pieces *out)
{
    size_t m = strlen(step->text), start = out->n;
    bool has_it = n > 0 && (word[0] == ' ' || (n >= m && memcmp(word, step->text, m) == 0));
    bool prepends = step->scheme == PREPEND_ALWAYS || (step->scheme == PREPEND_FIRST && begins_text);
    (void)t;
    if (prepends && !has_it)
        pieces_add_text(out, step->text, m);
    /* A word ends in front of each replacement: a match goes to what follows, but not to another match. */
    for (size_t at = 0, run; at < n; at += run) {
        bool is_one = word[at] == ' ', is_own = !is_one && n - at >= m && memcmp(word + at, step->text, m) == 0;
        run = is_own ? m : 1;
        if (step->splits && (is_one || is_own)) {
            pieces_end_word(out, start);
            start = out->n;
        }
        while (!is_one && !is_own && at + run < n && word[at + run] != ' ' && word[at + run] != step->text[0])
            run++;
        pieces_add_text(out, is_one ? step->text : word + at, is_one ? m : run);
    }
    pieces_end_word(out, start);
}

/* ByteLevel -------------------------------------------------------------------------------------------------------- */

/* Printable bytes stand for themselves, the others for the code points from 256 on, in order. */
int32_t byte_level_code(unsigned char byte)
{
    if ((byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad))
        return byte;
    if (byte <= ' ')
        return 256 + byte;
    return byte == 0xad ? 256 + 67 : 256 + 33 + byte - 0x7f;
}

int byte_level_byte(int32_t code)
{
    if (code < 256)
        return code >= 0 && byte_level_code((unsigned char)code) == code ? code : -1;
    if (code > 256 + 67)
        return -1;
    return code == 256 + 67 ? 0xad : code <= 256 + ' ' ? code - 256 : code - 256 - 33 + 0x7f;
}

static int read_byte_level(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    bool uses_pattern = true;
    (void)t;
    step->adds_space = true;
    int rc = json_opt_bool(json, "add_prefix_space", "pre_tokenizer", &step->adds_space, err);
    if (rc == 0)
        rc = json_opt_bool(json, "use_regex", "pre_tokenizer", &uses_pattern, err);
    return rc < 0 || !uses_pattern ? rc
                                   : pattern_open(&step->pattern,
                                                  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
                                                  "\\s+(?!\\S)|\\s+",
                                                  "pre_tokenizer", err);
}

static void add_bytes(struct pieces *out, const char *text, size_t n)
{
    char codes[512];
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (at > sizeof(codes) - 4) {
            pieces_add_text(out, codes, at);
            at = 0;
        }
        at += utf8_encode((uint32_t)byte_level_code((unsigned char)text[i]), codes + at);
    }
    pieces_add_text(out, codes, at);
}

static void add_byte_word(struct pieces *out, const char *text, size_t n)
{
    size_t start = out->n;
    add_bytes(out, text, n);
    pieces_end_word(out, start);
}

static void split_byte_level(const struct tokenizer *t, const struct step *step, const char *word, size_t n,
                             bool begins_text, struct pieces *out)
{
    char *spaced = NULL;
    size_t at = 0, start, end;
    int found = 0;
    (void)begins_text;
    if (step->adds_space && n > 0 && word[0] != ' ') {
        spaced = malloc(n + 1);
        if (!spaced) {
            out->failed = true;
            return;
        }
        spaced[0] = ' ';
        memcpy(spaced + 1, word, n++);
        word = spaced;
    }
    while (step->pattern && (found = pattern_find(step->pattern, word, n, at, &start, &end)) > 0) {
        add_byte_word(out, word + at, start - at);
        add_byte_word(out, word + start, end - start);
        at = end;
    }
    add_byte_word(out, word + at, n - at);
    if (found < 0)
        t->work->failed = true;
    free(spaced);
}

const struct step_kind pre_tokenizer_kinds[] = {
    {.name = "BertPreTokenizer", .split = split_bert},
    {.name = "WhitespaceSplit", .split = split_white_space},
    {.name = "Whitespace", .read = read_whitespace, .split = split_whitespace},
    {.name = "Punctuation", .read = read_punctuation, .split = split_punctuation},
    {.name = "Digits", .read = read_digits, .split = split_digits},
    {.name = "Split", .read = read_split, .split = split_text},
    {.name = "CharDelimiterSplit", .read = read_delimiter, .split = split_text},
    {.name = "Metaspace", .read = read_metaspace, .split = split_metaspace},
    {.name = "ByteLevel", .read = read_byte_level, .split = split_byte_level},
    {0}};
