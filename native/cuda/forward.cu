// SPDX-License-Identifier: Apache-2.0
// Living: the order of the kernels, what travels between host and device, and graphs that replay it.
//
// A single row goes through decode.cu, more through wide.cu and gemm.cu. What a kernel needs to know of
// one call lies in device memory (pt_call, pt_row), so that a graph recorded once serves every state.
#include "model.h"

#include <limits.h>

namespace {

enum mix { MIX_R, MIX_W, MIX_K, MIX_V, MIX_A, MIX_G };  // order of time_mix_lerp_fused
const float FFN_PRE = 1.0f / 64;  // squared ReLU may leave f16's range; 64 times more fits

pt_head_weights head_weights(const pt_cuda_layer &l) {
    return {l.v[PT_W0],  l.v[PT_A0],  l.v[PT_V0],          l.v[PT_K_K],
            l.v[PT_K_A], l.v[PT_R_K], l.v[PT_LN_X_WEIGHT], l.v[PT_LN_X_BIAS]};
}

size_t shift_at(const parrot_cuda *cuda, uint32_t layer) {
    return (size_t)layer * cuda->shape.n_embd * (2 + cuda->shape.head_size);
}

// What reads the six mixes: matrix, which mix, where to, and what is done to the sum.
struct reader {
    pt_layer_matrix which;
    int mix;
    float *y;
    int after;
};
enum { N_READERS = 7 };

int mix_readers(const parrot_cuda *cuda, uint32_t layer, reader *readers) {
    const pt_cuda_work &w = cuda->w;
    const reader all[N_READERS] = {
        {PT_RECEPTANCE, MIX_R, w.r, PT_STORE},   {PT_KEY, MIX_K, w.k, PT_STORE},
        {PT_VALUE, MIX_V, w.v, PT_STORE},        {PT_W1, MIX_W, w.downs[0], PT_TANH},
        {PT_A1, MIX_A, w.downs[1], PT_STORE},    {PT_G1, MIX_G, w.downs[3], PT_SIGMOID},
        {PT_V1, MIX_V, w.downs[2], PT_STORE}};
    const int n = layer > 0 ? N_READERS : N_READERS - 1;  // layer 0 has no value residual
    for (int i = 0; i < n; i++) readers[i] = all[i];
    return n;
}

// ---- one row

pt_products one_product(const parrot_cuda *cuda, const pt_weight &W, float *y, int after) {
    pt_products p = {};
    p.n = 1;
    p.of[0] = {W, 0, after, y};
    pt_products_share(&p, cuda->about.n_processors);
    return p;
}

int step_time_mix(parrot_cuda *cuda, uint32_t layer) {
    const pt_cuda_layer &l = cuda->layers[layer];
    const pt_cuda_work &w = cuda->w;
    const int C = (int)cuda->shape.n_embd, N = (int)cuda->shape.head_size;
    const size_t at = shift_at(cuda, layer);
    reader readers[N_READERS];
    pt_products p = {};
    p.n = mix_readers(cuda, layer, readers);
    for (int i = 0; i < p.n; i++) {
        p.of[i] = {l.W[readers[i].which], readers[i].mix, readers[i].after, readers[i].y};
    }
    pt_products_share(&p, cuda->about.n_processors);
    pt_norm norm = {C, w.x, l.v[PT_LN1_WEIGHT], l.v[PT_LN1_BIAS], l.v[PT_LERP], at, 0, w.norm[0], NULL,
                    false};
    if (layer > 0) {
        norm.flush = w.norm[1];
        norm.flush_at = shift_at(cuda, layer - 1) + (size_t)C;
    }
    int err = pt_norm_products_cuda(cuda->on, p, norm, w.call);
    pt_time_mix mix = {C, N, layer == 0, head_weights(l),
                       {l.W[PT_W2], l.W[PT_A2], l.W[PT_V2], l.W[PT_G2]},
                       {w.downs[0], w.downs[1], w.downs[2], w.downs[3]},
                       w.r, w.k, w.v, w.v_first, w.w, w.a, w.gate, w.y, at + 2 * (size_t)C};
    if (!err) err = pt_time_mix_cuda(cuda->on, mix, w.call);
    pt_heads heads = {C, N, head_weights(l), w.y, w.r, mix.k_out, mix.v_out, w.gate};
    p = one_product(cuda, l.W[PT_OUTPUT], w.x, PT_ADD);
    if (!err) err = pt_head_products_cuda(cuda->on, p, heads);
    return err;
}

int step_channel_mix(parrot_cuda *cuda, uint32_t layer) {
    const pt_cuda_layer &l = cuda->layers[layer];
    const pt_cuda_work &w = cuda->w;
    const int C = (int)cuda->shape.n_embd;
    const size_t at = shift_at(cuda, layer);
    pt_norm norm = {C, w.x, l.v[PT_LN2_WEIGHT], l.v[PT_LN2_BIAS], l.v[PT_FFN_X_K], at + (size_t)C, at,
                    w.norm[1], w.norm[0], false};
    pt_products p = one_product(cuda, l.W[PT_FFN_KEY], w.ffn, PT_RELU2);
    int err = pt_norm_products_cuda(cuda->on, p, norm, w.call);
    p = one_product(cuda, l.W[PT_FFN_VALUE], w.x, PT_ADD);
    if (!err) err = pt_plain_products_cuda(cuda->on, p, w.ffn);
    return err;
}

int step_head(parrot_cuda *cuda) {
    const pt_cuda_work &w = cuda->w;
    const int C = (int)cuda->shape.n_embd;
    pt_norm norm = {C, w.x, cuda->vectors[PT_LN_OUT_WEIGHT], cuda->vectors[PT_LN_OUT_BIAS], NULL, 0,
                    shift_at(cuda, cuda->shape.n_layer - 1) + (size_t)C, NULL, w.norm[1], true};
    pt_products p = one_product(cuda, cuda->head, w.logits, PT_STORE);
    return pt_norm_products_cuda(cuda->on, p, norm, w.call);
}

// ---- many rows

struct gemm_list {
    pt_gemms gemms;
    void add(const pt_weight &W, const float *x, float *y, int after, float pre = 1.0f) {
        gemms.of[gemms.n++] = {W, x, y, pre, after};
    }
};

// How many rows a call has, of how many runs, and of how many chunks: 0 where every run is too short
// to be worth one.
struct extent {
    size_t n, n_runs, n_chunks;
};

// From w.k_out's to w.y. What the chunks need besides is free here: the mixes have been read, and `out`
// is written next.
int wide_recurrence(parrot_cuda *cuda, const extent &of, size_t wkv_at) {
    const pt_cuda_work &w = cuda->w;
    const int C = (int)cuda->shape.n_embd, N = (int)cuda->shape.head_size;
    if (of.n_chunks == 0) {
        pt_wide_wkv wkv = {C, N, w.runs, w.r, w.w, w.k, w.v, w.v_gate, w.a, w.y, wkv_at};
        return pt_wide_wkv_cuda(cuda->on, wkv, (int)of.n_runs);
    }
    const size_t stride = of.n * cuda->shape.n_embd;
    pt_wide_chunks chunks = {C, N, w.chunks, w.runs, w.r, w.k, w.v, w.w, w.v_gate, w.a,
                             w.out, w.mixed, w.mixed + stride, w.y, wkv_at};
    return pt_wide_chunks_cuda(cuda->on, chunks, (int)of.n_chunks, (int)of.n_runs);
}

int wide_time_mix(parrot_cuda *cuda, uint32_t layer, const extent &of) {
    const int n = (int)of.n;
    const pt_cuda_layer &l = cuda->layers[layer];
    const pt_cuda_work &w = cuda->w;
    const int C = (int)cuda->shape.n_embd, N = (int)cuda->shape.head_size;
    const size_t at = shift_at(cuda, layer), stride = (size_t)n * C;
    pt_wide_norm norm = {C, 6, w.x, l.v[PT_LN1_WEIGHT], l.v[PT_LN1_BIAS], l.v[PT_LERP], w.rows, at, 0,
                         w.norm[0], NULL, w.mixed, stride};
    if (layer > 0) {
        norm.flush = w.norm[1];
        norm.flush_at = shift_at(cuda, layer - 1) + (size_t)C;
    }
    int err = pt_wide_norm_cuda(cuda->on, norm, n);
    reader readers[N_READERS];
    gemm_list downs = {}, ups = {}, out = {};
    const int n_readers = mix_readers(cuda, layer, readers);
    for (int i = 0; i < n_readers; i++) {
        const reader &r = readers[i];
        downs.add(l.W[r.which], w.mixed + r.mix * stride, r.y, r.after);
    }
    if (!err) err = pt_gemm_cuda(cuda->on, &downs.gemms, n);
    ups.add(l.W[PT_W2], w.downs[0], w.w, PT_STORE);
    ups.add(l.W[PT_A2], w.downs[1], w.a, PT_STORE);
    ups.add(l.W[PT_G2], w.downs[3], w.gate, PT_STORE);
    if (layer > 0) ups.add(l.W[PT_V2], w.downs[2], w.v_gate, PT_STORE);
    if (!err) err = pt_gemm_cuda(cuda->on, &ups.gemms, n);
    pt_wide_heads heads = {C, N, layer == 0, head_weights(l), w.w, w.a, w.v_gate, w.k, w.v, w.v_first};
    if (!err) err = pt_wide_heads_cuda(cuda->on, heads, n);
    if (!err) err = wide_recurrence(cuda, of, at + 2 * (size_t)C);
    pt_wide_out said = {C, N, head_weights(l), w.y, w.r, w.k, w.v, w.gate, w.out};
    if (!err) err = pt_wide_out_cuda(cuda->on, said, n);
    out.add(l.W[PT_OUTPUT], w.out, w.x, PT_ADD);
    if (!err) err = pt_gemm_cuda(cuda->on, &out.gemms, n);
    return err;
}

pt_wide_norm channel_norm(const parrot_cuda *cuda, uint32_t layer) {
    const pt_cuda_layer &l = cuda->layers[layer];
    const pt_cuda_work &w = cuda->w;
    const int C = (int)cuda->shape.n_embd;
    const size_t at = shift_at(cuda, layer);
    return {C, 1, w.x, l.v[PT_LN2_WEIGHT], l.v[PT_LN2_BIAS], l.v[PT_FFN_X_K], w.rows,
            at + (size_t)C, at, w.norm[1], w.norm[0], w.mixed, 0};
}

int wide_channel_mix(parrot_cuda *cuda, uint32_t layer, int n) {
    const pt_cuda_layer &l = cuda->layers[layer];
    const pt_cuda_work &w = cuda->w;
    gemm_list key = {}, value = {};
    int err = pt_wide_norm_cuda(cuda->on, channel_norm(cuda, layer), n);
    key.add(l.W[PT_FFN_KEY], w.mixed, w.ffn, PT_RELU2);
    if (!err) err = pt_gemm_cuda(cuda->on, &key.gemms, n);
    value.add(l.W[PT_FFN_VALUE], w.ffn, w.x, PT_ADD, FFN_PRE);
    if (!err) err = pt_gemm_cuda(cuda->on, &value.gemms, n);
    return err;
}

template <typename T> int to_device(parrot_cuda *cuda, T *device, const T *host, size_t n) {
    return (int)cudaMemcpyAsync(device, host, n * sizeof(T), cudaMemcpyHostToDevice,
                                cuda->on.stream);
}

template <typename T> int to_host(parrot_cuda *cuda, T *host, const T *device, size_t n) {
    return (int)cudaMemcpyAsync(host, device, n * sizeof(T), cudaMemcpyDeviceToHost,
                                cuda->on.stream);
}

// Everything of n rows but the logits.
int wide_body(parrot_cuda *cuda, const extent &of) {
    const pt_cuda_work &w = cuda->w;
    const size_t n = of.n;
    int err = to_device(cuda, w.rows, cuda->rows, n);
    if (!err) err = to_device(cuda, w.runs, cuda->runs, of.n_runs);
    if (!err && of.n_chunks > 0) err = to_device(cuda, w.chunks, cuda->chunks, of.n_chunks);
    if (!err) err = to_device(cuda, w.tokens, cuda->tokens, n);
    if (!err) err = to_device(cuda, w.end_rows, cuda->end_rows, n);
    if (err) return err;
    err = pt_embed_cuda(cuda->alone, cuda->embedding, w.tokens, (int)n, 1,
                        cuda->vectors[PT_LN0_WEIGHT], cuda->vectors[PT_LN0_BIAS], w.x);
    const uint32_t L = cuda->shape.n_layer;
    for (uint32_t layer = 0; layer < L && !err; layer++) {
        err = wide_time_mix(cuda, layer, of);
        if (!err) err = wide_channel_mix(cuda, layer, (int)n);
    }
    pt_wide_norm last = channel_norm(cuda, L - 1);
    last.flush = w.norm[1];
    last.flush_at = last.shift_at;
    return err ? err : pt_wide_flush_cuda(cuda->on, last, (int)n);
}

// Logits of the rows end_rows[first ... first + n) into pinned memory.
int wide_logits(parrot_cuda *cuda, size_t first, size_t n) {
    const pt_cuda_work &w = cuda->w;
    gemm_list head = {};
    int err = pt_wide_ends_cuda(cuda->on, w.x, w.end_rows + first, (int)n, (int)cuda->shape.n_embd,
                                cuda->vectors[PT_LN_OUT_WEIGHT], cuda->vectors[PT_LN_OUT_BIAS],
                                w.ends);
    head.add(cuda->head, w.ends, w.logits, PT_STORE);
    if (!err) err = pt_gemm_cuda(cuda->on, &head.gemms, (int)n);
    return err ? err : to_host(cuda, cuda->logits, w.logits, n * cuda->shape.n_vocab);
}

// ---- what a graph holds

int launch_step(parrot_cuda *cuda, size_t) {
    int err = to_device(cuda, cuda->w.call, cuda->call, 1);
    if (!err) err = pt_cuda_step(cuda, false);
    return err ? err : to_host(cuda, cuda->logits, cuda->w.logits, cuda->shape.n_vocab);
}

int launch_say(parrot_cuda *cuda, size_t) { return pt_cuda_step(cuda, true); }

int launch_batch(parrot_cuda *cuda, size_t n) {
    int err = wide_body(cuda, {n, n, 0});
    return err ? err : wide_logits(cuda, 0, n);
}

int replay(parrot_cuda *cuda, cudaGraphExec_t exec, int (*launch)(parrot_cuda *, size_t),
           size_t n) {
    if (cuda->flags & PARROT_CUDA_PLAIN) return launch(cuda, n);
    return (int)cudaGraphLaunch(exec, cuda->on.stream);
}

// The graph of that batch size: one of those kept, or recorded in place of the one longest unused.
int batch_graph(parrot_cuda *cuda, size_t n, cudaGraphExec_t *exec) {
    pt_cuda_graph *oldest = &cuda->batches[0];
    for (pt_cuda_graph &graph : cuda->batches) {
        if (graph.n_rows == n) {
            graph.used = cuda->n_calls;
            *exec = graph.exec;
            return 0;
        }
        if (graph.used < oldest->used) oldest = &graph;
    }
    if (oldest->exec) cudaGraphExecDestroy(oldest->exec);
    *oldest = {};
    int err = pt_cuda_capture(cuda, exec, launch_batch, n);
    if (!err) *oldest = {n, cuda->n_calls, *exec};
    return err;
}

// ---- a call

int bad(parrot_fault *fault, const char *text) { return pt_source_fail(fault, PARROT_E_ARG, text); }

// Chunks of the runs into pinned memory; none where no run fills one.
size_t lay_chunks(parrot_cuda *cuda, size_t n_runs) {
    int longest = 0;
    size_t n = 0;
    for (size_t i = 0; i < n_runs; i++) {
        if (cuda->runs[i].n > longest) longest = cuda->runs[i].n;
    }
    for (size_t i = 0; i < n_runs && longest >= PT_CHUNK; i++) {
        const pt_run &run = cuda->runs[i];
        for (int done = 0; done < run.n; done += PT_CHUNK) {
            int some = run.n - done < PT_CHUNK ? run.n - done : PT_CHUNK;
            cuda->chunks[n++] = {run.first + done, some};
        }
    }
    return n;
}

// Rows, runs, chunks and ends of a call into pinned memory; returns PARROT_E_ARG for what breaks the contract.
int lay_out(parrot_cuda *cuda, const int32_t *tokens, parrot_cuda_state *const *states,
            const int32_t *counts, size_t n_states, bool is_all, extent *of, size_t *n_ends,
            parrot_fault *fault) {
    size_t row = 0, ends = 0;
    cuda->n_calls++;
    for (size_t i = 0; i < n_states; i++) {
        if (counts[i] < 1 || row + (size_t)counts[i] > PARROT_CUDA_ROWS) {
            return bad(fault, "forward: counts must be 1 or more, and 1,024 tokens in all at most.");
        }
        if (states[i]->cuda != cuda || states[i]->seen == cuda->n_calls) {
            return bad(fault, "forward: a state twice, or one of another GPU; pass each once.");
        }
        states[i]->seen = cuda->n_calls;
        cuda->runs[i] = {states[i]->payload, (int)row, counts[i]};
        for (int32_t j = 0; j < counts[i]; j++, row++) {
            if (tokens[row] < 0 || (uint32_t)tokens[row] >= cuda->shape.n_vocab) {
                return bad(fault, "forward: a token outside the vocabulary; pass tokens of this model's "
                                  "tokenizer.");
            }
            const bool is_end = j + 1 == counts[i];
            cuda->rows[row] = {states[i]->payload, tokens[row], j > 0, is_end};
            cuda->tokens[row] = tokens[row];
            if (is_all || is_end) cuda->end_rows[ends++] = (int)row;
        }
    }
    for (size_t i = ends; i < row; i++) cuda->end_rows[i] = 0;  // sent along, never read
    *of = {row, n_states, lay_chunks(cuda, n_states)};
    *n_ends = ends;
    return PARROT_OK;
}

int launch_one(parrot_cuda *cuda) {
    *cuda->call = {};
    cuda->call->payload = cuda->rows[0].payload;
    cuda->call->token = cuda->tokens[0];
    return replay(cuda, cuda->step, launch_step, 1);
}

// A byte of each of several lives, all logits of which fit.
bool is_batch(const parrot_cuda *cuda, const extent &of, size_t n_ends) {
    return of.n > 1 && of.n == of.n_runs && n_ends == of.n && of.n <= cuda->n_logits_max;
}

int launch_lives(parrot_cuda *cuda, size_t n) {
    cudaGraphExec_t exec = NULL;
    int err = cuda->flags & PARROT_CUDA_PLAIN ? 0 : batch_graph(cuda, n, &exec);
    return err ? err : replay(cuda, exec, launch_batch, n);
}

// Rows of any runs; logits leave in slices of what fits.
int live_rows(parrot_cuda *cuda, const extent &of, size_t n_ends, float *logits) {
    int err = wide_body(cuda, of);
    for (size_t first = 0; first < n_ends && !err; first += cuda->n_logits_max) {
        size_t some = n_ends - first < cuda->n_logits_max ? n_ends - first : cuda->n_logits_max;
        err = wide_logits(cuda, first, some);
        if (!err) err = (int)cudaStreamSynchronize(cuda->on.stream);
        if (!err) {
            memcpy(logits + first * cuda->shape.n_vocab, cuda->logits,
                   some * cuda->shape.n_vocab * sizeof(float));
        }
    }
    return err ? err : (int)cudaStreamSynchronize(cuda->on.stream);
}

bool is_valid(const parrot_sampling *how) {
    return how->temperature >= 0.0f && how->temperature <= 100.0f && how->top_p > 0.0f &&
           how->top_p <= 1.0f && how->min_p >= 0.0f && how->min_p <= 1.0f &&
           how->repetition >= 0.1f && how->repetition <= 10.0f && how->top_k >= 0;
}

}  // namespace

