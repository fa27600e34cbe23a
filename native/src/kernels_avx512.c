// SPDX-License-Identifier: Apache-2.0
// x86-64 with AVX-512 (F, BW, VL) and VNNI: Ice Lake, Zen 4, and everything since.
//
// The repacked layout is the one of kernels_avx2.c. Here one pair chunk widens to one register, and
// vpdpwssd multiplies, adds pairs and accumulates 16 rows in one instruction. Four accumulators hide
// its latency; integer sums do not mind the order.
#include "internal.h"

#include <immintrin.h>

#define PT_TILE static inline __attribute__((always_inline))

static inline void f16x16(const uint16_t *p, float *out) {
    __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)p);
    _mm512_storeu_ps(out, _mm512_cvtph_ps(h));
}

static inline __m512i pair(const int16_t *q) {
    int32_t both;
    memcpy(&both, q, sizeof both);
    return _mm512_set1_epi32(both);
}

// One row of activations against one group.
PT_TILE __m512 tile_1(const uint8_t *group, size_t n_blocks, const int16_t *q) {
    __m512 sum = _mm512_setzero_ps();
    for (size_t b = 0; b < n_blocks; b++, group += PT_GROUP_BLOCK, q += PT_BLOCK) {
        __m512i dots[4];
        for (int i = 0; i < 4; i++) dots[i] = _mm512_setzero_si512();
        const __m256i *w = (const __m256i *)(const void *)(group + 32);
#pragma GCC unroll 16
        for (int p = 0; p < PT_BLOCK / 2; p++) {
            __m512i wide = _mm512_cvtepi8_epi16(_mm256_loadu_si256(w + p));
            dots[p % 4] = _mm512_dpwssd_epi32(dots[p % 4], wide, pair(q + 2 * p));
        }
        __m512i dot = _mm512_add_epi32(_mm512_add_epi32(dots[0], dots[1]),
                                       _mm512_add_epi32(dots[2], dots[3]));
        __m512 scale =
            _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)group));
        sum = _mm512_add_ps(sum, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(dot)));
    }
    return sum;
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
#define PT_F16X16(p, out) f16x16(p, out)
#define PT_PACKED_Q8
#include "kernels_body.h"

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK;
    for (size_t g = first; g < last; g++) {
        const uint8_t *group = m->packed + g * n_blocks * PT_GROUP_BLOCK;
        size_t row = 0;
        while (row < n_rows) {
            __m512 sums[8];
            size_t n_tile = n_rows - row >= 8 ? 8 : 1;
            if (n_tile == 8) {
                for (int t = 0; t < 8; t++) sums[t] = _mm512_setzero_ps();
                tile_8(group, n_blocks, x->q + row * m->n_in, m->n_in, sums);
            } else {
                sums[0] = tile_1(group, n_blocks, x->q + row * m->n_in);
            }
            for (size_t t = 0; t < n_tile; t++, row++) {
                float lanes[PT_GROUP];
                _mm512_storeu_ps(lanes, _mm512_mul_ps(sums[t], _mm512_set1_ps(x->scale[row])));
                store_group(m, g, lanes, y + row * y_stride, accumulate);
            }
        }
    }
}
