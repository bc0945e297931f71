/* What a tokenizer is made of: the parts that its files share, and the tables of kinds.
 *
 * A text becomes ids in five stages: added tokens are cut out; normalizers, a list of steps on code points; added
 * tokens that are looked for after normalizing; pre-tokenizers, a list of steps that cut the text into words; and the
 * model, which makes ids of a word. A kind of model, normalizer or pre-tokenizer is a row of a table. */
#ifndef TRAINER_TOKENIZER_PARTS_H
#define TRAINER_TOKENIZER_PARTS_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "common/table.h"
#include "trainer/tokenizer.h"
#include "trainer/tokenizer_text.h"

enum {
    TOKENIZER_MAX_STEPS = 16,
    TOKENIZER_MAX_TEMPLATE = 16,
    TOKENIZER_MAX_DEPTH = 4,         /* of sequences within sequences */
    TOKENIZER_MAX_TEXT = 1 << 28,    /* bytes of one text */
    TOKENIZER_MAX_CHARSMAP = 4 << 20 /* bytes of a map of characters */
};

/* Texts and their pieces ------------------------------------------------------------------------------------------- */

struct span {
    size_t start, n; /* bytes */
};

/* A text cut into words: UTF-8, the words one behind the other. Heap, released with pieces_done. */
struct pieces {
    char *text;
    size_t n, capacity;
    struct span *spans;
    size_t n_spans, spans_capacity;
    bool failed; /* memory is used up */
};

/* Text behind what is there; the last n bytes, from `start` on, become a word (an empty one does not). */
void pieces_add_text(struct pieces *pieces, const char *text, size_t n);
void pieces_end_word(struct pieces *pieces, size_t start);
void pieces_add(struct pieces *pieces, const char *text, size_t n);
void pieces_reset(struct pieces *pieces);
void pieces_done(struct pieces *pieces);

/* Patterns --------------------------------------------------------------------------------------------------------- */

struct pattern; /* a regular expression */

/* Compiles a regular expression of tokenizer.json; `where` is for messages. ERR_UNSUPPORTED for what is not
 * understood. */
int pattern_open(struct pattern **pattern, const char *expression, const char *where, struct err *err) MUST_CHECK;
void pattern_close(struct pattern *pattern); /* NULL is fine */
/* The first match at or behind `from`: [*start, *end), never empty. 1, 0 when there is none, −1 when the limit of work
 * is reached. */
int pattern_find(const struct pattern *pattern, const char *text, size_t n, size_t from, size_t *start, size_t *end);

/* Steps ------------------------------------------------------------------------------------------------------------ */

enum split_behavior { SPLIT_REMOVED, SPLIT_ISOLATED, SPLIT_MERGED_PREVIOUS, SPLIT_MERGED_NEXT, SPLIT_CONTIGUOUS };
enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct charsmap; /* see tokenizer_charsmap.c */

/* A normalizer, a pre-tokenizer or a decoder, with its options. */
struct step {
    const struct step_kind *kind;
    struct bert_normalizer bert;
    struct pattern *pattern; /* owned: closed with the tokenizer */
    const char *text;        /* what is looked for, or put in front */
    const char *content;     /* what takes its place */
    struct charsmap *charsmap;
    enum split_behavior behavior;
    enum prepend_scheme scheme;
    bool strips_left, strips_right, inverts, splits, adds_space, individual, cleans_up;
    int start, stop; /* how many are stripped */
};

struct step_kind {
    const char *name;
    int (*read)(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err); /* NULL: no options */
    void (*normalize)(const struct step *step, struct codes *codes);
    /* One word of `in` at a time: text of `word` to the words of `out`. */
    void (*split)(const struct tokenizer *t, const struct step *step, const char *word, size_t n, bool begins_text,
                  struct pieces *out);
    void (*decode)(const struct step *step, struct pieces *pieces, struct pieces *out);
};

struct steps {
    struct step items[TOKENIZER_MAX_STEPS];
    int n;
};

extern const struct step_kind normalizer_kinds[], pre_tokenizer_kinds[], decoder_kinds[]; /* end with a NULL name */

/* Reads a component and its sequences (`list_key`: "normalizers") into steps. A missing or null one gives none. */
int steps_read(struct tokenizer *t, struct steps *steps, const struct step_kind *kinds, const char *component,
               const char *list_key, const cJSON *json, struct err *err) MUST_CHECK;
void steps_done(struct steps *steps);
/* {"String": s} → step->text, or {"Regex": s} → step->pattern. */
int step_read_pattern(struct tokenizer *t, struct step *step, const cJSON *json, const char *where,
                      struct err *err) MUST_CHECK;

