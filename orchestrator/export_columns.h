/* Rows of a query as columns: what the page is fed with. A column is one base64 block of typed numbers, a dictionary
 * of texts with a block of codes, or a single value where all rows agree; 50,000 trials read as fast as 50. */
#ifndef ORCHESTRATOR_EXPORT_COLUMNS_H
#define ORCHESTRATOR_EXPORT_COLUMNS_H

#include "common/text.h"
#include "orchestrator/store.h"

/* Takes what is written, piece by piece, so that a large page is never in memory as a whole. Not 0 ends the writing and
 * is returned. */
typedef int (*export_take_fn)(const char *piece, size_t n, void *context, struct err *err);
struct export_pieces {
    export_take_fn take;
    void *context;
    struct text text; /* what was not given yet */
};
/* Gives it, and frees the text. */
int export_give(struct export_pieces *pieces, struct err *err) MUST_CHECK;

/* Appends ,"key":{"n":rows,"columns":{name:column,…}} for a query whose only parameter (?1) is the sweep's id. A
 * column:
 *   {"all":value}                       the same in every row (null where all are NULL)
 *   {"u8"|"u16"|"u32":base64}           whole numbers, little endian
 *   {"f32"|"f64":base64}                others, NULL is NaN; f32 where it loses nothing, or where `may_round` lets it
 * keep 7 digits that still tell the values apart
 *   {"texts":[…],"codes":{"u8"|…}}      code 0 is NULL, code k is texts[k−1]
 *   both of the last two                numbers and texts in one column: a row with code 0 is its number
 * Bytes that are no UTF-8 become U+FFFD. ERR_STORE, ERR_NOMEM. */
int export_columns(struct text *out, const char *key, struct store *store, const char *sql, int64_t sweep_id,
                   bool may_round, struct err *err) MUST_CHECK;
/* Appends "type":"base64…" for n whole numbers in the narrowest type that holds the largest. */
void export_whole_numbers(struct text *out, const uint32_t *numbers, size_t n);
/* `s` as a JSON string even where it is no UTF-8. */
void export_json_text(struct text *out, const char *s, size_t n);
/* "message of SQLite" as ERR_STORE, with the path in front. */
int export_sql_error(struct store *store, const char *what, struct err *err);

#endif
