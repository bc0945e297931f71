/* The comparison as one JSON object (docs/json-output.md). */
#include <math.h>

#include "orchestrator/compare.h"
#include "orchestrator/printable.h"

static void add_value(struct text *out, double value)
{
    if (isfinite(value))
        text_add_double(out, value);
    else
        text_add(out, "null");
}

static void add_number(struct text *out, const char *key, double value)
{
    text_printf(out, ",\"%s\":", key);
    add_value(out, value);
}

static void add_string(struct text *out, const char *key, const char *value)
{
    text_printf(out, ",\"%s\":", key);
    printable_add_json(out, value);
}

static void add_bool(struct text *out, const char *key, bool value)
{
    text_printf(out, ",\"%s\":%s", key, value ? "true" : "false");
}

static void add_interval(struct text *out, const char *key, struct interval interval)
{
    text_printf(out, ",\"%s\":{\"n\":%d", key, interval.n);
    add_number(out, "mean", interval.mean);
    add_number(out, "low", interval.low);
    add_number(out, "high", interval.high);
    text_add_char(out, '}');
}

static void add_axes(struct text *out, const struct compare_configuration *x)
{
    for (int axis = AXIS_PARAMETERS; axis < AXIS_COUNT; axis++)
        add_number(out, compare_axis_names[axis], x->axes[axis]);
}

static void add_fit(struct text *out, const struct compare_method *m)
{
    struct text words = {0};
    fit_add_words(&words, &m->fit, m->chosen->method, m->chosen->settings);
    add_string(out, "fit", fit_names[m->fit.verdict]);
    add_string(out, "fit_words", words.data ? words.data : "");
    text_done(&words);
}

static void add_sizes(struct text *out, const struct comparison *c)
{
    text_add(out, ",\"overfitting_by_size\":[");
    for (int s = 0; s < c->n_sizes; s++) {
        text_add(out, s ? ",{\"training_rows\":" : "{\"training_rows\":");
        printable_add_json(out, c->sizes[s].label);
        text_add(out, ",\"gaps\":{");
        for (int i = 0; i < c->n_methods; i++) {
            text_add(out, i ? "," : "");
            printable_add_json(out, c->methods[i].label);
            text_add_char(out, ':');
            add_value(out, c->sizes[s].gaps[i]);
        }
        text_add(out, "}}");
    }
    text_add_char(out, ']');
}

static void add_method(struct text *out, const struct comparison *c, const struct compare_method *m)
{
    text_add(out, "{\"method\":");
    printable_add_json(out, m->label);
    add_string(out, "sweep", c->sweeps[m->chosen->sweep]);
    add_bool(out, "traditional", m->is_traditional);
    text_printf(out, ",\"configurations\":%d,\"configuration\":%lld,\"parameters\":%s", m->n_configurations,
                (long long)m->chosen->number, m->chosen->parameters);
    add_interval(out, "validation", m->validation);
    add_interval(out, "test", m->test);
    add_interval(out, "overfitting", m->gap);
    add_axes(out, m->chosen);
    add_number(out, "knowledge_kept", m->kept);
    add_string(out, "knowledge_kept_by", m->kept_by ? m->kept_by : "");
    add_fit(out, m);
    add_number(out, "flops", m->chosen->flops);
    add_number(out, "peak_bytes", m->chosen->peak_bytes > 0 ? m->chosen->peak_bytes : (double)NAN);
    text_add(out, ",\"expected_best\":[");
    for (int k = 0; k < m->n_expected; k++) {
        text_add(out, k ? "," : "");
        add_value(out, m->expected_best[k]);
    }
    text_add(out, "],\"checks\":[");
    for (int i = 0; i < m->n_checks; i++) {
        text_printf(out, "%s{\"seeds\":%d", i ? "," : "", m->checks[i].n);
        add_string(out, "name", m->checks[i].name);
        add_string(out, "metric", m->checks[i].metric);
        add_number(out, "before", m->checks[i].before);
        add_number(out, "after", m->checks[i].after);
        text_add_char(out, '}');
    }
    text_add(out, "]}");
}

static void add_pair(struct text *out, const struct comparison *c, const struct compare_pair *pair)
{
    struct text verdict = {0};
    text_add(out, "{\"a\":");
    printable_add_json(out, c->methods[pair->a].label);
    add_string(out, "b", c->methods[pair->b].label);
    text_printf(out, ",\"matched_seeds\":%d", pair->n_seeds);
    add_number(out, "difference", pair->difference.mean);
    text_add(out, ",\"over_seeds\":{\"test\":");
    text_add(out, pair->n_seeds > 0 ? "\"paired\"" : "\"welch\"");
    add_number(out, "standard_error", pair->difference.se);
    add_number(out, "degrees_of_freedom", pair->difference.df);
    add_number(out, "low", pair->difference.low);
    add_number(out, "high", pair->difference.high);
    add_number(out, "p", pair->seeds_p);
    add_number(out, "detectable", pair->detectable);
    text_add(out, "},\"over_items\":");
    if (pair->has_items) {
        text_printf(out, "{\"items\":%d,\"resamples\":%d", c->n_items, c->resamples);
        add_number(out, "low", pair->items.low);
        add_number(out, "high", pair->items.high);
        add_number(out, "p", pair->items.p);
        text_add_char(out, '}');
    } else {
        text_add(out, "null");
    }
    add_number(out, "p", pair->p);
    add_number(out, "p_holm", pair->adjusted_p);
    add_number(out, "cohen_d", pair->cohen_d);
    add_number(out, "cliff_delta", pair->cliff_delta);
    add_number(out, "order_a_over_b", pair->order_ab);
    add_number(out, "order_b_over_a", pair->order_ba);
    compare_add_verdict(&verdict, c, pair);
    add_string(out, "verdict", verdict.data ? verdict.data : "");
    text_add_char(out, '}');
    text_done(&verdict);
}

