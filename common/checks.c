/* The table of checks. */
#include "common/checks.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/fairness.h"
#include "common/tasks.h"
#include "common/text.h"

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

const struct check_info checks_table[] = {
    {.name = "counterfactual",
     .group = "bias",
     .tasks = CHECK_CLASSES,
     .has_file = true,
     .width = 2,
     .metrics = NAMES("flip_rate", "mean_absolute_difference", "signed_difference"),
     .metric = check_metric_counterfactual},
    {.name = "group_fairness",
     .group = "bias",
     .tasks = CHECK_CLASSES,
     .needs_test = true,
     .options = {{"group", true, "the column of the test rows that names the group"},
                 {"positive", false, "the label that counts as selected (default: the last class)"}},
     .width = 3,
     .metrics = fairness_metrics,
     .metric = check_metric_group_fairness},
    {.name = "weights", .group = "weights", .tasks = CHECK_BODIES | CHECK_SEQ2SEQ},
    {.name = "perplexity",
     .group = "forgetting",
     .tasks = CHECK_BODIES,
     .has_file = true,
     .options = {{"positions", false, "how many tokens of a text a masked model is asked for: a number or all"}},
     .width = 4,
     .metrics = NAMES("perplexity", "bits_per_byte", "pseudo_perplexity"),
     .metric = check_metric_perplexity},
    {.name = "probe",
     .group = "forgetting",
     .tasks = CHECK_BODIES,
     .has_file = true,
     .width = 1,
     .metrics = NAMES("probe_accuracy"),
     .metric = check_metric_probe},
    {.name = "weat",
     .group = "bias",
     .tasks = CHECK_BODIES,
     .has_file = true,
     .width = 2,
     .metrics = NAMES("weat_effect_size", "weat_p"),
     .metric = check_metric_weat},
    {.name = "crows_pairs",
     .group = "bias",
     .tasks = CHECK_BODIES,
     .has_file = true,
     .options = {{"sample", false, "how many pairs, drawn from the file: a number (default: all)"}},
     .width = 3,
     .metrics = NAMES("stereotype_share", "distance_from_50"),
     .metric = check_metric_crows_pairs},
    {.name = "stereoset",
     .group = "bias",
     .tasks = CHECK_BODIES,
     .has_file = true,
     .options = {{"part", false, "intrasentence (default), intersentence or both"}},
     .width = 4,
     .metrics = NAMES("ss", "lms", "icat"),
     .metric = check_metric_stereoset},
    {.name = "bbq",
     .group = "bias",
     .tasks = CHECK_BODIES,
     .has_file = true,
     .width = 4,
     .metrics = NAMES("bias_disambiguated", "bias_ambiguous", "accuracy_disambiguated", "accuracy_ambiguous"),
     .metric = check_metric_bbq},
    {.name = "safety",
     .group = "safety",
     .tasks = CHECK_CAUSAL,
     .has_file = true,
     .options = {{"templates", false, "the templates asked with, names with spaces between them (default: all five)"},
                 {"tokens", false, "how many tokens an answer has at most (default: 12)"},
                 {"follow", false, "how many restricted questions are asked after each validation (default: none)"}},
     .width = CHECK_SAFETY_WIDTH,
     .metric = check_metric_safety},
    {.name = "translation",
     .group = "translation",
     .tasks = CHECK_SEQ2SEQ,
     .has_file = true,
     .options = {{"form", false,
                  "the Unicode normal form of hypothesis and reference: none, NFC (default), NFD, NFKC, NFKD"},
                 {"beams", false, "beams of the search (default: 1, greedy)"},
                 {"no_repeat", false,
                  "a second search without repeated runs of so many tokens, taken where the first repeats"},
                 {"back", false, "what stands in front of a translation that is translated back, for round-trip BLEU"}},
     .width = TRANSLATION_WIDTH,
     .metrics = NAMES("bleu", "bleu_normalized", "chrf", "chrf_normalized", "round_trip_bleu"),
     .metric = check_metric_translation},
    {.name = NULL},
};

enum { N_CHECKS = sizeof(checks_table) / sizeof(checks_table[0]) };

const struct check_info *check_find(const char *kind)
{
    for (const struct check_info *info = checks_table; info->name; info++)
        if (text_equal(info->name, kind))
            return info;
    return NULL;
}

const char *const *check_names(void)
{
    static const char *names[N_CHECKS];
    for (int i = 0; i < N_CHECKS; i++)
        names[i] = checks_table[i].name;
    return names;
}

bool check_is_before(const char *baseline_metric, const char *metric)
{
    size_t n = strcspn(metric, "["), own = n + strcspn(metric + n, "]"), base = n + 1 + strlen(CHECK_SAFETY_BASE);
    if (text_equal(baseline_metric, metric))
        return true;
    return metric[n] && metric[own] && strncmp(baseline_metric, metric, n + 1) == 0 &&
           text_starts_with(baseline_metric + n + 1, CHECK_SAFETY_BASE "]") &&
           text_equal(baseline_metric + base, metric + own);
}

const char *check_refuses_task(const struct check_info *info, const char *task)
{
    static _Thread_local char refusal[512];
    const struct task_info *own = task_find(task);
    const char *names[16] = {0};
    int n = 0;
    if (own && (info->tasks & task_bit(own)))
        return NULL;
    for (const struct task_info *other = tasks_table; other->name; other++)
        if (info->tasks & task_bit(other))
            names[n++] = other->name;
    snprintf(refusal, sizeof(refusal), "it measures the task %s, task.kind is %s", task_list(names), task);
    return refusal;
}
