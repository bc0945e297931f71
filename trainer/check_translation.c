/* Translation quality: BLEU and chrF of what the model writes for the rows of a file, as the texts are and with
 * hypothesis and reference in a Unicode normal form, side by side; and BLEU of the way there and back (docs/checks.md).
 * He et al. 2022, arXiv:2210.08742, 4. */
#include <stdlib.h>
#include <string.h>

#include "common/bleu.h"
#include "common/checks.h"
#include "common/chrf.h"
#include "common/json.h"
#include "common/ngrams.h"
#include "common/normal_form.h"
#include "trainer/check.h"
#include "trainer/check_file.h"
#include "trainer/translate.h"

struct translation_options {
    const char *form, *back; /* back: NULL, no way back */
    int beams, no_repeat;    /* no_repeat 0: no second search */
};

/* Reading ------------------------------------------------------------------------------------------------------------
 */

static int read_count(const cJSON *options, const char *key, int64_t max, int *out, struct err *err)
{
    const char *given = NULL;
    int64_t value = *out;
    int rc = json_opt_string(options, key, "check", &given, err);
    if (rc == 0 && given && (text_parse_int64(given, &value, NULL) < 0 || value < 1 || value > max))
        rc = err_set(err, ERR_USAGE, "%s: '%s', a whole number from 1 to %d was expected", key, given, (int)max);
    *out = (int)value;
    return rc;
}

static int read_options(const struct trial_check *check, struct translation_options *out, struct err *err)
{
    *out = (struct translation_options){.form = "NFC", .beams = 1};
    int rc = json_opt_string(check->options, "form", "check", &out->form, err);
    if (rc == 0 && normal_form_check(out->form, err) < 0)
        rc = err_wrap(err, "form");
    if (rc == 0)
        rc = json_opt_string(check->options, "back", "check", &out->back, err);
    if (rc == 0)
        rc = read_count(check->options, "beams", GENERATE_MAX_BEAMS, &out->beams, err);
    return rc < 0 ? rc : read_count(check->options, "no_repeat", 64, &out->no_repeat, err);
}

static int read_rows(const struct trial *trial, const struct trial_check *check, struct rows *rows, struct err *err)
{
    int rc = rows_read(rows, check->file, trial->job->task, 0, err);
    return rc == 0 && rows->count == 0 ? err_set(err, ERR_DATA, "'%s' has no rows", check->file) : rc;
}

static int fits(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct translation_options options;
    struct rows rows = {0};
    int rc = trial->model.task == TASK_SEQ2SEQ
                 ? read_options(check, &options, err)
                 : err_set(err, ERR_UNSUPPORTED, "it translates with an encoder-decoder, the model is another");
    if (rc == 0)
        rc = read_rows(trial, check, &rows, err);
    rows_done(&rows);
    return rc;
}

/* Choosing between two searches -------------------------------------------------------------------------------------
 */

/* How often the most frequent n-gram of 1 to 3 words occurs. */
static int most_repeated(const char *text, struct arena *arena, struct err *err)
{
    int n = 0, most = 0, rc = 0;
    const struct word *words = ngrams_split(text, strlen(text), &n, arena);
    uint32_t *units = NULL;
    const struct word *lists[] = {words};
    if (!words)
        return err_set(err, ERR_NOMEM, "no memory for a translation");
    rc = ngrams_number(lists, &n, 1, &units, arena, err);
    for (int order = 1; order <= 3 && rc == 0; order++)
        for (int i = 0; i + order <= n; i++) {
            int count = 0;
            for (int k = 0; k + order <= n; k++)
                count += memcmp(units + i, units + k, (size_t)order * sizeof(*units)) == 0;
            most = count > most ? count : most;
        }
    return rc < 0 ? rc : most;
}

/* A run of words that comes more than three times, and more than twice as often more than in the source. */
static int is_repetitive(const char *source, const char *hypothesis, bool *answer, struct err *err)
{
    struct arena arena = {0};
    int own = most_repeated(hypothesis, &arena, err), other = own < 0 ? own : most_repeated(source, &arena, err);
    *answer = own > 3 && own - other > 2;
    arena_done(&arena);
    return own < 0 ? own : other < 0 ? other : 0;
}

/* Measuring ----------------------------------------------------------------------------------------------------------
 */

struct measuring {
    const struct translation_options *options;
    struct translator first, second; /* second: without repetitions */
};

static int open_translators(struct measuring *m, struct trial *trial, struct err *err)
{
    struct generation generation = generation_default();
    generation.beams = m->options->beams;
    int rc = translator_open(&m->first, &trial->model, trial->tokenizer, trial->job->settings, &generation,
                             trial->max_tokens, err);
    generation.no_repeat_ngram = m->options->no_repeat;
    return rc < 0 ? rc
                  : translator_open(&m->second, &trial->model, trial->tokenizer, trial->job->settings, &generation,
                                    trial->max_tokens, err);
}

static int write_translation(struct measuring *m, const char *source, uint32_t example, struct text *out,
                             struct err *err)
{
    bool is_bad = false;
    int rc = translate(&m->first, source, example, out, err);
    if (rc == 0 && m->options->no_repeat > 0)
        rc = is_repetitive(source, out->data ? out->data : "", &is_bad, err);
    if (rc < 0 || !is_bad)
        return rc;
    text_reset(out);
    return translate(&m->second, source, example, out, err);
}

