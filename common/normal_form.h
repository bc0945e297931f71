/* Unicode normal forms of texts (UAX 15), by utf8proc. */
#ifndef COMMON_NORMAL_FORM_H
#define COMMON_NORMAL_FORM_H

#include "common/text.h"

/* "none", "NFC", "NFD", "NFKC", "NFKD"; NULL-terminated. */
extern const char *const normal_forms[];
/* ERR_USAGE for another name, with the nearest. */
int normal_form_check(const char *form, struct err *err) MUST_CHECK;
/* Appends the form of `utf8`, which is valid UTF-8; "none" appends it as it is. ERR_NOMEM; ERR_USAGE for an unknown
 * form. */
int normal_form_add(struct text *out, const char *form, const char *utf8, struct err *err) MUST_CHECK;

#endif
