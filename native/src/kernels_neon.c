// SPDX-License-Identifier: Apache-2.0
// AArch64 with plain NEON: Cortex-A53 and everything since.
//
// The repacked layout is the one of kernels_avx512.c, pairs of inputs. A pair chunk widened to int16
// is multiplied by (a0, a1, a0, a1) and accumulated as (row 0 first, row 0 second, row 1 first, ...);
// the two halves of a row are added once a block.
#include "internal.h"

#include <arm_neon.h>

#define PT_TILE static inline __attribute__((always_inline))

static inline float32x4_t four_halves(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

PT_TILE void tile_q8(const uint8_t *group, size_t n_blocks, const int16_t *q, float32x4_t *sums) {
    for (size_t b = 0; b < n_blocks; b++, group += PT_GROUP_BLOCK, q += PT_BLOCK) {
        int32x4_t dots[8];
        for (int i = 0; i < 8; i++) dots[i] = vdupq_n_s32(0);
        const int8_t *w = (const int8_t *)group + 32;
        for (int p = 0; p < PT_BLOCK / 2; p++, w += 32) {
            int32_t both;
            memcpy(&both, q + 2 * p, sizeof both);
            int16x8_t x = vreinterpretq_s16_s32(vdupq_n_s32(both));
            for (int i = 0; i < 2; i++) {
                int8x16_t packed = vld1q_s8(w + 16 * i);
                int16x8_t low = vmovl_s8(vget_low_s8(packed)), high = vmovl_high_s8(packed);
                dots[4 * i] = vmlal_s16(dots[4 * i], vget_low_s16(low), vget_low_s16(x));
                dots[4 * i + 1] = vmlal_high_s16(dots[4 * i + 1], low, x);
                dots[4 * i + 2] = vmlal_s16(dots[4 * i + 2], vget_low_s16(high), vget_low_s16(x));
                dots[4 * i + 3] = vmlal_high_s16(dots[4 * i + 3], high, x);
            }
        }
        const uint16_t *scales = (const uint16_t *)(const void *)group;
        for (int i = 0; i < 4; i++) {
            float32x4_t dot = vcvtq_f32_s32(vpaddq_s32(dots[2 * i], dots[2 * i + 1]));
            sums[i] = vaddq_f32(sums[i], vmulq_f32(four_halves(scales + 4 * i), dot));
        }
    }
}

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate);

static bool pack_q8(const pt_matrix *m, uint8_t *packed) {
    pt_pack_q8(m, 2, packed);
    return true;
}

#define PT_NAME "neon"
#define PT_TABLE pt_kernels_neon
#define PT_WIDTH 4
#define PT_HALVES(p) four_halves(p)
#define PT_PACKED_Q8
#include "kernels_body.h"

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK;
    for (size_t g = first; g < last; g++) {
        for (size_t row = 0; row < n_rows; row++) {
            sixteen scaled;
            float32x4_t sums[4];
            for (int i = 0; i < 4; i++) sums[i] = vdupq_n_f32(0.0f);
            tile_q8(m->packed + g * n_blocks * PT_GROUP_BLOCK, n_blocks, x->q + row * m->n_in,
                    sums);
            for (int i = 0; i < 4; i++) scaled.part[i] = vmulq_n_f32(sums[i], x->scale[row]);
            store_group(m, g, scaled, y + row * y_stride, accumulate);
        }
    }
}
