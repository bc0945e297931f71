/* Sweep definitions, for our own trainer and for trials trained elsewhere; of an accepted one the first
 * configurations are drawn. */
#include <stdlib.h>
#include <string.h>

#include "orchestrator/definition.h"
#include "orchestrator/study.h"
#include "tests/fuzz/fuzz.h"

static void make_project(void)
{
    static const char *const empty[] = {"data/train.jsonl", "data/validation.jsonl", "data/test.jsonl", "names.json"};
    static int is_made;
    if (is_made++)
        return;
    fuzz_folder("models");
    fuzz_folder("models/tiny");
    fuzz_folder("data");
    fuzz_file("models/tiny/config.json", "{}", 2);
    fuzz_file("models/tiny/tokenizer.json", "{}", 2);
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
        fuzz_file(empty[i], "{}", 2);
}

static void try_text(const char *text, int is_elsewhere)
{
    struct definition definition;
    struct study *study = NULL;
    struct err err;
    int rc = is_elsewhere ? definition_parse_elsewhere(&definition, text, "fuzz.json", &err)
                          : definition_parse(&definition, text, fuzz_path("."), "fuzz.json", &err);
    if (rc == 0)
        rc = study_new(&study, &definition, !is_elsewhere, &err);
    for (int i = 0; rc == 0 && i < 4; i++) {
        struct study_proposal proposal = {0};
        rc = study_ask(study, &proposal, &err);
        if (rc == 0 && proposal.answer != STUDY_TRIAL)
            break;
        if (rc == 0)
            rc = study_fail(study, proposal.trial, &err);
    }
    study_free(study);
    definition_done(&definition);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    make_project();
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    try_text(text, 0);
    try_text(text, 1);
    free(text);
    return 0;
}
