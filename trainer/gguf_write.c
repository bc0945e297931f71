/* GGUF files, written. */
#include "trainer/gguf_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/gguf_internal.h"
#include "trainer/quant.h"

enum { ALIGNMENT = 32, TYPE_U32 = 4, TYPE_I32 = 5, TYPE_F32 = 6, TYPE_BOOL = 7, TYPE_TEXT = 8, TYPE_LIST = 9 };
enum { TOKEN_NORMAL = 1, TOKEN_CONTROL = 3, TOKEN_USER_DEFINED = 4, TOKEN_UNUSED = 5 };

struct writer {
    const struct gguf_output *output;
    const char *architecture; /* llama, qwen2 */
    int n_heads, n_kv_heads;
    struct text entries, tensors; /* metadata; what each tensor is and where */
    uint64_t n_entries, n_tensors, at;
};

/* Numbers and texts -------------------------------------------------------------------------------------------------
 */

static void put(struct text *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        char byte = (char)(value >> (8 * i) & 255);
        text_add_n(out, &byte, 1);
    }
}

static void put_text(struct text *out, const char *value)
{
    put(out, strlen(value), 8);
    text_add(out, value);
}

static void put_float(struct text *out, double value)
{
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof(bits));
    put(out, bits, 4);
}

static void entry(struct writer *w, const char *key, uint32_t type)
{
    put_text(&w->entries, key);
    put(&w->entries, type, 4);
    w->n_entries++;
}

static void entry_text(struct writer *w, const char *key, const char *value)
{
    entry(w, key, TYPE_TEXT);
    put_text(&w->entries, value);
}

static void entry_number(struct writer *w, const char *key, double value)
{
    entry(w, key, TYPE_U32);
    put(&w->entries, (uint64_t)value, 4);
}

static void entry_bool(struct writer *w, const char *key, bool value)
{
    entry(w, key, TYPE_BOOL);
    put(&w->entries, value, 1);
}

/* "<architecture>.<key>" of the config's number, when it is there. */
static void own_number(struct writer *w, const char *key, const char *name, bool is_float)
{
    const cJSON *item = json_get(w->output->model->config, name);
    char whole[96];
    if (!cJSON_IsNumber(item))
        return;
    snprintf(whole, sizeof(whole), "%s.%s", w->architecture, key);
    if (!is_float) {
        entry_number(w, whole, item->valuedouble);
        return;
    }
    entry(w, whole, TYPE_F32);
    put_float(&w->entries, item->valuedouble);
}

/* Configuration -----------------------------------------------------------------------------------------------------
 */

static int add_rotation(struct writer *w, struct err *err)
{
    const cJSON *config = w->output->model->config, *scaling = json_get(config, "rope_scaling");
    const cJSON *parameters = json_get(config, "rope_parameters"), *theta = json_get(config, "rope_theta");
    char key[96];
    scaling = cJSON_IsObject(parameters) ? parameters : scaling;
    if (!theta && cJSON_IsObject(parameters))
        theta = json_get(parameters, "rope_theta");
    snprintf(key, sizeof(key), "%s.rope.freq_base", w->architecture);
    entry(w, key, TYPE_F32);
    put_float(&w->entries, cJSON_IsNumber(theta) ? theta->valuedouble : 10000);
    if (!cJSON_IsObject(scaling))
        return 0;
    const cJSON *type = json_get(scaling, "rope_type"), *factor = json_get(scaling, "factor");
    type = type ? type : json_get(scaling, "type");
    if (!cJSON_IsString(type) || strcmp(type->valuestring, "default") == 0)
        return 0;
    if (strcmp(type->valuestring, "linear") != 0 || !cJSON_IsNumber(factor))
        return err_set(err, ERR_UNSUPPORTED, "rotations scaled by '%s': none or linear is built in for GGUF",
                       type->valuestring);
    snprintf(key, sizeof(key), "%s.rope.scaling.type", w->architecture);
    entry_text(w, key, "linear");
    snprintf(key, sizeof(key), "%s.rope.scaling.factor", w->architecture);
    entry(w, key, TYPE_F32);
    put_float(&w->entries, factor->valuedouble);
    return 0;
}

