// SPDX-License-Identifier: Apache-2.0
// One byte of the WKV recurrence of RWKV-7, forward and backward, for training on a CPU.
//
// One head owns a matrix S of N x N numbers; row i is a value index, column j a key index. For every byte t:
//     sa_i = sum_j S_ij a_j                       (the old state)
//     S_ij = S_ij w_j + sa_i b_j + v_i k_j
//     y_i  = sum_j S_ij r_j                       (the new state)
//
// Neither pass sums across the lanes of a vector where it can be avoided: the forward pass holds S transposed, so that
// both of its sums run down the rows; the backward pass needs five sums over i and two over j, and holds S as it is.
// Storing S for each byte would cost 16 kB a byte and head. The forward pass keeps it once every WKV_SPAN bytes, and
// `sa` for each; with `sa` known, replaying a span takes no sums at all.
#ifndef PARROT_TOOLS_WKV_H
#define PARROT_TOOLS_WKV_H

#include "io.h"

#define N 64         // head size, fixed in RWKV-7
#define WKV_SPAN 32  // bytes between two kept states
#define Q (N / LANES)  // vectors to a row

typedef REAL four __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

// By blocks of four by four: a gather of a column costs ten times as much.
static void transpose(REAL *restrict to, const REAL *restrict from) {
    for (int i = 0; i < N; i += 4)
        for (int j = 0; j < N; j += 4) {
            const REAL *in = from + i * N + j;
            REAL *out = to + j * N + i;
            four a = *(const four *)in, b = *(const four *)(in + N), c = *(const four *)(in + 2 * N),
                 d = *(const four *)(in + 3 * N);
            four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            *(four *)out = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(four *)(out + N) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
            ab = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            *(four *)(out + 2 * N) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(four *)(out + 3 * N) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        }
}

// `st` is S transposed: st[j][i]. Steps once; `sa` belongs to this byte, `sa_next` is formed from the new state.
static void step(avec *restrict st, const REAL *r, const REAL *w, const REAL *k, const REAL *v, const REAL *b,
                 const REAL *a_next, avec *restrict sa, REAL *y) {
    avec vv[Q], yy[Q], next[Q], now[Q];
    for (int q = 0; q < Q; q++) {
        vv[q] = ((const vec *)v)[q];
        now[q] = sa[q];
        yy[q] = next[q] = (avec){0};
    }
    for (int j = 0; j < N; j++) {
        for (int q = 0; q < Q; q++) {
            avec s = st[j * Q + q] * w[j] + now[q] * b[j] + vv[q] * k[j];
            st[j * Q + q] = s;
            yy[q] += s * r[j];
            next[q] += s * a_next[j];
        }
    }
    for (int q = 0; q < Q; q++) {
        ((vec *)y)[q] = yy[q];
        sa[q] = next[q];
    }
}

struct inputs { const REAL *r, *w, *k, *v, *a, *b, *sa, *dy; };  // of one byte and head
struct grads { REAL *r, *w, *k, *v, *a, *b; };

// One byte backwards. g: the gradient of the state after it, turned into that of the state before it.
// dr needs the state after the byte; written out in the state before it, one state less is read:
//     dr_j = w_j sum_i dy_i S_ij + b_j (dy . sa) + k_j (dy . v)
static void step_back(REAL *restrict g, const REAL *restrict before, const struct inputs *x, const struct grads *d) {
    avec dr[Q], dw[Q], dk[Q], da[Q], db[Q];
    REAL dy_sa = 0, dy_v = 0;
    for (int q = 0; q < Q; q++) dr[q] = dw[q] = dk[q] = da[q] = db[q] = (avec){0};
    const vec *r = (const vec *)x->r, *w = (const vec *)x->w, *k = (const vec *)x->k, *a = (const vec *)x->a,
              *b = (const vec *)x->b;
    for (int i = 0; i < N; i++) {
        avec *gi = (avec *)(g + i * N), dot_v = {0}, dot_sa = {0}, gq[Q];
        const avec *p = (const avec *)(before + i * N);
        REAL dy = x->dy[i], v = x->v[i], sa = x->sa[i];
        for (int q = 0; q < Q; q++) {
            gq[q] = gi[q] + dy * r[q];
            dot_v += gq[q] * k[q];
            dot_sa += gq[q] * b[q];
        }
        REAL dsa = sum_lanes(dot_sa);
        dy_sa += dy * sa;
        dy_v += dy * v;
        d->v[i] = sum_lanes(dot_v);
        for (int q = 0; q < Q; q++) {
            dr[q] += dy * p[q];
            dk[q] += gq[q] * v;
            db[q] += gq[q] * sa;
            dw[q] += gq[q] * p[q];
            da[q] += dsa * p[q];
            gi[q] = gq[q] * w[q] + dsa * a[q];
        }
    }
    for (int q = 0; q < Q; q++) {
        ((vec *)d->r)[q] = dr[q] * w[q] + dy_sa * b[q] + dy_v * k[q];
        ((vec *)d->w)[q] = dw[q];
        ((vec *)d->k)[q] = dk[q];
        ((vec *)d->a)[q] = da[q];
        ((vec *)d->b)[q] = db[q];
    }
}

// s[n + 1] from s[n], with the `sa` that the forward pass left.
static void replay(REAL *restrict to, const REAL *restrict from, const struct inputs *x) {
    const vec *w = (const vec *)x->w, *k = (const vec *)x->k, *b = (const vec *)x->b;
    for (int i = 0; i < N; i++)
        for (int q = 0; q < Q; q++)
            ((avec *)(to + i * N))[q] = ((const avec *)(from + i * N))[q] * w[q] + x->sa[i] * b[q] + x->v[i] * k[q];
}

#endif
