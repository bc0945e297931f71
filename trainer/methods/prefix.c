/* Prefix tuning: P trained keys and values in front of those of every sequence, in every layer, either trained
 * themselves (which is P-tuning v2) or made by linear, tanh, linear from P embedded rows.
 * Li & Liang 2021, arXiv:2101.00190, 4.2-4.3; Liu et al. 2022, arXiv:2110.07602
 *
 * Columns 2 l and 2 l + 1 (of the keys' width) of the encoder's rows are the keys and values of layer l. In PEFT the
 * tokens' positions start behind the prefix; in AdapterHub they stay. In an encoder-decoder model the prefix goes to
 * the decoder's own attention; there PEFT lays the columns out twice before it deals them out, four a layer, and drops
 * the second half of each, so layer l of L gets the pair 2 l mod L: to be the same, so does ours. */
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "trainer/methods/adapterhub_file.h"
#include "trainer/methods/gate.h"
#include "trainer/methods/prompt.h"

struct prefix {
    struct prompt_encoder encoder;
    bool keeps_positions; /* AdapterHub's rule */
};

struct prefix_layer {
    const struct prefix *prefix;
    int first, width; /* columns of the keys; the values' are behind them */
    struct gate gate;
};

static void prefix_attention(void *state, struct pass *pass, struct value *x, struct attention *attention)
{
    const struct prefix_layer *layer = state;
    struct value *rows = prompt_encoder_rows(&layer->prefix->encoder, pass);
    if (layer->gate.weight)
        attention->extra_gate = gate_values(&layer->gate, pass, x);
    attention->extra_keys = op_columns(pass->tape, rows, layer->first, layer->width);
    attention->extra_values = op_columns(pass->tape, rows, layer->first + layer->width, layer->width);
}

/* Whether a site gets keys and values, and which of the layers with some it is (by layer, as they come). */
static bool wants(const struct model *model, const cJSON *settings, const struct site *site, bool in_decoder)
{
    return site->kind == SITE_ATTENTION && site->is_decoder == in_decoder &&
           strcmp(site->role, "cross_attention") != 0 && setting_has_layer(model, settings, site->layer);
}

static int hook_layers(struct model *model, const cJSON *settings, const struct prefix *prefix, bool in_decoder,
                       int n_layers, uint64_t seed, struct err *err)
{
    int index = -1, last = -1, rc = 0;
    for (size_t i = 0; i < model->n_sites && rc == 0; i++) {
        struct site *site = model->sites[i];
        if (!wants(model, settings, site, in_decoder))
            continue;
        struct prefix_layer *layer = arena_calloc(model->params.arena, 1, sizeof(*layer));
        if (!layer)
            return err_set(err, ERR_NOMEM, "no memory for a prefix at '%s'", site->name);
        index += site->layer != last;
        last = site->layer;
        int pair = in_decoder ? 2 * index % n_layers : index;
        layer->prefix = prefix;
        layer->first = 2 * pair * site->out;
        layer->width = site->out;
        const struct hook hook = {.attention = prefix_attention, .state = layer};
        char name[512];
        snprintf(name, sizeof(name), "%s.prefix_tuning.prefix_gates.nightsweep", site->name);
        if (gate_is_wanted(settings))
            rc = gate_add(model, &layer->gate, "prefix", site, 1, settings, seed, name, err);
        if (rc == 0)
            rc = site_hook(site, model->params.arena, &hook, err);
    }
    return rc;
}

static const struct site *first_attention(const struct model *model, const cJSON *settings, bool in_decoder,
                                          int *n_layers)
{
    const struct site *first = NULL;
    int last = -1;
    *n_layers = 0;
    for (size_t i = 0; i < model->n_sites; i++) {
        const struct site *site = model->sites[i];
        if (!wants(model, settings, site, in_decoder))
            continue;
        first = first ? first : site;
        *n_layers += site->layer != last;
        last = site->layer;
    }
    return first;
}

static int add_encoder(struct model *model, struct prefix *prefix, const cJSON *settings, const struct site *first,
                       int n_layers, uint64_t seed, struct err *err)
{
    bool has_network = setting_flag(settings, "prefix_mlp");
    char embedding[512] = "prompt_encoder.embedding.weight", network[512] = "prompt_encoder.transform";
    const struct prompt_shape shape = {
        .network = has_network ? PROMPT_TANH : PROMPT_FLAT,
        .rows = prompt_length(settings),
        .embedding = prefix->keeps_positions ? model->hidden_size : first->out,
        .hidden = (int)setting_number(settings, "prompt_hidden_size", model->hidden_size),
        .width = 2 * n_layers * first->out,
        .is_vector = prefix->keeps_positions && !has_network,
    };
    if (prefix->keeps_positions) {
        static const char pool[] = "prefix_tuning.pool.prefix_tunings.nightsweep.self_prefix";
        snprintf(network, sizeof(network), "%s.%s.control_trans", first->name, pool);
        snprintf(embedding, sizeof(embedding), "%s.%s.%s", first->name, pool,
                 has_network ? "wte.weight" : "control_trans");
    }
    return prompt_encoder_add(model, &prefix->encoder, "prefix", shape, embedding, network, seed, err);
}

