/* config.json of each family, beside weights that fit the unchanged one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "tests/fuzz/fuzz.h"
#include "trainer/model.h"

static const char *const families[] = {"bert", "gpt2", "llama", "m2m", "roberta"};
enum { N_FAMILIES = sizeof(families) / sizeof(families[0]) };

static void make_folders(void)
{
    static int are_made;
    char name[64], source[128], *data;
    size_t n;
    struct err err;
    if (are_made++)
        return;
    for (int i = 0; i < N_FAMILIES; i++) {
        fuzz_folder(families[i]);
        snprintf(source, sizeof(source), "tests/golden/cases/models/%s/model.safetensors", families[i]);
        if (file_read(source, 1 << 20, &data, &n, &err) < 0)
            fuzz_fail(err.message);
        snprintf(name, sizeof(name), "%s/model.safetensors", families[i]);
        fuzz_file(name, data, n);
        free(data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int family = 0;
    char name[64];
    struct err err;
    make_folders();
    for (int i = 0; i < N_FAMILIES; i++)
        if (memmem(data, size, families[i], strlen(families[i])))
            family = i;
    snprintf(name, sizeof(name), "%s/config.json", families[family]);
    fuzz_file(name, data, size);
    for (int task = TASK_CLASSIFICATION; task < MODEL_TASKS; task++) {
        struct arena arena = {.limit_bytes = 64 << 20};
        struct model model = {0};
        struct model_options options = {.task = (enum model_task)task,
                                        .pooling = "mean",
                                        .n_classes = 2,
                                        .dropout = -1,
                                        .attention_dropout = -1,
                                        .seed = 1};
        if (model_open(&model, fuzz_path(families[family]), &options, &arena, &err) == 0)
            model_close(&model);
        arena_done(&arena);
    }
    return 0;
}
