// SPDX-License-Identifier: Apache-2.0
// x86-64 with AVX-512 (F, BW, VL) and VNNI: Ice Lake, Zen 4, and everything since.
//
// Repacked Q8_0. A group is 16 output rows; a block is 32 inputs; for each (group, block):
//
//     32 bytes    16 f16 scales, one a row
//     16 x 32     pair p of inputs (2p, 2p+1): row 0 both, row 1 both, ... row 15 both, int8
//
// One pair chunk widens to one register and meets one broadcast int32 that holds the two int16
// activations: vpdpwssd multiplies, adds pairs and accumulates 16 rows in one instruction. Several
// accumulators hide its latency; integer sums do not mind the order. 32 products of at most
// 128 * 32639 fit an int32.
#include "internal.h"

#include <immintrin.h>

#define PT_TILE static inline __attribute__((always_inline))

enum {
    AHEAD = 2 * PT_GROUP_BLOCK,  // bytes, as in kernels_avx2.c
    ROWS = 8,                    // of activations in a tile
};

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

// `n` rows of activations (a constant after inlining) against one group: each weight is widened once
// for all. The first tile of a group meets it in memory and asks for what comes two blocks later.
PT_TILE void tile_rows(const uint8_t *group, size_t n_blocks, const int16_t *q, size_t q_stride,
                       int n, bool is_first, __m512 *sums) {
    for (size_t b = 0; b < n_blocks; b++, group += PT_GROUP_BLOCK, q += PT_BLOCK) {
        __m512i dots[ROWS];
#pragma GCC unroll 8
        for (int t = 0; t < n; t++) dots[t] = _mm512_setzero_si512();
        for (int i = 0; is_first && i < PT_GROUP_BLOCK; i += 64) {
            _mm_prefetch((const char *)group + AHEAD + i, _MM_HINT_T0);
        }
        const __m256i *w = (const __m256i *)(const void *)(group + 32);
#pragma GCC unroll 4
        for (int p = 0; p < PT_BLOCK / 2; p++) {
            __m512i wide = _mm512_cvtepi8_epi16(_mm256_loadu_si256(w + p));
#pragma GCC unroll 8
            for (int t = 0; t < n; t++) {
                const int16_t *x = q + (size_t)t * q_stride + 2 * p;
                dots[t] = _mm512_dpwssd_epi32(dots[t], wide, pair(x));
            }
        }
        __m512 scale =
            _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)group));
#pragma GCC unroll 8
        for (int t = 0; t < n; t++) {
            __m512 product = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(dots[t]));
            sums[t] = _mm512_add_ps(sums[t], product);
        }
    }
}

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate);

static bool pack_q8(const pt_matrix *m, uint8_t *packed) {
    pt_pack_q8(m, 2, packed);
    return true;
}

#define PT_NAME "avx512"
#define PT_TABLE pt_kernels_avx512
#define PT_WIDTH 16
#define PT_HALVES(p) halves(p)
#define PT_PACKED_Q8
#include "kernels_body.h"

PT_TILE void one_row(const pt_matrix *m, size_t g, int n, const pt_operand *x, float *y,
                     bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK, group_size = n_blocks * PT_GROUP_BLOCK;
    __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                      _mm512_setzero_ps()};
    tile_1(m->packed + g * group_size, group_size, n_blocks, x->q, n, sums);
    for (int i = 0; i < n; i++) {
        sixteen scaled = {{_mm512_mul_ps(sums[i], _mm512_set1_ps(*x->scale))}};
        store_group(m, g + (size_t)i, scaled, y, accumulate);
    }
}

PT_TILE void some_rows(const pt_matrix *m, size_t g, int n, const pt_operand *x, size_t row,
                       float *y, size_t y_stride, bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK;
    __m512 sums[ROWS];
    for (int t = 0; t < n; t++) sums[t] = _mm512_setzero_ps();
    tile_rows(m->packed + g * n_blocks * PT_GROUP_BLOCK, n_blocks, x->q + row * m->n_in, m->n_in,
              n, row == 0, sums);
    for (int t = 0; t < n; t++, row++) {
        sixteen scaled = {{_mm512_mul_ps(sums[t], _mm512_set1_ps(x->scale[row]))}};
        store_group(m, g, scaled, y + row * y_stride, accumulate);
    }
}

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate) {
    if (n_rows == 1) {
        size_t g = first;
        for (; g + 4 <= last; g += 4) one_row(m, g, 4, x, y, accumulate);
        for (; g < last; g++) one_row(m, g, 1, x, y, accumulate);
        return;
    }
    size_t n_tiles = (n_rows + ROWS - 1) / ROWS;
    for (size_t g = first; g < last; g++) {
        for (size_t tile = 0; tile < n_tiles; tile++) {
            size_t row, end;
            pt_share(n_rows, (uint32_t)tile, (uint32_t)n_tiles, &row, &end);
            switch (end - row) {
            case 8: some_rows(m, g, 8, x, row, y, y_stride, accumulate); break;
            case 7: some_rows(m, g, 7, x, row, y, y_stride, accumulate); break;
            case 6: some_rows(m, g, 6, x, row, y, y_stride, accumulate); break;
            case 5: some_rows(m, g, 5, x, row, y, y_stride, accumulate); break;
            case 4: some_rows(m, g, 4, x, row, y, y_stride, accumulate); break;
            case 3: some_rows(m, g, 3, x, row, y, y_stride, accumulate); break;
            default: some_rows(m, g, 2, x, row, y, y_stride, accumulate);
            }
        }
    }
}
