/* Translating texts. */
#include "trainer/translate.h"

#include <string.h>

#include "trainer/method.h"
#include "trainer/methods/method_file.h"

/* Methods that look at whole sequences see them whole. */
static bool may_cache(const struct model *model, const cJSON *settings)
{
    return !model->carries_padding && !(settings && strcmp(setting_text(settings, "gating", "none"), "none") != 0) &&
           !(settings && methods_look_at_batch(settings));
}

int translator_open(struct translator *t, struct model *model, const struct tokenizer *tokenizer, const cJSON *settings,
                    const struct generation *options, int max_tokens, struct err *err)
{
    *t = (struct translator){.model = model, .tokenizer = tokenizer, .options = *options, .max_tokens = max_tokens};
    if (model->task != TASK_SEQ2SEQ)
        return err_set(err, ERR_UNSUPPORTED, "it translates with an encoder-decoder, the model is another");
    if (max_tokens < 1)
        return err_set(err, ERR_USAGE, "max_tokens: %d, 1 or more was expected", max_tokens);
    int most =
        model->max_positions > 0 && model->max_positions - 1 < max_tokens ? model->max_positions - 1 : max_tokens;
    t->options.max_new_tokens = most > 0 ? most : 1;
    t->options.uses_cache = options->uses_cache && may_cache(model, settings);
    int rc = generation_check(&t->options, err);
    if (rc == 0)
        rc = generation_ids_read(&t->ids, model, err);
    return rc < 0 ? rc : language_ids_read(&t->language, model, err);
}

void translator_close(struct translator *t)
{
    arena_done(&t->arena);
    *t = (struct translator){0};
}

int translate(struct translator *t, const char *text, uint32_t example, struct text *out, struct err *err)
{
    struct encoding encoding;
    int n = 0;
    arena_reset(&t->arena);
    int32_t *ids = arena_calloc(&t->arena, (size_t)t->options.max_new_tokens, sizeof(*ids));
    int rc = ids ? language_encode_source(t->tokenizer, &t->language, text, t->max_tokens, &t->arena, &encoding, err)
                 : err_set(err, ERR_NOMEM, "no memory for %d tokens", t->options.max_new_tokens);
    if (rc == 0 && encoding.n == 0)
        return 0; /* nothing of it is left: neither is of its translation */
    t->options.example = example;
    if (rc == 0)
        rc = generate(t->model, &t->ids, &t->options, encoding.ids, encoding.n, ids, &n, err);
    return rc < 0 ? rc : tokenizer_decode(t->tokenizer, ids, (size_t)n, true, out, err);
}
