// SPDX-License-Identifier: Apache-2.0
// The portable body of every kernel table. A kernels_*.c file includes it once, after defining
//
//     PT_NAME                      the table's name, a string
//     PT_TABLE                     the table's symbol
//     PT_WIDTH                     floats in this CPU's widest register: 4, 8 or 16
//     PT_HALVES(p)                 PT_WIDTH halves at p -> lanes
//     PT_PACKED_Q8                 optionally: matmul_packed_q8 and pack_q8 exist, with intrinsics
//
// and is compiled with its own CPU flags, so the compiler vectorises these loops for that CPU. The
// bits stay the same because nothing here leaves the order of float operations open: sums run in 16
// lanes that are folded in one fixed tree, and contraction to fused multiply-add is off for the
// whole library. Axes: C width, N head size, L = PT_GROUP lanes.
#include "internal.h"
#include "lanes.h"

#include <float.h>
#include <math.h>

_Static_assert(FLT_EVAL_METHOD == 0, "floats of excess precision break INV-8: build with SSE2");

// ---- element-wise parts of the step. Source of the equations: RWKV-7, arXiv:2503.14456, section 4

PT_INLINE float pt_sigmoid(float x) { return 1.0f / (1.0f + pt_exp(-x)); }

static void layer_norm(const float *x, const float *restrict weight, const float *restrict bias,
                       size_t n, float *y) {
    float mean = pt_sum(x, n) / (float)n;
    float scale = 1.0f / sqrtf(pt_sum_squares(x, mean, n) / (float)n + 1e-5f);
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

static void lerp(const float *restrict x, const float *restrict prev, const float *restrict mix,
                 size_t n, float *restrict y) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] + (prev[i] - x[i]) * mix[i];
}

static void tanh_all(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = 1.0f - 2.0f / (pt_exp(2.0f * x[i]) + 1.0f);
}

static void sigmoid_all(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = pt_sigmoid(x[i]);
}

static void relu_squared(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float positive = x[i] < 0.0f ? 0.0f : x[i];  // keeps NaN
        x[i] = positive * positive;
    }
}

// w = exp(-exp(-1/2) sigmoid(w0 + d)), in (0.545, 1): a channel never forgets more than 45.5 % of
// itself in one step.
static void decay(float *restrict w, const float *restrict w0, size_t n) {
    for (size_t i = 0; i < n; i++) w[i] = pt_exp(-0.60653066f * pt_sigmoid(w0[i] + w[i]));
}

static void iclr(float *restrict a, const float *restrict a0, size_t n) {
    for (size_t i = 0; i < n; i++) a[i] = pt_sigmoid(a0[i] + a[i]);
}

// One head; n = N. Two loops, because GCC 12 leaves them scalar as one.
static void value_residual(float *restrict v, const float *restrict v_first,
                           const float *restrict gate, const float *restrict v0, size_t n) {
    float share[128];  // the largest head size
    for (size_t i = 0; i < n; i++) share[i] = pt_sigmoid(v0[i] + gate[i]);
    for (size_t i = 0; i < n; i++) v[i] = v[i] + (v_first[i] - v[i]) * share[i];
}

// kk = k * k_k, to unit length per head; n = N.
static void removal_key(const float *restrict k, const float *restrict k_k, size_t n,
                        float *restrict kk) {
    for (size_t i = 0; i < n; i++) kk[i] = k[i] * k_k[i];
    float length = sqrtf(pt_sum_squares(kk, 0.0f, n));
    float scale = 1.0f / (length < 1e-12f ? 1e-12f : length);
    for (size_t i = 0; i < n; i++) kk[i] *= scale;
}

static void key(float *restrict k, const float *restrict a, const float *restrict k_a, size_t n) {
    for (size_t i = 0; i < n; i++) k[i] = k[i] * (1.0f + (a[i] - 1.0f) * k_a[i]);
}

