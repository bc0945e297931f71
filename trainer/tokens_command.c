/* Token ids of texts, line by line. */
#include "trainer/tokens_command.h"

#include <stdlib.h>

#include "common/json.h"
#include "trainer/tokenizer.h"

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

int tokens_command(const char *folder, int max_tokens, FILE *in, FILE *out, struct err *err)
{
    struct tokenizer *tokenizer = NULL;
    struct arena arena = {0};
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int rc = tokenizer_open(&tokenizer, folder, err), number = 0;
    while (rc == 0 && (n = getline(&line, &capacity, in)) > 0) {
        cJSON *json = NULL;
        number++;
        arena_reset(&arena);
        rc = json_parse(line, (size_t)n, &json, err);
        if (rc == 0)
            rc = write_ids(tokenizer, json, max_tokens, &arena, out, err);
        if (rc < 0)
            err_wrap(err, "line %d", number);
        json_free(json);
    }
    free(line);
    arena_done(&arena);
    tokenizer_close(tokenizer);
    return rc;
}
