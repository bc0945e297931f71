/* `nightsweep score`: BLEU, chrF and chrF++ of a file of translations against reference files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bleu.h"
#include "common/chrf.h"
#include "common/file.h"
#include "common/normal_form.h"
#include "orchestrator/command_kinds.h"

enum { MAX_BYTES = 1 << 30 };

/* A file cut into lines in place. */
struct lines {
    const char *path;
    char *data;
    const char **items;
    size_t n;
};

static void lines_done(struct lines *lines)
{
    free(lines->data);
    free(lines->items);
}

static int cut(struct lines *lines, size_t n, struct err *err)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += lines->data[i] == '\n' || i + 1 == n;
    lines->items = calloc(count + 1, sizeof(*lines->items));
    if (!lines->items)
        return err_set(err, ERR_NOMEM, "no memory for %zu lines", count);
    for (size_t i = 0, start = 0; i < n; i++)
        if (lines->data[i] == '\n' || i + 1 == n) {
            lines->items[lines->n++] = lines->data + start;
            start = i + 1;
            if (lines->data[i] == '\n')
                lines->data[i] = '\0';
        }
    return 0;
}

static int read_lines(struct lines *lines, const char *path, struct err *err)
{
    size_t n = 0;
    lines->path = path;
    int rc = file_read(path, MAX_BYTES, &lines->data, &n, err);
    if (rc < 0)
        return rc;
    size_t valid = utf8_valid_prefix(lines->data, n), line = 1;
    const char *nul = memchr(lines->data, '\0', n);
    if (nul && (size_t)(nul - lines->data) < valid)
        valid = (size_t)(nul - lines->data);
    for (size_t i = 0; i < valid; i++)
        line += lines->data[i] == '\n';
    if (valid < n)
        return err_set(err, ERR_DATA, "'%s', line %zu: it is not UTF-8 text", path, line);
    return cut(lines, n, err);
}

struct scores {
    struct bleu bleu;
    struct chrf chrf, chrf_words;
};

/* Segment i of all files, each in the normal form. */
static int add_segment(struct scores *scores, const struct lines *files, int n_files, size_t i, const char *form,
                       struct err *err)
{
    struct text texts[BLEU_MAX_REFERENCES + 1] = {0};
    const char *segments[BLEU_MAX_REFERENCES + 1] = {0};
    int rc = 0;
    for (int f = 0; f < n_files && rc == 0; f++) {
        rc = normal_form_add(&texts[f], form, files[f].items[i], err);
        segments[f] = texts[f].data ? texts[f].data : "";
    }
    if (rc == 0)
        rc = bleu_add(&scores->bleu, segments[0], segments + 1, n_files - 1, err);
    if (rc == 0)
        rc = chrf_add(&scores->chrf, segments[0], segments + 1, n_files - 1, err);
    if (rc == 0)
        rc = chrf_add(&scores->chrf_words, segments[0], segments + 1, n_files - 1, err);
    for (int f = 0; f < n_files; f++)
        text_done(&texts[f]);
    return rc;
}

static int add_all(struct scores *scores, const struct lines *files, int n_files, const char *form, struct err *err)
{
    int rc = 0;
    for (int f = 1; f < n_files; f++)
        if (files[f].n != files[0].n)
            return err_set(err, ERR_DATA, "'%s' has %zu lines, '%s' has %zu", files[f].path, files[f].n, files[0].path,
                           files[0].n);
    if (files[0].n == 0)
        return err_set(err, ERR_DATA, "'%s' has no lines", files[0].path);
    for (size_t i = 0; i < files[0].n && rc == 0; i++)
        rc = add_segment(scores, files, n_files, i, form, err);
    return rc;
}

static void add_json(struct text *out, const struct scores *scores)
{
    text_add(out, "\"bleu\":");
    text_add_double(out, bleu_score(&scores->bleu));
    text_add(out, ",\"chrf\":");
    text_add_double(out, chrf_score(&scores->chrf));
    text_add(out, ",\"chrf++\":");
    text_add_double(out, chrf_score(&scores->chrf_words));
    text_printf(out, ",\"hypothesis_words\":%lld,\"reference_words\":%lld", (long long)scores->bleu.hypothesis_length,
                (long long)scores->bleu.reference_length);
}

