/* SPDX-License-Identifier: MIT
 *
 * shim: a library to preload that makes one call fail: the N-th of a kind ($FAULT_KIND: alloc, write, fsync, rename, open,
 * sqlite; $FAULT_AT, from 1), or every one (lock: flock and fcntl locks, as on a file system without), or the N-th file that is mapped shrink
 * to half right afterwards (cut). At exit it writes how many there were to
 * $FAULT_COUNT. Allocations count when pkgraph itself, jansson, SQLite or libyaml asks; those of the run-time
 * libraries below (OpenMP, BLAS, libuv) end the program by their own design, and those of the C library for us (asprintf,
 * realpath) cannot be told from its own.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { NONE, ALLOC, WRITE, FSYNC, RENAME, OPEN, SQLITE, LOCK, CUT };
static enum kind kind;
static long fail_at;
static bool ready;
static _Atomic long count;

enum { RANGES = 16 };
static struct range { uintptr_t from, to; } ranges[RANGES];
static int n_ranges;
static struct range program;

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t m);
extern void *__libc_realloc(void *p, size_t n);

static int note_object(struct dl_phdr_info *o, size_t size, void *u)
{
    static const char *const names[] = {"libjansson", "libsqlite3", "libyaml"};
    bool wanted = !o->dlpi_name[0]; /* the program */
    (void)size;
    (void)u;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        wanted = wanted || strstr(o->dlpi_name, names[i]);
    for (int i = 0; wanted && i < o->dlpi_phnum && n_ranges < RANGES; i++)
        if (o->dlpi_phdr[i].p_type == PT_LOAD && (o->dlpi_phdr[i].p_flags & PF_X)) { /* its code */
            uintptr_t at = o->dlpi_addr + o->dlpi_phdr[i].p_vaddr;
            ranges[n_ranges++] = (struct range){at, at + o->dlpi_phdr[i].p_memsz};
            if (!o->dlpi_name[0])
                program = ranges[n_ranges - 1];
        }
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    static const char *const names[] = {"", "alloc", "write", "fsync", "rename", "open", "sqlite", "lock", "cut"};
    const char *k = getenv("FAULT_KIND"), *n = getenv("FAULT_AT");
    for (int i = 1; k && i <= CUT; i++)
        if (strcmp(k, names[i]) == 0)
            kind = (enum kind)i;
    fail_at = n ? atol(n) : 0;
    dl_iterate_phdr(note_object, NULL);
    ready = true;
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("FAULT_COUNT");
    ready = false;
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) {
        fprintf(f, "%ld\n", atomic_load(&count));
        fclose(f);
    }
}

static bool fails(enum kind k)
{
    if (!ready || k != kind)
        return false;
    long n = atomic_fetch_add(&count, 1) + 1;
    return k == LOCK || (fail_at && n == fail_at);
}

static bool counted(void *caller)
{
    for (int i = 0; i < n_ranges; i++)
        if ((uintptr_t)caller >= ranges[i].from && (uintptr_t)caller < ranges[i].to)
            return true;
    return false;
}

static void *refuse(void)
{
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t n)
{
    return kind == ALLOC && counted(__builtin_return_address(0)) && fails(ALLOC) ? refuse() : __libc_malloc(n);
}

void *calloc(size_t n, size_t m)
{
    return kind == ALLOC && counted(__builtin_return_address(0)) && fails(ALLOC) ? refuse() : __libc_calloc(n, m);
}

void *realloc(void *p, size_t n)
{
    return kind == ALLOC && counted(__builtin_return_address(0)) && fails(ALLOC) ? refuse() : __libc_realloc(p, n);
}

char *strdup(const char *z)
{
    size_t n = strlen(z) + 1;
    char *p = kind == ALLOC && counted(__builtin_return_address(0)) && fails(ALLOC) ? refuse() : __libc_malloc(n);
    return p ? memcpy(p, z, n) : NULL;
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))next(name))

static int full(void)
{
    errno = ENOSPC;
    return -1;
}

