/* A GGUF file as a model folder: its metadata as config.json and tokenizer.json, its tensors under Hugging Face's
 * names.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/text.h"
#include "trainer/gguf_internal.h"

/* Configuration ---------------------------------------------------------------------------------------------------- */

struct architecture {
    const char *name, *model_type;
    bool is_interleaved; /* rotary projections have the halves of each head interleaved */
};

static const struct architecture architectures[] = {{"llama", "llama", true}, {"qwen2", "qwen2", false}};

static int find_architecture(const struct gguf *gguf, const struct architecture **out, struct err *err)
{
    const char *name;
    if (!gguf_text(gguf, "general.architecture", &name))
        return err_set(err, ERR_FORMAT, "metadata: 'general.architecture' is missing, a text was expected");
    for (size_t i = 0; i < sizeof(architectures) / sizeof(architectures[0]); i++)
        if (strcmp(architectures[i].name, name) == 0) {
            *out = &architectures[i];
            return 0;
        }
    return err_set(err, ERR_UNSUPPORTED,
                   "metadata: general.architecture '%s' is not built in; these are: llama (also Mistral), qwen2", name);
}

static const struct tensor *find_tensor(const struct gguf *gguf, const char *name)
{
    for (size_t i = 0; i < gguf->n_tensors; i++)
        if (strcmp(gguf->tensors[i].name, name) == 0)
            return &gguf->tensors[i];
    return NULL;
}

static bool own_number(const struct gguf *gguf, const struct architecture *a, const char *key, double *out)
{
    char whole[128];
    snprintf(whole, sizeof(whole), "%s.%s", a->name, key);
    return gguf_number(gguf, whole, out);
}

static int add_sizes(const struct gguf *gguf, const struct architecture *a, cJSON *config, struct err *err)
{
    static const struct {
        const char *key, *name;
        bool is_needed;
    } sizes[] = {{"embedding_length", "hidden_size", true},
                 {"block_count", "num_hidden_layers", true},
                 {"feed_forward_length", "intermediate_size", true},
                 {"attention.head_count", "num_attention_heads", true},
                 {"attention.head_count_kv", "num_key_value_heads", false},
                 {"attention.key_length", "head_dim", false},
                 {"context_length", "max_position_embeddings", true},
                 {"attention.sliding_window", "sliding_window", false},
                 {"attention.layer_norm_rms_epsilon", "rms_norm_eps", true},
                 {"rope.freq_base", "rope_theta", false}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        double value;
        bool is_there = own_number(gguf, a, sizes[i].key, &value);
        if (!is_there && sizes[i].is_needed)
            return err_set(err, ERR_FORMAT, "metadata: '%s.%s' is missing, a number was expected", a->name,
                           sizes[i].key);
        if (is_there)
            cJSON_AddNumberToObject(config, sizes[i].name, value);
    }
    return 0;
}

static int add_scaling(const struct gguf *gguf, const struct architecture *a, cJSON *config, struct err *err)
{
    char key[128];
    const char *type = "none";
    double factor = 1;
    if (find_tensor(gguf, "rope_freqs.weight"))
        return err_set(err, ERR_UNSUPPORTED, "tensor 'rope_freqs.weight': frequencies from a tensor are not built in");
    snprintf(key, sizeof(key), "%s.rope.scaling.type", a->name);
    gguf_text(gguf, key, &type);
    if (strcmp(type, "none") == 0)
        return 0;
    if (strcmp(type, "linear") != 0)
        return err_set(err, ERR_UNSUPPORTED, "metadata: %s '%s', none or linear was expected", key, type);
    if (!own_number(gguf, a, "rope.scaling.factor", &factor))
        return err_set(err, ERR_FORMAT, "metadata: '%s.rope.scaling.factor' is missing", a->name);
    cJSON *scaling = cJSON_AddObjectToObject(config, "rope_scaling");
    cJSON_AddStringToObject(scaling, "rope_type", "linear");
    cJSON_AddNumberToObject(scaling, "factor", factor);
    return 0;
}

static void add_id(const struct gguf *gguf, const char *key, cJSON *config, const char *name)
{
    double id;
    if (gguf_number(gguf, key, &id))
        cJSON_AddNumberToObject(config, name, id);
}

