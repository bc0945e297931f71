/* Reading a request. */
#include "trainer/request.h"

#include <stdlib.h>

#include "common/json.h"

int request_read(FILE *in, cJSON **request, struct err *err)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n = getline(&line, &capacity, in);
    int rc = n > 0 ? json_parse(line, (size_t)n, request, err) : err_set(err, ERR_FORMAT, "a request was expected");
    free(line);
    if (rc == 0 && !cJSON_IsObject(*request))
        rc = err_set(err, ERR_FORMAT, "request: %s was found, an object was expected", json_type_name(*request));
    return rc;
}
