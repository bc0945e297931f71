/* Copies of store operations that own what they point to. */
#ifndef ORCHESTRATOR_STORE_COPY_H
#define ORCHESTRATOR_STORE_COPY_H

#include "orchestrator/store_op.h"

/* All of ops and what they point to in one heap block, owned by the caller: free(). *bytes is its size.
 * ERR_NOMEM; ERR_INTERNAL for a kind that does not exist or a point without a name. */
int store_copy_ops(const struct store_op *ops, size_t n, struct store_op **copy, size_t *bytes,
                   struct err *err) MUST_CHECK;

#endif
