// SPDX-License-Identifier: Apache-2.0
// What the kernels share: weights as they lie on the device, sums over warps and blocks, the dot
// product of a row, and how kernels are launched.
//
// The kernels are CUDA C++ in a small dialect that a CPU runs too: native/cuda/emulated holds a
// cuda_runtime.h under which g++ compiles these same files, each CUDA thread a fiber. Whatever that
// header lacks is not used here.
//
// Axes: C width, H heads, N head size, F feed-forward, V vocabulary, n rows (one a token).
#ifndef PT_DEVICE_H
#define PT_DEVICE_H

#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>
#include <string.h>

#include "parrot_cuda.h"
#include "source.h"

enum {
    PT_THREADS = 256,       // threads of every block: 8 warps hide latency, 32 rows x 8 lanes of wkv
    PT_WARP = 32,
    PT_WARPS = PT_THREADS / PT_WARP,
    PT_UNIT = 16,           // weights a lane takes at once: one 16-byte load of Q8_0
    PT_ROWS_A_WARP = 2,     // output rows a warp sums together: two loads in flight, x read once
    PT_ROWS_A_TILE = PT_WARPS * PT_ROWS_A_WARP,
};

// y = W x on the device; the layout is that of source.h.
struct pt_weight {
    int type, n_out, n_in, n_pad;
    const unsigned char *rows;
    const __half *scales;
};

// What one step of one row is about; the kernels of a graph read it, so it must not be baked in.
struct pt_call {
    float *payload;
    int token;
    int is_stopping;  // the stop token was chosen: live it, then freeze
    int is_frozen;    // the reply is over: later steps of the same call leave the state alone
    int n_said;
    int said[PARROT_CUDA_SAY];
};

// ---- starting while the kernel before still runs (programmatic dependent launch, sm_90 and later).
// Before pt_wait nothing may be touched that another kernel writes: only weights are prefetched. The
// trigger comes first: the next kernel may then begin, and waits for this one's end, which waits for the
// end of the one before. Pointers have no __restrict__: a compiler that knows they are alone may read
// them through the cache that is not told of what the kernel before has just written.

__device__ inline void pt_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    cudaTriggerProgrammaticLaunchCompletion();
    cudaGridDependencySynchronize();
#endif
}

__device__ inline void pt_prefetch(const void *at) {
#if defined(__CUDA_ARCH__)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(at)));
#else
    (void)at;
#endif
}

// ---- sums, in one fixed order (INV-8 on one device)

__device__ inline float pt_warp_sum(float x) {
    for (int lanes = PT_WARP / 2; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
    return x;
}

// Over each eight neighbouring lanes.
__device__ inline float pt_eight_sum(float x) {
    for (int lanes = 4; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
    return x;
}

// Over the block; every thread must call it. `scratch` holds a float a warp.
__device__ inline float pt_block_sum(float x, float *scratch) {
    x = pt_warp_sum(x);
    __syncthreads();  // whoever still reads the last sum's scratch
    if (threadIdx.x % PT_WARP == 0) scratch[threadIdx.x / PT_WARP] = x;
    __syncthreads();
    float sum = 0.0f;
    for (int warp = 0; warp < PT_WARPS; warp++) sum += scratch[warp];
    return sum;
}

__device__ inline float pt_sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// ---- sixteen weights of a row, as loaded and as floats

// 128 + q in each byte -> q: 2^23 + byte is exact in f32, and its bits are the byte's.
__device__ inline float pt_weight_of_byte(unsigned word, int i) {
    return __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7650u + (unsigned)i)) - 8388736.0f;
}

template <int TYPE> struct pt_raw;
template <> struct pt_raw<PT_SOURCE_Q8> {
    uint4 bytes;
    float scale;
};
template <> struct pt_raw<PT_SOURCE_F16> {
    uint4 halves[2];
};
template <> struct pt_raw<PT_SOURCE_F32> {
    float4 floats[4];
};

