/* The kernels for avx2. */
#ifdef __x86_64__
#define KERNELS_LEVEL avx2
#include "trainer/kernels_body.h"
#endif