int gguf_config(const struct gguf *gguf, cJSON **out, struct err *err)
{
    const struct architecture *a = NULL;
    int rc = find_architecture(gguf, &a, err);
    if (rc < 0)
        return rc;
    const struct tensor *tokens = find_tensor(gguf, "token_embd.weight");
    if (!tokens || tokens->n_dims != 2)
        return err_set(err, ERR_FORMAT, "tensor 'token_embd.weight': missing, or not of 2 dimensions");
    cJSON *config = cJSON_CreateObject();
    if (!config)
        return err_set(err, ERR_NOMEM, "no memory for the configuration");
    cJSON_AddStringToObject(config, "model_type", a->model_type);
    cJSON_AddNumberToObject(config, "vocab_size", (double)tokens->shape[0]);
    cJSON_AddBoolToObject(config, "tie_word_embeddings", !find_tensor(gguf, "output.weight"));
    cJSON_AddBoolToObject(config, "attention_bias", find_tensor(gguf, "blk.0.attn_q.bias") != NULL);
    cJSON_AddBoolToObject(config, "mlp_bias", find_tensor(gguf, "blk.0.ffn_gate.bias") != NULL);
    add_id(gguf, "tokenizer.ggml.bos_token_id", config, "bos_token_id");
    add_id(gguf, "tokenizer.ggml.eos_token_id", config, "eos_token_id");
    add_id(gguf, "tokenizer.ggml.padding_token_id", config, "pad_token_id");
    rc = add_sizes(gguf, a, config, err);
    if (rc == 0)
        rc = add_scaling(gguf, a, config, err);
    if (rc == 0)
        rc = json_check_memory(err);
    if (rc < 0)
        cJSON_Delete(config);
    else
        *out = config;
    return rc;
}

/* Tokenizer -------------------------------------------------------------------------------------------------------- */

enum token_type { TOKEN_NORMAL = 1, TOKEN_CONTROL = 3, TOKEN_USER_DEFINED = 4 };

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define REST         " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3       CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|" REST
#define QWEN2        CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|" REST

/* How a text is cut into words, by the name in tokenizer.ggml.pre. */
static const struct splitting {
    const char *name, *pattern; /* NULL: GPT-2's own */
    bool splits_digits, composes, ignores_merges, begins;
} splittings[] = {
    {"gpt-2", NULL, false, false, false, false},    {"smollm", NULL, true, false, false, false},
    {"starcoder", NULL, true, false, false, false}, {"llama-bpe", LLAMA3, false, false, true, true},
    {"llama-v3", LLAMA3, false, false, true, true}, {"qwen2", QWEN2, false, true, false, false},
};

static int find_splitting(const struct gguf *gguf, const struct splitting **out, struct err *err)
{
    const char *name = "";
    gguf_text(gguf, "tokenizer.ggml.pre", &name);
    for (size_t i = 0; i < sizeof(splittings) / sizeof(splittings[0]); i++)
        if (strcmp(splittings[i].name, name) == 0) {
            *out = &splittings[i];
            return 0;
        }
    return err_set(err, ERR_UNSUPPORTED,
                   "metadata: tokenizer.ggml.pre '%s' is not built in; these are: gpt-2, smollm, starcoder, llama-bpe, "
                   "qwen2; a tokenizer.json beside the file is read instead",
                   name);
}

/* What a pre-tokenizer's steps do, as far as the known cuts differ in it. */
static void read_steps(const cJSON *step, struct splitting *found)
{
    const cJSON *type = json_get(step, "type"), *list = json_get(step, "pretokenizers");
    const cJSON *regex = json_get(json_get(step, "pattern"), "Regex");
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next)
        read_steps(item, found);
    if (cJSON_IsString(type) && strcmp(type->valuestring, "Digits") == 0)
        found->splits_digits = cJSON_IsTrue(json_get(step, "individual_digits"));
    if (cJSON_IsString(regex))
        found->pattern = regex->valuestring;
}

static bool is_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

