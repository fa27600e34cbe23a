// SPDX-License-Identifier: Apache-2.0
// The WKV recurrence (wkv.h) over whole rows. r w k v a b y sa: [B, T, H, N]; state: [B, H, N, N].

#include "wkv.h"

// kept: [B, H, ceil(T / WKV_SPAN), N, N], the state before each span.
void wkv_forward(int B, int T, int H, const REAL *state, const REAL *r, const REAL *w, const REAL *k, const REAL *v,
                 const REAL *a, const REAL *b, REAL *y, REAL *state_out, REAL *sa_out, REAL *kept) {
    int spans = (T + WKV_SPAN - 1) / WKV_SPAN;
#pragma omp parallel for schedule(static)
    for (int bh = 0; bh < B * H; bh++) {
        avec st[N * Q], sa[Q];
        size_t base = ((size_t)(bh / H) * T * H + bh % H) * N, stride = (size_t)H * N;
        transpose((REAL *)st, state + (size_t)bh * N * N);
        for (int q = 0; q < Q; q++) sa[q] = (avec){0};
        for (int j = 0; j < N; j++)
            for (int q = 0; q < Q; q++) sa[q] += st[j * Q + q] * a[base + j];
        for (int t = 0; t < T; t++) {
            size_t o = base + t * stride, next = t + 1 < T ? o + stride : o;
            if (t % WKV_SPAN == 0) transpose(kept + ((size_t)bh * spans + t / WKV_SPAN) * N * N, (REAL *)st);
            for (int q = 0; q < Q; q++) ((vec *)(sa_out + o))[q] = sa[q];
            step(st, r + o, w + o, k + o, v + o, b + o, a + next, sa, y + o);
        }
        transpose(state_out + (size_t)bh * N * N, (REAL *)st);
    }
}

// dstate holds the gradient of the last state on entry and that of the first on return.
void wkv_backward(int B, int T, int H, const REAL *r, const REAL *w, const REAL *k, const REAL *v, const REAL *a,
                  const REAL *b, const REAL *sa, const REAL *kept, const REAL *dy, REAL *dstate, REAL *dr, REAL *dw,
                  REAL *dk, REAL *dv, REAL *da, REAL *db) {
    int spans = (T + WKV_SPAN - 1) / WKV_SPAN;
#pragma omp parallel for schedule(static)
    for (int bh = 0; bh < B * H; bh++) {
        static _Thread_local avec room[(WKV_SPAN + 1) * N * Q];  // the states of a span, then the gradient
        REAL *s = (REAL *)room, *g = s + WKV_SPAN * N * N;
        size_t base = ((size_t)(bh / H) * T * H + bh % H) * N, stride = (size_t)H * N;
        memcpy(g, dstate + (size_t)bh * N * N, sizeof(REAL) * N * N);
        for (int span = spans - 1; span >= 0; span--) {
            int from = span * WKV_SPAN, to = from + WKV_SPAN < T ? from + WKV_SPAN : T;
            memcpy(s, kept + ((size_t)bh * spans + span) * N * N, sizeof(REAL) * N * N);
            for (int t = from; t < to - 1; t++) {
                size_t o = base + t * stride;
                struct inputs x = {r + o, w + o, k + o, v + o, a + o, b + o, sa + o, dy + o};
                replay(s + (t - from + 1) * N * N, s + (t - from) * N * N, &x);
            }
            for (int t = to - 1; t >= from; t--) {
                size_t o = base + t * stride;
                struct inputs x = {r + o, w + o, k + o, v + o, a + o, b + o, sa + o, dy + o};
                struct grads d = {dr + o, dw + o, dk + o, dv + o, da + o, db + o};
                step_back(g, s + (t - from) * N * N, &x, &d);
            }
        }
        memcpy(dstate + (size_t)bh * N * N, g, sizeof(REAL) * N * N);
    }
}
