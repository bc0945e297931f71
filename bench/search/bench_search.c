/* Runs a search algorithm on the test functions and prints, a line a seed, what it reached: regret of the best trial
 * (noise-free value), or hypervolume; and CPU seconds a proposal, and configurations that came twice.
 *
 *     bench-search SPACES.json FUNCTION[@NOISE] ALGORITHM TRIALS FIRST_SEED SEEDS [AT…]
 *
 * With NOISE what is told has normal noise of that deviation, whatever the function's own is. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/search/functions.h"
#include "orchestrator/search_pareto.h"
#include "orchestrator/study.h"

enum { CURVE_STEPS = 81, TRIALS_MAX = 20000 };

struct run {
    const struct function *function;
    struct study *study;
    uint64_t seed;
    double best_told, best_true, seconds, slowest;
    double (*points)[2];
    int n_points, repeats;
    int64_t steps;
    struct text seen;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const struct err *err)
{
    fprintf(stderr, "bench-search: %s\n", err->message);
    exit(1);
}

static void keep(struct run *run, double told, double true_value)
{
    if (told < run->best_told) {
        run->best_told = told;
        run->best_true = true_value;
    }
}

static cJSON *metrics_of(double first, double second, bool is_pair)
{
    cJSON *metrics = cJSON_CreateObject();
    cJSON_AddNumberToObject(metrics, is_pair ? "first" : "value", first);
    if (is_pair)
        cJSON_AddNumberToObject(metrics, "second", second);
    return metrics;
}

/* Trains along the curve until the rule ends the trial; only whole trials can be the incumbent. */
static int run_curve(struct run *run, const struct study_proposal *proposal, struct err *err)
{
    for (int step = 1; step <= CURVE_STEPS; step++) {
        double noise = functions_noise(run->seed, (uint64_t)proposal->trial, (uint64_t)step) * run->function->noise;
        double value = run->function->curve(proposal->parameters, step) + noise;
        cJSON *metrics = metrics_of(value, 0, false);
        struct study_decision decision;
        double start = now();
        int rc = study_tell_step(run->study, proposal->trial, step, metrics, &decision, err);
        run->seconds += now() - start;
        run->steps++;
        if (rc == 0 && step == CURVE_STEPS) {
            keep(run, value, run->function->first(proposal->parameters));
            rc = study_tell(run->study, proposal->trial, metrics, err);
        }
        cJSON_Delete(metrics);
        if (rc < 0 || !decision.goes_on)
            return rc;
    }
    return 0;
}

static int run_trial(struct run *run, const struct study_proposal *proposal, struct err *err)
{
    const struct function *f = run->function;
    double value = f->first(proposal->parameters), second = f->second ? f->second(proposal->parameters) : 0;
    double told = value + (f->noise > 0 ? f->noise * functions_noise(run->seed, (uint64_t)proposal->trial, 0) : 0);
    if (f->curve)
        return run_curve(run, proposal, err);
    keep(run, told, value);
    run->points[run->n_points][0] = value;
    run->points[run->n_points++][1] = second;
    cJSON *metrics = metrics_of(told, second, f->second != NULL);
    int rc = study_tell(run->study, proposal->trial, metrics, err);
    cJSON_Delete(metrics);
    return rc;
}

static double reached(const struct run *run, struct err *err)
{
    double volume = 0;
    if (!run->function->second)
        return run->best_true - run->function->optimum;
    if (pareto_hypervolume(&run->points[0][0], run->n_points, 2, run->function->reference, &volume, err) < 0)
        die(err);
    return volume;
}

static void count_repeats(struct run *run, const cJSON *parameters)
{
    struct text key = {0};
    text_add_char(&key, '\n');
    json_add_canonical(&key, parameters);
    text_add_char(&key, '\n');
    if (run->seen.data && strstr(run->seen.data, key.data))
        run->repeats++;
    text_add(&run->seen, key.data);
    text_done(&key);
}