static void add_inferiority(struct text *out, const struct comparison *c)
{
    text_add(out, ",\"non_inferiority\":");
    if (c->reference < 0) {
        text_add(out, "null");
        return;
    }
    text_add(out, "{\"reference\":");
    printable_add_json(out, c->methods[c->reference].label);
    add_number(out, "margin", c->margin);
    text_add(out, ",\"methods\":[");
    for (int i = 0; i < c->n_inferiority; i++) {
        const struct compare_inferiority *x = &c->inferiority[i];
        text_add(out, i ? ",{\"method\":" : "{\"method\":");
        printable_add_json(out, c->methods[x->method].label);
        add_number(out, "inferior_p", x->inferior_p);
        add_number(out, "tost_p", x->tost_p);
        add_number(out, "low90", x->low90);
        add_number(out, "high90", x->high90);
        text_printf(out, ",\"not_inferior\":%s", x->verdict < 0 ? "null" : x->verdict ? "true" : "false");
        text_printf(out, ",\"equivalent\":%s}", x->verdict < 0 ? "null" : x->is_equivalent ? "true" : "false");
    }
    text_add(out, "]}");
}

static void add_configuration(struct text *out, const struct comparison *c, const struct compare_configuration *x)
{
    text_add(out, "{\"sweep\":");
    printable_add_json(out, c->sweeps[x->sweep]);
    add_string(out, "method", x->method);
    text_printf(out, ",\"configuration\":%lld,\"parameters\":%s,\"seeds\":%d", (long long)x->number, x->parameters,
                x->n_trials);
    add_number(out, "score", x->axes[AXIS_SCORE]);
    add_axes(out, x);
    text_add(out, ",\"fronts\":[");
    const char *separator = "";
    for (int axis = 0; axis < AXIS_COUNT; axis++)
        if (x->on_front[axis]) {
            text_printf(out, "%s\"%s\"", separator, axis == AXIS_SCORE ? "all" : compare_axis_names[axis]);
            separator = ",";
        }
    text_add(out, "]}");
}

static void add_cells(struct text *out, const struct comparison *c)
{
    text_add(out, ",\"matrices\":[");
    for (int i = 0; i < c->n_cells; i++) {
        const struct compare_cell *cell = &c->cells[i];
        text_add(out, i ? ",{\"method\":" : "{\"method\":");
        printable_add_json(out, cell->method);
        add_string(out, "check", cell->check);
        add_string(out, "metric", cell->metric);
        add_string(out, "trained_with", cell->trained);
        add_string(out, "asked_with", cell->asked);
        text_printf(out, ",\"trials\":%d", cell->n);
        add_number(out, "before", cell->before);
        add_number(out, "after", cell->after);
        add_interval(out, "change", cell->delta);
        text_add_char(out, '}');
    }
    text_add_char(out, ']');
}

void compare_add_json(struct text *out, const struct comparison *c)
{
    text_add(out, "{\"v\":1,\"sweeps\":[");
    for (int i = 0; i < c->n_sweeps; i++) {
        text_add(out, i ? "," : "");
        printable_add_json(out, c->sweeps[i]);
    }
    text_add_char(out, ']');
    add_string(out, "metric", c->metric);
    add_string(out, "goal", c->goal);
    add_string(out, "compared_on", c->uses_test ? "test" : "validation");
    text_add(out, ",\"methods\":[");
    for (int i = 0; i < c->n_methods; i++) {
        text_add(out, i ? "," : "");
        add_method(out, c, &c->methods[i]);
    }
    text_add(out, "],\"pairs\":[");
    for (int i = 0; i < c->n_pairs; i++) {
        text_add(out, i ? "," : "");
        add_pair(out, c, &c->pairs[i]);
    }
    text_add_char(out, ']');
    add_number(out, "order_confidence", c->order_confidence);
    add_inferiority(out, c);
    add_sizes(out, c);
    add_cells(out, c);
    text_add(out, ",\"configurations\":[");
    for (int i = 0; i < c->n_configurations; i++) {
        text_add(out, i ? "," : "");
        add_configuration(out, c, &c->configurations[i]);
    }
    text_add(out, "]}\n");
}
