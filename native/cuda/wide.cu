// SPDX-License-Identifier: Apache-2.0
// Many rows at once: a prompt, or a byte of each of many lives. The products are gemm.cu's; here is
// what lies between them.
//
//     a layer   norm, shift, six mixes | r k v, LoRA downs | LoRA ups | operands of the heads | wkv |
//               read-out | output += | norm, shift, mix | ffn key, squared ReLU | ffn value +=
//
// All but wkv are alike for every row, so a block is a row. wkv walks the rows of a life in order with
// S in registers: it enters and leaves memory once a call. Runs of 16 rows and more go through chunk.cu.
#include "kernels.h"

struct moments {
    float mean, scale;
};

// Of one row of C floats; every thread of the block calls it.
__device__ inline moments row_moments(const float *x, int C, float *scratch) {
    float sum = 0.0f, squares = 0.0f;
    for (int c = threadIdx.x; c < C; c += PT_THREADS) sum += x[c];
    moments m;
    m.mean = pt_block_sum(sum, scratch) / (float)C;
    for (int c = threadIdx.x; c < C; c += PT_THREADS) squares += (x[c] - m.mean) * (x[c] - m.mean);
    m.scale = 1.0f / sqrtf(pt_block_sum(squares, scratch) / (float)C + 1e-5f);
    return m;
}

// ---- norm, shift, mixes

__global__ void __launch_bounds__(PT_THREADS) wide_norm_kernel(const pt_wide_norm in) {
    PT_SHARED(scratch);
    pt_wait();
    const int row = blockIdx.x;
    const pt_row of = in.rows[row];
    const float *x = in.x + (size_t)row * in.C, *before = x - in.C;
    float *norm = in.norm + (size_t)row * in.C;
    const float *shift = of.payload + in.shift_at, *flush = in.flush + (size_t)row * in.C;
    moments m = row_moments(x, in.C, scratch), b = {0.0f, 0.0f};
    if (of.is_continued) b = row_moments(before, in.C, scratch);
    for (int c = threadIdx.x; c < in.C; c += PT_THREADS) {
        float now = (x[c] - m.mean) * m.scale * in.weight[c] + in.bias[c];
        float last = of.is_continued ? (before[c] - b.mean) * b.scale * in.weight[c] + in.bias[c]
                                     : shift[c];
        if (of.is_end) norm[c] = now;
        if (of.is_end && in.flush) of.payload[in.flush_at + c] = flush[c];
        for (int i = 0; i < in.n_mix; i++) {
            float mixed = now + (last - now) * in.lerp[(size_t)i * in.C + c];
            in.mixed[i * in.mixed_stride + (size_t)row * in.C + c] = mixed;
        }
    }
}

// The last sub-block's norm has no later kernel to carry it.
__global__ void __launch_bounds__(PT_THREADS) wide_flush_kernel(const pt_wide_norm in) {
    pt_wait();
    const pt_row of = in.rows[blockIdx.x];
    const float *flush = in.flush + (size_t)blockIdx.x * in.C;
    for (int c = threadIdx.x; c < in.C && of.is_end; c += PT_THREADS) {
        of.payload[in.flush_at + c] = flush[c];
    }
}

// ---- before and after the recurrence: a warp is a head

__global__ void __launch_bounds__(PT_THREADS) wide_heads_kernel(const pt_wide_heads in) {
    pt_wait();
    const size_t row = (size_t)blockIdx.x * in.C;
    for (int c = threadIdx.x / PT_WARP * in.N; c < in.C; c += PT_WARPS * in.N) {
        size_t at = row + c;
        pt_head_operands(in.z, c, in.N, in.is_first, in.w_up + at, in.a_up + at, in.v_up + at,
                         in.k + at, in.v + at, in.v_first + at, in.w_up + at, in.k + at, in.v + at,
                         in.v_up + at, in.a_up + at);
    }
}

__global__ void __launch_bounds__(PT_THREADS) wide_out_kernel(const pt_wide_out in) {
    pt_wait();
    const int lane = threadIdx.x % PT_WARP;
    for (int c = threadIdx.x / PT_WARP * in.N; c < in.C; c += PT_WARPS * in.N) {
        const size_t at = (size_t)blockIdx.x * in.C + c;
        float out[PT_LANE_CHANNELS];
        pt_head_out(in.z, c, in.N, in.y + at, in.r + at, in.k + at, in.v + at, in.gate + at, out);
        for (int j = 0, i = lane; j < PT_LANE_CHANNELS && i < in.N; j++, i += PT_WARP) {
            in.out[at + i] = out[j];
        }
    }
}

// ---- the recurrence: a block is 32 rows of one head of one life. While a byte is computed, the next
// one's vectors travel; two buffers, so one barrier a byte.

enum { WKV_VECTORS = 5, WKV_SLOTS = 3 };
static_assert(PT_THREADS == 2 * PT_HEAD_MAX, "half a block fetches a vector");

// This thread's share of the five vectors of one row: the first half of the block takes w, kk, r, the
// second k, erase. Channels past N are zeros.
__device__ inline void fetch(const pt_wide_wkv &in, size_t at, float *mine) {
    const bool is_first = threadIdx.x < PT_HEAD_MAX;
    const int channel = threadIdx.x % PT_HEAD_MAX;
    const float *const vectors[WKV_SLOTS] = {is_first ? in.w : in.k, is_first ? in.kk : in.erase, in.r};
#pragma unroll
    for (int i = 0; i < WKV_SLOTS; i++) {
        mine[i] = channel < in.N && (is_first || i < 2) ? vectors[i][at + channel] : 0.0f;
    }
}

