// SPDX-License-Identifier: Apache-2.0
// x86-64 with AVX2 and F16C: Haswell (2013), Zen, and everything since.
//
// Repacked Q8_0. A group is 16 output rows; a block is 32 inputs; for each (group, block):
//
//     32 bytes    16 f16 scales, one a row
//     16 x 32     pair p of inputs (2p, 2p+1): row 0 both, row 1 both, ... row 15 both, int8
//
// One pair chunk, widened to int16, meets one broadcast int32 that holds the two int16 activations:
// vpmaddwd gives 8 rows' partial sums in 8 lanes, so nothing is ever summed across a register, and
// the stream is read front to back. 32 products of at most 128 * 32639 fit an int32.
#include "internal.h"

#include <immintrin.h>

#define PT_TILE static inline __attribute__((always_inline))

static inline __m256 halves(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline __m256i pair(const int16_t *q) {
    int32_t both;
    memcpy(&both, q, sizeof both);
    return _mm256_set1_epi32(both);
}

// n_tile rows of activations (a constant after inlining) against one group. sums (n_tile, 2).
PT_TILE void tile_q8(const uint8_t *group, size_t n_blocks, const int16_t *const *q, size_t n_tile,
                     __m256 (*sums)[2]) {
    for (size_t b = 0; b < n_blocks; b++, group += PT_GROUP_BLOCK) {
        __m256i low[4], high[4];
        for (size_t t = 0; t < n_tile; t++) low[t] = high[t] = _mm256_setzero_si256();
        const __m128i *w = (const __m128i *)(const void *)(group + 32);
#pragma GCC unroll 16
        for (size_t p = 0; p < PT_BLOCK / 2; p++) {
            __m256i w_low = _mm256_cvtepi8_epi16(_mm_loadu_si128(w + 2 * p));
            __m256i w_high = _mm256_cvtepi8_epi16(_mm_loadu_si128(w + 2 * p + 1));
#pragma GCC unroll 4
            for (size_t t = 0; t < n_tile; t++) {
                __m256i x = pair(q[t] + b * PT_BLOCK + 2 * p);
                low[t] = _mm256_add_epi32(low[t], _mm256_madd_epi16(w_low, x));
                high[t] = _mm256_add_epi32(high[t], _mm256_madd_epi16(w_high, x));
            }
        }
        const __m128i *scales = (const __m128i *)(const void *)group;
        __m256 scale_low = _mm256_cvtph_ps(_mm_loadu_si128(scales));
        __m256 scale_high = _mm256_cvtph_ps(_mm_loadu_si128(scales + 1));
        for (size_t t = 0; t < n_tile; t++) {
            __m256 dot_low = _mm256_cvtepi32_ps(low[t]), dot_high = _mm256_cvtepi32_ps(high[t]);
            sums[t][0] = _mm256_add_ps(sums[t][0], _mm256_mul_ps(scale_low, dot_low));
            sums[t][1] = _mm256_add_ps(sums[t][1], _mm256_mul_ps(scale_high, dot_high));
        }
    }
}

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate);

static void pack_q8(const pt_matrix *m, uint8_t *packed) { pt_pack_q8(m, 2, packed); }

#define PT_NAME "avx2"
#define PT_TABLE pt_kernels_avx2
#define PT_WIDTH 8
#define PT_HALVES(p) halves(p)
#define PT_PACKED_Q8
#include "kernels_body.h"

PT_TILE void rows_q8(const pt_matrix *m, size_t g, const pt_operand *x, size_t row, size_t n_tile,
                     float *y, size_t y_stride, bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK;
    const int16_t *q[4];
    __m256 sums[4][2];
    for (size_t t = 0; t < n_tile; t++) {
        q[t] = x->q + (row + t) * m->n_in;
        sums[t][0] = sums[t][1] = _mm256_setzero_ps();
    }
    tile_q8(m->packed + g * n_blocks * PT_GROUP_BLOCK, n_blocks, q, n_tile, sums);
    for (size_t t = 0; t < n_tile; t++) {
        __m256 scale = _mm256_set1_ps(x->scale[row + t]);
        sixteen scaled = {{_mm256_mul_ps(sums[t][0], scale), _mm256_mul_ps(sums[t][1], scale)}};
        store_group(m, g, scaled, y + (row + t) * y_stride, accumulate);
    }
}

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate) {
    for (size_t g = first; g < last; g++) {
        size_t row = 0;
        for (; row + 4 <= n_rows; row += 4) rows_q8(m, g, x, row, 4, y, y_stride, accumulate);
        for (; row < n_rows; row++) rows_q8(m, g, x, row, 1, y, y_stride, accumulate);
    }
}