// ---- graphs

int pt_cuda_step(parrot_cuda *cuda, bool has_choice) {
    const pt_cuda_work &w = cuda->w;
    int err = 0;
    if (has_choice) err = pt_choose_cuda(cuda->alone, w.choice, w.call, w.logits);
    const pt_stream &on = has_choice ? cuda->on : cuda->alone;
    if (!err) {
        err = pt_embed_cuda(on, cuda->embedding, &w.call->token, 1, 0, cuda->vectors[PT_LN0_WEIGHT],
                            cuda->vectors[PT_LN0_BIAS], w.x);
    }
    for (uint32_t layer = 0; layer < cuda->shape.n_layer && !err; layer++) {
        err = step_time_mix(cuda, layer);
        if (!err) err = step_channel_mix(cuda, layer);
    }
    return err ? err : step_head(cuda);
}

int pt_cuda_capture(parrot_cuda *cuda, cudaGraphExec_t *exec, int (*launch)(parrot_cuda *, size_t),
                    size_t n) {
    cudaGraph_t graph = NULL;
    int err = (int)cudaStreamBeginCapture(cuda->on.stream, cudaStreamCaptureModeThreadLocal);
    if (err) return err;
    err = launch(cuda, n);
    int end = (int)cudaStreamEndCapture(cuda->on.stream, &graph);
    if (!err) err = end;
    if (!err) err = (int)cudaGraphInstantiate(exec, graph, 0);
    if (graph) cudaGraphDestroy(graph);
    return err;
}