__device__ inline void pt_load_raw(const pt_weight &W, size_t row, int unit,
                                   pt_raw<PT_SOURCE_Q8> *raw) {
    raw->bytes = ((const uint4 *)(W.rows + row * W.n_pad))[unit];
    raw->scale = __half2float(W.scales[row * (W.n_pad / 32) + unit / 2]);
}
__device__ inline void pt_load_raw(const pt_weight &W, size_t row, int unit,
                                   pt_raw<PT_SOURCE_F16> *raw) {
    const uint4 *at = (const uint4 *)(W.rows + row * W.n_pad * 2) + 2 * unit;
    raw->halves[0] = at[0];
    raw->halves[1] = at[1];
}
__device__ inline void pt_load_raw(const pt_weight &W, size_t row, int unit,
                                   pt_raw<PT_SOURCE_F32> *raw) {
    const float4 *at = (const float4 *)(W.rows + row * W.n_pad * 4) + 4 * unit;
    for (int i = 0; i < 4; i++) raw->floats[i] = at[i];
}

// The four weights 4 j ... 4 j + 3 of the sixteen.
__device__ inline float4 pt_four(const pt_raw<PT_SOURCE_Q8> &raw, int j) {
    unsigned word = j == 0 ? raw.bytes.x : j == 1 ? raw.bytes.y : j == 2 ? raw.bytes.z : raw.bytes.w;
    return make_float4(raw.scale * pt_weight_of_byte(word, 0), raw.scale * pt_weight_of_byte(word, 1),
                       raw.scale * pt_weight_of_byte(word, 2), raw.scale * pt_weight_of_byte(word, 3));
}
__device__ inline __half2 pt_half2_of(unsigned bits) {
    __half2 pair;
    memcpy(&pair, &bits, sizeof pair);
    return pair;
}
__device__ inline float4 pt_four(const pt_raw<PT_SOURCE_F16> &raw, int j) {
    const uint4 &eight = raw.halves[j / 2];
    unsigned low = j % 2 ? eight.z : eight.x, high = j % 2 ? eight.w : eight.y;
    float2 a = __half22float2(pt_half2_of(low)), b = __half22float2(pt_half2_of(high));
    return make_float4(a.x, a.y, b.x, b.y);
}
__device__ inline float4 pt_four(const pt_raw<PT_SOURCE_F32> &raw, int j) { return raw.floats[j]; }

// ---- x in shared memory: unit u of x is four float4, and the float4 number j of all units lie side by
// side, so that lanes on neighbouring units read neighbouring banks.

__host__ __device__ inline int pt_slot(int k, int units) {
    return (k % PT_UNIT / 4 * units + k / PT_UNIT) * 4 + k % 4;
}

// Sums of rows row ... row + N_ROWS - 1 of W times x, each lane its share of the units; rows past the
// last are clamped to it, and their sums not used.
template <int TYPE, int N_ROWS>
__device__ inline void pt_dot_typed(const pt_weight &W, int row, const float *xs, int first, int step,
                                    float *sums) {
    const int units = W.n_pad / PT_UNIT;
    const float4 *x = (const float4 *)xs;
    for (int u = first; u < units; u += step) {
        pt_raw<TYPE> raw[N_ROWS];
#pragma unroll
        for (int r = 0; r < N_ROWS; r++) {
            int at = row + r < W.n_out ? row + r : W.n_out - 1;
            pt_load_raw(W, (size_t)at, u, &raw[r]);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float4 in = x[j * units + u];
#pragma unroll
            for (int r = 0; r < N_ROWS; r++) {
                float4 w = pt_four(raw[r], j);
                sums[r] += w.x * in.x + w.y * in.y + w.z * in.z + w.w * in.w;
            }
        }
    }
}

template <int N_ROWS>
__device__ inline void pt_dot(const pt_weight &W, int row, const float *xs, int first, int step,
                              float *sums) {
    for (int r = 0; r < N_ROWS; r++) sums[r] = 0.0f;
    if (W.type == PT_SOURCE_Q8) {
        pt_dot_typed<PT_SOURCE_Q8, N_ROWS>(W, row, xs, first, step, sums);
    } else if (W.type == PT_SOURCE_F16) {
        pt_dot_typed<PT_SOURCE_F16, N_ROWS>(W, row, xs, first, step, sums);
    } else {
        pt_dot_typed<PT_SOURCE_F32, N_ROWS>(W, row, xs, first, step, sums);
    }
}

// ---- what a product does with its sums

enum pt_after { PT_STORE, PT_ADD, PT_TANH, PT_SIGMOID, PT_RELU2 };

