/* The networks of prompt methods, and PEFT's files of them. */
#include "trainer/methods/prompt_encoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/safetensors.h"

static int add_linear(struct model *model, struct prompt_encoder *encoder, const char *method, int index, int in,
                      int out, const char *name, uint64_t seed, struct err *err)
{
    /* Activations stand between the layers in PyTorch's numbering. */
    int rc = method_add(model, &encoder->weights[index], (struct method_param){method, -1, out, in, false}, err,
                        "%s.%d.weight", name, 2 * index);
    if (rc == 0)
        rc = method_add(model, &encoder->biases[index], (struct method_param){method, -1, 0, out, false}, err,
                        "%s.%d.bias", name, 2 * index);
    if (rc == 0)
        method_init_linear(encoder->weights[index], encoder->biases[index], seed);
    return rc;
}

static int add_lstm(struct model *model, struct prompt_encoder *encoder, const char *method, int layer, int direction,
                    uint64_t seed, struct err *err)
{
    const struct prompt_shape *shape = &encoder->shape;
    struct prompt_lstm *lstm = &encoder->lstm[layer][direction];
    int h = shape->hidden, in = layer ? 2 * h : shape->embedding;
    struct {
        struct param **param;
        int rows, cols;
        const char *part;
    } const parts[] = {{&lstm->input_weight, 4 * h, in, "weight_ih"},
                       {&lstm->hidden_weight, 4 * h, h, "weight_hh"},
                       {&lstm->input_bias, 0, 4 * h, "bias_ih"},
                       {&lstm->hidden_bias, 0, 4 * h, "bias_hh"}};
    int rc = 0;
    for (size_t i = 0; i < 4 && rc == 0; i++) {
        struct method_param what = {method, -1, parts[i].rows, parts[i].cols, false};
        rc = method_add(model, parts[i].param, what, err, "prompt_encoder.lstm_head.%s_l%d%s", parts[i].part, layer,
                        direction ? "_reverse" : "");
        if (rc == 0)
            method_init_uniform(*parts[i].param, seed, 1 / sqrt((double)h));
    }
    return rc;
}

static int add_network(struct model *model, struct prompt_encoder *encoder, const char *method, const char *name,
                       uint64_t seed, struct err *err)
{
    const struct prompt_shape *shape = &encoder->shape;
    int h = shape->hidden, rc = 0;
    if (shape->network == PROMPT_LSTM) {
        for (int layer = 0; layer < shape->lstm_layers && rc == 0; layer++)
            for (int direction = 0; direction < 2 && rc == 0; direction++)
                rc = add_lstm(model, encoder, method, layer, direction, seed, err);
        rc = rc < 0 ? rc : add_linear(model, encoder, method, 0, 2 * h, 2 * h, name, seed, err);
        return rc < 0 ? rc : add_linear(model, encoder, method, 1, 2 * h, shape->width, name, seed, err);
    }
    rc = add_linear(model, encoder, method, 0, shape->embedding, h, name, seed, err);
    if (rc == 0 && shape->network == PROMPT_MLP)
        rc = add_linear(model, encoder, method, 1, h, h, name, seed, err);
    int last = shape->network == PROMPT_MLP ? 2 : 1;
    return rc < 0 ? rc : add_linear(model, encoder, method, last, h, shape->width, name, seed, err);
}

int prompt_encoder_add(struct model *model, struct prompt_encoder *encoder, const char *method,
                       struct prompt_shape shape, const char *embedding_name, const char *network_name, uint64_t seed,
                       struct err *err)
{
    int cols = shape.network == PROMPT_FLAT ? shape.width : shape.embedding;
    struct method_param what = {method, -1, shape.is_vector ? 0 : shape.rows,
                                shape.is_vector ? shape.rows * cols : cols, false};
    encoder->shape = shape;
    int rc = method_add(model, &encoder->embedding, what, err, "%s", embedding_name);
    if (rc < 0)
        return rc;
    encoder->embedding->never_decays = true; /* rows of an embedding */
    encoder->embedding->is_bias_or_norm = false;
    method_init_normal(encoder->embedding, seed, 1);
    return shape.network == PROMPT_FLAT ? 0 : add_network(model, encoder, method, network_name, seed, err);
}

