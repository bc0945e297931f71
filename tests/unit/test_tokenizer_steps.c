/* Normalizers, pre-tokenizers and decoders one by one, against what the documentation of the reference library says of
 * each, and descriptions that are refused with their place. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "tests/support/temp.h"
#include "trainer/tokenizer.h"

static struct temp temp;
static struct err err;

static void setup(void)
{
    temp_open(&temp);
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(tokenizer_steps, .init = setup, .fini = teardown);

/* A tokenizer of whole words, those between the bars of `words`, from id 1; its other members as given. */
static int open_words(struct tokenizer **tokenizer, const char *words, const char *members)
{
    struct text text = {0};
    text_printf(&text, "{%s,\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[UNK]\":0", members);
    int id = 1;
    for (const char *word = words; *word; word += strcspn(word, "|"), word += *word == '|') {
        char one[64];
        snprintf(one, sizeof(one), "%.*s", (int)strcspn(word, "|"), word);
        struct text before = {0};
        text_add_json(&before, one);
        text_add_char(&before, ':');
        if (!strstr(text.data, before.data)) /* a word may come twice */
            text_printf(&text, ",%s%d", before.data, id++);
        text_done(&before);
    }
    text_add(&text, "}}}");
    cr_assert_not(text.failed);
    temp_write(&temp, "tokenizer.json", text.data, text.len);
    text_done(&text);
    return tokenizer_open(tokenizer, temp.folder, &err);
}

/* The words that a text falls into, each one of the expected: so none is unknown, and together they are those. */
static void expect_words(const char *members, const char *text, const char *words)
{
    struct tokenizer *tokenizer = NULL, *joiner = NULL;
    struct arena arena = {0};
    struct encoding encoding;
    struct text found = {0};
    cr_assert_eq(open_words(&joiner, words,
                            "\"decoder\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"[UNK]\"},"
                            "\"content\":\"?\"}"),
                 0, "%s", err.message);
    cr_assert_eq(open_words(&tokenizer, words, members), 0, "%s: %s", members, err.message);
    cr_assert_eq(tokenizer_encode_plain(tokenizer, text, 100, &arena, &encoding, &err), 0, "%s: %s", members,
                 err.message);
    for (int i = 0; i < encoding.n; i++) {
        text_add(&found, i ? "|" : "");
        cr_assert_eq(tokenizer_decode(joiner, &encoding.ids[i], 1, false, &found, &err), 0, "%s", err.message);
    }
    cr_expect_str_eq(found.data ? found.data : "", words, "%s: '%s' gave '%s', '%s' was expected", members, text,
                     found.data ? found.data : "", words);
    text_done(&found);
    arena_done(&arena);
    tokenizer_close(tokenizer);
    tokenizer_close(joiner);
}

#define SPLIT(behavior, more)                                                                                          \
    "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":\"" behavior "\"" more "}"
#define REGEX(behavior, more)                                                                                          \
    "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"-\"},\"behavior\":\"" behavior "\"" more "}"
#define NORMAL(description) "\"normalizer\":{" description "},\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}"

