/* The sections of a Weights & Biases sweep file. */
#include "orchestrator/wandb.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/wandb_parameter.h"
#include "orchestrator/yaml.h"

bool wandb_is_path(const char *path)
{
    return text_ends_with(path, ".yaml") || text_ends_with(path, ".yml");
}

/* Name ------------------------------------------------------------------------------------------------------------- */

/* "My sweep!" → "my-sweep": what a sweep may be called here. */
static void add_name(struct text *out, const char *name)
{
    for (const char *c = name; *c && out->len < 64; c++) {
        bool is_upper = *c >= 'A' && *c <= 'Z';
        bool is_kept = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || is_upper;
        if (is_kept)
            text_add_char(out, (char)(is_upper ? *c - 'A' + 'a' : *c));
        else if (out->len > 0 && (strchr("._-", *c) || out->data[out->len - 1] != '-'))
            text_add_char(out, strchr("._-", *c) ? *c : '-');
    }
    while (out->len > 0 && out->data[out->len - 1] == '-')
        out->data[--out->len] = '\0';
}

static void read_name(struct wandb_reader *reader, const cJSON *root, const char *path, cJSON *out)
{
    const cJSON *given = json_get(root, "name");
    const char *file = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    struct text name = {0}, stem = {0};
    text_add_n(&stem, file, strcspn(file, "."));
    if (given && !cJSON_IsString(given))
        problems_add(&reader->problems, "name: %s was found, a text was expected", json_type_name(given));
    add_name(&name, cJSON_IsString(given) ? given->valuestring : stem.data ? stem.data : "");
    if (name.len == 0)
        text_add(&name, "sweep");
    if (cJSON_IsString(given) && name.data && strcmp(name.data, given->valuestring) != 0)
        text_printf(reader->remarks, "name: '%.100s' becomes '%s'\n", given->valuestring, name.data);
    cJSON_AddStringToObject(out, "name", name.data ? name.data : "");
    text_done(&name);
    text_done(&stem);
}

/* Search and objectives -------------------------------------------------------------------------------------------- */

static void read_method(struct wandb_reader *reader, const cJSON *root, cJSON *out)
{
    static const char *const methods[] = {"grid", "random", "bayes", "custom", NULL};
    static const char *const algorithms[] = {"grid", "random", "gp", "auto"};
    const cJSON *method = json_get(root, "method");
    int i = 0;
    while (methods[i] && !(cJSON_IsString(method) && strcmp(methods[i], method->valuestring) == 0))
        i++;
    if (!methods[i]) {
        const char *near = cJSON_IsString(method) ? text_nearest(method->valuestring, methods) : NULL;
        problems_add(&reader->problems, "method: %s%s%s, grid, random or bayes was expected%s%s%s", method ? "'" : "",
                     cJSON_IsString(method) ? method->valuestring
                     : method               ? json_type_name(method)
                                            : "is missing",
                     method ? "'" : "", near ? "; nearest is '" : "", near ? near : "", near ? "'" : "");
        return;
    }
    if (i == 3)
        text_add(reader->remarks, "method: custom becomes search.algorithm auto\n");
    if (i == 2 && !json_get(root, "metric"))
        problems_add(&reader->problems, "metric: is missing, bayes needs to know what to optimise");
    cJSON_AddStringToObject(cJSON_AddObjectToObject(out, "search"), "algorithm", algorithms[i]);
}

static void read_metric(struct wandb_reader *reader, const cJSON *metric, const char *where, cJSON *objectives)
{
    static const char *const keys[] = {"name", "goal", "target", "impute", "impute_while_running", NULL};
    const cJSON *name = json_get(metric, "name"), *goal = json_get(metric, "goal");
    if (!cJSON_IsObject(metric)) {
        problems_add(&reader->problems, "%s: %s was found, a mapping was expected", where, json_type_name(metric));
        return;
    }
    wandb_check_keys(reader, metric, where, keys);
    if (!cJSON_IsString(name))
        problems_add(&reader->problems, "%s.name: is missing, a text was expected", where);
    if (goal && !(cJSON_IsString(goal) &&
                  (strcmp(goal->valuestring, "minimize") == 0 || strcmp(goal->valuestring, "maximize") == 0)))
        problems_add(&reader->problems, "%s.goal: minimize or maximize was expected", where);
    for (const char *const *key = keys + 2; *key; key++)
        if (json_get(metric, *key))
            text_printf(reader->remarks, "%s.%s: has no counterpart%s\n", where, *key,
                        strcmp(*key, "target") == 0
                            ? "; the sweep goes on after a value is reached"
                            : "; a trial that failed counts as infeasible, one that was ended as far as it came");
    cJSON *objective = cJSON_CreateObject();
    cJSON_AddStringToObject(objective, "metric", cJSON_IsString(name) ? name->valuestring : "");
    cJSON_AddStringToObject(objective, "goal", cJSON_IsString(goal) ? goal->valuestring : "minimize");
    json_append(objectives, objective);
}

