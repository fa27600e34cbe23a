// SPDX-License-Identifier: Apache-2.0
// Measure how fast this machine reads memory: the limit that a decoder is judged against.
//
//   membw BYTES THREADS SECONDS
//
// Each thread, pinned to its core, reads its share of BYTES over and over, in pieces of at most
// PIECE_MAX, and times every piece. A thread's rate is the median piece, the machine's the sum
// over threads. Pieces are short (about 0.1 ms), so that being descheduled on a busy machine
// spoils a few of them and not the median. A size of hundreds of MB measures DRAM; the size of a
// model's weights measures what that model can hope for, caches included.
// Prints {"gb_s": ..}, 1 GB = 1e9 bytes.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 256, STREAMS = 8, CACHE_LINE = 64, HUGE_PAGE = 2 << 20 };
enum { PIECE_MAX = 1 << 20, PIECES_MAX = 1 << 20 };  // bytes; times kept

typedef uint64_t vec __attribute__((vector_size(64)));  // becomes the widest loads the CPU has

typedef struct {
    int core;
    size_t n_bytes;
    double seconds;
    pthread_barrier_t *start;
    double gb_s;
    uint64_t checksum;  // keeps the compiler from dropping the reads
    int code;
} reader;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

// Read n vectors in STREAMS equal runs, side by side. One run alone is bound by the prefetcher,
// which stops at page ends (measured: 8 runs read DRAM a third faster than 1, 16 no faster than 8).
static __attribute__((noinline)) uint64_t read_piece(const vec *p, size_t n) {
    vec sum[STREAMS] = {{0}};
    size_t run = n / STREAMS;
    for (size_t i = 0; i < run; i++) {
        for (size_t s = 0; s < STREAMS; s++) sum[s] ^= p[s * run + i];
    }
    uint64_t checksum = 0;
    for (size_t s = 0; s < STREAMS; s++) {
        for (size_t i = 0; i < sizeof(vec) / sizeof(uint64_t); i++) checksum ^= sum[s][i];
    }
    return checksum;
}

// Read the buffer until the time is up; us[] gets one time per piece. Returns how many.
static size_t time_pieces(reader *r, const uint8_t *buffer, size_t piece, float *us) {
    size_t n = 0;
    double end_s = now_s() + r->seconds;
    for (size_t at = 0; n < PIECES_MAX; at = at + 2 * piece <= r->n_bytes ? at + piece : 0) {
        double start_s = now_s();
        r->checksum += read_piece((const vec *)(buffer + at), piece / sizeof(vec));
        double done_s = now_s();
        us[n++] = (float)(1e6 * (done_s - start_s));
        if (done_s >= end_s) break;
    }
    return n;
}

static void *read_share(void *arg) {
    reader *r = arg;
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET((size_t)r->core, &cores);
    pthread_setaffinity_np(pthread_self(), sizeof cores, &cores);  // if refused, it wanders
    size_t n_pieces = (r->n_bytes + PIECE_MAX - 1) / PIECE_MAX;
    size_t piece = r->n_bytes / n_pieces / CACHE_LINE * CACHE_LINE;
    size_t room = (r->n_bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uint8_t *buffer = aligned_alloc(HUGE_PAGE, room);
    float *us = malloc(PIECES_MAX * sizeof *us);
    r->code = buffer && us ? 0 : 1;
    if (r->code == 0) {
        madvise(buffer, room, MADV_HUGEPAGE);  // fewer address misses, where the kernel has them
        memset(buffer, r->core + 1, room);
    }
    pthread_barrier_wait(r->start);
    if (r->code == 0) {
        size_t n = time_pieces(r, buffer, piece, us);
        qsort(us, n, sizeof *us, ascending);
        r->gb_s = (double)piece / (double)us[n / 2] * 1e-3;
    }
    free(us);
    free(buffer);
    return NULL;
}

int main(int argc, char **argv) {
    size_t n_bytes = argc == 4 ? strtoull(argv[1], NULL, 10) : 0;
    int n_threads = argc == 4 ? atoi(argv[2]) : 0;
    if (n_bytes < (1 << 16) || n_threads < 1 || n_threads > THREADS_MAX) {
        fprintf(stderr, "usage: membw BYTES THREADS SECONDS   (65536 bytes or more, 1 to %d threads)\n",
                THREADS_MAX);
        return 2;
    }
    static reader readers[THREADS_MAX];
    static pthread_t threads[THREADS_MAX];
    pthread_barrier_t start;
    long n_cores = sysconf(_SC_NPROCESSORS_ONLN);
    double gb_s = 0;
    int code = 0;
    pthread_barrier_init(&start, NULL, (unsigned)n_threads);
    for (int i = 0; i < n_threads; i++) {
        size_t share = n_bytes / (size_t)n_threads / 4096 * 4096;
        readers[i] = (reader){(int)(i % n_cores), share, atof(argv[3]), &start, 0, 0, 0};
        if (pthread_create(&threads[i], NULL, read_share, &readers[i])) {
            fprintf(stderr, "membw: thread %d of %d was refused\n", i + 1, n_threads);
            return 1;
        }
    }
    for (int i = 0; i < n_threads; i++) {
        pthread_join(threads[i], NULL);
        gb_s += readers[i].gb_s;
        code |= readers[i].code;
    }
    if (code) fprintf(stderr, "membw: no memory for %zu bytes\n", n_bytes);
    else printf("{\"gb_s\": %.3f}\n", gb_s);
    return code;
}
