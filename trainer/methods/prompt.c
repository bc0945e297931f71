/* Prompt tuning: P trained rows in every sequence, among the embedded words.   Lester et al. 2021, arXiv:2104.08691
 *
 * They stand in front of the first token or behind it. In front, a classifier that pools the first token reads the
 * prompt's first row instead: what PEFT does. Behind the position embeddings (space "hidden") is where AdapterHub puts
 * them. */
#include "trainer/methods/prompt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/methods/adapterhub_file.h"
#include "trainer/packed.h"
#include "trainer/tokenizer.h"

int prompt_length(const cJSON *settings)
{
    return (int)setting_number(settings, "prompt_length", 10);
}

int prompt_copies(const struct model *model)
{
    return strcmp(method_task_type(model), "SEQ_2_SEQ_LM") == 0 ? 2 : 1;
}

struct site *prompt_find_site(const struct model *model, enum site_kind kind, const char *role, bool is_decoder)
{
    for (size_t i = 0; i < model->n_sites; i++) {
        struct site *site = model->sites[i];
        if (site->kind == kind && (!role || strcmp(site->role, role) == 0) && site->is_decoder == is_decoder)
            return site;
    }
    return NULL;
}

int prompt_take_positions(struct model *model, int n, struct err *err)
{
    if (n >= model->max_positions)
        return err_set(err, ERR_UNSUPPORTED, "settings.prompt_length: %d leaves no room in the model's %d positions", n,
                       model->max_positions);
    model->max_positions -= n;
    return 0;
}

int prompt_new(struct model *model, const cJSON *settings, const struct method_kind *kind, struct prompt **prompt,
               struct err *err)
{
    struct prompt *made = arena_calloc(model->params.arena, 1, sizeof(*made));
    if (!made)
        return err_set(err, ERR_NOMEM, "no memory for a prompt");
    made->length = prompt_length(settings);
    made->behind_first = strcmp(setting_text(settings, "prompt_position", "first"), "behind_first") == 0;
    made->is_in_hidden = strcmp(setting_text(settings, "prompt_space", "words"), "hidden") == 0;
    *prompt = made;
    return method_keep(model, kind, made, err);
}

static struct value *rows_of(const struct prompt *prompt, struct pass *pass)
{
    struct value *rows = prompt_encoder_rows(&prompt->encoder, pass);
    return rows && rows->rows > prompt->length ? op_row_range(pass->tape, rows, 0, prompt->length) : rows;
}

static struct value *prompt_rows(void *state, struct pass *pass, bool *behind_first)
{
    const struct prompt *prompt = state;
    *behind_first = prompt->behind_first;
    return rows_of(prompt, pass);
}

static struct value *prompt_replace(void *state, struct pass *pass, struct value *x)
{
    const struct prompt *prompt = state;
    return op_insert_rows(pass->tape, x, rows_of(prompt, pass), prompt->behind_first);
}

int prompt_insert(struct model *model, struct prompt *prompt, struct err *err)
{
    struct site *site = prompt->is_in_hidden ? prompt_find_site(model, SITE_BLOCK, "embeddings", false)
                                             : prompt_find_site(model, SITE_EMBEDDING, NULL, false);
    const struct hook hook = {.insert = prompt->is_in_hidden ? NULL : prompt_rows,
                              .replace = prompt->is_in_hidden ? prompt_replace : NULL,
                              .state = prompt};
    if (!site)
        return err_set(err, ERR_UNSUPPORTED, "this model has no place for a prompt");
    int rc = prompt->is_in_hidden ? 0 : prompt_take_positions(model, prompt->length, err);
    return rc < 0 ? rc : site_hook(site, model->params.arena, &hook, err);
}

/* Starting values ---------------------------------------------------------------------------------------------------
 */

static void copy_rows(struct param *to, const struct param *words, const int32_t *ids, int n_ids)
{
    for (int i = 0; i < to->value.rows; i++)
        weight_rows(&words->value, ids[i % n_ids], 1, to->value.data + (size_t)i * (size_t)to->value.cols);
}

static int init_vocabulary(struct param *to, const struct param *words, struct arena *arena, uint64_t seed,
                           struct err *err)
{
    struct rng_stream stream = rng_stream(rng_make(seed, RNG_INIT), 0, 0, rng_site(to->name));
    int32_t *ids = arena_alloc(arena, (size_t)to->value.rows * sizeof(*ids));
    if (!ids)
        return err_set(err, ERR_NOMEM, "no memory for a prompt");
    for (int i = 0; i < to->value.rows; i++) {
        ids[i] = (int32_t)(rng_uniform(&stream) * words->value.rows);
        ids[i] = ids[i] < words->value.rows ? ids[i] : words->value.rows - 1;
    }
    copy_rows(to, words, ids, to->value.rows);
    return 0;
}

