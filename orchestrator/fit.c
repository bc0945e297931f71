/* What curves say about the size of a method. */
#include "orchestrator/fit.h"

#include <math.h>
#include <string.h>

#include "common/json.h"

const char *const fit_names[] = {"unknown", "good", "underfitting", "underfitting", "overfitting"};

/* Reading -----------------------------------------------------------------------------------------------------------
 */

static const char fit_sql[] =
    "WITH train AS (SELECT m.step, m.value FROM metric m JOIN metric_name n ON n.id = m.name_id"
    "   WHERE m.trial_id = ?1 AND n.name = 'train/loss'),"
    " valid AS (SELECT m.step, m.value FROM metric m JOIN metric_name n ON n.id = m.name_id"
    "   WHERE m.trial_id = ?1 AND n.name = 'validation/loss'),"
    " final AS (SELECT step, metrics FROM evaluation WHERE trial_id = ?1 AND split = 'validation' AND is_final"
    "   ORDER BY step DESC LIMIT 1),"
    " size AS (SELECT MAX(step) AS steps, MAX(1, MAX(step) / 10) AS tenth FROM train)"
    " SELECT (SELECT AVG(value) FROM train WHERE step <= final.step AND step > final.step - size.tenth),"
    "  (SELECT AVG(value) FROM train WHERE step > size.steps - size.tenth),"
    "  (SELECT AVG(value) FROM train WHERE step <= size.steps - size.tenth AND step > size.steps - 2 * size.tenth),"
    "  json_extract(final.metrics, '$.loss'), (SELECT value FROM valid ORDER BY step DESC LIMIT 1),"
    "  final.step, size.steps, json_extract(final.metrics, '$.confusion') FROM final, size";

/* The entropy of the labels: rows of the confusion matrix. */
static double guess_of(const char *confusion)
{
    cJSON *json = confusion ? cJSON_Parse(confusion) : NULL;
    double all = 0, entropy = 0;
    for (int pass = 0; pass < 2; pass++)
        for (const cJSON *row = json ? json->child : NULL; row; row = row->next) {
            double count = 0;
            for (const cJSON *cell = row->child; cell; cell = cell->next)
                count += cell->valuedouble;
            if (pass == 0)
                all += count;
            else if (count > 0)
                entropy -= count / all * log(count / all);
        }
    cJSON_Delete(json);
    return all > 0 ? entropy : (double)NAN;
}

static double real_at(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(row, column);
}

int fit_read(struct store *store, int64_t trial_id, struct fit *fit, struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(store_database(store), fit_sql, -1, &row, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "%s: cannot read the losses: %s", store_path(store),
                       sqlite3_errmsg(store_database(store)));
    sqlite3_bind_int64(row, 1, trial_id);
    if (sqlite3_step(row) == SQLITE_ROW) {
        double *const sums[] = {&fit->best_train,      &fit->last_train, &fit->previous_train, &fit->best_validation,
                                &fit->last_validation, &fit->best_step,  &fit->steps};
        for (int i = 0; i < 7; i++)
            *sums[i] += real_at(row, i);
        fit->guess += guess_of((const char *)sqlite3_column_text(row, 7));
        fit->n++;
    }
    sqlite3_finalize(row);
    return 0;
}

/* Judging -----------------------------------------------------------------------------------------------------------
 */

void fit_judge(struct fit *fit)
{
    double *const sums[] = {&fit->best_train,      &fit->last_train, &fit->previous_train, &fit->best_validation,
                            &fit->last_validation, &fit->best_step,  &fit->steps,          &fit->guess};
    for (int i = 0; i < 8; i++)
        *sums[i] = fit->n > 0 ? *sums[i] / fit->n : (double)NAN;
    fit->verdict = FIT_UNKNOWN;
    if (isnan(fit->best_train) || isnan(fit->best_validation))
        return;
    bool rose = fit->last_validation > 1.05 * fit->best_validation && fit->last_train < fit->best_train;
    bool still_falls = fit->best_step >= fit->steps && fit->last_train < 0.97 * fit->previous_train;
    if (fit->best_train > 0.9 * fit->guess)
        fit->verdict = FIT_GUESSING;
    else if (rose || fit->best_validation > 2 * fit->best_train)
        fit->verdict = FIT_OVER;
    else
        fit->verdict = still_falls ? FIT_UNFINISHED : FIT_GOOD;
}

