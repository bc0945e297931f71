/* What the tokens of a trial's data are told apart by: the task their row belongs to, and how frequent they are. */
#ifndef TRAINER_TOKEN_KINDS_H
#define TRAINER_TOKEN_KINDS_H

#include "trainer/dataset.h"
#include "trainer/model.h"

/* Tasks that the training rows name, bytewise in order (the names stay the rows'); 0 when the data names none. */
int token_kinds_read(struct token_kinds *kinds, const struct rows *train, struct arena *arena,
                     struct err *err) MUST_CHECK;
/* Gives every example its task. ERR_DATA with file and line for a task without training rows. */
int token_kinds_assign(const struct token_kinds *kinds, struct dataset *dataset, const struct rows *rows,
                       struct err *err) MUST_CHECK;
/* Bands of frequency, by all tokens that models read of the training examples. */
int token_kinds_count(struct token_kinds *kinds, const struct dataset *train, int vocab_size, struct arena *arena,
                      struct err *err) MUST_CHECK;

#endif