static int add_config(struct writer *w, struct err *err)
{
    const struct model *model = w->output->model;
    bool is_qwen = strcmp(model->kind->name, "qwen2") == 0;
    bool is_known = is_qwen || strcmp(model->kind->name, "llama") == 0 || strcmp(model->kind->name, "mistral") == 0;
    double file_type = w->output->type == TENSOR_F32 ? 0 : w->output->type == TENSOR_F16 ? 1 : 7;
    if (!is_known || model->task != TASK_CAUSAL)
        return err_set(err, ERR_UNSUPPORTED,
                       "GGUF is built in for language models of llama, mistral and qwen2, this is %s%s",
                       model->kind->name, is_known ? " with another head" : "");
    w->architecture = is_qwen ? "qwen2" : "llama";
    const cJSON *heads = json_get(model->config, "num_attention_heads"),
                *kv_heads = json_get(model->config, "num_key_value_heads");
    w->n_heads = cJSON_IsNumber(heads) ? (int)heads->valuedouble : 1;
    w->n_kv_heads = cJSON_IsNumber(kv_heads) ? (int)kv_heads->valuedouble : w->n_heads;
    entry_text(w, "general.architecture", w->architecture);
    entry_number(w, "general.file_type", file_type);
    entry_number(w, "general.quantization_version", 2);
    entry_number(w, "general.alignment", ALIGNMENT);
    own_number(w, "context_length", "max_position_embeddings", false);
    own_number(w, "embedding_length", "hidden_size", false);
    own_number(w, "block_count", "num_hidden_layers", false);
    own_number(w, "feed_forward_length", "intermediate_size", false);
    own_number(w, "attention.head_count", "num_attention_heads", false);
    own_number(w, "attention.head_count_kv", "num_key_value_heads", false);
    own_number(w, "attention.key_length", "head_dim", false);
    own_number(w, "attention.value_length", "head_dim", false);
    own_number(w, "attention.sliding_window", "sliding_window", false);
    own_number(w, "vocab_size", "vocab_size", false);
    own_number(w, "attention.layer_norm_rms_epsilon", "rms_norm_eps", true);
    return add_rotation(w, err);
}

/* Tensors -----------------------------------------------------------------------------------------------------------
 */

static enum tensor_type type_of(const struct writer *w, const struct param *param)
{
    size_t block = quant_of(w->output->type)->elements;
    if (param->n_dims < 2)
        return TENSOR_F32;
    return (size_t)param->value.cols % block == 0 ? w->output->type : TENSOR_F16;
}

static uint32_t gguf_type(enum tensor_type type)
{
    return type == TENSOR_F32 ? 0 : type == TENSOR_F16 ? 1 : 8;
}

