// SPDX-License-Identifier: Apache-2.0
// The plain kernels: what every other table is judged against, and what runs anywhere. They compute
// from the file's own layout and spend no memory on a repacked copy.
#include "internal.h"

typedef float four __attribute__((vector_size(16)));

// IEEE 754 half to float: shift the fields into place; subnormals by an exact multiplication.
static float half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = h >> 10 & 0x1fu, mantissa = h & 0x3ffu;
    uint32_t bits = sign | (exponent + 112u) << 23 | mantissa << 13;
    if (exponent == 31u) bits = sign | 0x7f800000u | mantissa << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    if (exponent == 0) {
        value = (float)mantissa * 5.9604644775390625e-8f;  // 2^-24
        value = sign ? -value : value;
    }
    return value;
}

static four halves(const uint16_t *p) {
    return (four){half_to_float(p[0]), half_to_float(p[1]), half_to_float(p[2]),
                  half_to_float(p[3])};
}

#define PT_NAME "scalar"
#define PT_TABLE pt_kernels_scalar
#define PT_WIDTH 4
#define PT_HALVES(p) halves(p)
#include "kernels_body.h"
