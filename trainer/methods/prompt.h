/* What prompt tuning and P-tuning share: rows inserted into every sequence. */
#ifndef TRAINER_METHODS_PROMPT_H
#define TRAINER_METHODS_PROMPT_H

#include "trainer/methods/prompt_encoder.h"

struct prompt {
    struct prompt_encoder encoder;
    int length;        /* rows inserted: the first of the encoder's */
    bool behind_first; /* behind each sequence's first token instead of in front of it */
    bool is_in_hidden; /* behind position embeddings and norm, as AdapterHub has it, instead of among the words */
};

int prompt_length(const cJSON *settings);
/* PEFT gives an encoder-decoder model the prompt twice and reads the first one: 2, else 1. */
int prompt_copies(const struct model *model);
/* A prompt that `kind` keeps, without its encoder. */
int prompt_new(struct model *model, const cJSON *settings, const struct method_kind *kind, struct prompt **prompt,
               struct err *err) MUST_CHECK;
/* Hooks it into the (first) embedding, whose positions it takes. ERR_UNSUPPORTED when it leaves no positions. */
int prompt_insert(struct model *model, struct prompt *prompt, struct err *err) MUST_CHECK;
/* The first site of a kind and role (NULL: any) in the encoder, or in the decoder. */
struct site *prompt_find_site(const struct model *model, enum site_kind kind, const char *role, bool is_decoder);
/* Takes positions away from sequences. ERR_UNSUPPORTED when none are left. */
int prompt_take_positions(struct model *model, int n, struct err *err) MUST_CHECK;

#endif