static void read_metrics(struct wandb_reader *reader, const cJSON *root, cJSON *out)
{
    const cJSON *one = json_get(root, "metric"), *list = json_get(root, "metrics");
    if (!one && !list)
        return;
    if (one && list)
        problems_add(&reader->problems, "metrics: stands beside 'metric'; one of them names the objectives");
    cJSON *objectives = cJSON_AddArrayToObject(out, "objectives");
    if (one)
        read_metric(reader, one, "metric", objectives);
    else if (!cJSON_IsArray(list) || !list->child)
        problems_add(&reader->problems, "metrics: a list of metrics was expected");
    for (const cJSON *item = cJSON_IsArray(list) ? list->child : NULL; item; item = item->next)
        read_metric(reader, item, "metrics", objectives);
}

/* Stopping --------------------------------------------------------------------------------------------------------- */

/* The least of the iterations max_iter / eta, max_iter / eta², … (s of them) that is at least 1. */
static double first_band(double max_iter, double s, double eta)
{
    double band = max_iter;
    for (int i = 0; i < s && floor(band / eta) >= 1; i++)
        band /= eta;
    return floor(band);
}

static void read_early_terminate(struct wandb_reader *reader, const cJSON *section, cJSON *out)
{
    static const char *const keys[] = {"type", "min_iter", "max_iter", "s", "eta", "strict", NULL};
    static const char where[] = "early_terminate";
    const cJSON *type = json_get(section, "type");
    double min_iter = 0, max_iter = 0, s = 0, eta = 3;
    int before = reader->problems.n;
    if (!section)
        return;
    if (!cJSON_IsObject(section) || !cJSON_IsString(type) || strcmp(type->valuestring, "hyperband") != 0) {
        problems_add(&reader->problems, "%s: a mapping with type: hyperband was expected", where);
        return;
    }
    wandb_check_keys(reader, section, where, keys);
    bool has_max = json_get(section, "max_iter") != NULL;
    wandb_number(reader, section, where, "min_iter", !has_max, &min_iter);
    wandb_number(reader, section, where, "max_iter", false, &max_iter);
    wandb_number(reader, section, where, "s", has_max, &s);
    wandb_number(reader, section, where, "eta", false, &eta);
    if (reader->problems.n == before && (eta <= 1 || (has_max ? max_iter < eta || s < 1 : min_iter < 1)))
        problems_add(&reader->problems, "%s: eta above 1, and min_iter or max_iter / eta of at least 1 were expected",
                     where);
    if (reader->problems.n > before)
        return;
    cJSON *stopping = cJSON_AddObjectToObject(out, "stopping");
    cJSON_AddStringToObject(stopping, "rule", "asha");
    cJSON_AddNumberToObject(stopping, "min_resource", has_max ? first_band(max_iter, s, eta) : min_iter);
    if (has_max)
        cJSON_AddNumberToObject(stopping, "max_resource", max_iter);
    cJSON_AddNumberToObject(stopping, "reduction_factor", eta);
    text_printf(reader->remarks,
                "%s: becomes the stopping rule asha; its iterations count as steps, there they count "
                "reports of the metric\n",
                where);
    if (json_get(section, "strict"))
        text_printf(reader->remarks, "%s.strict: has no counterpart\n", where);
}

/* The rest --------------------------------------------------------------------------------------------------------- */

static const char *const keys[] = {
    "name",    "description", "method",     "metric",    "metrics", "parameters", "early_terminate",
    "run_cap", "nightsweep",  "program",    "command",   "project", "entity",     "controller",
    "job",     "image_uri",   "apiVersion", "scheduler", "kind",    "launch",     NULL};

