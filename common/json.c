/* The fence around cJSON: a strict scan of the text first (RFC 8259), then cJSON, then a look for duplicate keys. */
#include "common/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"

/* The scan: nothing is built, only refused ------------------------------------------------------------------------- */

struct scan {
    const char *text;
    size_t n, at;
    size_t n_values;
    struct err *err;
};

static int scan_error(struct scan *s, size_t at, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < s->n; i++) {
        column = s->text[i] == '\n' ? 1 : column + ((s->text[i] & 0xc0) != 0x80);
        line += s->text[i] == '\n';
    }
    return err_set(s->err, ERR_FORMAT, "line %zu, column %zu: %s", line, column, what);
}

static void skip_space(struct scan *s)
{
    while (s->at < s->n &&
           (s->text[s->at] == ' ' || s->text[s->at] == '\t' || s->text[s->at] == '\n' || s->text[s->at] == '\r'))
        s->at++;
}

static bool take(struct scan *s, char c)
{
    if (s->at >= s->n || s->text[s->at] != c)
        return false;
    s->at++;
    return true;
}

static int hex4(struct scan *s, unsigned *out)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        char c = s->at < s->n ? s->text[s->at++] : '\0';
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return scan_error(s, s->at, "\\u needs four hexadecimal digits");
        value = value << 4 | (unsigned)digit;
    }
    *out = value;
    return 0;
}

static int scan_escape(struct scan *s)
{
    size_t start = s->at - 1;
    unsigned code, low;
    char c = s->at < s->n ? s->text[s->at++] : '\0';
    if (c != 'u')
        return c && strchr("\"\\/bfnrt", c) ? 0 : scan_error(s, start, "unknown escape in a string");
    int rc = hex4(s, &code);
    if (rc < 0)
        return rc;
    if (code == 0)
        return scan_error(s, start, "\\u0000 is not allowed in a string");
    if (code >= 0xdc00 && code <= 0xdfff)
        return scan_error(s, start, "a low surrogate without a high one before it");
    if (code >= 0xd800 && code <= 0xdbff) {
        if (!take(s, '\\') || !take(s, 'u'))
            return scan_error(s, start, "a high surrogate without a low one behind it");
        rc = hex4(s, &low);
        if (rc == 0 && (low < 0xdc00 || low > 0xdfff))
            rc = scan_error(s, start, "a high surrogate without a low one behind it");
    }
    return rc;
}

static int scan_string(struct scan *s)
{
    size_t start = s->at;
    if (!take(s, '"'))
        return scan_error(s, s->at, "a string in double quotes was expected");
    while (s->at < s->n) {
        unsigned char c = (unsigned char)s->text[s->at++];
        if (c == '"')
            return 0;
        if (c < 0x20)
            return scan_error(s, s->at - 1, "a control character in a string (write \\n, \\t or \\u00XX)");
        int rc = c == '\\' ? scan_escape(s) : 0;
        if (rc < 0)
            return rc;
    }
    return scan_error(s, start, "a string that does not end");
}

static size_t skip_digits(struct scan *s)
{
    size_t start = s->at;
    while (s->at < s->n && s->text[s->at] >= '0' && s->text[s->at] <= '9')
        s->at++;
    return s->at - start;
}

enum { NUMBER_MAX_CHARACTERS = 63 };

static int scan_number(struct scan *s)
{
    size_t start = s->at;
    bool is_integer = true, has_exponent = false;
    char number[NUMBER_MAX_CHARACTERS + 1];
    double value;
    take(s, '-');
    size_t first = s->at;
    size_t digits = skip_digits(s);
    if (digits == 0)
        return scan_error(s, start, "a value was expected");
    if (digits > 1 && s->text[first] == '0')
        return scan_error(s, start, "a number must not start with 0");
    if (take(s, '.')) {
        is_integer = false;
        if (skip_digits(s) == 0)
            return scan_error(s, start, "digits were expected behind the decimal point");
    }
    if (s->at < s->n && (s->text[s->at] == 'e' || s->text[s->at] == 'E')) {
        is_integer = false;
        has_exponent = true;
        s->at++;
        if (!take(s, '+'))
            take(s, '-');
        if (skip_digits(s) == 0)
            return scan_error(s, start, "digits were expected in the exponent");
    }
    if (s->at - start > NUMBER_MAX_CHARACTERS)
        return scan_error(s, start, "a number of more than 63 characters");
    memcpy(number, s->text + start, s->at - start);
    number[s->at - start] = '\0';
    /* So few digits are never too many without an exponent. */
    if (has_exponent && text_parse_double(number, &value, NULL) < 0)
        return scan_error(s, start, "a number beyond the largest double");
    /* 2^53 + 1 rounds to 2^53: only the digits tell them apart. */
    size_t n_digits = s->at - first;
    if (is_integer && (n_digits > 16 || (n_digits == 16 && memcmp(s->text + first, "9007199254740992", 16) > 0)))
        return scan_error(s, start, "a whole number beyond 2^53 would lose digits");
    return 0;
}

