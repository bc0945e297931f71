/* Data files; the first byte of the input says the format. */
#include <string.h>

#include "common/json.h"
#include "tests/fuzz/fuzz.h"
#include "trainer/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const tasks[] = {
        "{\"text\":\"text\",\"label\":\"label\",\"format\":\"jsonl\"}",
        "{\"text\":\"text\",\"label\":\"label\",\"text_pair\":\"pair\",\"format\":\"csv\"}",
        "{\"text\":\"text\",\"label\":\"label\",\"format\":\"tsv\"}",
        "{\"kind\":\"seq2seq\",\"text\":\"text\",\"target\":\"label\",\"format\":\"jsonl\"}"};
    struct rows rows;
    struct err err;
    cJSON *task = NULL;
    if (size == 0)
        return 0;
    const char *text = tasks[data[0] % 4];
    if (json_parse(text, strlen(text), &task, &err) < 0)
        fuzz_fail(err.message);
    if (rows_read(&rows, fuzz_file("rows", data + 1, size - 1), task, 0, &err) == 0 && rows.count == 0)
        fuzz_fail("accepted without rows");
    rows_done(&rows);
    json_free(task);
    return 0;
}