/* The words of a text, repeated until the prompt is full. */
static int init_text(struct param *to, const struct param *words, const char *folder, const char *text,
                     struct arena *arena, struct err *err)
{
    struct tokenizer *tokenizer = NULL;
    struct encoding encoding = {0};
    if (!text)
        return err_set(err, ERR_UNSUPPORTED, "settings.prompt_text is missing: the text to start the prompt from");
    int rc = tokenizer_open(&tokenizer, folder, err);
    if (rc == 0)
        rc = tokenizer_encode(tokenizer, text, NULL, 1 << 16, arena, &encoding, err);
    for (int i = 0; rc == 0 && i < encoding.n; i++)
        if (encoding.ids[i] >= words->value.rows)
            rc = err_set(err, ERR_FORMAT, "settings.prompt_text: token %d, the model's embedding has %d rows",
                         encoding.ids[i], words->value.rows);
    if (rc == 0 && encoding.n == 0)
        rc = err_set(err, ERR_USAGE, "settings.prompt_text has no tokens");
    if (rc == 0)
        copy_rows(to, words, encoding.ids, encoding.n);
    tokenizer_close(tokenizer);
    return rc;
}

static int init(struct model *model, struct prompt *prompt, const cJSON *settings, uint64_t seed, struct err *err)
{
    const char *start = setting_text(settings, "prompt_init", "vocabulary");
    const struct site *site = prompt_find_site(model, SITE_EMBEDDING, NULL, false);
    struct param *rows = prompt->encoder.embedding;
    struct arena *arena = model->params.arena;
    if (strcmp(start, "random") == 0 || !site) {
        if (prompt->is_in_hidden)
            method_init_uniform(rows, seed, 0.5); /* AdapterHub's; PEFT's is normal(0, 1) */
        return 0;
    }
    int rc = strcmp(start, "text") == 0
                 ? init_text(rows, site->weight, model->folder, setting_text(settings, "prompt_text", NULL), arena, err)
                 : init_vocabulary(rows, site->weight, arena, seed, err);
    for (size_t i = 0; rc == 0 && site->scale != 0 && i < param_size(rows); i++)
        rows->value.data[i] *= (real)site->scale;
    return rc;
}

static int prompt_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    char prefix[128], name[256] = "prompt_encoder.embedding.weight";
    struct prompt *prompt;
    int rc = prompt_new(model, settings, &method_prompt, &prompt, err);
    if (rc < 0)
        return rc;
    const struct prompt_shape shape = {.network = PROMPT_FLAT,
                                       .rows = prompt->length * (prompt->is_in_hidden ? 1 : prompt_copies(model)),
                                       .width = model->hidden_size};
    method_prefix(model, prefix, sizeof(prefix));
    if (prompt->is_in_hidden)
        snprintf(name, sizeof(name), "%s.prompt_tuning.prompt_tunings.nightsweep.prompt_embedding.weight", prefix);
    rc = prompt_encoder_add(model, &prompt->encoder, "prompt", shape, name, "", seed, err);
    if (rc == 0)
        rc = init(model, prompt, settings, seed, err);
    return rc < 0 ? rc : prompt_insert(model, prompt, err);
}

/* Files ------------------------------------------------------------------------------------------------------------ */

static int prompt_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    const struct prompt *prompt = method_kept(model, &method_prompt);
    struct text config = {0};
    if (prompt->is_in_hidden) {
        text_printf(&config,
                    "{\"architecture\":\"prompt_tuning\",\"prompt_length\":%d,\"prompt_init\":\"random_uniform\","
                    "\"prompt_init_text\":null,\"combine\":\"%s\"}",
                    prompt->length, prompt->behind_first ? "prefix_after_bos" : "prefix");
        return adapterhub_save(model, "prompt", &config, folder, err);
    }
    (void)settings;
    text_printf(&config,
                "\"peft_type\":\"PROMPT_TUNING\",\"num_virtual_tokens\":%d,\"token_dim\":%d,\"num_layers\":%d,"
                "\"prompt_tuning_init\":\"RANDOM\",\"prompt_tuning_init_text\":null,\"num_transformer_submodules\":%d",
                prompt->length, model->hidden_size, model->n_layers, prompt_copies(model));
    return prompt_encoder_save(model, &prompt->encoder, "prompt", &config, folder, err);
}

static int prompt_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    (void)settings;
    struct prompt *prompt = method_kept(model, &method_prompt);
    return prompt->is_in_hidden ? adapterhub_load(model, "prompt", folder, err)
                                : prompt_encoder_load(model, &prompt->encoder, folder, err);
}

const struct method_kind method_prompt = {
    .name = "prompt", .paper = "arXiv:2104.08691", .attach = prompt_attach, .save = prompt_save, .load = prompt_load};
