/* Unicode properties and normalisation as the reference tokenizers have them: their category tables are those of
 * Unicode 8, so characters that came later count as neither punctuation, format nor mark. */
#include "trainer/tokenizer_text.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

void codes_add(struct codes *codes, int32_t code)
{
    if (codes->n == codes->capacity && !codes->failed) {
        size_t capacity = codes->capacity ? 2 * codes->capacity : 256;
        int32_t *grown = realloc(codes->items, capacity * sizeof(*grown));
        codes->failed = grown == NULL;
        if (grown) {
            codes->items = grown;
            codes->capacity = capacity;
        }
    }
    if (!codes->failed)
        codes->items[codes->n++] = code;
}

void codes_done(struct codes *codes)
{
    free(codes->items);
    *codes = (struct codes){0};
}

struct range {
    int32_t first, last;
};

static bool is_in(const struct range *ranges, size_t n, int32_t code)
{
    for (size_t i = 0; i < n; i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}
#define IS_IN(ranges, code) is_in(ranges, sizeof(ranges) / sizeof((ranges)[0]), code)

static bool is_removed(int32_t code)
{
    static const struct range later[] = {
        {0x890, 0x891}, {0x8e2, 0x8e2}, {0x110cd, 0x110cd}, {0x13430, 0x1345f}, {0x1bca4, 0x1bcaf}};
    if (code == 0 || code == 0xfffd)
        return true;
    if (code == '\t' || code == '\n' || code == '\r')
        return false;
    utf8proc_category_t category = utf8proc_category(code);
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CO ||
           (category == UTF8PROC_CATEGORY_CF && !IS_IN(later, code));
}

bool text_is_white_space(int32_t code)
{
    static const struct range spaces[] = {{0x9, 0xd},       {0x20, 0x20},     {0x85, 0x85},     {0xa0, 0xa0},
                                          {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
                                          {0x205f, 0x205f}, {0x3000, 0x3000}};
    return IS_IN(spaces, code);
}

bool text_is_punctuation(int32_t code)
{
    static const struct range later[] = {
        {0x61d, 0x61d},     {0x9fd, 0x9fd},     {0xa76, 0xa76},     {0xc77, 0xc77},     {0xc84, 0xc84},
        {0x1b4e, 0x1b4f},   {0x1b7d, 0x1b7f},   {0x2e43, 0x2e5d},   {0x10d6e, 0x10d6e}, {0x10ead, 0x10ead},
        {0x10f55, 0x10f59}, {0x10f86, 0x10f89}, {0x1144b, 0x1144f}, {0x1145a, 0x1145d}, {0x11660, 0x1166c},
        {0x116b9, 0x116b9}, {0x1183b, 0x1183b}, {0x11944, 0x11946}, {0x119e2, 0x119e2}, {0x11a3f, 0x11a46},
        {0x11a9a, 0x11a9c}, {0x11a9e, 0x11aa2}, {0x11b00, 0x11b09}, {0x11c41, 0x11c45}, {0x11c70, 0x11c71},
        {0x11ef7, 0x11ef8}, {0x11f43, 0x11f4f}, {0x11fff, 0x11fff}, {0x12ff1, 0x12ff2}, {0x16e97, 0x16e9a},
        {0x16fe2, 0x16fe2}, {0x1e5ff, 0x1e5ff}, {0x1e95e, 0x1e95f}};
    if (code < 128)
        return (code >= 33 && code <= 47) || (code >= 58 && code <= 64) || (code >= 91 && code <= 96) ||
               (code >= 123 && code <= 126);
    utf8proc_category_t category = utf8proc_category(code);
    bool is_punctuation = category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
    return code == 0x166d || code == 0x111c9 || (is_punctuation && !IS_IN(later, code));
}

static bool is_cjk(int32_t code)
{
    static const struct range ideographs[] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},
                                              {0x20000, 0x2a6df}, {0x2a700, 0x2b81f}, {0x2b920, 0x2ceaf},
                                              {0x2f800, 0x2fa1f}};
    return IS_IN(ideographs, code);
}

static void replace(struct codes *codes, struct codes *with)
{
    with->failed = with->failed || codes->failed;
    free(codes->items);
    *codes = *with;
}

static void clean(struct codes *codes)
{
    struct codes out = {0};
    for (size_t i = 0; i < codes->n; i++)
        if (!is_removed(codes->items[i]))
            codes_add(&out, text_is_white_space(codes->items[i]) ? ' ' : codes->items[i]);
    replace(codes, &out);
}

