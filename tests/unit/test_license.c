/* Licenses of models and data: what each kind of file says, which file goes first, and files that say nothing. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/license.h"
#include "tests/support/temp.h"

static struct temp temp;
static struct arena arena;

static void setup(void)
{
    temp_open(&temp);
}

static void teardown(void)
{
    arena_done(&arena);
    temp_close(&temp);
}

TestSuite(license, .init = setup, .fini = teardown);

static struct license find(const char *folder)
{
    struct license out;
    struct err err = {0};
    char path[TEMP_PATH_SIZE + 256];
    snprintf(path, sizeof(path), "%s", temp_path(&temp, folder));
    cr_assert_eq(license_find(&out, path, &arena, &err), 0, "%s", err.message);
    return out;
}

/* Writes one file, and takes it away again. NULL: it must say nothing. */
static void expect(const char *name, const void *content, size_t n, const char *license)
{
    struct err err;
    temp_write(&temp, name, content, n);
    struct license found = find(".");
    if (!license)
        cr_expect_null(found.text, "%s says '%s'", name, found.text);
    else if (found.text) {
        cr_expect_str_eq(found.text, license, "%s says '%s', '%s' was expected", name, found.text, license);
        cr_expect_str_eq(found.source, name);
    } else
        cr_expect(false, "%s says nothing, '%s' was expected", name, license);
    cr_assert_eq(file_remove_tree(temp_path(&temp, name), &err), 0);
}
static void says(const char *name, const char *content, const char *license)
{
    expect(name, content, strlen(content), license);
}

Test(license, of_cards)
{
    says("README.md", "---\nlanguage: en\nlicense: apache-2.0\ntags:\n- x\n---\n# A model\n", "apache-2.0");
    says("README.md", "\xef\xbb\xbf---\r\nlicense: \"mit\"\r\n---\r\n", "mit");
    says("README.md", "---\nlicense:\n- mit\n- cc0-1.0\ntags:\n- y\n---\n", "mit, cc0-1.0");
    says("README.md", "---\nlicense: [mit, bsd-3-clause]\n---\n", "mit, bsd-3-clause");
    says("README.md", "---\nlicense: other\nlicense_name: gemma\n---\n", "gemma");
    says("README.md", "---\nlicense: other\n---\n", "other");
    says("README.md", "# A model\nlicense: mit\n", NULL);
    says("README.md", "---\ntitle: x\n---\nlicense: mit\n", NULL);
    says("README.md", "---\nlicense:\n---\n", NULL);
    says("README.md", "", NULL);
    says("README.md", "---", NULL);
    says("README.md", "---\nlicense: m\x01i\x1bt\n---\n", "mit");
    says("README.md", "---\nlicense: \xff\xfe\n---\n", NULL);
}

Test(license, long_names_are_cut_between_characters)
{
    char card[2048], expected[LICENSE_MAX + 1] = "a";
    int n = snprintf(card, sizeof(card), "---\nlicense: a");
    for (int i = 0; i < 500; i++)
        n += snprintf(card + n, sizeof(card) - (size_t)n, "é");
    for (int i = 1; i + 2 <= LICENSE_MAX; i += 2)
        memcpy(expected + i, "é", 3);
    snprintf(card + n, sizeof(card) - (size_t)n, "\n---\n");
    says("README.md", card, expected);
}

Test(license, of_other_files)
{
    says("config.json", "{\"model_type\": \"bert\", \"license\": \"mit\"}", "mit");
    says("config.json", "{\"model_type\": \"bert\"}", NULL);
    says("config.json", "{\"license\": 3}", NULL);
    says("config.json", "{\"license\": ", NULL);
    says("METADATA", "Metadata-Version: 2.4\nName: x\nLicense: MIT\n\nLicense: no\n", "MIT");
    says("PKG-INFO", "Name: x\nLicense-Expression: Apache-2.0\n", "Apache-2.0");
    says("PKG-INFO", "Name: x\nLicense: UNKNOWN\n\nLicense: MIT\n", NULL);
    says("LICENSE",
         "                                 Apache License\n                           Version 2.0, January 2004\n",
         "Apache-2.0");
    says("LICENSE.txt",
         "Copyright\n\nPermission is hereby granted, free of charge, to any\nTHE SOFTWARE IS PROVIDED \"AS IS\"\n",
         "MIT");
    says("COPYING", "Redistribution and use in source and binary forms\nNeither the name of\n", "BSD-3-Clause");
    says("LICENSE.md", "\n\nThe Meadow Community License\n\nwords\n", "The Meadow Community License");
}

