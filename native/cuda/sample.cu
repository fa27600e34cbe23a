// SPDX-License-Identifier: Apache-2.0
// Choosing the next token where the logits are, so that a reply streams without the host between two
// bytes. The same steps in the same order as native/src/sample.c, which says what is correct; one
// block, and its first thread alone wherever order makes the sum.
#include "kernels.h"

enum { N_MAX = PARROT_CUDA_CHOICES };

struct choosing {  // shared memory
    float p[N_MAX];
    int order[N_MAX];
    float best_value[PT_THREADS];
    int best[PT_THREADS];
    int chosen;
};

__device__ inline bool is_number(float x) { return x > -INFINITY && x < INFINITY; }

// ---- UTF-8: table 3-7 of the Unicode Standard, as arithmetic on the lead byte

struct utf8_lead {
    int n_more, low, high;  // n_more 0: no lead
};

__device__ inline utf8_lead lead_of(int byte) {
    utf8_lead lead = {0, 0x80, 0xbf};
    if (byte >= 0xc2 && byte <= 0xf4) lead.n_more = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    if (byte == 0xe0) lead.low = 0xa0;
    if (byte == 0xed) lead.high = 0x9f;
    if (byte == 0xf0) lead.low = 0x90;
    if (byte == 0xf4) lead.high = 0x8f;
    return lead;
}

__device__ inline bool fits_utf8(const parrot_sampler &s, int byte, int room) {
    if (s.utf8_need > 0) return byte >= s.utf8_low && byte <= s.utf8_high;
    int n_more = lead_of(byte).n_more;
    return byte < 0x80 || (n_more > 0 && n_more < room);
}

__device__ inline void feed(pt_choice *c, int token) {
    parrot_sampler *s = &c->sampler;
    uint32_t window = s->recent_len < PARROT_RECENT_MAX ? s->recent_len : (uint32_t)PARROT_RECENT_MAX;
    if (window > 0) {
        s->recent[s->recent_n % window] = token;
        s->recent_n++;
    }
    if (!c->is_utf8) return;
    bool is_due = s->utf8_need > 0 && token >= s->utf8_low && token <= s->utf8_high;
    utf8_lead lead = lead_of(token);
    bool is_lead = !is_due && lead.n_more > 0;
    s->utf8_need = (uint8_t)(is_due ? s->utf8_need - 1 : lead.n_more);
    s->utf8_low = (uint8_t)(is_lead ? lead.low : 0x80);
    s->utf8_high = (uint8_t)(is_lead ? lead.high : 0xbf);
}

// ---- steps of the choice

__device__ inline void penalise(const pt_choice &c, float *p) {
    const parrot_sampler &s = c.sampler;
    uint32_t window = s.recent_len < PARROT_RECENT_MAX ? s.recent_len : (uint32_t)PARROT_RECENT_MAX;
    uint32_t n = s.recent_n < window ? s.recent_n : window, i = threadIdx.x;
    if (i >= n || s.recent[i] < 0 || s.recent[i] >= c.n_vocab) return;
    for (uint32_t j = 0; j < i; j++) {
        if (s.recent[j] == s.recent[i]) return;  // the first of equals has done it
    }
    float *logit = p + s.recent[i];
    *logit = *logit > 0.0f ? *logit / c.how.repetition : *logit * c.how.repetition;
}

// The likeliest, the first of equals; -1 if there is no number.
__device__ inline int likeliest(const pt_choice &c, choosing *w) {
    int best = -1;
    for (int i = threadIdx.x; i < c.n_vocab; i += PT_THREADS) {
        if (is_number(w->p[i]) && (best < 0 || w->p[i] > w->p[best])) best = i;
    }
    w->best[threadIdx.x] = best;
    w->best_value[threadIdx.x] = best < 0 ? -INFINITY : w->p[best];
    __syncthreads();
    best = -1;
    float value = -INFINITY;
    for (int t = 0; t < PT_THREADS; t++) {  // every thread, the same way
        int other = w->best[t];
        bool is_better = other >= 0 && (best < 0 || w->best_value[t] > value ||
                                        (w->best_value[t] == value && other < best));
        if (is_better) {
            best = other;
            value = w->best_value[t];
        }
    }
    return best;
}

__device__ inline bool is_before(const choosing *w, int a, int b) {
    return w->p[a] > w->p[b] || (w->p[a] == w->p[b] && a < b);
}

