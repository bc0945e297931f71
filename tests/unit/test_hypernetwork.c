/* Several tasks in one batch, and tasks that a saved network does not know. */
#include <math.h>

#include "tests/support/small_trial.h"

#define LORA "\"method\":\"hyper_lora\",\"rank\":2,\"hyper_embedding_size\":4,\"hyper_hidden_size\":5"

static void open_it(struct small_trial *small, const char *settings)
{
    struct err err = {0};
    cr_assert_eq(small_open(small, "bert", settings, &err), 0, "%s: %s", settings, err.message);
    dataset_order(small->trial.order, 12, 5, 0, false);
    struct params *params = &small->trial.model.params; /* off the start, where all tasks are the same */
    for (size_t i = 0; i < params->count; i++) {
        struct rng_stream stream = rng_stream(rng_make(3, RNG_INIT), 9, 0, rng_site(params->items[i]->name));
        for (size_t k = 0; params->items[i]->is_trained && k < param_size(params->items[i]); k++)
            params->items[i]->value.data[k] += (real)(0.3 * rng_normal(&stream));
    }
}

/* Sum of the losses of all examples of a task, of all when it is −1. */
static double loss_of(struct small_trial *small, int task)
{
    struct arena arena = {0};
    struct predictions p;
    struct err err = {0};
    double sum = 0;
    cr_assert_eq(trial_predict(&small->trial, &small->trial.train, &p, &arena, &err), 0, "%s", err.message);
    for (size_t i = 0; i < p.n; i++)
        sum += task < 0 || small->trial.train.examples[i].task == task ? (double)p.losses[i] : 0;
    arena_done(&arena);
    return sum;
}

/* A batch of two tasks is what each task's batches are: rows do not mix. */
Test(hypernetwork, each_sequence_gets_the_weights_of_its_own_task)
{
    static const char *const kinds[] = {LORA,
                                        "\"method\":\"hyper_adapter\",\"adapter_size\":3,\"hyper_embedding_size\":4"};
    for (size_t i = 0; i < 2; i++) {
        struct small_trial small;
        double mixed, own[2];
        char settings[256];
        open_it(&small, kinds[i]);
        cr_assert_eq(small.trial.token_kinds.n_tasks, 2);
        cr_expect_str_eq(small.trial.token_kinds.tasks[0], "first");
        mixed = loss_of(&small, -1);
        small_close(&small);
        for (int task = 0; task < 2; task++) {
            snprintf(settings, sizeof(settings), "%s,\"hyper_tasks\":2,\"hyper_task\":%d", kinds[i], task);
            open_it(&small, settings);
            own[task] = loss_of(&small, task);
            small_close(&small);
        }
        cr_expect_float_eq(mixed, own[0] + own[1], 1e-4, "%s: %g, but %g and %g", kinds[i], mixed, own[0], own[1]);
    }
}

/* The embedding of task i of a network. */
static const real *task_row(const struct small_trial *small, int task)
{
    const struct param *param = params_find(&small->trial.model.params, "hyper.task.weight");
    cr_assert_not_null(param);
    return param->value.data + (size_t)task * (size_t)param->value.cols;
}

static void rename_task(struct small_trial *small, int task, const char *name)
{
    ((const char **)(uintptr_t)small->trial.token_kinds.tasks)[task] = name;
}

Test(hypernetwork, an_unknown_task_starts_at_the_mean_or_where_it_is_told)
{
    struct small_trial saved, other;
    struct err err = {0};
    const char *const labels[] = {"0", "1", "2", NULL};
    char folder[128], settings[256];
    open_it(&saved, LORA);
    snprintf(folder, sizeof(folder), "%s/kept", saved.folder);
    cr_assert_eq(methods_save(&saved.trial.model, saved.job.settings, labels, folder, &err), 0, "%s", err.message);
    for (int told = 0; told < 2; told++) {
        snprintf(settings, sizeof(settings), "%s%s", LORA, told ? ",\"hyper_start\":\"second\"" : "");
        open_it(&other, settings);
        rename_task(&other, 0, "another");
        cr_assert_eq(methods_load(&other.trial.model, other.job.settings, labels, folder, &err), 0, "%s", err.message);
        for (int k = 0; k < 4; k++) {
            double first = (double)task_row(&saved, 0)[k], second = (double)task_row(&saved, 1)[k];
            cr_expect_float_eq((double)task_row(&other, 0)[k], told ? second : (first + second) / 2, 1e-6);
            cr_expect_float_eq((double)task_row(&other, 1)[k], second, 1e-7, "a task keeps its own");
        }
        small_close(&other);
    }
    open_it(&other, LORA ",\"hyper_start\":\"third\"");
    rename_task(&other, 0, "another");
    cr_expect_eq(methods_load(&other.trial.model, other.job.settings, labels, folder, &err), ERR_UNSUPPORTED);
    cr_expect(strstr(err.message, "knows no task 'third'"), "%s", err.message);
    small_close(&other);
    small_close(&saved);
}

Test(hypernetwork, of_which_the_tasks_alone_are_trained)
{
    struct small_trial small;
    struct err err = {0};
    cr_assert_eq(small_open(&small, "bert", LORA ",\"hyper_trained\":\"task\"", &err), 0, "%s", err.message);
    for (size_t i = 0; i < small.trial.model.params.count; i++) {
        const struct param *param = small.trial.model.params.items[i];
        if (param->origin == PARAM_METHOD)
            cr_expect_eq(param->is_trained, strcmp(param->name, "hyper.task.weight") == 0, "%s", param->name);
    }
    small_close(&small);
}
