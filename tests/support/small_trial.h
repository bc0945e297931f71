/* A trial on one of the golden cases' models with a few rows of its own: for tests that go through all methods. */
#ifndef TESTS_SUPPORT_SMALL_TRIAL_H
#define TESTS_SUPPORT_SMALL_TRIAL_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "trainer/trial.h"

/* Every method in the ways that differ in code, as members of `settings`; a method of the table that is in none of them
 * is added with its defaults. */
static const char *const small_methods[] = {
    "\"method\":\"full\"",
    "\"method\":\"partial\",\"top_layers\":1",
    "\"method\":\"linear_probe\"",
    "\"method\":\"bitfit\"",
    "\"method\":\"bitfit\",\"bias_terms\":[\"query\",\"output.dense\"]",
    "\"method\":\"layer_norm\"",
    "\"method\":\"layer_norm\",\"layers\":[1]",
    "\"method\":\"lora\",\"rank\":3,\"method_dropout\":0.2",
    "\"method\":\"lora\",\"rank\":2,\"targets\":[\"query\",\"dense\"],\"lora_bias\":\"lora_only\",\"rank_pattern\":{"
    "\"query\":1}",
    "\"method\":\"lora\",\"rank\":2,\"rank_stabilized\":true,\"lora_bias\":\"all\",\"lora_init\":\"gaussian\","
    "\"layers\":[0]",
    "\"method\":\"adapter\",\"adapter_placement\":\"houlsby\",\"adapter_size\":5,\"method_dropout\":0.2",
    "\"method\":\"adapter\",\"adapter_placement\":\"pfeiffer\",\"adapter_size\":5,\"method_dropout\":0.2",
    "\"method\":\"adapter\",\"adapter_placement\":\"parallel\",\"adapter_size\":5,\"method_dropout\":0.2",
    "\"method\":\"adapter\",\"adapter_placement\":\"houlsby\",\"adapter_size\":3,\"adapter_norm_before\":true,"
    "\"adapter_norm_after\":true,\"adapter_scaling\":\"channel\",\"activation\":\"gelu\"",
    "\"method\":\"adapter\",\"adapter_placement\":\"parallel\",\"adapter_size\":3,\"adapter_scaling\":\"learned\","
    "\"activation\":\"tanh\"",
    "\"method\":[\"lora\",\"adapter\"],\"rank\":2,\"adapter_size\":3,\"method_dropout\":0.1",
    "\"method\":[\"partial\",\"lora\"],\"top_layers\":1,\"rank\":2,\"method_dropout\":0.1",
    "\"method\":[\"bitfit\",\"layer_norm\"]",
    "\"method\":\"compacter\",\"adapter_size\":8,\"phm_dim\":2,\"method_dropout\":0.1",
    "\"method\":\"adapter\",\"adapter_size\":4,\"adapter_invertible\":true,\"gating\":\"masked\"",
    "\"method\":\"prompt\",\"prompt_length\":3,\"prompt_init\":\"text\",\"prompt_text\":\"w7 w9\"",
    "\"method\":\"prompt\",\"prompt_length\":3,\"prompt_space\":\"hidden\",\"prompt_position\":\"behind_first\"",
    "\"method\":\"p_tuning\",\"prompt_length\":3,\"prompt_encoder\":\"lstm\",\"prompt_hidden_size\":4",
    "\"method\":\"prefix\",\"prompt_length\":2,\"prefix_mlp\":true,\"prompt_hidden_size\":4",
    "\"method\":[\"lora\",\"prefix\",\"adapter\"],\"rank\":2,\"adapter_size\":3,\"prompt_length\":2,"
    "\"prefix_positions\":\"kept\",\"gating\":\"adapterhub\"",
    "\"method\":\"hyper_lora\",\"rank\":2,\"hyper_embedding_size\":4,\"hyper_hidden_size\":5,\"method_dropout\":0.2",
    "\"method\":\"hyper_lora\",\"rank\":2,\"hyper_tasks\":2,\"hyper_task\":1,\"hyper_embedding_size\":4",
    "\"method\":\"hyper_adapter\",\"adapter_size\":3,\"hyper_embedding_size\":4,\"hyper_hidden_size\":5,"
    "\"hyper_projected_size\":3,\"method_dropout\":0.2",
    "\"method\":\"smoe\",\"strata\":[2,2],\"expert_size\":4",
    "\"method\":\"smoe\",\"strata\":[2,1,2],\"expert_kind\":\"lora\",\"expert_size\":3,\"expert_top\":2",
    "\"method\":\"smoe\",\"strata\":[3],\"expert_size\":2,\"expert_top\":2",
};
enum { N_SMALL_METHODS = sizeof(small_methods) / sizeof(small_methods[0]) };