/* A map of characters as sentencepiece compiles it: base64 of a trie and the texts it leads to. The arena's. */
int charsmap_read(struct charsmap **map, const char *base64, struct arena *arena, struct err *err) MUST_CHECK;
int charsmap_make(struct charsmap **map, const unsigned char *data, size_t n, struct arena *arena,
                  struct err *err) MUST_CHECK;
void charsmap_apply(const struct charsmap *map, struct codes *codes);

/* Byte-level alphabets: each byte is a code point of its own that can be seen.   Radford et al. 2019 */
int32_t byte_level_code(unsigned char byte);
int byte_level_byte(int32_t code); /* −1: stands for no byte */

/* Vocabulary ------------------------------------------------------------------------------------------------------- */

struct token {
    const char *text;
    size_t n;
    int32_t id;
    bool is_added; /* no token of the model's */
    UT_hash_handle hh;
};

struct added {
    const char *text;
    size_t n;
    int32_t id;
    bool is_special, is_single_word, strips_left, strips_right, is_normalized;
};

struct model_type {
    const char *name;
    int (*read)(struct tokenizer *t, const cJSON *json, struct err *err);
    /* Appends a word's ids. */
    void (*encode)(const struct tokenizer *t, const char *word, size_t n, struct codes *ids);
    bool is_cached; /* ids of words are remembered */
};

extern const struct model_type tokenizer_word_piece, tokenizer_word_level, tokenizer_bpe, tokenizer_unigram;

/* A piece of the post-processor's template: a special token, or the first or second text. */
struct piece {
    bool is_text;
    int text;     /* 0 or 1 */
    int32_t id;   /* of the special token */
    uint8_t type; /* type id of what it stands for */
};

struct template
{
    struct piece pieces[TOKENIZER_MAX_TEMPLATE];
    int n, n_special;
};

struct word_cache;

/* Memory for encoding, reused from text to text. */
struct workspace {
    struct pieces words, other;
    struct codes codes;
    struct word_cache *cache;
    void *memory; /* the model's */
    size_t memory_bytes;
    bool failed; /* memory is used up, or a pattern gave up */
};

struct tokenizer {
    struct arena arena;
    struct steps normalizers, pre_tokenizers, decoders;
    const struct model_type *type;
    void *model; /* the kind's own (arena) */
    struct token *vocabulary, *free_tokens;
    size_t n_free_tokens, n_free_bytes;
    char *free_bytes;
    const char **texts; /* of each id, NULL: none */
    int32_t unknown;    /* −1: none */
    struct added *added;
    int n_added, vocab_size;
    bool has_normalized_added;
    bool added_first[256]; /* some added token begins with this byte */
    struct template single, pair;
    struct workspace *work; /* so one tokenizer serves one thread at a time */
};

/* Makes room for so many tokens with so many bytes of text (each with its NUL) in all. */
int vocabulary_reserve(struct tokenizer *t, size_t n_tokens, size_t n_bytes, struct err *err) MUST_CHECK;
/* Adds a token; the same text again must have the same id. */
int vocabulary_add(struct tokenizer *t, const char *text, int32_t id, bool is_added, struct err *err) MUST_CHECK;
/* A token of the model, or NULL; the id of any token. */
const struct token *vocabulary_find(const struct tokenizer *t, const char *text, size_t n);
int vocabulary_id(const struct tokenizer *t, const char *text, const char *where, int32_t *id,
                  struct err *err) MUST_CHECK;
/* A whole number that can be an id. */
int vocabulary_read_id(const cJSON *item, const char *where, int32_t *id, struct err *err) MUST_CHECK;
/* The object {text: id}. */
int vocabulary_read(struct tokenizer *t, const cJSON *json, struct err *err) MUST_CHECK;

int added_read(struct tokenizer *t, const cJSON *list, struct err *err) MUST_CHECK;
/* Calls `rest` for the stretches of text between added tokens and puts the ids of those between them. */
typedef void added_rest(struct tokenizer *t, const char *text, size_t n, bool begins_text, struct codes *ids);
void added_cut(struct tokenizer *t, const char *text, size_t n, bool is_normalized, bool begins_text, added_rest *rest,
               struct codes *ids);
/* Puts normalizers' results in place of the texts of added tokens that are looked for after normalizing. */
int added_normalize(struct tokenizer *t, struct err *err) MUST_CHECK;

int template_read(struct tokenizer *t, const cJSON *json, struct err *err) MUST_CHECK;

void tokenizer_normalize(const struct tokenizer *t, struct codes *codes);
/* At least `bytes` of the workspace for the model; NULL (and failed) when memory is used up. */
void *workspace_memory(struct workspace *work, size_t bytes);

#endif
