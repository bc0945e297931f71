/* Errors: how every function that can fail says so.
 *
 * A function that can fail returns 0 or a negative `enum err_code` and takes `struct err *err` as its
 * last parameter. The code steers the caller; the message is for the person who reads it: what went
 * wrong, where, and what was expected. Outputs are untouched on failure. */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))

enum { ERR_MESSAGE_SIZE = 16384 }; /* room for every problem of a wrong definition */

/* X(name, value, exit status of a program that ends with it) */
#define ERR_CODES(X)                                                                                                   \
    X(ERR_USAGE, -1, 2)       /* the command line or the definition is wrong */                                        \
    X(ERR_FORMAT, -2, 2)      /* a file or message does not have the form it must have */                              \
    X(ERR_NOT_FOUND, -3, 2)   /* something named does not exist */                                                     \
    X(ERR_UNSUPPORTED, -4, 2) /* well formed, but nothing here can do it */                                            \
    X(ERR_IO, -5, 3)          /* the operating system refused */                                                       \
    X(ERR_NOMEM, -6, 3)       /* memory or a named maximum is used up */                                               \
    X(ERR_STORE, -7, 3)       /* SQLite refused, or the store is not what it must be */                                \
    X(ERR_BUSY, -8, 3)        /* somebody else holds it */                                                             \
    X(ERR_NUMERIC, -9, 1)     /* NaN or infinity where a number must be */                                             \
    X(ERR_CANCELED, -10, 1)   /* asked to stop */                                                                      \
    X(ERR_DATA, -11, 2)       /* a data row is wrong: file and line are in the message */                              \
    X(ERR_INTERNAL, -70, 70)  /* our bug */

enum err_code {
#define X(name, value, status) name = value,
    ERR_CODES(X)
#undef X
};

struct err {
    int code;
    char message[ERR_MESSAGE_SIZE];
};

/* Writes the message (truncated to fit) and the code into `err` (which may be NULL) and returns `code`,
 * so that a failing branch is one line: return err_set(err, ERR_FORMAT, "…"). The arguments may be of `err` itself. */
int err_set(struct err *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Like err_set with ": " and strerror(errno) behind the text; the code is ERR_IO, or ERR_NOT_FOUND for ENOENT. */
int err_set_errno(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " in front of the message that is there and returns its code. */
int err_wrap(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Name of the code ("ERR_FORMAT"), and the exit status of a program that ends with it. */
const char *err_name(int code);
int err_exit_status(int code);

#endif
