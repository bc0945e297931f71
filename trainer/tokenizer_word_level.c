/* WordLevel: a word is a token, or unknown. */
#include "common/json.h"
#include "trainer/tokenizer_parts.h"

static int word_level_read(struct tokenizer *t, const cJSON *json, struct err *err)
{
    const cJSON *vocabulary;
    const char *unknown = NULL;
    int rc = json_get_object(json, "vocab", "model", &vocabulary, err);
    if (rc == 0)
        rc = vocabulary_read(t, vocabulary, err);
    if (rc == 0)
        rc = json_get_string(json, "unk_token", "model", &unknown, err);
    return rc < 0 || !unknown ? rc : vocabulary_id(t, unknown, "model.unk_token", &t->unknown, err);
}

static void word_level_encode(const struct tokenizer *t, const char *word, size_t n, struct codes *ids)
{
    const struct token *token = vocabulary_find(t, word, n);
    codes_add(ids, token ? token->id : t->unknown);
}

const struct model_type tokenizer_word_level = {"WordLevel", word_level_read, word_level_encode, false};
