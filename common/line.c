/* Lines out of chunks. A line that lies whole in one chunk is still copied: the caller may write into it. */
#include "common/line.h"

#include <string.h>

static size_t max_bytes(const struct line_splitter *splitter)
{
    return splitter->max_bytes ? splitter->max_bytes : LINE_MAX_BYTES;
}

static int add_part(struct line_splitter *splitter, const char *data, size_t n, struct err *err)
{
    if (memchr(data, '\0', n))
        return err_set(err, ERR_FORMAT, "a line with a NUL byte");
    if (n > max_bytes(splitter) || splitter->partial.len > max_bytes(splitter) - n)
        return err_set(err, ERR_FORMAT, "a line longer than %zu bytes", max_bytes(splitter));
    text_add_n(&splitter->partial, data, n);
    return splitter->partial.failed ? err_set(err, ERR_NOMEM, "no memory for a line") : 0;
}

int line_splitter_feed(struct line_splitter *splitter, const char *data, size_t len, line_fn on_line, void *context,
                       struct err *err)
{
    while (len > 0) {
        const char *newline = memchr(data, '\n', len);
        size_t n = newline ? (size_t)(newline - data) : len;
        int rc = add_part(splitter, data, n, err);
        if (rc == 0 && newline) {
            /* The line is taken out first, so that on_line may feed or end the splitter's owner. */
            struct text line = splitter->partial;
            splitter->partial = (struct text){0};
            if (!line.data)
                text_add(&line, "");
            rc = line.failed ? err_set(err, ERR_NOMEM, "no memory for a line")
                             : on_line(line.data, line.len, context, err);
            text_reset(&line);
            if (!splitter->partial.data)
                splitter->partial = line;
            else
                text_done(&line);
        }
        if (rc < 0)
            return rc;
        data += n + (newline != NULL);
        len -= n + (newline != NULL);
    }
    return 0;
}

int line_splitter_end(struct line_splitter *splitter, struct err *err)
{
    if (splitter->partial.len > 0)
        return err_set(err, ERR_FORMAT, "the stream ended inside a line of %zu bytes", splitter->partial.len);
    return 0;
}

void line_splitter_done(struct line_splitter *splitter)
{
    text_done(&splitter->partial);
}
