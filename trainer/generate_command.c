/* A request to generate, and its answers. */
#include "trainer/generate_command.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/settings.h"
#include "trainer/chat.h"
#include "trainer/gemm.h"
#include "trainer/generate.h"
#include "trainer/method.h"
#include "trainer/methods/method_file.h"
#include "trainer/request.h"
#include "trainer/saved_adapter.h"
#include "trainer/tokenizer.h"

struct generating {
    const char *folder, *adapter;
    cJSON *request;
    struct saved_adapter saved; /* of an adapter without settings in the request */
    cJSON *given;               /* the request's, resolved */
    const cJSON *settings;      /* one of the two */
    struct arena arena, texts;  /* the model's; of one prompt */
    struct model model;
    struct tokenizer *tokenizer;
    struct generation options;
    struct generation_ids ids;
    struct chat chat;
    bool has_chat;
};

static int opt_int(const cJSON *json, const char *key, int *out, struct err *err)
{
    int64_t value = *out;
    int rc = json_opt_int64(json, key, "generation", &value, err);
    if (rc == 0 && (value < INT32_MIN || value > INT32_MAX))
        rc = err_set(err, ERR_USAGE, "generation: '%s' is %lld, which is out of range", key, (long long)value);
    if (rc == 0)
        *out = (int)value;
    return rc;
}

static int read_options(struct generating *g, struct err *err)
{
    const cJSON *json = json_get(g->request, "generation");
    struct generation *o = &g->options;
    int64_t seed = 0;
    *o = generation_default();
    int rc = json ? opt_int(json, "max_new_tokens", &o->max_new_tokens, err) : 0;
    if (rc == 0 && json)
        rc = opt_int(json, "beams", &o->beams, err);
    if (rc == 0 && json)
        rc = opt_int(json, "top_k", &o->top_k, err);
    if (rc == 0 && json)
        rc = opt_int(json, "no_repeat_ngram", &o->no_repeat_ngram, err);
    if (rc == 0 && json)
        rc = json_opt_bool(json, "sample", "generation", &o->samples, err);
    if (rc == 0 && json)
        rc = json_opt_bool(json, "early_stopping", "generation", &o->stops_early, err);
    if (rc == 0 && json)
        rc = json_opt_bool(json, "cache", "generation", &o->uses_cache, err);
    if (rc == 0 && json)
        rc = json_opt_double(json, "temperature", "generation", &o->temperature, err);
    if (rc == 0 && json)
        rc = json_opt_double(json, "top_p", "generation", &o->top_p, err);
    if (rc == 0 && json)
        rc = json_opt_double(json, "length_penalty", "generation", &o->length_penalty, err);
    if (rc == 0 && json)
        rc = json_opt_int64(json, "seed", "generation", &seed, err);
    if (rc == 0 && seed < 0)
        rc = err_set(err, ERR_USAGE, "generation: seed %lld is below 0", (long long)seed);
    o->seed = (uint64_t)seed;
    return rc < 0 ? rc : generation_check(o, err);
}

/* The request's, or those that an adapter was trained with. */
static int read_settings(struct generating *g, struct err *err)
{
    const cJSON *given = json_get(g->request, "settings");
    int rc = given || !g->adapter ? settings_resolve(given, "settings", &g->given, err)
                                  : saved_adapter_read(&g->saved, g->adapter, err);
    g->settings = g->given ? g->given : g->saved.settings;
    return rc;
}

static int open_model(struct generating *g, struct err *err)
{
    struct model_options options = {.pooling = "mean", .dropout = 0, .attention_dropout = 0};
    int rc = model_language_task(g->folder, &options.task, err);
    if (rc == 0)
        rc = read_settings(g, err);
    if (rc == 0)
        rc = model_open(&g->model, g->folder, &options, &g->arena, err);
    if (rc == 0 && g->adapter)
        rc = methods_attach(&g->model, g->settings, 0, err);
    if (rc == 0 && g->adapter)
        rc = methods_load(&g->model, g->settings, (const char *const[]){NULL}, g->adapter, err);
    if (rc == 0 && g->adapter && methods_look_at_sequences(&g->model, g->settings))
        g->options.uses_cache = false;
    if (rc == 0)
        rc = generation_ids_read(&g->ids, &g->model, err);
    return rc < 0 ? rc : tokenizer_open(&g->tokenizer, g->folder, err);
}

enum { MAX_MESSAGES = 1024 };

/* {"role", "content"} objects. */
static int read_messages(const cJSON *list, struct chat_message *messages, size_t *n, struct err *err)
{
    *n = 0;
    for (const cJSON *item = list->child; item; item = item->next) {
        if (*n == MAX_MESSAGES || !cJSON_IsObject(item))
            return err_set(err, ERR_USAGE, "prompts: at most %d messages with role and content were expected",
                           MAX_MESSAGES);
        int rc = json_get_string(item, "role", "prompts", &messages[*n].role, err);
        if (rc == 0)
            rc = json_get_string(item, "content", "prompts", &messages[*n].content, err);
        if (rc < 0)
            return rc;
        (*n)++;
    }
    return 0;
}

