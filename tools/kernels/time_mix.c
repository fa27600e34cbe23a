// SPDX-License-Identifier: Apache-2.0
// All of a time-mix between its matrix products: gates, WKV (wkv.h), group norm, bonus and the output gate, head by head,
// forward and backward. Nothing but what enters and leaves a matrix product is ever written to memory, save `sa`, `y`
// and a state every WKV_SPAN bytes; the backward pass forms the gates of a span again.
//
// With p and q the low-rank terms that come in, for every byte and channel (tools/net.py is the same in PyTorch):
//     w = exp(-exp(-1/2) sigmoid(w0 + wp))      alpha = sigmoid(a0 + ap)
//     v = v + (first - v) sigmoid(v0 + vp)      (not in layer 0)
//     u = k k_k / |k k_k|                       k = k (1 + (alpha - 1) k_a)
//     y = WKV(r, w, k, v, -u, u alpha)          out = (norm(y) ln_w + ln_b + (sum r k r_k) v) g

#include <stdlib.h>

#include "io.h"
#include "wkv.h"

#define DECAY ((REAL)-0.60653065971263342)  // -exp(-1/2): the fastest decay is exp(DECAY) = 0.545
#define NORM_EPS ((REAL)64e-5)              // of the group norm, as published for heads of 64
#define AHEAD 4                             // bytes between asking for a row and reading it
#define UNIT_EPS ((REAL)1e-12)              // below which a key has no direction

enum { W0, A0, V0, K_K, K_A, R_K, LN_W, LN_B, N_PARAMS };

struct sizes { int B, T, H; };
struct streams { const io *r, *k, *v, *wp, *ap, *vp, *first, *g; };  // [B, T, H, N]; vp and first NULL in layer 0
struct memory { REAL *sa, *y, *kept; };  // sa, y: [B, T, H, N]; kept: [B, H, spans, N, N]
struct gradients { io *r, *k, *v, *wp, *ap, *vp, *first, *g; };

// What the recurrence reads at one byte, and what its gradients need again.
struct gates {
    REAL r[N], w[N], k[N], v[N], a[N], b[N];
    REAL alpha[N], sw[N], sv[N], length;
} __attribute__((aligned(64)));

// p: the head's parameters, `stride` numbers from one to the next.
struct head { const REAL *p[N_PARAMS]; };

static struct head head_of(const REAL *params, int H, int h) {
    struct head z;
    for (int i = 0; i < N_PARAMS; i++) z.p[i] = params + ((size_t)i * H + h) * N;
    return z;
}

// A head's part of a row is two to four lines, a whole row from the next: no cache foresees that.
static inline void fetch(const void *x, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)x + i);
}

static void fetch_streams(const struct streams *x, size_t o) {
    const io *const all[] = {x->r, x->k, x->v, x->wp, x->ap, x->vp, x->first, x->g};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]) fetch(all[i] + o, N * sizeof(io));
}

static void open_gates(struct gates *restrict z, const struct streams *x, size_t o, const struct head *head) {
    const REAL *const *p = head->p;
    REAL square = 0;
    for (int j = 0; j < N; j++) {
        REAL k = from_io(x->k[o + j]), u = k * p[K_K][j];
        z->r[j] = from_io(x->r[o + j]);
        z->sw[j] = sigmoid(p[W0][j] + from_io(x->wp[o + j]));
        z->w[j] = exponential(DECAY * z->sw[j]);
        z->alpha[j] = sigmoid(p[A0][j] + from_io(x->ap[o + j]));
        z->k[j] = k * (1 + (z->alpha[j] - 1) * p[K_A][j]);
        z->a[j] = u;
        square += u * u;
    }
    z->length = sizeof(REAL) == 4 ? sqrtf((float)square) : sqrt(square);
    if (z->length < UNIT_EPS) z->length = UNIT_EPS;
    for (int j = 0; j < N; j++) {
        REAL u = z->a[j] / z->length;
        z->a[j] = -u;
        z->b[j] = u * z->alpha[j];
    }
    if (!x->vp) {
        for (int j = 0; j < N; j++) z->v[j] = from_io(x->v[o + j]);
        return;
    }
    for (int j = 0; j < N; j++) {
        REAL v = from_io(x->v[o + j]);
        z->sv[j] = sigmoid(p[V0][j] + from_io(x->vp[o + j]));
        z->v[j] = v + (from_io(x->first[o + j]) - v) * z->sv[j];
    }
}

struct norm { REAL mean, scale, bonus; };

static struct norm norm_of(const REAL *restrict y, const struct gates *z, const REAL *r_k) {
    REAL sum = 0, square = 0, bonus = 0;
    for (int j = 0; j < N; j++) {
        sum += y[j];
        bonus += z->r[j] * z->k[j] * r_k[j];
    }
    sum /= N;
    for (int j = 0; j < N; j++) square += (y[j] - sum) * (y[j] - sum);
    square = square / N + NORM_EPS;
    return (struct norm){sum, 1 / (sizeof(REAL) == 4 ? sqrtf((float)square) : (REAL)sqrt(square)), bonus};
}

