/* Lines of the progress display. Texts of definitions and models pass through printable. */
#include "orchestrator/progress_view.h"

#include <math.h>
#include <string.h>

#include "orchestrator/printable.h"
#include "orchestrator/summary.h"

enum { BAR_COLUMNS = 24 };

void progress_add_duration(struct text *out, double seconds)
{
    int64_t s = isfinite(seconds) && seconds >= 0 && seconds < 1e9 ? (int64_t)(seconds + 0.5) : -1, minutes = s / 60;
    if (s < 0)
        text_add(out, "?");
    else if (s < 120)
        text_printf(out, "%lld s", (long long)s);
    else if (minutes < 120)
        text_printf(out, "%lld min", (long long)minutes);
    else if (minutes < 48 * 60)
        text_printf(out, "%lld h %02lld min", (long long)(minutes / 60), (long long)(minutes % 60));
    else
        text_printf(out, "%lld d %lld h", (long long)(minutes / 1440), (long long)(minutes / 60 % 24));
}

/* On the screen ------------------------------------------------------------------------------------------------------
 */

/* Appends at most `width` columns of `line`, and a newline. */
static void add_cut(struct text *out, const char *line, int width)
{
    size_t n = 0;
    for (int columns = 0; line[n]; n++)
        if (((unsigned char)line[n] & 0xc0) != 0x80 && ++columns > width)
            break;
    text_add_n(out, line, n);
    text_add_char(out, '\n');
}

static void add_steps(struct text *out, const struct progress_slot *slot)
{
    if (slot->total_steps > 0)
        text_printf(out, "step %lld/%lld", (long long)slot->step, (long long)slot->total_steps);
    else
        text_add(out, "starting");
}

static void add_slot(struct text *out, const struct progress_slot *slot, int number)
{
    text_printf(out, "%3d  ", number);
    if (slot->trial == 0) {
        text_add(out, "free");
        return;
    }
    text_printf(out, "trial %-5lld ", (long long)slot->trial);
    size_t before = out->len;
    printable_add(out, slot->method ? slot->method : "");
    text_printf(out, "%*s  ", (int)(out->len - before < 12 ? 12 - (out->len - before) : 0), "");
    before = out->len;
    add_steps(out, slot);
    text_printf(out, "%*s  ", (int)(out->len - before < 16 ? 16 - (out->len - before) : 0), "");
    if (isfinite(slot->loss))
        text_printf(out, "loss %-8.4f ", slot->loss);
    if (slot->tokens_per_second > 0) {
        summary_add_count(out, (int64_t)slot->tokens_per_second);
        text_add(out, " tokens/s  ");
    }
    printable_add(out, slot->parameters ? slot->parameters : "");
}

static int64_t n_done(const struct progress_state *state)
{
    return state->n_complete + state->n_pruned + state->n_failed;
}

static void add_bar(struct text *out, const struct progress_state *state, bool has_color)
{
    double share = state->n_trials > 0 ? (double)n_done(state) / (double)state->n_trials : 0;
    int filled = (int)(share * BAR_COLUMNS);
    text_add(out, has_color ? "\x1b[32m" : "");
    for (int i = 0; i < BAR_COLUMNS; i++)
        text_add_char(out, i < filled ? '#' : '.');
    text_add(out, has_color ? "\x1b[0m" : "");
}

/* "34/81 trials, 2 failed, 5.1 steps/s, 12 min left, best validation/accuracy 0.8512" */
static void add_totals(struct text *out, const struct progress_state *state)
{
    text_printf(out, "%lld/%lld trials", (long long)n_done(state), (long long)state->n_trials);
    if (state->n_pruned > 0)
        text_printf(out, ", %lld pruned", (long long)state->n_pruned);
    if (state->n_failed > 0)
        text_printf(out, ", %lld failed", (long long)state->n_failed);
    if (state->steps_per_second > 0)
        text_printf(out, ", %.1f steps/s", state->steps_per_second);
    if (state->is_paused)
        text_add(out, ", paused");
    else if (isfinite(state->seconds_left)) {
        text_add(out, ", ");
        progress_add_duration(out, state->seconds_left);
        text_add(out, " left");
    }
    if (state->best.is_known) {
        text_add(out, ", best ");
        printable_add(out, state->metric ? state->metric : "");
        text_printf(out, " %.4f", state->best.value);
    }
}

