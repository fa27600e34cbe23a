// SPDX-License-Identifier: Apache-2.0
// y = x W^T for many rows, on the tensor cores, which multiply f16 and sum f32. One f16 of a number has
// 11 bits, and a deep model makes 1e-4 nats a byte of what that loses: so a number goes as two, the
// nearest f16 and the f16 nearest to what is missing, 22 bits in all; of the four products the one of
// both rests is left out. F16 weights are whole in the first: two products. F32 weights keep every bit of
// theirs and go through ordinary multiply-adds.
//
// A block is a tile of BM rows by BN outputs, its 8 warps a grid of 16 x 16 pieces; K is walked in steps of
// BK, the next step's loads in flight while this one is multiplied. Small tiles have few pieces a warp and
// wait rather than multiply, so their steps are longer; large ones would want more shared memory than a
// block has without asking. |x| above 131,008 / pre is clamped, NaN stays NaN.
#include "kernels.h"

#include <mma.h>

namespace wmma = nvcuda::wmma;

enum { PIECE = 16 };

// A step of K: threads take four neighbouring columns of several rows.
template <int BK> struct steps {
    enum { LEAD = BK + 8 };  // 8 halves of padding keep rows in different banks
    enum { QUADS = BK / 4, ROWS = PT_THREADS / QUADS };
};

__device__ inline __half to_half(float x) {
    const float largest = 65504.0f;
    return __float2half_rn(x > largest ? largest : x < -largest ? -largest : x);
}

// Four numbers as sums of two, each four in one store.
struct alignas(8) four_halves {
    __half of[4];
};
__device__ inline void put_halves(const float *x, __half *high, __half *low) {
    four_halves whole, rest;
    for (int j = 0; j < 4; j++) {
        whole.of[j] = to_half(x[j]);
        rest.of[j] = to_half(x[j] - __half2float(whole.of[j]));
    }
    *(four_halves *)high = whole;
    *(four_halves *)low = rest;
}

// The product and the tile of outputs that this block belongs to.
__device__ inline int my_gemm(const pt_gemms &g, int BN, int *first_out) {
    int i = 0;
    while (i + 1 < g.n && (int)blockIdx.x >= g.first_block[i + 1]) i++;
    *first_out = ((int)blockIdx.x - g.first_block[i]) * BN;
    return i;
}

// ---- tiles from memory to registers, and from registers to shared memory. What lies outside is zero.