static void close_gates(io *restrict out, const REAL *restrict y, const struct gates *z, const io *g, const struct head *head) {
    struct norm n = norm_of(y, z, head->p[R_K]);
    for (int j = 0; j < N; j++) {
        REAL normed = (y[j] - n.mean) * n.scale * head->p[LN_W][j] + head->p[LN_B][j];
        out[j] = to_io((normed + n.bonus * z->v[j]) * from_io(g[j]));
    }
}

// params: [N_PARAMS, H, N]. out: [B, T, H, N].
void time_mix_forward(const struct sizes *size, const struct streams *x, const REAL *params, const REAL *state, io *out,
                      REAL *state_out, const struct memory *m) {
    int H = size->H, T = size->T, spans = (T + WKV_SPAN - 1) / WKV_SPAN;
#pragma omp parallel for schedule(static)
    for (int bh = 0; bh < size->B * H; bh++) {
        if (T < 1) continue;
        avec st[N * Q], sa[Q];
        struct gates two[2];
        struct head head = head_of(params, H, bh % H);
        size_t base = ((size_t)(bh / H) * T * H + bh % H) * N, stride = (size_t)H * N;
        transpose((REAL *)st, state + (size_t)bh * N * N);
        open_gates(&two[0], x, base, &head);
        for (int q = 0; q < Q; q++) sa[q] = (avec){0};
        for (int j = 0; j < N; j++)
            for (int q = 0; q < Q; q++) sa[q] += st[j * Q + q] * two[0].a[j];
        for (int t = 0; t < T; t++) {
            size_t o = base + t * stride;
            struct gates *z = &two[t & 1], *next = &two[~t & 1];
            open_gates(next, x, t + 1 < T ? o + stride : o, &head);
            if (t + AHEAD < T) fetch_streams(x, o + AHEAD * stride);
            if (t % WKV_SPAN == 0) transpose(m->kept + ((size_t)bh * spans + t / WKV_SPAN) * N * N, (REAL *)st);
            for (int q = 0; q < Q; q++) ((vec *)(m->sa + o))[q] = sa[q];
            step(st, z->r, z->w, z->k, z->v, z->b, next->a, sa, m->y + o);
            close_gates(out + o, m->y + o, z, x->g + o, &head);
        }
        transpose(state_out + (size_t)bh * N * N, (REAL *)st);
    }
}

// Gradients of one byte, between close_gates and the recurrence, and between the recurrence and open_gates.
struct flow { REAL y[N], r[N], w[N], k[N], v[N], a[N], b[N], bonus_k[N], bonus_r[N], bonus_v[N]; } __attribute__((aligned(64)));

static void close_gates_back(struct flow *restrict f, const io *dout, const REAL *restrict y, const struct gates *z,
                             const io *g, io *dg, const struct head *head, REAL *restrict dp) {
    const REAL *const *p = head->p;
    struct norm n = norm_of(y, z, p[R_K]);
    REAL sum = 0, dot = 0, dbonus = 0;
    for (int j = 0; j < N; j++) {
        REAL unit = (y[j] - n.mean) * n.scale, d = from_io(dout[j]), back = d * from_io(g[j]);
        dg[j] = to_io(d * (unit * p[LN_W][j] + p[LN_B][j] + n.bonus * z->v[j]));
        dp[LN_W * N + j] += back * unit;
        dp[LN_B * N + j] += back;
        dbonus += back * z->v[j];
        f->bonus_v[j] = back * n.bonus;
        f->y[j] = back * p[LN_W][j];
        sum += f->y[j];
        dot += f->y[j] * unit;
    }
    sum /= N;
    dot /= N;
    for (int j = 0; j < N; j++) {
        f->y[j] = n.scale * (f->y[j] - sum - (y[j] - n.mean) * n.scale * dot);
        f->bonus_r[j] = dbonus * z->k[j] * p[R_K][j];
        f->bonus_k[j] = dbonus * z->r[j] * p[R_K][j];
        dp[R_K * N + j] += dbonus * z->r[j] * z->k[j];
    }
}

