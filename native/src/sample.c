// SPDX-License-Identifier: Apache-2.0
// Choosing the next token: repetition penalty, bans, UTF-8, temperature, min-p, top-k, top-p, chance.
// In that order, as in llama.cpp's default chain but for the ban, which comes first here so that
// every later share is a share of what may be said.
#include "internal.h"
#include "pt_exp.h"

#include <math.h>

// ---- chance: SplitMix64 (Steele, Lea, Flood 2014): one word of state, which a soul can keep

static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

// Uniform in [0, 1) with 53 bits.
static double uniform(uint64_t *state) {
    return (double)(next_random(state) >> 11) * 0x1.0p-53;
}

// ---- UTF-8: the well-formed sequences of the Unicode Standard, table 3-7

typedef struct utf8_lead {
    uint8_t first, last, n_more, low, high;  // range of leads; range of the byte after it
} utf8_lead;

static const utf8_lead utf8_leads[] = {
    {0xc2, 0xdf, 1, 0x80, 0xbf}, {0xe0, 0xe0, 2, 0xa0, 0xbf}, {0xe1, 0xec, 2, 0x80, 0xbf},
    {0xed, 0xed, 2, 0x80, 0x9f}, {0xee, 0xef, 2, 0x80, 0xbf}, {0xf0, 0xf0, 3, 0x90, 0xbf},
    {0xf1, 0xf3, 3, 0x80, 0xbf}, {0xf4, 0xf4, 3, 0x80, 0x8f},
};
enum { N_LEADS = sizeof utf8_leads / sizeof *utf8_leads };

static const utf8_lead *find_lead(int32_t byte) {
    for (size_t i = 0; i < N_LEADS; i++) {
        if (byte >= utf8_leads[i].first && byte <= utf8_leads[i].last) return &utf8_leads[i];
    }
    return NULL;
}

static void ban_broken_utf8(const parrot_sampler *sampler, size_t room, float *logits) {
    for (int32_t byte = 0; byte < 256; byte++) {
        const utf8_lead *lead = find_lead(byte);
        bool fits = byte < 0x80 || (lead && lead->n_more < room);
        if (sampler->utf8_need > 0) {
            fits = byte >= sampler->utf8_low && byte <= sampler->utf8_high;
        }
        if (!fits) logits[byte] = -INFINITY;
    }
}

static void follow_utf8(parrot_sampler *sampler, int32_t byte) {
    bool is_due = sampler->utf8_need > 0 && byte >= sampler->utf8_low && byte <= sampler->utf8_high;
    const utf8_lead *lead = is_due ? NULL : find_lead(byte);
    sampler->utf8_need = is_due ? (uint8_t)(sampler->utf8_need - 1) : lead ? lead->n_more : 0;
    sampler->utf8_low = lead ? lead->low : 0x80;
    sampler->utf8_high = lead ? lead->high : 0xbf;
}

static uint32_t window(const parrot_sampler *sampler) {  // never past `recent`, whatever was set
    return sampler->recent_len < PARROT_RECENT_MAX ? sampler->recent_len : PARROT_RECENT_MAX;
}

void parrot_sampler_feed(parrot_sampler *sampler, int32_t token, int is_utf8) {
    if (window(sampler) > 0) {
        sampler->recent[sampler->recent_n % window(sampler)] = token;
        sampler->recent_n++;
    }
    if (is_utf8) follow_utf8(sampler, token);
}

// ---- what may be said, and how likely

static void penalise(const parrot_sampler *sampler, float penalty, size_t n_vocab, float *logits) {
    uint32_t n = sampler->recent_n < window(sampler) ? sampler->recent_n : window(sampler);
    for (uint32_t i = 0; i < n; i++) {
        int32_t token = sampler->recent[i];
        bool is_counted = token < 0 || (size_t)token >= n_vocab;
        for (uint32_t j = 0; j < i && !is_counted; j++) is_counted = sampler->recent[j] == token;
        if (is_counted) continue;
        // Divide what speaks for it, multiply what speaks against it: both make it less likely.
        logits[token] = logits[token] > 0.0f ? logits[token] / penalty : logits[token] * penalty;
    }
}