int gguf_splitting_name(const cJSON *tokenizer, const char **name, struct err *err)
{
    struct splitting found = {0};
    const cJSON *normalizer = json_get(json_get(tokenizer, "normalizer"), "type");
    read_steps(json_get(tokenizer, "pre_tokenizer"), &found);
    found.composes = cJSON_IsString(normalizer) && strcmp(normalizer->valuestring, "NFC") == 0;
    found.ignores_merges = cJSON_IsTrue(json_get(json_get(tokenizer, "model"), "ignore_merges"));
    for (size_t i = 0; i < sizeof(splittings) / sizeof(splittings[0]); i++) {
        const struct splitting *known = &splittings[i];
        if (is_same(known->pattern, found.pattern) && known->splits_digits == found.splits_digits &&
            known->composes == found.composes && known->ignores_merges == found.ignores_merges) {
            *name = known->name;
            return 0;
        }
    }
    return err_set(err, ERR_UNSUPPORTED, "the tokenizer cuts texts in a way that has no name in GGUF");
}

static cJSON *step(const char *type)
{
    cJSON *made = cJSON_CreateObject();
    cJSON_AddStringToObject(made, "type", type);
    return made;
}

static void add_splitting(const struct splitting *splitting, cJSON *json)
{
    cJSON *sequence = step("Sequence"), *list = cJSON_AddArrayToObject(sequence, "pretokenizers");
    if (splitting->splits_digits) {
        cJSON *digits = step("Digits");
        cJSON_AddBoolToObject(digits, "individual_digits", true);
        json_append(list, digits);
    }
    if (splitting->pattern) {
        cJSON *split = step("Split"), *pattern = cJSON_AddObjectToObject(split, "pattern");
        cJSON_AddStringToObject(pattern, "Regex", splitting->pattern);
        cJSON_AddStringToObject(split, "behavior", "Isolated");
        json_append(list, split);
    }
    cJSON *bytes = step("ByteLevel");
    cJSON_AddBoolToObject(bytes, "add_prefix_space", false);
    cJSON_AddBoolToObject(bytes, "use_regex", !splitting->pattern);
    json_append(list, bytes);
    json_put(json, "pre_tokenizer", sequence);
    json_put(json, "normalizer", splitting->composes ? step("NFC") : cJSON_CreateNull());
    json_put(json, "decoder", step("ByteLevel"));
}

static void add_special(cJSON *list, const char *text)
{
    cJSON *piece = cJSON_CreateObject(), *special = cJSON_AddObjectToObject(piece, "SpecialToken");
    cJSON_AddStringToObject(special, "id", text);
    json_append(list, piece);
}

static void add_sequence(cJSON *list, const char *id, int type)
{
    cJSON *piece = cJSON_CreateObject(), *sequence = cJSON_AddObjectToObject(piece, "Sequence");
    cJSON_AddStringToObject(sequence, "id", id);
    cJSON_AddNumberToObject(sequence, "type_id", type);
    json_append(list, piece);
}

/* The text of a special token by the metadata's id; NULL when it is not to be added. */
static int bounding_token(const struct gguf *gguf, const struct gguf_list *tokens, const char *flag, bool fallback,
                          const char *key, const char **out, struct err *err)
{
    bool is_added = fallback;
    double id;
    gguf_bool(gguf, flag, &is_added);
    *out = NULL;
    if (!is_added)
        return 0;
    if (!gguf_number(gguf, key, &id) || !(id >= 0 && id < (double)tokens->n))
        return err_set(err, ERR_FORMAT, "metadata: '%s', an id of 0 to %zu was expected", key, tokens->n - 1);
    *out = tokens->texts[(size_t)id];
    return 0;
}

static int add_template(const struct gguf *gguf, const struct splitting *splitting, const struct gguf_list *tokens,
                        cJSON *json, struct err *err)
{
    const char *begin = NULL, *end = NULL;
    int rc = bounding_token(gguf, tokens, "tokenizer.ggml.add_bos_token", splitting->begins,
                            "tokenizer.ggml.bos_token_id", &begin, err);
    if (rc == 0)
        rc = bounding_token(gguf, tokens, "tokenizer.ggml.add_eos_token", false, "tokenizer.ggml.eos_token_id", &end,
                            err);
    if (rc < 0 || (!begin && !end))
        return rc;
    cJSON *template = step("TemplateProcessing");
    for (int is_pair = 0; is_pair < 2; is_pair++) {
        cJSON *list = cJSON_AddArrayToObject(template, is_pair ? "pair" : "single");
        for (int text = 0; text <= is_pair; text++) {
            if (begin)
                add_special(list, begin);
            add_sequence(list, text ? "B" : "A", text);
            if (end)
                add_special(list, end);
        }
    }
    json_put(json, "post_processor", template);
    return 0;
}

