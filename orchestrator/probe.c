/* Grouping by cost, reading of records, and the estimate. */
#include "orchestrator/probe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/table.h"
#include "common/text.h"

/* Settings that change neither size nor time of a trial. */
static const char *const costless[] = {"learning_rate",
                                       "head_learning_rate_factor",
                                       "lora_b_learning_rate_factor",
                                       "method_learning_rate_factors",
                                       "weight_decay",
                                       "decay_biases",
                                       "momentum",
                                       "beta1",
                                       "beta2",
                                       "epsilon",
                                       "schedule",
                                       "warmup",
                                       "clip",
                                       "label_smoothing",
                                       "class_weights",
                                       "seed",
                                       "alpha",
                                       "alpha_pattern",
                                       "rank_stabilized",
                                       "lora_init",
                                       "order",
                                       "dropout",
                                       "attention_dropout",
                                       "method_dropout"};

/* Texts that a check of the built-in word lists runs through the model, about. */
enum { CHECK_TEXTS = 800, BYTES_A_PARAMETER = 4 };

static bool is_costless(const char *name)
{
    for (size_t i = 0; i < sizeof(costless) / sizeof(*costless); i++)
        if (text_equal(name, costless[i]))
            return true;
    return false;
}

/* Grouping -----------------------------------------------------------------------------------------------------------
 */

struct group_entry {
    const char *key;
    int index;
    UT_hash_handle hh;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the plan's estimate");
}

static const char *keep(struct arena *arena, struct text *text)
{
    text_add(text, "");
    const char *copy = text->failed ? NULL : arena_strdup(arena, text->data);
    text_done(text);
    return copy;
}

static const char *cost_key(struct arena *arena, const struct planned_configuration *configuration)
{
    struct text key = {0};
    cJSON *settings = cJSON_Duplicate(configuration->settings, true);
    for (size_t i = 0; i < sizeof(costless) / sizeof(*costless); i++)
        cJSON_DeleteItemFromObjectCaseSensitive(settings, costless[i]);
    text_add(&key, configuration->is_baseline ? "b" : "s");
    if (settings)
        json_add_canonical(&key, settings);
    else
        key.failed = true;
    cJSON_Delete(settings);
    return keep(arena, &key);
}

static const char *method_name(struct arena *arena, const struct planned_configuration *configuration)
{
    const cJSON *item, *method = json_get(configuration->settings, "method");
    struct text name = {0};
    if (configuration->is_baseline)
        return "baseline";
    if (cJSON_IsString(method))
        text_add(&name, method->valuestring);
    else
        cJSON_ArrayForEach(item, method)
        {
            text_printf(&name, "%s%s", name.len ? "+" : "", cJSON_IsString(item) ? item->valuestring : "?");
        }
    return keep(arena, &name);
}

static const char *cost_parameters(struct arena *arena, const struct planned_configuration *configuration)
{
    const cJSON *item;
    struct text names = {0};
    cJSON_ArrayForEach(item, configuration->parameters)
    {
        if (is_costless(item->string) || text_equal(item->string, "method"))
            continue;
        text_printf(&names, "%s%s ", names.len ? ", " : "", item->string);
        if (cJSON_IsString(item))
            text_add(&names, item->valuestring);
        else
            json_add(&names, item);
    }
    return keep(arena, &names);
}

static int add_probe(struct probes *probes, const struct plan *plan, const struct planned_configuration *configuration,
                     struct err *err)
{
    struct probe *probe = &probes->items[probes->n];
    *probe = (struct probe){.settings = configuration->settings,
                            .like = -1,
                            .trained_parameters = -1,
                            .total_parameters = -1,
                            .estimated_bytes = -1,
                            .total_steps = -1,
                            .tokens_per_second = NAN,
                            .spawned = NAN,
                            .started = NAN,
                            .stopped = NAN};
    probe->method = method_name(&probes->arena, configuration);
    probe->parameters = cost_parameters(&probes->arena, configuration);
    if (configuration->n_trials > 0)
        probe->seed = plan->trials[configuration->first_trial].seed;
    if (!probe->method || !probe->parameters)
        return no_memory(err);
    probes->n++;
    return 0;
}

static int group(struct probes *probes, struct group_entry **groups, const struct plan *plan,
                 const struct planned_configuration *configuration, const bool *is_open, struct err *err)
{
    struct group_entry *entry = NULL;
    const char *key = cost_key(&probes->arena, configuration);
    if (!key)
        return no_memory(err);
    HASH_FIND_STR(*groups, key, entry);
    if (!entry) {
        entry = arena_calloc(&probes->arena, 1, sizeof(*entry));
        int rc = entry ? add_probe(probes, plan, configuration, err) : no_memory(err);
        if (rc < 0)
            return rc;
        entry->key = key;
        entry->index = probes->n - 1;
        HASH_ADD_KEYPTR(hh, *groups, entry->key, strlen(entry->key), entry);
        if (!entry->hh.tbl)
            return no_memory(err);
    }
    struct probe *probe = &probes->items[entry->index];
    probe->n_configurations++;
    probe->n_trials += configuration->n_trials;
    for (int i = configuration->first_trial; i < configuration->first_trial + configuration->n_trials; i++)
        probe->n_open += is_open[i];
    return 0;
}

