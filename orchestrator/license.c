/* Reads licenses out of what lies beside models and data: cards, package metadata, license texts, GGUF metadata. Only
 * the beginning of a file is looked at. */
#include "orchestrator/license.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/file.h"

enum { LOOK_BYTES = 64 << 10, GGUF_LOOK_BYTES = 1 << 20 };

/* A stretch of a file. */
struct span {
    const char *data;
    size_t n;
};

static struct span trim(struct span s)
{
    while (s.n > 0 && strchr(" \t\r\n\"'", s.data[0]))
        s = (struct span){s.data + 1, s.n - 1};
    while (s.n > 0 && strchr(" \t\r\n\"'", s.data[s.n - 1]))
        s.n--;
    return s;
}

/* Takes the next line off the front. */
static bool next_line(struct span *rest, struct span *line)
{
    const char *end = rest->n ? memchr(rest->data, '\n', rest->n) : NULL;
    if (rest->n == 0)
        return false;
    *line = (struct span){rest->data, end ? (size_t)(end - rest->data) : rest->n};
    size_t used = line->n + (end ? 1 : 0);
    *rest = (struct span){rest->data + used, rest->n - used};
    if (line->n > 0 && line->data[line->n - 1] == '\r')
        line->n--;
    return true;
}

static bool starts(struct span s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && strncasecmp(s.data, prefix, n) == 0;
}

static bool is_word(struct span s, const char *word)
{
    return s.n == strlen(word) && starts(s, word);
}

static struct span behind(struct span s, const char *prefix)
{
    size_t n = strlen(prefix);
    return trim((struct span){s.data + n, s.n - n});
}

/* Appends what is fit to be shown: nothing of invalid UTF-8, no control characters, at most LICENSE_MAX bytes. */
static void add_shown(struct text *out, struct span s)
{
    s = trim(s);
    if (utf8_valid_prefix(s.data, s.n) != s.n)
        return;
    for (size_t i = 0, n; i < s.n; i += n) {
        uint32_t code = utf8_decode(s.data + i, s.n - i, &n);
        if (out->len + n > LICENSE_MAX)
            return;
        if (code >= 0x20 && (code < 0x7f || code > 0x9f))
            text_add_n(out, s.data + i, n);
    }
}

/* Each kind of file ---------------------------------------------------------------------------------------------------
 * Appends the license that the file's beginning names; nothing when it names none. */

/* license: mit | license: [mit, cc0-1.0] | license: and "- mit" below; of "other" the license_name. */
static void read_card(struct text *out, struct span file)
{
    struct span line = {0}, other = {0};
    bool is_list = false;
    if (starts(file, "\xef\xbb\xbf"))
        file = (struct span){file.data + 3, file.n - 3};
    if (!next_line(&file, &line) || !is_word(trim(line), "---"))
        return;
    while (next_line(&file, &line) && !is_word(trim(line), "---")) {
        if (is_list && starts(trim(line), "-")) {
            text_add(out, out->len ? ", " : "");
            add_shown(out, behind(trim(line), "-"));
            continue;
        }
        is_list = false;
        if (starts(line, "license_name:"))
            other = behind(line, "license_name:");
        if (!starts(line, "license:"))
            continue;
        struct span value = behind(line, "license:");
        is_list = value.n == 0;
        if (value.n > 1 && value.data[0] == '[' && value.data[value.n - 1] == ']')
            value = (struct span){value.data + 1, value.n - 2};
        text_reset(out);
        add_shown(out, value);
    }
    if (other.n > 0 && (out->len == 0 || strcasecmp(out->data, "other") == 0)) {
        text_reset(out);
        add_shown(out, other);
    }
}

static void read_config(struct text *out, struct span file)
{
    cJSON *root = NULL;
    struct err ignored;
    if (json_parse(file.data, file.n, &root, &ignored) < 0)
        return;
    const cJSON *license = json_get(root, "license");
    if (cJSON_IsString(license))
        add_shown(out, (struct span){license->valuestring, strlen(license->valuestring)});
    json_free(root);
}

/* The head of Python's core metadata. */
static void read_metadata(struct text *out, struct span file)
{
    struct span line;
    while (next_line(&file, &line) && line.n > 0)
        for (int i = 0; i < 2; i++) {
            const char *key = i ? "License:" : "License-Expression:";
            if (out->len == 0 && starts(line, key) && !is_word(behind(line, key), "UNKNOWN"))
                add_shown(out, behind(line, key));
        }
}

static bool holds(struct span file, const char *phrase)
{
    return memmem(file.data, file.n, phrase, strlen(phrase)) != NULL;
}