static struct value *linear(struct tape *tape, const struct prompt_encoder *encoder, int index, struct value *x)
{
    return op_linear(tape, x, &encoder->weights[index]->value, &encoder->biases[index]->value);
}

static struct value *lstm_layers(struct tape *tape, const struct prompt_encoder *encoder, struct value *x)
{
    for (int layer = 0; layer < encoder->shape.lstm_layers; layer++) {
        struct value *sides[2];
        for (int d = 0; d < 2; d++) {
            const struct prompt_lstm *lstm = &encoder->lstm[layer][d];
            const struct lstm weights = {&lstm->input_weight->value, &lstm->hidden_weight->value,
                                         &lstm->input_bias->value, &lstm->hidden_bias->value, d == 1};
            sides[d] = op_lstm(tape, x, &weights);
        }
        x = op_beside(tape, sides[0], sides[1]);
    }
    return x;
}

static struct value *compute(struct tape *tape, const struct prompt_encoder *encoder)
{
    const struct prompt_shape *shape = &encoder->shape;
    int cols = shape->network == PROMPT_FLAT ? shape->width : shape->embedding;
    struct value *x = op_reshape(tape, &encoder->embedding->value, shape->rows, cols);
    switch (shape->network) {
    case PROMPT_FLAT:
        return x;
    case PROMPT_TANH:
        return linear(tape, encoder, 1, op_activation(tape, linear(tape, encoder, 0, x), ACTIVATION_TANH));
    case PROMPT_MLP:
        x = op_activation(tape, linear(tape, encoder, 0, x), ACTIVATION_RELU);
        return linear(tape, encoder, 2, op_activation(tape, linear(tape, encoder, 1, x), ACTIVATION_RELU));
    case PROMPT_LSTM:
        x = lstm_layers(tape, encoder, x);
        return linear(tape, encoder, 1, op_activation(tape, linear(tape, encoder, 0, x), ACTIVATION_RELU));
    }
    return NULL;
}

struct value *prompt_encoder_rows(const struct prompt_encoder *encoder, struct pass *pass)
{
    struct value *rows = pass_kept(pass, encoder);
    if (!rows)
        pass_keep(pass, encoder, rows = compute(pass->tape, encoder));
    return rows;
}

/* PEFT's files ----------------------------------------------------------------------------------------------------- */

static int write_embeddings(const struct model *model, const struct prompt_encoder *encoder, const char *path,
                            struct err *err)
{
    struct arena arena = {0}, step = {0};
    struct tape tape = {0};
    tape_begin(&tape, &step);
    struct value *rows = compute(&tape, encoder);
    int rc = tape_check(&tape, err);
    const int64_t shape[2] = {encoder->shape.rows, encoder->shape.width};
    struct tensor_source *tensors = arena_calloc(&arena, model->params.count + 1, sizeof(*tensors));
    size_t n = 0;
    if (rc == 0 && tensors)
        tensors[n++] = (struct tensor_source){"prompt_embeddings", 2, shape, rows->data};
    for (size_t i = 0; rc == 0 && tensors && i < model->params.count; i++) {
        const struct param *param = model->params.items[i];
        if (param->origin == PARAM_HEAD && param->is_trained)
            tensors[n++] = (struct tensor_source){arena_printf(&arena, "base_model.%s", param->name), param->n_dims,
                                                  param->shape, param->value.data};
    }
    if (rc == 0)
        rc = tensors ? safetensors_write(path, tensors, n, err) : err_set(err, ERR_NOMEM, "no memory to save a prompt");
    arena_done(&arena);
    arena_done(&step);
    return rc;
}

/* What a parameter is called below "prompt_encoder.". */
static const char *encoder_key(const struct param *param)
{
    return param->name + strlen("prompt_encoder.");
}

static bool is_part(const struct param *param)
{
    return param->origin == PARAM_METHOD && strncmp(param->name, "prompt_encoder.", 15) == 0;
}

static int write_encoder(const struct model *model, const char *path, struct err *err)
{
    struct arena arena = {0};
    struct tensor_source *tensors = arena_calloc(&arena, model->params.count, sizeof(*tensors));
    size_t n = 0;
    for (size_t i = 0; tensors && i < model->params.count; i++) {
        const struct param *param = model->params.items[i];
        if (is_part(param))
            tensors[n++] = (struct tensor_source){encoder_key(param), param->n_dims, param->shape, param->value.data};
    }
    int rc = tensors ? safetensors_write(path, tensors, n, err) : err_set(err, ERR_NOMEM, "no memory to save a prompt");
    arena_done(&arena);
    return rc;
}

