// SPDX-License-Identifier: Apache-2.0
// One byte of one life: few fused kernels a layer, replayed as a graph.
//
//     a layer   norm, shift, mix -> r k v and four LoRA downs | LoRA ups, wkv | read-out -> output += |
//               norm, shift, mix -> ffn key, squared ReLU | ffn value +=            ( | ends a kernel )
//
// Every block prepares the operand for itself: a few kilobytes out of the L2 cache cost less than
// another kernel. While the kernel before still runs, its weights are already on their way to the L2.
#include "kernels.h"

// ---- products

// Tiles of 16 rows that a block takes.
void pt_products_share(pt_products *p, int n_processors) {
    int rows = 0, blocks = 2 * n_processors;  // two a multiprocessor: one waits while one computes
    for (int i = 0; i < p->n; i++) rows += p->of[i].W.n_out;
    int tiles = (rows + blocks * PT_ROWS_A_TILE - 1) / (blocks * PT_ROWS_A_TILE);
    p->rows_a_block = tiles * PT_ROWS_A_TILE;
    p->first_block[0] = 0;
    for (int i = 0; i < p->n; i++) {
        p->first_block[i + 1] =
            p->first_block[i] + (p->of[i].W.n_out + p->rows_a_block - 1) / p->rows_a_block;
    }
}

// The product that this block belongs to, and its first row.
__device__ inline int my_product(const pt_products &p, int *row) {
    int i = 0;
    while (i + 1 < p.n && (int)blockIdx.x >= p.first_block[i + 1]) i++;
    *row = ((int)blockIdx.x - p.first_block[i]) * p.rows_a_block;
    return i;
}

__device__ inline int last_row(const pt_products &p, const pt_weight &W, int row) {
    return row + p.rows_a_block < W.n_out ? row + p.rows_a_block : W.n_out;
}

// Ask for rows first ... end - 1 of W; they are on their way to the L2 cache when they are wanted.
__device__ inline void prefetch_span(const pt_weight &W, size_t first, size_t end) {
    const size_t line = 128, size = W.type == PT_SOURCE_Q8 ? 1 : W.type == PT_SOURCE_F16 ? 2 : 4;
    const size_t row_size = W.n_pad * size;
    for (size_t at = first * row_size + threadIdx.x * line; at < end * row_size;
         at += PT_THREADS * line) {
        pt_prefetch(W.rows + at);
    }
}

__device__ inline void prefetch_rows(const pt_products &p, const pt_weight &W, int row) {
    prefetch_span(W, (size_t)row, (size_t)last_row(p, W, row));
}

// xs holds the operand, and everybody has seen it.
__device__ inline void multiply(const pt_products &p, const pt_product &of, int row,
                                const float *xs) {
    const int warp = threadIdx.x / PT_WARP, lane = threadIdx.x % PT_WARP;
    const int end = last_row(p, of.W, row);
    for (int o = row + warp * PT_ROWS_A_WARP; o < end; o += PT_ROWS_A_TILE) {
        float sums[PT_ROWS_A_WARP];
        pt_dot<PT_ROWS_A_WARP>(of.W, o, xs, lane, PT_WARP, sums);
#pragma unroll
        for (int r = 0; r < PT_ROWS_A_WARP; r++) {
            float sum = pt_warp_sum(sums[r]);
            if (lane == 0 && o + r < end) pt_finish(of.y + o + r, sum, of.after);
        }
    }
}

__device__ inline void pad_operand(float *xs, int n_in, int n_pad) {
    for (int i = n_in + threadIdx.x; i < n_pad; i += PT_THREADS) xs[pt_slot(i, n_pad / PT_UNIT)] = 0;
}

// ---- operands: layer norm and token shift

