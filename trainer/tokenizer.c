/* tokenizer.json: reading it, and encoding with it. */
#include "trainer/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/file.h"
#include "common/hash.h"
#include "common/json.h"
#include "trainer/tokenizer_text.h"

enum normalizer_kind { NORMALIZER_BERT, NORMALIZER_LOWERCASE, NORMALIZER_STRIP_ACCENTS, NORMALIZER_FORM };
enum pre_tokenizer_kind { PRE_TOKENIZER_NONE, PRE_TOKENIZER_BERT, PRE_TOKENIZER_WHITESPACE_SPLIT };
enum { MAX_NORMALIZERS = 8, MAX_TEMPLATE = 16, MAX_WORD_BYTES = 4096 };

struct normalizer {
    enum normalizer_kind kind;
    struct bert_normalizer bert;
    const char *form;
};

struct token {
    const char *text;
    int32_t id;
    UT_hash_handle hh;
};

struct added {
    const char *text;
    size_t n;
    int32_t id;
};

/* A piece of the post-processor's template: a special token, or the first or second text. */
struct piece {
    bool is_text;
    int text;     /* 0 or 1 */
    int32_t id;   /* of the special token */
    uint8_t type; /* type id of what it stands for */
};

struct template
{
    struct piece pieces[MAX_TEMPLATE];
    int n, n_special;
};

struct tokenizer {
    struct arena arena;
    struct normalizer normalizers[MAX_NORMALIZERS];
    int n_normalizers;
    enum pre_tokenizer_kind pre_tokenizer;
    bool is_word_piece;
    struct token *vocabulary;
    int32_t unknown;
    const char *prefix; /* of a word's later pieces: "##" */
    int max_word_codes;
    struct added *added;
    int n_added, vocab_size;
    struct template single, pair;
};

/* Reading ---------------------------------------------------------------------------------------------------------- */

static int type_of(const cJSON *component, const char *where, const char **type, struct err *err)
{
    if (!cJSON_IsObject(component))
        return err_set(err, ERR_FORMAT, "%s: %s was found, an object was expected", where, json_type_name(component));
    return json_get_string(component, "type", where, type, err);
}

static int read_bert_normalizer(const cJSON *json, struct bert_normalizer *bert, struct err *err)
{
    *bert = (struct bert_normalizer){true, true, true, true};
    int rc = json_opt_bool(json, "clean_text", "normalizer", &bert->clean_text, err);
    if (rc == 0)
        rc = json_opt_bool(json, "handle_chinese_chars", "normalizer", &bert->handle_chinese_chars, err);
    if (rc == 0)
        rc = json_opt_bool(json, "lowercase", "normalizer", &bert->lowercase, err);
    bert->strip_accents = bert->lowercase; /* null: as lowercase */
    return rc < 0 ? rc : json_opt_bool(json, "strip_accents", "normalizer", &bert->strip_accents, err);
}

static int read_normalizer(struct tokenizer *t, const cJSON *json, int depth, struct err *err)
{
    const char *type;
    const cJSON *list;
    if (!json || cJSON_IsNull(json))
        return 0;
    int rc = type_of(json, "normalizer", &type, err);
    if (rc < 0)
        return rc;
    if (strcmp(type, "Sequence") == 0 && depth < 4) {
        rc = json_get_array(json, "normalizers", "normalizer", &list, err);
        for (const cJSON *item = rc == 0 ? list->child : NULL; item && rc == 0; item = item->next)
            rc = read_normalizer(t, item, depth + 1, err);
        return rc;
    }
    if (t->n_normalizers == MAX_NORMALIZERS)
        return err_set(err, ERR_UNSUPPORTED, "normalizer: more than %d in sequence", MAX_NORMALIZERS);
    struct normalizer *normalizer = &t->normalizers[t->n_normalizers++];
    if (strcmp(type, "BertNormalizer") == 0)
        return read_bert_normalizer(json, &normalizer->bert, err);
    if (strcmp(type, "Lowercase") == 0)
        normalizer->kind = NORMALIZER_LOWERCASE;
    else if (strcmp(type, "StripAccents") == 0)
        normalizer->kind = NORMALIZER_STRIP_ACCENTS;
    else if (strcmp(type, "NFC") == 0 || strcmp(type, "NFD") == 0 || strcmp(type, "NFKC") == 0 ||
             strcmp(type, "NFKD") == 0)
        *normalizer = (struct normalizer){.kind = NORMALIZER_FORM, .form = arena_strdup(&t->arena, type)};
    else
        return err_set(
            err, ERR_UNSUPPORTED,
            "normalizer: '%s' is not built in (BertNormalizer, Lowercase, StripAccents, NFC, NFD, NFKC, NFKD "
            "and Sequence are)",
            type);
    return 0;
}

