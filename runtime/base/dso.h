/* SPDX-License-Identifier: MIT
 *
 * dso: a shared library that is opened when it is first needed, and not when the program starts. oneDNN, OpenBLAS and libcurl
 * (with what hangs on them: a Fortran runtime, OpenCL, TLS, Kerberos, LDAP) take the dynamic loader several times what
 * planning 1,000 nodes takes, and most commands compute nothing and talk to nobody.
 *
 * The one wrapper of such a library lists its functions once and calls them through a table with the prototypes of the
 * library's own headers:
 *
 *     #define CURL_CALLS(X) X(curl_easy_init) X(curl_easy_perform)
 *     static struct { CURL_CALLS(DSO_FIELD) } curl;
 *     static const char *const curl_names[] = {CURL_CALLS(DSO_NAME)};
 *     static struct dso curl_dso = DSO("libcurl", PKG_CURL_FILE, PKG_CURL_PACKAGE, curl_names, curl);
 *     ...
 *     if (dso_load(&curl_dso, e) == 0)
 *         handle = curl.curl_easy_init();
 */
#ifndef PKG_BASE_DSO_H
#define PKG_BASE_DSO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/err.h"

struct dso {
    const char *what;    /* "oneDNN" */
    const char *file;    /* "libdnnl.so.2": the version whose headers were compiled in; or a path, whose last part is tried after it */
    const char *package; /* the Debian package that has it, or "" */
    const char *const *names;
    size_t n;
    void *table; /* n function pointers in the order of the names */
    pthread_mutex_t lock;
    atomic_bool loaded;
};

#define DSO_FIELD(f) __typeof__(&f) f;
#define DSO_NAME(f) #f,
#define DSO(what_, file_, package_, names_, table_)                                                     \
    {                                                                                                     \
        .what = what_, .file = file_, .package = package_, .names = names_,                           \
        .n = sizeof(names_) / sizeof *(names_), .table = &(table_), .lock = PTHREAD_MUTEX_INITIALIZER,    \
    }

/* Opens the library and fills the table; later calls cost one load. Any thread. The library stays open until the process ends.
 * ERR_UNSUPPORTED, with the package to install, when it is not there or lacks a function; the table must not be used then. */
int dso_load(struct dso *d, struct err *e);

#endif
