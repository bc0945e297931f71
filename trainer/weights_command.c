/* The tensors of a model folder, a line each. */
#include "trainer/weights_command.h"

#include <stdlib.h>

#include "common/hash.h"
#include "common/text.h"
#include "trainer/quant.h"

static int write_tensor(const struct tensor *tensor, FILE *out, struct err *err)
{
    char hash[HASH_HEX_SIZE] = "";
    struct text line = {0};
    real *values = calloc(tensor->n ? tensor->n : 1, sizeof(*values));
    if (!values)
        return err_set(err, ERR_NOMEM, "no memory for tensor '%s' (%zu elements)", tensor->name, tensor->n);
    int rc = tensor->type == TENSOR_OTHER ? 0 : safetensors_read(tensor, values, err);
    if (rc == 0 && tensor->type != TENSOR_OTHER)
        hash_bytes(values, tensor->n * sizeof(*values), hash);
    free(values);
    if (rc < 0)
        return rc;
    text_add(&line, "{\"name\":");
    text_add_json(&line, tensor->name);
    text_printf(&line, ",\"type\":\"%s\",\"shape\":[",
                tensor->type == TENSOR_OTHER ? "other" : quant_of(tensor->type)->name);
    for (int d = 0; d < tensor->n_dims; d++)
        text_printf(&line, "%s%lld", d ? "," : "", (long long)tensor->shape[d]);
    text_printf(&line, "],\"sha256\":\"%s\"}", hash);
    fprintf(out, "%s\n", line.failed ? "" : line.data);
    text_done(&line);
    return 0;
}

int weights_command(const char *folder, FILE *out, struct err *err)
{
    struct safetensors *weights = NULL;
    int rc = safetensors_open_model(&weights, folder, err);
    for (size_t i = 0; rc == 0 && i < safetensors_count(weights); i++)
        rc = write_tensor(safetensors_at(weights, i), out, err);
    safetensors_close(weights);
    return rc;
}
