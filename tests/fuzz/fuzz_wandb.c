/* Sweep files of Weights & Biases (YAML): what is converted is a tree that is written and read as JSON. */
#include "common/text.h"
#include "orchestrator/wandb.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cJSON *definition = NULL, *again = NULL;
    struct text remarks = {0}, text = {0};
    struct err err;
    if (wandb_convert((const char *)data, size, "sweep.yaml", &definition, &remarks, &err) == 0) {
        json_add(&text, definition);
        if (text.failed || json_parse(text.data, text.len, &again, &err) < 0)
            fuzz_fail(text.failed ? "no memory" : err.message);
        json_free(again);
        json_free(definition);
    }
    text_done(&text);
    text_done(&remarks);
    return 0;
}
