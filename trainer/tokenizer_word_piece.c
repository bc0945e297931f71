/* WordPiece: greedy longest match from the left; a word with any part outside the vocabulary is unknown as a whole.
 * Wu et al. 2016, arXiv:1609.08144 */
#include <string.h>

#include "common/json.h"
#include "trainer/tokenizer_parts.h"

enum { MAX_WORD_CODES = 512, MAX_PREFIX = 16 };

struct word_piece {
    char prefix[MAX_PREFIX + 1]; /* of a word's later pieces: "##" */
    size_t n_prefix, max_codes;
};

static int word_piece_read(struct tokenizer *t, const cJSON *json, struct err *err)
{
    const cJSON *vocabulary;
    const char *unknown, *prefix = "##";
    int64_t max_codes = 100;
    struct word_piece *model = arena_calloc(&t->arena, 1, sizeof(*model));
    int rc = model ? json_get_object(json, "vocab", "model", &vocabulary, err)
                   : err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    if (rc == 0)
        rc = vocabulary_read(t, vocabulary, err);
    if (rc == 0)
        rc = json_get_string(json, "unk_token", "model", &unknown, err);
    if (rc == 0)
        rc = vocabulary_id(t, unknown, "model.unk_token", &t->unknown, err);
    if (rc == 0)
        rc = json_opt_string(json, "continuing_subword_prefix", "model", &prefix, err);
    if (rc == 0)
        rc = json_opt_int64(json, "max_input_chars_per_word", "model", &max_codes, err);
    if (rc == 0 && (max_codes < 1 || max_codes > MAX_WORD_CODES))
        rc = err_set(err, ERR_FORMAT, "model.max_input_chars_per_word: %lld, 1 to %d was expected",
                     (long long)max_codes, MAX_WORD_CODES);
    if (rc == 0 && strlen(prefix) > MAX_PREFIX)
        rc = err_set(err, ERR_FORMAT, "model.continuing_subword_prefix: '%s' is longer than %d bytes", prefix,
                     MAX_PREFIX);
    if (rc < 0)
        return rc;
    model->n_prefix = strlen(prefix);
    memcpy(model->prefix, prefix, model->n_prefix + 1);
    model->max_codes = (size_t)max_codes;
    t->model = model;
    return 0;
}

static bool is_start(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80; /* of a code point */
}

static bool is_too_long(const char *word, size_t n, size_t max_codes)
{
    size_t codes = 0;
    for (size_t i = 0; i < n; i++)
        codes += is_start(word[i]);
    return codes > max_codes;
}

static void word_piece_encode(const struct tokenizer *t, const char *word, size_t n, struct codes *ids)
{
    const struct word_piece *model = t->model;
    size_t kept = ids->n, start = 0;
    char text[MAX_PREFIX + 4 * MAX_WORD_CODES];
    if (is_too_long(word, n, model->max_codes)) {
        codes_add(ids, t->unknown);
        return;
    }
    while (start < n) {
        const struct token *found = NULL;
        size_t end = n, at = start ? model->n_prefix : 0;
        memcpy(text, model->prefix, at);
        memcpy(text + at, word + start, n - start);
        while (end > start && !(found = vocabulary_find(t, text, at + end - start)))
            do
                end--;
            while (end > start && !is_start(word[end]));
        if (!found) {
            ids->n = kept;
            codes_add(ids, t->unknown);
            return;
        }
        codes_add(ids, found->id);
        start = end;
    }
}

const struct model_type tokenizer_word_piece = {"WordPiece", word_piece_read, word_piece_encode, false};