static int read_pre_tokenizer(struct tokenizer *t, const cJSON *json, struct err *err)
{
    const char *type;
    if (!json || cJSON_IsNull(json))
        return 0;
    int rc = type_of(json, "pre_tokenizer", &type, err);
    if (rc < 0)
        return rc;
    if (strcmp(type, "BertPreTokenizer") == 0)
        t->pre_tokenizer = PRE_TOKENIZER_BERT;
    else if (strcmp(type, "WhitespaceSplit") == 0)
        t->pre_tokenizer = PRE_TOKENIZER_WHITESPACE_SPLIT;
    else
        return err_set(err, ERR_UNSUPPORTED,
                       "pre_tokenizer: '%s' is not built in (BertPreTokenizer and WhitespaceSplit are)", type);
    return 0;
}

static int read_id(const cJSON *item, const char *where, int32_t *id, struct err *err)
{
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (value < 0 || value >= TOKENIZER_MAX_VOCABULARY || value != (double)(int32_t)value)
        return err_set(err, ERR_FORMAT, "%s: an id from 0 to %d was expected", where, TOKENIZER_MAX_VOCABULARY - 1);
    *id = (int32_t)value;
    return 0;
}

static int add_token(struct tokenizer *t, const char *text, int32_t id, struct err *err)
{
    struct token *token = NULL;
    HASH_FIND_STR(t->vocabulary, text, token);
    if (token)
        return token->id == id ? 0 : err_set(err, ERR_FORMAT, "token '%s' has the ids %d and %d", text, token->id, id);
    token = arena_calloc(&t->arena, 1, sizeof(*token));
    if (!token || !(token->text = arena_strdup(&t->arena, text)))
        return err_set(err, ERR_NOMEM, "no memory for the vocabulary");
    token->id = id;
    HASH_ADD_KEYPTR(hh, t->vocabulary, token->text, strlen(token->text), token);
    t->vocab_size = id + 1 > t->vocab_size ? id + 1 : t->vocab_size;
    return 0;
}

static int find_id(const struct tokenizer *t, const char *text, const char *where, int32_t *id, struct err *err)
{
    struct token *token = NULL;
    HASH_FIND_STR(t->vocabulary, text, token);
    if (!token)
        return err_set(err, ERR_FORMAT, "%s: '%s' is not in the vocabulary", where, text);
    *id = token->id;
    return 0;
}

static int read_model(struct tokenizer *t, const cJSON *json, struct err *err)
{
    const char *type, *unknown, *prefix = "##";
    const cJSON *vocabulary;
    int64_t max_word = 100;
    int32_t id;
    int rc = type_of(json, "model", &type, err);
    if (rc < 0)
        return rc;
    t->is_word_piece = strcmp(type, "WordPiece") == 0;
    if (!t->is_word_piece && strcmp(type, "WordLevel") != 0)
        return err_set(err, ERR_UNSUPPORTED, "model: '%s' is not built in (WordPiece and WordLevel are)", type);
    rc = json_get_object(json, "vocab", "model", &vocabulary, err);
    for (const cJSON *item = rc == 0 ? vocabulary->child : NULL; item && rc == 0; item = item->next) {
        rc = read_id(item, "model.vocab", &id, err);
        if (rc == 0)
            rc = add_token(t, item->string, id, err);
    }
    if (rc == 0)
        rc = json_get_string(json, "unk_token", "model", &unknown, err);
    if (rc == 0)
        rc = find_id(t, unknown, "model.unk_token", &t->unknown, err);
    if (rc == 0)
        rc = json_opt_string(json, "continuing_subword_prefix", "model", &prefix, err);
    if (rc == 0)
        rc = json_opt_int64(json, "max_input_chars_per_word", "model", &max_word, err);
    if (rc == 0 && (max_word < 1 || max_word > MAX_WORD_BYTES / 8))
        rc = err_set(err, ERR_FORMAT, "model.max_input_chars_per_word: %lld, 1 to %d was expected", (long long)max_word,
                     MAX_WORD_BYTES / 8);
    if (rc == 0 && strlen(prefix) > 16)
        rc = err_set(err, ERR_FORMAT, "model.continuing_subword_prefix: '%s' is longer than 16 bytes", prefix);
    t->max_word_codes = (int)max_word;
    t->prefix = rc == 0 ? arena_strdup(&t->arena, prefix) : NULL;
    return rc;
}

