/* Finding a tokenizer's mask. */
#include "trainer/mask_token.h"

int mask_token_find(const struct tokenizer *tokenizer, int32_t *id, const char **text, struct err *err)
{
    static const char *const masks[] = {"[MASK]", "<mask>"};
    struct arena arena = {0};
    struct encoding found, unknown;
    bool is_found = false;
    int rc = tokenizer_encode_plain(tokenizer, "\xee\x80\x80\xee\x80\x81", 8, &arena, &unknown, err);
    for (int i = 0; i < 2 && rc == 0 && !is_found; i++) {
        rc = tokenizer_encode_plain(tokenizer, masks[i], 8, &arena, &found, err);
        is_found = rc == 0 && found.n == 1 && !(unknown.n == 1 && unknown.ids[0] == found.ids[0]);
        if (is_found) {
            *id = found.ids[0];
            if (text)
                *text = masks[i];
        }
    }
    arena_done(&arena);
    if (rc == 0 && !is_found)
        rc = err_set(err, ERR_UNSUPPORTED, "the tokenizer has neither a token '[MASK]' nor '<mask>'");
    return rc;
}
