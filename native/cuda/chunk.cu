// SPDX-License-Identifier: Apache-2.0
// The recurrence of long runs, 16 bytes at a time. wide.cu walks them one by one, each a round of sums
// over lanes that waits for the last; here those rounds become products of small matrices.
//
// Rows of S are value channels. With D_t the product of the decays of a chunk up to byte t, columns are
// measured against D: a_t = kk_t D_{t-1}, q_t = r_t D_t, b_t = erase_t / D_t, p_t = k_t / D_t. Then
//
//     u_t = S a_t - sum_{s<t} (b_s . a_t) u_s + sum_{s<t} (p_s . a_t) v_s      what byte t erases
//     y_t = S q_t - sum_{s<=t} (b_s . q_t) u_s + sum_{s<=t} (p_s . q_t) v_s    what it reads
//     S  <- (S - sum u_s b_s + sum v_s p_s) D_16
//
// `prepare` solves the triangle for u without S, all chunks of a call at once, so that `walk` has left,
// for a chunk: u = S a' + u', y = S q' + y', and the last line. A decay is at least exp(-0.6065), so D
// stays above 6e-5 in 16 bytes and its inverse costs no digits of f32; 64 bytes would reach 1e-17.
#include "kernels.h"

enum { T = PT_CHUNK, T_LEAD = T + 1, ROW_LEAD = T + 4 };
static_assert(T * T == PT_THREADS, "prepare: a thread is a pair of bytes");
static_assert(T == 2 * PT_ROW_LANES, "walk: a lane ends with the sums of two bytes");

// ---- prepare: a block is one chunk of one head

struct triangle_memory {  // shared: (T, lead) each, then (T, T) each
    float *a, *q, *p, *b, *ab, *ap, *qb, *qp;
    int lead;
};

// Four floats more than whole fours: rows then begin in different banks.
__host__ __device__ inline int lead_of(int N) { return (N + 3) / 4 * 4 + 4; }

__device__ inline triangle_memory carve(float *shared, int N) {
    triangle_memory m;
    m.lead = lead_of(N);
    float **vectors[] = {&m.a, &m.q, &m.p, &m.b}, **squares[] = {&m.ab, &m.ap, &m.qb, &m.qp};
    for (int i = 0; i < 4; i++) *vectors[i] = shared + i * T * m.lead;
    for (int i = 0; i < 4; i++) *squares[i] = shared + 4 * T * m.lead + i * T * T_LEAD;
    return m;
}

// One channel of the chunk's vectors against D; bytes past the end change nothing.
__device__ inline void scale_channel(const pt_wide_chunks &in, const triangle_memory &m, int n,
                                     size_t at, int c) {
    float decay = 1.0f;
#pragma unroll 4
    for (int t = 0; t < T; t++) {
        const bool is_real = c < in.N && t < n;
        const size_t i = at + (size_t)t * in.C + c;
        const float w = is_real ? in.w[i] : 1.0f, before = decay;
        decay *= w;
        const float inverse = 1.0f / decay;
        const float b = is_real ? in.erase[i] * inverse : 0.0f;
        const float p = is_real ? in.k[i] * inverse : 0.0f;
        m.a[t * m.lead + c] = is_real ? in.kk[i] * before : 0.0f;
        m.q[t * m.lead + c] = is_real ? in.r[i] * decay : 0.0f;
        m.b[t * m.lead + c] = b;
        m.p[t * m.lead + c] = p;
        if (is_real) {
            in.erase[i] = b;
            in.p[i] = p;
        }
    }
    if (c < in.N) in.w[at + c] = decay;  // of the whole chunk, in the place of its first byte's
}