static int prefix_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    bool in_decoder = prompt_copies(model) == 2;
    int n_layers, rc = 0;
    const struct site *first = first_attention(model, settings, in_decoder, &n_layers);
    struct site *embedding = prompt_find_site(model, SITE_EMBEDDING, NULL, in_decoder);
    struct prefix *prefix = arena_calloc(model->params.arena, 1, sizeof(*prefix));
    if (!prefix)
        return err_set(err, ERR_NOMEM, "no memory for a prefix");
    if (!first || !embedding)
        return err_set(err, ERR_UNSUPPORTED, "prefix tuning: this model has no attention in the layers asked for");
    if (gate_is_wanted(settings) && strcmp(setting_text(settings, "prefix_positions", "shifted"), "kept") != 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "settings.gating: a gated prefix is AdapterHub's and keeps positions; set prefix_positions to "
                       "\"kept\"");
    prefix->keeps_positions = strcmp(setting_text(settings, "prefix_positions", "shifted"), "kept") == 0;
    rc = add_encoder(model, prefix, settings, first, n_layers, seed, err);
    if (rc == 0)
        rc = hook_layers(model, settings, prefix, in_decoder, n_layers, seed, err);
    if (rc == 0)
        rc = method_keep(model, &method_prefix_tuning, prefix, err);
    if (rc < 0 || prefix->keeps_positions)
        return rc;
    embedding->position_shift += prompt_length(settings);
    return prompt_take_positions(model, prompt_length(settings), err);
}

/* What PEFT needs to take the columns apart again. */
static int count_heads(const struct model *model)
{
    static const char *const keys[] = {"num_key_value_heads", "decoder_attention_heads", "num_attention_heads",
                                       "n_head"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (cJSON_IsNumber(json_get(model->config, keys[i])))
            return (int)json_get(model->config, keys[i])->valuedouble;
    return 1;
}

static int prefix_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    const struct prefix *prefix = method_kept(model, &method_prefix_tuning);
    const struct prompt_shape *shape = &prefix->encoder.shape;
    bool has_network = shape->network != PROMPT_FLAT;
    int n_layers;
    const struct site *first = first_attention(model, settings, prompt_copies(model) == 2, &n_layers);
    struct text config = {0};
    if (prefix->keeps_positions) {
        text_printf(&config,
                    "{\"architecture\":\"prefix_tuning\",\"prefix_length\":%d,\"bottleneck_size\":%d,\"flat\":%s,"
                    "\"non_linearity\":\"tanh\",\"dropout\":0.0,\"cross_prefix\":true,\"encoder_prefix\":true,"
                    "\"use_gating\":%s,\"shared_gating\":true",
                    shape->rows, has_network ? shape->hidden : 512, has_network ? "false" : "true",
                    gate_is_wanted(settings) ? "true" : "false");
        adapterhub_add_leave_out(&config, model, settings);
        text_add(&config, "}");
        return adapterhub_save(model, "prefix", &config, folder, err);
    }
    text_printf(&config,
                "\"peft_type\":\"PREFIX_TUNING\",\"num_virtual_tokens\":%d,\"token_dim\":%d,\"num_layers\":%d,"
                "\"num_attention_heads\":%d,\"encoder_hidden_size\":%d,\"prefix_projection\":%s,"
                "\"num_transformer_submodules\":%d",
                shape->rows, first->out, n_layers, count_heads(model), has_network ? shape->hidden : first->out,
                has_network ? "true" : "false", prompt_copies(model));
    return prompt_encoder_save(model, &prefix->encoder, "prefix", &config, folder, err);
}

static int prefix_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    (void)settings;
    struct prefix *prefix = method_kept(model, &method_prefix_tuning);
    return prefix->keeps_positions ? adapterhub_load(model, "prefix", folder, err)
                                   : prompt_encoder_load(model, &prefix->encoder, folder, err);
}

const struct method_kind method_prefix_tuning = {
    .name = "prefix",
    .spans_layers = true,
    .paper = "arXiv:2101.00190, arXiv:2110.07602",
    .attach = prefix_attach,
    .save = prefix_save,
    .load = prefix_load,
};
