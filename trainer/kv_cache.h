/* Keys and values of rows that a model has seen, so that generating a token reads one row and not the whole sequence.
 *
 * All sequences of a cache have the same number of rows. The first pass takes one sequence; kv_cache_spread makes the
 * others equal to it. Not for methods that look at a whole sequence at once (generate.h). */
#ifndef TRAINER_KV_CACHE_H
#define TRAINER_KV_CACHE_H

#include "trainer/model.h"

struct kv_cache;

/* Room for n_sequences of at most `capacity` rows each (and what is read of them at once). */
int kv_cache_open(struct kv_cache **cache, int n_sequences, int capacity, struct err *err) MUST_CHECK;
void kv_cache_close(struct kv_cache *cache); /* NULL is fine */
/* Rows of each sequence that later passes need not bring; what was added in a pass counts from kv_cache_end_pass on. */
int kv_cache_rows(const struct kv_cache *cache);
/* ERR_NOMEM when memory or the capacity was used up in the pass. */
int kv_cache_end_pass(struct kv_cache *cache, struct err *err) MUST_CHECK;
/* Forgets the rows behind the first `rows` of each sequence. */
void kv_cache_rewind(struct kv_cache *cache, int rows);
/* Every sequence becomes what the first is; sequence i becomes what from[i] is. */
int kv_cache_spread(struct kv_cache *cache, struct err *err) MUST_CHECK;
int kv_cache_reorder(struct kv_cache *cache, const int *from, struct err *err) MUST_CHECK;

/* For models. Attention of a pass's rows to themselves and to those in the cache under `key` (an address of the
 * model's), which k and v are added to. op_attention without a cache. */
struct value *kv_attention(struct pass *pass, const void *key, struct value *q, struct value *k, struct value *v,
                           struct attention *attention);
/* Keys and values that stay as they are (cross attention): kept under `key` in the first pass, one sequence's for all;
 * recalled in later ones, false when there are none. */
void kv_keep(struct pass *pass, const void *key, struct value **k, struct value **v);
bool kv_recall(struct pass *pass, const void *key, struct value **k, struct value **v);
/* Stands for an encoder's result in passes whose cross attention is recalled; NULL: the encoder must run. */
struct value *kv_memory(struct pass *pass);

#endif
