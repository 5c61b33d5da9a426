/* A preloaded shim between a server and libc. It notes what was fsynced, so that a power loss can be played without root,
 * and does to system calls what the lab tells it through a shared file.
 *
 * The file ($LABCTL_SHIM) is mapped by the server, by what it forks, and by the lab's agent; `labctl/runtime/shim.py`
 * knows the same layout. Knobs at zero do nothing, so that a server with an untouched file behaves as without the shim.
 *
 * What counts as durable: the size that a file had when it was first opened for writing here (what was there before the
 * lab began), and the size that it had when a successful fsync or fdatasync of it began. Sizes, not blocks: servers only
 * append to the files that matter, or write them anew under another name and fsync before they rename. A rename counts as
 * durable at once.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x314d494853424c31LL
#define NOTES 4096
#define DESCRIPTORS 65536

enum knob { FSYNC_DELAY_MS, FSYNC_ERRNO, WRITE_BUDGET, READ_ONLY, CLOCK_OFFSET_MS, CLOCK_DRIFT_PPM, FORK_ERRNO, KNOBS = 16 };

struct note {
    int64_t inode; /* 0: free */
    int64_t size;
};

struct page {
    int64_t magic;
    int64_t spent;          /* bytes written since the budget was set */
    int64_t drift_since_ns; /* CLOCK_MONOTONIC when the drift was set */
    int64_t full;           /* notes that found no place */
    int64_t knob[KNOBS];
    int64_t hits[KNOBS]; /* calls that a knob changed */
    struct note note[NOTES];
};

static struct page *page;
static unsigned char regular[DESCRIPTORS]; /* descriptors of regular files that were opened for writing */

static int64_t get(enum knob knob) { return page ? __atomic_load_n(&page->knob[knob], __ATOMIC_RELAXED) : 0; }
static void hit(enum knob knob) { __atomic_add_fetch(&page->hits[knob], 1, __ATOMIC_RELAXED); }

#define REAL(type, name, ...)                                     \
    static type (*real)(__VA_ARGS__);                             \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void map_page(void) {
    const char *path = getenv("LABCTL_SHIM");
    if (!path) return;
    REAL(int, "open64", const char *, int, ...);
    int fd = real(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *found = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found == MAP_FAILED) return;
    if (((struct page *)found)->magic == MAGIC) page = found;
}

/* Notes */

