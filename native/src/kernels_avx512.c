// SPDX-License-Identifier: Apache-2.0
// x86-64 with AVX-512 (F, BW, VL) and VNNI: Ice Lake, Zen 4, and everything since.
//
// The repacked layout is the one of kernels_avx2.c. Here one pair chunk widens to one register, and
// vpdpwssd multiplies, adds pairs and accumulates 16 rows in one instruction. Four accumulators hide
// its latency; integer sums do not mind the order.
#include "internal.h"

#include <immintrin.h>

#define PT_TILE static inline __attribute__((always_inline))

enum { AHEAD = 2 * PT_GROUP_BLOCK };  // bytes, as in kernels_avx2.c

static inline __m512 halves(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline __m512i pair(const int16_t *q) {
    int32_t both;
    memcpy(&both, q, sizeof both);
    return _mm512_set1_epi32(both);
}

// One row of activations against `n` groups (a constant after inlining), read as n streams: memory
// gives more to several streams than to one, and each broadcast pair serves them all.
// What comes two blocks later is asked for now.
PT_TILE void tile_1(const uint8_t *group, size_t group_size, size_t n_blocks, const int16_t *q,
                    int n, __m512 *sums) {
    for (size_t b = 0; b < n_blocks; b++, group += PT_GROUP_BLOCK, q += PT_BLOCK) {
        __m512i even[4], odd[4];
        for (int i = 0; i < n; i++) even[i] = odd[i] = _mm512_setzero_si512();
#pragma GCC unroll 8
        for (int p = 0; p < PT_BLOCK / 2; p += 2) {
            __m512i first = pair(q + 2 * p), second = pair(q + 2 * p + 2);
#pragma GCC unroll 4
            for (int i = 0; i < n; i++) {
                const __m256i *w = (const __m256i *)(const void *)(group + (size_t)i * group_size);
                _mm_prefetch((const char *)(w + 1 + p) + AHEAD, _MM_HINT_T0);
                __m512i w_even = _mm512_cvtepi8_epi16(_mm256_loadu_si256(w + 1 + p));
                __m512i w_odd = _mm512_cvtepi8_epi16(_mm256_loadu_si256(w + 2 + p));
                even[i] = _mm512_dpwssd_epi32(even[i], w_even, first);
                odd[i] = _mm512_dpwssd_epi32(odd[i], w_odd, second);
            }
        }
        for (int i = 0; i < n; i++) {
            const __m256i *w = (const __m256i *)(const void *)(group + (size_t)i * group_size);
            __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256(w));
            __m512 dot = _mm512_cvtepi32_ps(_mm512_add_epi32(even[i], odd[i]));
            sums[i] = _mm512_add_ps(sums[i], _mm512_mul_ps(scale, dot));
        }
    }
}

// Eight rows of activations against one group: each weight is widened once for all.
PT_TILE void tile_8(const uint8_t *group, size_t n_blocks, const int16_t *q, size_t q_stride,
                    __m512 *sums) {
    for (size_t b = 0; b < n_blocks; b++, group += PT_GROUP_BLOCK, q += PT_BLOCK) {
        __m512i dots[8];
#pragma GCC unroll 8
        for (int t = 0; t < 8; t++) dots[t] = _mm512_setzero_si512();
        const __m256i *w = (const __m256i *)(const void *)(group + 32);
#pragma GCC unroll 4
        for (int p = 0; p < PT_BLOCK / 2; p++) {
            __m512i wide = _mm512_cvtepi8_epi16(_mm256_loadu_si256(w + p));
#pragma GCC unroll 8
            for (int t = 0; t < 8; t++) {
                const int16_t *x = q + (size_t)t * q_stride + 2 * p;
                dots[t] = _mm512_dpwssd_epi32(dots[t], wide, pair(x));
            }
        }
        __m512 scale =
            _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)group));
#pragma GCC unroll 8
        for (int t = 0; t < 8; t++) {
            __m512 product = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(dots[t]));
            sums[t] = _mm512_add_ps(sums[t], product);
        }
    }
}

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate);

static void pack_q8(const pt_matrix *m, uint8_t *packed) { pt_pack_q8(m, 2, packed); }

#define PT_NAME "avx512"
#define PT_TABLE pt_kernels_avx512
#define PT_WIDTH 16
#define PT_HALVES(p) halves(p)
#define PT_PACKED_Q8
#include "kernels_body.h"

PT_TILE void one_row(const pt_matrix *m, size_t g, int n, const pt_operand *x, size_t row,
                     float *y, size_t y_stride, bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK, group_size = n_blocks * PT_GROUP_BLOCK;
    __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                      _mm512_setzero_ps()};
    tile_1(m->packed + g * group_size, group_size, n_blocks, x->q + row * m->n_in, n, sums);
    for (int i = 0; i < n; i++) {
        sixteen scaled = {{_mm512_mul_ps(sums[i], _mm512_set1_ps(x->scale[row]))}};
        store_group(m, g + (size_t)i, scaled, y + row * y_stride, accumulate);
    }
}

PT_TILE void eight_rows(const pt_matrix *m, size_t g, const pt_operand *x, size_t row, float *y,
                        size_t y_stride, bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK;
    __m512 sums[8];
    for (int t = 0; t < 8; t++) sums[t] = _mm512_setzero_ps();
    tile_8(m->packed + g * n_blocks * PT_GROUP_BLOCK, n_blocks, x->q + row * m->n_in, m->n_in,
           sums);
    for (size_t t = 0; t < 8; t++) {
        sixteen scaled = {{_mm512_mul_ps(sums[t], _mm512_set1_ps(x->scale[row + t]))}};
        store_group(m, g, scaled, y + (row + t) * y_stride, accumulate);
    }
}

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate) {
    size_t whole = n_rows / 8 * 8;
    for (size_t g = first; g < last; g++) {
        for (size_t row = 0; row < whole; row += 8) {
            eight_rows(m, g, x, row, y, y_stride, accumulate);
        }
    }
    for (size_t row = whole; row < n_rows; row++) {
        size_t g = first;
        for (; g + 4 <= last; g += 4) one_row(m, g, 4, x, row, y, y_stride, accumulate);
        for (; g < last; g++) one_row(m, g, 1, x, row, y, y_stride, accumulate);
    }
}
