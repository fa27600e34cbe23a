// SPDX-License-Identifier: Apache-2.0
// A disk that fails: preloaded, it refuses or cuts the k-th write to files whose path holds a word.
//
//   cc -shared -fPIC -o fail_write.so fail_write.c -ldl
//   LD_PRELOAD=./fail_write.so program
//
// The program arms it by calling fail_write_arm (through ctypes). Writes are write, pwrite, fsync,
// fdatasync and ftruncate; in every one of them a disk may say no.
//
// LOSE is a power cut on a disk that had reordered: of the writes to a file since its last sync some
// are whole, some are torn at a sector and some never happened, in any combination. What each write
// replaced is remembered until the sync, and put back for those that are to be lost.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { REFUSE_ONCE = 0, REFUSE_FROM_THEN_ON = 1, CUT = 2, LOSE = 3 };

enum { SECTOR = 512, UNDO_MAX = 1 << 14 };

static char word[64];
static long countdown, n_seen;
static int code, how, is_armed;

// From now on count writes to paths that contain `part`; at number k (from 1) fail with errno `e`.
// CUT writes the first half of the bytes and ends the process, as a power cut would.
void fail_write_arm(const char *part, long k, int e, int mode) {
    snprintf(word, sizeof word, "%s", part);
    countdown = k;
    n_seen = 0;
    code = e;
    how = mode;
    is_armed = 1;
}

void fail_write_disarm(void) {
    is_armed = 0;
}

long fail_write_seen(void) {
    return n_seen;
}

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

typedef ssize_t (*pread_fn)(int, void *, size_t, off_t);
typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);

// What a write replaced; `old` has `n` bytes, zeros past the old end of the file.
typedef struct {
    ino_t file;
    off_t at;
    size_t n;
    char *old;
    char path[512];
} undo;

static undo undos[UNDO_MAX];
static size_t n_undos;

static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, size - 1);
    if (n < 0) return 0;
    path[n] = '\0';
    return strstr(path, word) != NULL;
}

static ino_t file_of(int fd) {
    struct stat about;
    return fstat(fd, &about) ? 0 : about.st_ino;
}

// Remember what lies under a write that is about to happen.
static void remember(int fd, size_t n, off_t at) {
    undo *u = &undos[n_undos];
    if (!is_armed || how != LOSE || !path_of(fd, u->path, sizeof u->path)) return;
    if (n_undos + 1 == UNDO_MAX) abort();
    u->file = file_of(fd);
    u->at = at;
    u->n = n;
    u->old = calloc(1, n);
    if (!u->old || REAL(pread_fn, "pread")(fd, u->old, n, at) < 0) abort();
    n_undos++;
}

// The file is on the disk: nothing before this can be lost.
static void forget(int fd) {
    ino_t file = file_of(fd);
    size_t kept = 0;
    for (size_t i = 0; i < n_undos; i++) {
        if (undos[i].file == file) free(undos[i].old);
        else undos[kept++] = undos[i];
    }
    n_undos = kept;
}

// Put back what a third of the unsynced writes replaced, and the tail of another third.
static void lose(void) {
    unsigned chance = (unsigned)countdown * 2654435761u;
    for (size_t i = n_undos; i-- > 0;) {
        undo *u = &undos[i];
        chance = chance * 1664525u + 1013904223u;
        unsigned fate = (chance >> 24) % 3;
        size_t from = fate == 0 ? 0 : u->n / 2 / SECTOR * SECTOR;
        int fd = fate == 2 ? -1 : open(u->path, O_WRONLY);
        if (fd < 0) continue;
        (void)!REAL(pwrite_fn, "pwrite")(fd, u->old + from, u->n - from, u->at + (off_t)from);
        close(fd);
    }
}

// 1 when this write must fail.
static int is_due(int fd) {
    char path[4096];
    if (!is_armed || !path_of(fd, path, sizeof path)) return 0;
    n_seen++;
    return n_seen == countdown || (how == REFUSE_FROM_THEN_ON && n_seen > countdown);
}

static int refuse(void) {
    if (how == LOSE) lose();
    if (how == CUT || how == LOSE) _exit(137);
    errno = code;
    return -1;
}

typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef int (*sync_fn)(int);
typedef int (*truncate_fn)(int, off_t);

ssize_t write(int fd, const void *bytes, size_t n) {
    write_fn real = REAL(write_fn, "write");
    if (!is_due(fd)) {
        remember(fd, n, lseek(fd, 0, SEEK_CUR));
        return real(fd, bytes, n);
    }
    if (how == CUT) (void)!real(fd, bytes, n / 2);
    return refuse();
}

static ssize_t pwrite_by(const char *name, int fd, const void *bytes, size_t n, off_t at) {
    pwrite_fn real = REAL(pwrite_fn, name);
    if (!is_due(fd)) {
        remember(fd, n, at);
        return real(fd, bytes, n, at);
    }
    if (how == CUT) (void)!real(fd, bytes, n / 2, at);
    return refuse();
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
    return pwrite_by("pwrite", fd, bytes, n, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at) {
    return pwrite_by("pwrite64", fd, bytes, n, at);
}

static int sync_by(const char *name, int fd) {
    if (is_due(fd)) return refuse();
    int err = REAL(sync_fn, name)(fd);
    if (!err) forget(fd);
    return err;
}

int fsync(int fd) {
    return sync_by("fsync", fd);
}

int fdatasync(int fd) {
    return sync_by("fdatasync", fd);
}

static int truncate_by(const char *name, int fd, off_t size) {
    return is_due(fd) ? refuse() : REAL(truncate_fn, name)(fd, size);
}

int ftruncate(int fd, off_t size) {
    return truncate_by("ftruncate", fd, size);
}

int ftruncate64(int fd, off_t size) {
    return truncate_by("ftruncate64", fd, size);
}