static void space_cjk(struct codes *codes)
{
    struct codes out = {0};
    for (size_t i = 0; i < codes->n; i++) {
        bool is_ideograph = is_cjk(codes->items[i]);
        if (is_ideograph)
            codes_add(&out, ' ');
        codes_add(&out, codes->items[i]);
        if (is_ideograph)
            codes_add(&out, ' ');
    }
    replace(codes, &out);
}

void text_normal_form(const char *name, struct codes *codes)
{
    int options = UTF8PROC_STABLE | (name[2] == 'D' || name[3] == 'D' ? UTF8PROC_DECOMPOSE : UTF8PROC_COMPOSE) |
                  (name[2] == 'K' ? UTF8PROC_COMPAT : 0);
    struct codes out = {0};
    for (size_t i = 0; i < codes->n; i++) {
        utf8proc_int32_t decomposed[32];
        int boundary = 0;
        utf8proc_ssize_t n = utf8proc_decompose_char(codes->items[i], decomposed, 32,
                                                     (utf8proc_option_t)(options | UTF8PROC_DECOMPOSE), &boundary);
        if (n < 0 || n > 32) { /* not assigned: stays as it is */
            decomposed[0] = codes->items[i];
            n = 1;
        }
        for (utf8proc_ssize_t k = 0; k < n; k++)
            codes_add(&out, decomposed[k]);
    }
    /* Canonical order: marks by combining class, stable. */
    for (size_t i = 1; i < out.n; i++) {
        int class = utf8proc_get_property(out.items[i])->combining_class;
        for (size_t k = i; class != 0 && k > 0 && utf8proc_get_property(out.items[k - 1])->combining_class > class;
             k--) {
            int32_t code = out.items[k];
            out.items[k] = out.items[k - 1];
            out.items[k - 1] = code;
        }
    }
    if (options & UTF8PROC_COMPOSE && out.n) {
        utf8proc_ssize_t n = utf8proc_normalize_utf32(out.items, (utf8proc_ssize_t)out.n, (utf8proc_option_t)options);
        if (n >= 0)
            out.n = (size_t)n;
    }
    replace(codes, &out);
}

static void strip_accents(struct codes *codes)
{
    static const struct range later[] = {
        {0x7fd, 0x7fd},     {0x8d3, 0x8d3},     {0x898, 0x89f},     {0x8ca, 0x8d2},     {0x8d4, 0x8e1},
        {0x9fe, 0x9fe},     {0xafa, 0xaff},     {0xb55, 0xb55},     {0xc04, 0xc04},     {0xc3c, 0xc3c},
        {0xd00, 0xd00},     {0xd3b, 0xd3c},     {0xd81, 0xd81},     {0xeba, 0xeba},     {0xece, 0xece},
        {0x1734, 0x1734},   {0x180f, 0x180f},   {0x1885, 0x1886},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfb},
        {0xa82c, 0xa82c},   {0xa8c5, 0xa8c5},   {0xa8ff, 0xa8ff},   {0xa9bd, 0xa9bd},   {0x10d24, 0x10d27},
        {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070},
        {0x11073, 0x11074}, {0x110c2, 0x110c2}, {0x111c9, 0x111c9}, {0x111cf, 0x111cf}, {0x1123e, 0x1123e},
        {0x11241, 0x11241}, {0x1133b, 0x1133b}, {0x11438, 0x1143f}, {0x11442, 0x11444}, {0x11446, 0x11446},
        {0x1145e, 0x1145e}, {0x1182f, 0x11837}, {0x11839, 0x1183a}, {0x1193b, 0x1193c}, {0x1193e, 0x1193e},
        {0x11943, 0x11943}, {0x119d4, 0x119d7}, {0x119da, 0x119db}, {0x119e0, 0x119e0}, {0x11a01, 0x11a0a},
        {0x11a33, 0x11a38}, {0x11a3b, 0x11a3e}, {0x11a47, 0x11a47}, {0x11a51, 0x11a56}, {0x11a59, 0x11a5b},
        {0x11a8a, 0x11a96}, {0x11a98, 0x11a99}, {0x11c30, 0x11c36}, {0x11c38, 0x11c3d}, {0x11c3f, 0x11c3f},
        {0x11c92, 0x11ca7}, {0x11caa, 0x11cb0}, {0x11cb2, 0x11cb3}, {0x11cb5, 0x11cb6}, {0x11d31, 0x11d36},
        {0x11d3a, 0x11d3a}, {0x11d3c, 0x11d3d}, {0x11d3f, 0x11d45}, {0x11d47, 0x11d47}, {0x11d90, 0x11d91},
        {0x11d95, 0x11d95}, {0x11d97, 0x11d97}, {0x11ef3, 0x11ef4}, {0x11f00, 0x11f01}, {0x11f36, 0x11f3a},
        {0x11f40, 0x11f40}, {0x11f42, 0x11f42}, {0x13440, 0x13440}, {0x13447, 0x13455}, {0x16f4f, 0x16f4f},
        {0x16fe4, 0x16fe4}, {0x1cf00, 0x1cf2d}, {0x1cf30, 0x1cf46}, {0x1e000, 0x1e006}, {0x1e008, 0x1e018},
        {0x1e01b, 0x1e021}, {0x1e023, 0x1e024}, {0x1e026, 0x1e02a}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136},
        {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1e944, 0x1e94a}};
    struct codes out = {0};
    text_normal_form("NFD", codes);
    for (size_t i = 0; i < codes->n; i++)
        if (codes->items[i] != 0x1734 && /* was a nonspacing mark then */
            (utf8proc_category(codes->items[i]) != UTF8PROC_CATEGORY_MN || IS_IN(later, codes->items[i])))
            codes_add(&out, codes->items[i]);
    replace(codes, &out);
}

