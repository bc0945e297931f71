/* Weights of linear layers once more in bfloat16, for the products of "compute": "bf16".
 *
 * A copy is made when a weight is first asked for. Frozen weights keep theirs; a trained weight's is made again after
 * halves_changed. Both lanes of a trial share them. */
#ifndef TRAINER_HALVES_H
#define TRAINER_HALVES_H

#include <stdint.h>

#include "common/arena.h"
#include "trainer/tape.h"

struct halves;

/* Copies will lie in `arena`, which outlives them and is not used by others while lanes run. NULL without memory. */
struct halves *halves_open(struct arena *arena);
void halves_close(struct halves *halves); /* NULL is fine */
/* Trained weights may have other values from here on. Not while lanes run. */
void halves_changed(struct halves *halves);
/* Elements of `weight`, rounded to nearest even, in its own order; borrowed until halves_changed. NULL without memory.
 */
const uint16_t *halves_get(struct halves *halves, const struct value *weight);

#endif
