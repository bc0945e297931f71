/* Searches, stopping rules, sessions with somebody who trains elsewhere, and sweep files of Weights & Biases, with each
 * allocation failing in turn: a study that gets through has proposed what one without faults does, otherwise there is
 * an error with a message; no memory is left. FAULTS_STRIDE=1 takes every allocation. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "orchestrator/study.h"
#include "orchestrator/study_log.h"
#include "orchestrator/suggest.h"
#include "orchestrator/wandb.h"
#include "tests/support/faults/paths.h"
#include "tests/support/temp.h"

enum { TRIALS = 14, STEPS = 4 };

static struct temp temp;
static cJSON *reports[TRIALS + 1][STEPS + 1]; /* what trial t reports at step s; [t][0] at its end */

#define SPACE                                                                                                          \
    "\"parameters\": {\"method\": {\"values\": [\"lora\", \"full\", \"prompt\"]}, "                                    \
    "\"rank\": {\"values\": [1, 2, 4, 8], \"when\": {\"method\": \"lora\"}}, "                                         \
    "\"length\": {\"min\": 1, \"max\": 200, \"scale\": \"log\", \"type\": \"int\", \"when\": {\"method\": "            \
    "\"prompt\"}}, \"half\": {\"expression\": \"rate / 2\"}, "                                                         \
    "\"rate\": {\"min\": 1e-5, \"max\": 0.1, \"scale\": \"log\"}, \"decay\": {\"min\": 0, \"max\": 0.3, \"quantum\": " \
    "0.1}}, \"seed\": 3"
#define LIMIT ", \"budget\": {\"trials\": 14}"

static void setup(void)
{
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    temp_open(&temp);
    for (int t = 1; t <= TRIALS; t++)
        for (int s = 0; s <= STEPS; s++) {
            reports[t][s] = cJSON_CreateObject();
            cJSON_AddNumberToObject(reports[t][s], "loss", (t * 7 % TRIALS) + 1.0 / (s ? s : STEPS + 1));
            cJSON_AddNumberToObject(reports[t][s], "size", t * 5 % TRIALS);
        }
    static const char session[] =
        "{\"name\": \"e\", " SPACE ", \"objectives\": [{\"metric\": \"loss\", \"goal\": \"minimize\"}], "
        "\"search\": {\"algorithm\": \"tpe\"}, \"stopping\": {\"rule\": \"threshold\", \"upper\": 20}" LIMIT "}";
    temp_write(&temp, "e.json", session, strlen(session));
}

static void teardown(void)
{
    for (int t = 1; t <= TRIALS; t++)
        for (int s = 0; s <= STEPS; s++)
            cJSON_Delete(reports[t][s]);
    temp_close(&temp);
}

TestSuite(faults_study, .init = setup, .fini = teardown, .timeout = 1200);

/* Studies ------------------------------------------------------------------------------------------------------------
 */

struct study_case {
    const char *definition;
    bool can_pause;
    bool is_modelled; /* a candidate that could not be looked at for want of memory is left out, and another proposed */
    char story[8192]; /* what was proposed without a fault */
};

/* Trials one at a time, each fifth fails, steps reported until the rule ends or pauses it. */
static int train(struct study *study, const struct study_proposal *p, struct err *problem)
{
    if (p->trial % 5 == 4)
        return study_fail(study, p->trial, problem);
    struct study_decision decision = {.goes_on = true};
    int rc = 0;
    for (int64_t s = p->step + 1; s <= STEPS && rc == 0 && decision.goes_on; s++)
        rc = study_tell_step(study, p->trial, s, reports[p->trial][s], &decision, problem);
    enum trial_state state = TRIAL_RUNNING;
    if (rc == 0)
        rc = study_state(study, p->trial, &state, problem);
    return rc == 0 && decision.goes_on && state != TRIAL_PAUSED
               ? study_tell(study, p->trial, reports[p->trial][0], problem)
               : rc;
}

static int run_study(struct study *study, struct text *story, struct err *problem)
{
    struct study_proposal p = {0};
    int rc = 0, rounds = 0;
    while (rc == 0 && rounds++ < 60) {
        rc = study_ask(study, &p, problem);
        if (rc < 0 || p.answer == STUDY_DONE || p.answer == STUDY_WAIT)
            break;
        text_printf(story, "%d %lld ", (int)p.answer, (long long)p.trial);
        if (p.parameters)
            json_add(story, p.parameters);
        rc = train(study, &p, problem);
    }
    return rc;
}