// The dots of byte t's a and q with byte s's b and p.
__device__ inline void dot_pair(const triangle_memory &m, int t, int s) {
    const float4 *a = (const float4 *)(m.a + t * m.lead), *q = (const float4 *)(m.q + t * m.lead);
    const float4 *b = (const float4 *)(m.b + s * m.lead), *p = (const float4 *)(m.p + s * m.lead);
    float ab = 0.0f, ap = 0.0f, qb = 0.0f, qp = 0.0f;
    for (int j = 0; j < m.lead / 4 - 1; j++) {
        const float4 from = b[j], with = p[j];
        const float b4[4] = {from.x, from.y, from.z, from.w}, p4[4] = {with.x, with.y, with.z, with.w};
        ab = pt_dot_four(b4, a[j], ab);
        ap = pt_dot_four(p4, a[j], ap);
        qb = pt_dot_four(b4, q[j], qb);
        qp = pt_dot_four(p4, q[j], qp);
    }
    m.ab[t * T_LEAD + s] = s < t ? ab : 0.0f;
    m.ap[t * T_LEAD + s] = s < t ? ap : 0.0f;
    m.qb[t * T_LEAD + s] = s <= t ? qb : 0.0f;
    m.qp[t * T_LEAD + s] = s <= t ? qp : 0.0f;
}

// Forward substitution of one column: of a and q (c < N), which are written to memory, or of the
// products with v, which stay.
__device__ inline void solve_column(const pt_wide_chunks &in, const triangle_memory &m, int n,
                                    size_t at, int c) {
    const bool is_channel = c < in.N;
    const int stride = is_channel ? m.lead : T_LEAD;
    float *erased = is_channel ? m.a + c : m.ap + c - in.N;
    float *read = is_channel ? m.q + c : m.qp + c - in.N;
    float solved[T];
#pragma unroll
    for (int t = 0; t < T; t++) {
        float u = erased[t * stride], y = read[t * stride];
#pragma unroll
        for (int s = 0; s < t; s++) u -= m.ab[t * T_LEAD + s] * solved[s];
        solved[t] = u;
#pragma unroll
        for (int s = 0; s <= t; s++) y -= m.qb[t * T_LEAD + s] * solved[s];
        if (!is_channel) {
            erased[t * stride] = u;
            read[t * stride] = y;
        } else if (t < n) {
            in.kk[at + (size_t)t * in.C + c] = u;
            in.q[at + (size_t)t * in.C + c] = y;
        }
    }
}

// What the chunk's own values add to u and y of one value channel.
__device__ inline void own_values(const pt_wide_chunks &in, const triangle_memory &m, int n, size_t at,
                                  int c) {
    float v[T];
#pragma unroll
    for (int t = 0; t < T; t++) v[t] = t < n ? in.v[at + (size_t)t * in.C + c] : 0.0f;
#pragma unroll 2  // all at once would want more registers than there are
    for (int t = 0; t < T; t++) {
        float u = 0.0f, y = 0.0f;
#pragma unroll
        for (int s = 0; s < T; s++) {  // both are zero beyond byte t
            u += m.ap[t * T_LEAD + s] * v[s];
            y += m.qp[t * T_LEAD + s] * v[s];
        }
        if (t < n) {
            in.u[at + (size_t)t * in.C + c] = u;
            in.y[at + (size_t)t * in.C + c] = y;
        }
    }
}

__global__ void __launch_bounds__(PT_THREADS, 2) chunk_prepare_kernel(const pt_wide_chunks in) {
    PT_SHARED(shared);
    pt_wait();
    const triangle_memory m = carve(shared, in.N);
    const pt_chunk chunk = in.chunks[blockIdx.x];
    const size_t at = (size_t)chunk.first * in.C + (size_t)blockIdx.y * in.N;
    const int thread = threadIdx.x;
    for (int c = thread; c < m.lead; c += PT_THREADS) scale_channel(in, m, chunk.n, at, c);
    __syncthreads();
    dot_pair(m, thread / T, thread % T);
    __syncthreads();
    for (int c = thread; c < in.N + T; c += PT_THREADS) solve_column(in, m, chunk.n, at, c);
    __syncthreads();
    for (int c = thread; c < in.N; c += PT_THREADS) own_values(in, m, chunk.n, at, c);
}

// ---- walk: a block is 32 rows of one head of one life, laid out as in the walk of wide.cu. While a
// chunk is computed, the next one's tiles travel.

template <int CHUNKS> struct walk_memory {  // shared
    float a[T * PT_COLUMNS * CHUNKS], q[T * PT_COLUMNS * CHUNKS];
    float b[T * PT_COLUMNS * CHUNKS], p[T * PT_COLUMNS * CHUNKS];
    float decay[PT_COLUMNS * CHUNKS];
    float u[PT_ROWS_A_BLOCK * ROW_LEAD], v[PT_ROWS_A_BLOCK * ROW_LEAD];
};

