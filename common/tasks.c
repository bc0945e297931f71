/* The table of tasks. */
#include "common/tasks.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

#define TEXT_KEY                                                                                                       \
    {                                                                                                                  \
        "text", TASK_TEXT, VALUE_TEXT, true                                                                            \
    }
#define PAIR_KEY                                                                                                       \
    {                                                                                                                  \
        "text_pair", TASK_PAIR, VALUE_TEXT, false                                                                      \
    }
#define LABEL_KEY                                                                                                      \
    {                                                                                                                  \
        "label", TASK_LABEL, VALUE_LABEL, true                                                                         \
    }
#define TASKS_KEY                                                                                                      \
    {                                                                                                                  \
        "tasks", TASK_NAME, VALUE_TEXT, false                                                                          \
    }
#define CLASS_METRICS                                                                                                  \
    {                                                                                                                  \
        {"accuracy", true, true}, {"macro_f1", true, true}, {"loss", false, true}, {"ece", false, true},               \
            {"adaptive_ece", false, false},                                                                            \
        {                                                                                                              \
            "brier", false, false                                                                                      \
        }                                                                                                              \
    }
#define TOKEN_METRICS                                                                                                  \
    {                                                                                                                  \
        {"loss", false, true},                                                                                         \
        {                                                                                                              \
            "perplexity", false, true                                                                                  \
        }                                                                                                              \
    }

const struct task_info tasks_table[] = {
    {.name = "classification",
     .keys = {TEXT_KEY, PAIR_KEY, LABEL_KEY, TASKS_KEY},
     .metrics = CLASS_METRICS,
     .has_classes = true,
     .has_head = true},
    {.name = "causal",
     .keys = {TEXT_KEY, {"target", TASK_PAIR, VALUE_TEXT, false}, TASKS_KEY},
     .metrics = TOKEN_METRICS,
     .is_labelled = true,
     .takes_chat = true},
    {.name = "seq2seq",
     .keys = {TEXT_KEY, {"target", TASK_PAIR, VALUE_TEXT, true}, TASKS_KEY},
     .metrics = TOKEN_METRICS,
     .is_labelled = true},
    {.name = "cloze",
     .keys = {TEXT_KEY,
              PAIR_KEY,
              LABEL_KEY,
              {"template", TASK_OPTION, VALUE_TEXT, true},
              {"label_words", TASK_OPTION, VALUE_MAP, true}},
     .metrics = CLASS_METRICS,
     .has_classes = true},
    {.name = "regression",
     .keys = {TEXT_KEY, PAIR_KEY, {"label", TASK_LABEL, VALUE_NUMBER, true}},
     .metrics = {{"mse", false, true}, {"pearson", true, true}, {"spearman", true, true}, {"loss", false, true}},
     .has_head = true},
    {.name = "multiple_choice",
     .keys = {TEXT_KEY, PAIR_KEY, {"choices", TASK_LIST, VALUE_CHOICES, true}, LABEL_KEY},
     .metrics = CLASS_METRICS,
     .has_head = true},
    {.name = "token_classification",
     .keys = {{"text", TASK_TEXT, VALUE_WORDS, true}, {"label", TASK_LABEL, VALUE_WORDS, true}},
     .metrics = {{"f1", true, true},
                 {"precision", true, true},
                 {"recall", true, true},
                 {"accuracy", true, true},
                 {"loss", false, true}},
     .has_head = true},
    {.name = "question_answering",
     .keys = {TEXT_KEY, {"text_pair", TASK_PAIR, VALUE_TEXT, true}, {"answer", TASK_LIST, VALUE_ANSWERS, true}},
     .metrics = {{"f1", true, true}, {"exact_match", true, true}, {"loss", false, true}},
     .has_head = true},
    {.name = "masked", .keys = {TEXT_KEY}, .metrics = TOKEN_METRICS, .is_labelled = true},
    {.name = NULL},
};

enum { N_TASKS = sizeof(tasks_table) / sizeof(tasks_table[0]), NAME_BYTES = 48, LIST_BYTES = 1024 };

const struct task_info *task_find(const char *kind)
{
    for (const struct task_info *info = tasks_table; info->name; info++)
        if (kind && text_equal(info->name, kind))
            return info;
    return NULL;
}

unsigned task_bit(const struct task_info *info)
{
    return 1U << (info - tasks_table);
}

const char *const *task_names(void)
{
    static const char *names[N_TASKS];
    for (int i = 0; i < N_TASKS; i++)
        names[i] = tasks_table[i].name;
    return names;
}

const char *const *task_reports(const struct task_info *info, bool only_curves)
{
    static char texts[N_TASKS][TASK_MAX_METRICS][NAME_BYTES];
    static const char *lists[N_TASKS][2][TASK_MAX_METRICS + 1];
    size_t task = (size_t)(info - tasks_table), n = 0;
    const char **list = lists[task][only_curves];
    for (size_t i = 0; info->metrics[i].name; i++) {
        snprintf(texts[task][i], NAME_BYTES, "validation/%s", info->metrics[i].name);
        if (!only_curves || info->metrics[i].is_curve)
            list[n++] = texts[task][i];
    }
    list[n] = NULL;
    return list;
}

const struct task_metric *task_metric(const struct task_info *info, const char *name)
{
    for (const struct task_metric *metric = info->metrics; metric->name; metric++)
        if (text_equal(metric->name, name))
            return metric;
    return NULL;
}

const char *task_list(const char *const *names)
{
    static _Thread_local char list[LIST_BYTES];
    size_t n = 0;
    list[0] = '\0';
    for (size_t i = 0; names[i] && n < LIST_BYTES; i++)
        n += (size_t)snprintf(list + n, LIST_BYTES - n, "%s%s", i == 0 ? "" : names[i + 1] ? ", " : " or ", names[i]);
    return list;
}

const char *task_refuses_setting(const struct task_info *info, const char *setting)
{
    if (!setting)
        return NULL;
    if (text_equal(setting, "augmentation") && !info->has_classes)
        return "altered copies keep a class, and this task has none";
    if (text_equal(setting, "class_weights") && !info->has_classes)
        return "this task has no classes";
    if (text_equal(setting, "mask_probability") && !text_equal(info->name, "masked"))
        return "it is for masked language modelling";
    if (text_equal(setting, "chat_template") && !info->takes_chat)
        return "it is for causal tasks with a target, the answer";
    return NULL;
}