__device__ inline void pt_finish(float *y, float sum, int after) {
    float positive = sum < 0.0f ? 0.0f : sum;  // keeps NaN
    if (after == PT_STORE) *y = sum;
    if (after == PT_ADD) *y += sum;
    if (after == PT_TANH) *y = tanhf(sum);
    if (after == PT_SIGMOID) *y = pt_sigmoid(sum);
    if (after == PT_RELU2) *y = positive * positive;
}

// ---- one head of one row by one warp, lanes on channels lane, lane + 32 ... Pointers are at the head.

enum { PT_HEAD_MAX = 128, PT_LANE_CHANNELS = PT_HEAD_MAX / PT_WARP };

struct pt_head_weights {  // (C,) each
    const float *w0, *a0, *v0, *k_k, *k_a, *r_k, *ln_weight, *ln_bias;
};

// From the raw sums of the products to what the recurrence eats. Equations: native/src/kernels_body.h,
// decay to key. `v_first` is written in layer 0 and mixed in later; erase = kk * iclr.
__device__ inline void pt_head_operands(const pt_head_weights &z, int channel, int N, bool is_first,
                                        const float *w_up, const float *a_up, const float *v_up,
                                        const float *k_in, const float *v_in, float *v_first, float *w,
                                        float *k, float *v, float *kk, float *erase) {
    const int lane = threadIdx.x % PT_WARP;
    float unit[PT_LANE_CHANNELS], squares = 0.0f;
    for (int p = 0, i = lane; p < PT_LANE_CHANNELS; p++, i += PT_WARP) {
        unit[p] = i < N ? k_in[i] * z.k_k[channel + i] : 0.0f;
        squares += unit[p] * unit[p];
    }
    float length = sqrtf(pt_warp_sum(squares));
    float scale = 1.0f / (length < 1e-12f ? 1e-12f : length);
    for (int p = 0, i = lane; p < PT_LANE_CHANNELS && i < N; p++, i += PT_WARP) {
        int c = channel + i;
        float iclr = pt_sigmoid(z.a0[c] + a_up[i]), value = v_in[i], key = k_in[i];
        w[i] = expf(-0.60653066f * pt_sigmoid(z.w0[c] + w_up[i]));
        if (is_first) {
            v_first[i] = value;
        } else {
            value += (v_first[i] - value) * pt_sigmoid(z.v0[c] + v_up[i]);
        }
        v[i] = value;
        kk[i] = unit[p] * scale;
        erase[i] = unit[p] * scale * iclr;
        k[i] = key * (1.0f + (iclr - 1.0f) * z.k_a[c]);
    }
}

// What the head says: (group_norm(y) + (r . (k r_k)) v) gate, for channel i of this lane in out[p].
__device__ inline void pt_head_out(const pt_head_weights &z, int channel, int N, const float *y,
                                   const float *r, const float *k, const float *v, const float *gate,
                                   float *out) {
    const int lane = threadIdx.x % PT_WARP;
    float sum = 0.0f, squares = 0.0f, bonus = 0.0f;
    for (int i = lane; i < N; i += PT_WARP) {
        sum += y[i];
        bonus += r[i] * k[i] * z.r_k[channel + i];
    }
    float mean = pt_warp_sum(sum) / (float)N;
    bonus = pt_warp_sum(bonus);
    for (int i = lane; i < N; i += PT_WARP) squares += (y[i] - mean) * (y[i] - mean);
    float scale = 1.0f / sqrtf(pt_warp_sum(squares) / (float)N + 64e-5f);
    for (int p = 0, i = lane; p < PT_LANE_CHANNELS && i < N; p++, i += PT_WARP) {
        float normed = (y[i] - mean) * scale * z.ln_weight[channel + i] + z.ln_bias[channel + i];
        out[p] = (normed + bonus * v[i]) * gate[i];
    }
}

// ---- the recurrence: eight lanes hold one row of S, lane q the columns 4 q + 32 j ... + 3, so that a
// load of four lies beside its neighbours' and a row is whole lines of memory. The vectors lie in shared
// memory, padded with zeros to whole chunks of PT_COLUMNS.

enum { PT_ROW_LANES = 8, PT_ROWS_A_BLOCK = PT_THREADS / PT_ROW_LANES, PT_COLUMNS = 64 };
enum { PT_QUADS = PT_COLUMNS / 4 / PT_ROW_LANES };  // fours of a lane in one chunk of columns

