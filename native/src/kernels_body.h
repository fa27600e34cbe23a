// SPDX-License-Identifier: Apache-2.0
// The portable body of every kernel table. A kernels_*.c file includes it once, after defining
//
//     PT_NAME                      the table's name, a string
//     PT_TABLE                     the table's symbol
//     PT_F16X16(p, out)            16 halves at p -> 16 floats at out
//     PT_PACKED_Q8                 optionally: matmul_packed_q8 and pack_q8 exist, with intrinsics
//
// and is compiled with its own CPU flags, so the compiler vectorises these loops for that CPU. The
// bits stay the same because nothing here leaves the order of float operations open: sums run in 16
// lanes that are folded in one fixed tree, and contraction to fused multiply-add is off for the
// whole library. Axes: C width, N head size, L = PT_GROUP lanes.
#include "internal.h"
#include "pt_exp.h"

#include <math.h>

enum { L = PT_GROUP };

PT_INLINE float pt_sigmoid(float x) { return 1.0f / (1.0f + pt_exp(-x)); }

// ---- sums in a fixed order

PT_INLINE float pt_fold(const float *lanes) {
    float s8[8], s4[4];
    for (int i = 0; i < 8; i++) s8[i] = lanes[i] + lanes[i + 8];
    for (int i = 0; i < 4; i++) s4[i] = s8[i] + s8[i + 4];
    return (s4[0] + s4[2]) + (s4[1] + s4[3]);
}

static float pt_sum(const float *x, size_t n) {
    float lanes[L] = {0};
    size_t i = 0;
    for (; i + L <= n; i += L) {
        for (int l = 0; l < L; l++) lanes[l] += x[i + (size_t)l];
    }
    for (int l = 0; i < n; i++, l++) lanes[l] += x[i];
    return pt_fold(lanes);
}

// Sum of (x - mean)^2.
static float pt_sum_squares(const float *x, float mean, size_t n) {
    float lanes[L] = {0};
    size_t i = 0;
    for (; i + L <= n; i += L) {
        for (int l = 0; l < L; l++) {
            float d = x[i + (size_t)l] - mean;
            lanes[l] += d * d;
        }
    }
    for (int l = 0; i < n; i++, l++) lanes[l] += (x[i] - mean) * (x[i] - mean);
    return pt_fold(lanes);
}

// ---- element-wise parts of the step. Source of the equations: RWKV-7, arXiv:2503.14456, section 4

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

static void value_residual(float *restrict v, const float *restrict v_first,
                           const float *restrict gate, const float *restrict v0, size_t n) {
    for (size_t i = 0; i < n; i++) {
        v[i] = v[i] + (v_first[i] - v[i]) * pt_sigmoid(v0[i] + gate[i]);
    }
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
        float lanes[L] = {0}, read[L] = {0};
        float v = head->v[i];
        size_t j = 0;
        for (; j + L <= n; j += L) {
            for (size_t l = 0; l < L; l++) lanes[l] += row[j + l] * kk[j + l];
        }
        for (size_t l = 0; j < n; j++, l++) lanes[l] += row[j] * kk[j];
        float erased = pt_fold(lanes);
        for (j = 0; j + L <= n; j += L) {
            for (size_t l = 0; l < L; l++) {
                float s = row[j + l] * w[j + l] - erased * erase[j + l] + v * k[j + l];
                row[j + l] = s;
                read[l] += s * r[j + l];
            }
        }
        for (size_t l = 0; j < n; j++, l++) {
            float s = row[j] * w[j] - erased * erase[j] + v * k[j];
            row[j] = s;
            read[l] += s * r[j];
        }
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
    float products[128];
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
    float lanes[L] = {0}, largest = 0.0f;
    bool is_finite = true;
    size_t i = 0;
    for (; i + L <= n; i += L) {
        for (size_t l = 0; l < L; l++) {
            float size = fabsf(x[i + l]);
            lanes[l] = size > lanes[l] ? size : lanes[l];
        }
    }
    for (; i < n; i++) lanes[0] = fabsf(x[i]) > lanes[0] ? fabsf(x[i]) : lanes[0];
    for (size_t l = 0; l < L; l++) largest = lanes[l] > largest ? lanes[l] : largest;
    float probe = 0.0f;
    for (i = 0; i < n; i++) probe += x[i] * 0.0f;  // NaN if any is NaN or infinite
    is_finite = probe == 0.0f;
    *scale = is_finite ? largest / PT_Q16_MAX : NAN;
    float inverse = is_finite && largest > 1e-30f ? PT_Q16_MAX / largest : 0.0f;
    if (!is_finite) {
        memset(q, 0, n * sizeof *q);
        return;
    }
    for (i = 0; i < n; i++) {
        float rounded = (x[i] * inverse + 12582912.0f) - 12582912.0f;  // to nearest, ties to even
        q[i] = (int16_t)(int32_t)rounded;
    }
}

