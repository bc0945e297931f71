/* Answers to many prompts at once are those that each prompt gets alone, and likelihoods of known answers are those of
 * whole sequences; with prompts of several lengths, more of one length than go side by side, and a common beginning. */
#include <criterion/criterion.h>
#include <math.h>

#include "common/rng.h"
#include "trainer/generate.h"
#include "trainer/task.h"
#include "trainer/trial.h"

enum { PROMPTS = 45, LONGEST = 20, NEW = 6, KNOWN = 3 };

static struct arena arena;
static struct model model;
static struct generation_ids ids;

static void open_model(const char *name)
{
    struct err err = {0};
    char folder[128];
    const struct model_options options = {.task = TASK_CAUSAL, .pooling = "mean"};
    snprintf(folder, sizeof(folder), "tests/golden/cases/models/%s", name);
    cr_assert_eq(model_open(&model, folder, &options, &arena, &err), 0, "%s", err.message);
    cr_assert_eq(generation_ids_read(&ids, &model, &err), 0, "%s", err.message);
}

static void close_model(void)
{
    model_close(&model);
    arena_done(&arena);
}

static int32_t tokens[PROMPTS][LONGEST], known[PROMPTS][KNOWN], answers[PROMPTS][NEW];

/* Three lengths, the first `shared` tokens alike; some without a known answer. */
static void make_prompts(struct question_prompt *prompts, int shared)
{
    for (uint32_t i = 0; i < PROMPTS; i++) {
        struct rng_stream stream = rng_stream(rng_make(7, RNG_GENERATE), i, 0, 0);
        for (int k = 0; k < LONGEST; k++)
            tokens[i][k] = k < shared ? 6 + k : (int32_t)(6 + rng_uniform(&stream) * 70);
        for (int k = 0; k < KNOWN; k++)
            known[i][k] = (int32_t)(6 + rng_uniform(&stream) * 70);
        prompts[i] = (struct question_prompt){
            .ids = tokens[i], .n = 12 + (int)i % 3 * 4, .known = known[i], .n_known = (int)i % 4, .answer = answers[i]};
    }
}

/* Σ log p of the known answer, by a pass over the whole sequence for each of its tokens. */
static double known_alone(const struct question_prompt *prompt)
{
    double sum = 0;
    struct arena step = {0};
    for (int k = 0; k < prompt->n_known; k++) {
        int32_t all[LONGEST + KNOWN];
        int n = prompt->n + k;
        struct tape tape = {0};
        const struct segment segment = {0, n, n, 0, 0};
        const struct batch batch = {.layout = {.n_segments = 1, .n_rows = n, .segments = &segment}, .ids = all};
        struct pass pass = {.tape = &tape, .model = &model, .batch = &batch};
        memcpy(all, prompt->ids, (size_t)prompt->n * sizeof(*all));
        memcpy(all + prompt->n, prompt->known, (size_t)k * sizeof(*all));
        tape_begin(&tape, &step);
        struct value *logits = task_last_logits(&pass, model.kind->decode(&pass));
        cr_assert_not_null(logits);
        double total = 0;
        for (int v = 0; v < model.vocab_size; v++)
            total += exp((double)logits->data[v]);
        sum += (double)logits->data[prompt->known[k]] - log(total);
    }
    arena_done(&step);
    return sum;
}

static void compare(int shared, bool uses_cache)
{
    struct question_prompt prompts[PROMPTS];
    struct generation options = generation_default();
    struct err err = {0};
    options.max_new_tokens = NEW;
    options.uses_cache = uses_cache;
    make_prompts(prompts, shared);
    cr_assert_eq(generate_answers(&model, &ids, &options, NULL, prompts, PROMPTS, &err), 0, "%s", err.message);
    for (int i = 0; i < PROMPTS; i++) {
        int32_t alone[NEW];
        int n = 0;
        cr_assert_eq(generate(&model, &ids, &options, prompts[i].ids, prompts[i].n, alone, &n, &err), 0, "%s",
                     err.message);
        cr_assert_eq(prompts[i].n_answer, n, "prompt %d, %d shared: %d tokens, alone %d", i, shared,
                     prompts[i].n_answer, n);
        for (int k = 0; k < n; k++)
            cr_expect_eq(answers[i][k], alone[k], "prompt %d, token %d: %d, alone %d", i, k, answers[i][k], alone[k]);
        /* single precision, sums of some hundred terms */
        cr_expect_float_eq(prompts[i].known_log_p, known_alone(&prompts[i]), 1e-4, "prompt %d: %g, alone %g", i,
                           prompts[i].known_log_p, known_alone(&prompts[i]));
    }
}

Test(generate_answers, are_those_of_each_prompt_alone)
{
    static const char *const names[] = {"llama", "gpt2"};
    for (int m = 0; m < 2; m++) {
        open_model(names[m]);
        compare(0, true);
        compare(9, true);
        compare(9, false);
        close_model();
    }
}

Test(generate_answers, refuses_what_does_not_fit)
{
    struct err err = {0};
    struct generation options = generation_default();
    struct question_prompt prompt = {.ids = tokens[0], .n = 0, .answer = answers[0]};
    open_model("llama");
    options.max_new_tokens = NEW;
    cr_expect_eq(generate_answers(&model, &ids, &options, NULL, &prompt, 1, &err), ERR_USAGE);
    prompt.n = model.max_positions;
    cr_expect_eq(generate_answers(&model, &ids, &options, NULL, &prompt, 1, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "positions"), "%s", err.message);
    options.beams = 2;
    prompt.n = 1;
    cr_expect_eq(generate_answers(&model, &ids, &options, NULL, &prompt, 1, &err), ERR_USAGE);
    options.beams = 1;
    cr_expect_eq(generate_answers(&model, &ids, &options, NULL, &prompt, 0, &err), 0, "no prompts: nothing to do");
    close_model();
}