/* A text as the user's message, or a list of messages, as the chat template has them. */
static int write_chat(const struct generating *g, const cJSON *prompt, struct text *out, struct err *err)
{
    const cJSON *system = json_get(g->request, "system");
    struct chat_message *messages = calloc(MAX_MESSAGES + 2, sizeof(*messages));
    size_t first = 0, n = 0;
    int rc = messages ? 0 : err_set(err, ERR_NOMEM, "no memory for messages");
    if (rc == 0 && cJSON_IsString(system))
        messages[first++] = (struct chat_message){"system", system->valuestring};
    if (rc == 0 && cJSON_IsString(prompt))
        messages[first + n++] = (struct chat_message){"user", prompt->valuestring};
    else if (rc == 0)
        rc = read_messages(prompt, messages + first, &n, err);
    if (rc == 0)
        rc = chat_add(&g->chat, messages, first + n, true, out, err);
    free(messages);
    return rc;
}

static int open_chat(struct generating *g, struct err *err)
{
    const char *name = NULL;
    int rc = json_opt_string(g->request, "chat_template", "request", &name, err);
    if (rc < 0 || !name)
        return rc;
    rc = chat_open(&g->chat, name, g->folder, err);
    if (rc < 0)
        return rc;
    g->has_chat = true;
    int32_t end = tokenizer_find(g->tokenizer, chat_end(&g->chat));
    if (end >= 0 && g->ids.n_ends < GENERATE_MAX_ENDS)
        g->ids.ends[g->ids.n_ends++] = end;
    return 0;
}

/* A text's tokens with the tokenizer's special ones, or the ids as they are given. */
static int read_prompt(struct generating *g, const cJSON *prompt, struct text *written, struct encoding *out,
                       struct err *err)
{
    *out = (struct encoding){0};
    if (g->has_chat) {
        int rc = write_chat(g, prompt, written, err);
        return rc < 0 ? rc
                      : tokenizer_encode(g->tokenizer, written->data ? written->data : "", NULL, GENERATE_MAX_TOKENS,
                                         &g->texts, out, err);
    }
    if (cJSON_IsString(prompt))
        return tokenizer_encode(g->tokenizer, prompt->valuestring, NULL, GENERATE_MAX_TOKENS, &g->texts, out, err);
    if (!cJSON_IsArray(prompt))
        return err_set(err, ERR_USAGE, "prompts: %s was found, a text or a list of ids was expected",
                       json_type_name(prompt));
    out->ids = arena_calloc(&g->texts, (size_t)cJSON_GetArraySize(prompt) + 1, sizeof(*out->ids));
    if (!out->ids)
        return err_set(err, ERR_NOMEM, "no memory for a prompt");
    for (const cJSON *item = prompt->child; item; item = item->next) {
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < g->model.vocab_size))
            return err_set(err, ERR_USAGE, "prompts: ids of 0 to %d were expected", g->model.vocab_size - 1);
        out->ids[out->n++] = (int32_t)item->valuedouble;
    }
    return 0;
}

static int answer(struct generating *g, const cJSON *prompt, FILE *out, struct err *err)
{
    struct encoding encoding;
    struct text text = {0}, line = {0}, written = {0};
    int n = 0;
    arena_reset(&g->texts);
    int rc = read_prompt(g, prompt, &written, &encoding, err);
    int32_t *ids = rc == 0 ? arena_calloc(&g->texts, (size_t)g->options.max_new_tokens, sizeof(*ids)) : NULL;
    if (rc == 0 && !ids)
        rc = err_set(err, ERR_NOMEM, "no memory for %d tokens", g->options.max_new_tokens);
    if (rc == 0)
        rc = generate(&g->model, &g->ids, &g->options, encoding.ids, encoding.n, ids, &n, err);
    if (rc == 0)
        rc = tokenizer_decode(g->tokenizer, ids, (size_t)n, true, &text, err);
    if (rc == 0) {
        text_printf(&line, "{\"prompt_tokens\":%d,\"ids\":[", encoding.n);
        for (int i = 0; i < n; i++)
            text_printf(&line, "%s%d", i ? "," : "", ids[i]);
        text_add(&line, "],\"text\":");
        text_add_json(&line, text.data ? text.data : "");
        if (g->has_chat) {
            text_add(&line, ",\"prompt\":");
            text_add_json(&line, written.data ? written.data : "");
        }
        text_add(&line, "}\n");
        fputs(line.failed ? "" : line.data, out);
        fflush(out);
    }
    text_done(&text);
    text_done(&line);
    text_done(&written);
    return rc;
}

static int read_request(struct generating *g, FILE *in, struct err *err)
{
    int rc = request_read(in, &g->request, err);
    if (rc == 0)
        rc = json_get_string(g->request, "model", "request", &g->folder, err);
    if (rc == 0)
        rc = json_opt_string(g->request, "adapter", "request", &g->adapter, err);
    return rc < 0 ? rc : read_options(g, err);
}

int generate_command(FILE *in, FILE *out, struct err *err)
{
    struct generating g = {0};
    const cJSON *prompts = NULL;
    gemm_set_threads(1);
    int rc = read_request(&g, in, err);
    if (rc == 0)
        rc = json_get_array(g.request, "prompts", "request", &prompts, err);
    if (rc == 0)
        rc = open_model(&g, err);
    if (rc == 0)
        rc = open_chat(&g, err);
    for (const cJSON *prompt = rc == 0 ? prompts->child : NULL; prompt && rc == 0; prompt = prompt->next) {
        rc = answer(&g, prompt, out, err);
        g.options.example++;
    }
    chat_close(&g.chat);
    tokenizer_close(g.tokenizer);
    model_close(&g.model);
    json_free(g.given);
    saved_adapter_done(&g.saved);
    json_free(g.request);
    arena_done(&g.arena);
    arena_done(&g.texts);
    return rc;
}
