// SPDX-License-Identifier: Apache-2.0
// binary16 for the emulated GPU: storage and conversions, to nearest with ties to even.
#ifndef EMULATED_CUDA_FP16_H
#define EMULATED_CUDA_FP16_H

#include "cuda_runtime.h"

struct __half {
    uint16_t bits;
};
struct __half2 {
    __half x, y;
};

inline float __half2float(__half h) {
    unsigned sign = (unsigned)(h.bits >> 15) << 31, exponent = h.bits >> 10 & 31, part = h.bits & 1023;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | part << 13);
    if (exponent > 0) return __uint_as_float(sign | (exponent + 112) << 23 | part << 13);
    float small = (float)part * 0x1p-24f;
    return sign ? -small : small;
}

inline float2 __half22float2(__half2 pair) { return {__half2float(pair.x), __half2float(pair.y)}; }

inline __half __float2half_rn(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    const float size = fabsf(x);
    if (x != x) return {(uint16_t)(sign | 0x7e00)};
    if (size >= 65520.0f) return {(uint16_t)(sign | 0x7c00)};
    if (size < 0x1p-14f) return {(uint16_t)(sign | (uint16_t)rintf(size * 0x1p24f))};
    unsigned kept = (bits & 0x7fffffff) - (112u << 23);
    kept += 0xfff + (kept >> 13 & 1);  // half a unit, and a tie goes to even
    return {(uint16_t)(sign | kept >> 13)};
}

#endif