int pt_cuda_graphs(parrot_cuda *cuda) {
    int err = pt_cuda_capture(cuda, &cuda->step, launch_step, 1);
    bool can_say = cuda->shape.n_vocab <= PARROT_CUDA_CHOICES;
    if (!err && can_say) err = pt_cuda_capture(cuda, &cuda->say, launch_say, 1);
    return err;
}

// ---- the public calls

int parrot_cuda_forward(parrot_cuda *cuda, const int32_t *tokens, parrot_cuda_state *const *states,
                        const int32_t *counts, size_t n_states, enum parrot_logits which,
                        float *logits, parrot_fault *fault) {
    if (n_states < 1 || n_states > PARROT_CUDA_ROWS || (which != PARROT_LOGITS_NONE && !logits)) {
        return bad(fault, "forward: no states or more than 1,024, or nowhere to put logits; pass at "
                          "least one state.");
    }
    std::lock_guard<std::mutex> lock(cuda->mutex);
    int err = pt_cuda_enter(cuda, fault);
    extent of = {};
    size_t n_ends = 0;
    const size_t V = cuda->shape.n_vocab;
    if (!err) {
        err = lay_out(cuda, tokens, states, counts, n_states, which == PARROT_LOGITS_ALL, &of, &n_ends,
                      fault);
    }
    if (err) return err;
    if (which == PARROT_LOGITS_NONE) n_ends = 0;
    const bool is_whole = of.n == 1 || is_batch(cuda, of, n_ends);  // logits come in one piece
    int launch = of.n == 1 ? launch_one(cuda)
                 : is_whole ? launch_lives(cuda, of.n) : live_rows(cuda, of, n_ends, logits);
    if (!launch && is_whole) launch = (int)cudaStreamSynchronize(cuda->on.stream);
    if (launch) return pt_cuda_fail(cuda, launch, "living", fault);
    if (is_whole && n_ends > 0) memcpy(logits, cuda->logits, n_ends * V * sizeof(float));
    return PARROT_OK;
}

