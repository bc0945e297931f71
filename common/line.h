/* Lines out of a byte stream that the kernel may cut anywhere; a line longer than the maximum is refused. */
#ifndef COMMON_LINE_H
#define COMMON_LINE_H

#include <stddef.h>

#include "common/err.h"
#include "common/text.h"

enum { LINE_MAX_BYTES = 16 << 20 };

/* A zeroed splitter is ready, with LINE_MAX_BYTES. */
struct line_splitter {
    struct text partial;
    size_t max_bytes;
};

/* Called for each complete line, without its newline, NUL-terminated and writable, valid during the call. */
typedef int (*line_fn)(char *line, size_t len, void *context, struct err *err);

/* Takes len bytes and calls on_line for each line they complete. Stops at the first error of on_line and returns it;
 * ERR_FORMAT for a line beyond max_bytes or with a NUL byte. */
int line_splitter_feed(struct line_splitter *splitter, const char *data, size_t len, line_fn on_line, void *context,
                       struct err *err) MUST_CHECK;
/* ERR_FORMAT when the stream ended inside a line. */
int line_splitter_end(struct line_splitter *splitter, struct err *err) MUST_CHECK;
void line_splitter_done(struct line_splitter *splitter);

#endif