static void run_seed(const char *definition_text, const struct function *function, int trials, uint64_t seed, char **at,
                     int n_at)
{
    struct err err;
    struct definition definition;
    bool is_curve = function->curve != NULL;
    struct run run = {.function = function, .seed = seed, .best_told = INFINITY, .best_true = INFINITY};
    run.points = calloc(TRIALS_MAX, sizeof(*run.points));
    if (definition_parse_elsewhere(&definition, definition_text, function->name, &err) < 0)
        die(&err);
    definition.seed = seed;
    if (is_curve)
        definition.budget.steps = (int64_t)trials * CURVE_STEPS;
    else
        definition.budget.trials = trials;
    if (study_new(&run.study, &definition, false, &err) < 0)
        die(&err);
    printf("%s %s %d", function->name, definition.search, (int)seed);
    int next = 0;
    for (;;) {
        struct study_proposal proposal;
        double start = now();
        if (study_ask(run.study, &proposal, &err) < 0)
            die(&err);
        double took = now() - start;
        run.seconds += took;
        run.slowest = fmax(run.slowest, took);
        if (proposal.answer != STUDY_TRIAL)
            break;
        count_repeats(&run, proposal.parameters);
        if (getenv("BENCH_TRACE")) {
            struct text t = {0};
            json_add(&t, proposal.parameters);
            fprintf(stderr, "%lld %g %s\n", (long long)proposal.trial, function->first(proposal.parameters), t.data);
            text_done(&t);
        }
        if (run_trial(&run, &proposal, &err) < 0)
            die(&err);
        for (; next < n_at && proposal.trial == strtol(at[next], NULL, 10) && !is_curve; next++)
            printf(" %s:%.6g", at[next], reached(&run, &err));
    }
    int64_t n = study_trials(run.study);
    printf(" %d:%.6g ms:%.3g slowest:%.3g trials:%lld repeats:%d\n", trials, reached(&run, &err),
           1e3 * run.seconds / (double)n, 1e3 * run.slowest, (long long)n, run.repeats);
    fflush(stdout);
    study_free(run.study);
    definition_done(&definition);
    free(run.points);
    text_done(&run.seen);
}

/* The function of that name ("hartmann6", "hartmann6@0.1"); name NULL: there is none. */
static struct function find_function(const char *given)
{
    const struct function *known = functions;
    size_t n = strcspn(given, "@");
    while (known->name && (strlen(known->name) != n || strncmp(known->name, given, n) != 0))
        known++;
    struct function found = *known;
    if (given[n] == '@')
        found.noise = strtod(given + n + 1, NULL);
    return found;
}

int main(int argc, char **argv)
{
    struct err err;
    cJSON *spaces = NULL;
    if (argc < 7) {
        fprintf(stderr, "usage: bench-search SPACES.json FUNCTION[@NOISE] ALGORITHM TRIALS FIRST_SEED SEEDS [AT...]\n");
        return 2;
    }
    if (json_read_file(argv[1], &spaces, &err) < 0)
        die(&err);
    struct function function = find_function(argv[2]);
    cJSON *definition = function.name ? cJSON_GetObjectItemCaseSensitive(spaces, function.name) : NULL;
    if (!definition) {
        fprintf(stderr, "bench-search: there is no function '%s'\n", argv[2]);
        return 2;
    }
    cJSON *search = cJSON_AddObjectToObject(definition, "search");
    cJSON_AddStringToObject(search, "algorithm", argv[3]);
    struct text text = {0};
    json_add(&text, definition);
    int64_t first = strtol(argv[5], NULL, 10), seeds = strtol(argv[6], NULL, 10);
    for (int64_t seed = first; seed < first + seeds; seed++)
        run_seed(text.data, &function, (int)strtol(argv[4], NULL, 10), (uint64_t)seed, argv + 7, argc - 7);
    text_done(&text);
    json_free(spaces);
    return 0;
}
