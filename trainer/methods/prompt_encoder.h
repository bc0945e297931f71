/* What prompt methods train: rows of numbers, as they are or as a small network gives them. */
#ifndef TRAINER_METHODS_PROMPT_ENCODER_H
#define TRAINER_METHODS_PROMPT_ENCODER_H

#include "trainer/methods/method_file.h"

enum { PROMPT_MAX_LSTM_LAYERS = 8 };

enum prompt_network {
    PROMPT_FLAT, /* the embedding itself */
    PROMPT_TANH, /* linear, tanh, linear: prefix tuning's */
    PROMPT_MLP,  /* linear, ReLU, linear, ReLU, linear: P-tuning's */
    PROMPT_LSTM  /* bidirectional LSTM layers, linear, ReLU, linear: P-tuning's */
};

struct prompt_shape {
    enum prompt_network network;
    int rows;          /* of the prompt */
    int embedding;     /* width of what is embedded; of the rows themselves when flat */
    int hidden, width; /* of the network, of the rows it gives */
    int lstm_layers;
    bool is_vector; /* flat: one long vector, as AdapterHub stores a prefix */
};

struct prompt_encoder {
    struct prompt_shape shape;
    struct param *embedding, *weights[3], *biases[3];
    struct prompt_lstm {
        struct param *input_weight, *hidden_weight, *input_bias, *hidden_bias;
    } lstm[PROMPT_MAX_LSTM_LAYERS][2]; /* forwards, backwards */
};

/* Adds the tensors `embedding_name`, <network_name>.0.weight and so on, with PyTorch's starting values: embeddings
 * normal(0, 1), linear layers and LSTM uniform ±1/√in and ±1/√hidden. */
int prompt_encoder_add(struct model *model, struct prompt_encoder *encoder, const char *method,
                       struct prompt_shape shape, const char *embedding_name, const char *network_name, uint64_t seed,
                       struct err *err) MUST_CHECK;
/* The rows (rows, width); computed once a pass. */
struct value *prompt_encoder_rows(const struct prompt_encoder *encoder, struct pass *pass);

/* PEFT's files: what the encoder gives as prompt_embeddings with the head, adapter_config.json from `config` (JSON
 * members, taken) and, which PEFT leaves out and training needs to go on, prompt_encoder.safetensors. */
int prompt_encoder_save(const struct model *model, const struct prompt_encoder *encoder, const char *method,
                        struct text *config, const char *folder, struct err *err) MUST_CHECK;
/* Reads those files. ERR_UNSUPPORTED when there is an encoder and PEFT has left it out. */
int prompt_encoder_load(struct model *model, struct prompt_encoder *encoder, const char *folder,
                        struct err *err) MUST_CHECK;

#endif