int prompt_encoder_save(const struct model *model, const struct prompt_encoder *encoder, const char *method,
                        struct text *config, const char *folder, struct err *err)
{
    struct text json = {0};
    char *path = file_join(folder, "adapter_model.safetensors");
    char *network = file_join(folder, "prompt_encoder.safetensors");
    int rc = path && network ? write_embeddings(model, encoder, path, err)
                             : err_set(err, ERR_NOMEM, "no memory to save '%s'", method);
    if (rc == 0 && encoder->shape.network != PROMPT_FLAT)
        rc = write_encoder(model, network, err);
    if (rc == 0) {
        text_printf(&json, "{\"task_type\":\"%s\",\"inference_mode\":true,", method_task_type(model));
        text_printf(&json, "\"modules_to_save\":%s,\"base_model_name_or_path\":null,\"revision\":null,%s}",
                    model->n_classes > 0 ? "[\"classifier\",\"score\"]" : "null", config->failed ? "" : config->data);
        rc = config->failed ? err_set(err, ERR_NOMEM, "no memory to save '%s'", method)
                            : method_file_write_text(folder, "adapter_config.json", &json, err);
    }
    text_done(config);
    free(path);
    free(network);
    return rc;
}

static int read_into(struct param *param, const struct safetensors *file, const char *key, struct err *err)
{
    const struct tensor *tensor = safetensors_find(file, key);
    if (!tensor)
        return err_set(err, ERR_NOT_FOUND, "tensor '%s' is missing", key);
    if (tensor->n != param_size(param) || tensor->n_dims != param->n_dims || tensor->shape[0] != param->shape[0])
        return err_set(err, ERR_FORMAT, "tensor '%s' has %zu elements in another shape than '%s' (%d x %d)", key,
                       tensor->n, param->name, param->value.rows, param->value.cols);
    return safetensors_read(tensor, param->value.data, err);
}

static int read_encoder(struct model *model, const char *path, struct err *err)
{
    struct safetensors *file = NULL;
    int rc = safetensors_open(&file, path, err);
    for (size_t i = 0; rc == 0 && i < model->params.count; i++)
        if (is_part(model->params.items[i]))
            rc = read_into(model->params.items[i], file, encoder_key(model->params.items[i]), err);
    if (rc < 0)
        err_wrap(err, "'%s'", path);
    safetensors_close(file);
    return rc;
}

static int read_embeddings(struct model *model, struct prompt_encoder *encoder, const char *path, struct err *err)
{
    struct safetensors *file = NULL;
    int rc = safetensors_open(&file, path, err);
    if (rc == 0 && encoder->shape.network == PROMPT_FLAT)
        rc = read_into(encoder->embedding, file, "prompt_embeddings", err);
    for (size_t i = 0; rc == 0 && i < model->params.count; i++) {
        struct param *param = model->params.items[i];
        char key[512];
        snprintf(key, sizeof(key), "base_model.%s", param->name);
        if (param->origin == PARAM_HEAD && param->is_trained && safetensors_find(file, key))
            rc = read_into(param, file, key, err);
    }
    if (rc < 0)
        err_wrap(err, "'%s'", path);
    safetensors_close(file);
    return rc;
}

int prompt_encoder_load(struct model *model, struct prompt_encoder *encoder, const char *folder, struct err *err)
{
    char *path = file_join(folder, "adapter_model.safetensors");
    char *network = file_join(folder, "prompt_encoder.safetensors");
    int rc = path && network ? read_embeddings(model, encoder, path, err)
                             : err_set(err, ERR_NOMEM, "no memory to load a prompt");
    if (rc == 0 && encoder->shape.network != PROMPT_FLAT)
        rc = file_exists(network) ? read_encoder(model, network, err)
                                  : err_set(err, ERR_UNSUPPORTED,
                                            "'%s' has no prompt_encoder.safetensors: PEFT saves what the encoder gives "
                                            "and not the encoder, so training cannot go on from it",
                                            folder);
    free(path);
    free(network);
    return rc;
}
