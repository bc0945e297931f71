/* The kernels for avx512. */
#ifdef __x86_64__
#define KERNELS_LEVEL avx512
#include "trainer/kernels_body.h"
#endif
