/* Unicode normal forms. */
#include "common/normal_form.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

const char *const normal_forms[] = {"none", "NFC", "NFD", "NFKC", "NFKD", NULL};

int normal_form_check(const char *form, struct err *err)
{
    for (const char *const *name = normal_forms; *name; name++)
        if (strcmp(*name, form) == 0)
            return 0;
    const char *near = text_nearest(form, normal_forms);
    return err_set(err, ERR_USAGE, "'%s', none, NFC, NFD, NFKC or NFKD was expected%s%s%s", form,
                   near ? "; nearest is '" : "", near ? near : "", near ? "'" : "");
}

int normal_form_add(struct text *out, const char *form, const char *utf8, struct err *err)
{
    utf8proc_uint8_t *mapped = NULL;
    int rc = normal_form_check(form, err);
    if (rc < 0)
        return rc;
    if (strcmp(form, "none") == 0) {
        text_add(out, utf8);
        return out->failed ? err_set(err, ERR_NOMEM, "no memory for a text") : 0;
    }
    bool is_compatible = form[2] == 'K', is_decomposed = form[is_compatible ? 3 : 2] == 'D';
    int options = UTF8PROC_NULLTERM | UTF8PROC_STABLE | (is_decomposed ? UTF8PROC_DECOMPOSE : UTF8PROC_COMPOSE) |
                  (is_compatible ? UTF8PROC_COMPAT : 0);
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)utf8, 0, &mapped, (utf8proc_option_t)options);
    if (n < 0)
        return err_set(err, n == UTF8PROC_ERROR_NOMEM ? ERR_NOMEM : ERR_FORMAT, "a text has no normal form: %s",
                       utf8proc_errmsg(n));
    text_add_n(out, (const char *)mapped, (size_t)n);
    free(mapped);
    return out->failed ? err_set(err, ERR_NOMEM, "no memory for a text") : 0;
}
