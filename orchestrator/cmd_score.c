/* `nightsweep score`: BLEU, chrF and chrF++ of a file of translations against reference files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bleu.h"
#include "common/chrf.h"
#include "common/file.h"
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

static int add_all(struct scores *scores, const struct lines *files, int n_files, struct err *err)
{
    const char *references[BLEU_MAX_REFERENCES];
    int rc = 0;
    for (int f = 1; f < n_files; f++)
        if (files[f].n != files[0].n)
            return err_set(err, ERR_DATA, "'%s' has %zu lines, '%s' has %zu", files[f].path, files[f].n, files[0].path,
                           files[0].n);
    if (files[0].n == 0)
        return err_set(err, ERR_DATA, "'%s' has no lines", files[0].path);
    for (size_t i = 0; i < files[0].n && rc == 0; i++) {
        for (int f = 1; f < n_files; f++)
            references[f - 1] = files[f].items[i];
        rc = bleu_add(&scores->bleu, files[0].items[i], references, n_files - 1, err);
        if (rc == 0)
            rc = chrf_add(&scores->chrf, files[0].items[i], references, n_files - 1, err);
        if (rc == 0)
            rc = chrf_add(&scores->chrf_words, files[0].items[i], references, n_files - 1, err);
    }
    return rc;
}

static int print_json(const struct scores *scores, size_t segments, int references, struct err *err)
{
    struct text out = {0};
    text_printf(&out, "{\"v\":1,\"segments\":%zu,\"references\":%d,\"bleu\":", segments, references);
    text_add_double(&out, bleu_score(&scores->bleu));
    text_add(&out, ",\"chrf\":");
    text_add_double(&out, chrf_score(&scores->chrf));
    text_add(&out, ",\"chrf++\":");
    text_add_double(&out, chrf_score(&scores->chrf_words));
    text_printf(&out, ",\"hypothesis_words\":%lld,\"reference_words\":%lld}\n",
                (long long)scores->bleu.hypothesis_length, (long long)scores->bleu.reference_length);
    return command_print(&out, "the scores", 0, err);
}

static void print_text(const struct scores *scores, size_t segments, int references)
{
    printf("BLEU    %6.2f   nrefs:%d|case:mixed|eff:no|tok:13a|smooth:exp\n", bleu_score(&scores->bleu), references);
    printf("chrF    %6.2f   nrefs:%d|case:mixed|eff:yes|nc:6|nw:0|space:no\n", chrf_score(&scores->chrf), references);
    printf("chrF++  %6.2f   nrefs:%d|case:mixed|eff:yes|nc:6|nw:2|space:no\n", chrf_score(&scores->chrf_words),
           references);
    printf("%zu segments, %lld words against %lld\n", segments, (long long)scores->bleu.hypothesis_length,
           (long long)scores->bleu.reference_length);
}

static int run(const struct command_line *line, struct err *err)
{
    struct scores scores = {.chrf_words.word_orders = CHRF_WORD_ORDERS};
    struct lines files[BLEU_MAX_REFERENCES + 1] = {0};
    const char *hypotheses = command_value(line, "hypotheses"), *references = command_value(line, "references");
    int n_files = 2 + line->n_arguments, rc = 0;
    if (!hypotheses || !references)
        return err_set(err, ERR_USAGE, "score: --%s is missing", hypotheses ? "references" : "hypotheses");
    for (int f = 0; f < n_files && rc == 0; f++)
        rc = read_lines(&files[f], f == 0 ? hypotheses : f == 1 ? references : line->arguments[f - 2], err);
    if (rc == 0)
        rc = add_all(&scores, files, n_files, err);
    if (rc == 0 && command_has(line, "json"))
        rc = print_json(&scores, files[0].n, n_files - 1, err);
    else if (rc == 0)
        print_text(&scores, files[0].n, n_files - 1);
    for (int f = 0; f < n_files; f++)
        lines_done(&files[f]);
    return rc;
}

static const struct command_option options[] = {
    {"hypotheses", "FILE", "the translations, a segment a line, UTF-8"},
    {"references", "FILE", "what they should have been, line by line"},
    {"json", NULL, "write one JSON object, numbers with all their digits"},
    {NULL, NULL, NULL},
};

const struct command command_score = {
    .name = "score",
    .arguments = "[REFERENCES...]",
    .summary = "BLEU, chrF and chrF++ of translations",
    .description =
        "Of a file of translations against one file of references, or several (named behind the options): BLEU with "
        "the 13a tokenizer and exponential smoothing, chrF and chrF++, equal to sacrebleu's to the ninth digit. No "
        "text is normalised: compare files of the same Unicode form.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = BLEU_MAX_REFERENCES - 1,
    .run = run,
};