static int study_path(const void *context, struct err *problem)
{
    struct study_case *own = (struct study_case *)context;
    struct definition definition = {0};
    struct study *study = NULL;
    struct text story = {0};
    int rc = definition_parse_elsewhere(&definition, own->definition, "test", problem);
    if (rc == 0)
        rc = study_new(&study, &definition, own->can_pause, problem);
    if (rc == 0)
        rc = run_study(study, &story, problem);
    if (rc == 0)
        cr_expect_gt(study_trials(study), 3);
    if (rc == 0 && !story.failed && !own->story[0])
        snprintf(own->story, sizeof(own->story), "%s", story.data);
    else if (rc == 0 && !story.failed && !own->is_modelled)
        cr_expect(strncmp(story.data, own->story, sizeof(own->story) - 1) == 0, "%s: other proposals:\n%s\n%s",
                  own->definition, story.data, own->story);
    text_done(&story);
    study_free(study);
    definition_done(&definition);
    return rc;
}

#define TWO ", \"objectives\": [{\"metric\": \"loss\"}, {\"metric\": \"size\", \"goal\": \"minimize\"}]"
#define SEARCH(name, is_modelled, more)                                                                                \
    {                                                                                                                  \
        "{" SPACE ", \"search\": {\"algorithm\": \"" name "\"}" more LIMIT "}", false, is_modelled, ""                 \
    }
#define RULE(rule)                                                                                                     \
    {                                                                                                                  \
        "{" SPACE ", \"search\": {\"algorithm\": \"random\"}, \"stopping\": {" rule "}" LIMIT "}", true, false, ""     \
    }
static struct study_case studies[] = {
    SEARCH("random", false, ", \"constraints\": [\"rate < 0.05\"]"),
    SEARCH("sobol", false, ""),
    SEARCH("tpe", true, ""),
    SEARCH("gp", true, ""),
    SEARCH("cmaes", true, ""),
    SEARCH("auto", true, ""),
    SEARCH("nsga2", true, TWO),
    SEARCH("gp", true, TWO),
    SEARCH("tpe", true, TWO ", \"order\": \"strict\""),
    {"{\"parameters\": {\"a\": {\"values\": [1, 2]}, \"b\": {\"values\": [\"x\", \"y\", [1, 2]]}}, \"search\": "
     "{\"algorithm\": \"grid\"}, \"seeds\": 2}",
     false, false, ""},
    RULE("\"rule\": \"asha\", \"max_resource\": 4, \"reduction_factor\": 2"),
    RULE("\"rule\": \"hyperband\", \"max_resource\": 4, \"reduction_factor\": 2"),
    RULE("\"rule\": \"median\", \"min_trials\": 2, \"min_resource\": 1"),
    RULE("\"rule\": \"patience\", \"patience\": 1"),
    RULE("\"rule\": \"threshold\", \"upper\": 9"),
    RULE("\"rule\": \"predicted\", \"max_resource\": 4, \"min_trials\": 1"),
};
enum { N_STUDIES = sizeof(studies) / sizeof(studies[0]) };

Test(faults_study, without_a_fault_the_same_twice)
{
    struct err problem = {0};
    for (int i = 0; i < N_STUDIES; i++)
        for (int time = 0; time < 2; time++)
            cr_expect_eq(study_path(&studies[i], &problem), 0, "%s: %s", studies[i].definition, problem.message);
}

#ifndef NIGHTSWEEP_ASAN /* the sanitizers have a malloc of their own */
Test(faults_study, every_allocation_of_searches_and_rules)
{
    for (int i = 0; i < N_STUDIES; i++) {
        const struct fault_path path = {studies[i].definition, study_path, &studies[i]};
        cr_expect_geq(fault_each(&path, FAULT_OWN_ALLOCATION, ENOMEM, 30), 5);
    }
}
#endif

/* A session -----------------------------------------------------------------------------------------------------------
 */

