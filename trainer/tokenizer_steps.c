/* Lists of steps: normalizers, pre-tokenizers and decoders are read alike. */
#include <string.h>

#include "common/json.h"
#include "trainer/tokenizer_parts.h"

static int unknown_kind(const struct step_kind *kinds, const char *component, const char *type, struct err *err)
{
    struct text known = {0};
    for (const struct step_kind *kind = kinds; kind->name; kind++)
        text_printf(&known, "%s%s", known.len ? ", " : "", kind->name);
    int rc = err_set(err, ERR_UNSUPPORTED, "%s: '%s' is not built in (%s and Sequence are)", component, type,
                     known.failed ? "others" : known.data);
    text_done(&known);
    return rc;
}

static int read_list(struct tokenizer *t, struct steps *steps, const struct step_kind *kinds, const char *component,
                     const char *list_key, const cJSON *json, int depth, struct err *err)
{
    const cJSON *list;
    if (!json || cJSON_IsNull(json))
        return 0;
    if (!cJSON_IsObject(json))
        return err_set(err, ERR_FORMAT, "%s: %s was found, an object was expected", component, json_type_name(json));
    const char *type;
    int rc = json_get_string(json, "type", component, &type, err);
    if (rc < 0)
        return rc;
    if (strcmp(type, "Sequence") == 0 && depth < TOKENIZER_MAX_DEPTH) {
        rc = json_get_array(json, list_key, component, &list, err);
        for (const cJSON *item = rc == 0 ? list->child : NULL; item && rc == 0; item = item->next)
            rc = read_list(t, steps, kinds, component, list_key, item, depth + 1, err);
        return rc;
    }
    const struct step_kind *kind = kinds;
    while (kind->name && strcmp(kind->name, type) != 0)
        kind++;
    if (!kind->name)
        return unknown_kind(kinds, component, type, err);
    if (steps->n == TOKENIZER_MAX_STEPS)
        return err_set(err, ERR_UNSUPPORTED, "%s: more than %d in sequence", component, TOKENIZER_MAX_STEPS);
    struct step *step = &steps->items[steps->n++];
    *step = (struct step){.kind = kind};
    return kind->read ? kind->read(t, step, json, err) : 0;
}

int steps_read(struct tokenizer *t, struct steps *steps, const struct step_kind *kinds, const char *component,
               const char *list_key, const cJSON *json, struct err *err)
{
    return read_list(t, steps, kinds, component, list_key, json, 0, err);
}

void steps_done(struct steps *steps)
{
    for (int i = 0; i < steps->n; i++)
        pattern_close(steps->items[i].pattern);
    steps->n = 0;
}

int step_read_pattern(struct tokenizer *t, struct step *step, const cJSON *json, const char *where, struct err *err)
{
    const cJSON *pattern = json_get(json, "pattern");
    const cJSON *text = json_get(pattern, "String"), *expression = json_get(pattern, "Regex");
    if (cJSON_IsString(expression))
        return pattern_open(&step->pattern, expression->valuestring, where, err);
    if (!cJSON_IsString(text) || !text->valuestring[0])
        return err_set(err, ERR_FORMAT, "%s.pattern: {\"String\": …} or {\"Regex\": …} was expected", where);
    step->text = arena_strdup(&t->arena, text->valuestring);
    return step->text ? 0 : err_set(err, ERR_NOMEM, "no memory for the tokenizer");
}
