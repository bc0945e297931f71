/* Augmentation: altered copies of training rows (docs/data.md). The training split alone, after every choice of rows,
 * drawn from (seed, RNG_AUGMENT, copy, row), so that the same trial always learns from the same copies. */
#ifndef TRAINER_AUGMENT_H
#define TRAINER_AUGMENT_H

#include "trainer/rows.h"

enum augment_operation {
    AUGMENT_SYNONYM,          /* words of the list become one of their synonyms */
    AUGMENT_SWAP,             /* two words change places */
    AUGMENT_DELETE,           /* words are left out, each with the rate's probability; one stays */
    AUGMENT_INSERT,           /* a synonym of a word of the text comes in somewhere */
    AUGMENT_CUTOUT,           /* a run of words is left out; one stays */
    AUGMENT_BACK_TRANSLATION, /* the text of another column of the file */
    AUGMENT_COPY              /* nothing is altered: what more steps alone would do */
};

/* "word: synonym, synonym" a line; '#' begins a comment. */
struct synonyms;
/* ERR_DATA: "'file', line 3: …"; ERR_NOT_FOUND. */
int synonyms_read(struct synonyms **synonyms, const char *path, struct err *err) MUST_CHECK;
void synonyms_free(struct synonyms *synonyms); /* NULL is fine */

/* The altered text in `arena`, words separated by single spaces; NULL without memory. `rate` is the share of the words
 * that is altered, at least one. `synonyms` may be NULL for what needs none. Wei & Zou 2019, arXiv:1901.11196 */
const char *augment_text(const char *text, enum augment_operation operation, double rate,
                         const struct synonyms *synonyms, uint64_t seed, uint32_t copy, uint32_t row,
                         struct arena *arena);

/* Adds the copies that the settings ask for behind the training rows: `augmentation_copies` of each, the operations in
 * turn. `path` and `task` are those the rows were read by (back_translation reads another column of it). *added: how
 * many. ERR_USAGE for settings that do not go together, ERR_DATA for a row whose other text is missing. */
int augment_rows(struct rows *rows, const char *path, const cJSON *task, const cJSON *settings, uint64_t seed,
                 size_t *added, struct err *err) MUST_CHECK;

#endif