/* Control and user-defined tokens are looked for in every text. */
static void add_added(const struct gguf_list *tokens, const struct gguf_list *types, cJSON *json)
{
    cJSON *list = cJSON_AddArrayToObject(json, "added_tokens");
    for (size_t i = 0; i < tokens->n && i < types->n; i++) {
        bool is_control = types->numbers[i] == TOKEN_CONTROL;
        if ((!is_control && types->numbers[i] != TOKEN_USER_DEFINED) || !tokens->texts[i][0])
            continue;
        cJSON *added = cJSON_CreateObject();
        cJSON_AddNumberToObject(added, "id", (double)i);
        cJSON_AddStringToObject(added, "content", tokens->texts[i]);
        cJSON_AddBoolToObject(added, "special", is_control);
        cJSON_AddBoolToObject(added, "normalized", false);
        json_append(list, added);
    }
}

static int add_model(const struct gguf *gguf, const struct splitting *splitting, const struct gguf_list *tokens,
                     cJSON *json, struct err *err)
{
    struct gguf_list merges;
    if (!gguf_list(gguf, "tokenizer.ggml.merges", &merges) || (merges.n && !merges.texts))
        return err_set(err, ERR_FORMAT, "metadata: 'tokenizer.ggml.merges' is missing, a list of texts was expected");
    cJSON *model = cJSON_AddObjectToObject(json, "model"), *list;
    cJSON_AddStringToObject(model, "type", "BPE");
    cJSON_AddBoolToObject(model, "ignore_merges", splitting->ignores_merges);
    cJSON *vocabulary = cJSON_AddObjectToObject(model, "vocab");
    for (size_t i = 0; i < tokens->n; i++)
        cJSON_AddNumberToObject(vocabulary, tokens->texts[i], (double)i);
    list = cJSON_AddArrayToObject(model, "merges");
    for (size_t i = 0; i < merges.n; i++)
        json_append(list, cJSON_CreateString(merges.texts[i]));
    return 0;
}

int gguf_tokenizer(const struct gguf *gguf, cJSON **out, struct err *err)
{
    const char *model = "";
    const struct splitting *splitting = NULL;
    struct gguf_list tokens, types = {0};
    gguf_text(gguf, "tokenizer.ggml.model", &model);
    if (strcmp(model, "gpt2") != 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "metadata: tokenizer.ggml.model '%s', gpt2 (byte-level BPE) was expected; a tokenizer.json "
                       "beside the file is read instead",
                       model);
    if (!gguf_list(gguf, "tokenizer.ggml.tokens", &tokens) || !tokens.texts || tokens.n == 0)
        return err_set(err, ERR_FORMAT, "metadata: 'tokenizer.ggml.tokens' is missing, a list of texts was expected");
    int rc = find_splitting(gguf, &splitting, err);
    if (rc < 0)
        return rc;
    cJSON *json = cJSON_CreateObject();
    if (!json)
        return err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    rc = add_model(gguf, splitting, &tokens, json, err);
    if (gguf_list(gguf, "tokenizer.ggml.token_type", &types) && types.numbers)
        add_added(&tokens, &types, json);
    add_splitting(splitting, json);
    if (rc == 0)
        rc = add_template(gguf, splitting, &tokens, json, err);
    if (rc == 0)
        rc = json_check_memory(err);
    if (rc < 0)
        cJSON_Delete(json);
    else
        *out = json;
    return rc;
}

/* Tensors ---------------------------------------------------------------------------------------------------------- */

