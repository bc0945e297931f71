/* Collects everything that is wrong with a file, so that a person corrects it in one round. */
#include "orchestrator/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void problems_add(struct problems *problems, const char *format, ...)
{
    if (problems->n++ >= PROBLEMS_MAX)
        return;
    char line[ERR_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    text_add(&problems->list, line);
    text_add_char(&problems->list, '\n');
}

void problems_add_unknown(struct problems *problems, const char *text, const char *name, const char *const *known)
{
    struct text list = {0};
    const char *near = text_nearest(name, known);
    int n = 0;
    if (near)
        text_printf(&list, "; nearest is '%s'", near);
    while (known[n])
        n++;
    for (int i = 0; i < n && n <= PROBLEMS_KNOWN_MAX; i++)
        text_printf(&list, "%s%s", i == 0 ? "; known are " : ", ", known[i]);
    problems_add(problems, "%s%s", text, list.data && !list.failed ? list.data : "");
    text_done(&list);
}

void problems_add_err(struct problems *problems, const struct err *err)
{
    problems_add(problems, "%s", err->message);
}

void problems_done(struct problems *problems)
{
    text_done(&problems->list);
    problems->n = 0;
}

/* Length and number of the whole lines that fit into `room` bytes; at least a part of the first. */
static int fitting(const struct text *list, size_t room, int *lines)
{
    size_t length = 0;
    *lines = 0;
    for (size_t i = 0; i < list->len && i < room; i++)
        if (list->data[i] == '\n') {
            length = i;
            ++*lines;
        }
    return (int)(*lines ? length : room);
}

int problems_result(const struct problems *problems, const char *path, struct err *err)
{
    char more[64] = "";
    int listed = 0;
    if (problems->n == 0)
        return 0;
    if (problems->list.failed)
        return err_set(err, ERR_NOMEM, "'%s': no memory for its %d problems", path, problems->n);
    size_t head = strlen(path) + sizeof(more) + 40; /* the first line */
    int length =
        fitting(&problems->list, head < ERR_MESSAGE_SIZE / 2 ? ERR_MESSAGE_SIZE - head : ERR_MESSAGE_SIZE / 2, &listed);
    if (listed < problems->n && listed > 0)
        snprintf(more, sizeof(more), ", the first %d are listed", listed);
    return err_set(err, ERR_USAGE, "'%s': %d problem%s%s\n%.*s", path, problems->n, problems->n == 1 ? "" : "s", more,
                   length, problems->list.data);
}