static int add_bleu(double *item, const char *hypothesis, const char *reference, struct err *err)
{
    struct bleu bleu = {0};
    int rc = bleu_add(&bleu, hypothesis, &reference, 1, err);
    for (int k = 0; k < BLEU_ORDERS; k++) {
        item[k] = (double)bleu.correct[k];
        item[BLEU_ORDERS + k] = (double)bleu.total[k];
    }
    item[2 * BLEU_ORDERS] = (double)bleu.hypothesis_length;
    item[2 * BLEU_ORDERS + 1] = (double)bleu.reference_length;
    return rc;
}

static int add_chrf(double *item, const char *hypothesis, const char *reference, struct err *err)
{
    struct chrf chrf = {0};
    int rc = chrf_add(&chrf, hypothesis, &reference, 1, err);
    for (int k = 0; k < CHRF_CHARACTER_ORDERS; k++) {
        item[k] = (double)chrf.hypothesis[k];
        item[CHRF_CHARACTER_ORDERS + k] = (double)chrf.reference[k];
        item[2 * CHRF_CHARACTER_ORDERS + k] = (double)chrf.matches[k];
    }
    return rc;
}

/* Of two texts in the form. */
static int add_normalized(double *item, const char *form, const char *hypothesis, const char *reference,
                          struct err *err)
{
    struct text a = {0}, b = {0};
    int rc = normal_form_add(&a, form, hypothesis, err);
    if (rc == 0)
        rc = normal_form_add(&b, form, reference, err);
    if (rc == 0)
        rc = add_bleu(item + TRANSLATION_BLEU, a.data ? a.data : "", b.data ? b.data : "", err);
    if (rc == 0)
        rc = add_chrf(item + 3 * TRANSLATION_BLEU + TRANSLATION_CHRF, a.data ? a.data : "", b.data ? b.data : "", err);
    text_done(&a);
    text_done(&b);
    return rc;
}

/* A tag in front, <…>, says what is wanted and is no part of the source. */
static const char *without_tag(const char *source)
{
    const char *end = source[0] == '<' ? strchr(source, '>') : NULL;
    return end ? end + 1 + strspn(end + 1, " ") : source;
}

/* The translation translated back, against the source, both in the form. */
static int add_way_back(struct measuring *m, double *item, const char *source, const char *hypothesis, uint32_t example,
                        struct err *err)
{
    struct text prompt = {0}, back = {0}, a = {0}, b = {0};
    text_printf(&prompt, "%s %s", m->options->back, hypothesis);
    int rc = prompt.failed ? err_set(err, ERR_NOMEM, "no memory for a translation")
                           : write_translation(m, prompt.data, example, &back, err);
    if (rc == 0)
        rc = normal_form_add(&a, m->options->form, back.data ? back.data : "", err);
    if (rc == 0)
        rc = normal_form_add(&b, m->options->form, without_tag(source), err);
    if (rc == 0)
        rc = add_bleu(item + 2 * TRANSLATION_BLEU, a.data ? a.data : "", b.data ? b.data : "", err);
    item[TRANSLATION_WIDTH - 1] = 1;
    text_done(&prompt);
    text_done(&back);
    text_done(&a);
    text_done(&b);
    return rc;
}

static int measure_row(struct measuring *m, const struct row *row, uint32_t example, double *item, struct err *err)
{
    struct text hypothesis = {0};
    int rc = write_translation(m, row->text, example, &hypothesis, err);
    const char *text = hypothesis.data ? hypothesis.data : "";
    if (rc == 0)
        rc = add_bleu(item, text, row->pair, err);
    if (rc == 0)
        rc = add_chrf(item + 3 * TRANSLATION_BLEU, text, row->pair, err);
    if (rc == 0)
        rc = add_normalized(item, m->options->form, text, row->pair, err);
    if (rc == 0 && m->options->back)
        rc = add_way_back(m, item, row->text, text, example, err);
    text_done(&hypothesis);
    return rc;
}

static int run(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct translation_options options;
    struct measuring m = {.options = &options};
    struct rows rows = {0};
    char hash[HASH_HEX_SIZE];
    double *items = NULL;
    int rc = read_options(check, &options, err);
    if (rc == 0)
        rc = read_rows(trial, check, &rows, err);
    if (rc == 0 && !(items = calloc(rows.count * TRANSLATION_WIDTH, sizeof(*items))))
        rc = err_set(err, ERR_NOMEM, "no memory for %zu translations", rows.count);
    if (rc == 0)
        rc = open_translators(&m, trial, err);
    for (size_t i = 0; i < rows.count && rc == 0; i++)
        rc = measure_row(&m, &rows.items[i], (uint32_t)i, items + i * TRANSLATION_WIDTH, err);
    if (rc == 0) {
        check_rows_hash(&rows, hash);
        check_send(trial, check, items, rows.count, hash);
    }
    translator_close(&m.first);
    translator_close(&m.second);
    free(items);
    rows_done(&rows);
    return rc;
}

const struct check_kind check_translation = {.name = "translation", .fits = fits, .run = run};