void text_strip_marks(struct codes *codes)
{
    static const struct range later[] = {
        {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xafa, 0xaff},
        {0xb55, 0xb55},     {0xc04, 0xc04},     {0xc3c, 0xc3c},     {0xcf3, 0xcf3},     {0xd00, 0xd00},
        {0xd3b, 0xd3c},     {0xd81, 0xd81},     {0xeba, 0xeba},     {0xece, 0xece},     {0x1715, 0x1715},
        {0x180f, 0x180f},   {0x1abf, 0x1ace},   {0x1cf7, 0x1cf7},   {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},
        {0xa8ff, 0xa8ff},   {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
        {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x11073, 0x11074}, {0x110c2, 0x110c2}, {0x11145, 0x11146},
        {0x111c9, 0x111c9}, {0x111ce, 0x111cf}, {0x11241, 0x11241}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e},
        {0x1182c, 0x1183a}, {0x11930, 0x11935}, {0x11937, 0x11938}, {0x1193b, 0x1193e}, {0x11940, 0x11940},
        {0x11942, 0x11943}, {0x119d1, 0x119d7}, {0x119da, 0x119e0}, {0x119e4, 0x119e4}, {0x11a01, 0x11a0a},
        {0x11a33, 0x11a39}, {0x11a3b, 0x11a3e}, {0x11a47, 0x11a47}, {0x11a51, 0x11a5b}, {0x11a8a, 0x11a99},
        {0x11d31, 0x11d36}, {0x11d3a, 0x11d3a}, {0x11d3c, 0x11d3d}, {0x11d3f, 0x11d45}, {0x11d47, 0x11d47},
        {0x11d8a, 0x11d8e}, {0x11d90, 0x11d91}, {0x11d93, 0x11d97}, {0x11ef3, 0x11ef6}, {0x11f00, 0x11f01},
        {0x11f03, 0x11f03}, {0x11f34, 0x11f3a}, {0x11f3e, 0x11f42}, {0x13440, 0x13440}, {0x13447, 0x13455},
        {0x16f4f, 0x16f4f}, {0x16f7f, 0x16f87}, {0x16fe4, 0x16fe4}, {0x16ff0, 0x16ff1}, {0x1cf00, 0x1cf2d},
        {0x1cf30, 0x1cf46}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
        {0x1e4ec, 0x1e4ef}};
    struct codes out = {0};
    for (size_t i = 0; i < codes->n; i++) {
        int32_t code = codes->items[i];
        utf8proc_category_t category = utf8proc_category(code);
        bool is_mark = category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
                       category == UTF8PROC_CATEGORY_ME || code == 0x1cf2 || code == 0x1cf3;
        if (!is_mark || IS_IN(later, code))
            codes_add(&out, code);
    }
    replace(codes, &out);
}

void text_lowercase(struct codes *codes)
{
    struct codes out = {0};
    for (size_t i = 0; i < codes->n; i++) {
        bool is_dotted_i = codes->items[i] == 0x130; /* the one letter whose lower case is two code points */
        codes_add(&out, is_dotted_i ? 'i' : utf8proc_tolower(codes->items[i]));
        if (is_dotted_i)
            codes_add(&out, 0x307);
    }
    replace(codes, &out);
}

void text_normalize_bert(const struct bert_normalizer *options, struct codes *codes)
{
    if (options->clean_text)
        clean(codes);
    if (options->handle_chinese_chars)
        space_cjk(codes);
    if (options->strip_accents)
        strip_accents(codes);
    if (options->lowercase)
        text_lowercase(codes);
}