__global__ void __launch_bounds__(PT_THREADS)
    norm_products_kernel(const pt_products p, const pt_norm in, const pt_call *call) {
    PT_SHARED(shared);
    float *scratch = shared, *xs = shared + PT_WARP;
    int row, i = my_product(p, &row);
    const pt_product &of = p.of[i];
    const int units = of.W.n_pad / PT_UNIT;
    prefetch_rows(p, of.W, row);
    pt_wait();
    if (in.is_last && call->is_frozen) return;  // the logits stay those of the last byte lived
    float sum = 0.0f, squares = 0.0f;
    for (int c = threadIdx.x; c < in.C; c += PT_THREADS) {
        float x = in.x[c];
        xs[pt_slot(c, units)] = x;  // read again by this thread alone
        sum += x;
    }
    float mean = pt_block_sum(sum, scratch) / (float)in.C;
    for (int c = threadIdx.x; c < in.C; c += PT_THREADS) {
        float apart = xs[pt_slot(c, units)] - mean;
        squares += apart * apart;
    }
    float scale = 1.0f / sqrtf(pt_block_sum(squares, scratch) / (float)in.C + 1e-5f);
    const bool is_writer = blockIdx.x == 0;
    float *flush_to = in.flush && is_writer && !call->is_frozen ? call->payload + in.flush_at : NULL;
    const float *shift = in.lerp ? call->payload + in.shift_at : NULL;
    for (int c = threadIdx.x; c < in.C; c += PT_THREADS) {
        float norm = (xs[pt_slot(c, units)] - mean) * scale * in.weight[c] + in.bias[c];
        if (is_writer && in.norm) in.norm[c] = norm;
        if (flush_to) flush_to[c] = in.flush[c];
        if (shift) norm += (shift[c] - norm) * in.lerp[(size_t)of.mix * in.C + c];
        xs[pt_slot(c, units)] = norm;
    }
    pad_operand(xs, in.C, of.W.n_pad);
    __syncthreads();
    multiply(p, of, row, xs);
}

// ---- operands: what the heads say

__global__ void __launch_bounds__(PT_THREADS)
    head_products_kernel(const pt_products p, const pt_heads in) {
    PT_SHARED(xs);
    int row, i = my_product(p, &row);
    const pt_product &of = p.of[i];
    const int units = of.W.n_pad / PT_UNIT, lane = threadIdx.x % PT_WARP;
    prefetch_rows(p, of.W, row);
    pt_wait();
    for (int c = threadIdx.x / PT_WARP * in.N; c < in.C; c += PT_WARPS * in.N) {
        float out[PT_LANE_CHANNELS];
        pt_head_out(in.z, c, in.N, in.y + c, in.r + c, in.k + c, in.v + c, in.gate + c, out);
        for (int j = 0, at = lane; j < PT_LANE_CHANNELS && at < in.N; j++, at += PT_WARP) {
            xs[pt_slot(c + at, units)] = out[j];
        }
    }
    pad_operand(xs, in.C, of.W.n_pad);
    __syncthreads();
    multiply(p, of, row, xs);
}

// ---- operands: as they are

__global__ void __launch_bounds__(PT_THREADS)
    plain_products_kernel(const pt_products p, const float *x) {
    PT_SHARED(xs);
    int row, i = my_product(p, &row);
    const pt_product &of = p.of[i];
    prefetch_rows(p, of.W, row);
    pt_wait();
    for (int c = threadIdx.x; c < of.W.n_in; c += PT_THREADS) {
        xs[pt_slot(c, of.W.n_pad / PT_UNIT)] = x[c];
    }
    pad_operand(xs, of.W.n_in, of.W.n_pad);
    __syncthreads();
    multiply(p, of, row, xs);
}

// ---- LoRA ups and the recurrence: a block is 32 rows of one head. Both blocks of a head of 64 want all
// of its key channels, so both compute them; what goes to memory is written by one.

struct mix_memory {  // shared: four LoRA operands, then vectors of PT_HEAD_MAX
    float *downs[4], *ups[3], *w, *k, *v, *kk, *erase, *r, *raw_k, *raw_v, *v_first;
};

__device__ inline mix_memory mix_carve(const pt_time_mix &t, float *shared) {
    mix_memory m;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        m.downs[i] = shared;
        shared += t.ups[i].n_pad;
    }
    float **vectors[12] = {&m.ups[0], &m.ups[1], &m.ups[2], &m.w, &m.k,     &m.v,
                           &m.kk,     &m.erase,  &m.r,      &m.raw_k, &m.raw_v, &m.v_first};
#pragma unroll
    for (int i = 0; i < 12; i++) *vectors[i] = shared + i * PT_HEAD_MAX;
    return m;
}