int parrot_cuda_say(parrot_cuda_state *state, parrot_sampler *sampler, const parrot_sampling *how,
                    int is_utf8, size_t room, int32_t stop, const int32_t *banned, size_t n_banned,
                    size_t n_max, float *logits, int32_t *tokens, size_t *n_said,
                    parrot_fault *fault) {
    parrot_cuda *cuda = state->cuda;
    const size_t V = cuda->shape.n_vocab;
    *n_said = 0;
    if (V > PARROT_CUDA_CHOICES || n_max < 1 || n_max > PARROT_CUDA_SAY || !is_valid(how) ||
        (is_utf8 && (V < 256 || room < n_max))) {
        return bad(fault, "say: a setting out of range, or a vocabulary that is chosen from on the host; "
                          "check the sampling.");
    }
    std::lock_guard<std::mutex> lock(cuda->mutex);
    int err = pt_cuda_enter(cuda, fault);
    if (err) return err;
    pt_choice *c = cuda->choice;
    *c = {*sampler, *how, is_utf8, stop, (int)V, (int)(room < INT_MAX ? room : INT_MAX), 0, {0}};
    for (size_t i = 0; i < n_banned; i++) {
        if (banned[i] >= 0 && (size_t)banned[i] < V) c->banned[banned[i] / 32] |= 1u << banned[i] % 32;
    }
    *cuda->call = {};
    cuda->call->payload = state->payload;
    memcpy(cuda->logits, logits, V * sizeof(float));
    int launch = to_device(cuda, cuda->w.call, cuda->call, 1);
    if (!launch) launch = to_device(cuda, cuda->w.choice, c, 1);
    if (!launch) launch = to_device(cuda, cuda->w.logits, cuda->logits, V);
    for (size_t i = 0; i < n_max && !launch; i++) launch = replay(cuda, cuda->say, launch_say, 1);
    if (!launch) launch = to_host(cuda, cuda->call, cuda->w.call, 1);
    if (!launch) launch = to_host(cuda, c, cuda->w.choice, 1);
    if (!launch) launch = to_host(cuda, cuda->logits, cuda->w.logits, V);
    if (!launch) launch = (int)cudaStreamSynchronize(cuda->on.stream);
    if (launch) return pt_cuda_fail(cuda, launch, "speaking", fault);
    *n_said = (size_t)cuda->call->n_said;
    memcpy(tokens, cuda->call->said, *n_said * sizeof *tokens);
    memcpy(logits, cuda->logits, V * sizeof(float));
    *sampler = c->sampler;
    if (c->is_no_number) {
        return bad(fault, "sampler: no logit that may be chosen is a number; the model or the state is "
                          "damaged.");
    }
    return PARROT_OK;
}

