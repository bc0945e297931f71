/* Changes of JSON that stay JSON: values exchanged for others, members doubled, dropped, renamed and moved. Every third
 * change is the fuzzer's own, of bytes. An input that is a binary header with JSON behind it (safetensors) keeps its
 * first eight bytes right; lines are changed one at a time. */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "tests/fuzz/fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static uint64_t state;

static size_t draw(size_t n)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return n ? (size_t)(state >> 33) % n : 0;
}

static cJSON *some_value(void)
{
    static const double numbers[] = {
        0, 1, -1, 2, 0.5, 7, 64, 1e-300, 1e300, 2147483647, 2147483648.0, 9007199254740992.0, 3};
    static const char *const texts[] = {
        "", "a", "lora", "method", "..", "/", "rank", "{a}", "validation/accuracy", "\xc3\xa9"};
    switch (draw(8)) {
    case 0:
        return cJSON_CreateNull();
    case 1:
        return cJSON_CreateBool((int)draw(2));
    case 2:
        return cJSON_CreateArray();
    case 3:
        return cJSON_CreateObject();
    case 4:
        return cJSON_CreateString(texts[draw(sizeof(texts) / sizeof(texts[0]))]);
    default:
        return cJSON_CreateNumber(numbers[draw(sizeof(numbers) / sizeof(numbers[0]))]);
    }
}

static size_t count(const cJSON *value)
{
    size_t n = 1;
    for (const cJSON *item = value->child; item; item = item->next)
        n += count(item);
    return n;
}

/* The n-th value in the order of the text, and what holds it. */
static cJSON *find(cJSON *value, size_t *n, cJSON *parent, cJSON **holder)
{
    *holder = parent;
    if ((*n)-- == 0)
        return value;
    for (cJSON *item = value->child; item; item = item->next) {
        cJSON *found = find(item, n, value, holder);
        if (found)
            return found;
    }
    return NULL;
}

static void put(cJSON *holder, const char *key, cJSON *value)
{
    if (value && cJSON_IsObject(holder))
        cJSON_AddItemToObject(holder, key ? key : "a", value);
    else if (value && cJSON_IsArray(holder))
        cJSON_AddItemToArray(holder, value);
    else
        cJSON_Delete(value);
}

static void change(cJSON *root)
{
    cJSON *holder, *other_holder;
    size_t at = draw(count(root)), from = draw(count(root));
    cJSON *value = find(root, &at, NULL, &holder), *other = find(root, &from, NULL, &other_holder);
    if (!value || !other || !holder)
        return;
    char *key = value->string ? strdup(value->string) : NULL;
    cJSON *copy = cJSON_Duplicate(other, 1);
    switch (draw(6)) {
    case 0: /* another value in its place */
        cJSON_Delete(copy);
        copy = some_value();
        cJSON_Delete(cJSON_DetachItemViaPointer(holder, value));
        put(holder, key, copy);
        break;
    case 1: /* gone */
        cJSON_Delete(copy);
        cJSON_Delete(cJSON_DetachItemViaPointer(holder, value));
        break;
    case 2: /* a copy of another */
        cJSON_Delete(cJSON_DetachItemViaPointer(holder, value));
        put(holder, key, copy);
        break;
    case 3: /* another one more in the list or object */
        put(cJSON_IsObject(value) || cJSON_IsArray(value) ? value : holder, other->string ? other->string : "b", copy);
        break;
    case 4: /* in a list */
        cJSON_Delete(copy);
        copy = cJSON_CreateArray();
        if (copy)
            cJSON_AddItemToArray(copy, cJSON_DetachItemViaPointer(holder, value));
        put(holder, key, copy);
        break;
    default: /* another name */
        cJSON_Delete(copy);
        put(holder, other->string ? other->string : "c", cJSON_DetachItemViaPointer(holder, value));
    }
    free(key);
}

/* Changes the JSON in data[0..size); 0: it is none, or what came out is too long. */
static size_t change_text(uint8_t *data, size_t size, size_t max_size)
{
    cJSON *root = NULL;
    struct text text = {0};
    size_t n = 0;
    if (json_parse((const char *)data, size, &root, NULL) < 0)
        return 0;
    for (size_t i = draw(3) + 1; i > 0; i--)
        change(root);
    json_add(&text, root);
    if (!text.failed && text.len <= max_size) {
        memcpy(data, text.data, text.len);
        n = text.len;
    }
    text_done(&text);
    json_free(root);
    return n;
}

static uint64_t read_length(const uint8_t *data)
{
    uint64_t length = 0;
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)data[i] << (8 * i);
    return length;
}

static size_t change_header(uint8_t *data, size_t size, size_t max_size)
{
    size_t length = (size_t)read_length(data), rest = size - 8 - length;
    uint8_t *kept = malloc(rest + 1);
    if (!kept)
        return 0;
    memcpy(kept, data + 8 + length, rest);
    size_t n = change_text(data + 8, length, max_size - 8 - rest);
    if (n > 0) {
        memcpy(data + 8 + n, kept, rest);
        for (int i = 0; i < 8; i++)
            data[i] = (uint8_t)(n >> (8 * i) & 255);
        n += 8 + rest;
    }
    free(kept);
    return n;
}

/* A line of several, the others as they are. */
static size_t change_line(uint8_t *data, size_t size, size_t max_size)
{
    size_t begin = 0, lines = 0, chosen, n = 0;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    chosen = draw(lines);
    for (size_t i = 0; chosen > 0; i++)
        if (data[i] == '\n') {
            chosen--;
            begin = i + 1;
        }
    const uint8_t *newline = memchr(data + begin, '\n', size - begin);
    size_t end = newline ? (size_t)(newline - data) : size, rest = size - end;
    uint8_t *kept = malloc(rest + 1);
    if (!kept)
        return 0;
    memcpy(kept, data + end, rest);
    if (begin + rest < max_size)
        n = change_text(data + begin, end - begin, max_size - begin - rest);
    if (n > 0) {
        memcpy(data + begin + n, kept, rest);
        n += begin + rest;
    }
    free(kept);
    return n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size_t n = 0;
    state = seed;
    if (draw(3) > 0 && size > 0) {
        if (size > 8 && read_length(data) < size - 8 && data[8] == '{')
            n = change_header(data, size, max_size);
        else if (data[size - 1] == '\n')
            n = change_line(data, size, max_size);
        else
            n = change_text(data, size, max_size);
    }
    return n > 0 ? n : LLVMFuzzerMutate(data, size, max_size);
}