static int read_added(struct tokenizer *t, const cJSON *list, struct err *err)
{
    static const char *const refused[] = {"single_word", "lstrip", "rstrip", "normalized"};
    if (!list || cJSON_IsNull(list))
        return 0;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > TOKENIZER_MAX_ADDED)
        return err_set(err, ERR_FORMAT, "added_tokens: a list of at most %d was expected", TOKENIZER_MAX_ADDED);
    t->added = arena_calloc(&t->arena, (size_t)cJSON_GetArraySize(list) + 1, sizeof(*t->added));
    if (!t->added)
        return err_set(err, ERR_NOMEM, "no memory for added tokens");
    for (const cJSON *item = list->child; item; item = item->next) {
        const char *content;
        int32_t id;
        int rc = cJSON_IsObject(item) ? json_get_string(item, "content", "added_tokens", &content, err)
                                      : err_set(err, ERR_FORMAT, "added_tokens: an object was expected");
        if (rc == 0)
            rc = read_id(json_get(item, "id"), "added_tokens.id", &id, err);
        for (size_t k = 0; k < 4 && rc == 0; k++)
            if (cJSON_IsTrue(json_get(item, refused[k])))
                rc = err_set(err, ERR_UNSUPPORTED, "added_tokens: '%s' has \"%s\": true, which is not built in",
                             content, refused[k]);
        if (rc == 0 && content[0] == '\0')
            rc = err_set(err, ERR_FORMAT, "added_tokens: a content is empty");
        if (rc == 0)
            rc = add_token(t, content, id, err);
        if (rc < 0)
            return rc;
        const char *text = arena_strdup(&t->arena, content);
        if (!text)
            return err_set(err, ERR_NOMEM, "no memory for added tokens");
        t->added[t->n_added++] = (struct added){text, strlen(text), id};
    }
    return 0;
}

static int add_piece(struct template *template, struct piece piece, struct err *err)
{
    if (template->n == MAX_TEMPLATE)
        return err_set(err, ERR_UNSUPPORTED, "post_processor: more than %d pieces", MAX_TEMPLATE);
    template->n_special += !piece.is_text;
    template->pieces[template->n++] = piece;
    return 0;
}

static int read_piece(const struct tokenizer *t, const cJSON *item, struct template *template, struct err *err)
{
    const cJSON *special = json_get(item, "SpecialToken"), *sequence = json_get(item, "Sequence");
    const cJSON *body = special ? special : sequence;
    const char *id;
    int64_t type = 0;
    struct piece piece = {.is_text = special == NULL};
    if (!body)
        return err_set(err, ERR_FORMAT, "post_processor: a piece is neither SpecialToken nor Sequence");
    int rc = json_get_string(body, "id", "post_processor", &id, err);
    if (rc == 0)
        rc = json_opt_int64(body, "type_id", "post_processor", &type, err);
    if (rc < 0)
        return rc;
    if (type < 0 || type > 1)
        return err_set(err, ERR_UNSUPPORTED, "post_processor: type_id %lld, 0 or 1 was expected", (long long)type);
    piece.type = (uint8_t)type;
    if (special)
        rc = find_id(t, id, "post_processor", &piece.id, err);
    else if (strcmp(id, "A") == 0 || strcmp(id, "B") == 0)
        piece.text = id[0] - 'A';
    else
        rc = err_set(err, ERR_FORMAT, "post_processor: sequence '%s', A or B was expected", id);
    return rc < 0 ? rc : add_piece(template, piece, err);
}

