/* Item files of the counterfactual check, with test sentences in which words are swapped. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/counterfactual.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct row sentences[] = {{.text = "She gave Her book to him.", .label = "1", .line = 1},
                              {.text = "HIS na\xc3\xafve mother", .label = "0", .line = 2}};
    struct rows test = {.items = sentences, .count = 2};
    struct arena arena = {.limit_bytes = 64 << 20};
    struct counterfactual set;
    struct err err;
    if (counterfactual_read(&set, fuzz_file("items.json", data, size), &test, &arena, &err) == 0 && set.count == 0)
        fuzz_fail("accepted without a pair");
    arena_done(&arena);
    return 0;
}
