// SPDX-License-Identifier: Apache-2.0
// Low-rank updates: a twin computes y += B (A x) with the same bits whatever lives it, leaves the
// model it was made from alone, and refuses what does not fit. The numbers are judged by numpy and
// PyTorch (tests/unit/test_lora.py, test_train_tune.py).
#include "check.h"

enum { ROWS = 37, RANK = 3 };

static parrot_model *open_model(const char *corpus, const char *name,
                                const parrot_options *options) {
    char path[512];
    parrot_model *model;
    parrot_fault fault = {0};
    snprintf(path, sizeof path, "%s/gguf/%s", corpus, name);
    CHECK(parrot_model_open(&model, path, options, &fault) == PARROT_OK, "%s", fault.text);
    return model;
}

static size_t n_in(const parrot_shape *s, uint32_t matrix) {
    return matrix == PARROT_FFN_VALUE ? s->n_ffn : s->n_embd;
}

static size_t n_out(const parrot_shape *s, uint32_t matrix) {
    return matrix == PARROT_FFN_KEY ? s->n_ffn : s->n_embd;
}

// One update for each matrix of each layer, of values that one seed fixes.
static parrot_lora *random_updates(const parrot_shape *s, size_t *n) {
    uint64_t seed = 7;
    parrot_lora *updates = allocate(s->n_layer * 6 * sizeof *updates);
    *n = 0;
    for (uint32_t layer = 0; layer < s->n_layer; layer++) {
        for (uint32_t matrix = 0; matrix < 6; matrix++) {
            float *a = allocate(RANK * n_in(s, matrix) * sizeof *a);
            float *b = allocate(RANK * n_out(s, matrix) * sizeof *b);
            for (size_t i = 0; i < RANK * n_in(s, matrix); i++) a[i] = random_float(&seed);
            for (size_t i = 0; i < RANK * n_out(s, matrix); i++) b[i] = 0.1f * random_float(&seed);
            updates[(*n)++] = (parrot_lora){layer, matrix, RANK, a, b};
        }
    }
    return updates;
}

static void free_updates(parrot_lora *updates, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free((void *)(uintptr_t)updates[i].a);
        free((void *)(uintptr_t)updates[i].b);
    }
    free(updates);
}

// Live ROWS tokens, `step` in a call; logits after the last. The caller frees them.
static float *live(const parrot_model *model, size_t step) {
    const parrot_shape *s = parrot_model_shape(model);
    size_t size = parrot_work_size(model, step);
    float *payload = allocate(parrot_state_len(s) * sizeof *payload);
    float *logits = allocate(s->n_vocab * sizeof *logits);
    void *work = allocate(size);
    memset(payload, 0, parrot_state_len(s) * sizeof *payload);
    parrot_row rows[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        rows[i] = (parrot_row){(int32_t)(i * 5 % s->n_vocab), payload};
    }
    for (size_t i = 0; i < ROWS; i += step) {
        size_t n = ROWS - i < step ? ROWS - i : step;
        int err = parrot_forward(model, work, size, rows + i, n, PARROT_LOGITS_ENDS, logits, NULL,
                                 NULL);
        CHECK(err == PARROT_OK, "%s", parrot_error_name(err));
    }
    free(work);
    free(payload);
    return logits;
}

static bool same(const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!is_same(a[i], b[i])) return false;
    }
    return true;
}

static void test_same_bits(const char *corpus, const char *name) {
    float *expected = NULL, *without = NULL;
    const char *cpu;
    for (size_t i = 0; (cpu = parrot_cpu_name(i)) != NULL; i++) {
        for (uint32_t threads = 1; threads <= 3; threads++) {
            parrot_options options = {threads, threads == 2 ? PARROT_MAPPED : 0, cpu};
            parrot_model *model = open_model(corpus, name, &options), *twin;
            const parrot_shape *s = parrot_model_shape(model);
            size_t n, n_vocab = s->n_vocab;
            parrot_lora *updates = random_updates(s, &n);
            CHECK(parrot_model_adapt(&twin, model, updates, n, NULL) == PARROT_OK, "adapt");
            free_updates(updates, n);  // copied
            float *plain = live(model, ROWS), *one = live(twin, 1), *many = live(twin, ROWS);
            CHECK(same(one, many, n_vocab), "%s: rows in one call or many", cpu);
            if (!expected) {
                expected = many;
                without = plain;
                CHECK(!same(expected, without, n_vocab), "%s: the updates change nothing", name);
            } else {
                CHECK(same(many, expected, n_vocab), "%s, %u threads", cpu, (unsigned)threads);
                CHECK(same(plain, without, n_vocab), "%s: the plain model moved", cpu);
                free(many);
                free(plain);
            }
            free(one);
            parrot_model_close(twin);
            float *after = live(model, 8);
            CHECK(same(after, without, n_vocab), "%s: closing a twin touched its model", cpu);
            free(after);
            parrot_model_close(model);
        }
    }
    free(expected);
    free(without);
}

static void test_refusals(const char *corpus) {
    parrot_model *model = open_model(corpus, "f32", NULL), *twin, *second;
    const parrot_shape *s = parrot_model_shape(model);
    size_t n;
    parrot_lora *updates = random_updates(s, &n);
    parrot_lora wrong[6];
    for (int i = 0; i < 6; i++) wrong[i] = updates[0];
    wrong[0].layer = s->n_layer;
    wrong[1].matrix = 6;
    wrong[2].rank = 0;
    wrong[3].rank = PARROT_LORA_RANK_MAX + 1;
    for (int i = 0; i < 4; i++) {
        parrot_fault fault = {0};
        CHECK(parrot_model_adapt(&twin, model, wrong + i, 1, &fault) == PARROT_E_ARG, "%d", i);
        CHECK(!twin && fault.code == PARROT_E_ARG && fault.text[0], "%d: no words", i);
    }
    CHECK(parrot_model_adapt(&twin, model, wrong + 4, 2, NULL) == PARROT_E_ARG, "one matrix twice");
    CHECK(parrot_model_adapt(&twin, model, updates, 0, NULL) == PARROT_E_ARG, "no updates");
    CHECK(parrot_model_adapt(&twin, model, updates, n, NULL) == PARROT_OK, "adapt");
    CHECK(parrot_model_adapt(&second, twin, updates, n, NULL) == PARROT_E_ARG, "a twin of a twin");
    parrot_model_close(twin);
    parrot_model_close(model);
    free_updates(updates, n);
}

void test_lora(const char *corpus) {
    test_same_bits(corpus, "f32");
    test_same_bits(corpus, "q8");
    test_refusals(corpus);
}
