/* A request to predict, and its answers. */
#include "trainer/predict_command.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "trainer/request.h"
#include "trainer/saved_adapter.h"
#include "trainer/trial.h"

struct predicting {
    cJSON *request, *task;
    struct saved_adapter saved;
    const char *adapter, *input;
    bool is_labeled;
    struct trial_job job;
    struct trial trial;
    struct arena arena;
};

static int read_request(struct predicting *p, FILE *in, struct err *err)
{
    const cJSON *task = NULL;
    int rc = request_read(in, &p->request, err);
    if (rc == 0)
        rc = json_get_string(p->request, "model", "request", &p->job.model, err);
    if (rc == 0)
        rc = json_get_string(p->request, "adapter", "request", &p->adapter, err);
    if (rc == 0)
        rc = json_get_string(p->request, "input", "request", &p->input, err);
    if (rc == 0)
        rc = json_opt_bool(p->request, "labeled", "request", &p->is_labeled, err);
    if (rc == 0)
        rc = json_get_object(p->request, "task", "request", &task, err);
    if (rc == 0 && !(p->task = cJSON_Duplicate(task, true)))
        rc = err_set(err, ERR_NOMEM, "no memory for a task");
    if (rc == 0 && !p->is_labeled) { /* a null label: rows without one */
        cJSON_DeleteItemFromObjectCaseSensitive(p->task, "label");
        rc = cJSON_AddNullToObject(p->task, "label") ? 0 : err_set(err, ERR_NOMEM, "no memory for a task");
    }
    p->job.task = p->task;
    return rc < 0 ? rc : trial_job_task_kind(p->task, &p->job.model_task, err);
}

static int read_adapter(struct predicting *p, struct err *err)
{
    int rc = saved_adapter_read(&p->saved, p->adapter, err);
    if (rc == 0 && p->job.model_task == TASK_CLASSIFICATION && p->saved.labels.count < 2)
        rc = err_set(err, ERR_FORMAT, "'%s' is no classifier: its nightsweep.json has no labels", p->adapter);
    p->job.settings = p->saved.settings;
    p->trial.labels = p->saved.labels; /* the trial's to free from here on */
    p->saved.labels = (struct labels){0};
    return rc;
}

static int write_line(struct text *line, FILE *out, struct err *err)
{
    text_add(line, "}\n");
    int rc = line->failed || fputs(line->data, out) < 0 ? err_set(err, ERR_IO, "an answer cannot be written") : 0;
    text_reset(line);
    return rc;
}

static void add_text(struct text *line, const char *key, const char *value)
{
    text_printf(line, ",\"%s\":", key);
    text_add_json(line, value);
}

static void add_row(struct text *line, const struct predicting *p, const struct predictions *found, size_t i)
{
    const struct row *row = &p->trial.test_rows.items[i];
    const struct labels *labels = &p->trial.labels;
    text_printf(line, "{\"line\":%u", row->line);
    add_text(line, "text", row->text);
    if (found->n_tokens) {
        text_printf(line, ",\"tokens\":%d,\"loss\":", found->n_tokens[i]);
        text_add_double(line, (double)found->losses[i]);
        return;
    }
    if (row->pair)
        add_text(line, "text_pair", row->pair);
    if (p->is_labeled)
        add_text(line, "label", row->label);
    add_text(line, "predicted", labels->names[found->predicted[i]]);
    text_add(line, ",\"probabilities\":[");
    for (int c = 0; c < labels->count; c++) {
        text_add(line, c ? "," : "");
        text_add_double(line, (double)found->probabilities[i * (size_t)labels->count + (size_t)c]);
    }
    text_add(line, "]");
}

static int answer(struct predicting *p, FILE *out, struct err *err)
{
    struct text line = {0};
    struct predictions found = {0};
    struct metrics metrics = {0};
    const struct labels *labels = &p->trial.labels;
    text_add(&line, "{\"labels\":[");
    for (int c = 0; c < labels->count; c++) {
        text_add(&line, c ? "," : "");
        text_add_json(&line, labels->names[c]);
    }
    text_add(&line, "]");
    int rc = trial_predict(&p->trial, &p->trial.test, &found, &p->arena, err);
    if (rc == 0)
        rc = write_line(&line, out, err);
    for (size_t i = 0; i < found.n && rc == 0; i++) {
        add_row(&line, p, &found, i);
        rc = write_line(&line, out, err);
    }
    if (rc == 0 && p->is_labeled && found.n > 0)
        rc = metrics_compute(&metrics, &found, &p->arena, err);
    if (rc == 0 && p->is_labeled && found.n > 0) {
        text_add(&line, "{\"metrics\":");
        metrics_add_json(&line, &metrics, labels);
        rc = write_line(&line, out, err);
    }
    text_done(&line);
    return rc;
}

int predict_command(FILE *in, FILE *out, struct err *err)
{
    struct predicting *p = calloc(1, sizeof(*p));
    if (!p)
        return err_set(err, ERR_NOMEM, "no memory to predict");
    p->job.threads = 1;
    int rc = read_request(p, in, err);
    if (rc == 0)
        rc = read_adapter(p, err);
    if (rc == 0)
        rc = trial_open_to_predict(&p->trial, &p->job, p->input, err);
    if (rc == 0)
        rc = answer(p, out, err);
    trial_close(&p->trial);
    json_free(p->request);
    saved_adapter_done(&p->saved);
    json_free(p->task);
    arena_done(&p->arena);
    free(p);
    return rc;
}
