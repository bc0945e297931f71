/* Where the cache folder is. */
#include "common/cache.h"

#include <stdlib.h>
#include <string.h>

#include "common/file.h"

char *cache_folder(void)
{
    const char *own = getenv("NIGHTSWEEP_CACHE"), *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *below = !base && home ? file_join(home, ".cache") : NULL;
    char *folder = own    ? strdup(own)
                   : base ? file_join(base, "nightsweep")
                          : (below ? file_join(below, "nightsweep") : NULL);
    free(below);
    if (folder && (folder[0] != '/' || file_make_folders(folder, NULL) < 0)) {
        free(folder);
        folder = NULL;
    }
    return folder;
}