// One head, one byte: S = S diag(w) - (S kk)(kk * iclr)^T + v k^T; y = S r. Rows of S are value
// channels, so each row is one pass over contiguous memory.
PT_INLINE void wkv_sized(const pt_head *head, size_t n) {
    const float *restrict r = head->r, *restrict w = head->w, *restrict k = head->k;
    const float *restrict kk = head->kk, *restrict a = head->iclr;
    float erase[128];  // the largest head size
    for (size_t j = 0; j < n; j++) erase[j] = kk[j] * a[j];
    for (size_t i = 0; i < n; i++) {
        float *restrict row = head->S + i * n;
        sixteen held = {{{0}}}, read = {{{0}}};
        float v = head->v[i];
        size_t j = 0;
        for (; j + L <= n; j += L) {
            for (size_t p = 0; p < PARTS; p++) {
                held.part[p] += pt_load(row + j + W * p) * pt_load(kk + j + W * p);
            }
        }
        float tail[L] = {0};
        for (size_t l = 0; j + l < n; l++) tail[l] = row[j + l] * kk[j + l];
        for (size_t p = 0; p < PARTS && j < n; p++) held.part[p] += pt_load(tail + W * p);
        float erased = pt_fold(held);
        for (j = 0; j + L <= n; j += L) {
            for (size_t p = 0; p < PARTS; p++) {
                size_t at = j + W * p;
                lanes s = pt_load(row + at) * pt_load(w + at) - erased * pt_load(erase + at) +
                          v * pt_load(k + at);
                pt_store(row + at, s);
                read.part[p] += s * pt_load(r + at);
            }
        }
        for (size_t l = 0; j + l < n; l++) {
            row[j + l] = row[j + l] * w[j + l] - erased * erase[j + l] + v * k[j + l];
            tail[l] = row[j + l] * r[j + l];
        }
        for (size_t p = 0; p < PARTS && j < n; p++) read.part[p] += pt_load(tail + W * p);
        head->y[i] = pt_fold(read);
    }
}

static void wkv(const pt_head *head, size_t n) {
    if (n == 64) {
        wkv_sized(head, 64);  // the head size of every published model: unrolled by the compiler
    } else {
        wkv_sized(head, n);
    }
}

// y = (group_norm(y) + (r . (k * r_k)) v) * gate, for one head; n = N.
static void read_out(float *restrict y, const pt_head *head, const float *restrict r_k,
                     const float *restrict ln_weight, const float *restrict ln_bias,
                     const float *restrict gate, size_t n) {
    float mean = pt_sum(y, n) / (float)n;
    float scale = 1.0f / sqrtf(pt_sum_squares(y, mean, n) / (float)n + 64e-5f);
    float products[128] = {0};
    for (size_t i = 0; i < n; i++) products[i] = head->r[i] * head->k[i] * r_k[i];
    float bonus = pt_sum(products, n);
    for (size_t i = 0; i < n; i++) {
        float normed = (y[i] - mean) * scale * ln_weight[i] + ln_bias[i];
        y[i] = (normed + bonus * head->v[i]) * gate[i];
    }
}

// ---- Q8_0: integer sums of int8 weights and int16 activations, so their order is free

// x = scale * q with |q| <= PT_Q16_MAX. A row that is not finite becomes scale NaN: NaN in, NaN out.
static void quantize(const float *restrict x, size_t n, int16_t *restrict q, float *scale) {
    int32_t size = 0;  // of the largest |x|, by its bits, whose order is that of the values
    for (size_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffff;
        size = bits > size ? bits : size;
    }
    if (size >= 0x7f800000) {  // infinite or NaN
        *scale = NAN;
        memset(q, 0, n * sizeof *q);
        return;
    }
    float largest;
    memcpy(&largest, &size, sizeof largest);
    *scale = largest / PT_Q16_MAX;
    float inverse = largest > 1e-30f ? PT_Q16_MAX / largest : 0.0f;
    for (size_t i = 0; i < n; i++) {
        float rounded = (x[i] * inverse + 12582912.0f) - 12582912.0f;  // to nearest, ties to even
        q[i] = (int16_t)(int32_t)rounded;
    }
}

static float half(uint16_t h) {
    uint16_t in[W] = {h};
    return PT_HALVES(in)[0];
}