// w, a and value-residual ups of the whole head, and the gate of this block's rows; eight lanes a sum.
__device__ inline void mix_ups(const pt_time_mix &t, const mix_memory &m, int head) {
    const int group = threadIdx.x / PT_ROW_LANES, q = threadIdx.x % PT_ROW_LANES;
#pragma unroll  // or the pointers of the four would lie in local memory
    for (int i = 0; i < 4; i++) {
        if (i == 2 && t.is_first) continue;
        const int end = (t.N + PT_ROWS_A_BLOCK - 1) / PT_ROWS_A_BLOCK * PT_ROWS_A_BLOCK;
        int row = i < 3 ? group : (int)blockIdx.y * PT_ROWS_A_BLOCK + group;
        for (; row < end; row += i < 3 ? PT_ROWS_A_BLOCK : end) {
            float sum;
            int channel = head * t.N + (row < t.N ? row : t.N - 1);
            pt_dot<1>(t.ups[i], channel, m.downs[i], q, PT_ROW_LANES, &sum);
            sum = pt_eight_sum(sum);
            if (q != 0 || row >= t.N) continue;
            if (i < 3) m.ups[i][row] = sum;
            if (i == 3) t.gate[channel] = sum;
        }
    }
}

template <int CHUNKS>
__global__ void __launch_bounds__(PT_THREADS)
    time_mix_kernel(const pt_time_mix t, const pt_call *call) {
    PT_SHARED(shared);
    const mix_memory m = mix_carve(t, shared);
    const int head = blockIdx.x, channel = head * t.N, thread = threadIdx.x;
    const bool is_writer = blockIdx.y == 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (i != 2 || !t.is_first) prefetch_span(t.ups[i], (size_t)channel, (size_t)channel + t.N);
    }
    pt_wait();
#pragma unroll
    for (int i = 0; i < 4; i++) {
        for (int c = thread; c < t.ups[i].n_pad; c += PT_THREADS) {
            float down = c < t.ups[i].n_in && !(i == 2 && t.is_first) ? t.downs[i][c] : 0.0f;
            m.downs[i][pt_slot(c, t.ups[i].n_pad / PT_UNIT)] = down;
        }
    }
    for (int c = thread; c < PT_HEAD_MAX; c += PT_THREADS) {
        bool is_real = c < t.N;
        m.r[c] = is_real ? t.r[channel + c] : 0.0f;
        m.raw_k[c] = is_real ? t.k[channel + c] : 0.0f;
        m.raw_v[c] = is_real ? t.v[channel + c] : 0.0f;
        m.v_first[c] = is_real && !t.is_first ? t.v_first[channel + c] : 0.0f;
        m.w[c] = m.k[c] = m.v[c] = m.kk[c] = m.erase[c] = 0.0f;
    }
    __syncthreads();
    mix_ups(t, m, head);
    __syncthreads();
    if (thread < PT_WARP) {
        pt_head_operands(t.z, channel, t.N, t.is_first, m.ups[0], m.ups[1], m.ups[2], m.raw_k,
                         m.raw_v, m.v_first, m.w, m.k, m.v, m.kk, m.erase);
    }
    __syncthreads();
    for (int c = thread; c < t.N && is_writer; c += PT_THREADS) {
        if (t.is_first) t.v_first[channel + c] = m.v_first[c];
        t.k_out[channel + c] = m.k[c];
        t.v_out[channel + c] = m.v[c];
    }
    const int row = (int)blockIdx.y * PT_ROWS_A_BLOCK + thread / PT_ROW_LANES;
    const int q = thread % PT_ROW_LANES, width = row < t.N ? t.N : 0;  // no columns: a row of zeros
    float s[8 * CHUNKS];
    float *S = call->payload + t.wkv_at + ((size_t)channel + (row < t.N ? row : 0)) * t.N;
    pt_row_load<CHUNKS>(S, width, q, s);
    float y = pt_row_step<CHUNKS>(s, q, m.v[row], m.w, m.k, m.kk, m.erase, m.r);
    if (!call->is_frozen) pt_row_store<CHUNKS>(S, width, q, s);
    if (q == 0 && row < t.N) t.y[channel + row] = y;
}

