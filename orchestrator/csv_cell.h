/* A cell of a CSV file (RFC 4180): quoted only when it has to be. */
#ifndef ORCHESTRATOR_CSV_CELL_H
#define ORCHESTRATOR_CSV_CELL_H

#include "common/text.h"

/* NULL is an empty cell. */
void csv_cell_add(struct text *out, const char *s);

#endif