// y[row][o] for outputs [first, last) straight from the file's layout. Rows of x are the inner loop
// so that each weight block is read from memory once.
static void matmul_mapped_q8(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                             size_t n_rows, float *y, size_t y_stride, bool accumulate) {
    size_t n_blocks = m->n_in / PT_BLOCK;
    for (size_t o = first; o < last; o++) {
        const uint8_t *row = m->mapped + o * n_blocks * PT_BLOCK_SIZE;
        for (size_t t = 0; t < n_rows; t++) {
            const int16_t *q = x->q + t * m->n_in;
            float sum = 0.0f;
            for (size_t b = 0; b < n_blocks; b++) {
                const int8_t *w = (const int8_t *)(row + b * PT_BLOCK_SIZE + 2);
                int32_t dot = 0;
                for (size_t i = 0; i < PT_BLOCK; i++) dot += w[i] * q[b * PT_BLOCK + i];
                sum += half(pt_le16(row + b * PT_BLOCK_SIZE)) * (float)dot;
            }
            sum *= x->scale[t];
            y[t * y_stride + o] = accumulate ? y[t * y_stride + o] + sum : sum;
        }
    }
}

static void matmul_mapped_float(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                                size_t n_rows, float *y, size_t y_stride, bool accumulate) {
    for (size_t o = first; o < last; o++) {
        for (size_t t = 0; t < n_rows; t++) {
            const float *f = x->f + t * m->n_in;
            float sum = 0.0f;
            if (m->type == PT_F16) {
                const uint8_t *w = m->mapped + o * m->n_in * 2;
                for (size_t i = 0; i < m->n_in; i++) sum += half(pt_le16(w + 2 * i)) * f[i];
            } else {
                const float *w = (const float *)(const void *)m->mapped + o * m->n_in;
                for (size_t i = 0; i < m->n_in; i++) sum += w[i] * f[i];
            }
            y[t * y_stride + o] = accumulate ? y[t * y_stride + o] + sum : sum;
        }
    }
}

// ---- repacked F32 and F16: 16 output rows interleaved, column by column

PT_INLINE lanes load_weights(const pt_matrix *m, const uint8_t *group, size_t at) {
    if (m->type == PT_F32) return pt_load((const float *)(const void *)group + at);
    return PT_HALVES((const uint16_t *)(const void *)group + at);
}

PT_INLINE void store_group(const pt_matrix *m, size_t group, sixteen sums, float *y,
                           bool accumulate) {
    size_t n = m->n_out - group * L < L ? m->n_out - group * L : L;
    y += group * L;
    if (n == L) {
        for (int p = 0; p < PARTS; p++) {
            float *to = y + W * p;
            pt_store(to, accumulate ? pt_load(to) + sums.part[p] : sums.part[p]);
        }
        return;
    }
    float last[L];
    memcpy(last, &sums, sizeof last);
    for (size_t l = 0; l < n; l++) y[l] = accumulate ? y[l] + last[l] : last[l];
}

// `n_groups` groups against `n_rows` rows of x: four sums in flight hide the latency of an addition.
PT_INLINE void tile_float(const pt_matrix *m, size_t group, size_t n_groups, const float *f,
                          size_t n_rows, float *y, size_t y_stride, bool accumulate) {
    size_t group_size = (size_t)m->n_in * L * (m->type == PT_F16 ? 2 : 4);
    const uint8_t *packed = m->packed + group * group_size;
    sixteen sums[4] = {{{{0}}}};
    for (size_t i = 0; i < m->n_in; i++) {
        for (size_t g = 0; g < n_groups; g++) {
            for (size_t p = 0; p < PARTS; p++) {
                lanes w = load_weights(m, packed + g * group_size, i * L + p * W);
                for (size_t t = 0; t < n_rows; t++) {
                    sums[g * n_rows + t].part[p] += w * f[t * m->n_in + i];
                }
            }
        }
    }
    for (size_t g = 0; g < n_groups; g++) {
        for (size_t t = 0; t < n_rows; t++) {
            store_group(m, group + g, sums[g * n_rows + t], y + t * y_stride, accumulate);
        }
    }
}

PT_INLINE void matmul_typed_float(const pt_matrix *m, size_t first, size_t last,
                                  const pt_operand *x, size_t n_rows, float *y, size_t y_stride,
                                  bool accumulate) {
    size_t t = 0;
    for (; t + 4 <= n_rows; t += 4) {
        for (size_t g = first; g < last; g++) {
            tile_float(m, g, 1, x->f + t * m->n_in, 4, y + t * y_stride, y_stride, accumulate);
        }
    }
    for (; t < n_rows; t++) {
        size_t g = first;
        const float *f = x->f + t * m->n_in;
        float *to = y + t * y_stride;
        for (; g + 4 <= last; g += 4) tile_float(m, g, 4, f, 1, to, y_stride, accumulate);
        for (; g + 2 <= last; g += 2) tile_float(m, g, 2, f, 1, to, y_stride, accumulate);
        for (; g < last; g++) tile_float(m, g, 1, f, 1, to, y_stride, accumulate);
    }
}

