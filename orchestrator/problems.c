/* Collects everything that is wrong with a file, so that a person corrects it in one round. */
#include "orchestrator/problems.h"

#include <stdarg.h>
#include <stdio.h>

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

void problems_add_err(struct problems *problems, const struct err *err)
{
    problems_add(problems, "%s", err->message);
}

void problems_done(struct problems *problems)
{
    text_done(&problems->list);
    problems->n = 0;
}

int problems_result(const struct problems *problems, const char *path, struct err *err)
{
    if (problems->n == 0)
        return 0;
    if (problems->list.failed)
        return err_set(err, ERR_NOMEM, "'%s': no memory for its %d problems", path, problems->n);
    int len = (int)problems->list.len;
    while (len > 0 && problems->list.data[len - 1] == '\n')
        len--;
    char more[64] = "";
    if (problems->n > PROBLEMS_MAX)
        snprintf(more, sizeof(more), " (the first %d are listed)", PROBLEMS_MAX);
    return err_set(err, ERR_USAGE, "'%s': %d problem%s%s\n%.*s", path, problems->n, problems->n == 1 ? "" : "s", more,
                   len, problems->list.data);
}
