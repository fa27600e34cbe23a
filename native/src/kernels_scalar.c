// SPDX-License-Identifier: Apache-2.0
// The plain kernels: what every other table is judged against, and what runs anywhere. They compute
// from the file's own layout and spend no memory on a repacked copy.
#include "internal.h"

// IEEE 754 half to float: shift the fields into place; subnormals by an exact multiplication.
static void halves_to_floats(const uint16_t *h, float *out) {
    for (int i = 0; i < PT_GROUP; i++) {
        uint32_t sign = (uint32_t)(h[i] & 0x8000u) << 16;
        uint32_t exponent = h[i] >> 10 & 0x1fu, mantissa = h[i] & 0x3ffu;
        uint32_t bits = sign | (exponent + 112u) << 23 | mantissa << 13;
        if (exponent == 31u) bits = sign | 0x7f800000u | mantissa << 13;
        memcpy(&out[i], &bits, sizeof bits);
        if (exponent == 0) {
            float small = (float)mantissa * 5.9604644775390625e-8f;  // 2^-24
            out[i] = sign ? -small : small;
        }
    }
}

#define PT_NAME "scalar"
#define PT_TABLE pt_kernels_scalar
#define PT_F16X16(p, out) halves_to_floats(p, out)
#include "kernels_body.h"
