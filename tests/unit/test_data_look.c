/* Tests of orchestrator/data_look: what columns of small files are taken for, and files that are wrong. */
#include "orchestrator/data_look.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "tests/support/temp.h"

static struct look look;

/* Columns by index: what is expected of a file's content. */
static void expect(int repeats, const char *name, const char *header, const char *const *rows, struct look_roles wanted)
{
    struct temp temp;
    struct text text = {0};
    struct look_roles found;
    struct err err = {0};
    int64_t bytes = 0;
    temp_open(&temp);
    text_add(&text, header);
    for (int repeat = 0; repeat < repeats; repeat++)
        for (int i = 0; rows[i]; i++)
            text_printf(&text, "%s\n", rows[i]);
    temp_write(&temp, name, text.data, text.len);
    cr_assert_eq(look_at(&look, temp_path(&temp, name), &bytes, &err), 0, "%s: %s", name, err.message);
    look_guess(&look, &found);
    cr_expect_eq(found.text, wanted.text, "%s: text is %d", name, found.text);
    cr_expect_eq(found.pair, wanted.pair, "%s: pair is %d", name, found.pair);
    cr_expect_eq(found.label, wanted.label, "%s: label is %d", name, found.label);
    cr_expect_eq(found.target, wanted.target, "%s: target is %d", name, found.target);
    cr_expect(look.is_whole);
    look_done(&look);
    text_done(&text);
    temp_close(&temp);
}

Test(data_look, roles)
{
    expect(10, "named.jsonl", "",
           (const char *[]){"{\"text\":\"good one\",\"label\":1}", "{\"text\":\"bad\",\"label\":0}", NULL},
           (struct look_roles){0, -1, 1, -1});
    expect(10, "unnamed.csv", "kind,body\n",
           (const char *[]){"a,\"one, \"\"two\"\" long\"", "b,something longer", NULL},
           (struct look_roles){1, -1, 0, -1});
    expect(10, "pairs.tsv", "premise\thypothesis\tlabel\n",
           (const char *[]){"it rains\tit is wet\tyes", "sun\train\tno", NULL}, (struct look_roles){0, 1, 2, -1});
    expect(1, "languages.jsonl", "",
           (const char *[]){"{\"en\":\"good morning\",\"de\":\"guten Morgen, liebe Welt\"}",
                            "{\"en\":\"yes\",\"de\":\"ja\"}", "{\"en\":\"no\",\"de\":\"nein\"}", NULL},
           (struct look_roles){0, -1, -1, 1});
    expect(10, "answers.jsonl", "", (const char *[]){"{\"answer\":\"42\",\"question\":\"what is it?\"}", NULL},
           (struct look_roles){1, -1, -1, 0});
    expect(10, "plain.jsonl", "", (const char *[]){"{\"all\":\"just a text\"}", NULL},
           (struct look_roles){0, -1, -1, -1});
}

Test(data_look, wrong_files)
{
    static const struct {
        const char *name, *content;
        int code;
        const char *part;
    } cases[] = {
        {"x.txt", "a", ERR_UNSUPPORTED, ".jsonl, .csv or .tsv"},
        {"empty.jsonl", "", ERR_DATA, "no rows"},
        {"list.jsonl", "{\"a\":1}\n[1]\n", ERR_DATA, "line 2: a list"},
        {"broken.jsonl", "{\"a\":1\n", ERR_FORMAT, "line 1"},
        {"ragged.csv", "a,b\n1,2\n1,2,3\n", ERR_DATA, "row 2 has 3 fields, the header 2"},
        {"header.csv", "a,b\n", ERR_DATA, "no rows"},
        {"bytes.csv", "a,b\n\xff,1\n", ERR_DATA, "no UTF-8"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct temp temp;
        struct err err = {0};
        int64_t bytes;
        temp_open(&temp);
        temp_write(&temp, cases[i].name, cases[i].content, strlen(cases[i].content));
        cr_expect_eq(look_at(&look, temp_path(&temp, cases[i].name), &bytes, &err), cases[i].code, "%s: %s",
                     cases[i].name, err.message);
        cr_expect_not_null(strstr(err.message, cases[i].part), "%s: %s", cases[i].name, err.message);
        look_done(&look);
        temp_close(&temp);
    }
}
