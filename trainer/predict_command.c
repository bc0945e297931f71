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

/* Null columns: rows without what is to be predicted. */
static int forget_labels(struct predicting *p, struct err *err)
{
    const struct task_info *info = task_find(p->job.task_kind->name);
    for (const struct task_key *key = info->keys; key->name; key++) {
        if (key->slot != TASK_LABEL && key->value != VALUE_ANSWERS)
            continue;
        cJSON_DeleteItemFromObjectCaseSensitive(p->task, key->name);
        if (!cJSON_AddNullToObject(p->task, key->name))
            return err_set(err, ERR_NOMEM, "no memory for a task");
    }
    return 0;
}

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
    p->job.task = p->task;
    if (rc == 0)
        rc = trial_job_read_kind(&p->job, err);
    return rc < 0 || p->is_labeled ? rc : forget_labels(p, err);
}

static int read_adapter(struct predicting *p, struct err *err)
{
    int rc = saved_adapter_read(&p->saved, p->adapter, err);
    if (rc == 0 && p->job.task_kind->read_labels && p->saved.labels.count < 2)
        rc = err_set(err, ERR_FORMAT, "'%s' was not trained for this task: its nightsweep.json has no labels",
                     p->adapter);
    p->job.settings = p->saved.settings;
    p->trial.labels = p->saved.labels; /* the trial's to free from here on */
    p->saved.labels = (struct labels){0};
    return rc;
}

/* The tasks that were trained together: rows say which they belong to. */
static int read_tasks(struct predicting *p, struct err *err)
{
    const cJSON *list = json_get(p->saved.description, "tasks");
    int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    const char **names = n ? arena_alloc(&p->arena, (size_t)n * sizeof(*names)) : NULL;
    if (n && !names)
        return err_set(err, ERR_NOMEM, "no memory for tasks");
    n = 0;
    for (const cJSON *item = names ? list->child : NULL; item; item = item->next) {
        if (!cJSON_IsString(item))
            return err_set(err, ERR_FORMAT, "'%s': nightsweep.json: tasks: a list of texts was expected", p->adapter);
        names[n++] = item->valuestring;
    }
    p->trial.token_kinds = (struct token_kinds){.n_tasks = n, .tasks = names};
    return 0;
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

static void add_row(struct text *line, const struct predicting *p, const struct evaluated *found, size_t i)
{
    const struct row *row = &p->trial.test_rows.items[i];
    const struct task_kind *task = p->job.task_kind;
    text_printf(line, "{\"line\":%u", row->line);
    add_text(line, "text", row->text);
    if (row->pair && !task_find(task->name)->is_labelled) /* else it is the target */
        add_text(line, "text_pair", row->pair);
    task->add_answer(found, i, p->is_labeled, line);
}

static int answer(struct predicting *p, FILE *out, struct err *err)
{
    struct text line = {0};
    struct predictions predictions = {0};
    struct metrics metrics;
    const struct labels *labels = &p->trial.labels;
    const struct evaluated found = {&p->trial, &p->trial.test, &p->trial.test_rows, &predictions};
    metrics_begin(&metrics, p->job.task_kind->name);
    text_add(&line, "{\"labels\":[");
    for (int c = 0; c < labels->count; c++) {
        text_add(&line, c ? "," : "");
        text_add_json(&line, labels->names[c]);
    }
    text_add(&line, "]");
    int rc = trial_predict(&p->trial, &p->trial.test, &predictions, &p->arena, err);
    if (rc == 0)
        rc = write_line(&line, out, err);
    for (size_t i = 0; i < predictions.n && rc == 0; i++) {
        add_row(&line, p, &found, i);
        rc = write_line(&line, out, err);
    }
    if (rc == 0 && p->is_labeled && predictions.n > 0)
        rc = p->job.task_kind->measure(&found, &metrics, &p->arena, err);
    if (rc == 0 && p->is_labeled && predictions.n > 0) {
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
        rc = read_tasks(p, err);
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
