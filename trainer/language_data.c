/* Tokens of language models. */
#include "trainer/language_data.h"

#include <string.h>

#include "common/json.h"

enum { NO_LABEL = -100 };

/* An id of the config, or the first of a list of them; −1 when it is missing. */
static int read_id(const struct model *model, const char *key, int32_t *out, struct err *err)
{
    const cJSON *item = json_get(model->config, key);
    if (cJSON_IsArray(item))
        item = item->child;
    *out = -1;
    if (!item || cJSON_IsNull(item))
        return 0;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < model->vocab_size))
        return err_set(err, ERR_FORMAT, "config.json: '%s': an id of 0 to %d was expected", key, model->vocab_size - 1);
    *out = (int32_t)item->valuedouble;
    return 0;
}

int language_ids_read(struct language_ids *ids, const struct model *model, struct err *err)
{
    int rc = read_id(model, "eos_token_id", &ids->end, err);
    if (rc == 0)
        rc = read_id(model, "decoder_start_token_id", &ids->decoder_start, err);
    if (rc == 0 && ids->decoder_start < 0) /* where the config leaves it out, decoders start with padding */
        rc = read_id(model, "pad_token_id", &ids->decoder_start, err);
    if (rc == 0)
        rc = read_id(model, "forced_bos_token_id", &ids->forced_first, err);
    if (rc == 0 && model->task == TASK_SEQ2SEQ && ids->decoder_start < 0)
        rc = err_set(err, ERR_UNSUPPORTED, "config.json has neither decoder_start_token_id nor pad_token_id");
    return rc;
}

/* Two lists one behind the other, with `end` behind them when there is room (and one). */
static int join(struct arena *arena, const struct encoding *a, const struct encoding *b, int32_t end, int max_tokens,
                struct encoding *out, struct err *err)
{
    int n = a->n + b->n;
    bool has_end = end >= 0 && n < max_tokens && (n == 0 || (b->n ? b->ids[b->n - 1] : a->ids[a->n - 1]) != end);
    *out = (struct encoding){.n = n + has_end, .is_truncated = a->is_truncated || b->is_truncated};
    out->ids = arena_alloc(arena, ((size_t)n + 1) * sizeof(int32_t));
    out->type_ids = arena_calloc(arena, (size_t)n + 1, 1);
    if (!out->ids || !out->type_ids)
        return err_set(err, ERR_NOMEM, "no memory for %d tokens", n);
    if (a->n)
        memcpy(out->ids, a->ids, (size_t)a->n * sizeof(int32_t));
    if (b->n)
        memcpy(out->ids + a->n, b->ids, (size_t)b->n * sizeof(int32_t));
    if (has_end)
        out->ids[n] = end;
    return 0;
}

struct encoder {
    struct dataset *dataset;
    const struct tokenizer *tokenizer;
    const struct language_ids *ids;
    const struct chat *chat;
    int max_tokens;
};

/* Labels: the tokens themselves from `first` on. */
static int set_targets(const struct encoder *e, struct example *example, const struct encoding *tokens, int first,
                       struct err *err)
{
    example->targets = arena_alloc(&e->dataset->arena, ((size_t)tokens->n + 1) * sizeof(int32_t));
    if (!example->targets)
        return err_set(err, ERR_NOMEM, "no memory for %d labels", tokens->n);
    example->n_targets = tokens->n;
    for (int i = 0; i < tokens->n; i++)
        example->targets[i] = i < first ? NO_LABEL : tokens->ids[i];
    return 0;
}

static int encode_texts(const struct encoder *e, const char *prompt, const char *answer, int32_t end,
                        struct example *example, struct err *err)
{
    struct arena *arena = &e->dataset->arena;
    struct encoding text, target = {0}, all;
    int rc = tokenizer_encode(e->tokenizer, prompt, NULL, e->max_tokens, arena, &text, err);
    if (rc == 0 && answer) {
        rc = tokenizer_encode_plain(e->tokenizer, answer, e->max_tokens, arena, &target, err);
        if (rc == 0 && text.n + target.n > e->max_tokens) { /* the prompt gives way, from its front */
            int cut = text.n + target.n - e->max_tokens < text.n ? text.n + target.n - e->max_tokens : text.n;
            text.ids += cut;
            text.n -= cut;
            text.is_truncated = true;
        }
    }
    if (rc == 0)
        rc = join(arena, &text, &target, end, e->max_tokens, &all, err);
    if (rc < 0)
        return rc;
    *example = (struct example){.ids = all.ids, .type_ids = all.type_ids, .n_tokens = all.n};
    e->dataset->n_truncated += all.is_truncated;
    return set_targets(e, example, &all, answer ? text.n : 0, err);
}