static void open_gates_back(const struct flow *restrict f, const struct gates *z, const struct streams *x, size_t o,
                            const struct gradients *d, const struct head *head, REAL *restrict dp) {
    const REAL *const *p = head->p;
    REAL du[N], dot = 0;
    for (int j = 0; j < N; j++) {
        du[j] = f->b[j] * z->alpha[j] - f->a[j];
        dot -= du[j] * z->a[j];
    }
    for (int j = 0; j < N; j++) {
        REAL k = from_io(x->k[o + j]), dk = f->k[j] + f->bonus_k[j], u = -z->a[j], alpha = z->alpha[j];
        REAL back = (du[j] - u * dot) / z->length;
        REAL dalpha = (f->b[j] * u + dk * k * p[K_A][j]) * alpha * (1 - alpha);
        REAL dw = f->w[j] * z->w[j] * DECAY * z->sw[j] * (1 - z->sw[j]);
        d->k[o + j] = to_io(dk * (1 + (alpha - 1) * p[K_A][j]) + back * p[K_K][j]);
        d->r[o + j] = to_io(f->r[j] + f->bonus_r[j]);
        d->ap[o + j] = to_io(dalpha);
        d->wp[o + j] = to_io(dw);
        dp[K_K * N + j] += back * k;
        dp[K_A * N + j] += dk * k * (alpha - 1);
        dp[A0 * N + j] += dalpha;
        dp[W0 * N + j] += dw;
    }
    if (!x->vp) {
        for (int j = 0; j < N; j++) d->v[o + j] = to_io(f->v[j] + f->bonus_v[j]);
        return;
    }
    for (int j = 0; j < N; j++) {
        REAL v = from_io(x->v[o + j]), first = from_io(x->first[o + j]), sv = z->sv[j], dv = f->v[j] + f->bonus_v[j];
        REAL dvp = dv * (first - v) * sv * (1 - sv);
        d->v[o + j] = to_io(dv * (1 - sv));
        d->first[o + j] = to_io(dv * sv);
        d->vp[o + j] = to_io(dvp);
        dp[V0 * N + j] += dvp;
    }
}

struct room {
    REAL s[WKV_SPAN * N * N], g[N * N];  // the states of a span; the gradient of the state
    struct gates z[WKV_SPAN];
} __attribute__((aligned(64)));

static void span_back(struct room *room, const struct streams *x, const struct memory *m, const io *dout,
                      const struct gradients *d, size_t base, size_t stride, int n, const struct head *head, REAL *dp) {
    for (int t = 0; t < n; t++) {
        size_t o = base + t * stride;
        if (t + AHEAD < n) fetch_streams(x, o + AHEAD * stride);
        fetch(dout + o, N * sizeof(io));
        fetch(m->y + o, N * sizeof(REAL));
        fetch(m->sa + o, N * sizeof(REAL));
        open_gates(&room->z[t], x, o, head);
    }
    for (int t = 0; t < n - 1; t++) {
        struct gates *z = &room->z[t];
        struct inputs in = {z->r, z->w, z->k, z->v, z->a, z->b, m->sa + base + t * stride, NULL};
        replay(room->s + (size_t)(t + 1) * N * N, room->s + (size_t)t * N * N, &in);
    }
    for (int t = n - 1; t >= 0; t--) {
        size_t o = base + t * stride;
        struct gates *z = &room->z[t];
        struct flow f;
        close_gates_back(&f, dout + o, m->y + o, z, x->g + o, d->g + o, head, dp);
        struct inputs in = {z->r, z->w, z->k, z->v, z->a, z->b, m->sa + o, f.y};
        struct grads grads = {f.r, f.w, f.k, f.v, f.a, f.b};
        step_back(room->g, room->s + (size_t)t * N * N, &in, &grads);
        open_gates_back(&f, z, x, o, d, head, dp);
    }
}

// dstate holds the gradient of the last state on entry and that of the first on return. dparams: [B, N_PARAMS, H, N].
// Returns 0, or 1 where there is no memory for the states of a span.
int time_mix_backward(const struct sizes *size, const struct streams *x, const REAL *params, const struct memory *m,
                      const io *dout, REAL *dstate, const struct gradients *d, REAL *dparams) {
    int H = size->H, T = size->T, spans = (T + WKV_SPAN - 1) / WKV_SPAN, failed = 0;
#pragma omp parallel for schedule(static) reduction(| : failed)
    for (int bh = 0; bh < size->B * H; bh++) {
        struct room *room = aligned_alloc(64, sizeof *room);
        REAL dp[N_PARAMS * N] = {0};
        if (!room) {
            failed = 1;
            continue;
        }
        struct head head = head_of(params, H, bh % H);
        size_t base = ((size_t)(bh / H) * T * H + bh % H) * N, stride = (size_t)H * N;
        memcpy(room->g, dstate + (size_t)bh * N * N, sizeof room->g);
        for (int span = spans - 1; span >= 0; span--) {
            int from = span * WKV_SPAN, n = T - from < WKV_SPAN ? T - from : WKV_SPAN;
            memcpy(room->s, m->kept + ((size_t)bh * spans + span) * N * N, sizeof(REAL) * N * N);
            span_back(room, x, m, dout, d, base + from * stride, stride, n, &head, dp);
        }
        memcpy(dstate + (size_t)bh * N * N, room->g, sizeof room->g);
        for (int i = 0; i < N_PARAMS; i++)
            memcpy(dparams + (((size_t)(bh / H) * N_PARAMS + i) * H + bh % H) * N, dp + i * N, sizeof(REAL) * N);
        free(room);
    }
    return failed;
}