static const char *const names[][2] = {
    {"attn_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},   {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},   {"attn_output", "self_attn.o_proj"},
    {"ffn_gate", "mlp.gate_proj"},    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

static const char *const outer[][2] = {
    {"token_embd.", "model.embed_tokens."}, {"output_norm.", "model.norm."}, {"output.", "lm_head."}};

/* "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight"; what is not known keeps its name. */
static void put_name(const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s", name);
    for (size_t i = 0; i < sizeof(outer) / sizeof(outer[0]); i++)
        if (text_starts_with(name, outer[i][0])) {
            snprintf(out, size, "%s%s", outer[i][1], name + strlen(outer[i][0]));
            return;
        }
    size_t digits = text_starts_with(name, "blk.") ? strspn(name + 4, "0123456789") : 0;
    const char *rest = name + 4 + digits;
    for (size_t i = 0; digits && i < sizeof(names) / sizeof(names[0]); i++) {
        size_t n = strlen(names[i][0]);
        if (rest[0] == '.' && strncmp(rest + 1, names[i][0], n) == 0 && rest[1 + n] == '.')
            snprintf(out, size, "model.layers.%.*s.%s%s", (int)digits, name + 4, names[i][1], rest + 1 + n);
    }
}

bool gguf_own_name(const char *name, char *out, size_t size)
{
    for (size_t i = 0; i < sizeof(outer) / sizeof(outer[0]); i++)
        if (text_starts_with(name, outer[i][1])) {
            snprintf(out, size, "%s%s", outer[i][0], name + strlen(outer[i][1]));
            return true;
        }
    static const char layers[] = "model.layers.";
    if (!text_starts_with(name, layers))
        return false;
    const char *number = name + sizeof(layers) - 1, *rest = number + strspn(number, "0123456789");
    for (size_t i = 0; rest[0] == '.' && i < sizeof(names) / sizeof(names[0]); i++) {
        size_t n = strlen(names[i][1]);
        if (strncmp(rest + 1, names[i][1], n) == 0 && rest[1 + n] == '.') {
            snprintf(out, size, "blk.%.*s.%s%s", (int)(rest - number), number, names[i][0], rest + 1 + n);
            return true;
        }
    }
    return false;
}

/* Into how many heads the rows of a rotary projection fall; 0: it is none, or they lie apart already. */
static int interleaved_heads(const struct gguf *gguf, const struct architecture *a, const char *name)
{
    double heads = 0, kv_heads = 0;
    if (!a->is_interleaved || !own_number(gguf, a, "attention.head_count", &heads))
        return 0;
    kv_heads = heads;
    own_number(gguf, a, "attention.head_count_kv", &kv_heads);
    if (strstr(name, ".attn_q."))
        return heads >= 1 && heads < 65536 ? (int)heads : 0;
    return strstr(name, ".attn_k.") && kv_heads >= 1 && kv_heads < 65536 ? (int)kv_heads : 0;
}

int gguf_add_tensors(const char *path, struct safetensors *weights, struct err *err)
{
    struct gguf *gguf = NULL;
    const struct architecture *a = NULL;
    int rc = gguf_open(&gguf, path, err);
    if (rc == 0)
        rc = find_architecture(gguf, &a, err);
    for (size_t i = 0; rc == 0 && i < gguf->n_tensors; i++) {
        struct tensor tensor = gguf->tensors[i];
        char name[512];
        put_name(tensor.name, name, sizeof(name));
        tensor.interleaved_heads = interleaved_heads(gguf, a, tensor.name);
        if (tensor.interleaved_heads && tensor.shape[0] % (2 * tensor.interleaved_heads) != 0)
            rc = err_set(err, ERR_FORMAT, "'%s': tensor '%s' has %lld rows, a multiple of 2 x %d heads was expected",
                         path, tensor.name, (long long)tensor.shape[0], tensor.interleaved_heads);
        tensor.name = name;
        if (rc == 0)
            rc = safetensors_add_tensor(weights, &tensor, err);
    }
    if (rc == 0)
        rc = safetensors_own_map(weights, &gguf->map, gguf->file, err);
    if (rc == 0) { /* they are the weights' now */
        gguf->map = (struct file_map){0};
        gguf->file = -1;
    }
    gguf_close(gguf);
    return rc;
}