// This thread's share of a chunk: of the four tiles, the decay, and two bytes of u', y' and v of its row.
template <int CHUNKS> struct walk_share {
    enum { N_EACH = T * PT_COLUMNS * CHUNKS / PT_THREADS };
    float a[N_EACH], q[N_EACH], b[N_EACH], p[N_EACH], decay, u[2], y[2], v[2];
};

template <int CHUNKS>
__device__ inline void fetch(const pt_wide_chunks &in, size_t at, int n, int row, bool is_row,
                             walk_share<CHUNKS> *mine) {
    const int width = PT_COLUMNS * CHUNKS, thread = threadIdx.x, q = thread % PT_ROW_LANES;
#pragma unroll
    for (int i = 0; i < walk_share<CHUNKS>::N_EACH; i++) {
        const int t = (thread + i * PT_THREADS) / width, c = (thread + i * PT_THREADS) % width;
        const bool is_real = c < in.N && t < n;
        const size_t from = at + (size_t)t * in.C + c;
        mine->a[i] = is_real ? in.kk[from] : 0.0f;
        mine->q[i] = is_real ? in.q[from] : 0.0f;
        mine->b[i] = is_real ? in.erase[from] : 0.0f;
        mine->p[i] = is_real ? in.p[from] : 0.0f;
    }
    mine->decay = thread < in.N ? in.w[at + thread] : 0.0f;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const bool is_real = is_row && 2 * q + i < n;
        const size_t from = at + (size_t)(2 * q + i) * in.C + row;
        mine->u[i] = is_real ? in.u[from] : 0.0f;
        mine->y[i] = is_real ? in.y[from] : 0.0f;
        mine->v[i] = is_real ? in.v[from] : 0.0f;
    }
}

template <int CHUNKS>
__device__ inline void put(const walk_share<CHUNKS> &mine, walk_memory<CHUNKS> *m) {
    const int thread = threadIdx.x;
#pragma unroll
    for (int i = 0; i < walk_share<CHUNKS>::N_EACH; i++) {
        m->a[thread + i * PT_THREADS] = mine.a[i];
        m->q[thread + i * PT_THREADS] = mine.q[i];
        m->b[thread + i * PT_THREADS] = mine.b[i];
        m->p[thread + i * PT_THREADS] = mine.p[i];
    }
    if (thread < PT_COLUMNS * CHUNKS) m->decay[thread] = mine.decay;
}

// Sums over the eight lanes of a row of sixteen numbers each: lane q ends with those of bytes 2 q and
// 2 q + 1 in sums[0] and sums[1].
template <int LANES> __device__ inline void halve_sums(float *sums, int q) {
    const bool is_upper = (q & LANES) != 0;
#pragma unroll
    for (int i = 0; i < 2 * LANES; i++) {
        const float given = is_upper ? sums[i] : sums[i + 2 * LANES];
        const float kept = is_upper ? sums[i + 2 * LANES] : sums[i];
        sums[i] = kept + __shfl_xor_sync(~0u, given, LANES);
    }
}

__device__ inline void scatter_sums(float *sums, int q) {
    halve_sums<4>(sums, q);
    halve_sums<2>(sums, q);
    halve_sums<1>(sums, q);
}

// s . x_t for the sixteen bytes' x.
template <int CHUNKS>
__device__ inline void read_rows(const float *s, const float *x, int q, float *sums) {
#pragma unroll
    for (int t = 0; t < T; t++) {
        sums[t] = 0.0f;
#pragma unroll
        for (int j = 0; j < PT_QUADS * CHUNKS; j++) {
            sums[t] = pt_dot_four(s + 4 * j, pt_quad(x + t * PT_COLUMNS * CHUNKS, j, q), sums[t]);
        }
    }
    scatter_sums(sums, q);
}

