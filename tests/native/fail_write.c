// SPDX-License-Identifier: Apache-2.0
// A disk that fails: preloaded, it refuses or cuts the k-th write to files whose path holds a word.
//
//   cc -shared -fPIC -o fail_write.so fail_write.c -ldl
//   LD_PRELOAD=./fail_write.so program
//
// The program arms it by calling fail_write_arm (through ctypes). Writes are write, pwrite, fsync,
// fdatasync and ftruncate; in every one of them a disk may say no.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { REFUSE_ONCE = 0, REFUSE_FROM_THEN_ON = 1, CUT = 2 };

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

// 1 when this write must fail.
static int is_due(int fd) {
    if (!is_armed) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = '\0';
    if (!strstr(path, word)) return 0;
    n_seen++;
    return n_seen == countdown || (how == REFUSE_FROM_THEN_ON && n_seen > countdown);
}

static int refuse(void) {
    if (how == CUT) _exit(137);
    errno = code;
    return -1;
}

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
typedef int (*sync_fn)(int);
typedef int (*truncate_fn)(int, off_t);

ssize_t write(int fd, const void *bytes, size_t n) {
    write_fn real = REAL(write_fn, "write");
    if (!is_due(fd)) return real(fd, bytes, n);
    if (how == CUT) (void)!real(fd, bytes, n / 2);
    return refuse();
}

static ssize_t pwrite_by(const char *name, int fd, const void *bytes, size_t n, off_t at) {
    pwrite_fn real = REAL(pwrite_fn, name);
    if (!is_due(fd)) return real(fd, bytes, n, at);
    if (how == CUT) (void)!real(fd, bytes, n / 2, at);
    return refuse();
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
    return pwrite_by("pwrite", fd, bytes, n, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at) {
    return pwrite_by("pwrite64", fd, bytes, n, at);
}

int fsync(int fd) {
    return is_due(fd) ? refuse() : REAL(sync_fn, "fsync")(fd);
}

int fdatasync(int fd) {
    return is_due(fd) ? refuse() : REAL(sync_fn, "fdatasync")(fd);
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
