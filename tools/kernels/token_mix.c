// SPDX-License-Identifier: Apache-2.0
// What stands before the matrix products of a block: the residual sum, layer norm, and the mixes of each byte with the one
// before it; and the squared ReLU between those of a channel-mix. Forward and backward.
//
//     x = x + delta        z = (x - mean) / deviation * gamma + beta        out_i = z_t + (z_(t-1) - z_t) mu_i

#include "io.h"

#define EPS ((REAL)1e-5)  // of the layer norm

struct sizes { int B, T, C, n; };  // C in whole vectors; n mixes

// z: the normed row of x, once its mean and 1 / deviation are known.
static void norm_again(REAL *z, const REAL *x, const REAL *gamma, const REAL *beta, int C, const REAL *stat) {
    for (int c = 0; c < C; c += LANES)
        *(vec *)(z + c) = (*(const vec *)(x + c) - stat[0]) * stat[1] * *(const vec *)(gamma + c) + *(const vec *)(beta + c);
}

// The same from the start; mean and 1 / deviation go to `stat`.
static void norm(REAL *z, const REAL *x, const REAL *gamma, const REAL *beta, int C, REAL *stat) {
    avec sum = {0}, square = {0};
    for (int c = 0; c < C; c += LANES) sum += *(const vec *)(x + c);
    stat[0] = sum_lanes(sum) / C;
    for (int c = 0; c < C; c += LANES) {
        avec d = *(const vec *)(x + c) - stat[0];
        square += d * d;
    }
    REAL variance = sum_lanes(square) / C + EPS;
    stat[1] = 1 / (sizeof(REAL) == 4 ? sqrtf((float)variance) : (REAL)sqrt(variance));
    norm_again(z, x, gamma, beta, C, stat);
}

// x, x_new: [B, T, C]; delta the same, or NULL; shift, shift_out: [B, C], z of the byte before the first, of the last.
// params: gamma, beta, then n times mu, [n + 2, C]. out: [n, B, T, C]. stat: [B, T, 2].
void token_mix_forward(const struct sizes *size, const REAL *x, const io *delta, const REAL *shift, const REAL *params,
                       REAL *x_new, io *out, REAL *shift_out, REAL *stat) {
    int T = size->T, C = size->C;
    size_t all = (size_t)size->B * T * C;
#pragma omp parallel for schedule(static)
    for (int b = 0; b < size->B; b++) {
        REAL *before = shift_out + (size_t)b * C;  // what is in it at the end is what goes out
        memcpy(before, shift + (size_t)b * C, sizeof(REAL) * C);
        for (int t = 0; t < T; t++) {
            size_t row = (size_t)b * T + t, o = row * C;
            REAL *sum = x_new + o, z[C];
            if (delta)
                for (int c = 0; c < C; c += LANES) *(vec *)(sum + c) = *(const vec *)(x + o + c) + load_io(delta + o + c);
            else
                memcpy(sum, x + o, sizeof(REAL) * C);
            norm(z, sum, params, params + C, C, stat + row * 2);
            for (int c = 0; c < C; c += LANES) {
                avec now = *(const vec *)(z + c), d = *(const vec *)(before + c) - now;
                for (int i = 0; i < size->n; i++)
                    store_io(out + i * all + o + c, now + d * *(const vec *)(params + (size_t)(i + 2) * C + c));
                *(vec *)(before + c) = now;
            }
        }
    }
}

// The gradient of one row's z becomes that of its x (added to dx_new) and of gamma and beta.
static void norm_back(const REAL *dz, const REAL *x, const REAL *stat, const REAL *gamma, const REAL *dx_new, REAL *dx,
                      REAL *dparams, int C) {
    avec sum = {0}, dot = {0};
    for (int c = 0; c < C; c += LANES) {
        avec unit = (*(const vec *)(x + c) - stat[0]) * stat[1], d = *(const vec *)(dz + c);
        *(vec *)(dparams + c) += d * unit;
        *(vec *)(dparams + C + c) += d;
        d *= *(const vec *)(gamma + c);
        sum += d;
        dot += d * unit;
    }
    REAL mean = sum_lanes(sum) / C, along = sum_lanes(dot) / C;
    for (int c = 0; c < C; c += LANES) {
        avec unit = (*(const vec *)(x + c) - stat[0]) * stat[1], d = *(const vec *)(dz + c) * *(const vec *)(gamma + c);
        *(vec *)(dx + c) = *(const vec *)(dx_new + c) + stat[1] * (d - mean - unit * along);
    }
}

// x: x_new of the forward pass. dout: n pointers to [B, T, C]. dx: [B, T, C]; ddelta: the same in IO, or NULL.
// dparams: [B, n + 2, C], zeroed by the caller. The states are cut off: no gradient enters shift or comes from shift_out.
void token_mix_backward(const struct sizes *size, const REAL *x, const REAL *shift, const REAL *params, const REAL *stat,
                        const io *const *dout, const REAL *dx_new, REAL *dx, io *ddelta, REAL *dparams) {
    int T = size->T, C = size->C;
#pragma omp parallel for schedule(static)
    for (int b = 0; b < size->B; b++) {
        REAL *dp = dparams + (size_t)b * (size->n + 2) * C;
        REAL z[C], before[C], dz[C], later[C];  // later: what the next byte sends back to this one
        memset(later, 0, sizeof later);
        norm_again(z, x + ((size_t)b * T + T - 1) * C, params, params + C, C, stat + ((size_t)b * T + T - 1) * 2);
        for (int t = T - 1; t >= 0; t--) {
            size_t row = (size_t)b * T + t, o = row * C;
            if (t)
                norm_again(before, x + o - C, params, params + C, C, stat + (row - 1) * 2);
            else
                memcpy(before, shift + (size_t)b * C, sizeof before);
            size_t ahead = o >= 4 * (size_t)C ? o - 4 * (size_t)C : 0;  // rows come backwards, which caches do not foresee
            for (int c = 0; c < C; c += 32) {
                for (int i = 0; i < size->n; i++) __builtin_prefetch(dout[i] + ahead + c);
                __builtin_prefetch(x + ahead + c);
                __builtin_prefetch(x + ahead + c + 16);
                __builtin_prefetch(dx_new + ahead + c);
                __builtin_prefetch(dx_new + ahead + c + 16);
            }
            for (int c = 0; c < C; c += LANES) {
                avec here = *(const vec *)(later + c), back = {0}, d = *(const vec *)(before + c) - *(const vec *)(z + c);
                for (int i = 0; i < size->n; i++) {
                    size_t at = (size_t)(i + 2) * C + c;
                    avec from = load_io(dout[i] + o + c), share = from * *(const vec *)(params + at);
                    here += from - share;
                    back += share;
                    *(vec *)(dp + at) += from * d;
                }
                *(vec *)(dz + c) = here;
                *(vec *)(later + c) = back;
            }
            norm_back(dz, x + o, stat + row * 2, params, dx_new + o, dx + o, dp, C);
            if (ddelta)
                for (int c = 0; c < C; c += LANES) store_io(ddelta + o + c, *(const vec *)(dx + o + c));
            memcpy(z, before, sizeof before);
        }
    }
}

void squared_relu_forward(size_t n, const io *restrict x, io *restrict out) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        REAL z = from_io(x[i]);
        z = z > 0 ? z : 0;
        out[i] = to_io(z * z);
    }
}

void squared_relu_backward(size_t n, const io *restrict x, const io *restrict dout, io *restrict dx) {
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        REAL z = from_io(x[i]);
        dx[i] = to_io(2 * (z > 0 ? z : 0) * from_io(dout[i]));
    }
}