static int read_template(const struct tokenizer *t, const cJSON *json, const char *key, struct template *template,
                         struct err *err)
{
    const cJSON *list;
    int rc = json_get_array(json, key, "post_processor", &list, err);
    template->n = template->n_special = 0;
    for (const cJSON *item = rc == 0 ? list->child : NULL; item && rc == 0; item = item->next)
        rc = read_piece(t, item, template, err);
    return rc;
}

/* ["[SEP]", 102] of BertProcessing and RobertaProcessing. */
static int read_named(const cJSON *json, const char *key, int32_t *id, struct err *err)
{
    const cJSON *list;
    int rc = json_get_array(json, key, "post_processor", &list, err);
    return rc < 0 ? rc : read_id(list->child ? list->child->next : NULL, "post_processor", id, err);
}

static int read_fixed(struct tokenizer *t, const cJSON *json, bool is_roberta, struct err *err)
{
    int32_t cls, sep;
    int rc = read_named(json, "cls", &cls, err);
    if (rc == 0)
        rc = read_named(json, "sep", &sep, err);
    if (rc < 0)
        return rc;
    uint8_t second = is_roberta ? 0 : 1;
    const struct piece first = {.id = cls}, a = {.is_text = true}, end = {.id = sep};
    const struct piece b = {.is_text = true, .text = 1, .type = second}, last = {.id = sep, .type = second};
    t->single = (struct template){.pieces = {first, a, end}, .n = 3, .n_special = 2};
    if (is_roberta)
        t->pair = (struct template){.pieces = {first, a, end, end, b, last}, .n = 6, .n_special = 4};
    else
        t->pair = (struct template){.pieces = {first, a, end, b, last}, .n = 5, .n_special = 3};
    return 0;
}

static int read_post_processor(struct tokenizer *t, const cJSON *json, struct err *err)
{
    const char *type;
    const struct piece a = {.is_text = true}, b = {.is_text = true, .text = 1, .type = 1};
    t->single = (struct template){.pieces = {a}, .n = 1};
    t->pair = (struct template){.pieces = {a, b}, .n = 2};
    if (!json || cJSON_IsNull(json))
        return 0;
    int rc = type_of(json, "post_processor", &type, err);
    if (rc < 0)
        return rc;
    if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
        return read_fixed(t, json, type[0] == 'R', err);
    if (strcmp(type, "TemplateProcessing") != 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "post_processor: '%s' is not built in (TemplateProcessing, BertProcessing and RobertaProcessing "
                       "are)",
                       type);
    rc = read_template(t, json, "single", &t->single, err);
    return rc < 0 ? rc : read_template(t, json, "pair", &t->pair, err);
}

static int read_all(struct tokenizer *t, const cJSON *json, struct err *err)
{
    const cJSON *model;
    int rc = cJSON_IsObject(json)
                 ? json_get_object(json, "model", "tokenizer.json", &model, err)
                 : err_set(err, ERR_FORMAT, "%s was found, an object was expected", json_type_name(json));
    if (rc == 0)
        rc = read_model(t, model, err);
    if (rc == 0)
        rc = read_added(t, json_get(json, "added_tokens"), err);
    if (rc == 0)
        rc = read_normalizer(t, json_get(json, "normalizer"), 0, err);
    if (rc == 0)
        rc = read_pre_tokenizer(t, json_get(json, "pre_tokenizer"), err);
    return rc < 0 ? rc : read_post_processor(t, json_get(json, "post_processor"), err);
}

int tokenizer_open(struct tokenizer **tokenizer, const char *folder, struct err *err)
{
    cJSON *json = NULL;
    char *path = file_join(folder, "tokenizer.json");
    struct tokenizer *t = calloc(1, sizeof(*t));
    int rc = !path || !t          ? err_set(err, ERR_NOMEM, "no memory for the tokenizer")
             : !file_exists(path) ? hash_no_tokenizer(folder, err)
                                  : json_read_file(path, &json, err);
    if (rc == 0 && (rc = read_all(t, json, err)) < 0)
        err_wrap(err, "'%s'", path);
    json_free(json);
    free(path);
    if (rc < 0)
        tokenizer_close(t);
    else
        *tokenizer = t;
    return rc;
}

