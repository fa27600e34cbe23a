// SPDX-License-Identifier: Apache-2.0
// x86-64 with AVX2 and F16C: Haswell (2013), Zen, and everything since.
//
// Repacked Q8_0. A group is 16 output rows; a block is 32 inputs; for each (group, block):
//
//     32 bytes    16 f16 scales, one a row
//     16 x 32     pair p of inputs (2p, 2p+1): rows 0 and 8, rows 1 and 9, ... rows 7 and 15; for
//                 each, for both inputs, an int16: 256 times the high row's weight, plus the low's
//
// One pair chunk meets one broadcast int32 that holds the two int16 activations. vpmaddwd gives eight
// sums 256 high + low in 8 lanes, so nothing is ever summed across a register. vpmulhrsw by 128
// divides by 256 and rounds: that is the high row alone, for a second vpmaddwd; the low row's sum is
// the difference, exact modulo 2^32. Widening int8 to int16 instead takes two shuffles for that one
// multiplication. 32 products of at most 128 * 32639 fit an int32.
#include "internal.h"

#include <immintrin.h>

#define PT_TILE static inline __attribute__((always_inline))

enum {
    AHEAD = 2 * PT_GROUP_BLOCK,  // bytes; measured: 1 to 8 kB are alike, none costs a sixth
    ROWS = 4,                    // of activations in a tile: eight sums, and registers for the rest
};

