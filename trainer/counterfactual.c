/* Making counterfactual pairs out of templates, word lists and the test set. */
#include "trainer/counterfactual.h"

#include <ctype.h>
#include <string.h>

#include "common/json.h"

static int add_pair(struct counterfactual *set, struct arena *arena, const char *first, const char *second,
                    struct err *err)
{
    if (set->count == COUNTERFACTUAL_MAX_PAIRS)
        return err_set(err, ERR_FORMAT, "more than %d sentence pairs", COUNTERFACTUAL_MAX_PAIRS);
    struct counterfactual_pair *pair = &set->pairs[set->count++];
    pair->first = arena_strdup(arena, first);
    pair->second = arena_strdup(arena, second);
    return pair->first && pair->second ? 0 : err_set(err, ERR_NOMEM, "no memory for sentence pairs");
}

/* Word `variant` (0 or 1) of ["she", "he"]; NULL when it is not of that form. */
static const char *word_of(const cJSON *pair, int variant)
{
    const cJSON *word = cJSON_IsArray(pair) && cJSON_GetArraySize(pair) == 2 ? cJSON_GetArrayItem(pair, variant) : NULL;
    return cJSON_IsString(word) && word->valuestring[0] ? word->valuestring : NULL;
}

/* Templates -------------------------------------------------------------------------------------------------------- */

/* What stands for {name}: the list pair chosen, or a slot's word. */
static int fill_place(struct text *out, const char *name, const cJSON *items, const char *list, const cJSON *chosen,
                      int variant, struct err *err)
{
    const cJSON *pair = list && strcmp(name, list) == 0 ? chosen : json_get(json_get(items, "slots"), name);
    const char *word = word_of(pair, variant);
    if (!word)
        return err_set(err, ERR_FORMAT, "templates: '{%s}' is neither a list nor a slot of two words", name);
    text_add(out, word);
    return 0;
}

static int fill(struct text *out, const char *template, const cJSON *items, const char *list, const cJSON *chosen,
                int variant, struct err *err)
{
    int rc = 0;
    text_reset(out);
    text_add(out, ""); /* a string also when the template is empty */
    while (*template && rc == 0) {
        size_t plain = strcspn(template, "{");
        text_add_n(out, template, plain);
        template += plain;
        if (*template == '\0')
            break;
        char name[64] = "";
        size_t n = strcspn(template, "}");
        if (template[n] == '\0' || n < 2 || n > sizeof(name))
            return err_set(err, ERR_FORMAT, "templates: '%s' has a brace that names nothing", template);
        memcpy(name, template + 1, n - 1);
        template += n + 1;
        rc = fill_place(out, name, items, list, chosen, variant, err);
    }
    return rc;
}

static int add_filled(struct counterfactual *set, const char *template, const cJSON *items, const char *list,
                      const cJSON *chosen, struct arena *arena, struct err *err)
{
    struct text first = {0}, second = {0};
    int rc = fill(&first, template, items, list, chosen, 0, err);
    if (rc == 0)
        rc = fill(&second, template, items, list, chosen, 1, err);
    if (rc == 0 && (first.failed || second.failed))
        rc = err_set(err, ERR_NOMEM, "no memory for sentence pairs");
    if (rc == 0 && text_equal(first.data, second.data))
        rc = err_set(err, ERR_FORMAT, "templates: '%s' gives two equal sentences", template);
    if (rc == 0)
        rc = add_pair(set, arena, first.data, second.data, err);
    text_done(&first);
    text_done(&second);
    return rc;
}

/* The list whose name the template has in braces, or NULL. */
static const cJSON *list_of(const cJSON *lists, const char *template)
{
    for (const cJSON *list = lists ? lists->child : NULL; list; list = list->next) {
        const char *found = strstr(template, list->string);
        if (found && found > template && found[-1] == '{' && found[strlen(list->string)] == '}')
            return list;
    }
    return NULL;
}

static int add_templates(struct counterfactual *set, const cJSON *items, struct arena *arena, struct err *err)
{
    const cJSON *templates, *lists = NULL;
    int rc = json_get_array(items, "templates", "check", &templates, err);
    if (rc == 0 && json_get(items, "lists"))
        rc = json_get_object(items, "lists", "check", &lists, err);
    for (const cJSON *item = rc == 0 ? templates->child : NULL; item && rc == 0; item = item->next) {
        if (!cJSON_IsString(item))
            return err_set(err, ERR_FORMAT, "templates: %s was found, a text was expected", json_type_name(item));
        const cJSON *list = list_of(lists, item->valuestring);
        if (!list)
            rc = add_filled(set, item->valuestring, items, NULL, NULL, arena, err);
        for (const cJSON *pair = list ? list->child : NULL; pair && rc == 0; pair = pair->next)
            rc = add_filled(set, item->valuestring, items, list->string, pair, arena, err);
    }
    return rc;
}

/* Sentences -------------------------------------------------------------------------------------------------------- */

static bool is_letter(char c)
{
    return isalpha((unsigned char)c) || (unsigned char)c >= 0x80;
}

static bool equals_word(const char *text, size_t n, const char *word)
{
    return strlen(word) == n && strncasecmp(text, word, n) == 0;
}

/* Whether the text behind a "her" shows that it is "his" ("her film", "her (first) film") and not "him" ("saw her.",
 * "saw her in"): a word follows, and none that never stands inside a noun phrase. */
