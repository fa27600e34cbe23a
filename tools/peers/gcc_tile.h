// SPDX-License-Identifier: Apache-2.0
// Included before every C++ file of llama.cpp. GCC before 13 tells its optimizer that ldtilecfg
// reads 8 bytes of the 64-byte configuration; the rest is then never stored, and llama.cpp dies of
// an illegal instruction on CPUs with AMX. This says 64, so that the peer runs at its best.
#if defined(__AMX_TILE__) && !defined(__clang__) && __GNUC__ < 13
#include <immintrin.h>
#define _tile_loadconfig(config) \
    __asm__ volatile("ldtilecfg %0" : : "m"(*(const char (*)[64])(config)))
#endif