static int encode_causal(const struct encoder *e, const struct row *row, struct example *example, struct err *err)
{
    if (!e->chat)
        return encode_texts(e, row->text, row->pair, e->ids->end, example, err);
    struct text prompt = {0}, answer = {0};
    const struct chat_message message = {"user", row->text};
    const char *end = chat_end(e->chat);
    int rc = chat_add(e->chat, &message, 1, true, &prompt, err);
    text_printf(&answer, "%s%s%s", chat_lead(e->chat), row->pair, end);
    if (rc == 0 && (prompt.failed || answer.failed))
        rc = err_set(err, ERR_NOMEM, "no memory for a conversation");
    if (rc == 0)
        rc = encode_texts(e, prompt.data, answer.data, end[0] ? -1 : e->ids->end, example, err);
    text_done(&prompt);
    text_done(&answer);
    return rc;
}

int language_encode_source(const struct tokenizer *tokenizer, const struct language_ids *ids, const char *source,
                           int max_tokens, struct arena *arena, struct encoding *out, struct err *err)
{
    const struct encoding none = {0};
    struct encoding text;
    bool is_bare = tokenizer_special_tokens(tokenizer, false) == 0;
    int rc = tokenizer_encode(tokenizer, source, NULL, max_tokens, arena, &text, err);
    return rc < 0 ? rc : join(arena, &text, &none, is_bare ? ids->end : -1, max_tokens, out, err);
}

static int encode_seq2seq(const struct encoder *e, const struct row *row, struct example *example, struct err *err)
{
    struct arena *arena = &e->dataset->arena;
    struct encoding input, target, answer;
    int room = e->max_tokens - (e->ids->forced_first >= 0);
    int rc = language_encode_source(e->tokenizer, e->ids, row->text, e->max_tokens, arena, &input, err);
    if (rc == 0)
        rc = tokenizer_encode_plain(e->tokenizer, row->pair, room, arena, &target, err);
    if (rc < 0)
        return rc;
    struct encoding first = {.ids = (int32_t[]){e->ids->forced_first}, .n = e->ids->forced_first >= 0};
    rc = join(arena, &first, &target, e->ids->end, e->max_tokens, &answer, err);
    if (rc < 0)
        return rc;
    *example = (struct example){.ids = input.ids, .type_ids = input.type_ids, .n_tokens = input.n};
    example->decoder_ids = arena_alloc(arena, ((size_t)answer.n + 1) * sizeof(int32_t));
    if (!example->decoder_ids)
        return err_set(err, ERR_NOMEM, "no memory for %d tokens", answer.n);
    example->decoder_ids[0] = e->ids->decoder_start;
    for (int i = 1; i < answer.n; i++)
        example->decoder_ids[i] = answer.ids[i - 1];
    e->dataset->n_truncated += input.is_truncated || answer.is_truncated;
    return set_targets(e, example, &answer, 0, err);
}

int language_predicted(const struct example *example)
{
    int n = 0;
    for (int i = example->decoder_ids ? 0 : 1; i < example->n_targets; i++)
        n += example->targets[i] != NO_LABEL;
    return n;
}

int language_encode(struct dataset *dataset, const struct rows *rows, const struct tokenizer *tokenizer,
                    enum model_task task, const struct language_ids *ids, const struct chat *chat, int max_tokens,
                    struct err *err)
{
    const struct encoder e = {dataset, tokenizer, ids, chat, max_tokens};
    int rc = dataset_begin(dataset, rows, err);
    for (size_t i = 0; i < rows->count && rc == 0; i++) {
        struct example *example = &dataset->examples[dataset->count];
        const struct row *row = &rows->items[i];
        rc = task == TASK_CAUSAL ? encode_causal(&e, row, example, err) : encode_seq2seq(&e, row, example, err);
        if (rc == 0 && (example->n_tokens == 0 || language_predicted(example) == 0))
            rc = err_set(err, ERR_DATA, "'%s', line %u: nothing is left of it to predict", rows->path, row->line);
        dataset->count++;
        dataset->n_tokens += (size_t)example->n_tokens + (example->decoder_ids ? (size_t)example->n_targets : 0);
    }
    return rc;
}

bool language_pack(struct batch *batch, const struct example *examples, const uint32_t *indices, size_t first, size_t n,
                   struct arena *arena)
{
    size_t n_rows = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        n_rows += (size_t)examples[indices ? indices[first + i] : first + i].n_targets;
    int32_t *labels = arena_alloc(arena, (n_rows + 1) * sizeof(*labels));
    int32_t *ids = arena_alloc(arena, (n_rows + 1) * sizeof(*ids));
    struct segment *segments = arena_alloc(arena, (n + 1) * sizeof(*segments));
    if (!labels || !ids || !segments)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct segment *input = &batch->layout.segments[i];
        const struct example *example = &examples[indices ? indices[first + i] : first + i];
        int rows = example->n_targets;
        memcpy(labels + at, example->targets, (size_t)rows * sizeof(*labels));
        if (example->decoder_ids)
            memcpy(ids + at, example->decoder_ids, (size_t)rows * sizeof(*ids));
        segments[i] = (struct segment){(int)at, rows, rows, 0, input->example};
        at += (size_t)rows;
    }
    batch->labels = labels;
    if (n == 0 || !examples[indices ? indices[first] : first].decoder_ids)
        return true;
    batch->decoder_ids = ids;
    batch->decoder_layout = (struct layout){.n_segments = (int)n, .n_rows = (int)at, .segments = segments};
    return true;
}
