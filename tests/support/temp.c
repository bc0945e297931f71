/* A folder of a test's own: see temp.h. */
#include "tests/support/temp.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void temp_open(struct temp *temp)
{
    const char *base = getenv("TMPDIR");
    snprintf(temp->folder, sizeof temp->folder, "%s/nightsweep-test-XXXXXX", base != NULL ? base : "/tmp");
    cr_assert_not_null(mkdtemp(temp->folder), "cannot make the folder '%s'", temp->folder);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info, (void)type, (void)where;
    return remove(path);
}

void temp_close(struct temp *temp)
{
    nftw(temp->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *temp_path(struct temp *temp, const char *name)
{
    snprintf(temp->path, sizeof temp->path, "%s/%s", temp->folder, name);
    return temp->path;
}

void temp_write(struct temp *temp, const char *name, const void *data, size_t n)
{
    FILE *file = fopen(temp_path(temp, name), "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, n, file), n);
    cr_assert_eq(fclose(file), 0);
}