static void read_rest(struct wandb_reader *reader, const cJSON *root, cJSON *out)
{
    static const char *const unread[] = {"project",    "entity",    "controller", "job",    "image_uri",
                                         "apiVersion", "scheduler", "kind",       "launch", NULL};
    const cJSON *run_cap = json_get(root, "run_cap");
    double trials = 0;
    if (run_cap && wandb_number(reader, root, "sweep", "run_cap", true, &trials))
        cJSON_AddNumberToObject(cJSON_AddObjectToObject(out, "budget"), "trials", trials);
    if (json_get(root, "program") || json_get(root, "command"))
        text_add(reader->remarks, "program, command: nothing is started; `nightsweep suggest --serve` proposes what to "
                                  "train, or a model and a task below 'nightsweep' are trained here\n");
    for (const char *const *key = unread; *key; key++)
        if (json_get(root, *key))
            text_printf(reader->remarks, "%s: has no counterpart\n", *key);
}

/* Members of ours go over as they are, in place of what was converted. */
static int take_own(struct wandb_reader *reader, const cJSON *own, cJSON *out, struct err *err)
{
    if (own && !cJSON_IsObject(own)) {
        problems_add(&reader->problems, "nightsweep: %s was found, a mapping was expected", json_type_name(own));
        return 0;
    }
    for (const cJSON *item = own ? own->child : NULL; item; item = item->next) {
        cJSON *copy = cJSON_Duplicate(item, true);
        cJSON_DeleteItemFromObjectCaseSensitive(out, item->string);
        if (!json_put(out, item->string, copy))
            return err_set(err, ERR_NOMEM, "no memory for a definition");
    }
    return 0;
}

/* What was said about the conversion, and the file's own description, for people. */
static void add_notes(const struct wandb_reader *reader, const cJSON *root, cJSON *out)
{
    const cJSON *description = json_get(root, "description");
    const char *line = reader->remarks->data;
    if (!cJSON_IsString(description) && reader->remarks->len == 0)
        return;
    cJSON *notes = cJSON_AddArrayToObject(out, "notes");
    if (cJSON_IsString(description))
        json_append(notes, cJSON_CreateString(description->valuestring));
    while (line && *line) {
        struct text note = {0};
        size_t n = strcspn(line, "\n");
        text_add_n(&note, line, n);
        json_append(notes, cJSON_CreateString(note.data ? note.data : ""));
        reader->remarks->failed = reader->remarks->failed || note.failed;
        text_done(&note);
        line += n + (line[n] == '\n');
    }
}

static int convert(struct wandb_reader *reader, const cJSON *root, const char *path, cJSON *out, struct err *err)
{
    const cJSON *parameters = json_get(root, "parameters");
    int rc = 0;
    if (!cJSON_IsObject(root)) {
        problems_add(&reader->problems, "%s was found, a mapping was expected", json_type_name(root));
        return 0;
    }
    wandb_check_keys(reader, root, "", keys);
    read_name(reader, root, path, out);
    reader->settings = cJSON_AddObjectToObject(out, "settings");
    reader->parameters = cJSON_AddObjectToObject(out, "parameters");
    if (!reader->settings || !reader->parameters)
        return err_set(err, ERR_NOMEM, "no memory for a definition");
    if (!cJSON_IsObject(parameters) || !parameters->child)
        problems_add(&reader->problems, "parameters: %s, a mapping of parameters was expected",
                     parameters ? json_type_name(parameters) : "is missing");
    for (const cJSON *item = cJSON_IsObject(parameters) ? parameters->child : NULL; item && rc == 0; item = item->next)
        rc = wandb_read_parameter(reader, item->string, item, err);
    read_method(reader, root, out);
    read_metrics(reader, root, out);
    read_early_terminate(reader, json_get(root, "early_terminate"), out);
    read_rest(reader, root, out);
    return rc == 0 ? take_own(reader, json_get(root, "nightsweep"), out, err) : rc;
}

int wandb_convert(const char *text, size_t n, const char *path, cJSON **definition, struct text *remarks,
                  struct err *err)
{
    struct wandb_reader reader = {.remarks = remarks};
    cJSON *root = NULL, *out = NULL;
    int rc = yaml_parse(text, n, &root, err);
    if (rc < 0)
        return err_wrap(err, "'%s'", path);
    if (!(out = cJSON_CreateObject()))
        rc = err_set(err, ERR_NOMEM, "no memory for a definition");
    if (rc == 0)
        rc = convert(&reader, root, path, out, err);
    if (rc == 0)
        add_notes(&reader, root, out);
    if (rc == 0)
        rc = json_check_memory(err);
    if (rc == 0 && remarks->failed)
        rc = err_set(err, ERR_NOMEM, "no memory for a definition");
    if (rc == 0)
        rc = problems_result(&reader.problems, path, err);
    problems_done(&reader.problems);
    json_free(root);
    if (rc < 0)
        json_free(out);
    else
        *definition = out;
    return rc;
}
