// SPDX-License-Identifier: Apache-2.0
// The numbers that pass between matrix products (IO) and those that are computed with (REAL).
//
// IO is REAL, or with -DIO_BF16 the upper half of a float, which the matrix units multiply twice as fast and which moves
// half the bytes. REAL is float, or double where a test compares gradients.
#ifndef PARROT_TOOLS_IO_H
#define PARROT_TOOLS_IO_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#ifndef REAL
#define REAL float
#define LANES 16  // of one vector of 64 bytes
#endif

typedef REAL vec __attribute__((vector_size(64), aligned(sizeof(REAL)), may_alias));
typedef REAL avec __attribute__((vector_size(64), may_alias));

static inline REAL sum_lanes(avec x) {
#if defined __AVX512F__ && LANES == 16
    return _mm512_reduce_add_ps((__m512)x);
#else
    REAL s = 0;
    for (int l = 0; l < LANES; l++) s += x[l];
    return s;
#endif
}

#ifdef IO_BF16
typedef uint16_t io;
typedef uint16_t halves __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t words __attribute__((vector_size(64)));

static inline REAL from_io(io x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

// To the nearest, ties to even. What is no number may become another one that is none, or infinite: the trainer looks at
// the loss, not at these.
static inline io to_io(REAL x) {
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return (io)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline avec load_io(const io *x) {
    return (avec)(__builtin_convertvector(*(const halves *)x, words) << 16);
}

static inline void store_io(io *to, avec x) {
#ifdef __AVX512BF16__
    *(halves *)to = (halves)_mm512_cvtneps_pbh((__m512)x);
#else
    words bits = (words)x;
    *(halves *)to = __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, halves);
#endif
}
#else
typedef REAL io;

static inline REAL from_io(io x) { return x; }
static inline io to_io(REAL x) { return x; }
static inline avec load_io(const io *x) { return *(const vec *)x; }
static inline void store_io(io *to, avec x) { *(vec *)to = x; }
#endif

static inline REAL exponential(REAL x) { return sizeof(REAL) == 4 ? (REAL)expf((float)x) : (REAL)exp((double)x); }
static inline REAL sigmoid(REAL x) { return 1 / (1 + exponential(-x)); }

#endif
