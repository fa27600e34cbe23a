// SPDX-License-Identifier: Apache-2.0
// exp as a polynomial of our own: libm's differ from system to system, and the same bytes in must
// give the same bytes out on a router and on a desktop (INV-8).
#ifndef PT_EXP_H
#define PT_EXP_H

#include <stdint.h>
#include <string.h>

#define PT_INLINE static inline __attribute__((always_inline))

// exp(x), relative error below 2e-7, for x from -87.3 to 88; outside, that of the nearer end. NaN in,
// NaN out.
// Cody and Waite's reduction to |r| <= ln(2)/2, then the minimax polynomial of Cephes' expf.
PT_INLINE float pt_exp(float x) {
    float clamped = x > 88.0f ? 88.0f : x;
    clamped = clamped < -87.3f ? -87.3f : clamped;
    float shifted = clamped * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer
    float n = shifted - 12582912.0f;
    float r = clamped - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits - 0x4b400000u + 127u) << 23;  // 2^n
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

#endif