void tokenizer_close(struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    HASH_CLEAR(hh, tokenizer->vocabulary);
    arena_done(&tokenizer->arena);
    free(tokenizer);
}

int tokenizer_vocab_size(const struct tokenizer *tokenizer)
{
    return tokenizer->vocab_size;
}

int tokenizer_special_tokens(const struct tokenizer *tokenizer, bool is_pair)
{
    return is_pair ? tokenizer->pair.n_special : tokenizer->single.n_special;
}

/* Encoding --------------------------------------------------------------------------------------------------------- */

static size_t put_codes(const int32_t *codes, size_t n, char *out)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        at += utf8_encode((uint32_t)codes[i], out + at);
    return at;
}

static const struct token *look_up(const struct tokenizer *t, const char *text, size_t n)
{
    struct token *token = NULL;
    HASH_FIND(hh, t->vocabulary, text, n, token);
    return token;
}

/* Greedy longest match from the left; a word with any part outside the vocabulary is unknown as a whole.
 * Wu et al. 2016, arXiv:1609.08144 */
static void word_piece(const struct tokenizer *t, const int32_t *codes, size_t n, struct codes *ids)
{
    size_t kept = ids->n, start = 0, prefix = strlen(t->prefix);
    char text[MAX_WORD_BYTES];
    while (start < n) {
        const struct token *found = NULL;
        size_t end = n, at = start ? prefix : 0;
        memcpy(text, t->prefix, at);
        size_t bytes = at + put_codes(codes + start, n - start, text + at);
        while (end > start && !(found = look_up(t, text, bytes))) {
            char last[4];
            bytes -= utf8_encode((uint32_t)codes[--end], last);
        }
        if (!found) {
            ids->n = kept;
            codes_add(ids, t->unknown);
            return;
        }
        codes_add(ids, found->id);
        start = end;
    }
}

static void encode_word(const struct tokenizer *t, const int32_t *codes, size_t n, struct codes *ids)
{
    char text[MAX_WORD_BYTES];
    if (n == 0)
        return;
    if (t->is_word_piece) {
        if (n > (size_t)t->max_word_codes)
            codes_add(ids, t->unknown);
        else
            word_piece(t, codes, n, ids);
        return;
    }
    const struct token *token = n > MAX_WORD_BYTES / 4 ? NULL : look_up(t, text, put_codes(codes, n, text));
    codes_add(ids, token ? token->id : t->unknown);
}

static void normalize(const struct tokenizer *t, struct codes *codes)
{
    for (int i = 0; i < t->n_normalizers; i++) {
        const struct normalizer *normalizer = &t->normalizers[i];
        switch (normalizer->kind) {
        case NORMALIZER_BERT:
            text_normalize_bert(&normalizer->bert, codes);
            break;
        case NORMALIZER_LOWERCASE:
            text_lowercase(codes);
            break;
        case NORMALIZER_STRIP_ACCENTS:
            text_strip_marks(codes);
            break;
        case NORMALIZER_FORM:
            text_normal_form(normalizer->form, codes);
            break;
        }
    }
}

/* A stretch of text between added tokens. */
static void encode_stretch(const struct tokenizer *t, const char *text, size_t n, struct codes *ids)
{
    struct codes codes = {0};
    for (size_t at = 0; at < n;) {
        size_t length;
        codes_add(&codes, (int32_t)utf8_decode(text + at, n - at, &length));
        at += length;
    }
    normalize(t, &codes);
    size_t start = 0;
    for (size_t i = 0; i <= codes.n; i++) {
        bool is_end = i == codes.n, splits = !is_end && t->pre_tokenizer != PRE_TOKENIZER_NONE;
        bool is_space = splits && text_is_white_space(codes.items[i]);
        bool is_punctuation = splits && t->pre_tokenizer == PRE_TOKENIZER_BERT && text_is_punctuation(codes.items[i]);
        if (!is_end && !is_space && !is_punctuation)
            continue;
        if (i > start)
            encode_word(t, codes.items + start, i - start, ids);
        if (is_punctuation)
            encode_word(t, codes.items + i, 1, ids);
        start = i + 1;
    }
    ids->failed = ids->failed || codes.failed;
    codes_done(&codes);
}

