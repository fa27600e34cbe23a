// SPDX-License-Identifier: Apache-2.0
// The model id. It tells models apart by accident, not by malice, and is computed at every open, so
// it runs at memory speed: SHA-256 would take longer than all the rest of opening a model.
// Source: xxHash fast digest algorithm, specification 0.1.1, section "XXH64".
#include "internal.h"

#define P1 0x9e3779b185ebca87u
#define P2 0xc2b2ae3d27d4eb4fu
#define P3 0x165667b19e3779f9u
#define P4 0x85ebca77c2b2ae63u
#define P5 0x27d4eb2f165667c5u

static inline uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }
static inline uint64_t mix(uint64_t acc, uint64_t lane) { return rotate(acc + lane * P2, 31) * P1; }
static inline uint64_t merge(uint64_t acc, uint64_t lane) { return (acc ^ mix(0, lane)) * P1 + P4; }

uint64_t pt_xxh64(const uint8_t *p, size_t size) {
    const uint8_t *end = p + size;
    uint64_t acc = P5;
    if (size >= 32) {
        uint64_t a = P1 + P2, b = P2, c = 0, d = (uint64_t)0 - P1;
        for (; end - p >= 32; p += 32) {
            a = mix(a, pt_le64(p));
            b = mix(b, pt_le64(p + 8));
            c = mix(c, pt_le64(p + 16));
            d = mix(d, pt_le64(p + 24));
        }
        acc = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        acc = merge(merge(merge(merge(acc, a), b), c), d);
    }
    acc += size;
    for (; end - p >= 8; p += 8) acc = rotate(acc ^ mix(0, pt_le64(p)), 27) * P1 + P4;
    if (end - p >= 4) {
        acc = rotate(acc ^ pt_le32(p) * P1, 23) * P2 + P3;
        p += 4;
    }
    for (; p < end; p++) acc = rotate(acc ^ *p * P5, 11) * P1;
    acc = (acc ^ acc >> 33) * P2;
    acc = (acc ^ acc >> 29) * P3;
    return acc ^ acc >> 32;
}