// ---- measuring

static double elapsed_us(cudaEvent_t begun, cudaEvent_t ended) {
    float ms = 0.0f;
    return cudaEventElapsedTime(&ms, begun, ended) == cudaSuccess ? 1e3 * (double)ms : 0.0;
}

double parrot_cuda_copy_bandwidth(parrot_cuda *cuda, size_t size) {
    std::lock_guard<std::mutex> lock(cuda->mutex);
    void *from = NULL, *to = NULL;
    cudaEvent_t begun = NULL, ended = NULL;
    double best_us = 0.0;
    if (pt_cuda_enter(cuda, NULL)) return 0.0;
    int err = (int)cudaMalloc(&from, size);
    if (!err) err = (int)cudaMalloc(&to, size);
    if (!err) err = (int)cudaEventCreate(&begun);
    if (!err) err = (int)cudaEventCreate(&ended);
    if (!err) err = (int)cudaMemsetAsync(from, 0x5a, size, cuda->on.stream);
    for (int i = 0; i < 10 && !err; i++) {
        err = (int)cudaEventRecord(begun, cuda->on.stream);
        if (!err) err = (int)cudaMemcpyAsync(to, from, size, cudaMemcpyDeviceToDevice, cuda->on.stream);
        if (!err) err = (int)cudaEventRecord(ended, cuda->on.stream);
        if (!err) err = (int)cudaStreamSynchronize(cuda->on.stream);
        double us = err ? 0.0 : elapsed_us(begun, ended);
        if (us > 0.0 && (best_us == 0.0 || us < best_us)) best_us = us;
    }
    cudaEventDestroy(begun);
    cudaEventDestroy(ended);
    cudaFree(from);
    cudaFree(to);
    cudaGetLastError();
    return best_us > 0.0 ? 2.0 * (double)size / best_us * 1e6 : 0.0;
}

