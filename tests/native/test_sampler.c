// SPDX-License-Identifier: Apache-2.0
// Choosing tokens: never a broken character, the distribution that the settings promise, and edges.
#include "check.h"

#include <float.h>
#include <math.h>

enum { V = 256 };

static const parrot_sampling plain = {1.0f, 1.0f, 0.0f, 1.0f, 0};

static int32_t choose(parrot_sampler *s, const parrot_sampling *how, const float *logits, size_t n) {
    float copy[V];
    int32_t order[V];
    memcpy(copy, logits, n * sizeof *copy);
    return parrot_sample(s, how, 0, 1, NULL, 0, copy, n, order);
}

// ---- UTF-8

// The code point at `text`, by the bit layout of RFC 3629; its length, or 0 if it is ill-formed.
static size_t utf8_length(const uint8_t *text, size_t size) {
    uint32_t lead = text[0], point;
    size_t n = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > size) return 0;
    point = n == 1 ? lead : lead & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (text[i] >> 6 != 2) return 0;
        point = point << 6 | (text[i] & 63u);
    }
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    bool is_surrogate = point >= 0xd800 && point <= 0xdfff;
    return point < smallest[n] || point > 0x10ffff || is_surrogate ? 0 : n;
}

// Texts of random logits over all bytes, biased to long characters: each is well-formed and ends whole
// within its room.
static void test_text_is_always_utf8(void) {
    uint64_t rng = 1;
    size_t n_seen[5] = {0};
    for (int text = 0; text < 400; text++) {
        parrot_sampler sampler = {.rng_state = random_u64(&rng), .recent_len = 32};
        parrot_sampling how = {text % 4 ? 2.0f : 0.0f, 0.95f, 0.0f, 1.1f, text % 3 ? 0 : 40};
        uint8_t said[48];
        size_t n = 0, size = 1 + random_u64(&rng) % sizeof said;
        while (n < size) {
            float logits[V];
            int32_t order[V], banned[] = {0, 7, 27, 0x7f};
            for (int i = 0; i < V; i++) logits[i] = 4.0f * random_float(&rng) + (i > 0xdf ? 6.0f : 0);
            int32_t token = parrot_sample(&sampler, &how, 1, size - n, banned, 4, logits, V, order);
            CHECK(token >= 0 && token < V && token != 7, "chose %d", token);
            parrot_sampler_feed(&sampler, token, 1);
            said[n++] = (uint8_t)token;
        }
        CHECK(sampler.utf8_need == 0, "text %d ends inside a character", text);
        for (size_t i = 0; i < n;) {
            size_t length = utf8_length(said + i, n - i);
            CHECK(length > 0, "text %d: ill-formed at byte %zu: %02x", text, i, said[i]);
            n_seen[length]++;
            i += length;
        }
    }
    CHECK(n_seen[1] && n_seen[2] && n_seen[3] && n_seen[4], "some length of character never came");
}

// All that may follow any three bytes: what the sampler allows is what can still become a character.
static void test_every_lead_and_second_byte(void) {
    for (int32_t first = 0; first < V; first++) {
        for (int32_t second = 0; second < V; second++) {
            parrot_sampler sampler = {.rng_state = 1};
            float logits[V];
            int32_t order[V];
            for (int i = 0; i < V; i++) logits[i] = i == second ? 9.0f : 0.0f;
            parrot_sampler_feed(&sampler, first, 1);
            bool is_inside = sampler.utf8_need > 0;
            parrot_sampling greedy = plain;
            greedy.temperature = 0.0f;
            int32_t token = parrot_sample(&sampler, &greedy, 1, 4, NULL, 0, logits, V, order);
            uint8_t text[4] = {(uint8_t)first, (uint8_t)second, 0x80, 0x80};
            bool is_whole = is_inside && utf8_length(text, sampler.utf8_need + 1u) > 0;
            if (is_inside) {
                CHECK((token == second) == is_whole, "%02x %02x: chose %02x", (unsigned)first,
                      (unsigned)second, (unsigned)token);
            }
        }
    }
}

// ---- the distribution

