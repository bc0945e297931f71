/* nightsweep-trainer: one trial. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/tokens_command.h"

int main(int argc, char **argv)
{
    struct err err = {0};
    if (argc == 4 && strcmp(argv[1], "--tokens") == 0) {
        int rc = tokens_command(argv[2], (int)strtol(argv[3], NULL, 10), stdin, stdout, &err);
        if (rc < 0)
            fprintf(stderr, "nightsweep-trainer: %s\n", err.message);
        return err_exit_status(rc);
    }
    return 2;
}
