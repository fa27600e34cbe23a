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

enum { AHEAD = 2 * PT_GROUP_BLOCK };  // bytes; measured: 1 to 8 kB are alike, none costs a sixth

static inline __m256 halves(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline __m256i pair(const int16_t *q) {
    int32_t both;
    memcpy(&both, q, sizeof both);
    return _mm256_set1_epi32(both);
}

static inline const __m128i *weights(const uint8_t *group, int p) {  // pair p of 16 rows
    return (const __m128i *)(const void *)(group + 2 * PT_GROUP) + 2 * p;
}

static inline __m256i dot_pairs(__m256i sum, __m256i w, __m256i x) {
    __m256i t;
    __asm__("vpmaddwd %[x], %[w], %[t]\n\tvpaddd %[t], %[s], %[s]"
            : [s] "+x"(sum), [t] "=&x"(t)
            : [w] "x"(w), [x] "x"(x));
    return sum;
}

// sums += the group's scales at `block` times the block's integer sums.
static inline void add_scaled(__m256 *sums, const uint8_t *block, __m256i low, __m256i high) {
    const __m128i *scales = (const __m128i *)(const void *)block;
    __m256 scale_low = _mm256_cvtph_ps(_mm_loadu_si128(scales));
    __m256 scale_high = _mm256_cvtph_ps(_mm_loadu_si128(scales + 1));
    sums[0] = _mm256_add_ps(sums[0], _mm256_mul_ps(scale_low, _mm256_cvtepi32_ps(low)));
    sums[1] = _mm256_add_ps(sums[1], _mm256_mul_ps(scale_high, _mm256_cvtepi32_ps(high)));
}

// One row of activations against `n` groups (a constant after inlining), read as n streams: memory
// gives more to several streams than to one, and each broadcast pair serves them all. What comes two
// blocks later is asked for now; past a group's end that is the next group, or nothing.
PT_TILE void tile_1(const uint8_t *group, size_t group_size, size_t n_blocks, const int16_t *q,
                    int n, __m256 (*sums)[2]) {
    for (size_t b = 0; b < n_blocks; b++, group += PT_GROUP_BLOCK, q += PT_BLOCK) {
        __m256i low[4], high[4];
        for (int i = 0; i < n; i++) low[i] = high[i] = _mm256_setzero_si256();
#pragma GCC unroll 1
        for (int p = 0; p < PT_BLOCK / 2; p += 2) {  // a cache line of each stream
            __m256i first = pair(q + 2 * p), second = pair(q + 2 * p + 2);
#pragma GCC unroll 4
            for (int i = 0; i < n; i++) {
                const __m128i *w = weights(group + (size_t)i * group_size, p);
                _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
                low[i] = dot_pairs(low[i], _mm256_cvtepi8_epi16(_mm_loadu_si128(w)), first);
                high[i] = dot_pairs(high[i], _mm256_cvtepi8_epi16(_mm_loadu_si128(w + 1)), first);
                low[i] = dot_pairs(low[i], _mm256_cvtepi8_epi16(_mm_loadu_si128(w + 2)), second);
                high[i] = dot_pairs(high[i], _mm256_cvtepi8_epi16(_mm_loadu_si128(w + 3)), second);
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < n; i++) {
            add_scaled(sums[i], group + (size_t)i * group_size, low[i], high[i]);
        }
    }
}

// `n` rows of activations (a constant after inlining) against one group: each weight is widened once
// for all.
PT_TILE void tile_rows(const uint8_t *group, size_t n_blocks, const int16_t *q, size_t q_stride,
                       int n, __m256 (*sums)[2]) {
    for (size_t b = 0; b < n_blocks; b++, group += PT_GROUP_BLOCK, q += PT_BLOCK) {
        __m256i low[4], high[4];
        for (int t = 0; t < n; t++) low[t] = high[t] = _mm256_setzero_si256();
#pragma GCC unroll 2
        for (int p = 0; p < PT_BLOCK / 2; p++) {
            const __m128i *w = weights(group, p);
            __m256i w_low = _mm256_cvtepi8_epi16(_mm_loadu_si128(w));
            __m256i w_high = _mm256_cvtepi8_epi16(_mm_loadu_si128(w + 1));
#pragma GCC unroll 4
            for (int t = 0; t < n; t++) {
                __m256i x = pair(q + (size_t)t * q_stride + 2 * p);
                low[t] = dot_pairs(low[t], w_low, x);
                high[t] = dot_pairs(high[t], w_high, x);
            }
        }
#pragma GCC unroll 4
        for (int t = 0; t < n; t++) add_scaled(sums[t], group, low[t], high[t]);
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

PT_TILE void one_row(const pt_matrix *m, size_t g, int n, const pt_operand *x, size_t row,
                     float *y, size_t y_stride, bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK, group_size = n_blocks * PT_GROUP_BLOCK;
    __m256 sums[4][2] = {{_mm256_setzero_ps()}}, scale = _mm256_set1_ps(x->scale[row]);
    tile_1(m->packed + g * group_size, group_size, n_blocks, x->q + row * m->n_in, n, sums);
    for (int i = 0; i < n; i++) {
        sixteen scaled = {{_mm256_mul_ps(sums[i][0], scale), _mm256_mul_ps(sums[i][1], scale)}};
        store_group(m, g + (size_t)i, scaled, y + row * y_stride, accumulate);
    }
}

PT_TILE void four_rows(const pt_matrix *m, size_t g, const pt_operand *x, size_t row, float *y,
                       size_t y_stride, bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK;
    __m256 sums[4][2] = {{_mm256_setzero_ps()}};
    tile_rows(m->packed + g * n_blocks * PT_GROUP_BLOCK, n_blocks, x->q + row * m->n_in, m->n_in,
              4, sums);
    for (size_t t = 0; t < 4; t++) {
        __m256 scale = _mm256_set1_ps(x->scale[row + t]);
        sixteen scaled = {{_mm256_mul_ps(sums[t][0], scale), _mm256_mul_ps(sums[t][1], scale)}};
        store_group(m, g, scaled, y + (row + t) * y_stride, accumulate);
    }
}

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate) {
    size_t whole = n_rows / 4 * 4;
    for (size_t g = first; g < last; g++) {
        for (size_t row = 0; row < whole; row += 4) {
            four_rows(m, g, x, row, y, y_stride, accumulate);
        }
    }
    for (size_t row = whole; row < n_rows; row++) {
        size_t g = first;
        for (; g + 4 <= last; g += 4) one_row(m, g, 4, x, row, y, y_stride, accumulate);
        for (; g < last; g++) one_row(m, g, 1, x, row, y, y_stride, accumulate);
    }
}
