/* A tokenizer: reading tokenizer.json, and encoding with what was read. */
#include "trainer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/hash.h"
#include "common/json.h"
#include "trainer/gguf.h"
#include "trainer/tokenizer_parts.h"

static const struct model_type *const model_types[] = {&tokenizer_word_piece, &tokenizer_word_level, &tokenizer_bpe,
                                                       &tokenizer_unigram, NULL};

/* Words that were encoded before: a word goes to one place, by its hash, and takes it from the one that was there. */
enum { CACHE_PLACES = 1 << 13, CACHE_WORD_BYTES = 44, CACHE_IDS = 11 };

struct cached_word {
    unsigned hash;
    uint8_t n_bytes, n_ids; /* n_bytes 0: the place is free */
    char bytes[CACHE_WORD_BYTES];
    int32_t ids[CACHE_IDS];
};

struct word_cache {
    struct cached_word places[CACHE_PLACES];
};

/* Reading ---------------------------------------------------------------------------------------------------------- */

static int read_model(struct tokenizer *t, const cJSON *json, struct err *err)
{
    const char *type;
    int rc = json_get_string(json, "type", "model", &type, err);
    if (rc < 0)
        return rc;
    for (const struct model_type *const *kind = model_types; *kind; kind++)
        if (strcmp((*kind)->name, type) == 0) {
            t->type = *kind;
            return t->type->read(t, json, err);
        }
    return err_set(err, ERR_UNSUPPORTED, "model: '%s' is not built in (WordPiece, WordLevel, BPE and Unigram are)",
                   type);
}

static int read_json(struct tokenizer *t, const cJSON *json, struct err *err)
{
    const cJSON *model;
    int rc = cJSON_IsObject(json)
                 ? json_get_object(json, "model", "tokenizer.json", &model, err)
                 : err_set(err, ERR_FORMAT, "%s was found, an object was expected", json_type_name(json));
    if (rc == 0)
        rc = read_model(t, model, err);
    if (rc == 0)
        rc = added_read(t, json_get(json, "added_tokens"), err);
    if (rc == 0)
        rc = steps_read(t, &t->normalizers, normalizer_kinds, "normalizer", "normalizers", json_get(json, "normalizer"),
                        err);
    if (rc == 0)
        rc = steps_read(t, &t->pre_tokenizers, pre_tokenizer_kinds, "pre_tokenizer", "pretokenizers",
                        json_get(json, "pre_tokenizer"), err);
    if (rc == 0)
        rc = steps_read(t, &t->decoders, decoder_kinds, "decoder", "decoders", json_get(json, "decoder"), err);
    return rc < 0 ? rc : template_read(t, json_get(json, "post_processor"), err);
}

/* What follows from all parts together. */
static int finish(struct tokenizer *t, struct err *err)
{
    t->texts = arena_calloc(&t->arena, (size_t)t->vocab_size + 1, sizeof(*t->texts));
    if (!t->texts)
        return err_set(err, ERR_NOMEM, "no memory for the vocabulary");
    for (const struct token *token = t->vocabulary; token; token = token->hh.next)
        t->texts[token->id] = token->text;
    if (t->type->is_cached && !(t->work->cache = calloc(1, sizeof(*t->work->cache))))
        return err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    int rc = added_normalize(t, err);
    for (int i = 0; rc == 0 && i < t->n_added; i++)
        t->texts[t->added[i].id] = t->added[i].text;
    return rc;
}

static struct tokenizer *tokenizer_new(void)
{
    struct tokenizer *t = calloc(1, sizeof(*t));
    if (t && !(t->work = calloc(1, sizeof(*t->work)))) {
        free(t);
        return NULL;
    }
    if (t)
        t->unknown = -1;
    return t;
}

/* What tokenizer.json says, or the metadata of the folder's GGUF file when there is none; `path` (heap, owned by the
 * caller) is where it was found. */
static int read_description(const char *folder, cJSON **json, char **path, struct err *err)
{
    struct gguf *gguf = NULL;
    char *own = file_join(folder, "tokenizer.json"), *other = NULL;
    if (!own)
        return err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    if (file_exists(own)) {
        *path = own;
        return json_read_file(own, json, err);
    }
    free(own);
    int rc = gguf_find(&other, folder, err);
    if (rc < 0 || !other)
        return rc < 0 ? rc : hash_no_tokenizer(folder, err);
    *path = other;
    rc = gguf_open(&gguf, other, err);
    if (rc == 0 && (rc = gguf_tokenizer(gguf, json, err)) < 0)
        err_wrap(err, "'%s'", other);
    gguf_close(gguf);
    return rc;
}

int tokenizer_open(struct tokenizer **tokenizer, const char *folder, struct err *err)
{
    cJSON *json = NULL;
    char *path = NULL;
    struct tokenizer *t = tokenizer_new();
    int rc = t ? read_description(folder, &json, &path, err) : err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    if (rc == 0 && ((rc = read_json(t, json, err)) < 0 || (rc = finish(t, err)) < 0))
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
    steps_done(&tokenizer->normalizers);
    steps_done(&tokenizer->pre_tokenizers);
    steps_done(&tokenizer->decoders);
    pieces_done(&tokenizer->work->words);
    pieces_done(&tokenizer->work->other);
    codes_done(&tokenizer->work->codes);
    free(tokenizer->work->cache);
    free(tokenizer->work->memory);
    free(tokenizer->work);
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

int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text)
{
    struct token *token = NULL;
    HASH_FIND_STR(tokenizer->vocabulary, text, token);
    return token ? token->id : -1;
}