template <int CHUNKS>
__device__ inline void add_chunk(float *s, const walk_memory<CHUNKS> *m, int group, int q) {
#pragma unroll
    for (int t = 0; t < T; t++) {
        const float u = m->u[group * ROW_LEAD + t], v = m->v[group * ROW_LEAD + t];
#pragma unroll
        for (int j = 0; j < PT_QUADS * CHUNKS; j++) {
            const float4 b = pt_quad(m->b + t * PT_COLUMNS * CHUNKS, j, q);
            const float4 p = pt_quad(m->p + t * PT_COLUMNS * CHUNKS, j, q);
            s[4 * j] += v * p.x - u * b.x;
            s[4 * j + 1] += v * p.y - u * b.y;
            s[4 * j + 2] += v * p.z - u * b.z;
            s[4 * j + 3] += v * p.w - u * b.w;
        }
    }
#pragma unroll
    for (int j = 0; j < PT_QUADS * CHUNKS; j++) {
        const float4 decay = pt_quad(m->decay, j, q);
        s[4 * j] *= decay.x;
        s[4 * j + 1] *= decay.y;
        s[4 * j + 2] *= decay.z;
        s[4 * j + 3] *= decay.w;
    }
}

template <int CHUNKS>
__global__ void __launch_bounds__(PT_THREADS, 2) chunk_walk_kernel(const pt_wide_chunks in) {
    PT_SHARED(shared);
    walk_memory<CHUNKS> *m = (walk_memory<CHUNKS> *)shared;
    pt_wait();
    const pt_run run = in.runs[blockIdx.x];
    const int channel = (int)blockIdx.y * in.N, q = threadIdx.x % PT_ROW_LANES;
    const int group = threadIdx.x / PT_ROW_LANES, row = (int)blockIdx.z * PT_ROWS_A_BLOCK + group;
    const bool is_row = row < in.N;
    const int width = is_row ? in.N : 0;
    float *S = run.payload + in.wkv_at + (size_t)(channel + (is_row ? row : 0)) * in.N;
    float s[8 * CHUNKS];
    walk_share<CHUNKS> mine;
    pt_row_load<CHUNKS>(S, width, q, s);
    size_t at = (size_t)run.first * in.C + channel;
    fetch<CHUNKS>(in, at, run.n, row, is_row, &mine);
    for (int done = 0; done < run.n; done += T) {
        const int n = run.n - done;
        float u[T], y[T];
        put<CHUNKS>(mine, m);
        __syncthreads();
        read_rows<CHUNKS>(s, m->a, q, u);
        read_rows<CHUNKS>(s, m->q, q, y);
        for (int i = 0; i < 2; i++) {
            m->u[group * ROW_LEAD + 2 * q + i] = u[i] + mine.u[i];
            m->v[group * ROW_LEAD + 2 * q + i] = mine.v[i];
            if (is_row && 2 * q + i < n) {
                in.y[at + (size_t)(2 * q + i) * in.C + row] = y[i] + mine.y[i];
            }
        }
        at += (size_t)T * in.C;
        if (n > T) fetch<CHUNKS>(in, at, n - T, row, is_row, &mine);
        __syncthreads();
        add_chunk<CHUNKS>(s, m, group, q);
        __syncthreads();  // everybody has read the tiles
    }
    pt_row_store<CHUNKS>(S, width, q, s);
}

// ---- launchers

template <int CHUNKS>
static int launch_walk(const pt_stream &on, const pt_wide_chunks &in, int n_runs) {
    static_assert(sizeof(walk_memory<CHUNKS>) <= 48 << 10, "without asking");
    dim3 grid(n_runs, in.C / in.N, (in.N + PT_ROWS_A_BLOCK - 1) / PT_ROWS_A_BLOCK);
    return pt_launch(on, chunk_walk_kernel<CHUNKS>, grid, sizeof(walk_memory<CHUNKS>), in);
}

int pt_wide_chunks_cuda(const pt_stream &on, const pt_wide_chunks &in, int n_chunks, int n_runs) {
    const size_t shared = (size_t)(4 * T * lead_of(in.N) + 4 * T * T_LEAD) * sizeof(float);
    int err = pt_launch(on, chunk_prepare_kernel, dim3(n_chunks, in.C / in.N), shared, in);
    if (err) return err;
    return in.N <= PT_COLUMNS ? launch_walk<1>(on, in, n_runs) : launch_walk<2>(on, in, n_runs);
}

void pt_chunk_kernels(pt_kernels *list) {
    list->add((const void *)chunk_prepare_kernel);
    list->add((const void *)chunk_walk_kernel<1>);
    list->add((const void *)chunk_walk_kernel<2>);
}
