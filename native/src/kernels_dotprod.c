// SPDX-License-Identifier: Apache-2.0
// AArch64 with the dot-product extension (ARMv8.2): Cortex-A76 (RK3588, Raspberry Pi 5) and later.
//
// sdot multiplies int8 by int8, so an int16 activation is split exactly: q = 256 * high + low with
// both halves in -128..127. The repacked chunks hold four inputs of 16 rows; each sdot takes four
// rows and a broadcast lane of four activations.
#include "internal.h"

#include <arm_neon.h>

#define PT_TILE static inline __attribute__((always_inline))

static inline float32x4_t four_halves(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

typedef struct halves {
    int8x16_t high, low;
} halves;

// Sixteen int16 into their exact halves: |q| <= PT_Q16_MAX keeps high within int8.
static inline halves split(const int16_t *q) {
    int16x8_t a = vld1q_s16(q), b = vld1q_s16(q + 8);
    int8x16_t low = vcombine_s8(vmovn_s16(a), vmovn_s16(b));
    int16x8_t high_a = vrshrq_n_s16(a, 8), high_b = vrshrq_n_s16(b, 8);
    return (halves){vcombine_s8(vmovn_s16(high_a), vmovn_s16(high_b)), low};
}

#define PT_DOT(lane)                                                              \
    for (int i = 0; i < 4; i++) {                                                 \
        int8x16_t w4 = vld1q_s8(w + 64 * (lane) + 16 * i);                        \
        high[i] = vdotq_laneq_s32(high[i], w4, x.high, lane);                     \
        low[i] = vdotq_laneq_s32(low[i], w4, x.low, lane);                        \
    }

PT_TILE void tile_q8(const uint8_t *group, size_t n_blocks, const int16_t *q, float32x4_t *sums) {
    for (size_t b = 0; b < n_blocks; b++, group += PT_GROUP_BLOCK, q += PT_BLOCK) {
        int32x4_t high[4], low[4];
        for (int i = 0; i < 4; i++) high[i] = low[i] = vdupq_n_s32(0);
        const int8_t *w = (const int8_t *)group + 32;
        for (int part = 0; part < 2; part++, w += 256) {
            halves x = split(q + 16 * part);
            PT_DOT(0)
            PT_DOT(1)
            PT_DOT(2)
            PT_DOT(3)
        }
        const uint16_t *scales = (const uint16_t *)(const void *)group;
        for (int i = 0; i < 4; i++) {
            float32x4_t dot = vcvtq_f32_s32(vaddq_s32(vshlq_n_s32(high[i], 8), low[i]));
            sums[i] = vaddq_f32(sums[i], vmulq_f32(four_halves(scales + 4 * i), dot));
        }
    }
}

static void matmul_packed_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate);

static bool pack_q8(const pt_matrix *m, uint8_t *packed) {
    pt_pack_q8(m, 4, packed);
    return true;
}

#define PT_NAME "dotprod"
#define PT_TABLE pt_kernels_dotprod
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
