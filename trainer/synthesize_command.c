/* Parallel text that a model makes. */
#include "trainer/synthesize_command.h"

#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/gemm.h"
#include "trainer/request.h"
#include "trainer/rows.h"
#include "trainer/translate.h"

struct synthesizing {
    cJSON *request;
    const cJSON *task;
    const char *folder, *rows, *tag, *beside, *output, *text, *target;
    int64_t beams, max_tokens;
    struct arena arena;
    struct model model;
    struct tokenizer *tokenizer;
    struct translator translator;
    struct text out;
    int n_made, n_empty, n_beside;
};

static int read_request(struct synthesizing *s, FILE *in, struct err *err)
{
    s->beams = 1;
    s->max_tokens = 128;
    int rc = request_read(in, &s->request, err);
    if (rc == 0)
        rc = json_get_string(s->request, "model", "request", &s->folder, err);
    if (rc == 0)
        rc = json_get_object(s->request, "task", "request", &s->task, err);
    if (rc == 0)
        rc = json_get_string(s->task, "text", "task", &s->text, err);
    if (rc == 0)
        rc = json_get_string(s->task, "target", "task", &s->target, err);
    if (rc == 0)
        rc = json_get_string(s->request, "rows", "request", &s->rows, err);
    if (rc == 0)
        rc = json_get_string(s->request, "tag", "request", &s->tag, err);
    if (rc == 0)
        rc = json_opt_string(s->request, "beside", "request", &s->beside, err);
    if (rc == 0)
        rc = json_opt_int64(s->request, "beams", "request", &s->beams, err);
    if (rc == 0)
        rc = json_opt_int64(s->request, "max_tokens", "request", &s->max_tokens, err);
    if (rc == 0)
        rc = json_get_string(s->request, "output", "request", &s->output, err);
    if (rc == 0 && (s->beams < 1 || s->beams > GENERATE_MAX_BEAMS || s->max_tokens < 1 || s->max_tokens > INT32_MAX))
        rc = err_set(err, ERR_USAGE, "request: beams or max_tokens is out of range");
    return rc;
}

static int open_model(struct synthesizing *s, struct err *err)
{
    struct model_options options = {.pooling = "mean", .task = TASK_SEQ2SEQ};
    struct generation generation = generation_default();
    generation.beams = (int)s->beams;
    int rc = model_open(&s->model, s->folder, &options, &s->arena, err);
    if (rc == 0)
        rc = tokenizer_open(&s->tokenizer, s->folder, err);
    return rc < 0
               ? rc
               : translator_open(&s->translator, &s->model, s->tokenizer, NULL, &generation, (int)s->max_tokens, err);
}

static void add_row(struct synthesizing *s, const char *text, const char *target)
{
    text_add(&s->out, "{");
    text_add_json(&s->out, s->text);
    text_add(&s->out, ":");
    text_add_json(&s->out, text);
    text_add(&s->out, ",");
    text_add_json(&s->out, s->target);
    text_add(&s->out, ":");
    text_add_json(&s->out, target);
    text_add(&s->out, "}\n");
}

static int make_rows(struct synthesizing *s, struct err *err)
{
    struct rows rows = {0};
    struct text translation = {0};
    int rc = rows_read(&rows, s->rows, s->task, 0, err);
    for (size_t i = 0; i < rows.count && rc == 0; i++) {
        text_reset(&translation);
        text_printf(&translation, "%s%s", s->tag, *s->tag ? " " : "");
        size_t before = translation.len;
        rc = translate(&s->translator, rows.items[i].text, (uint32_t)i, &translation, err);
        bool is_empty = translation.len == before;
        s->n_made += rc == 0 && !is_empty;
        s->n_empty += rc == 0 && is_empty;
        if (rc == 0 && !is_empty)
            add_row(s, translation.data, rows.items[i].pair);
    }
    text_done(&translation);
    rows_done(&rows);
    return rc;
}

static int add_beside(struct synthesizing *s, struct err *err)
{
    struct rows rows = {0};
    int rc = s->beside ? rows_read(&rows, s->beside, s->task, 0, err) : 0;
    for (size_t i = 0; i < rows.count && rc == 0; i++, s->n_beside++)
        add_row(s, rows.items[i].text, rows.items[i].pair);
    rows_done(&rows);
    return rc;
}

int synthesize_command(FILE *in, FILE *out, struct err *err)
{
    struct synthesizing s = {0};
    gemm_set_threads(1);
    int rc = read_request(&s, in, err);
    if (rc == 0)
        rc = open_model(&s, err);
    if (rc == 0)
        rc = make_rows(&s, err);
    if (rc == 0)
        rc = add_beside(&s, err);
    if (rc == 0 && s.n_made == 0)
        rc = err_set(err, ERR_DATA, "'%s': the model translates none of its rows", s.rows);
    if (rc == 0)
        rc = s.out.failed ? err_set(err, ERR_NOMEM, "no memory for %d rows", s.n_made + s.n_beside)
                          : file_write_atomic(s.output, s.out.data, s.out.len, err);
    if (rc == 0)
        fprintf(out, "{\"made\":%d,\"empty\":%d,\"beside\":%d}\n", s.n_made, s.n_empty, s.n_beside);
    translator_close(&s.translator);
    tokenizer_close(s.tokenizer);
    model_close(&s.model);
    text_done(&s.out);
    json_free(s.request);
    arena_done(&s.arena);
    return rc;
}