static void read_license_text(struct text *out, struct span file)
{
    static const struct {
        const char *phrase, *and, *name;
    } known[] = {
        {"Apache License", "Version 2.0", "Apache-2.0"},
        {"GNU AFFERO GENERAL PUBLIC LICENSE", "Version 3", "AGPL-3.0"},
        {"GNU LESSER GENERAL PUBLIC LICENSE", "Version 3", "LGPL-3.0"},
        {"GNU LESSER GENERAL PUBLIC LICENSE", "Version 2.1", "LGPL-2.1"},
        {"GNU GENERAL PUBLIC LICENSE", "Version 3", "GPL-3.0"},
        {"GNU GENERAL PUBLIC LICENSE", "Version 2", "GPL-2.0"},
        {"Mozilla Public License", "2.0", "MPL-2.0"},
        {"Permission is hereby granted, free of charge", "THE SOFTWARE IS PROVIDED \"AS IS\"", "MIT"},
        {"Redistribution and use in source and binary forms", "Neither the name", "BSD-3-Clause"},
        {"Redistribution and use in source and binary forms", "", "BSD-2-Clause"},
        {"CC0 1.0", "", "CC0-1.0"},
        {"Attribution-NonCommercial-ShareAlike 4.0", "", "CC-BY-NC-SA-4.0"},
        {"Attribution-NonCommercial 4.0", "", "CC-BY-NC-4.0"},
        {"Attribution-ShareAlike 4.0", "", "CC-BY-SA-4.0"},
        {"Attribution 4.0", "", "CC-BY-4.0"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (holds(file, known[i].phrase) && holds(file, known[i].and)) {
            text_add(out, known[i].name);
            return;
        }
    struct span line; /* not one that we know: its title */
    while (out->len == 0 && next_line(&file, &line))
        add_shown(out, line);
}

/* The key "general.license", of type 8 (text), wherever it stands among the first ones. */
static void read_gguf(struct text *out, struct span file)
{
    static const char key[] = "\x0f\0\0\0\0\0\0\0general.license\x08\0\0\0";
    const char *at = starts(file, "GGUF") ? memmem(file.data, file.n, key, sizeof(key) - 1) : NULL;
    if (!at)
        return;
    struct span rest = {at + sizeof(key) - 1, file.n - (size_t)(at - file.data) - (sizeof(key) - 1)};
    uint64_t n = 0;
    for (size_t i = 0; i < 8 && i < rest.n; i++)
        n |= (uint64_t)(unsigned char)rest.data[i] << (8 * i);
    if (rest.n > 8 && n <= rest.n - 8)
        add_shown(out, (struct span){rest.data + 8, (size_t)n});
}

/* The files of a folder -----------------------------------------------------------------------------------------------
 */

typedef void (*read_fn)(struct text *out, struct span file);

/* Fills `out` when the file says a license. */
static int try_file(struct license *out, const char *folder, const char *name, read_fn read, size_t look_bytes,
                    struct arena *arena, struct err *err)
{
    struct file_map map = {0};
    struct text text = {0};
    struct err ignored;
    char *path = file_join(folder, name);
    if (!path)
        return err_set(err, ERR_NOMEM, "no memory for a path");
    if (file_exists(path) && !file_is_folder(path) && file_map_open(&map, path, &ignored) == 0) {
        if (map.len > 0)
            read(&text, (struct span){(const char *)map.data, map.len < look_bytes ? map.len : look_bytes});
        file_map_close(&map);
    }
    free(path);
    if (text.len > 0 && !text.failed)
        *out = (struct license){arena_strdup(arena, text.data), arena_strdup(arena, name)};
    bool has_failed = text.failed || (text.len > 0 && (!out->text || !out->source));
    text_done(&text);
    return has_failed ? err_set(err, ERR_NOMEM, "no memory for a license") : 0;
}

/* The first GGUF file by name that says one. */
static int try_gguf(struct license *out, const char *folder, struct arena *arena, struct err *err)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, NULL, alphasort), rc = 0;
    for (int i = 0; i < n; i++) {
        if (rc == 0 && !out->text && text_ends_with(entries[i]->d_name, ".gguf"))
            rc = try_file(out, folder, entries[i]->d_name, read_gguf, GGUF_LOOK_BYTES, arena, err);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

int license_find(struct license *out, const char *folder, struct arena *arena, struct err *err)
{
    static const struct {
        const char *name;
        read_fn read;
    } files[] = {
        {"README.md", read_card},          {"config.json", read_config},   {"METADATA", read_metadata},
        {"PKG-INFO", read_metadata},       {"LICENSE", read_license_text}, {"LICENSE.txt", read_license_text},
        {"LICENSE.md", read_license_text}, {"LICENCE", read_license_text}, {"COPYING", read_license_text},
    };
    int rc = 0;
    *out = (struct license){0};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && rc == 0 && !out->text; i++)
        rc = try_file(out, folder, files[i].name, files[i].read, LOOK_BYTES, arena, err);
    return rc == 0 && !out->text ? try_gguf(out, folder, arena, err) : rc;
}

/* What a sweep is trained on ------------------------------------------------------------------------------------------
 */

static int describe(struct input *input, const char *said, struct arena *arena, struct err *err)
{
    char *folder = text_equal(input->role, "model") ? strdup(input->path) : file_folder(input->path);
    int rc = folder ? 0 : err_set(err, ERR_NOMEM, "no memory for a path");
    if (rc == 0 && said)
        input->license = (struct license){said, "definition"};
    else if (rc == 0)
        rc = license_find(&input->license, folder, arena, err);
    free(folder);
    return rc;
}

int inputs_describe(struct input inputs[INPUTS_MAX], int *n, const struct definition *definition,
                    const struct input_hashes *hashes, struct arena *arena, struct err *err)
{
    const char *const splits[] = {"train", "validation", "test"};
    const char *const sha256[] = {hashes->train, hashes->validation, hashes->test};
    int rc = 0;
    *n = 0;
    inputs[(*n)++] = (struct input){.role = "model", .path = definition->model, .sha256 = hashes->model};
    for (int i = 0; i < 3; i++) {
        const cJSON *path = json_get(definition->task, splits[i]);
        if (cJSON_IsString(path))
            inputs[(*n)++] = (struct input){.role = splits[i], .path = path->valuestring, .sha256 = sha256[i]};
    }
    for (int i = 0; i < *n && rc == 0; i++)
        rc = describe(&inputs[i], i == 0 ? definition->model_license : definition->data_license, arena, err);
    return rc;
}
