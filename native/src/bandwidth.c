// SPDX-License-Identifier: Apache-2.0
// How fast this machine reads memory: decoding reads every weight once a token, so bytes per second
// said <= this / bytes of weights. Plain 64-bit sums in eight lanes, which compilers vectorise.
#define _POSIX_C_SOURCE 200809L
#include "internal.h"

#include <stdlib.h>
#include <time.h>

enum { LANES = 32, PASSES = 3 };

typedef struct probe {
    const uint64_t *words;  // n_threads * len
    size_t len;
    atomic_ullong sum;  // keeps the reads alive
} probe;

static void read_all(void *arg, uint32_t thread, uint32_t n_threads) {
    (void)n_threads;
    probe *p = arg;
    const uint64_t *words = p->words + thread * p->len;
    uint64_t lanes[LANES] = {0}, sum = 0;
    for (size_t i = 0; i + LANES <= p->len; i += LANES) {
        for (size_t l = 0; l < LANES; l++) lanes[l] += words[i + l];
    }
    for (size_t l = 0; l < LANES; l++) sum += lanes[l];
    atomic_fetch_add(&p->sum, sum);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double parrot_read_bandwidth(uint32_t n_threads, size_t size) {
    size_t len = size / sizeof(uint64_t) / LANES * LANES;
    if (n_threads < 1 || n_threads > PT_THREADS_MAX || len == 0) return 0.0;
    if (len > SIZE_MAX / sizeof(uint64_t) / n_threads) return 0.0;
    pt_pool *pool = pt_pool_open(n_threads, NULL);
    uint64_t *words = malloc(n_threads * len * sizeof *words);
    double best = 0.0;
    if (pool && words) {
        memset(words, 1, n_threads * len * sizeof *words);  // real pages, not the shared zero page
        probe p = {.words = words, .len = len};
        for (int pass = 0; pass < PASSES; pass++) {
            double begun = seconds();
            pt_pool_run(pool, read_all, &p);
            double rate = (double)(n_threads * len * sizeof *words) / (seconds() - begun);
            if (rate > best) best = rate;
        }
    }
    free(words);
    pt_pool_close(pool);
    return best;
}
