// SPDX-License-Identifier: Apache-2.0
// What the C tests share: one macro that ends the program with a sentence, random numbers, floats.
#ifndef CHECK_H
#define CHECK_H

#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition, ...)                                             \
    do {                                                                  \
        if (!(condition)) {                                               \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                 \
            fprintf(stderr, "\n");                                        \
            exit(1);                                                      \
        }                                                                 \
    } while (0)

static inline uint64_t random_u64(uint64_t *state) {  // SplitMix64
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

// In [-1, 1).
static inline float random_float(uint64_t *state) {
    return (float)(random_u64(state) >> 40) * 0x1.0p-23f - 1.0f;
}

static inline uint32_t float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

// The same bits. All NaN are one: which of its sign and payload survives is the CPU's own choice.
static inline bool is_same(float a, float b) {
    return (a != a && b != b) || float_bits(a) == float_bits(b);
}

static inline void *allocate(size_t size) {
    void *p = aligned_alloc(64, (size + 63) / 64 * 64 + 64);
    CHECK(p != NULL, "no memory for %zu bytes", size);
    return p;
}

void test_kernels(void);
void test_files(const char *corpus);
void test_sampler(void);
void test_threads(const char *corpus);

// Live with every kernel set, layout, thread count and grouping of rows; print one hash a model.
void test_forward(const char *corpus);
void test_lora(const char *corpus);

#endif
