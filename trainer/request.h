/* What the commands beside training are asked for: one JSON line on standard input. */
#ifndef TRAINER_REQUEST_H
#define TRAINER_REQUEST_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "common/err.h"

/* The next line as an object, owned by the caller also after a failure. ERR_FORMAT says what was found instead. */
int request_read(FILE *in, cJSON **request, struct err *err) MUST_CHECK;

#endif