// ---- embedding: a block is a row

__device__ inline float weight_at(const pt_weight &W, size_t row, int i) {
    if (W.type == PT_SOURCE_F32) return ((const float *)W.rows)[row * W.n_pad + i];
    if (W.type == PT_SOURCE_F16) return __half2float(((const __half *)W.rows)[row * W.n_pad + i]);
    float scale = __half2float(W.scales[row * (W.n_pad / 32) + i / 32]);
    return scale * (float)((int)W.rows[row * W.n_pad + i] - 128);
}

__global__ void __launch_bounds__(PT_THREADS)
    embed_kernel(const pt_weight E, const int *tokens, int stride, const float *weight,
                 const float *bias, float *x) {
    PT_SHARED(shared);
    float *scratch = shared, *xs = shared + PT_WARP;
    pt_wait();
    const size_t token = (size_t)tokens[(size_t)blockIdx.x * stride];
    float sum = 0.0f, squares = 0.0f;
    for (int c = threadIdx.x; c < E.n_in; c += PT_THREADS) {
        xs[c] = weight_at(E, token, c);
        sum += xs[c];
    }
    float mean = pt_block_sum(sum, scratch) / (float)E.n_in;
    for (int c = threadIdx.x; c < E.n_in; c += PT_THREADS) {
        squares += (xs[c] - mean) * (xs[c] - mean);
    }
    float scale = 1.0f / sqrtf(pt_block_sum(squares, scratch) / (float)E.n_in + 1e-5f);
    for (int c = threadIdx.x; c < E.n_in; c += PT_THREADS) {
        x[(size_t)blockIdx.x * E.n_in + c] = (xs[c] - mean) * scale * weight[c] + bias[c];
    }
}

// ---- launchers

int pt_decode_shared_max(int width) {
    return (int)((PT_WARP + pt_padded((size_t)width)) * sizeof(float));
}

static size_t time_mix_shared(const pt_time_mix &t) {
    size_t floats = 12 * PT_HEAD_MAX;
    for (int i = 0; i < 4; i++) floats += (size_t)t.ups[i].n_pad;
    return floats * sizeof(float);
}

void pt_decode_kernels(pt_kernels *list) {
    list->add((const void *)norm_products_kernel);
    list->add((const void *)head_products_kernel);
    list->add((const void *)plain_products_kernel);
    list->add((const void *)time_mix_kernel<1>);
    list->add((const void *)time_mix_kernel<2>);
    list->add((const void *)embed_kernel);
}

int pt_embed_cuda(const pt_stream &on, const pt_weight &E, const int *tokens, int n, int stride,
                  const float *weight, const float *bias, float *x) {
    return pt_launch(on, embed_kernel, dim3(n), pt_decode_shared_max(E.n_in), E, tokens, stride,
                     weight, bias, x);
}

int pt_norm_products_cuda(const pt_stream &on, const pt_products &p, const pt_norm &norm,
                          const pt_call *call) {
    return pt_launch(on, norm_products_kernel, dim3(p.first_block[p.n]), pt_decode_shared_max(norm.C),
                     p, norm, call);
}

int pt_head_products_cuda(const pt_stream &on, const pt_products &p, const pt_heads &heads) {
    return pt_launch(on, head_products_kernel, dim3(p.first_block[p.n]),
                     pt_decode_shared_max(heads.C), p, heads);
}

int pt_plain_products_cuda(const pt_stream &on, const pt_products &p, const float *x) {
    return pt_launch(on, plain_products_kernel, dim3(p.first_block[p.n]),
                     pt_decode_shared_max(p.of[0].W.n_in), p, x);
}

int pt_time_mix_cuda(const pt_stream &on, const pt_time_mix &t, const pt_call *call) {
    dim3 grid(t.C / t.N, (t.N + PT_ROWS_A_BLOCK - 1) / PT_ROWS_A_BLOCK);
    return t.N <= PT_COLUMNS
               ? pt_launch(on, time_mix_kernel<1>, grid, time_mix_shared(t), t, call)
               : pt_launch(on, time_mix_kernel<2>, grid, time_mix_shared(t), t, call);
}