static void matmul_packed_float(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                                size_t n_rows, float *y, size_t y_stride, bool accumulate) {
    pt_matrix typed = *m;  // a constant type lets the compiler drop the other branch
    if (m->type == PT_F16) {
        typed.type = PT_F16;
        matmul_typed_float(&typed, first, last, x, n_rows, y, y_stride, accumulate);
    } else {
        typed.type = PT_F32;
        matmul_typed_float(&typed, first, last, x, n_rows, y, y_stride, accumulate);
    }
}

// `size` of a weight is a constant at every call, so that the copies become single moves.
PT_INLINE void pack_sized(const pt_matrix *m, size_t size, uint8_t *packed) {
    memset(packed, 0, pt_matrix_packed_size(m));  // the rows that round n_out up to a group
    for (size_t o = 0; o < m->n_out; o++) {
        uint8_t *to = packed + (o / L * m->n_in * L + o % L) * size;
        const uint8_t *from = m->mapped + o * m->n_in * size;
        for (size_t i = 0; i < m->n_in; i++) memcpy(to + i * L * size, from + i * size, size);
    }
}

static void pack_float(const pt_matrix *m, uint8_t *packed) {
    if (m->type == PT_F16) {
        pack_sized(m, 2, packed);
    } else {
        pack_sized(m, 4, packed);
    }
}

// ---- the table

static void matmul(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                   size_t n_rows, float *y, size_t y_stride, bool accumulate) {
#ifdef PT_PACKED_Q8
    if (m->packed && m->type == PT_Q8_0) {
        matmul_packed_q8(m, first, last, x, n_rows, y, y_stride, accumulate);
        return;
    }
#endif
    if (m->packed) {
        matmul_packed_float(m, first, last, x, n_rows, y, y_stride, accumulate);
        return;
    }
    size_t out_first = first * L, out_last = last * L < m->n_out ? last * L : m->n_out;
    if (m->type == PT_Q8_0) {
        matmul_mapped_q8(m, out_first, out_last, x, n_rows, y, y_stride, accumulate);
    } else {
        matmul_mapped_float(m, out_first, out_last, x, n_rows, y, y_stride, accumulate);
    }
}

static bool pack(const pt_matrix *m, uint8_t *packed) {
#ifdef PT_PACKED_Q8
    if (m->type == PT_Q8_0) return pack_q8(m, packed);
#endif
    pack_float(m, packed);
    return true;
}

static void embed(const pt_matrix *m, uint32_t row, float *restrict y) {
    const float *end = y + m->n_in;
    if (m->type == PT_F32) {
        memcpy(y, m->mapped + (size_t)row * m->n_in * 4, (size_t)m->n_in * 4);
    } else if (m->type == PT_F16) {
        const uint8_t *from = m->mapped + (size_t)row * m->n_in * 2;
        for (size_t i = 0; i < m->n_in; i++) y[i] = half(pt_le16(from + 2 * i));
    } else {
        const uint8_t *block = m->mapped + (size_t)row * (m->n_in / PT_BLOCK) * PT_BLOCK_SIZE;
        for (; y < end; y += PT_BLOCK, block += PT_BLOCK_SIZE) {
            const int8_t *q = (const int8_t *)block + 2;
            float scale = half(pt_le16(block));
            for (size_t i = 0; i < PT_BLOCK; i++) y[i] = scale * (float)q[i];
        }
    }
}

const pt_kernels PT_TABLE = {
    .name = PT_NAME,
    .matmul = matmul,
    .pack = pack,
    .quantize = quantize,
    .layer_norm = layer_norm,
    .lerp = lerp,
    .tanh = tanh_all,
    .sigmoid = sigmoid_all,
    .relu_squared = relu_squared,
    .decay = decay,
    .iclr = iclr,
    .value_residual = value_residual,
    .removal_key = removal_key,
    .key = key,
    .wkv = wkv,
    .read_out = read_out,
    .embed = embed,
};
