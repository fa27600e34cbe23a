// SPDX-License-Identifier: Apache-2.0
// The numbers that pass between matrix products (IO) and those that are computed with (REAL).
//
// IO is REAL, or with -DIO_BF16 the upper half of a float, which the matrix units multiply twice as fast and which moves
// half the bytes. REAL is float, or double where a test compares gradients.
#ifndef PARROT_TOOLS_IO_H
#define PARROT_TOOLS_IO_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef REAL
#define REAL float
#endif

#ifdef IO_BF16
typedef uint16_t io;

static inline REAL from_io(io x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

// To the nearest, ties to even. Not a number stays one only by its upper bits: -ffast-math assumes there is none, and
// the trainer looks at the loss.
static inline io to_io(REAL x) {
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return (io)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
#else
typedef REAL io;

static inline REAL from_io(io x) { return x; }
static inline io to_io(REAL x) { return x; }
#endif

static inline REAL exponential(REAL x) { return sizeof(REAL) == 4 ? (REAL)expf((float)x) : (REAL)exp((double)x); }
static inline REAL sigmoid(REAL x) { return 1 / (1 + exponential(-x)); }

#endif