static void remove_session(void)
{
    static const char *const names[] = {"e.db", "e.db-wal", "e.db-shm", "e.db.lock", "e.db-journal"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(temp_path(&temp, names[i]));
}

static const char *const requests[] = {"{\"op\":\"ask\"}",
                                       "{\"op\":\"tell\",\"trial\":1,\"step\":1,\"metrics\":{\"loss\":1.5}}",
                                       "{\"op\":\"tell\",\"trial\":1,\"metrics\":{\"loss\":0.5}}",
                                       "{\"op\":\"ask\"}",
                                       "{\"op\":\"fail\",\"trial\":2}",
                                       "{\"op\":\"ask\"}",
                                       "{\"op\":\"tel\"}"};
enum { N_REQUESTS = sizeof(requests) / sizeof(requests[0]) };

static int answer_all(struct suggest *suggest, int from, int to, struct text *replies, struct err *problem)
{
    int rc = 0;
    for (int i = from; i < to && rc == 0; i++) {
        rc = suggest_answer(suggest, requests[i], strlen(requests[i]), replies, problem);
        text_add_char(replies, '\n');
    }
    return rc;
}

/* Closed after three requests, and opened again: the second part replays the first. */
static int session_path(const void *context, struct err *problem)
{
    static char kept[4096];
    char file[TEMP_PATH_SIZE + 256];
    struct suggest *suggest = NULL;
    struct text replies = {0};
    (void)context;
    remove_session();
    snprintf(file, sizeof(file), "%s", temp_path(&temp, "e.json"));
    int rc = suggest_open(&suggest, file, temp_path(&temp, "e.db"), problem);
    if (rc == 0)
        rc = answer_all(suggest, 0, 3, &replies, problem);
    suggest_close(suggest);
    suggest = NULL;
    if (rc == 0)
        rc = suggest_open(&suggest, file, temp_path(&temp, "e.db"), problem);
    if (rc == 0)
        rc = answer_all(suggest, 3, N_REQUESTS, &replies, problem);
    if (rc == 0 && !replies.failed && !kept[0])
        snprintf(kept, sizeof(kept), "%s", replies.data);
    else if (rc == 0 && !replies.failed && !strstr(replies.data, "memory"))
        cr_expect_str_eq(replies.data, kept);
    text_done(&replies);
    suggest_close(suggest);
    return rc;
}

/* Sweep files of Weights & Biases -------------------------------------------------------------------------------------
 */

static const char yaml[] =
    "method: bayes\n"
    "metric: {name: loss, goal: minimize}\n"
    "run_cap: 9\n"
    "program: train.py\n"
    "parameters:\n"
    "  a: {distribution: uniform, min: 0.0, max: 1.0}\n"
    "  b: {distribution: q_uniform, min: 0, max: 10, q: 2}\n"
    "  c: {distribution: int_uniform, min: 1, max: 9}\n"
    "  d: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}\n"
    "  e: {distribution: inv_log_uniform_values, min: 1e-5, max: 1e-1}\n"
    "  f: {distribution: q_log_uniform_values, min: 1, max: 100, q: 1}\n"
    "  g: {distribution: normal, mu: 0, sigma: 1}\n"
    "  h: {distribution: q_normal, mu: 0, sigma: 1, q: 0.5}\n"
    "  i: {distribution: log_normal, mu: 0, sigma: 1}\n"
    "  j: {distribution: q_log_normal, mu: 0, sigma: 1, q: 1}\n"
    "  k: {distribution: beta, a: 2, b: 3}\n"
    "  l: {distribution: q_beta, a: 2, b: 3, q: 0.25}\n"
    "  m: {distribution: categorical_w_probabilities, values: [x, y], probabilities: [0.2, 0.8]}\n"
    "  n: {values: [1, two, 3.5, true]}\n"
    "  o: {value: 7}\n"
    "  p: {parameters: {q: {values: [1, 2]}, r: {value: text}}}\n"
    "early_terminate: {type: hyperband, min_iter: 3, eta: 3}\n";

static int yaml_path(const void *context, struct err *problem)
{
    static char kept[8192];
    cJSON *definition = NULL;
    struct text remarks = {0}, found = {0};
    (void)context;
    int rc = wandb_convert(yaml, strlen(yaml), "sweep.yaml", &definition, &remarks, problem);
    if (rc == 0)
        json_add(&found, definition);
    if (rc == 0 && !found.failed && !kept[0])
        snprintf(kept, sizeof(kept), "%s", found.data);
    else if (rc == 0 && !found.failed)
        cr_expect_str_eq(found.data, kept, "another definition");
    text_done(&remarks);
    text_done(&found);
    json_free(definition);
    return rc;
}

static const struct fault_path others[] = {{"session", session_path, NULL}, {"yaml", yaml_path, NULL}};

#ifndef NIGHTSWEEP_ASAN
Test(faults_study, every_allocation_of_a_session_and_a_conversion)
{
    for (int i = 0; i < 2; i++)
        cr_expect_geq(fault_each(&others[i], FAULT_OWN_ALLOCATION, ENOMEM, 200), 5);
}
#endif

Test(faults_study, every_call_of_a_session)
{
    cr_expect_geq(fault_each(&others[0], FAULT_IO, EIO, 150), 5);
}
