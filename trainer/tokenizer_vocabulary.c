/* Token texts and their ids. */
#include <string.h>

#include "common/json.h"
#include "trainer/tokenizer_parts.h"

int vocabulary_reserve(struct tokenizer *t, size_t n_tokens, size_t n_bytes, struct err *err)
{
    if (n_tokens > TOKENIZER_MAX_VOCABULARY)
        return err_set(err, ERR_FORMAT, "the vocabulary has %zu tokens, at most %d are read", n_tokens,
                       TOKENIZER_MAX_VOCABULARY);
    t->free_tokens = arena_calloc(&t->arena, n_tokens + 1, sizeof(*t->free_tokens));
    t->free_bytes = arena_alloc(&t->arena, n_bytes + 1);
    t->n_free_tokens = n_tokens;
    t->n_free_bytes = n_bytes;
    return t->free_tokens && t->free_bytes ? 0 : err_set(err, ERR_NOMEM, "no memory for the vocabulary");
}

int vocabulary_add(struct tokenizer *t, const char *text, int32_t id, bool is_added, struct err *err)
{
    size_t n = strlen(text);
    struct token *token = NULL;
    HASH_FIND(hh, t->vocabulary, text, n, token);
    if (token)
        return token->id == id ? 0 : err_set(err, ERR_FORMAT, "token '%s' has the ids %d and %d", text, token->id, id);
    if (t->n_free_tokens == 0 || t->n_free_bytes < n + 1)
        return err_set(err, ERR_INTERNAL, "no room was made for token '%s'", text);
    token = t->free_tokens++;
    t->n_free_tokens--;
    memcpy(t->free_bytes, text, n + 1);
    *token = (struct token){.text = t->free_bytes, .n = n, .id = id, .is_added = is_added};
    t->free_bytes += n + 1;
    t->n_free_bytes -= n + 1;
    HASH_ADD_KEYPTR(hh, t->vocabulary, token->text, token->n, token);
    if (!token->hh.tbl)
        return err_set(err, ERR_NOMEM, "no memory for the vocabulary");
    t->vocab_size = id + 1 > t->vocab_size ? id + 1 : t->vocab_size;
    return 0;
}

const struct token *vocabulary_find(const struct tokenizer *t, const char *text, size_t n)
{
    struct token *token = NULL;
    HASH_FIND(hh, t->vocabulary, text, n, token);
    return token && !token->is_added ? token : NULL;
}

int vocabulary_id(const struct tokenizer *t, const char *text, const char *where, int32_t *id, struct err *err)
{
    int32_t found = tokenizer_find(t, text);
    if (found < 0)
        return err_set(err, ERR_FORMAT, "%s: '%s' is not in the vocabulary", where, text);
    *id = found;
    return 0;
}

int vocabulary_read_id(const cJSON *item, const char *where, int32_t *id, struct err *err)
{
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(value >= 0 && value < TOKENIZER_MAX_VOCABULARY) || value != (double)(int32_t)value)
        return err_set(err, ERR_FORMAT, "%s: an id from 0 to %d was expected", where, TOKENIZER_MAX_VOCABULARY - 1);
    *id = (int32_t)value;
    return 0;
}

int vocabulary_read(struct tokenizer *t, const cJSON *json, struct err *err)
{
    size_t n = 0, bytes = 0;
    for (const cJSON *item = json->child; item; item = item->next, n++)
        bytes += strlen(item->string) + 1;
    int rc = vocabulary_reserve(t, n, bytes, err);
    for (const cJSON *item = json->child; item && rc == 0; item = item->next) {
        int32_t id = 0;
        rc = vocabulary_read_id(item, "model.vocab", &id, err);
        if (rc == 0)
            rc = vocabulary_add(t, item->string, id, false, err);
    }
    return rc;
}