struct small_trial {
    char folder[64];
    struct trial_job job;
    struct records records;
    struct trial trial;
    FILE *out;
};

static atomic_bool small_never;

static inline void small_write(const char *folder, const char *name, int n)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    for (int i = 0; i < n; i++)
        fprintf(file, "{\"text\":\"w%d w%d w%d%s\",\"label\":%d,\"answer\":\"w%d w%d\",\"task\":\"%s\"}\n", 6 + i,
                20 + 3 * i % 40, 9 + 7 * i % 50, i % 2 ? " w11 w12 w13" : "", i % 3, 8 + i, 7 + 5 * i % 40,
                i % 3 ? "first" : "second");
    fclose(file);
}

/* What a model's family is for, as members of `task`. */
static inline const char *small_task(const char *model)
{
    bool is_seq2seq = strncmp(model, "m2m", 3) == 0;
    return is_seq2seq ? "\"kind\":\"seq2seq\",\"target\":\"answer\""
                      : "\"kind\":\"classification\",\"label\":\"label\"";
}

/* Opens it; what trial_open says. `settings` are members, behind those every small trial has. Closed in any case. */
static inline int small_open(struct small_trial *small, const char *model, const char *settings, struct err *err)
{
    struct text text = {0};
    memset(small, 0, sizeof(*small));
    snprintf(small->folder, sizeof(small->folder), "/tmp/nightsweep-small-XXXXXX");
    cr_assert_not_null(mkdtemp(small->folder));
    small_write(small->folder, "train.jsonl", 12);
    small_write(small->folder, "validation.jsonl", 6);
    text_printf(
        &text,
        "{\"v\":1,\"type\":\"job\",\"output\":\"%s/out\",\"seed\":5,\"model\":{\"path\":\"tests/golden/cases/models/"
        "%s\"},"
        "\"task\":{%s,\"train\":\"%s/train.jsonl\",\"validation\":\"%s/validation.jsonl\","
        "\"text\":\"text\",\"tasks\":\"task\"},\"settings\":{\"batch_size\":4,\"epochs\":1,\"warmup\":0,%s}}",
        small->folder, model, small_task(model), small->folder, small->folder, settings);
    small->out = fopen("/dev/null", "w");
    records_init(&small->records, small->out, 1);
    int rc = trial_job_parse(&small->job, text.data, text.len, err);
    if (rc == 0)
        rc = trial_open(&small->trial, &small->job, &small->records, &small_never, err);
    text_done(&text);
    return rc;
}

/* The first n training examples. */
static inline const struct batch *small_pack(struct trial *trial, size_t n)
{
    const struct packing packing = {.trial = trial,
                                    .examples = trial->train.examples,
                                    .n = n,
                                    .step = TASK_EVALUATION_STEP,
                                    .arena = &trial->step_arena};
    return trial_pack(trial->job->task_kind, &packing);
}

static inline void small_close(struct small_trial *small)
{
    trial_close(&small->trial);
    trial_job_done(&small->job);
    records_done(&small->records);
    if (small->out)
        fclose(small->out);
    cr_assert_eq(file_remove_tree(small->folder, NULL), 0);
}

/* Members of `settings` for case i, or NULL behind the last one. */
static inline const char *small_method(size_t i)
{
    static char own[128];
    if (i < N_SMALL_METHODS)
        return small_methods[i];
    i -= N_SMALL_METHODS;
    for (const struct method_kind *const *kind = method_kinds; *kind; kind++) {
        bool is_listed = false;
        snprintf(own, sizeof(own), "\"method\":\"%s\"", (*kind)->name);
        for (size_t k = 0; k < N_SMALL_METHODS && !is_listed; k++)
            is_listed = strstr(small_methods[k], own) != NULL;
        if (!is_listed && i-- == 0)
            return own;
    }
    return NULL;
}

#endif