static int first_of_method(const struct probes *probes, const char *method)
{
    int i = 0;
    while (!text_equal(probes->items[i].method, method))
        i++;
    return i;
}

/* The first of each method, then the others, until the maximum is reached. */
static void choose_timed(struct probes *probes)
{
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < probes->n && probes->n_timed < PROBE_MAX_TIMED; i++) {
            struct probe *probe = &probes->items[i];
            if (probe->is_timed || (pass == 0 && first_of_method(probes, probe->method) != i))
                continue;
            probe->is_timed = true;
            probes->n_timed++;
        }
    for (int i = 0; i < probes->n; i++) {
        int first = first_of_method(probes, probes->items[i].method);
        if (!probes->items[i].is_timed && probes->items[first].is_timed)
            probes->items[i].like = first;
    }
}

int probes_make(struct probes *probes, const struct plan *plan, const bool *is_open, struct err *err)
{
    struct group_entry *groups = NULL;
    *probes = (struct probes){0};
    probes->items = arena_calloc(&probes->arena, (size_t)plan->n_configurations + 1, sizeof(*probes->items));
    int rc = probes->items ? 0 : no_memory(err);
    for (int i = 0; i < plan->n_configurations && rc == 0; i++)
        rc = group(probes, &groups, plan, &plan->configurations[i], is_open, err);
    HASH_CLEAR(hh, groups);
    if (rc == 0)
        choose_timed(probes);
    return rc;
}

void probes_done(struct probes *probes)
{
    arena_done(&probes->arena);
    *probes = (struct probes){0};
}

/* Records ------------------------------------------------------------------------------------------------------------
 */

static int take_started(struct probe *probe, const cJSON *record, double now, struct err *err)
{
    const cJSON *examples;
    struct probe taken = *probe;
    int rc = json_get_int64(record, "trained_parameters", "started", &taken.trained_parameters, err);
    if (rc == 0)
        rc = json_get_int64(record, "total_parameters", "started", &taken.total_parameters, err);
    if (rc == 0)
        rc = json_opt_int64(record, "estimated_bytes", "started", &taken.estimated_bytes, err);
    if (rc == 0)
        rc = json_opt_bool(record, "recomputes", "started", &taken.recomputes, err);
    if (rc == 0)
        rc = json_get_int64(record, "total_steps", "started", &taken.total_steps, err);
    if (rc == 0)
        rc = json_get_int64(record, "steps_per_epoch", "started", &taken.steps_per_epoch, err);
    if (rc == 0)
        rc = json_get_object(record, "examples", "started", &examples, err);
    if (rc == 0)
        rc = json_get_int64(examples, "train", "started.examples", &taken.n_train, err);
    if (rc == 0)
        rc = json_opt_int64(examples, "validation", "started.examples", &taken.n_validation, err);
    if (rc == 0)
        rc = json_opt_int64(examples, "test", "started.examples", &taken.n_test, err);
    if (rc < 0)
        return rc;
    *probe = taken;
    probe->started = now;
    return 0;
}

static int take_failed(struct probe *probe, const cJSON *record, struct err *err)
{
    const char *reason, *message = "";
    int rc = json_get_string(record, "reason", "failed", &reason, err);
    if (rc == 0)
        rc = json_opt_string(record, "message", "failed", &message, err);
    if (rc < 0)
        return rc;
    snprintf(probe->reason, sizeof(probe->reason), "%s", reason);
    snprintf(probe->message, sizeof(probe->message), "%s", message);
    return 0;
}

static int take(struct probe *probe, const cJSON *record, double now, struct err *err)
{
    const char *type;
    int64_t step = 0;
    int rc = json_get_string(record, "type", "record", &type, err);
    if (rc < 0)
        return rc;
    if (text_equal(type, "started"))
        return take_started(probe, record, now, err);
    if (text_equal(type, "failed"))
        return take_failed(probe, record, err);
    bool is_progress = text_equal(type, "progress");
    if (!is_progress && !text_equal(type, "stopped") && !text_equal(type, "finished"))
        return 0;
    rc = json_get_int64(record, "step", type, &step, err);
    if (rc == 0 && !text_equal(type, "stopped"))
        rc = json_opt_double(record, "tokens_per_second", type, &probe->tokens_per_second, err);
    if (rc < 0)
        return rc;
    probe->is_whole = text_equal(type, "finished");
    /* What `stopped` says, the `progress` in front of it said already, unless there was none. */
    if (step > probe->n_steps || probe->is_whole) {
        probe->n_steps = step;
        probe->stopped = now;
    }
    return 0;
}