static inline __m256 halves(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline __m256i pair(const int16_t *q) {
    int32_t both;
    memcpy(&both, q, sizeof both);
    return _mm256_set1_epi32(both);
}

static inline __m256i weights(const uint8_t *group, int p) {  // pair p of 16 rows
    return _mm256_loadu_si256((const __m256i *)(const void *)(group + 2 * PT_GROUP) + p);
}

static inline __m256i high_rows(__m256i joined) {
    return _mm256_mulhrs_epi16(joined, _mm256_set1_epi16(128));
}

static inline __m256i dot_pairs(__m256i sum, __m256i w, __m256i x) {
    __m256i t;
    __asm__("vpmaddwd %[x], %[w], %[t]\n\tvpaddd %[t], %[s], %[s]"
            : [s] "+x"(sum), [t] "=&x"(t)
            : [w] "x"(w), [x] "x"(x));
    return sum;
}

// sums += the group's scales at `block` times the block's integer sums: joined is 256 high + low.
static inline void add_scaled(__m256 *sums, const uint8_t *block, __m256i joined, __m256i high) {
    const __m128i *scales = (const __m128i *)(const void *)block;
    __m256 scale_low = _mm256_cvtph_ps(_mm_loadu_si128(scales));
    __m256 scale_high = _mm256_cvtph_ps(_mm_loadu_si128(scales + 1));
    __m256i low = _mm256_sub_epi32(joined, _mm256_slli_epi32(high, 8));
    sums[0] = _mm256_add_ps(sums[0], _mm256_mul_ps(scale_low, _mm256_cvtepi32_ps(low)));
    sums[1] = _mm256_add_ps(sums[1], _mm256_mul_ps(scale_high, _mm256_cvtepi32_ps(high)));
}

// One row of activations against `n` groups (a constant after inlining), read as n streams: memory
// gives more to several streams than to one, and each broadcast pair serves them all. What comes two
// blocks later is asked for now; past a group's end that is the next group, or nothing.
PT_TILE void tile_1(const uint8_t *group, size_t group_size, size_t n_blocks, const int16_t *q,
                    int n, __m256 (*sums)[2]) {
    for (size_t b = 0; b < n_blocks; b++, group += PT_GROUP_BLOCK, q += PT_BLOCK) {
        __m256i joined[4], high[4];
        for (int i = 0; i < n; i++) joined[i] = high[i] = _mm256_setzero_si256();
#pragma GCC unroll 1
        for (int p = 0; p < PT_BLOCK / 2; p += 2) {  // a cache line of each stream
            __m256i first = pair(q + 2 * p), second = pair(q + 2 * p + 2);
#pragma GCC unroll 4
            for (int i = 0; i < n; i++) {
                const uint8_t *stream = group + (size_t)i * group_size;
                __m256i w = weights(stream, p), w_next = weights(stream, p + 1);
                _mm_prefetch((const char *)stream + 2 * PT_GROUP + 32 * p + AHEAD, _MM_HINT_T0);
                joined[i] = dot_pairs(joined[i], w, first);
                high[i] = dot_pairs(high[i], high_rows(w), first);
                joined[i] = dot_pairs(joined[i], w_next, second);
                high[i] = dot_pairs(high[i], high_rows(w_next), second);
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < n; i++) {
            add_scaled(sums[i], group + (size_t)i * group_size, joined[i], high[i]);
        }
    }
}

// `n` rows of activations (a constant after inlining) against one group. The first tile of a group
// meets it in memory and asks for what comes two blocks later.
PT_TILE void tile_rows(const uint8_t *group, size_t n_blocks, const int16_t *q, size_t q_stride,
                       int n, bool is_first, __m256 (*sums)[2]) {
    for (size_t b = 0; b < n_blocks; b++, group += PT_GROUP_BLOCK, q += PT_BLOCK) {
        __m256i joined[ROWS], high[ROWS];
        for (int t = 0; t < n; t++) joined[t] = high[t] = _mm256_setzero_si256();
        for (int i = 0; is_first && i < PT_GROUP_BLOCK; i += 64) {
            _mm_prefetch((const char *)group + AHEAD + i, _MM_HINT_T0);
        }
#pragma GCC unroll 2
        for (int p = 0; p < PT_BLOCK / 2; p++) {
            __m256i w = weights(group, p), w_high = high_rows(w);
#pragma GCC unroll 4
            for (int t = 0; t < n; t++) {
                __m256i x = pair(q + (size_t)t * q_stride + 2 * p);
                joined[t] = dot_pairs(joined[t], w, x);
                high[t] = dot_pairs(high[t], w_high, x);
            }
        }
#pragma GCC unroll 4
        for (int t = 0; t < n; t++) add_scaled(sums[t], group, joined[t], high[t]);
    }
}

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate);

// Interleave pairs, then join the rows of each pair. A high row's -128 does not fit beside a negative
// low one; quantisers of Q8_0 stop at -127, so what has one is computed as it is mapped.
static bool pack_q8(const pt_matrix *m, uint8_t *packed) {
    size_t n_blocks = m->n_in / PT_BLOCK;
    pt_pack_q8(m, 2, packed);
    for (size_t i = 0; i < pt_groups(m) * n_blocks; i++) {
        uint8_t *pairs = packed + i * PT_GROUP_BLOCK + 2 * PT_GROUP;
        for (int p = 0; p < PT_BLOCK / 2; p++, pairs += 2 * PT_GROUP) {
            const int8_t *low = (const int8_t *)pairs, *high = low + PT_GROUP;
            int16_t joined[PT_GROUP];
            for (int l = 0; l < PT_GROUP; l++) {
                if (high[l] == INT8_MIN) return false;
                joined[l] = (int16_t)(256 * high[l] + low[l]);
            }
            memcpy(pairs, joined, sizeof joined);
        }
    }
    return true;
}

#define PT_NAME "avx2"
#define PT_TABLE pt_kernels_avx2
#define PT_WIDTH 8
#define PT_HALVES(p) halves(p)
#define PT_PACKED_Q8
#include "kernels_body.h"

PT_TILE void one_row(const pt_matrix *m, size_t g, int n, const pt_operand *x, float *y,
                     bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK, group_size = n_blocks * PT_GROUP_BLOCK;
    __m256 sums[4][2] = {{_mm256_setzero_ps()}}, scale = _mm256_set1_ps(*x->scale);
    tile_1(m->packed + g * group_size, group_size, n_blocks, x->q, n, sums);
    for (int i = 0; i < n; i++) {
        sixteen scaled = {{_mm256_mul_ps(sums[i][0], scale), _mm256_mul_ps(sums[i][1], scale)}};
        store_group(m, g + (size_t)i, scaled, y, accumulate);
    }
}

PT_TILE void some_rows(const pt_matrix *m, size_t g, int n, const pt_operand *x, size_t row, float *y,
                       size_t y_stride, bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK;
    __m256 sums[ROWS][2] = {{_mm256_setzero_ps()}};
    tile_rows(m->packed + g * n_blocks * PT_GROUP_BLOCK, n_blocks, x->q + row * m->n_in, m->n_in,
              n, row == 0, sums);
    for (int t = 0; t < n; t++) {
        __m256 scale = _mm256_set1_ps(x->scale[row + (size_t)t]);
        sixteen scaled = {{_mm256_mul_ps(sums[t][0], scale), _mm256_mul_ps(sums[t][1], scale)}};
        store_group(m, g, scaled, y + (row + (size_t)t) * y_stride, accumulate);
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
            case 4: some_rows(m, g, 4, x, row, y, y_stride, accumulate); break;
            case 3: some_rows(m, g, 3, x, row, y, y_stride, accumulate); break;
            default: some_rows(m, g, 2, x, row, y, y_stride, accumulate);
            }
        }
    }
}
