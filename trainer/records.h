/* Records: what the trainer says, a JSON line each on one stream (docs/protocol.md). */
#ifndef TRAINER_RECORDS_H
#define TRAINER_RECORDS_H

#include <stdint.h>
#include <stdio.h>

#include "common/text.h"

/* Buffers curve points so that they travel in batches, always in front of the record that follows them. */
struct records {
    FILE *out;
    int64_t attempt, seq;
    struct text points; /* [name, step, value],… that were not sent yet */
    struct text line;
    bool failed; /* the stream is gone */
};

void records_init(struct records *records, FILE *out, int64_t attempt);
void records_done(struct records *records);
/* A point of a curve; value NaN or infinite: null. */
void records_point(struct records *records, const char *name, int64_t step, double value);
/* Sends the points that wait. */
void records_flush(struct records *records);
/* Starts a record of that type (sending the points that wait): members are appended to the text returned, each with a
 * comma in front. */
struct text *records_begin(struct records *records, const char *type);
void records_send(struct records *records);
/* ,"name":value members. */
void records_add_text(struct text *line, const char *name, const char *value);
void records_add_number(struct text *line, const char *name, double value);
void records_add_int(struct text *line, const char *name, int64_t value);

#endif