/* `normalized` NULL: no form was asked for. */
static int print_json(const struct scores *scores, const struct scores *normalized, const char *form, size_t segments,
                      int references, struct err *err)
{
    struct text out = {0};
    text_printf(&out, "{\"v\":1,\"segments\":%zu,\"references\":%d,", segments, references);
    add_json(&out, scores);
    if (normalized) {
        text_printf(&out, ",\"form\":\"%s\",\"normalized\":{", form);
        add_json(&out, normalized);
        text_add(&out, "}");
    }
    text_add(&out, "}\n");
    return command_print(&out, "the scores", 0, err);
}

/* `form`: "|form:NFC", or "". */
static void print_text(const struct scores *scores, const char *form, int references)
{
    printf("BLEU    %6.2f   nrefs:%d|case:mixed|eff:no|tok:13a|smooth:exp%s\n", bleu_score(&scores->bleu), references,
           form);
    printf("chrF    %6.2f   nrefs:%d|case:mixed|eff:yes|nc:6|nw:0|space:no%s\n", chrf_score(&scores->chrf), references,
           form);
    printf("chrF++  %6.2f   nrefs:%d|case:mixed|eff:yes|nc:6|nw:2|space:no%s\n", chrf_score(&scores->chrf_words),
           references, form);
}

static void print_all(const struct scores *scores, const struct scores *normalized, const char *form, size_t segments,
                      int references)
{
    char ending[32] = "";
    print_text(scores, "", references);
    if (normalized) {
        snprintf(ending, sizeof(ending), "|form:%s", form);
        print_text(normalized, ending, references);
    }
    printf("%zu segments, %lld words against %lld\n", segments, (long long)scores->bleu.hypothesis_length,
           (long long)scores->bleu.reference_length);
}

static int run(const struct command_line *line, struct err *err)
{
    struct scores scores = {.chrf_words.word_orders = CHRF_WORD_ORDERS}, normalized = scores;
    const char *form = command_value(line, "form");
    struct lines files[BLEU_MAX_REFERENCES + 1] = {0};
    const char *hypotheses = command_value(line, "hypotheses"), *references = command_value(line, "references");
    int n_files = 2 + line->n_arguments, rc = 0;
    if (!hypotheses || !references)
        return err_set(err, ERR_USAGE, "score: --%s is missing", hypotheses ? "references" : "hypotheses");
    if (form && (rc = normal_form_check(form, err)) < 0)
        err_wrap(err, "--form");
    for (int f = 0; f < n_files && rc == 0; f++)
        rc = read_lines(&files[f], f == 0 ? hypotheses : f == 1 ? references : line->arguments[f - 2], err);
    if (rc == 0)
        rc = add_all(&scores, files, n_files, "none", err);
    if (rc == 0 && form)
        rc = add_all(&normalized, files, n_files, form, err);
    if (rc == 0 && command_has(line, "json"))
        rc = print_json(&scores, form ? &normalized : NULL, form, files[0].n, n_files - 1, err);
    else if (rc == 0)
        print_all(&scores, form ? &normalized : NULL, form, files[0].n, n_files - 1);
    for (int f = 0; f < n_files; f++)
        lines_done(&files[f]);
    return rc;
}

static const struct command_option options[] = {
    {"hypotheses", "FILE", "the translations, a segment a line, UTF-8"},
    {"references", "FILE", "what they should have been, line by line"},
    {"form", "NAME", "the same once more with all texts in a Unicode normal form: NFC, NFD, NFKC or NFKD"},
    {"json", NULL, "write one JSON object, numbers with all their digits"},
    {NULL, NULL, NULL},
};

const struct command command_score = {
    .name = "score",
    .arguments = "[REFERENCES...]",
    .summary = "BLEU, chrF and chrF++ of translations",
    .description =
        "Of a file of translations against one file of references, or several (named behind the options): BLEU with "
        "the 13a tokenizer and exponential smoothing, chrF and chrF++, equal to sacrebleu's to the ninth digit. Texts "
        "are taken as they are; equal words in other Unicode forms count as different, which --form shows side by "
        "side.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = BLEU_MAX_REFERENCES - 1,
    .run = run,
};