// What forward launches for the rows laid out, up to the first logits that it would wait for.
static int launch_laid(parrot_cuda *cuda, const extent &of, size_t n_ends) {
    if (of.n == 1) return launch_one(cuda);
    if (is_batch(cuda, of, n_ends)) return launch_lives(cuda, of.n);
    int err = wide_body(cuda, of);
    return err ? err : wide_logits(cuda, 0, n_ends < cuda->n_logits_max ? n_ends : cuda->n_logits_max);
}

// All models launch into the first one's stream, between whose events they run.
static int launch_in_turn(parrot_cuda *const *rotated, const extent *of, const size_t *n_ends,
                          size_t n_rotated, size_t n, cudaEvent_t begun, cudaEvent_t ended) {
    const cudaStream_t stream = rotated[0]->on.stream;
    int err = 0;
    for (size_t i = 0; i < n + n_rotated && !err; i++) {  // one round to warm up
        parrot_cuda *cuda = rotated[i % n_rotated];
        const cudaStream_t own = cuda->on.stream;
        if (i == n_rotated) err = (int)cudaEventRecord(begun, stream);
        cuda->on.stream = cuda->alone.stream = stream;
        if (!err) err = launch_laid(cuda, of[i % n_rotated], n_ends[i % n_rotated]);
        cuda->on.stream = cuda->alone.stream = own;
    }
    if (!err) err = (int)cudaEventRecord(ended, stream);
    return err ? err : (int)cudaStreamSynchronize(stream);
}