/* Encoding --------------------------------------------------------------------------------------------------------- */

static void encode_word(const struct tokenizer *t, const char *word, size_t n, struct codes *ids)
{
    struct word_cache *cache = t->work->cache;
    unsigned hash;
    if (!cache || n > CACHE_WORD_BYTES) {
        t->type->encode(t, word, n, ids);
        return;
    }
    HASH_JEN(word, n, hash);
    struct cached_word *place = &cache->places[hash % CACHE_PLACES];
    if (place->n_bytes == n && place->hash == hash && memcmp(place->bytes, word, n) == 0) {
        for (int i = 0; i < place->n_ids; i++)
            codes_add(ids, place->ids[i]);
        return;
    }
    size_t first = ids->n;
    t->type->encode(t, word, n, ids);
    if (t->work->failed || ids->failed || ids->n - first > CACHE_IDS)
        return;
    place->hash = hash;
    place->n_bytes = (uint8_t)n;
    place->n_ids = (uint8_t)(ids->n - first);
    memcpy(place->bytes, word, n);
    if (ids->n > first)
        memcpy(place->ids, ids->items + first, (ids->n - first) * sizeof(*ids->items));
}

static void encode_words(struct tokenizer *t, const char *text, size_t n, bool begins_text, struct codes *ids)
{
    struct workspace *work = t->work;
    if (t->pre_tokenizers.n == 0) {
        encode_word(t, text, n, ids);
        return;
    }
    bool begins = begins_text && n > 0;
    char first = n > 0 ? text[0] : '\0';
    for (int i = 0; i < t->pre_tokenizers.n; i++) {
        const struct step *step = &t->pre_tokenizers.items[i];
        pieces_reset(&work->other);
        if (i == 0)
            step->kind->split(t, step, text, n, begins, &work->other);
        for (size_t s = 0; i > 0 && s < work->words.n_spans; s++)
            step->kind->split(t, step, work->words.text + work->words.spans[s].start, work->words.spans[s].n,
                              begins && s == 0, &work->other);
        struct pieces kept = work->words;
        work->words = work->other;
        work->other = kept;
        /* Its first word begins the text still, unless what stood in front was dropped. */
        begins = begins && work->words.n_spans && work->words.text[work->words.spans[0].start] == first;
    }
    for (size_t s = 0; s < work->words.n_spans; s++)
        encode_word(t, work->words.text + work->words.spans[s].start, work->words.spans[s].n, ids);
}

static void encode_normalized(struct tokenizer *t, const char *text, size_t n, bool begins_text, struct codes *ids)
{
    if (t->has_normalized_added)
        added_cut(t, text, n, true, begins_text, encode_words, ids);
    else if (n > 0)
        encode_words(t, text, n, begins_text, ids);
}

static void encode_stretch(struct tokenizer *t, const char *text, size_t n, bool begins_text, struct codes *ids)
{
    struct codes *codes = &t->work->codes;
    struct pieces normalized = {0};
    if (t->normalizers.n == 0) {
        encode_normalized(t, text, n, begins_text, ids);
        return;
    }
    codes->n = 0;
    for (size_t at = 0, length; at < n; at += length)
        codes_add(codes, (int32_t)utf8_decode(text + at, n - at, &length));
    tokenizer_normalize(t, codes);
    for (size_t i = 0; i < codes->n; i++) {
        char c[4];
        pieces_add_text(&normalized, c, utf8_encode((uint32_t)codes->items[i], c));
    }
    t->work->failed = t->work->failed || codes->failed || normalized.failed;
    if (normalized.n)
        encode_normalized(t, normalized.text, normalized.n, begins_text, ids);
    pieces_done(&normalized);
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

static int encode(const struct tokenizer *tokenizer, const struct template *template, const char *text,
                  const char *pair, int max_tokens, struct arena *arena, struct encoding *encoding, struct err *err)
{
    struct tokenizer *t = (struct tokenizer *)(uintptr_t)tokenizer; /* its workspace changes, nothing else */
    struct codes texts[2] = {{0}};
    struct encoding out = {0};
    int rc = 0;
    if (max_tokens < template->n_special)
        return err_set(err, ERR_USAGE, "%d tokens do not hold the %d special ones", max_tokens, template->n_special);
    if (strlen(text) > TOKENIZER_MAX_TEXT / 8 || (pair && strlen(pair) > TOKENIZER_MAX_TEXT / 8))
        return err_set(err, ERR_DATA, "a text is longer than %d bytes", TOKENIZER_MAX_TEXT / 8);
    t->work->failed = t->work->words.failed = t->work->other.failed = false;
    added_cut(t, text, strlen(text), false, true, encode_stretch, &texts[0]);
    if (pair)
        added_cut(t, pair, strlen(pair), false, true, encode_stretch, &texts[1]);
    size_t room = (size_t)(max_tokens - template->n_special);
    out.is_truncated = truncate_texts(texts, room);
    size_t n = texts[0].n + texts[1].n + (size_t) template->n_special;
    out.ids = arena_alloc(arena, (n ? n : 1) * sizeof(int32_t));
    out.type_ids = arena_alloc(arena, n ? n : 1);
    if (!out.ids || !out.type_ids || texts[0].failed || texts[1].failed || t->work->failed || t->work->words.failed ||
        t->work->other.failed)
        rc = err_set(err, ERR_NOMEM, "no memory for the tokens of a text, or its pattern gave up on it");
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
