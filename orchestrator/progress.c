/* Prints the progress display: where, how often, and in which of its four styles. */
#include "orchestrator/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "orchestrator/printable.h"
#include "orchestrator/progress_view.h"

enum { LEAST_WIDTH = 24 };
#define SCREEN_SECONDS 0.1
#define PLAIN_SECONDS  10
#define JSON_SECONDS   1

struct progress {
    enum progress_style style; /* AUTO is the screen here */
    bool has_color;
    double printed; /* when, on the monotonic clock; negative: never */
    int n_lines;    /* that stand on the screen */
    struct text text, sweep;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool is_drawable(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

struct progress *progress_new(enum progress_style style)
{
    struct progress *progress = calloc(1, sizeof(*progress));
    const char *no_color = getenv("NO_COLOR");
    if (!progress)
        return NULL;
    progress->style = style == PROGRESS_AUTO && !is_drawable() ? PROGRESS_PLAIN : style;
    progress->has_color = !no_color || !*no_color;
    progress->printed = -1;
    return progress;
}

/* Draws the slots that the terminal has lines for, and the total. */
static int draw(struct text *out, const struct progress_state *state, bool has_color)
{
    struct winsize size = {0};
    struct progress_state shown = *state;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
        size = (struct winsize){.ws_col = 80, .ws_row = 24};
    int width = size.ws_col - 1, lines = size.ws_row - 2;
    if (shown.n_slots > lines)
        shown.n_slots = lines > 0 ? lines : 0;
    return progress_add_screen(out, &shown, width < LEAST_WIDTH ? LEAST_WIDTH : width, has_color);
}

/* Goes back to the first line drawn and erases from there. */
static void add_erase(struct progress *progress, struct text *out)
{
    if (progress->n_lines > 0)
        text_printf(out, "\x1b[%dA\r\x1b[J", progress->n_lines);
    progress->n_lines = 0;
}

/* A write a change: a terminal that shows half of one flickers. */
static void print(struct progress *progress, FILE *file)
{
    if (progress->text.len > 0 && !progress->text.failed)
        fwrite(progress->text.data, 1, progress->text.len, file);
    fflush(file);
    text_reset(&progress->text);
}

void progress_free(struct progress *progress)
{
    if (!progress)
        return;
    add_erase(progress, &progress->text);
    print(progress, stderr);
    text_done(&progress->text);
    text_done(&progress->sweep);
    free(progress);
}

/* "2026-11-24T22:15:03Z" for programs, "22:15:03" of the local clock for people. */
static void format_time(char *out, size_t size, bool is_utc)
{
    time_t seconds = time(NULL);
    struct tm parts;
    if (is_utc)
        gmtime_r(&seconds, &parts);
    else
        localtime_r(&seconds, &parts);
    strftime(out, size, is_utc ? "%Y-%m-%dT%H:%M:%SZ" : "%H:%M:%S", &parts);
}

static double interval(const struct progress *progress)
{
    return progress->style == PROGRESS_AUTO   ? SCREEN_SECONDS
           : progress->style == PROGRESS_JSON ? JSON_SECONDS
                                              : PLAIN_SECONDS;
}

/* Another sweep is shown at once. */
static bool is_other_sweep(struct progress *progress, const char *sweep)
{
    const char *name = sweep ? sweep : "";
    if (progress->sweep.data && strcmp(progress->sweep.data, name) == 0)
        return false;
    text_reset(&progress->sweep);
    text_add(&progress->sweep, name);
    return true;
}

void progress_update(struct progress *progress, const struct progress_state *state)
{
    char clock[32];
    bool is_other = is_other_sweep(progress, state->sweep);
    if (progress->style == PROGRESS_QUIET)
        return;
    if (!is_other && progress->printed >= 0 && now() - progress->printed < interval(progress))
        return;
    progress->printed = now();
    struct text *out = &progress->text;
    if (progress->style == PROGRESS_AUTO) {
        add_erase(progress, out);
        progress->n_lines = draw(out, state, progress->has_color);
    } else if (progress->style == PROGRESS_JSON) {
        format_time(clock, sizeof(clock), true);
        progress_add_json(out, state, clock);
        text_add_char(out, '\n');
    } else {
        format_time(clock, sizeof(clock), false);
        text_printf(out, "%s  ", clock);
        progress_add_line(out, state);
        text_add_char(out, '\n');
    }
    print(progress, progress->style == PROGRESS_JSON ? stdout : stderr);
}

/* Kinds that --quiet shows too: what went wrong, and why it ended early. */
static bool is_loud(const char *kind)
{
    return text_ends_with(kind, "failed") || text_ends_with(kind, "_lost") || text_ends_with(kind, "_held") ||
           text_equal(kind, "error") || text_equal(kind, "warning") || text_equal(kind, "deadline");
}

static void add_event(struct progress *progress, const char *kind, const char *message)
{
    struct text *out = &progress->text;
    char clock[32];
    format_time(clock, sizeof(clock), progress->style == PROGRESS_JSON);
    if (progress->style == PROGRESS_JSON) {
        progress_add_event_json(out, kind, message, clock);
        text_add_char(out, '\n');
        return;
    }
    bool is_red = progress->style == PROGRESS_AUTO && progress->has_color && is_loud(kind);
    add_erase(progress, out);
    text_printf(out, "%s  %s", clock, is_red ? "\x1b[31m" : "");
    printable_add(out, message);
    text_add(out, is_red ? "\x1b[0m\n" : "\n");
}

void progress_say(struct progress *progress, const char *kind, const char *format, ...)
{
    char message[ERR_MESSAGE_SIZE + 256];
    va_list args;
    if (progress->style == PROGRESS_QUIET && !is_loud(kind))
        return;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    add_event(progress, kind, message);
    /* What was erased is drawn again at the next change, without waiting. */
    if (progress->style == PROGRESS_AUTO)
        progress->printed = -1;
    print(progress, progress->style == PROGRESS_JSON ? stdout : stderr);
}