static int scan_value(struct scan *s, int depth);

static int scan_members(struct scan *s, int depth, char close)
{
    skip_space(s);
    if (take(s, close))
        return 0;
    for (;;) {
        int rc = 0;
        skip_space(s);
        if (close == '}') {
            rc = scan_string(s);
            skip_space(s);
            if (rc == 0 && !take(s, ':'))
                rc = scan_error(s, s->at, "':' was expected behind a key");
        }
        if (rc == 0)
            rc = scan_value(s, depth + 1);
        if (rc < 0)
            return rc;
        skip_space(s);
        if (take(s, close))
            return 0;
        if (!take(s, ','))
            return scan_error(s, s->at, close == '}' ? "',' or '}' was expected" : "',' or ']' was expected");
    }
}

static bool take_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    if (s->n - s->at < n || memcmp(s->text + s->at, word, n) != 0)
        return false;
    s->at += n;
    return true;
}

static int scan_value(struct scan *s, int depth)
{
    if (depth > JSON_MAX_DEPTH)
        return scan_error(s, s->at, "nested more than 64 deep");
    if (++s->n_values > JSON_MAX_VALUES)
        return scan_error(s, s->at, "more than 4194304 values in one text");
    skip_space(s);
    if (s->at >= s->n)
        return scan_error(s, s->at, "the text ends where a value was expected");
    if (take(s, '{'))
        return scan_members(s, depth, '}');
    if (take(s, '['))
        return scan_members(s, depth, ']');
    if (s->text[s->at] == '"')
        return scan_string(s);
    if (take_word(s, "true") || take_word(s, "false") || take_word(s, "null"))
        return 0;
    return scan_number(s);
}