// Chi-square of n draws against exact probabilities; 1e-6 of honest runs exceed the bound.
static void judge_draws(const parrot_sampling *how, const float *logits, const double *p, size_t n) {
    enum { DRAWS = 200000 };
    parrot_sampler sampler = {.rng_state = 12345};
    size_t counts[V] = {0};
    double chi = 0.0;
    size_t freedom = 0;
    for (int i = 0; i < DRAWS; i++) {
        int32_t token = choose(&sampler, how, logits, n);
        CHECK(token >= 0 && (size_t)token < n, "chose %d", token);
        counts[token]++;
    }
    for (size_t i = 0; i < n; i++) {
        if (p[i] == 0.0) {
            CHECK(counts[i] == 0, "token %zu of probability 0 was chosen", i);
            continue;
        }
        double want = p[i] * DRAWS;
        chi += ((double)counts[i] - want) * ((double)counts[i] - want) / want;
        freedom++;
    }
    double bound = (double)freedom + 5.0 * sqrt(2.0 * (double)freedom) + 15.0;
    CHECK(chi < bound, "chi-square %.1f with %zu tokens, expected below %.1f", chi, freedom, bound);
}

static void softmax(const float *logits, double temperature, size_t n, double *p) {
    double total = 0.0;
    for (size_t i = 0; i < n; i++) total += p[i] = exp((double)logits[i] / temperature);
    for (size_t i = 0; i < n; i++) p[i] /= total;
}

static void keep_from(double *p, size_t n, double least) {  // p falls with its index
    double total = 0.0;
    for (size_t i = 0; i < n; i++) total += p[i] = p[i] >= least ? p[i] : 0.0;
    for (size_t i = 0; i < n; i++) p[i] /= total;
}

static void test_distribution(void) {
    enum { N = 20 };
    float logits[N];
    double p[N];
    for (int i = 0; i < N; i++) logits[i] = -0.21f * (float)i;
    static const float temperatures[] = {0.5f, 1.0f, 1.7f};
    for (int i = 0; i < 3; i++) {
        parrot_sampling how = plain;
        how.temperature = temperatures[i];
        softmax(logits, (double)how.temperature, N, p);
        judge_draws(&how, logits, p, N);
    }
    parrot_sampling how = plain;
    how.top_k = 5;
    softmax(logits, 1.0, N, p);
    keep_from(p, N, p[4]);
    judge_draws(&how, logits, p, N);
    how = plain;
    how.top_p = 0.6f;
    softmax(logits, 1.0, N, p);
    double sum = 0.0;
    size_t n = 0;
    while (sum < 0.6) sum += p[n++];
    keep_from(p, N, p[n - 1]);
    judge_draws(&how, logits, p, N);
    how = plain;
    how.min_p = 0.3f;
    softmax(logits, 1.0, N, p);
    keep_from(p, N, 0.3 * p[0]);
    judge_draws(&how, logits, p, N);
}

// ---- edges

static void test_settings_out_of_range(void) {
    static const parrot_sampling wrong[] = {
        {-1, 1, 0, 1, 0},   {101, 1, 0, 1, 0},  {NAN, 1, 0, 1, 0}, {1, 0, 0, 1, 0},
        {1, 1.1f, 0, 1, 0}, {1, NAN, 0, 1, 0},  {1, 1, -1, 1, 0},  {1, 1, 1.5f, 1, 0},
        {1, 1, NAN, 1, 0},  {1, 1, 0, 0, 0},    {1, 1, 0, 11, 0},  {1, 1, 0, NAN, 0},
        {1, 1, 0, 1, -1},   {INFINITY, 1, 0, 1, 0}};
    float logits[V] = {0};
    parrot_sampler sampler = {.rng_state = 1};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(choose(&sampler, &wrong[i], logits, V) == PARROT_E_ARG, "setting %zu passed", i);
    }
    CHECK(choose(&sampler, &plain, logits, 1) == PARROT_E_ARG, "a vocabulary of one passed");
}

