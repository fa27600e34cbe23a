// SPDX-License-Identifier: Apache-2.0
// The structs behind parrot_cuda.h: weights and work memory on the device, and the stream. `model.cu`
// opens and closes them, `forward.cu` lives.
#ifndef PT_MODEL_H
#define PT_MODEL_H

#include <mutex>

#include "kernels.h"

enum {
    PT_GRAPHS = 4,           // batch sizes whose graph is kept
    PT_LOGITS_MAX = 4 << 20,  // floats of logits on the device at once
};

struct pt_cuda_layer {
    pt_weight W[PT_LAYER_MATRICES];
    const float *v[PT_LAYER_VECTORS];
};

// Rows of PARROT_CUDA_ROWS lives or bytes; a single row is row 0 of the same.
struct pt_cuda_work {
    float *x, *r, *k, *v, *v_first, *w, *a, *v_gate, *gate, *y, *out, *norm[2];  // (rows, C)
    float *mixed;                                                                // (6, rows, C)
    float *downs[4];                                                             // (rows, rank)
    float *ffn;                                                                  // (rows, F)
    float *ends, *logits;  // (n_logits_max, C), (n_logits_max, V)
    pt_row *rows;
    pt_run *runs;
    pt_chunk *chunks;
    int *tokens, *end_rows;
    pt_call *call;
    pt_choice *choice;
};

struct pt_cuda_graph {
    size_t n_rows;  // 0: none
    uint64_t used;
    cudaGraphExec_t exec;
};

struct parrot_cuda {
    parrot_shape shape;
    int device;
    uint32_t flags;
    parrot_cuda_device about;
    std::mutex mutex;
    bool is_lost;
    uint64_t n_calls;  // marks what a call has seen

    pt_stream on, alone;  // the same stream; `alone` for a kernel that must begin after all before it
    unsigned char *weights, *work;  // the two allocations that everything below lies in
    pt_weight embedding, head;
    const float *vectors[PT_MODEL_VECTORS];
    pt_cuda_layer *layers;
    pt_cuda_work w;
    size_t n_logits_max;

    // Pinned memory of the host, where copies of a graph begin and end.
    pt_call *call;
    pt_choice *choice;
    pt_row *rows;
    pt_run *runs;
    pt_chunk *chunks;
    int *tokens, *end_rows;
    float *logits;
    unsigned char *pinned;

    cudaGraphExec_t step, say;
    pt_cuda_graph batches[PT_GRAPHS];
};

struct parrot_cuda_state {
    parrot_cuda *cuda;
    float *payload;
    uint64_t seen;  // the last call that named it
};

size_t pt_cuda_state_len(const parrot_cuda *cuda);

// Fill `fault` for a CUDA error. After any but a lack of memory the GPU counts as lost.
int pt_cuda_fail(parrot_cuda *cuda, int err, const char *doing, parrot_fault *fault);
int pt_cuda_enter(parrot_cuda *cuda, parrot_fault *fault);  // mutex is held: is the GPU still there?

// The step of one row, from w.call to w.logits; nothing but launches.
int pt_cuda_step(parrot_cuda *cuda, bool has_choice);
// Record what `cuda->on` is given between these two as a graph.
int pt_cuda_capture(parrot_cuda *cuda, cudaGraphExec_t *exec, int (*launch)(parrot_cuda *, size_t),
                    size_t n);
int pt_cuda_graphs(parrot_cuda *cuda);  // the two that every model has

#endif