double parrot_cuda_forward_us(parrot_cuda *const *rotated, size_t n_rotated,
                              parrot_cuda_state *const *states, const int32_t *tokens,
                              const int32_t *counts, size_t n_states, size_t n) {
    enum { ROTATED_MAX = 64 };
    extent of[ROTATED_MAX];
    size_t n_ends[ROTATED_MAX];
    cudaEvent_t begun = NULL, ended = NULL;
    if (n_rotated < 1 || n_rotated > ROTATED_MAX || n < 1) return 0.0;
    for (size_t i = 0; i < n_rotated; i++) {
        parrot_cuda *cuda = rotated[i];
        if (pt_cuda_enter(cuda, NULL) || lay_out(cuda, tokens, states + i * n_states, counts, n_states,
                                                 false, &of[i], &n_ends[i], NULL)) {
            return 0.0;
        }
    }
    int err = (int)cudaEventCreate(&begun);
    if (!err) err = (int)cudaEventCreate(&ended);
    if (!err) err = launch_in_turn(rotated, of, n_ends, n_rotated, n, begun, ended);
    double us = err ? 0.0 : elapsed_us(begun, ended) / (double)n;
    cudaEventDestroy(begun);
    cudaEventDestroy(ended);
    cudaGetLastError();
    return us;
}

