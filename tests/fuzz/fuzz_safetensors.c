/* safetensors files: all elements of all tensors of an accepted one are read. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct safetensors *file = NULL;
    struct err err;
    if (safetensors_open(&file, fuzz_file("model.safetensors", data, size), &err) < 0)
        return 0;
    for (size_t i = 0; i < safetensors_count(file); i++) {
        const struct tensor *tensor = safetensors_at(file, i);
        if (tensor->n > size || safetensors_find(file, tensor->name) != tensor)
            fuzz_fail("a tensor is larger than its file, or is not found by its name");
        real *values = malloc((tensor->n + 1) * sizeof(real));
        if (values && safetensors_read(tensor, values, &err) < 0 && tensor->type != TENSOR_OTHER)
            fuzz_fail("a tensor of floats cannot be read");
        free(values);
    }
    safetensors_close(file);
    return 0;
}