static bool is_possessive(const char *behind)
{
    static const char *const outside[] = {"a",     "an",  "the",  "and",     "or",    "but", "in",  "on",   "at",
                                          "to",    "of",  "for",  "from",    "with",  "as",  "by",  "into", "when",
                                          "while", "who", "that", "because", "again", "is",  "was", "if"};
    size_t n = 0;
    if (*behind != ' ')
        return false;
    behind += strspn(behind, " (\"'");
    while (is_letter(behind[n]) || isdigit((unsigned char)behind[n]))
        n++;
    for (size_t i = 0; i < sizeof(outside) / sizeof(*outside); i++)
        if (equals_word(behind, n, outside[i]))
            return false;
    return n > 0;
}

/* The counterpart of text[0..n) or NULL; *is_first: it was the first of its pair. */
static const char *counterpart(const char *text, size_t n, const cJSON *swaps, bool *is_first)
{
    if (equals_word(text, n, "her")) {
        *is_first = true;
        return is_possessive(text + n) ? "his" : "him";
    }
    *is_first = false;
    if (equals_word(text, n, "his") || equals_word(text, n, "him"))
        return "her";
    for (const cJSON *pair = swaps ? swaps->child : NULL; pair; pair = pair->next)
        for (int variant = 0; variant < 2; variant++) {
            const char *word = word_of(pair, variant);
            *is_first = variant == 0;
            if (word && equals_word(text, n, word))
                return word_of(pair, 1 - variant);
        }
    return NULL;
}

static void add_in_case(struct text *out, const char *word, const char *like, size_t n)
{
    bool first_upper = isupper((unsigned char)like[0]), all_upper = n > 1 && first_upper;
    for (size_t i = 1; i < n; i++)
        all_upper = all_upper && isupper((unsigned char)like[i]);
    for (size_t i = 0; word[i]; i++)
        text_add_char(out, all_upper || (i == 0 && first_upper) ? (char)toupper((unsigned char)word[i]) : word[i]);
}

int counterfactual_swap(const char *text, const cJSON *swaps, struct arena *arena, const char **out, bool *starts_first,
                        struct err *err)
{
    struct text swapped = {0};
    bool is_changed = false;
    for (const char *at = text; *at;) {
        size_t n = 0;
        bool is_first;
        while (is_letter(at[n]))
            n++;
        const char *other = n ? counterpart(at, n, swaps, &is_first) : NULL;
        if (other && !is_changed)
            *starts_first = is_first;
        is_changed = is_changed || other;
        if (other)
            add_in_case(&swapped, other, at, n);
        else
            text_add_n(&swapped, at, n ? n : 1);
        at += n ? n : 1;
    }
    *out = is_changed && !swapped.failed ? arena_strdup(arena, swapped.data) : NULL;
    bool failed = swapped.failed || (is_changed && !*out);
    text_done(&swapped);
    return failed ? err_set(err, ERR_NOMEM, "no memory for sentence pairs") : 0;
}

static int add_sentences(struct counterfactual *set, const cJSON *items, const struct rows *test, struct arena *arena,
                         struct err *err)
{
    const cJSON *swaps = NULL;
    int rc = json_get(items, "swaps") ? json_get_array(items, "swaps", "check", &swaps, err) : 0;
    for (const cJSON *pair = swaps ? swaps->child : NULL; pair && rc == 0; pair = pair->next)
        if (!word_of(pair, 0) || !word_of(pair, 1))
            rc = err_set(err, ERR_FORMAT, "swaps: a list of two words was expected");
    for (size_t i = 0; swaps && test && i < test->count && rc == 0; i++) {
        const char *swapped = NULL, *text = test->items[i].text;
        bool starts_first = false;
        rc = counterfactual_swap(text, swaps, arena, &swapped, &starts_first, err);
        if (rc == 0 && swapped)
            rc = add_pair(set, arena, starts_first ? text : swapped, starts_first ? swapped : text, err);
    }
    return rc;
}

static int hash_pairs(struct counterfactual *set, struct err *err)
{
    struct text all = {0};
    for (size_t i = 0; i < set->count; i++)
        text_printf(&all, "%zu:%s%zu:%s", strlen(set->pairs[i].first), set->pairs[i].first,
                    strlen(set->pairs[i].second), set->pairs[i].second);
    int rc = all.failed ? err_set(err, ERR_NOMEM, "no memory for sentence pairs") : 0;
    if (rc == 0)
        hash_bytes(all.data ? all.data : "", all.len, set->item_set_sha256);
    text_done(&all);
    return rc;
}

int counterfactual_read(struct counterfactual *set, const char *path, const struct rows *test, struct arena *arena,
                        struct err *err)
{
    cJSON *items = NULL;
    const char *kind;
    *set = (struct counterfactual){0};
    set->pairs = arena_alloc(arena, COUNTERFACTUAL_MAX_PAIRS * sizeof(*set->pairs));
    int rc = set->pairs ? json_read_file(path, &items, err) : err_set(err, ERR_NOMEM, "no memory for sentence pairs");
    if (rc == 0)
        rc = json_get_string(items, "kind", "check", &kind, err);
    if (rc == 0 && strcmp(kind, "counterfactual") != 0)
        rc = err_set(err, ERR_FORMAT, "kind: '%s' was found, counterfactual was expected", kind);
    if (rc == 0)
        rc = add_templates(set, items, arena, err);
    set->n_templates = set->count;
    if (rc == 0)
        rc = add_sentences(set, items, test, arena, err);
    if (rc == 0 && set->count == 0)
        rc = err_set(err, ERR_DATA, "no sentence pair comes out of it");
    if (rc == 0)
        rc = hash_pairs(set, err);
    if (rc < 0)
        err_wrap(err, "'%s'", path);
    json_free(items);
    return rc;
}