__device__ inline void put(float *buffer, const float *mine) {
#pragma unroll
    for (int i = 0; i < WKV_SLOTS; i++) {
        if (threadIdx.x < PT_HEAD_MAX || i < 2) buffer[threadIdx.x + i * PT_THREADS] = mine[i];
    }
}

template <int CHUNKS>
__global__ void __launch_bounds__(PT_THREADS) wide_wkv_kernel(const pt_wide_wkv in) {
    PT_SHARED(shared);
    pt_wait();
    const pt_run run = in.runs[blockIdx.x];
    const int channel = (int)blockIdx.y * in.N, q = threadIdx.x % PT_ROW_LANES;
    const int row = (int)blockIdx.z * PT_ROWS_A_BLOCK + threadIdx.x / PT_ROW_LANES;
    const bool is_row = row < in.N;
    const int width = is_row ? in.N : 0, value_at = channel + (is_row ? row : 0);
    float *S = run.payload + in.wkv_at + (size_t)value_at * in.N;
    float s[8 * CHUNKS], mine[WKV_SLOTS];
    size_t at = (size_t)run.first * in.C;
    fetch(in, at + channel, mine);
    float v = in.v[at + value_at];
    pt_row_load<CHUNKS>(S, width, q, s);
    put(shared, mine);
    __syncthreads();
    for (int t = 0; t < run.n; t++, at += in.C) {
        const float *now = shared + t % 2 * WKV_VECTORS * PT_HEAD_MAX;
        const bool has_next = t + 1 < run.n;
        float v_next = 0.0f;
        if (has_next) {
            fetch(in, at + in.C + channel, mine);
            v_next = in.v[at + in.C + value_at];
        }
        float y = pt_row_step<CHUNKS>(s, q, v, now, now + PT_HEAD_MAX, now + 2 * PT_HEAD_MAX,
                                      now + 3 * PT_HEAD_MAX, now + 4 * PT_HEAD_MAX);
        if (q == 0 && is_row) in.y[at + value_at] = y;
        if (has_next) put(shared + (t + 1) % 2 * WKV_VECTORS * PT_HEAD_MAX, mine);
        v = v_next;
        __syncthreads();
    }
    pt_row_store<CHUNKS>(S, width, q, s);
}

// ---- the rows whose logits are wanted, normed and side by side

__global__ void __launch_bounds__(PT_THREADS)
    wide_ends_kernel(const float *x, const int *rows, int C, const float *weight, const float *bias,
                     float *out) {
    PT_SHARED(scratch);
    pt_wait();
    const float *from = x + (size_t)rows[blockIdx.x] * C;
    moments m = row_moments(from, C, scratch);
    for (int c = threadIdx.x; c < C; c += PT_THREADS) {
        out[(size_t)blockIdx.x * C + c] = (from[c] - m.mean) * m.scale * weight[c] + bias[c];
    }
}

// ---- launchers

enum { SCRATCH_SIZE = PT_WARP * sizeof(float) };

int pt_wide_norm_cuda(const pt_stream &on, const pt_wide_norm &norm, int n) {
    return pt_launch(on, wide_norm_kernel, dim3(n), SCRATCH_SIZE, norm);
}

int pt_wide_flush_cuda(const pt_stream &on, const pt_wide_norm &norm, int n) {
    return pt_launch(on, wide_flush_kernel, dim3(n), 0, norm);
}

int pt_wide_heads_cuda(const pt_stream &on, const pt_wide_heads &heads, int n) {
    return pt_launch(on, wide_heads_kernel, dim3(n), 0, heads);
}

int pt_wide_wkv_cuda(const pt_stream &on, const pt_wide_wkv &wkv, int n_runs) {
    dim3 grid(n_runs, wkv.C / wkv.N, (wkv.N + PT_ROWS_A_BLOCK - 1) / PT_ROWS_A_BLOCK);
    size_t shared = 2 * WKV_VECTORS * PT_HEAD_MAX * sizeof(float);
    return wkv.N <= PT_COLUMNS ? pt_launch(on, wide_wkv_kernel<1>, grid, shared, wkv)
                               : pt_launch(on, wide_wkv_kernel<2>, grid, shared, wkv);
}

int pt_wide_out_cuda(const pt_stream &on, const pt_wide_out &out, int n) {
    return pt_launch(on, wide_out_kernel, dim3(n), 0, out);
}

int pt_wide_ends_cuda(const pt_stream &on, const float *x, const int *rows, int n, int C,
                      const float *weight, const float *bias, float *out) {
    return pt_launch(on, wide_ends_kernel, dim3(n), SCRATCH_SIZE, x, rows, C, weight, bias, out);
}

void pt_wide_kernels(pt_kernels *list) {
    list->add((const void *)wide_norm_kernel);
    list->add((const void *)wide_flush_kernel);
    list->add((const void *)wide_heads_kernel);
    list->add((const void *)wide_out_kernel);
    list->add((const void *)wide_wkv_kernel<1>);
    list->add((const void *)wide_wkv_kernel<2>);
    list->add((const void *)wide_ends_kernel);
}
