/* The number type of the engine.
 *
 * `real` is float in every build people run. The f64 build (make VARIANT=f64) compiles the same sources with double:
 * that is the oracle of the gradient checks, where finite differences in float would only show rounding. */
#ifndef TRAINER_REAL_H
#define TRAINER_REAL_H

#ifdef REAL_DOUBLE
typedef double real;
#else
typedef float real;
#endif

#endif
