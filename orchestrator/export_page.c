/* The page around its data: dashboard/page.html with style, script and data put in, all of which the build embeds.
 * Text from the store reaches the page only inside JSON strings, with '<' written as \u003c, so that no name can end
 * the script element it stands in. The content security policy names the hashes of the one style and the one script,
 * so nothing else can run, whatever a name says. */
#include "orchestrator/export_page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/hash.h"

static const unsigned char page_html[] = {
#include "embed/dashboard/page.html.inc"
};
static const unsigned char page_css[] = {
#include "embed/dashboard/page.css.inc"
};
static const unsigned char page_js[] = {
#include "embed/dashboard/page.js.inc"
};

/* What stands between two marks of the template. */
struct part {
    const char *name;
    void (*add)(struct text *out, bool is_live);
};

static void add_style(struct text *out, bool is_live)
{
    (void)is_live;
    text_add_n(out, (const char *)page_css, sizeof(page_css));
}

static void add_script(struct text *out, bool is_live)
{
    (void)is_live;
    text_add_n(out, (const char *)page_js, sizeof(page_js));
}

/* 'sha256-<base64>' of an element's text, which the template keeps between two newlines. */
static void add_source_hash(struct text *out, const unsigned char *content, size_t n)
{
    struct text whole = {0};
    char hex[HASH_HEX_SIZE];
    unsigned char bytes[(HASH_HEX_SIZE - 1) / 2];
    text_add_char(&whole, '\n');
    text_add_n(&whole, (const char *)content, n);
    text_add_char(&whole, '\n');
    if (whole.failed) {
        out->failed = true;
        return;
    }
    hash_bytes(whole.data, whole.len, hex);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    text_add(out, "'sha256-");
    text_add_base64(out, bytes, sizeof(bytes));
    text_add_char(out, '\'');
    text_done(&whole);
}

static void add_policy(struct text *out, bool is_live)
{
    text_add(out, "default-src 'none'; style-src ");
    add_source_hash(out, page_css, sizeof(page_css));
    text_add(out, "; script-src ");
    add_source_hash(out, page_js, sizeof(page_js));
    text_printf(out, "; img-src data: blob:; connect-src %s; base-uri 'none'; form-action 'none'",
                is_live ? "'self'" : "'none'");
}

static void add_live(struct text *out, bool is_live)
{
    text_add(out, is_live ? "live" : "file");
}

static const struct part parts[] = {
    {"page.css", add_style}, {"page.js", add_script}, {"policy", add_policy}, {"kind", add_live}};

static void add_part(struct text *out, const char *name, size_t n, bool is_live)
{
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strlen(parts[i].name) == n && memcmp(parts[i].name, name, n) == 0)
            parts[i].add(out, is_live);
}

/* Copies a piece of the template, with each @@name@@ replaced by what belongs there. */
static void add_template(struct text *out, const char *rest, const char *end, bool is_live)
{
    while (rest < end) {
        const char *mark = memmem(rest, (size_t)(end - rest), "@@", 2);
        const char *close = mark ? memmem(mark + 2, (size_t)(end - mark - 2), "@@", 2) : NULL;
        if (!close) {
            text_add_n(out, rest, (size_t)(end - rest));
            return;
        }
        text_add_n(out, rest, (size_t)(mark - rest));
        add_part(out, mark + 2, (size_t)(close - mark - 2), is_live);
        rest = close + 2;
    }
}

static const char data_mark[] = "@@data@@";

static void add_head(struct text *out, bool is_live)
{
    const char *begin = (const char *)page_html;
    add_template(out, begin, memmem(begin, sizeof(page_html), data_mark, strlen(data_mark)), is_live);
}

static void add_tail(struct text *out, bool is_live)
{
    const char *begin = (const char *)page_html;
    const char *mark = memmem(begin, sizeof(page_html), data_mark, strlen(data_mark));
    add_template(out, mark + strlen(data_mark), begin + sizeof(page_html), is_live);
}

void export_page_shell(struct text *out, bool is_live)
{
    add_head(out, is_live);
    add_tail(out, is_live);
}

/* Writing ------------------------------------------------------------------------------------------------------------
 */

enum { PIECE_BYTES = 64 << 10 };

