/* OpenBLAS by its name, with the kernels that the processor has. */
#include "orchestrator/search_lapack.h"

#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/blas_core.h"

static const char library[] = "libopenblas.so.0";
static struct lapack loaded;
static struct err failure;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The library reads the variable while it is loaded; programs started from here find it as it was. */
static void *open_library(void)
{
    const char *set = getenv("OPENBLAS_CORETYPE"), *best = set && *set ? NULL : blas_core_best();
    if (best)
        setenv("OPENBLAS_CORETYPE", best, 1);
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (best)
        unsetenv("OPENBLAS_CORETYPE");
    return handle;
}

static void load(void)
{
    void (*set_threads)(int) = NULL;
    const struct {
        const char *name;
        void *out;
    } routines[] = {
        {"cblas_ddot", &loaded.ddot},   {"cblas_dgemv", &loaded.dgemv},
        {"cblas_dtrsv", &loaded.dtrsv}, {"cblas_dtrsm", &loaded.dtrsm},
        {"dpotrf_", &loaded.dpotrf},    {"dpotri_", &loaded.dpotri},
        {"dsyev_", &loaded.dsyev},      {"openblas_set_num_threads", &set_threads},
    };
    void *handle = open_library();
    for (size_t i = 0; handle && i < sizeof(routines) / sizeof(routines[0]); i++) {
        void *routine = dlsym(handle, routines[i].name);
        if (!routine) {
            err_set(&failure, ERR_IO, "%s has no %s", library, routines[i].name);
            return;
        }
        memcpy(routines[i].out, &routine, sizeof(routine));
    }
    if (handle)
        set_threads(1);
    else
        err_set(&failure, ERR_IO, "%s", dlerror());
}

int lapack_load(struct err *err)
{
    pthread_once(&once, load);
    return failure.code == 0 ? 0 : err_set(err, failure.code, "%s", failure.message);
}

const struct lapack *lapack(void)
{
    pthread_once(&once, load);
    assert(failure.code == 0);
    return &loaded;
}