template <int ROWS, int BK>
__device__ inline void fetch_x(const pt_gemm &g, int first, int n_rows, int k, float4 *mine) {
    const int column = k + threadIdx.x % steps<BK>::QUADS * 4;
#pragma unroll
    for (int i = 0; i < ROWS / steps<BK>::ROWS; i++) {
        int row = first + (int)threadIdx.x / steps<BK>::QUADS + i * steps<BK>::ROWS;
        const float *at = g.x + (size_t)row * g.W.n_in + column;
        mine[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (row >= n_rows || column >= g.W.n_in) continue;
        if (g.W.n_in % 4 == 0) {  // every row then begins at 16 bytes, and ends with a whole four
            mine[i] = *(const float4 *)at;
        } else {
            mine[i].x = at[0];
            if (column + 1 < g.W.n_in) mine[i].y = at[1];
            if (column + 2 < g.W.n_in) mine[i].z = at[2];
            if (column + 3 < g.W.n_in) mine[i].w = at[3];
        }
    }
}

template <int ROWS, int BK>
__device__ inline void put_x(const float4 *mine, float pre, __half *high, __half *low) {
#pragma unroll
    for (int i = 0; i < ROWS / steps<BK>::ROWS; i++) {
        const int row = (int)threadIdx.x / steps<BK>::QUADS + i * steps<BK>::ROWS;
        const int at = row * steps<BK>::LEAD + threadIdx.x % steps<BK>::QUADS * 4;
        const float x[4] = {mine[i].x * pre, mine[i].y * pre, mine[i].z * pre, mine[i].w * pre};
        put_halves(x, high + at, low + at);
    }
}

// Four weights as they lie, and the scale of theirs.
struct raw_four {
    uint2 bits;  // four bytes of Q8_0 in x, or four halves
    float scale;
};

template <int ROWS, int BK>
__device__ inline void fetch_w(const pt_weight &W, int first, int k, raw_four *mine) {
    const int column = k + threadIdx.x % steps<BK>::QUADS * 4;
#pragma unroll
    for (int i = 0; i < ROWS / steps<BK>::ROWS; i++) {
        int row = first + (int)threadIdx.x / steps<BK>::QUADS + i * steps<BK>::ROWS;
        mine[i].bits = make_uint2(0, 0);
        mine[i].scale = 0.0f;
        if (row >= W.n_out || column >= W.n_pad) continue;
        size_t at = (size_t)row * W.n_pad + column;
        if (W.type == PT_SOURCE_F16) {
            mine[i].bits = *(const uint2 *)(W.rows + at * 2);
        } else {
            mine[i].bits.x = *(const unsigned *)(W.rows + at);
            mine[i].scale = __half2float(W.scales[at / 32]);
        }
    }
}

template <int ROWS, int BK>
__device__ inline void put_w(const raw_four *mine, int type, __half *high, __half *low) {
#pragma unroll
    for (int i = 0; i < ROWS / steps<BK>::ROWS; i++) {
        const int row = (int)threadIdx.x / steps<BK>::QUADS + i * steps<BK>::ROWS;
        const int at = row * steps<BK>::LEAD + threadIdx.x % steps<BK>::QUADS * 4;
        if (type == PT_SOURCE_F16) {
            *(uint2 *)(high + at) = mine[i].bits;
            continue;
        }
        float w[4];
        for (int j = 0; j < 4; j++) w[j] = mine[i].scale * pt_weight_of_byte(mine[i].bits.x, j);
        put_halves(w, high + at, low + at);
    }
}

// ---- the product

typedef wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> piece_x;
typedef wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major> piece_w;

template <int BM, int BN, int BK>
__global__ void __launch_bounds__(PT_THREADS) gemm_kernel(const pt_gemms gemms, int n_rows) {
    // Each warp owns an area of AREA_M x AREA_N; the warps stand in a grid that covers the tile.
    constexpr int ACROSS = BN / PIECE < PT_WARPS ? BN / PIECE : PT_WARPS / 2;
    constexpr int AREA_M = BM / (PT_WARPS / ACROSS), AREA_N = BN / ACROSS;
    constexpr int M = AREA_M / PIECE, N = AREA_N / PIECE, LEAD = steps<BK>::LEAD;
    static_assert(M >= 1 && N >= 1, "a warp owns at least one piece");
    PT_SHARED(shared);
    __half *x_high = (__half *)shared, *x_low = x_high + BM * LEAD;
    __half *w_high = x_low + BM * LEAD, *w_low = w_high + BN * LEAD;
    int first_out;
    const int i = my_gemm(gemms, BN, &first_out), first_row = (int)blockIdx.y * BM;
    const pt_gemm &g = gemms.of[i];
    const int warp = threadIdx.x / PT_WARP;
    const int m0 = warp / ACROSS * AREA_M, n0 = warp % ACROSS * AREA_N;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums[M][N];
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) wmma::fill_fragment(sums[m][n], 0.0f);
    }
    float4 x_mine[BM / steps<BK>::ROWS];
    raw_four w_mine[BN / steps<BK>::ROWS];
    fetch_w<BN, BK>(g.W, first_out, 0, w_mine);
    pt_wait();
    fetch_x<BM, BK>(g, first_row, n_rows, 0, x_mine);
    for (int k = 0; k < g.W.n_pad; k += BK) {
        put_x<BM, BK>(x_mine, g.pre, x_high, x_low);
        put_w<BN, BK>(w_mine, g.W.type, w_high, w_low);
        __syncthreads();
        if (k + BK < g.W.n_pad) {
            fetch_x<BM, BK>(g, first_row, n_rows, k + BK, x_mine);
            fetch_w<BN, BK>(g.W, first_out, k + BK, w_mine);
        }
#pragma unroll
        for (int at = 0; at < BK; at += PIECE) {
            piece_x x[M], x_rest[M];
            for (int m = 0; m < M; m++) {
                const int from = (m0 + m * PIECE) * LEAD + at;
                wmma::load_matrix_sync(x[m], x_high + from, LEAD);
                wmma::load_matrix_sync(x_rest[m], x_low + from, LEAD);
            }
            for (int n = 0; n < N; n++) {
                const int from = (n0 + n * PIECE) * LEAD + at;
                piece_w w;
                wmma::load_matrix_sync(w, w_high + from, LEAD);
                for (int m = 0; m < M; m++) wmma::mma_sync(sums[m][n], x_rest[m], w, sums[m][n]);
                for (int m = 0; m < M; m++) wmma::mma_sync(sums[m][n], x[m], w, sums[m][n]);
                if (g.W.type == PT_SOURCE_F16) continue;
                wmma::load_matrix_sync(w, w_low + from, LEAD);
                for (int m = 0; m < M; m++) wmma::mma_sync(sums[m][n], x[m], w, sums[m][n]);
            }
        }
        __syncthreads();
    }
    float *tile_y = shared;  // the tiles of x and W have been read
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) {
            wmma::store_matrix_sync(tile_y + (m0 + m * PIECE) * BN + n0 + n * PIECE, sums[m][n], BN,
                                    wmma::mem_row_major);
        }
    }
    __syncthreads();
    for (int at = threadIdx.x; at < BM * BN; at += PT_THREADS) {
        int row = first_row + at / BN, out = first_out + at % BN;
        if (row >= n_rows || out >= g.W.n_out) continue;
        pt_finish(g.y + (size_t)row * g.W.n_out + out, tile_y[at] / g.pre, g.after);
    }
}