struct writer {
    export_take_fn take;
    void *context;
    struct text piece;
};

static int write_piece(struct writer *writer, struct err *err)
{
    int rc = writer->piece.failed ? err_set(err, ERR_NOMEM, "no memory for a page")
                                  : writer->take(writer->piece.data, writer->piece.len, writer->context, err);
    text_reset(&writer->piece);
    return rc;
}

/* A character as \uXXXX, two of them beyond the basic plane. */
static void add_escaped(struct text *out, uint32_t code)
{
    if (code >= 0x10000)
        text_printf(out, "\\u%04x", (unsigned)(0xd800 + ((code - 0x10000) >> 10)));
    text_printf(out, "\\u%04x", (unsigned)(code >= 0x10000 ? 0xdc00 + (code & 0x3ff) : code));
}

/* Inside JSON '<' stands only in strings, where \u003c means the same. Other characters than ASCII are escaped too: one
 * of them would make the browser keep the whole text in twice the memory. */
static int take_data(const char *json, size_t len, void *context, struct err *err)
{
    struct writer *writer = context;
    const char *rest = json, *end = json + len;
    int rc = 0;
    while (rest < end && rc == 0) {
        size_t n = 0, most = (size_t)(end - rest) < PIECE_BYTES ? (size_t)(end - rest) : PIECE_BYTES;
        while (n < most && rest[n] != '<' && (unsigned char)rest[n] < 0x80)
            n++;
        text_add_n(&writer->piece, rest, n);
        rest += n;
        if (n < most) {
            add_escaped(&writer->piece, utf8_decode(rest, (size_t)(end - rest), &n));
            rest += n;
        }
        if (writer->piece.len >= PIECE_BYTES || writer->piece.failed)
            rc = write_piece(writer, err);
    }
    return rc;
}

static int write_page(export_take_fn take, void *context, struct store *store, const char *const *names, int n_names,
                      bool is_live, struct err *err)
{
    struct writer writer = {take, context, {0}};
    add_head(&writer.piece, is_live);
    int rc = write_piece(&writer, err);
    if (rc == 0)
        rc = export_page_data(take_data, &writer, store, names, n_names, err);
    add_tail(&writer.piece, is_live);
    if (rc == 0)
        rc = write_piece(&writer, err);
    text_done(&writer.piece);
    return rc;
}

static int take_text(const char *piece, size_t n, void *context, struct err *err)
{
    struct text *out = context;
    text_add_n(out, piece, n);
    return out->failed ? err_set(err, ERR_NOMEM, "no memory for a page") : 0;
}

int export_page(struct text *out, struct store *store, const char *const *names, int n_names, struct err *err)
{
    return write_page(take_text, out, store, names, n_names, false, err);
}

static int write_output(const struct text *page, struct err *err)
{
    for (size_t done = 0; done < page->len;) {
        ssize_t n = write(STDOUT_FILENO, page->data + done, page->len - done);
        if (n < 0 && errno != EINTR)
            return err_set_errno(err, "cannot write the page to standard output");
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* As a whole, since nothing is printed of a page that cannot be made. */
static int print_page(struct store *store, const char *const *names, int n_names, bool is_live, struct err *err)
{
    struct text page = {0};
    int rc = write_page(take_text, &page, store, names, n_names, is_live, err);
    if (rc == 0)
        rc = write_output(&page, err);
    text_done(&page);
    return rc;
}

static int take_file(const char *piece, size_t n, void *context, struct err *err)
{
    return file_write_add(context, piece, n, err);
}

int export_page_file(const char *path, struct store *store, const char *const *names, int n_names, bool is_live,
                     struct err *err)
{
    struct file_write file = {0};
    if (text_equal(path, "-"))
        return print_page(store, names, n_names, is_live, err);
    char *folder = file_folder(path);
    int rc = folder ? file_make_folders(folder, err) : err_set(err, ERR_NOMEM, "%s: no memory", path);
    if (rc == 0)
        rc = file_write_begin(&file, path, err);
    if (rc == 0)
        rc = write_page(take_file, &file, store, names, n_names, is_live, err);
    if (rc == 0)
        rc = file_write_commit(&file, err);
    file_write_abandon(&file);
    free(folder);
    return rc;
}