// Four neighbours of a vector in shared memory: those of lane q's four number j.
__device__ inline float4 pt_quad(const float *vector, int j, int q) {
    return ((const float4 *)vector)[j * PT_ROW_LANES + q];
}

// Heads of a size that 4 divides begin their rows at 16 bytes: everything before them in the payload is
// a multiple of the head size. Other sizes are read one by one.
template <int CHUNKS>
__device__ inline void pt_row_load(const float *row, int N, int q, float *s) {
#pragma unroll
    for (int j = 0; j < PT_QUADS * CHUNKS; j++) {
        const int column = (j * PT_ROW_LANES + q) * 4;
        if (N % 4 == 0) {
            float4 four = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            if (column < N) four = *(const float4 *)(row + column);
            s[4 * j] = four.x;
            s[4 * j + 1] = four.y;
            s[4 * j + 2] = four.z;
            s[4 * j + 3] = four.w;
        } else {
            for (int i = 0; i < 4; i++) s[4 * j + i] = column + i < N ? row[column + i] : 0.0f;
        }
    }
}

template <int CHUNKS>
__device__ inline void pt_row_store(float *row, int N, int q, const float *s) {
#pragma unroll
    for (int j = 0; j < PT_QUADS * CHUNKS; j++) {
        const int column = (j * PT_ROW_LANES + q) * 4;
        if (N % 4 == 0 && column < N) {
            *(float4 *)(row + column) =
                make_float4(s[4 * j], s[4 * j + 1], s[4 * j + 2], s[4 * j + 3]);
        } else {
            for (int i = 0; i < 4; i++) {
                if (column + i < N) row[column + i] = s[4 * j + i];
            }
        }
    }
}

__device__ inline float pt_dot_four(const float *s, float4 x, float sum) {
    return sum + s[0] * x.x + s[1] * x.y + s[2] * x.z + s[3] * x.w;
}

// One row, one byte: s = s w - (s . kk) erase + v k; returns s . r to all eight lanes.
template <int CHUNKS>
__device__ inline float pt_row_step(float *s, int q, float v, const float *w, const float *k,
                                    const float *kk, const float *erase, const float *r) {
    float held[2] = {0.0f, 0.0f}, read[2] = {0.0f, 0.0f};
#pragma unroll
    for (int j = 0; j < PT_QUADS * CHUNKS; j++) {
        held[j % 2] = pt_dot_four(s + 4 * j, pt_quad(kk, j, q), held[j % 2]);
    }
    const float erased = pt_eight_sum(held[0] + held[1]);
#pragma unroll
    for (int j = 0; j < PT_QUADS * CHUNKS; j++) {
        const float4 decay = pt_quad(w, j, q), out = pt_quad(erase, j, q), in = pt_quad(k, j, q);
        float *four = s + 4 * j;
        four[0] = four[0] * decay.x - erased * out.x + v * in.x;
        four[1] = four[1] * decay.y - erased * out.y + v * in.y;
        four[2] = four[2] * decay.z - erased * out.z + v * in.z;
        four[3] = four[3] * decay.w - erased * out.w + v * in.w;
        read[j % 2] = pt_dot_four(four, pt_quad(r, j, q), read[j % 2]);
    }
    return pt_eight_sum(read[0] + read[1]);
}

// ---- launches

struct pt_stream {
    cudaStream_t stream;
    bool can_overlap;  // sm_90: a kernel may begin while the one before ends
};

template <typename... Params, typename... Args>
inline int pt_launch(const pt_stream &on, void (*kernel)(Params...), dim3 grid, size_t shared,
                     Args... args) {
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute overlap = {};
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    config.gridDim = grid;
    config.blockDim = dim3(PT_THREADS);
    config.dynamicSmemBytes = shared;
    config.stream = on.stream;
    config.attrs = &overlap;
    config.numAttrs = on.can_overlap ? 1 : 0;
    return (int)cudaLaunchKernelEx(&config, kernel, args...);
}

// The one shared array of a kernel; its size is given at launch.
#ifdef __CUDACC__
#define PT_SHARED(name) extern __shared__ __align__(128) float name[]
#else
#define PT_SHARED(name) float *name = emulated_shared()
#endif

#endif