// Bitonic sort of order[0 ... n), n a power of two, likeliest first.
__device__ inline void sort_order(choosing *w, int n) {
    for (int size = 2; size <= n; size *= 2) {
        for (int step = size / 2; step > 0; step /= 2) {
            for (int i = threadIdx.x; i < n; i += PT_THREADS) {
                int other = i ^ step;
                if (other < i) continue;
                bool is_rising = (i & size) == 0;
                if (is_before(w, w->order[other], w->order[i]) == is_rising) {
                    int swap = w->order[i];
                    w->order[i] = w->order[other];
                    w->order[other] = swap;
                }
            }
            __syncthreads();
        }
    }
}

__device__ inline double uniform(uint64_t *state) {  // SplitMix64, 53 bits
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1.0p-53;
}

// One thread: from probabilities in order to a token. Tokens of probability 0 are skipped, so that the
// order may be by probability or by index.
__device__ inline int draw(pt_choice *c, const choosing *w, int n) {
    int n_kept = 0, last = -1;
    double total = 0.0, sum = 0.0;
    for (int i = 0; i < n; i++) {
        float p = w->p[w->order[i]];
        if (p <= 0.0f || (c->how.top_k > 0 && n_kept >= c->how.top_k)) continue;
        total += (double)p;
        n_kept++;
    }
    double limit = c->how.top_p < 1.0f ? (double)c->how.top_p * total : total;
    if (c->how.top_p < 1.0f) {
        int i = 0, kept = 0;
        for (; i < n && kept < n_kept && sum < limit; i++) {
            float p = w->p[w->order[i]];
            if (p <= 0.0f) continue;
            sum += (double)p;
            kept++;
        }
        n_kept = kept;
        total = sum;
    }
    double point = uniform(&c->sampler.rng_state) * total;
    for (int i = 0, seen = 0; i < n && seen < n_kept; i++) {
        float p = w->p[w->order[i]];
        if (p <= 0.0f) continue;
        last = w->order[i];
        point -= (double)p;
        if (++seen < n_kept && point < 0.0) break;
    }
    return last;
}

__global__ void __launch_bounds__(PT_THREADS)
    choose_kernel(pt_choice *c, pt_call *call, const float *logits) {
    PT_SHARED(shared);
    choosing *w = (choosing *)shared;
    pt_wait();
    const bool is_over = call->is_stopping || call->is_frozen;
    const int V = c->n_vocab, room = c->room - call->n_said;
    int n = 2;
    while (n < V) n *= 2;
    for (int i = threadIdx.x; i < n; i += PT_THREADS) {
        w->p[i] = i < V ? logits[i] : -INFINITY;
        w->order[i] = i;
    }
    __syncthreads();
    if (c->how.repetition != 1.0f) penalise(*c, w->p);
    __syncthreads();
    for (int i = threadIdx.x; i < V; i += PT_THREADS) {
        bool is_banned = c->banned[i / 32] >> i % 32 & 1;
        if (is_banned || (c->is_utf8 && i < 256 && !fits_utf8(c->sampler, i, room))) {
            w->p[i] = -INFINITY;
        }
    }
    __syncthreads();
    const int best = likeliest(*c, w);
    const float largest = best < 0 ? 0.0f : w->p[best], temperature = c->how.temperature;
    __syncthreads();
    if (temperature > 0.0f) {
        for (int i = threadIdx.x; i < n; i += PT_THREADS) {
            float p = is_number(w->p[i]) ? expf((w->p[i] - largest) / temperature) : 0.0f;
            w->p[i] = p > 1e-9f && p >= c->how.min_p ? p : 0.0f;
        }
        __syncthreads();
        if (c->how.top_k > 0 || c->how.top_p < 1.0f) sort_order(w, n);
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    if (is_over) {
        call->is_frozen = 1;
    } else if (best < 0) {
        c->is_no_number = call->is_frozen = 1;
    } else {
        int token = temperature > 0.0f ? draw(c, w, n) : best;
        feed(c, token);
        call->token = token;
        call->said[call->n_said++] = token;
        if (token == c->stop) call->is_stopping = 1;
    }
}

int pt_choose_cuda(const pt_stream &on, pt_choice *choice, pt_call *call, float *logits) {
    return pt_launch(on, choose_kernel, dim3(1), sizeof(choosing), choice, call, logits);
}

void pt_sample_kernels(pt_kernels *list) {
    list->add((const void *)choose_kernel);
}