/* Words -------------------------------------------------------------------------------------------------------------
 */

/* The setting that decides how much a method can learn. */
static const char *size_setting(const char *method)
{
    static const struct {
        const char *method, *setting;
    } sizes[] = {{"lora", "rank"},
                 {"dora", "rank"},
                 {"vera", "rank"},
                 {"adalora", "rank"},
                 {"pissa", "rank"},
                 {"hyper_lora", "rank"},
                 {"adapter", "adapter_size"},
                 {"compacter", "adapter_size"},
                 {"partial", "top_layers"},
                 {"prompt", "prompt_length"},
                 {"p_tuning", "prompt_length"},
                 {"prefix", "prompt_length"},
                 {"hyper_adapter", "adapter_size"},
                 {"smoe", "expert_size"}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        if (text_equal(sizes[i].method, method))
            return sizes[i].setting;
    return NULL;
}

static void add_change(struct text *out, const cJSON *settings, const char *name, double factor, const char *joint)
{
    const cJSON *value = json_get(settings, name);
    if (!cJSON_IsNumber(value))
        return;
    double next = value->valuedouble * factor;
    bool is_whole = strcmp(name, "learning_rate") != 0;
    if (is_whole)
        next = next < 1 ? 1 : floor(next);
    if (is_whole && next <= value->valuedouble && factor > 1)
        next = value->valuedouble + 1;
    if (is_whole && !(next < value->valuedouble) && factor < 1)
        return;
    text_printf(out, "%s%s %g instead of %g", joint, name, next, value->valuedouble);
}

static void add_over(struct text *out, const struct fit *fit, const char *method, const cJSON *settings)
{
    text_printf(out, "overfitting: validation loss %.3g against %.3g in training at the best checkpoint",
                fit->best_validation, fit->best_train);
    if (fit->last_validation > 1.05 * fit->best_validation)
        text_printf(out, ", and %.3g at the end", fit->last_validation);
    text_printf(out, " (best at step %.0f of %.0f). Next: ", fit->best_step, fit->steps);
    size_t start = out->len;
    if (fit->best_step < 0.9 * fit->steps)
        text_printf(out, "stop near step %.0f (patience)", fit->best_step);
    if (text_equal(method, "full"))
        text_printf(out, "%sfewer layers (partial with top_layers 2) or a parameter-efficient method",
                    out->len > start ? ", or " : "");
    else if (size_setting(method))
        add_change(out, settings, size_setting(method), 0.5, out->len > start ? ", or " : "");
    add_change(out, settings, "learning_rate", 0.5, out->len > start ? ", or " : "");
    text_add(out, "; more training rows help most.");
}

static void add_under(struct text *out, const struct fit *fit, const char *method, const cJSON *settings)
{
    size_t start;
    if (fit->verdict == FIT_GUESSING)
        text_printf(out, "underfitting: a training loss of %.3g, where guessing by frequency has %.3g. Next: ",
                    fit->best_train, fit->guess);
    else
        text_printf(
            out, "underfitting: the last step is the best, and the training loss still fell from %.3g to %.3g. Next: ",
            fit->previous_train, fit->last_train);
    start = out->len;
    if (fit->verdict == FIT_UNFINISHED)
        add_change(out, settings, json_get(settings, "steps") ? "steps" : "epochs", 2, "");
    add_change(out, settings, "learning_rate", fit->verdict == FIT_GUESSING ? 3 : 2, out->len > start ? ", or " : "");
    if (size_setting(method))
        add_change(out, settings, size_setting(method), 2, out->len > start ? "; then " : "");
    else if (!text_equal(method, "full"))
        text_add(out, "; then a method that trains more (lora, adapter)");
    text_add_char(out, '.');
}

void fit_add_words(struct text *out, const struct fit *fit, const char *method, const char *settings)
{
    cJSON *json = settings ? cJSON_Parse(settings) : NULL;
    switch (fit->verdict) {
    case FIT_OVER:
        add_over(out, fit, method, json);
        break;
    case FIT_GUESSING:
    case FIT_UNFINISHED:
        add_under(out, fit, method, json);
        break;
    case FIT_GOOD:
        text_printf(out, "neither under- nor overfitting: validation loss %.3g against %.3g in training.",
                    fit->best_validation, fit->best_train);
        break;
    case FIT_UNKNOWN:
        break;
    }
    cJSON_Delete(json);
}