int progress_add_screen(struct text *out, const struct progress_state *state, int width, bool has_color)
{
    struct text line = {0};
    for (int i = 0; i < state->n_slots; i++) {
        text_reset(&line);
        add_slot(&line, &state->slots[i], i + 1);
        add_cut(out, line.data ? line.data : "", width);
    }
    text_reset(&line);
    printable_add(&line, state->sweep ? state->sweep : "");
    text_add(&line, "  ");
    int name = (int)printable_width(line.data ? line.data : "");
    bool has_bar = name + BAR_COLUMNS + 20 < width;
    if (has_bar) {
        text_add(out, line.data);
        add_bar(out, state, has_color);
        text_reset(&line);
        text_add(&line, "  ");
    }
    add_totals(&line, state);
    add_cut(out, line.data ? line.data : "", has_bar ? width - name - BAR_COLUMNS : width);
    text_done(&line);
    return state->n_slots + 1;
}

void progress_add_line(struct text *out, const struct progress_state *state)
{
    printable_add(out, state->sweep ? state->sweep : "");
    text_add(out, ": ");
    add_totals(out, state);
}

/* As JSON ------------------------------------------------------------------------------------------------------------
 */

static void add_member(struct text *out, const char *name, const char *value)
{
    text_printf(out, ",\"%s\":", name);
    if (value)
        printable_add_json(out, value);
    else
        text_add(out, "null");
}

static void add_number(struct text *out, const char *name, double value)
{
    text_printf(out, ",\"%s\":", name);
    if (isfinite(value))
        text_add_double(out, value);
    else
        text_add(out, "null");
}

static void add_slot_json(struct text *out, const struct progress_slot *slot, int number)
{
    text_printf(out, "{\"slot\":%d,\"trial\":%lld", number, (long long)slot->trial);
    if (slot->trial) {
        add_member(out, "method", slot->method);
        add_member(out, "parameters", slot->parameters);
        text_printf(out, ",\"step\":%lld,\"total_steps\":%lld", (long long)slot->step, (long long)slot->total_steps);
        add_number(out, "loss", slot->loss);
        add_number(out, "tokens_per_second", slot->tokens_per_second);
    }
    text_add_char(out, '}');
}

void progress_add_json(struct text *out, const struct progress_state *state, const char *time)
{
    text_add(out, "{\"v\":1,\"type\":\"progress\"");
    add_member(out, "time", time);
    add_member(out, "sweep", state->sweep);
    text_printf(out, ",\"trials\":%lld,\"complete\":%lld,\"pruned\":%lld,\"failed\":%lld,\"running\":%lld",
                (long long)state->n_trials, (long long)state->n_complete, (long long)state->n_pruned,
                (long long)state->n_failed, (long long)state->n_running);
    add_number(out, "steps_per_second", state->steps_per_second);
    add_number(out, "seconds_left", state->seconds_left);
    add_member(out, "metric", state->metric);
    add_number(out, "best", state->best.is_known ? state->best.value : NAN);
    text_printf(out, ",\"paused\":%s,\"slots\":[", state->is_paused ? "true" : "false");
    for (int i = 0; i < state->n_slots; i++) {
        text_add(out, i ? "," : "");
        add_slot_json(out, &state->slots[i], i + 1);
    }
    text_add(out, "]}");
}

void progress_add_event_json(struct text *out, const char *kind, const char *message, const char *time)
{
    text_add(out, "{\"v\":1,\"type\":\"event\"");
    add_member(out, "time", time);
    add_member(out, "kind", kind);
    add_member(out, "message", message);
    text_add_char(out, '}');
}
