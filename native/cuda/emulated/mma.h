// SPDX-License-Identifier: Apache-2.0
// Warp matrix products for the emulated GPU: the first lane of a warp holds the whole piece.
#ifndef EMULATED_MMA_H
#define EMULATED_MMA_H

#include "cuda_fp16.h"

namespace nvcuda {
namespace wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major };

template <typename Use, int M, int N, int K, typename T, typename Layout = void> struct fragment {
    float piece[16][16];  // a: (row, k), b: (k, column), accumulator: (row, column)
};

inline bool is_holder() { return threadIdx.x % 32 == 0; }

template <typename Fragment> void fill_fragment(Fragment &f, float x) {
    for (int i = 0; i < 16 && is_holder(); i++) {
        for (int j = 0; j < 16; j++) f.piece[i][j] = x;
    }
}

void emulated_check_piece(const void *at, unsigned stride_size);

template <int M, int N, int K>
void load_matrix_sync(fragment<matrix_a, M, N, K, __half, row_major> &f, const __half *at,
                      unsigned lead) {
    emulated_check_piece(at, lead * 2);
    for (int i = 0; i < 16 && is_holder(); i++) {
        for (int j = 0; j < 16; j++) f.piece[i][j] = __half2float(at[i * lead + j]);
    }
}

template <int M, int N, int K>
void load_matrix_sync(fragment<matrix_b, M, N, K, __half, col_major> &f, const __half *at,
                      unsigned lead) {
    emulated_check_piece(at, lead * 2);
    for (int i = 0; i < 16 && is_holder(); i++) {
        for (int j = 0; j < 16; j++) f.piece[i][j] = __half2float(at[j * lead + i]);
    }
}

template <typename D, typename A, typename B> void mma_sync(D &d, const A &a, const B &b, const D &c) {
    for (int i = 0; i < 16 && is_holder(); i++) {
        for (int j = 0; j < 16; j++) {
            float sum = c.piece[i][j];
            for (int k = 0; k < 16; k++) sum += a.piece[i][k] * b.piece[k][j];
            d.piece[i][j] = sum;
        }
    }
}

template <typename Fragment>
void store_matrix_sync(float *at, const Fragment &f, unsigned lead, layout_t) {
    emulated_check_piece(at, lead * 4);
    for (int i = 0; i < 16 && is_holder(); i++) {
        for (int j = 0; j < 16; j++) at[i * lead + j] = f.piece[i][j];
    }
}

}  // namespace wmma
}  // namespace nvcuda

#endif