static struct note *find_note(int64_t inode) {
    for (int step = 0; step < NOTES; step++) {
        struct note *note = &page->note[(inode + step) % NOTES];
        int64_t there = __atomic_load_n(&note->inode, __ATOMIC_ACQUIRE);
        if (there == inode) return note;
        if (there == 0) {
            int64_t nobody = 0;
            if (__atomic_compare_exchange_n(&note->inode, &nobody, inode, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
                __atomic_store_n(&note->size, -1, __ATOMIC_RELEASE);
                return note;
            }
            if (nobody == inode) return note;
        }
    }
    __atomic_add_fetch(&page->full, 1, __ATOMIC_RELAXED);
    return NULL;
}

static int regular_file(int fd, struct stat *found) { return fstat(fd, found) == 0 && S_ISREG(found->st_mode); }

static int opened(int fd, int flags, int existed) {
    struct stat found;
    if (fd < 0 || !page || (flags & O_ACCMODE) == O_RDONLY || !regular_file(fd, &found)) return fd;
    if (fd < DESCRIPTORS) regular[fd] = 1;
    struct note *note = find_note((int64_t)found.st_ino);
    if (!note) return fd;
    /* An inode number that was freed and taken again by a new file says nothing about it. */
    if (!existed || note->size < 0 || note->size > found.st_size) note->size = existed ? found.st_size : 0;
    return fd;
}

static int64_t size_now(int fd) {
    struct stat found;
    return page && regular_file(fd, &found) ? found.st_size : -1;
}

static void synced(int fd, int64_t size) {
    struct stat found;
    if (size < 0 || !regular_file(fd, &found)) return;
    struct note *note = find_note((int64_t)found.st_ino);
    if (note) __atomic_store_n(&note->size, size, __ATOMIC_RELEASE);
}

/* Opening */

static int refused(int flags) {
    if (!get(READ_ONLY) || !(flags & O_CREAT)) return 0;
    hit(READ_ONLY);
    errno = EACCES;
    return 1;
}

#define OPEN(name)                                                                       \
    int name(const char *path, int flags, ...) {                                         \
        REAL(int, #name, const char *, int, ...);                                        \
        mode_t mode = 0;                                                                 \
        if (flags & (O_CREAT | O_TMPFILE)) {                                             \
            va_list rest;                                                                \
            va_start(rest, flags);                                                       \
            mode = va_arg(rest, mode_t);                                                 \
            va_end(rest);                                                                \
        }                                                                                \
        int existed = access(path, F_OK) == 0;                                           \
        if (!existed && refused(flags)) return -1;                                       \
        return opened(real(path, flags, mode), flags, existed);                          \
    }
OPEN(open)
OPEN(open64)

#define OPEN_2(name, through) \
    int name(const char *path, int flags) { return through(path, flags); }
OPEN_2(__open_2, open)
OPEN_2(__open64_2, open64)

#define FOPEN(name)                                                                      \
    FILE *name(const char *restrict path, const char *restrict mode) {                   \
        REAL(FILE *, #name, const char *, const char *);                                 \
        int writes = mode[0] != 'r' || strchr(mode, '+') != NULL;                        \
        int existed = access(path, F_OK) == 0;                                           \
        if (writes && !existed && refused(O_CREAT)) return NULL;                         \
        FILE *file = real(path, mode);                                                   \
        if (file && writes) opened(fileno(file), O_RDWR, existed);                       \
        return file;                                                                     \
    }
FOPEN(fopen)
FOPEN(fopen64)

int mkostemp64(char *template, int flags) {
    REAL(int, "mkostemp64", char *, int);
    if (refused(O_CREAT)) return -1;
    return opened(real(template, flags), O_RDWR, 0);
}

int mkostemp(char *template, int flags) { return mkostemp64(template, flags); }
int mkstemp64(char *template) { return mkostemp64(template, 0); }
int mkstemp(char *template) { return mkostemp64(template, 0); }

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    if (refused(O_CREAT)) return -1;
    return real(from, to);
}

int close(int fd) {
    REAL(int, "close", int);
    if (fd >= 0 && fd < DESCRIPTORS) regular[fd] = 0;
    return real(fd);
}

/* Writing */

static int64_t allowed(int fd, int64_t size) {
    int64_t budget = get(WRITE_BUDGET);
    if (!budget || fd < 0 || fd >= DESCRIPTORS || !regular[fd]) return size;
    int64_t left = budget - 1 - __atomic_load_n(&page->spent, __ATOMIC_RELAXED);
    if (left >= size) {
        __atomic_add_fetch(&page->spent, size, __ATOMIC_RELAXED);
        return size;
    }
    hit(WRITE_BUDGET);
    __atomic_add_fetch(&page->spent, left > 0 ? left : 0, __ATOMIC_RELAXED);
    return left > 0 ? left : 0;
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    int64_t may = allowed(fd, (int64_t)size);
    if (may == 0 && size > 0) {
        errno = ENOSPC;
        return -1;
    }
    return real(fd, data, (size_t)may);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    int64_t size = 0;
    for (int i = 0; i < count; i++) size += (int64_t)parts[i].iov_len;
    if (allowed(fd, size) < size) {
        errno = ENOSPC;
        return -1;
    }
    return real(fd, parts, count);
}

size_t fwrite(const void *restrict data, size_t size, size_t count, FILE *restrict file) {
    REAL(size_t, "fwrite", const void *, size_t, size_t, FILE *);
    int64_t bytes = (int64_t)(size * count);
    if (allowed(fileno(file), bytes) < bytes) {
        errno = ENOSPC;
        return 0;
    }
    return real(data, size, count, file);
}

int ftruncate64(int fd, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    int done = real(fd, size);
    struct stat found;
    if (done == 0 && page && regular_file(fd, &found)) {
        struct note *note = find_note((int64_t)found.st_ino);
        if (note && note->size > size) note->size = size;
    }
    return done;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

/* Syncing */

static int before_sync(void) {
    int64_t delay = get(FSYNC_DELAY_MS), error = get(FSYNC_ERRNO);
    if (delay) {
        hit(FSYNC_DELAY_MS);
        struct timespec pause = {delay / 1000, delay % 1000 * 1000000};
        nanosleep(&pause, NULL);
    }
    if (error) {
        hit(FSYNC_ERRNO);
        errno = (int)error;
        return -1;
    }
    return 0;
}

#define SYNC(name)                              \
    int name(int fd) {                          \
        REAL(int, #name, int);                  \
        if (before_sync() != 0) return -1;      \
        int64_t size = size_now(fd);            \
        int done = real(fd);                    \
        if (done == 0) synced(fd, size);        \
        return done;                            \
    }
SYNC(fsync)
SYNC(fdatasync)

/* Time: the wall clock only. CLOCK_MONOTONIC stays true, as it does when an administrator sets the date. */

static int64_t skew_ns(void) {
    int64_t offset = get(CLOCK_OFFSET_MS) * 1000000, drift = get(CLOCK_DRIFT_PPM);
    if (offset) hit(CLOCK_OFFSET_MS);
    if (drift) {
        hit(CLOCK_DRIFT_PPM);
        struct timespec now;
        REAL(int, "clock_gettime", clockid_t, struct timespec *);
        real(CLOCK_MONOTONIC, &now);
        offset += (now.tv_sec * 1000000000LL + now.tv_nsec - page->drift_since_ns) / 1000000 * drift;
    }
    return offset;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(int, "clock_gettime", clockid_t, struct timespec *);
    int done = real(clock, now);
    if (done != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return done;
    int64_t skew = skew_ns();
    if (skew) {
        int64_t ns = now->tv_sec * 1000000000LL + now->tv_nsec + skew;
        now->tv_sec = ns / 1000000000LL;
        now->tv_nsec = ns % 1000000000LL;
    }
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(int, "gettimeofday", struct timeval *, void *);
    int done = real(now, zone);
    int64_t skew = done == 0 ? skew_ns() : 0;
    if (skew) {
        int64_t us = now->tv_sec * 1000000LL + now->tv_usec + skew / 1000;
        now->tv_sec = us / 1000000LL;
        now->tv_usec = us % 1000000LL;
    }
    return done;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}

/* Processes */

pid_t fork(void) {
    REAL(pid_t, "fork", void);
    int64_t error = get(FORK_ERRNO);
    if (error) {
        hit(FORK_ERRNO);
        errno = (int)error;
        return -1;
    }
    return real();
}