/* The longest added token that begins at text, or NULL. */
static const struct added *added_at(const struct tokenizer *t, const char *text)
{
    const struct added *best = NULL;
    for (int i = 0; i < t->n_added; i++)
        if (t->added[i].text[0] == text[0] && strncmp(text, t->added[i].text, t->added[i].n) == 0 &&
            (!best || t->added[i].n > best->n))
            best = &t->added[i];
    return best;
}

static void encode_text(const struct tokenizer *t, const char *text, struct codes *ids)
{
    const char *start = text, *at = text;
    while (*at) {
        const struct added *added = added_at(t, at);
        if (!added) {
            at++;
            continue;
        }
        encode_stretch(t, start, (size_t)(at - start), ids);
        codes_add(ids, added->id);
        start = at += added->n;
    }
    encode_stretch(t, start, (size_t)(at - start), ids);
}

static void put(const struct template *template, const struct codes *texts, struct encoding *out)
{
    out->n = 0;
    for (int p = 0; p < template->n; p++) {
        const struct piece *piece = &template->pieces[p];
        const struct codes *text = &texts[piece->text];
        for (size_t i = 0; i < (piece->is_text ? text->n : 1); i++) {
            out->type_ids[out->n] = piece->type;
            out->ids[out->n++] = piece->is_text ? text->items[i] : piece->id;
        }
    }
}

/* Longest first: the shorter text stays whole while it fits into half the room; else both get half, and the longer one
 * (the second when equal) the odd token. */
static bool truncate_texts(struct codes *texts, size_t room)
{
    int shorter = texts[0].n > texts[1].n ? 1 : 0;
    struct codes *a = &texts[shorter], *b = &texts[1 - shorter];
    if (a->n + b->n <= room)
        return false;
    if (2 * a->n > room)
        a->n = room / 2;
    b->n = room - a->n;
    return true;
}

static int encode(const struct tokenizer *t, const struct template *template, const char *text, const char *pair,
                  int max_tokens, struct arena *arena, struct encoding *encoding, struct err *err)
{
    struct codes texts[2] = {{0}};
    struct encoding out = {0};
    int rc = 0;
    if (max_tokens < template->n_special)
        return err_set(err, ERR_USAGE, "%d tokens do not hold the %d special ones", max_tokens, template->n_special);
    encode_text(t, text, &texts[0]);
    if (pair)
        encode_text(t, pair, &texts[1]);
    size_t room = (size_t)(max_tokens - template->n_special);
    out.is_truncated = truncate_texts(texts, room);
    size_t n = texts[0].n + texts[1].n + (size_t) template->n_special;
    out.ids = arena_alloc(arena, (n ? n : 1) * sizeof(int32_t));
    out.type_ids = arena_alloc(arena, n ? n : 1);
    if (!out.ids || !out.type_ids || texts[0].failed || texts[1].failed)
        rc = err_set(err, ERR_NOMEM, "no memory for %zu tokens", n);
    if (rc == 0) {
        put(template, texts, &out);
        *encoding = out;
    }
    codes_done(&texts[0]);
    codes_done(&texts[1]);
    return rc;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, const char *pair, int max_tokens, struct arena *arena,
                     struct encoding *encoding, struct err *err)
{
    return encode(t, pair ? &t->pair : &t->single, text, pair, max_tokens, arena, encoding, err);
}

int tokenizer_encode_plain(const struct tokenizer *t, const char *text, int max_tokens, struct arena *arena,
                           struct encoding *encoding, struct err *err)
{
    static const struct template plain = {.pieces = {{.is_text = true}}, .n = 1};
    return encode(t, &plain, text, NULL, max_tokens, arena, encoding, err);
}