/* Duplicate keys -----------------------------------------------------------------------------------------------------
 */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_keys(const cJSON *object, struct err *err)
{
    size_t n = 0, i = 0;
    for (const cJSON *item = object->child; item; item = item->next)
        n++;
    if (n < 2)
        return 0;
    const char **keys = malloc(n * sizeof(*keys));
    if (!keys)
        return err_set(err, ERR_NOMEM, "no memory for %zu keys", n);
    for (const cJSON *item = object->child; item; item = item->next)
        keys[i++] = item->string;
    qsort(keys, n, sizeof(*keys), compare_keys);
    int rc = 0;
    for (i = 1; i < n && rc == 0; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            rc = err_set(err, ERR_FORMAT, "the key '%.200s' stands in an object twice", keys[i]);
    free(keys);
    return rc;
}

static int check_all_keys(const cJSON *value, struct err *err)
{
    int rc = cJSON_IsObject(value) ? check_keys(value, err) : 0;
    for (const cJSON *item = value->child; item && rc == 0; item = item->next)
        rc = check_all_keys(item, err);
    return rc;
}

/* Parsing ------------------------------------------------------------------------------------------------------------
 */

int json_parse(const char *text, size_t n, cJSON **root, struct err *err)
{
    struct scan s = {.text = text, .n = n, .err = err};
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        return scan_error(&s, 0, "a byte order mark in front of JSON");
    size_t valid = utf8_valid_prefix(text, n);
    if (valid < n)
        return scan_error(&s, valid, "not valid UTF-8");
    int rc = scan_value(&s, 0);
    if (rc < 0)
        return rc;
    skip_space(&s);
    if (s.at < n)
        return scan_error(&s, s.at, "more text behind the end of the value");
    cJSON *parsed = cJSON_ParseWithLength(text, n);
    if (!parsed)
        return err_set(err, ERR_NOMEM, "no memory for %zu bytes of JSON", n);
    rc = check_all_keys(parsed, err);
    if (rc < 0) {
        cJSON_Delete(parsed);
        return rc;
    }
    *root = parsed;
    return 0;
}

int json_read_file(const char *path, cJSON **root, struct err *err)
{
    char *text;
    size_t n;
    int rc = file_read(path, JSON_MAX_FILE_BYTES, &text, &n, err);
    if (rc < 0)
        return rc;
    rc = json_parse(text, n, root, err);
    free(text);
    return rc < 0 ? err_wrap(err, "'%s'", path) : 0;
}

static _Thread_local bool lacked_memory;

static void *allocate(size_t size)
{
    void *block = malloc(size);
    lacked_memory = lacked_memory || !block;
    return block;
}

/* Before main: cJSON is called from many places, and its allocator is the process's. */
__attribute__((constructor)) static void take_over_allocation(void)
{
    cJSON_Hooks hooks = {.malloc_fn = allocate, .free_fn = free};
    cJSON_InitHooks(&hooks);
}

int json_check_memory(struct err *err)
{
    bool did_lack = lacked_memory;
    lacked_memory = false;
    return did_lack ? err_set(err, ERR_NOMEM, "no memory for JSON") : 0;
}

bool json_put(cJSON *object, const char *key, cJSON *value)
{
    bool is_put = value && cJSON_AddItemToObject(object, key, value);
    if (!is_put)
        cJSON_Delete(value);
    return is_put;
}

bool json_append(cJSON *array, cJSON *value)
{
    bool is_put = value && cJSON_AddItemToArray(array, value);
    if (!is_put)
        cJSON_Delete(value);
    return is_put;
}

void json_free(cJSON *root)
{
    cJSON_Delete(root);
}

/* Reading ------------------------------------------------------------------------------------------------------------
 */

const cJSON *json_get(const cJSON *object, const char *key)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

const char *json_type_name(const cJSON *value)
{
    if (!value)
        return "nothing";
    if (cJSON_IsString(value))
        return "a text";
    if (cJSON_IsNumber(value))
        return "a number";
    if (cJSON_IsBool(value))
        return cJSON_IsTrue(value) ? "true" : "false";
    if (cJSON_IsArray(value))
        return "a list";
    return cJSON_IsObject(value) ? "an object" : "null";
}

static int wrong_type(const cJSON *value, const char *key, const char *where, const char *expected, struct err *err)
{
    const char *dot = where && where[0] ? ": " : "";
    if (!value)
        return err_set(err, ERR_FORMAT, "%s%s'%s' is missing, %s was expected", where ? where : "", dot, key, expected);
    return err_set(err, ERR_FORMAT, "%s%s'%s' is %s, %s was expected", where ? where : "", dot, key,
                   json_type_name(value), expected);
}

int json_get_string(const cJSON *object, const char *key, const char *where, const char **out, struct err *err)
{
    const cJSON *value = json_get(object, key);
    if (!cJSON_IsString(value))
        return wrong_type(value, key, where, "a text", err);
    *out = value->valuestring;
    return 0;
}

int json_get_double(const cJSON *object, const char *key, const char *where, double *out, struct err *err)
{
    const cJSON *value = json_get(object, key);
    if (!cJSON_IsNumber(value))
        return wrong_type(value, key, where, "a number", err);
    *out = value->valuedouble;
    return 0;
}

int json_get_int64(const cJSON *object, const char *key, const char *where, int64_t *out, struct err *err)
{
    const cJSON *value = json_get(object, key);
    if (!cJSON_IsNumber(value) || value->valuedouble != floor(value->valuedouble) ||
        fabs(value->valuedouble) > 9007199254740992.0)
        return wrong_type(value, key, where, "a whole number", err);
    *out = (int64_t)value->valuedouble;
    return 0;
}

int json_get_bool(const cJSON *object, const char *key, const char *where, bool *out, struct err *err)
{
    const cJSON *value = json_get(object, key);
    if (!cJSON_IsBool(value))
        return wrong_type(value, key, where, "true or false", err);
    *out = cJSON_IsTrue(value);
    return 0;
}

int json_get_object(const cJSON *object, const char *key, const char *where, const cJSON **out, struct err *err)
{
    const cJSON *value = json_get(object, key);
    if (!cJSON_IsObject(value))
        return wrong_type(value, key, where, "an object", err);
    *out = value;
    return 0;
}

int json_get_array(const cJSON *object, const char *key, const char *where, const cJSON **out, struct err *err)
{
    const cJSON *value = json_get(object, key);
    if (!cJSON_IsArray(value))
        return wrong_type(value, key, where, "a list", err);
    *out = value;
    return 0;
}

static bool is_absent(const cJSON *object, const char *key)
{
    const cJSON *value = json_get(object, key);
    return !value || cJSON_IsNull(value);
}

int json_opt_string(const cJSON *object, const char *key, const char *where, const char **out, struct err *err)
{
    return is_absent(object, key) ? 0 : json_get_string(object, key, where, out, err);
}

int json_opt_double(const cJSON *object, const char *key, const char *where, double *out, struct err *err)
{
    return is_absent(object, key) ? 0 : json_get_double(object, key, where, out, err);
}

int json_opt_int64(const cJSON *object, const char *key, const char *where, int64_t *out, struct err *err)
{
    return is_absent(object, key) ? 0 : json_get_int64(object, key, where, out, err);
}

int json_opt_bool(const cJSON *object, const char *key, const char *where, bool *out, struct err *err)
{
    return is_absent(object, key) ? 0 : json_get_bool(object, key, where, out, err);
}

int json_opt_object(const cJSON *object, const char *key, const char *where, const cJSON **out, struct err *err)
{
    return is_absent(object, key) ? 0 : json_get_object(object, key, where, out, err);
}

int json_opt_array(const cJSON *object, const char *key, const char *where, const cJSON **out, struct err *err)
{
    return is_absent(object, key) ? 0 : json_get_array(object, key, where, out, err);
}

/* Writing ------------------------------------------------------------------------------------------------------------
 */

static int compare_members(const void *a, const void *b)
{
    return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

static void add_value(struct text *text, const cJSON *value, bool is_sorted);

static void add_members(struct text *text, const cJSON *object, bool is_sorted)
{
    size_t n = (size_t)cJSON_GetArraySize(object), i = 0;
    const cJSON **members = malloc((n + 1) * sizeof(*members));
    if (!members) {
        text->failed = true;
        return;
    }
    for (const cJSON *item = object->child; item; item = item->next)
        members[i++] = item;
    if (is_sorted)
        qsort(members, n, sizeof(*members), compare_members);
    text_add_char(text, '{');
    for (i = 0; i < n; i++) {
        if (i > 0)
            text_add_char(text, ',');
        text_add_json(text, members[i]->string);
        text_add_char(text, ':');
        add_value(text, members[i], is_sorted);
    }
    text_add_char(text, '}');
    free(members);
}

static void add_value(struct text *text, const cJSON *value, bool is_sorted)
{
    if (cJSON_IsObject(value)) {
        add_members(text, value, is_sorted);
    } else if (cJSON_IsArray(value)) {
        text_add_char(text, '[');
        for (const cJSON *item = value->child; item; item = item->next) {
            add_value(text, item, is_sorted);
            if (item->next)
                text_add_char(text, ',');
        }
        text_add_char(text, ']');
    } else if (cJSON_IsString(value)) {
        text_add_json(text, value->valuestring);
    } else if (cJSON_IsNumber(value)) {
        text_add_double(text, value->valuedouble);
    } else {
        text_add(text, cJSON_IsBool(value) ? (cJSON_IsTrue(value) ? "true" : "false") : "null");
    }
}

void json_add(struct text *text, const cJSON *value)
{
    add_value(text, value, false);
}

void json_add_canonical(struct text *text, const cJSON *value)
{
    add_value(text, value, true);
}

static bool have_equal_members(const cJSON *a, const cJSON *b)
{
    if (cJSON_GetArraySize(a) != cJSON_GetArraySize(b))
        return false;
    for (const cJSON *item = a->child; item; item = item->next) {
        const cJSON *other = cJSON_GetObjectItemCaseSensitive(b, item->string);
        if (!other || !json_equal(item, other))
            return false;
    }
    return true;
}

bool json_equal(const cJSON *a, const cJSON *b)
{
    if (cJSON_IsObject(a) && cJSON_IsObject(b))
        return have_equal_members(a, b);
    if (cJSON_IsArray(a) && cJSON_IsArray(b)) {
        const cJSON *x = a->child, *y = b->child;
        for (; x && y && json_equal(x, y); y = y->next)
            x = x->next;
        return !x && !y;
    }
    if (cJSON_IsNumber(a) && cJSON_IsNumber(b))
        return a->valuedouble == b->valuedouble;
    if (cJSON_IsString(a) && cJSON_IsString(b))
        return strcmp(a->valuestring, b->valuestring) == 0;
    if (cJSON_IsBool(a) && cJSON_IsBool(b))
        return cJSON_IsTrue(a) == cJSON_IsTrue(b);
    return cJSON_IsNull(a) && cJSON_IsNull(b);
}