Test(tokenizer_steps, each_cuts_as_documented)
{
    static const char *const cases[][3] = {
        {SPLIT("Removed", ""), "the-final--countdown", "the|final|countdown"},
        {SPLIT("Isolated", ""), "the-final--countdown", "the|-|final|-|-|countdown"},
        {SPLIT("MergedWithPrevious", ""), "the-final--countdown", "the-|final-|-|countdown"},
        {SPLIT("MergedWithNext", ""), "the-final--countdown", "the|-final|-|-countdown"},
        {SPLIT("Contiguous", ""), "the-final--countdown", "the|-|final|--|countdown"},
        {REGEX("Removed", ""), "the-final--countdown", "the|final|countdown"},
        {REGEX("Isolated", ""), "the-final--countdown", "the|-|final|-|-|countdown"},
        {REGEX("MergedWithPrevious", ""), "the-final--countdown", "the-|final-|-|countdown"},
        {REGEX("MergedWithNext", ""), "the-final--countdown", "the|-final|-|-countdown"},
        {REGEX("Contiguous", ""), "the-final--countdown", "the|-|final|--|countdown"},
        {REGEX("Removed", ",\"invert\":true"), "a-b", "-"},
        {"\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}", " Hey  friend! ", "Hey|friend!"},
        {"\"pre_tokenizer\":{\"type\":\"Whitespace\"}", "Hey friend!How", "Hey|friend|!|How"},
        {"\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}", "Hey friend!!", "Hey|friend|!|!"},
        {"\"pre_tokenizer\":{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}", "Hey?!Yes", "Hey|?!|Yes"},
        {"\"pre_tokenizer\":{\"type\":\"Digits\",\"individual_digits\":true}", "ab12c", "ab|1|2|c"},
        {"\"pre_tokenizer\":{\"type\":\"Digits\"}", "ab12c", "ab|12|c"},
        {"\"pre_tokenizer\":{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"x\"}", "axbxxc", "a|b|c"},
        {"\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":"
         "\"Digits\"}]}",
         "a1 2b", "a|1|2|b"},
        {"\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"always\"}", "a b",
         "_a|_b"},
        {"\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"never\"}", "a b",
         "a|_b"},
        {NORMAL("\"type\":\"Lowercase\""), "AB \xc3\x89", "ab|\xc3\xa9"},
        {NORMAL("\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"StripAccents\"}]"),
         "\xc3\xa9t\xc3\xa9 a", "ete|a"},
        {NORMAL("\"type\":\"NFC\""), "e\xcc\x81", "\xc3\xa9"},
        {NORMAL("\"type\":\"NFKC\""), "\xef\xac\x81n", "fin"},
        {NORMAL("\"type\":\"NFKD\""), "\xef\xac\x81n", "fin"},
        {NORMAL("\"type\":\"Prepend\",\"prepend\":\"_\""), "a b", "_a|b"},
        {NORMAL("\"type\":\"Replace\",\"pattern\":{\"String\":\"ab\"},\"content\":\"x\""), "abab b", "xx|b"},
        {NORMAL("\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a+\"},\"content\":\"x\""), "aab ba", "xb|bx"},
        {"\"normalizer\":{\"type\":\"Strip\"}", " \ta ", "a"},
        {"\"normalizer\":{\"type\":\"Strip\",\"strip_left\":false}", "_a ", "_a"},
        {"\"normalizer\":{\"type\":\"Strip\",\"strip_right\":false}", " a_", "a_"},
        {NORMAL("\"type\":\"Nmt\""),
         "a\x01"
         "b\xe2\x80\x8b"
         "c",
         "ab|c"},
        {NORMAL("\"type\":\"ByteLevel\""), "\xc3\xa9", "\xc3\x83\xc2\xa9"},
        {NORMAL("\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":null,"
                "\"lowercase\":true"),
         "\xc3\x89t\xe4\xb8\xad\x01", "et|\xe4\xb8\xad"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_words(cases[i][0], cases[i][1], cases[i][2]);
}

Test(tokenizer_steps, each_decodes_as_documented)
{
    static const char *const cases[][3] = {
        /* decoder, tokens, text */
        {"null", "a|b", "a b"},
        {"{\"type\":\"Fuse\"}", "a|b", "ab"},
        {"{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}", "don|'t|want|##ed|!|.", "don 't wanted!."},
        {"{\"type\":\"WordPiece\",\"cleanup\":false}", "want|##ed|!", "wanted !"},
        {"{\"type\":\"WordPiece\",\"prefix\":\"@@\"}", "we|'ve|do not|@@s|,|I|'m|it|'s|they|'re|?",
         "we've don'ts, I'm it's they're?"},
        {"{\"type\":\"BPEDecoder\"}", "a|b</w>|c</w>", "ab c"},
        {"{\"type\":\"BPEDecoder\",\"suffix\":\"_\"}", "a_|b_", "a b"},
        {"{\"type\":\"Metaspace\"}",
         "\xe2\x96\x81"
         "a|\xe2\x96\x81"
         "b|c",
         "a bc"},
        {"{\"type\":\"Metaspace\",\"prepend_scheme\":\"never\"}",
         "\xe2\x96\x81"
         "a|b",
         " ab"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false}", "_a|_b", " a b"},
        {"{\"type\":\"ByteLevel\"}",
         "a|\xc4\xa0"
         "b|\xc3\x83|\xc2\xa9",
         "a b\xc3\xa9"},
        {"{\"type\":\"ByteLevel\"}", "\xc3\x83|a",
         "\xef\xbf\xbd"
         "a"},
        {"{\"type\":\"ByteLevel\"}", "\xe4\xb8\xad", "\xe4\xb8\xad"},
        {"{\"type\":\"ByteLevel\"}", "\xc3\xb0|\xc4\x81|a",
         "\xef\xbf\xbd\x01"
         "a"},
        {"{\"type\":\"ByteFallback\"}", "<0xC3>|<0xA9>|a",
         "\xc3\xa9"
         "a"},
        {"{\"type\":\"ByteFallback\"}", "<0xC3>|a|<0xZZ>",
         "\xef\xbf\xbd"
         "a<0xZZ>"},
        {"{\"type\":\"Strip\",\"content\":\"_\",\"start\":1,\"stop\":2}", "__a___|b", "_a_b"},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"}", "a_|_b", "a  b"},
        {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" "
         "\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1}]}",
         "_a|_b", "a b"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tokenizer *tokenizer = NULL;
        struct text found = {0}, members = {0};
        int32_t ids[32], n = 1;
        text_printf(&members, "\"decoder\":%s", cases[i][0]);
        cr_assert_eq(open_words(&tokenizer, cases[i][1], members.data), 0, "%s: %s", cases[i][0], err.message);
        for (const char *c = cases[i][1]; *c; c++)
            n += *c == '|';
        for (int32_t k = 0; k < n; k++)
            ids[k] = k + 1;
        ids[n] = 77; /* ids that there are not say nothing */
        cr_assert_eq(tokenizer_decode(tokenizer, ids, (size_t)n + 1, false, &found, &err), 0, "%s", err.message);
        cr_expect_str_eq(found.data ? found.data : "", cases[i][2], "%s of %s gave '%s', '%s' was expected",
                         cases[i][0], cases[i][1], found.data ? found.data : "", cases[i][2]);
        text_done(&found);
        text_done(&members);
        tokenizer_close(tokenizer);
    }
}

Test(tokenizer_steps, what_is_wrong_is_named)
{
    static const char *const cases[][2] = {
        {"\"decoder\":7", "decoder: a number was found, an object was expected"},
        {"\"decoder\":{}", "decoder: 'type' is missing"},
        {"\"decoder\":{\"type\":\"Sequence\"}", "'decoders' is missing"},
        {"\"decoder\":{\"type\":\"Strip\"}", "'content' is missing"},
        {"\"decoder\":{\"type\":\"Strip\",\"content\":\"\"}", "Strip with a content"},
        {"\"decoder\":{\"type\":\"Strip\",\"content\":\"a\",\"start\":-1}", "numbers of 0 to 1024"},
        {"\"decoder\":{\"type\":\"Strip\",\"content\":\"a\",\"stop\":1025}", "numbers of 0 to 1024"},
        {"\"decoder\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}", "regular expression"},
        {"\"decoder\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"}}", "'content' is missing"},
        {"\"decoder\":{\"type\":\"Replace\",\"content\":\"\"}", "decoder.pattern"},
        {"\"decoder\":{\"type\":\"WordPiece\",\"cleanup\":1}", "'cleanup'"},
        {"\"decoder\":{\"type\":\"WordPiece\",\"prefix\":1}", "'prefix'"},
        {"\"decoder\":{\"type\":\"BPEDecoder\",\"suffix\":1}", "'suffix'"},
        {"\"decoder\":{\"type\":\"Metaspace\",\"replacement\":1}", "'replacement'"},
        {"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"\"}}", "pre_tokenizer.pattern"},
        {"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"}}", "not understood at byte"},
        {"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Cut\"}",
         "behavior 'Cut', Removed"},
        {"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"invert\":1}", "'invert'"},
        {"\"pre_tokenizer\":{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"\"}", "the delimiter is empty"},
        {"\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}", "one character was expected"},
        {"\"pre_tokenizer\":{\"type\":\"Metaspace\",\"prepend_scheme\":\"often\"}", "prepend_scheme 'often'"},
        {"\"pre_tokenizer\":{\"type\":\"Digits\",\"individual_digits\":2}", "'individual_digits'"},
        {"\"pre_tokenizer\":{\"type\":\"Klingon\"}", "'Klingon' is not built in (BertPreTokenizer"},
        {"\"normalizer\":{\"type\":\"Prepend\"}", "'prepend' is missing"},
        {"\"normalizer\":{\"type\":\"Strip\",\"strip_left\":1}", "'strip_left'"},
        {"\"normalizer\":{\"type\":\"Strip\",\"strip_right\":1}", "'strip_right'"},
        {"\"normalizer\":{\"type\":\"Replace\",\"content\":\"\"}", "normalizer.pattern"},
        {"\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":1}", "'lowercase'"},
        {"\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAA\"}", "a multiple of 4"},
        {"\"post_processor\":[]", "post_processor: a list was found"},
        {"\"post_processor\":{\"type\":\"Klingon\"}", "Klingon"},
        {"\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{}],\"pair\":[]}",
         "neither SpecialToken nor"},
        {"\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"C\",\"type_id\":0}}],"
         "\"pair\":[]}",
         "sequence 'C', A or B was expected"},
        {"\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":2}}],"
         "\"pair\":[]}",
         "type_id 2, 0 or 1"},
        {"\"added_tokens\":{}", "a list of at most"},
        {"\"added_tokens\":[7]", "added_tokens: an object was expected"},
        {"\"added_tokens\":[{\"id\":1,\"content\":\"\"}]", "a content is empty"},
        {"\"added_tokens\":[{\"id\":-1,\"content\":\"x\"}]", "an id from 0 to"},
        {"\"added_tokens\":[{\"id\":9,\"content\":\"a\"}]", "has the ids"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tokenizer *tokenizer = NULL;
        cr_expect_lt(open_words(&tokenizer, "a|b", cases[i][0]), 0, "%s was taken", cases[i][0]);
        cr_expect(strstr(err.message, cases[i][1]), "%s: '%s' was expected: %s", cases[i][0], cases[i][1], err.message);
        tokenizer_close(tokenizer);
    }
}
