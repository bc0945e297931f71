/* Products with weights that are expanded a panel of rows at a time. */
#include "trainer/packed.h"

#include <string.h>

#include "trainer/gemm.h"
#include "trainer/quant.h"
#include "trainer/safetensors.h"

bool packed_is_possible(const struct tensor *tensor)
{
    return tensor->n_dims == 2 && tensor->type != TENSOR_OTHER && !safetensors_view(tensor) && tensor->n > 0 &&
           tensor->shape[1] <= PACKED_PANEL && tensor->shape[1] % (int64_t)quant_of(tensor->type)->elements == 0;
}

void weight_rows(const struct value *weight, int first, int n, real *out)
{
    size_t width = (size_t)weight->cols;
    if (weight->data)
        memcpy(out, weight->data + (size_t)first * width, (size_t)n * width * sizeof(real));
    else
        safetensors_read_rows(weight->packed, (size_t)first, (size_t)n, out);
}

bool weight_gemm_prepare(struct tape *tape, const struct value *w)
{
    if (!w->data && !tape->panel)
        tape->panel = tape_alloc(tape, "panel of a packed weight", PACKED_PANEL * sizeof(real));
    return !tape->failed;
}

bool weight_gemm(struct tape *tape, bool transposes, int rows, const real *x, const struct value *w, real beta, real *y)
{
    int k = transposes ? w->cols : w->rows, n = transposes ? w->rows : w->cols;
    if (w->data) {
        gemm(false, transposes, rows, n, k, 1, x, k, w->data, w->cols, beta, y, n);
        return true;
    }
    if (!weight_gemm_prepare(tape, w))
        return false;
    int at_once = PACKED_PANEL / w->cols;
    for (int first = 0; first < w->rows; first += at_once) {
        int height = w->rows - first < at_once ? w->rows - first : at_once;
        weight_rows(w, first, height, tape->panel);
        if (transposes)
            gemm(false, true, rows, height, k, 1, x, k, tape->panel, w->cols, beta, y + first, n);
        else
            gemm(false, false, rows, n, height, 1, x + first, k, tape->panel, w->cols, first == 0 ? beta : 1, y, n);
    }
    return true;
}
