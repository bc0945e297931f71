/* The kernels for portable. */

#define KERNELS_LEVEL portable
#include "trainer/kernels_body.h"
