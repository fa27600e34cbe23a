// SPDX-License-Identifier: Apache-2.0
// Time llama.cpp, or dump its logits, through libllama alone.
//
//   llama_bench decode  MODEL THREADS SECONDS             one token a call
//   llama_bench prefill MODEL THREADS SECONDS N_TOKENS    one prompt a call, from an empty context
//   llama_bench logits  MODEL THREADS BATCH TOKENS OUT    int32 tokens in, (n, vocab) f32 out
//
// Prints one JSON object. It only measures: every call's time goes out, and Python judges them, so
// that peers and our own engine pass through the same statistics. llama.cpp's own bench tool is not
// used because it reports means only and needs four times the build.
#define _POSIX_C_SOURCE 200809L
#include "llama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CALLS_MAX = 1 << 20, CONTEXT_TOKENS = 1 << 20, LOGITS_BATCH_MAX = 2048 };

typedef struct {
    struct llama_model *model;
    struct llama_context *context;
    int n_vocab;
    double open_s;
} peer;

typedef struct {
    float us[CALLS_MAX];
    size_t n;
} calls;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// The linear congruential generator of tools/peers/ours.py: both engines hear the same bytes.
static llama_token next_token(unsigned *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (llama_token)(*seed >> 24);
}

static void log_errors_only(enum ggml_log_level level, const char *text, void *user) {
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

// 0, or an exit code after saying on stderr what llama.cpp refused.
static int peer_open(peer *p, const char *path, int n_threads, unsigned n_batch) {
    double start_s = now_s();
    llama_log_set(log_errors_only, NULL);
    llama_backend_init();
    p->model = llama_model_load_from_file(path, llama_model_default_params());
    if (!p->model) {
        fprintf(stderr, "%s: llama.cpp cannot load this model\n", path);
        return 3;
    }
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = CONTEXT_TOKENS;
    params.n_batch = params.n_ubatch = n_batch;
    params.n_threads = params.n_threads_batch = n_threads;
    params.no_perf = true;
    p->context = llama_init_from_model(p->model, params);
    if (!p->context) {
        fprintf(stderr, "%s: llama.cpp cannot make a context for this model\n", path);
        return 4;
    }
    p->n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(p->model));
    p->open_s = now_s() - start_s;
    return 0;
}

static void peer_close(peer *p) {
    llama_free(p->context);
    llama_model_free(p->model);
    llama_backend_free();
}

// Feed `n` tokens as one batch and wait for the logits of the last.
static int feed(const peer *p, llama_token *tokens, int n) {
    int code = llama_decode(p->context, llama_batch_get_one(tokens, n));
    llama_synchronize(p->context);
    return code;
}

// Call with `n_tokens` new tokens again and again: once, and a tenth of the time, unrecorded.
static int time_calls(const peer *p, calls *out, double seconds, int n_tokens, bool from_empty) {
    llama_token *tokens = malloc((size_t)n_tokens * sizeof *tokens);
    unsigned seed = 1;
    double start_s = 0, end_s = now_s() + 0.1 * seconds;
    bool is_warm = false;
    int code = tokens ? 0 : 5;
    out->n = 0;
    while (code == 0 && out->n < CALLS_MAX) {
        for (int i = 0; i < n_tokens; i++) tokens[i] = next_token(&seed);
        if (from_empty) llama_memory_clear(llama_get_memory(p->context), true);
        start_s = now_s();
        code = feed(p, tokens, n_tokens);
        double done_s = now_s();
        if (is_warm) out->us[out->n++] = (float)(1e6 * (done_s - start_s));
        if (done_s >= end_s && is_warm) break;
        if (done_s >= end_s) {
            is_warm = true;
            end_s = done_s + seconds;
        }
    }
    free(tokens);
    return code;
}

static void print_calls(const peer *p, const calls *c, int n_tokens) {
    printf("{\"tokens_per_call\": %d, \"open_ms\": %.3f, \"state_bytes\": %zu, \"call_us\": [",
           n_tokens, 1e3 * p->open_s, llama_state_get_size(p->context));
    for (size_t i = 0; i < c->n; i++) printf("%s%.2f", i ? "," : "", (double)c->us[i]);
    printf("]}\n");
}

static int run_bench(const char *path, int n_threads, double seconds, int n_tokens,
                     bool is_prefill) {
    static calls timed;  // too large for the stack
    peer p = {0};
    int code = peer_open(&p, path, n_threads, (unsigned)n_tokens);
    if (code) return code;
    code = time_calls(&p, &timed, seconds, n_tokens, is_prefill);
    if (code) {
        fprintf(stderr, "%s: llama_decode returned %d\n", path, code);
        return 5;
    }
    print_calls(&p, &timed, n_tokens);
    peer_close(&p);
    return 0;
}

// Ask for the logits of every token of one batch. The caller frees with llama_batch_free.
static struct llama_batch batch_of(const llama_token *tokens, int n, int position) {
    struct llama_batch batch = llama_batch_init(n, 0, 1);
    batch.n_tokens = n;
    for (int i = 0; i < n; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = position + i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    return batch;
}

static int dump(const peer *p, int batch_len, FILE *tokens_file, FILE *out) {
    llama_token tokens[LOGITS_BATCH_MAX];
    int position = 0, n;
    while ((n = (int)fread(tokens, sizeof *tokens, (size_t)batch_len, tokens_file)) > 0) {
        struct llama_batch batch = batch_of(tokens, n, position);
        int code = llama_decode(p->context, batch);
        for (int i = 0; code == 0 && i < n; i++) {
            const float *row = llama_get_logits_ith(p->context, i);
            if (fwrite(row, sizeof *row, (size_t)p->n_vocab, out) != (size_t)p->n_vocab) code = 6;
        }
        llama_batch_free(batch);
        if (code) return code;
        position += n;
    }
    printf("{\"tokens\": %d, \"vocab\": %d}\n", position, p->n_vocab);
    return 0;
}

static int run_logits(const char *path, int n_threads, int batch_len, char *const file_names[2]) {
    if (batch_len < 1 || batch_len > LOGITS_BATCH_MAX) {
        fprintf(stderr, "BATCH: %d, expected 1 to %d\n", batch_len, LOGITS_BATCH_MAX);
        return 2;
    }
    peer p = {0};
    int code = peer_open(&p, path, n_threads, (unsigned)batch_len);
    if (code) return code;
    FILE *tokens_file = fopen(file_names[0], "rb");
    FILE *out = fopen(file_names[1], "wb");
    code = tokens_file && out ? dump(&p, batch_len, tokens_file, out) : 6;
    if (tokens_file) fclose(tokens_file);
    if (out && fclose(out)) code = 6;
    if (code) fprintf(stderr, "%s: no logits written, code %d\n", file_names[1], code);
    peer_close(&p);
    return code;
}

int main(int argc, char **argv) {
    if (argc == 5 && !strcmp(argv[1], "decode")) {
        return run_bench(argv[2], atoi(argv[3]), atof(argv[4]), 1, false);
    }
    if (argc == 6 && !strcmp(argv[1], "prefill")) {
        return run_bench(argv[2], atoi(argv[3]), atof(argv[4]), atoi(argv[5]), true);
    }
    if (argc == 7 && !strcmp(argv[1], "logits")) {
        return run_logits(argv[2], atoi(argv[3]), atoi(argv[4]), argv + 5);
    }
    fprintf(stderr, "usage: llama_bench decode MODEL THREADS SECONDS\n"
                    "       llama_bench prefill MODEL THREADS SECONDS N_TOKENS\n"
                    "       llama_bench logits MODEL THREADS BATCH TOKENS OUT\n");
    return 2;
}
