// SPDX-License-Identifier: Apache-2.0
// What stands before the matrix products of a block: the residual sum, layer norm, and the mixes of each byte with the one
// before it; and the squared ReLU between those of a channel-mix. Forward and backward.
//
//     x = x + delta        z = (x - mean) / deviation * gamma + beta        out_i = z_t + (z_(t-1) - z_t) mu_i

#include <stdlib.h>

#include "io.h"

#define EPS ((REAL)1e-5)  // of the layer norm

struct sizes { int B, T, C, n; };  // n mixes

// z: the normed row of x. Returns the mean and 1 / deviation in `stat`.
static void norm(REAL *restrict z, const REAL *restrict x, const REAL *restrict gamma, const REAL *restrict beta, int C, REAL *stat) {
    REAL sum = 0, square = 0;
    for (int c = 0; c < C; c++) sum += x[c];
    sum /= C;
    for (int c = 0; c < C; c++) square += (x[c] - sum) * (x[c] - sum);
    square = square / C + EPS;
    stat[0] = sum;
    stat[1] = 1 / (sizeof(REAL) == 4 ? sqrtf((float)square) : (REAL)sqrt(square));
    for (int c = 0; c < C; c++) z[c] = (x[c] - sum) * stat[1] * gamma[c] + beta[c];
}

static void norm_again(REAL *restrict z, const REAL *restrict x, const REAL *restrict gamma, const REAL *restrict beta, int C, const REAL *stat) {
    for (int c = 0; c < C; c++) z[c] = (x[c] - stat[0]) * stat[1] * gamma[c] + beta[c];
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
            REAL *restrict sum = x_new + o;
            if (delta)
                for (int c = 0; c < C; c++) sum[c] = x[o + c] + from_io(delta[o + c]);
            else
                memcpy(sum, x + o, sizeof(REAL) * C);
            REAL z[C];
            norm(z, sum, params, params + C, C, stat + row * 2);
            for (int i = 0; i < size->n; i++) {
                const REAL *restrict mu = params + (size_t)(i + 2) * C;
                io *restrict to = out + i * all + o;
                for (int c = 0; c < C; c++) to[c] = to_io(z[c] + (before[c] - z[c]) * mu[c]);
            }
            memcpy(before, z, sizeof(REAL) * C);
        }
    }
}

// The gradient of one row's z becomes that of its x (added to dx_new) and of gamma and beta.
static void norm_back(const REAL *restrict dz, const REAL *restrict x, const REAL *stat, const REAL *restrict gamma,
                      const REAL *restrict dx_new, REAL *restrict dx, REAL *restrict dparams, int C) {
    REAL sum = 0, dot = 0;
    for (int c = 0; c < C; c++) {
        REAL unit = (x[c] - stat[0]) * stat[1], d = dz[c] * gamma[c];
        sum += d;
        dot += d * unit;
        dparams[c] += dz[c] * unit;
        dparams[C + c] += dz[c];
    }
    sum /= C;
    dot /= C;
    for (int c = 0; c < C; c++)
        dx[c] = dx_new[c] + stat[1] * (dz[c] * gamma[c] - sum - (x[c] - stat[0]) * stat[1] * dot);
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
            memcpy(dz, later, sizeof later);
            memset(later, 0, sizeof later);
            for (int i = 0; i < size->n; i++) {
                const REAL *restrict mu = params + (size_t)(i + 2) * C;
                REAL *restrict dmu = dp + (size_t)(i + 2) * C;
                const io *restrict from = dout[i] + o;
                for (int c = 0; c < C; c++) {
                    REAL d = from_io(from[c]), share = d * mu[c];
                    dz[c] += d - share;
                    later[c] += share;
                    dmu[c] += d * (before[c] - z[c]);
                }
            }
            norm_back(dz, x + o, stat + row * 2, params, dx_new + o, dx + o, dp, C);
            if (ddelta)
                for (int c = 0; c < C; c++) ddelta[o + c] = to_io(dx[o + c]);
            memcpy(z, before, sizeof before);
        }
    }
}

void squared_relu_forward(size_t n, const io *restrict x, io *restrict out) {
    for (size_t i = 0; i < n; i++) {
        REAL z = from_io(x[i]);
        z = z > 0 ? z : 0;
        out[i] = to_io(z * z);
    }
}

void squared_relu_backward(size_t n, const io *restrict x, const io *restrict dout, io *restrict dx) {
    for (size_t i = 0; i < n; i++) {
        REAL z = from_io(x[i]);
        dx[i] = to_io(2 * (z > 0 ? z : 0) * from_io(dout[i]));
    }
}