static bool is_valid(const parrot_sampling *how) {
    return how->temperature >= 0.0f && how->temperature <= 100.0f && how->top_p > 0.0f &&
           how->top_p <= 1.0f && how->min_p >= 0.0f && how->min_p <= 1.0f &&
           how->repetition >= 0.1f && how->repetition <= 10.0f && how->top_k >= 0;
}

static bool is_number(float x) { return x > -INFINITY && x < INFINITY; }

static int32_t likeliest(const float *logits, size_t n) {
    int32_t best = -1;
    for (size_t i = 0; i < n; i++) {
        if (is_number(logits[i]) && (best < 0 || logits[i] > logits[best])) best = (int32_t)i;
    }
    return best;
}

// Indices in order of falling probability; equal ones by index, so that ties have one order.
static bool is_before(const float *p, int32_t a, int32_t b) {
    return p[a] > p[b] || (p[a] == p[b] && a < b);
}

static void sift_down(const float *p, int32_t *heap, size_t at, size_t n) {
    for (size_t child; (child = 2 * at + 1) < n; at = child) {  // the least likely on top
        if (child + 1 < n && is_before(p, heap[child], heap[child + 1])) child++;
        if (!is_before(p, heap[at], heap[child])) return;
        int32_t swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

static void sort_by_probability(const float *p, int32_t *order, size_t n) {  // heapsort: in place
    for (size_t i = n / 2; i-- > 0;) sift_down(p, order, i, n);
    for (size_t end = n; end-- > 1;) {
        int32_t swap = order[0];
        order[0] = order[end];
        order[end] = swap;
        sift_down(p, order, 0, end);
    }
}

// logits -> unnormalised probabilities, the likeliest 1; returns how many survive min-p: one or more.
// A division, because the inverse of the smallest temperatures is infinite, and 0 * infinity no number.
static size_t keep_likely(const parrot_sampling *how, float *logits, size_t n, int32_t best,
                          int32_t *order) {
    float largest = logits[best];
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        float p = is_number(logits[i]) ? pt_exp((logits[i] - largest) / how->temperature) : 0.0f;
        logits[i] = p;
        // One in a billion is below what top_p = 1 would ever show; it keeps the sort short.
        if (p > 1e-9f && p >= how->min_p) order[n_kept++] = (int32_t)i;
    }
    return n_kept;
}

int32_t parrot_sample(parrot_sampler *sampler, const parrot_sampling *how, int is_utf8, size_t room,
                      const int32_t *banned, size_t n_banned, float *logits, size_t n_vocab,
                      int32_t *order) {
    if (!is_valid(how) || n_vocab < 2 || (is_utf8 && (n_vocab < 256 || room < 1))) {
        return PARROT_E_ARG;
    }
    if (how->repetition != 1.0f) penalise(sampler, how->repetition, n_vocab, logits);
    for (size_t i = 0; i < n_banned; i++) {
        if (banned[i] >= 0 && (size_t)banned[i] < n_vocab) logits[banned[i]] = -INFINITY;
    }
    if (is_utf8) ban_broken_utf8(sampler, room, logits);
    int32_t best = likeliest(logits, n_vocab);
    if (best < 0) return PARROT_E_ARG;
    if (how->temperature == 0.0f) return best;
    size_t n = keep_likely(how, logits, n_vocab, best, order);
    if (how->top_k > 0 || how->top_p < 1.0f) sort_by_probability(logits, order, n);
    if (how->top_k > 0 && (size_t)how->top_k < n) n = (size_t)how->top_k;
    double total = 0.0, sum = 0.0;
    for (size_t i = 0; i < n; i++) total += (double)logits[order[i]];
    if (how->top_p < 1.0f) {
        size_t kept = 0;
        while (kept < n && sum < (double)how->top_p * total) sum += (double)logits[order[kept++]];
        n = kept;
        total = sum;
    }
    double point = uniform(&sampler->rng_state) * total;
    for (size_t i = 0; i + 1 < n; i++) {
        point -= (double)logits[order[i]];
        if (point < 0.0) return order[i];
    }
    return order[n - 1];
}