int probe_take_record(struct probe *probe, const char *line, size_t n, double now, struct err *err)
{
    cJSON *record = NULL;
    int rc = json_parse(line, n, &record, err);
    if (rc == 0)
        rc = take(probe, record, now, err);
    json_free(record);
    return rc;
}

/* The estimate -------------------------------------------------------------------------------------------------------
 */

const struct probe *probe_source(const struct probes *probes, const struct probe *probe)
{
    return probe->is_timed ? probe : probe->like >= 0 ? &probes->items[probe->like] : NULL;
}

static double setting(const struct probe *probe, const char *name, double fallback)
{
    const cJSON *value = json_get(probe->settings, name);
    return cJSON_IsNumber(value) ? value->valuedouble : fallback;
}

/* Validations in the first `steps` steps: at the end of each epoch, and every so many steps. */
static double validations(const struct probe *probe, int64_t steps)
{
    double every = setting(probe, "evaluate_every", 0);
    double n = probe->steps_per_epoch > 0 ? floor((double)steps / (double)probe->steps_per_epoch) : 0;
    return n + (every > 0 ? floor((double)steps / every) : 0);
}

static int64_t last_multiple(int64_t of, int64_t below)
{
    return of > 0 ? (below - 1) / of * of : 0;
}

int64_t probe_last_validation(const struct probe *probe)
{
    int64_t every = last_multiple((int64_t)setting(probe, "evaluate_every", 0), probe->total_steps);
    int64_t epoch = last_multiple(probe->steps_per_epoch, probe->total_steps);
    return probe->total_steps < 1 ? 0 : every > epoch ? every : epoch;
}

/* Steps that run one example forward as often as this: a forward pass is 1 / (2 + share) of a step's work. */
static double steps_per_forward(const struct probe *probe)
{
    double examples = setting(probe, "batch_size", 32) * setting(probe, "accumulation", 1);
    double share =
        probe->total_parameters > 0 ? (double)probe->trained_parameters / (double)probe->total_parameters : 0;
    examples = fmin(examples, (double)probe->n_train); /* a batch is never larger than the data */
    return examples > 0 ? 1 / examples / (2 + share) : 0;
}

double probe_seconds_per_step(const struct probe *probe)
{
    double evaluated = validations(probe, probe->n_steps) * (double)probe->n_validation;
    double steps = (double)probe->n_steps + evaluated * steps_per_forward(probe);
    return probe->n_steps > 0 ? (probe->stopped - probe->started) / steps : NAN;
}

double probe_seconds_per_trial(const struct probe *probe, const struct definition *definition)
{
    if (probe->is_whole)
        return probe->stopped - probe->spawned;
    bool ends_within = probe->steps_per_epoch > 0 && probe->total_steps % probe->steps_per_epoch != 0;
    /* The validations on the way, one at the last step if that ends no epoch, and one of the best weights. */
    double evaluated = (validations(probe, probe->total_steps) + ends_within + 1) * (double)probe->n_validation +
                       (double)probe->n_test + (double)definition->n_checks * CHECK_TEXTS;
    double steps = (double)probe->total_steps + evaluated * steps_per_forward(probe);
    return probe->started - probe->spawned + steps * probe_seconds_per_step(probe);
}

struct probe_estimate probes_estimate(const struct probes *probes, const struct definition *definition, int slots)
{
    struct probe_estimate estimate = {0};
    int64_t largest = 0;
    for (int i = 0; i < probes->n; i++) {
        const struct probe *probe = &probes->items[i], *source = probe_source(probes, probe);
        double seconds = source ? probe_seconds_per_trial(source, definition) : NAN;
        if (probe->n_open == 0 || (source && source->reason[0]))
            continue; /* a refused trial takes no time */
        if (!isfinite(seconds))
            estimate.n_unknown += probe->n_open;
        estimate.seconds += seconds * probe->n_open / slots;
        if (!source || source->trained_parameters < 0)
            continue;
        estimate.memory_bytes =
            source->estimated_bytes > estimate.memory_bytes ? source->estimated_bytes : estimate.memory_bytes;
        estimate.adapter_bytes += source->trained_parameters * BYTES_A_PARAMETER * probe->n_open;
        largest = source->trained_parameters > largest ? source->trained_parameters : largest;
    }
    /* Weights, the best ones and two moments of AdamW; the one before goes only when the next one is on disk. */
    estimate.checkpoint_bytes = largest * BYTES_A_PARAMETER * 4 * 2 * slots;
    return estimate;
}