// ---- F32 weights: a block is 32 rows by 32 outputs, a thread four rows of one output

enum { EXACT = 32, EXACT_LEAD = EXACT + 1, EXACT_ROWS = EXACT * EXACT / PT_THREADS };

__global__ void __launch_bounds__(PT_THREADS) exact_kernel(const pt_gemms gemms, int n_rows) {
    PT_SHARED(shared);
    float *tile_x = shared, *tile_w = shared + EXACT * EXACT_LEAD;
    int first_out;
    const int i = my_gemm(gemms, EXACT, &first_out), first_row = (int)blockIdx.y * EXACT;
    const pt_gemm &g = gemms.of[i];
    const int lane = threadIdx.x % EXACT, part = threadIdx.x / EXACT;
    float sums[EXACT_ROWS] = {0.0f};
    pt_wait();
    for (int k = 0; k < g.W.n_pad; k += EXACT) {
        for (int r = part; r < EXACT; r += PT_THREADS / EXACT) {
            int row = first_row + r, out = first_out + r, column = k + lane;
            bool is_x = row < n_rows && column < g.W.n_in;
            tile_x[r * EXACT_LEAD + lane] = is_x ? g.x[(size_t)row * g.W.n_in + column] : 0.0f;
            tile_w[r * EXACT_LEAD + lane] =
                out < g.W.n_out ? ((const float *)g.W.rows)[(size_t)out * g.W.n_pad + column] : 0.0f;
        }
        __syncthreads();
        for (int at = 0; at < EXACT; at++) {
            float w = tile_w[lane * EXACT_LEAD + at];
#pragma unroll
            for (int r = 0; r < EXACT_ROWS; r++) {
                sums[r] += tile_x[(part * EXACT_ROWS + r) * EXACT_LEAD + at] * w;
            }
        }
        __syncthreads();
    }
    for (int r = 0; r < EXACT_ROWS; r++) {
        int row = first_row + part * EXACT_ROWS + r, out = first_out + lane;
        if (row < n_rows && out < g.W.n_out) {
            pt_finish(g.y + (size_t)row * g.W.n_out + out, sums[r], g.after);
        }
    }
}

// ---- launchers

static int share(pt_gemms *g, int width) {
    g->first_block[0] = 0;
    for (int i = 0; i < g->n; i++) {
        g->first_block[i + 1] = g->first_block[i] + (g->of[i].W.n_out + width - 1) / width;
    }
    return g->first_block[g->n];
}

template <int BM, int BN, int BK>
static int launch_tiles(const pt_stream &on, pt_gemms *g, int n_rows) {
    const size_t tiles = (size_t)(BM + BN) * steps<BK>::LEAD * 4, sums = (size_t)BM * BN * 4;
    static_assert((BM + BN) * steps<BK>::LEAD * 4 <= 48 << 10, "two halves a number, without asking");
    static_assert(BM * BN * 4 <= 48 << 10, "without asking");
    return pt_launch(on, gemm_kernel<BM, BN, BK>, dim3(share(g, BN), (n_rows + BM - 1) / BM),
                     tiles > sums ? tiles : sums, *g, n_rows);
}

// The products of one launch that are F32, or those that are not.
static pt_gemms pick(const pt_gemms &all, bool is_f32) {
    pt_gemms some = {};
    for (int i = 0; i < all.n; i++) {
        if ((all.of[i].W.type == PT_SOURCE_F32) == is_f32) some.of[some.n++] = all.of[i];
    }
    return some;
}

int pt_gemm_cuda(const pt_stream &on, pt_gemms *gemms, int n_rows) {
    pt_gemms exact = pick(*gemms, true), halves = pick(*gemms, false);
    int err = 0;
    if (exact.n > 0) {
        err = pt_launch(on, exact_kernel, dim3(share(&exact, EXACT), (n_rows + EXACT - 1) / EXACT),
                        2 * EXACT * EXACT_LEAD * sizeof(float), exact, n_rows);
    }
    if (err || halves.n == 0) return err;
    // Few rows: small tiles, so that every multiprocessor has one. Many: large ones, which read less.
    return n_rows <= 256 ? launch_tiles<32, 64, 64>(on, &halves, n_rows)
                         : launch_tiles<64, 128, 32>(on, &halves, n_rows);
}

void pt_gemm_kernels(pt_kernels *list) {
    list->add((const void *)gemm_kernel<32, 64, 64>);
    list->add((const void *)gemm_kernel<64, 128, 32>);
    list->add((const void *)exact_kernel);
}