Test(license, of_gguf_files)
{
    static const char file[] = "GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"
                               "\x0f\0\0\0\0\0\0\0general.license\x08\0\0\0\x0a\0\0\0\0\0\0\0apache-2.0";
    expect("x.gguf", file, sizeof(file) - 1, "apache-2.0");
    expect("x.gguf", file, sizeof(file) - 2, NULL); /* its text is cut off */
    expect("x.gguf", file, sizeof(file) - 14, NULL);
}

Test(license, the_card_goes_before_the_text)
{
    struct err err;
    temp_write(&temp, "README.md", "---\nlicense: cc-by-4.0\n---\n", 27);
    temp_write(&temp, "LICENSE", "Apache License\nVersion 2.0\n", 27);
    cr_assert_eq(file_make_folders(temp_path(&temp, "config.json"), &err), 0); /* a folder says nothing */
    cr_expect_str_eq(find(".").text, "cc-by-4.0");
    cr_expect_null(find("absent").text);
}

Test(license, of_a_sweep)
{
    struct definition definition;
    struct input inputs[INPUTS_MAX];
    struct input_hashes hashes = {.model = "11", .train = "22", .test = "33"};
    struct err err = {0};
    int n = 0;
    char folder[TEMP_PATH_SIZE + 256];
    snprintf(folder, sizeof(folder), "%s", temp_path(&temp, "."));
    cr_assert_eq(file_make_folders(temp_path(&temp, "model"), &err), 0);
    cr_assert_eq(file_make_folders(temp_path(&temp, "data"), &err), 0);
    temp_write(&temp, "model/README.md", "---\nlicense: mit\n---\n", 20);
    temp_write(&temp, "data/README.md", "---\nlicense: cc0-1.0\n---\n", 24);
    temp_write(&temp, "data/train.jsonl", "{}\n", 3);
    temp_write(&temp, "test.jsonl", "{}\n", 3);
#define TEXT                                                                                                           \
    "{\"name\": \"x\", \"model\": \"model\", \"task\": {\"train\": \"data/train.jsonl\", \"test\": \"test.jsonl\", "   \
    "\"text\": \"t\", \"label\": \"l\"}, \"parameters\": {}"
    cr_assert_eq(definition_parse(&definition, TEXT "}", folder, "x.json", &err), 0, "%s", err.message);
    cr_assert_eq(inputs_describe(inputs, &n, &definition, &hashes, &arena, &err), 0, "%s", err.message);
    cr_assert_eq(n, 3);
    cr_expect_str_eq(inputs[0].role, "model");
    cr_expect_str_eq(inputs[0].license.text, "mit");
    cr_expect_str_eq(inputs[0].license.source, "README.md");
    cr_expect_str_eq(inputs[0].sha256, "11");
    cr_expect_str_eq(inputs[1].role, "train");
    cr_expect_str_eq(inputs[1].license.text, "cc0-1.0");
    cr_expect_str_eq(inputs[2].role, "test");
    cr_expect_str_eq(inputs[2].sha256, "33");
    cr_expect_null(inputs[2].license.text);
    definition_done(&definition);
    cr_assert_eq(definition_parse(&definition, TEXT ", \"licenses\": {\"data\": \"ours\"}}", folder, "x.json", &err), 0,
                 "%s", err.message);
    cr_assert_eq(inputs_describe(inputs, &n, &definition, &hashes, &arena, &err), 0, "%s", err.message);
    cr_expect_str_eq(inputs[0].license.text, "mit");
    cr_expect_str_eq(inputs[1].license.text, "ours");
    cr_expect_str_eq(inputs[1].license.source, "definition");
    cr_expect_str_eq(inputs[2].license.text, "ours");
    definition_done(&definition);
    cr_expect_eq(
        definition_parse(&definition, TEXT ", \"licenses\": {\"date\": 1, \"model\": 2}}", folder, "x.json", &err),
        ERR_USAGE);
    cr_expect_not_null(strstr(err.message, "licenses.date: is not known"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "licenses: 'model' is a number"), "%s", err.message);
    definition_done(&definition);
}