int parrot_cuda_probe(parrot_cuda *cuda, const char *stage, size_t n, float *floats,
                      parrot_fault *fault) {
    const pt_cuda_work &w = cuda->w;
    const struct {
        const char *name;
        const float *at;
    } stages[] = {{"mixed", w.mixed},       {"r", w.r},           {"down_w", w.downs[0]},
                  {"down_a", w.downs[1]},   {"down_v", w.downs[2]}, {"down_g", w.downs[3]},
                  {"k", w.k},               {"v", w.v},           {"v_first", w.v_first},
                  {"w", w.w},               {"a", w.a},           {"v_gate", w.v_gate},
                  {"gate", w.gate},         {"y", w.y},           {"out", w.out},
                  {"norm_att", w.norm[0]},  {"norm_ffn", w.norm[1]}, {"ffn", w.ffn},
                  {"x", w.x},               {"ends", w.ends},     {"logits", w.logits}};
    std::lock_guard<std::mutex> lock(cuda->mutex);
    int err = pt_cuda_enter(cuda, fault);
    if (err) return err;
    for (const auto &known : stages) {
        if (strcmp(known.name, stage) != 0) continue;
        int copy = (int)cudaMemcpy(floats, known.at, n * sizeof(float), cudaMemcpyDeviceToHost);
        return copy ? pt_cuda_fail(cuda, copy, "looking at its work", fault) : PARROT_OK;
    }
    return bad(fault, "probe: no such stage; see forward.cu.");
}
