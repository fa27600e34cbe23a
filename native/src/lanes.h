// SPDX-License-Identifier: Apache-2.0
// Sixteen float lanes and sums in one fixed order (INV-8), for kernels_body.h. PT_WIDTH is defined by
// the file that includes that: the floats in this CPU's widest register.
#ifndef PT_LANES_H
#define PT_LANES_H

#include "internal.h"
#include "pt_exp.h"

#ifdef __GNUC__
#pragma GCC diagnostic ignored "-Wpsabi"  // every function that returns lanes is inlined
#endif

enum { L = PT_GROUP };

// Sixteen lanes, as PARTS registers of PT_WIDTH each. GCC and clang vector types: the operators are
// the CPU's, and no order is left open.
enum { W = PT_WIDTH, PARTS = L / W };
typedef float lanes __attribute__((vector_size(4 * PT_WIDTH)));
typedef int32_t words __attribute__((vector_size(4 * PT_WIDTH)));
typedef float lanes_at __attribute__((vector_size(4 * PT_WIDTH), aligned(4), may_alias));
typedef struct sixteen {
    lanes part[PARTS];
} sixteen;

PT_INLINE lanes pt_load(const float *p) { return *(const lanes_at *)(const void *)p; }
PT_INLINE void pt_store(float *p, lanes x) { *(lanes_at *)(void *)p = x; }
PT_INLINE lanes pt_absolute(lanes x) { return (lanes)((words)x & 0x7fffffff); }
PT_INLINE lanes pt_larger(lanes a, lanes b) {  // a where b is NaN
    words is_b = b > a;
    return (lanes)(((words)b & is_b) | ((words)a & ~is_b));
}

// ---- sums in a fixed order

// The one tree in which sixteen lanes become a sum: l[i] + l[i + 8], then + 4, then + 2, then + 1.
PT_INLINE float pt_fold(sixteen x) {
    for (int n = PARTS / 2; n > 0; n /= 2) {
        for (int i = 0; i < n; i++) x.part[i] += x.part[i + n];
    }
    float s[W];
    memcpy(s, &x.part[0], sizeof s);
    for (int n = W / 2; n > 0; n /= 2) {
        for (int i = 0; i < n; i++) s[i] += s[i + n];
    }
    return s[0];
}

// The n < L floats that no full row of lanes covers.
PT_INLINE sixteen pt_tail(const float *x, size_t n) {
    sixteen tail = {{{0}}};
    memcpy(&tail, x, n * sizeof *x);
    return tail;
}

static float pt_sum(const float *x, size_t n) {
    sixteen sum = {{{0}}};
    size_t i = 0;
    for (; i + L <= n; i += L) {
        for (int p = 0; p < PARTS; p++) sum.part[p] += pt_load(x + i + W * p);
    }
    sixteen tail = pt_tail(x + i, n - i);
    for (int p = 0; p < PARTS && i < n; p++) sum.part[p] += tail.part[p];
    return pt_fold(sum);
}

// Sum of (x - mean)^2.
static float pt_sum_squares(const float *x, float mean, size_t n) {
    sixteen sum = {{{0}}};
    size_t i = 0;
    for (; i + L <= n; i += L) {
        for (int p = 0; p < PARTS; p++) {
            lanes d = pt_load(x + i + W * p) - mean;
            sum.part[p] += d * d;
        }
    }
    float tail[L] = {0};
    for (size_t l = 0; i + l < n; l++) tail[l] = (x[i + l] - mean) * (x[i + l] - mean);
    for (int p = 0; p < PARTS && i < n; p++) sum.part[p] += pt_load(tail + W * p);
    return pt_fold(sum);
}

#endif
