/* Entry point. */
#include <stdio.h>

#include "common/version.h"

int main(void)
{
    printf("%s\n", version_program());
    return 0;
}
