/* Error messages, and what each code is called. */
#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int code, const char *format, ...)
{
    char message[ERR_MESSAGE_SIZE];
    va_list arguments;
    if (!err)
        return code;
    va_start(arguments, format);
    int n = vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    err->code = code;
    if (n >= 0)
        memcpy(err->message, message, n < ERR_MESSAGE_SIZE ? (size_t)n + 1 : sizeof(message));
    return code;
}

int err_set_errno(struct err *err, const char *format, ...)
{
    int number = errno;
    int code = number == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    char reason[128];
    va_list arguments;
    if (!err)
        return code;
    err->code = code;
    va_start(arguments, format);
    vsnprintf(err->message, sizeof(err->message), format, arguments);
    va_end(arguments);
    /* The GNU strerror_r: returns the text, which need not lie in the buffer. */
    const char *text = strerror_r(number, reason, sizeof(reason));
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof(err->message) - used, ": %s", text);
    return code;
}

int err_wrap(struct err *err, const char *format, ...)
{
    char inner[ERR_MESSAGE_SIZE];
    va_list arguments;
    if (!err)
        return ERR_INTERNAL;
    memcpy(inner, err->message, sizeof(inner));
    va_start(arguments, format);
    vsnprintf(err->message, sizeof(err->message), format, arguments);
    va_end(arguments);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof(err->message) - used, ": %s", inner);
    return err->code;
}

const char *err_name(int code)
{
    switch (code) {
#define X(name, value, status)                                                                                         \
    case value:                                                                                                        \
        return #name;
        ERR_CODES(X)
#undef X
    default:
        return code == 0 ? "OK" : "ERR_UNKNOWN";
    }
}

int err_exit_status(int code)
{
    switch (code) {
#define X(name, value, status)                                                                                         \
    case value:                                                                                                        \
        return status;
        ERR_CODES(X)
#undef X
    default:
        return code == 0 ? 0 : 70;
    }
}