static bool file(int fd) /* the event loop's own channels do not fill up */
{
    struct stat st;
    return kind == WRITE && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int broken(void)
{
    errno = EIO;
    return -1;
}

/* Files written through stdio: its own calls of write() cannot be caught, so what hands it bytes fails instead. */
size_t fwrite(const void *p, size_t one, size_t n, FILE *f)
{
    return fileno(f) > 2 && file(fileno(f)) && fails(WRITE) ? (full(), (size_t)0) : REAL(size_t, "fwrite", const void *, size_t, size_t, FILE *)(p, one, n, f);
}

int fclose(FILE *f)
{
    bool fail = ready && fileno(f) > 2 && file(fileno(f)) && fails(WRITE);
    int rc = REAL(int, "fclose", FILE *)(f);
    return fail ? full() : rc;
}

int ftruncate(int fd, off_t n)
{
    return file(fd) && fails(WRITE) ? full() : REAL(int, "ftruncate", int, off_t)(fd, n);
}

int ftruncate64(int fd, off64_t n)
{
    return file(fd) && fails(WRITE) ? full() : REAL(int, "ftruncate64", int, off64_t)(fd, n);
}

int posix_fallocate(int fd, off_t at, off_t n)
{
    return file(fd) && fails(WRITE) ? ENOSPC : REAL(int, "posix_fallocate", int, off_t, off_t)(fd, at, n);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
    return file(fd) && fails(WRITE) ? full() : REAL(int, "fallocate", int, int, off_t, off_t)(fd, mode, at, n);
}

ssize_t copy_file_range(int in, off64_t *a, int out, off64_t *b, size_t n, unsigned flags)
{
    return file(out) && fails(WRITE) ? full() : REAL(ssize_t, "copy_file_range", int, off64_t *, int, off64_t *, size_t, unsigned)(in, a, out, b, n, flags);
}

ssize_t write(int fd, const void *p, size_t n)
{
    return fd > 2 && file(fd) && fails(WRITE) ? full() : REAL(ssize_t, "write", int, const void *, size_t)(fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    return file(fd) && fails(WRITE) ? full() : REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)(fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    return file(fd) && fails(WRITE) ? full() : REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(fd, p, n, at);
}

int fsync(int fd)
{
    return fails(FSYNC) ? broken() : REAL(int, "fsync", int)(fd);
}

int fdatasync(int fd)
{
    return fails(FSYNC) ? broken() : REAL(int, "fdatasync", int)(fd);
}

int syncfs(int fd)
{
    return fails(FSYNC) ? broken() : REAL(int, "syncfs", int)(fd);
}

int rename(const char *a, const char *b)
{
    return fails(RENAME) ? broken() : REAL(int, "rename", const char *, const char *)(a, b);
}

int renameat(int x, const char *a, int y, const char *b)
{
    return fails(RENAME) ? broken() : REAL(int, "renameat", int, const char *, int, const char *)(x, a, y, b);
}

static mode_t mode_of(int flags, va_list ap)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

static int no_files(void)
{
    errno = EMFILE;
    return -1;
}

#define OPENER(name, params, types, ...)                                                  \
    int name params                                                                       \
    {                                                                                     \
        va_list ap;                                                                       \
        va_start(ap, flags);                                                              \
        mode_t mode = mode_of(flags, ap);                                                 \
        va_end(ap);                                                                       \
        return fails(OPEN) ? no_files() : ((int(*) types)next(#name))(__VA_ARGS__, mode); \
    }
OPENER(open, (const char *path, int flags, ...), (const char *, int, ...), path, flags)
OPENER(open64, (const char *path, int flags, ...), (const char *, int, ...), path, flags)
OPENER(openat, (int at, const char *path, int flags, ...), (int, const char *, int, ...), at, path, flags)
OPENER(openat64, (int at, const char *path, int flags, ...), (int, const char *, int, ...), at, path, flags)

static void *no_file(void)
{
    no_files();
    return NULL;
}

FILE *fopen(const char *path, const char *mode)
{
    return fails(OPEN) ? no_file() : REAL(FILE *, "fopen", const char *, const char *)(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    return fails(OPEN) ? no_file() : REAL(FILE *, "fopen64", const char *, const char *)(path, mode);
}

int mkstemp(char *path)
{
    return fails(OPEN) ? no_files() : REAL(int, "mkstemp", char *)(path);
}

int mkostemp(char *path, int flags)
{
    return fails(OPEN) ? no_files() : REAL(int, "mkostemp", char *, int)(path, flags);
}

char *mkdtemp(char *path)
{
    return fails(OPEN) ? no_file() : REAL(char *, "mkdtemp", char *)(path);
}

DIR *opendir(const char *path)
{
    return fails(OPEN) ? no_file() : REAL(DIR *, "opendir", const char *)(path);
}

static int no_locks(void)
{
    errno = ENOLCK;
    return -1;
}

int flock(int fd, int how);
int flock(int fd, int how)
{
    return fails(LOCK) ? no_locks() : REAL(int, "flock", int, int)(fd, how);
}

static int lock_or(const char *name, int fd, int what, void *arg)
{
    bool lock = what == F_SETLK || what == F_SETLKW || what == F_GETLK;
    return lock && fails(LOCK) ? no_locks() : ((int (*)(int, int, ...))next(name))(fd, what, arg);
}

int fcntl(int fd, int what, ...)
{
    va_list ap;
    va_start(ap, what);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    return lock_or("fcntl", fd, what, arg);
}

int fcntl64(int fd, int what, ...)
{
    va_list ap;
    va_start(ap, what);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    return lock_or("fcntl64", fd, what, arg);
}

/* Only what the program asks for: SQLite calls these two itself, too, and then asks the statement how it ended. */
static bool from_program(void *caller)
{
    return (uintptr_t)caller >= program.from && (uintptr_t)caller < program.to;
}

/* The mapping is whole, the file no longer: what is read behind its new end is a bus error. */
static void *map(const char *name, void *caller, void *at, size_t n, int prot, int flags, int fd, off_t from)
{
    void *p = REAL(void *, name, void *, size_t, int, int, int, off_t)(at, n, prot, flags, fd, from);
    char path[64];
    if (p == MAP_FAILED || fd < 0 || prot != PROT_READ || !from_program(caller) || !fails(CUT))
        return p;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    fchmod(fd, 0644);
    if (truncate(path, (off_t)(n / 2)))
        perror("cut");
    return p;
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t from)
{
    return map("mmap", __builtin_return_address(0), at, n, prot, flags, fd, from);
}

void *mmap64(void *at, size_t n, int prot, int flags, int fd, off_t from)
{
    return map("mmap64", __builtin_return_address(0), at, n, prot, flags, fd, from);
}

enum { SQLITE_IOERR_ = 10 };

int sqlite3_step(void *q);
int sqlite3_step(void *q)
{
    return from_program(__builtin_return_address(0)) && fails(SQLITE) ? SQLITE_IOERR_ : REAL(int, "sqlite3_step", void *)(q);
}

int sqlite3_exec(void *db, const char *sql, void *row, void *u, char **why);
int sqlite3_exec(void *db, const char *sql, void *row, void *u, char **why)
{
    return from_program(__builtin_return_address(0)) && fails(SQLITE)
               ? SQLITE_IOERR_
               : REAL(int, "sqlite3_exec", void *, const char *, void *, void *, char **)(db, sql, row, u, why);
}
