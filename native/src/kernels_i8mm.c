// SPDX-License-Identifier: Apache-2.0
// AArch64 with int8 matrix multiplication (ARMv8.6): Cortex-A510, A710, X2, Neoverse V1 and later.
//
// smmla multiplies two rows of eight weights by two rows of eight activations. The second pair is
// one int16 row split exactly, q = 256 * high + low as in kernels_dotprod.c, so that one instruction
// does what two of sdot do there. The repacked chunks hold eight inputs of 16 rows.
#include "internal.h"

#include <arm_neon.h>

#define PT_TILE static inline __attribute__((always_inline))

static inline float32x4_t four_halves(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

// Eight int16 as two rows of int8: the high halves, then the low ones.
static inline int8x16_t split(const int16_t *q) {
    int16x8_t x = vld1q_s16(q);
    return vcombine_s8(vmovn_s16(vrshrq_n_s16(x, 8)), vmovn_s16(x));
}

// `n` rows of activations (a constant after inlining) against one group. sums (n, 4).
PT_TILE void tile_q8(const uint8_t *group, size_t n_blocks, const int16_t *q, size_t q_stride,
                     size_t n, float32x4_t (*sums)[4]) {
    for (size_t b = 0; b < n_blocks; b++, group += PT_GROUP_BLOCK, q += PT_BLOCK) {
        int32x4_t dots[2][8];  // of rows 2i and 2i + 1: high, low, high, low
        for (size_t t = 0; t < n; t++) {
            for (int i = 0; i < 8; i++) dots[t][i] = vdupq_n_s32(0);
        }
        const int8_t *w = (const int8_t *)group + 2 * PT_GROUP;
        for (int chunk = 0; chunk < PT_BLOCK / 8; chunk++, w += 8 * PT_GROUP) {
            int8x16_t x[2];
            for (size_t t = 0; t < n; t++) x[t] = split(q + t * q_stride + 8 * chunk);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                int8x16_t w2 = vld1q_s8(w + 16 * i);
#pragma GCC unroll 2
                for (size_t t = 0; t < n; t++) dots[t][i] = vmmlaq_s32(dots[t][i], w2, x[t]);
            }
        }
        const uint16_t *scales = (const uint16_t *)(const void *)group;
        for (int i = 0; i < 4; i++) {
            float32x4_t scale = four_halves(scales + 4 * i);
            for (size_t t = 0; t < n; t++) {
                int32x4_t high = vuzp1q_s32(dots[t][2 * i], dots[t][2 * i + 1]);
                int32x4_t low = vuzp2q_s32(dots[t][2 * i], dots[t][2 * i + 1]);
                float32x4_t dot = vcvtq_f32_s32(vaddq_s32(vshlq_n_s32(high, 8), low));
                sums[t][i] = vaddq_f32(sums[t][i], vmulq_f32(scale, dot));
            }
        }
    }
}

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate);

static bool pack_q8(const pt_matrix *m, uint8_t *packed) {
    pt_pack_q8(m, 8, packed);
    return true;
}

#define PT_NAME "i8mm"
#define PT_TABLE pt_kernels_i8mm
#define PT_WIDTH 4
#define PT_HALVES(p) four_halves(p)
#define PT_PACKED_Q8
#include "kernels_body.h"

PT_TILE void rows_q8(const pt_matrix *m, size_t g, const pt_operand *x, size_t row, size_t n,
                     float *y, size_t y_stride, bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK;
    float32x4_t sums[2][4];
    for (size_t t = 0; t < n; t++) {
        for (int i = 0; i < 4; i++) sums[t][i] = vdupq_n_f32(0.0f);
    }
    tile_q8(m->packed + g * n_blocks * PT_GROUP_BLOCK, n_blocks, x->q + row * m->n_in, m->n_in, n,
            sums);
    for (size_t t = 0; t < n; t++) {
        sixteen scaled;
        for (int i = 0; i < 4; i++) scaled.part[i] = vmulq_n_f32(sums[t][i], x->scale[row + t]);
        store_group(m, g, scaled, y + (row + t) * y_stride, accumulate);
    }
}

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate) {
    for (size_t g = first; g < last; g++) {
        size_t row = 0;
        for (; row + 2 <= n_rows; row += 2) rows_q8(m, g, x, row, 2, y, y_stride, accumulate);
        for (; row < n_rows; row++) rows_q8(m, g, x, row, 1, y, y_stride, accumulate);
    }
}
