/* Version and commit come from the build; see the Makefile. */
#include "common/version.h"

const char *version_program(void)
{
    return NIGHTSWEEP_VERSION;
}

const char *version_commit(void)
{
    return NIGHTSWEEP_COMMIT;
}