static void test_extreme_settings(void) {
    float logits[8] = {0.0f, 3.0f, 1.0f, 3.0f, -2.0f, 2.9f, NAN, -INFINITY};
    static const parrot_sampling hows[] = {
        {1e-40f, 1, 0, 1, 0}, {1e-45f, 1e-45f, 1, 1, 1}, {1, 1e-45f, 0, 1, 0},
        {1, 1, 1, 1, 0},      {1, 1, 0, 1, 1},           {FLT_MIN, 0.5f, 0, 1, 8}};
    for (size_t i = 0; i < sizeof hows / sizeof *hows; i++) {
        for (uint64_t seed = 0; seed < 50; seed++) {
            parrot_sampler sampler = {.rng_state = seed};
            int32_t token = choose(&sampler, &hows[i], logits, 8);
            CHECK(token == 1 || token == 3, "setting %zu: chose %d, not one of the likeliest", i,
                  token);
            if (hows[i].top_k == 1 || hows[i].top_p < 0.1f) {
                CHECK(token == 1, "setting %zu: of equals the first goes, not %d", i, token);
            }
        }
    }
}

static void test_ties_and_order(void) {
    float logits[V];
    parrot_sampler sampler = {.rng_state = 3};
    parrot_sampling how = plain;
    how.top_k = 3;
    for (int i = 0; i < V; i++) logits[i] = 1.0f;
    size_t seen[V] = {0};
    for (int i = 0; i < 300; i++) seen[choose(&sampler, &how, logits, V)]++;
    CHECK(seen[0] + seen[1] + seen[2] == 300 && seen[0] && seen[1] && seen[2],
          "top-k of equals is not the first three");
    how.temperature = 0.0f;
    CHECK(choose(&sampler, &how, logits, V) == 0, "greedy of equals is not the first");
}

static void test_logits_that_are_no_numbers(void) {
    float logits[4] = {NAN, INFINITY, -INFINITY, -3.0f};
    parrot_sampler sampler = {.rng_state = 3};
    parrot_sampling how = plain;
    for (int i = 0; i < 50; i++) {
        how.temperature = (float)(i % 2);
        int32_t token = choose(&sampler, &how, logits, 4);
        CHECK(token == 3, "chose %d, the only number is 3", token);
    }
    logits[3] = NAN;
    CHECK(choose(&sampler, &how, logits, 4) == PARROT_E_ARG, "nothing finite, and yet a token");
    float extreme[3] = {-FLT_MAX, FLT_MAX, 0.0f};
    CHECK(choose(&sampler, &plain, extreme, 3) == 1, "the range of floats");
}

static void test_repetition(void) {
    float logits[4] = {2.0f, 1.5f, -1.0f, -1.2f}, copy[4];
    int32_t order[4];
    parrot_sampler sampler = {.recent_len = 2};
    parrot_sampling how = {0.0f, 1.0f, 0.0f, 2.0f, 0};
    parrot_sampler_feed(&sampler, 0, 0);
    parrot_sampler_feed(&sampler, 2, 0);
    memcpy(copy, logits, sizeof copy);
    CHECK(parrot_sample(&sampler, &how, 0, 1, NULL, 0, copy, 4, order) == 1, "2.0 is not halved");
    CHECK(copy[0] == 1.0f && copy[2] == -2.0f && copy[3] == -1.2f, "penalty: %g %g %g",
          (double)copy[0], (double)copy[2], (double)copy[3]);
    parrot_sampler_feed(&sampler, 3, 0);  // 0 leaves the window of two
    CHECK(choose(&sampler, &how, logits, 4) == 0, "a token past the window is still penalised");
}

// A window that the struct has no room for is cut; the canary behind `recent` must live.
static void test_window_past_its_room(void) {
    struct {
        parrot_sampler sampler;
        uint64_t canary;
    } s = {{.recent_len = 5000}, 42};
    for (int32_t i = 0; i < 3000; i++) parrot_sampler_feed(&s.sampler, i % 200, 1);
    CHECK(s.canary == 42 && s.sampler.utf8_need <= 3, "feeding wrote past the window");
}

void test_sampler(void) {
    test_text_is_always_utf8();
    test_every_lead_and_second_byte();
    test_distribution();
    test_settings_out_of_range();
    test_extreme_settings();
    test_ties_and_order();
    test_logits_that_are_no_numbers();
    test_repetition();
    test_window_past_its_room();
}