static float half(uint16_t h) {
    uint16_t in[L] = {h};
    float out[L];
    PT_F16X16(in, out);
    return out[0];
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

// Tile of 4 rows of x against one group. sums (4, L).
PT_INLINE void tile_float(const pt_matrix *m, const uint8_t *group, const float *const *f,
                            size_t n_tile, float (*sums)[L]) {
    for (size_t i = 0; i < m->n_in; i++) {
        float w[L];
        if (m->type == PT_F16) {
            PT_F16X16((const uint16_t *)(const void *)group + i * L, w);
        } else {
            memcpy(w, (const float *)(const void *)group + i * L, sizeof w);
        }
        for (size_t t = 0; t < n_tile; t++) {
            for (int l = 0; l < L; l++) sums[t][l] += w[l] * f[t][i];
        }
    }
}

PT_INLINE void store_group(const pt_matrix *m, size_t group, const float *sums, float *y,
                             bool accumulate) {
    size_t n = m->n_out - group * L < L ? m->n_out - group * L : L;
    y += group * L;
    if (n == L) {
        for (size_t l = 0; l < L; l++) y[l] = accumulate ? y[l] + sums[l] : sums[l];
    } else {
        for (size_t l = 0; l < n; l++) y[l] = accumulate ? y[l] + sums[l] : sums[l];
    }
}

static void matmul_packed_float(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                                size_t n_rows, float *y, size_t y_stride, bool accumulate) {
    size_t group_size = (size_t)m->n_in * L * (m->type == PT_F16 ? 2 : 4);
    for (size_t g = first; g < last; g++) {
        const uint8_t *group = m->packed + g * group_size;
        for (size_t t = 0; t < n_rows; t += 4) {
            size_t n_tile = n_rows - t < 4 ? n_rows - t : 4;
            const float *f[4] = {NULL};
            float sums[4][L] = {{0}};
            for (size_t i = 0; i < n_tile; i++) f[i] = x->f + (t + i) * m->n_in;
            if (n_tile == 4) {
                tile_float(m, group, f, 4, sums);
            } else if (n_tile == 1) {
                tile_float(m, group, f, 1, sums);
            } else {
                tile_float(m, group, f, n_tile, sums);
            }
            for (size_t i = 0; i < n_tile; i++) {
                store_group(m, g, sums[i], y + (t + i) * y_stride, accumulate);
            }
        }
    }
}

static void pack_float(const pt_matrix *m, uint8_t *packed) {
    size_t size = m->type == PT_F16 ? 2 : 4;
    memset(packed, 0, pt_matrix_packed_size(m));  // the rows that round n_out up to a group
    for (size_t o = 0; o < m->n_out; o++) {
        uint8_t *to = packed + (o / L * m->n_in * L + o % L) * size;
        const uint8_t *from = m->mapped + o * m->n_in * size;
        for (size_t i = 0; i < m->n_in; i++) memcpy(to + i * L * size, from + i * size, size);
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

static void pack(const pt_matrix *m, uint8_t *packed) {
#ifdef PT_PACKED_Q8
    if (m->type == PT_Q8_0) {
        pack_q8(m, packed);
        return;
    }
#endif
    pack_float(m, packed);
}

static void embed(const pt_matrix *m, uint32_t row, float *restrict y) {
    if (m->type == PT_F32) {
        memcpy(y, m->mapped + (size_t)row * m->n_in * 4, (size_t)m->n_in * 4);
    } else if (m->type == PT_F16) {
        const uint8_t *from = m->mapped + (size_t)row * m->n_in * 2;
        for (size_t i = 0; i < m->n_in; i++) y[i] = half(pt_le16(from + 2 * i));
    } else {
        const uint8_t *from = m->mapped + (size_t)row * (m->n_in / PT_BLOCK) * PT_BLOCK_SIZE;
        for (size_t i = 0; i < m->n_in; i++) {
            const uint8_t *block = from + i / PT_BLOCK * PT_BLOCK_SIZE;
            y[i] = half(pt_le16(block)) * (float)(int8_t)block[2 + i % PT_BLOCK];
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