static uint64_t padded(uint64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static uint64_t bytes_of(const struct writer *w, const struct param *param)
{
    const struct quant *quant = quant_of(type_of(w, param));
    return param_size(param) / quant->elements * quant->bytes;
}

static int describe_tensor(struct writer *w, const struct param *param, struct err *err)
{
    char name[256];
    if (!gguf_own_name(param->name, name, sizeof(name)))
        return err_set(err, ERR_UNSUPPORTED, "tensor '%s' has no name in GGUF", param->name);
    put_text(&w->tensors, name);
    put(&w->tensors, (uint64_t)param->n_dims, 4);
    for (int d = param->n_dims; d-- > 0;)
        put(&w->tensors, (uint64_t)param->shape[d], 8);
    put(&w->tensors, gguf_type(type_of(w, param)), 4);
    put(&w->tensors, w->at, 8);
    w->at += padded(bytes_of(w, param));
    w->n_tensors++;
    return 0;
}

/* The row of ours that stands at row `row` of the file: rotary projections of Llama interleave a head's halves. */
static int source_row(const struct writer *w, const struct param *param, int rows, int row)
{
    bool is_query = strstr(param->name, ".q_proj.") != NULL, is_key = strstr(param->name, ".k_proj.") != NULL;
    if (strcmp(w->architecture, "llama") != 0 || (!is_query && !is_key))
        return row;
    int size = rows / (is_query ? w->n_heads : w->n_kv_heads), head = row / size, within = row % size;
    return head * size + within % 2 * (size / 2) + within / 2;
}

static int write_tensor(const struct writer *w, struct file_write *file, const struct param *param, struct err *err)
{
    enum tensor_type type = type_of(w, param);
    bool is_matrix = param->n_dims > 1;
    int rows = is_matrix ? param->value.rows : param->value.cols, cols = is_matrix ? param->value.cols : 1, rc = 0;
    size_t blocks = (size_t)cols / quant_of(type)->elements, bytes = blocks * quant_of(type)->bytes;
    unsigned char *row = malloc(bytes + ALIGNMENT);
    if (!row)
        return err_set(err, ERR_NOMEM, "no memory for a row of '%s'", param->name);
    for (int r = 0; r < rows && rc == 0; r++) {
        const real *from = param->value.data + (size_t)source_row(w, param, rows, r) * (size_t)cols;
        for (int c = 0; type != TENSOR_F32 && c < cols && rc == 0; c++)
            if (!(fabs((double)from[c]) <= 65504))
                rc = err_set(err, ERR_NUMERIC, "tensor '%s' has %g, at most 65504 fits into half precision",
                             param->name, (double)from[c]);
        if (rc == 0) {
            quant_pack(type, from, blocks, row);
            rc = file_write_add(file, row, bytes, err);
        }
    }
    memset(row, 0, ALIGNMENT);
    size_t pad = (size_t)(padded(bytes_of(w, param)) - bytes_of(w, param));
    if (rc == 0)
        rc = file_write_add(file, row, pad, err);
    free(row);
    return rc;
}

/* Tokenizer ---------------------------------------------------------------------------------------------------------
 */

struct vocabulary {
    const char **tokens;
    int32_t *types;
    char (*unused)[24];
    int n;
};

static int read_vocabulary(const struct writer *w, struct vocabulary *v, struct arena *arena, struct err *err)
{
    const cJSON *model = json_get(w->output->tokenizer, "model"),
                *added = json_get(w->output->tokenizer, "added_tokens");
    const cJSON *type = json_get(model, "type");
    v->n = w->output->model->vocab_size;
    if (!cJSON_IsString(type) || strcmp(type->valuestring, "BPE") != 0)
        return err_set(err, ERR_UNSUPPORTED, "the tokenizer is no byte-level BPE: no other is built in for GGUF");
    v->tokens = arena_calloc(arena, (size_t)v->n + 1, sizeof(*v->tokens));
    v->types = arena_calloc(arena, (size_t)v->n + 1, sizeof(*v->types));
    if (!v->tokens || !v->types)
        return err_set(err, ERR_NOMEM, "no memory for %d tokens", v->n);
    for (const cJSON *token = json_get(model, "vocab")->child; token; token = token->next) {
        int id = cJSON_IsNumber(token) ? (int)token->valuedouble : -1;
        if (id < 0 || id >= v->n)
            return err_set(err, ERR_FORMAT, "token '%s' has the id %d, 0 to %d was expected", token->string, id,
                           v->n - 1);
        v->tokens[id] = token->string;
        v->types[id] = TOKEN_NORMAL;
    }
    for (const cJSON *token = added ? added->child : NULL; token; token = token->next) {
        const cJSON *id = json_get(token, "id"), *text = json_get(token, "content");
        if (!cJSON_IsNumber(id) || !cJSON_IsString(text) || !(id->valuedouble >= 0 && id->valuedouble < v->n))
            continue;
        v->tokens[(int)id->valuedouble] = text->valuestring;
        v->types[(int)id->valuedouble] = cJSON_IsTrue(json_get(token, "special")) ? TOKEN_CONTROL : TOKEN_USER_DEFINED;
    }
    for (int i = 0; i < v->n; i++)
        if (!v->tokens[i]) {
            v->types[i] = TOKEN_UNUSED;
            if (!(v->tokens[i] = arena_printf(arena, "[PAD%d]", i)))
                return err_set(err, ERR_NOMEM, "no memory for %d tokens", v->n);
        }
    return 0;
}

static void add_merges(struct writer *w)
{
    const cJSON *merges = json_get(json_get(w->output->tokenizer, "model"), "merges");
    entry(w, "tokenizer.ggml.merges", TYPE_LIST);
    put(&w->entries, TYPE_TEXT, 4);
    put(&w->entries, (uint64_t)cJSON_GetArraySize(merges), 8);
    for (const cJSON *merge = merges ? merges->child : NULL; merge; merge = merge->next) {
        struct text pair = {0};
        if (cJSON_IsArray(merge) && cJSON_IsString(merge->child) && cJSON_IsString(merge->child->next))
            text_printf(&pair, "%s %s", merge->child->valuestring, merge->child->next->valuestring);
        else if (cJSON_IsString(merge))
            text_add(&pair, merge->valuestring);
        put_text(&w->entries, pair.data ? pair.data : "");
        w->entries.failed = w->entries.failed || pair.failed;
        text_done(&pair);
    }
}

static void add_id(struct writer *w, const char *key, const char *name)
{
    const cJSON *item = json_get(w->output->model->config, name);
    item = cJSON_IsArray(item) ? item->child : item;
    if (cJSON_IsNumber(item) && item->valuedouble >= 0)
        entry_number(w, key, item->valuedouble);
}

/* Whether the post-processor puts a special token in front of a text, or behind it. */
static bool adds_special(const cJSON *tokenizer, bool is_end)
{
    const cJSON *single = json_get(json_get(tokenizer, "post_processor"), "single");
    const cJSON *at = cJSON_IsArray(single) ? single->child : NULL;
    while (at && is_end && at->next)
        at = at->next;
    return at && json_get(at, "SpecialToken");
}

static int add_tokenizer(struct writer *w, struct err *err)
{
    struct arena arena = {0};
    struct vocabulary v = {0};
    const char *cut = NULL;
    int rc = read_vocabulary(w, &v, &arena, err);
    if (rc == 0)
        rc = gguf_splitting_name(w->output->tokenizer, &cut, err);
    if (rc == 0) {
        entry_text(w, "tokenizer.ggml.model", "gpt2");
        entry_text(w, "tokenizer.ggml.pre", cut);
        entry(w, "tokenizer.ggml.tokens", TYPE_LIST);
        put(&w->entries, TYPE_TEXT, 4);
        put(&w->entries, (uint64_t)v.n, 8);
        for (int i = 0; i < v.n; i++)
            put_text(&w->entries, v.tokens[i]);
        entry(w, "tokenizer.ggml.token_type", TYPE_LIST);
        put(&w->entries, TYPE_I32, 4);
        put(&w->entries, (uint64_t)v.n, 8);
        for (int i = 0; i < v.n; i++)
            put(&w->entries, (uint64_t)v.types[i], 4);
        add_merges(w);
        add_id(w, "tokenizer.ggml.bos_token_id", "bos_token_id");
        add_id(w, "tokenizer.ggml.eos_token_id", "eos_token_id");
        add_id(w, "tokenizer.ggml.padding_token_id", "pad_token_id");
        entry_bool(w, "tokenizer.ggml.add_bos_token", adds_special(w->output->tokenizer, false));
        entry_bool(w, "tokenizer.ggml.add_eos_token", adds_special(w->output->tokenizer, true));
        if (w->output->chat_template)
            entry_text(w, "tokenizer.chat_template", w->output->chat_template);
    }
    arena_done(&arena);
    return rc;
}

/* All together ------------------------------------------------------------------------------------------------------
 */

static int write_file(const struct writer *w, struct err *err)
{
    const struct params *params = &w->output->model->params;
    struct text head = {0};
    struct file_write file;
    text_add(&head, "GGUF");
    put(&head, 3, 4);
    put(&head, w->n_tensors, 8);
    put(&head, w->n_entries, 8);
    text_add_n(&head, w->entries.data, w->entries.len);
    text_add_n(&head, w->tensors.data, w->tensors.len);
    put(&head, 0, (int)(padded(head.len) - head.len));
    int rc = head.failed || w->entries.failed || w->tensors.failed
                 ? err_set(err, ERR_NOMEM, "'%s': no memory to write it", w->output->path)
                 : file_write_begin(&file, w->output->path, err);
    if (rc < 0) {
        text_done(&head);
        return rc;
    }
    rc = file_write_add(&file, head.data, head.len, err);
    for (size_t i = 0; i < params->count && rc == 0; i++)
        if (params->items[i]->origin != PARAM_METHOD)
            rc = write_tensor(w, &file, params->items[i], err);
    if (rc == 0)
        rc = file_write_commit(&file, err);
    file_write_abandon(&file);
    text_done(&head);
    return rc;
}

int gguf_write(const struct gguf_output *output, struct err *err)
{
    struct writer w = {.output = output};
    const struct params *params = &output->model->params;
    int rc = add_config(&w, err);
    if (rc == 0)
        rc = add_tokenizer(&w, err);
    for (size_t i = 0; i < params->count && rc == 0; i++)
        if (params->items[i]->origin != PARAM_METHOD)
            rc = describe_tensor(&w, params->items[i], err);
    if (rc == 0)
        rc = write_file(&w, err);
    text_done(&w.entries);
    text_done(&w.tensors);
    return rc;
}
