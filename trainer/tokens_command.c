/* Token ids of texts and texts of token ids, line by line. */
#include "trainer/tokens_command.h"

#include <stdlib.h>
#include <time.h>

#include "common/json.h"
#include "trainer/tokenizer.h"
#include "trainer/tokenizer_text.h"

static int write_ids(const struct tokenizer *tokenizer, const cJSON *line, int max_tokens, struct arena *arena,
                     FILE *out, struct err *err)
{
    const cJSON *first = cJSON_IsArray(line) ? line->child : line, *second = cJSON_IsArray(line) ? first->next : NULL;
    struct encoding encoding;
    if (!cJSON_IsString(first) || (second && !cJSON_IsString(second)))
        return err_set(err, ERR_FORMAT, "a text or a list of two was expected");
    int rc = tokenizer_encode(tokenizer, first->valuestring, second ? second->valuestring : NULL, max_tokens, arena,
                              &encoding, err);
    if (rc < 0)
        return rc;
    fputs("[", out);
    for (int i = 0; i < encoding.n; i++)
        fprintf(out, "%s%d", i ? "," : "", encoding.ids[i]);
    fputs("]\n", out);
    return 0;
}

static int write_text(const struct tokenizer *tokenizer, const cJSON *line, FILE *out, struct err *err)
{
    struct text text = {0}, literal = {0};
    struct codes ids = {0};
    int rc = cJSON_IsArray(line) ? 0 : err_set(err, ERR_FORMAT, "a list of ids was expected");
    for (const cJSON *item = rc == 0 ? line->child : NULL; item; item = item->next)
        codes_add(&ids, cJSON_IsNumber(item) ? item->valueint : -1);
    if (rc == 0)
        rc = tokenizer_decode(tokenizer, ids.items, ids.n, false, &text, err);
    if (rc == 0) {
        text_add_json(&literal, text.data ? text.data : "");
        fprintf(out, "%s\n", literal.failed ? "null" : literal.data);
    }
    codes_done(&ids);
    text_done(&text);
    text_done(&literal);
    return rc;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int time_text(const struct tokenizer *tokenizer, const cJSON *line, int max_tokens, struct arena *arena,
                     double *took, struct err *err)
{
    struct encoding encoding;
    if (!cJSON_IsString(line))
        return err_set(err, ERR_FORMAT, "a text was expected");
    double start = seconds();
    int rc = tokenizer_encode(tokenizer, line->valuestring, NULL, max_tokens, arena, &encoding, err);
    *took += seconds() - start;
    return rc;
}

int tokens_command(enum tokens_mode mode, const char *folder, int max_tokens, FILE *in, FILE *out, struct err *err)
{
    struct tokenizer *tokenizer = NULL;
    struct arena arena = {0};
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    double took = 0;
    int rc = tokenizer_open(&tokenizer, folder, err), number = 0;
    while (rc == 0 && (n = getline(&line, &capacity, in)) > 0) {
        cJSON *json = NULL;
        number++;
        arena_reset(&arena);
        rc = json_parse(line, (size_t)n, &json, err);
        if (rc == 0)
            rc = mode == TOKENS_ENCODE   ? write_ids(tokenizer, json, max_tokens, &arena, out, err)
                 : mode == TOKENS_DECODE ? write_text(tokenizer, json, out, err)
                                         : time_text(tokenizer, json, max_tokens, &arena, &took, err);
        if (rc < 0)
            err_wrap(err, "line %d", number);
        json_free(json);
    }
    if (rc == 0 && mode == TOKENS_TIME)
        fprintf(out, "%.6f\n", took);
    free(line);
    arena_done(&arena);
    tokenizer_close(tokenizer);
    return rc;
}
