// SPDX-License-Identifier: Apache-2.0
// The launchers of the kernels, as the model sees them. Each returns a cudaError_t as an int.
#ifndef PT_KERNELS_H
#define PT_KERNELS_H

#include "device.h"

// The kernels of a file, so that opening a model can load them all before anything is recorded.
struct pt_kernels {
    enum { MAX = 32 };
    int n;
    const void *of[MAX];
    void add(const void *kernel) { of[n++] = kernel; }
};
void pt_decode_kernels(pt_kernels *list);
void pt_wide_kernels(pt_kernels *list);
void pt_chunk_kernels(pt_kernels *list);
void pt_gemm_kernels(pt_kernels *list);
void pt_sample_kernels(pt_kernels *list);

// ---- decoding: one row (decode.cu)

enum { PT_PRODUCTS_MAX = 7 };

struct pt_product {
    pt_weight W;
    int mix;    // which row of lerp its input is mixed with
    int after;  // pt_after
    float *y;
};

// Products that one launch does; block b belongs to the product whose first_block is the last <= b.
struct pt_products {
    int n, rows_a_block;
    int first_block[PT_PRODUCTS_MAX + 1];
    pt_product of[PT_PRODUCTS_MAX];
};

// Layer norm, and the token shift if lerp is not NULL. `norm` keeps what the next bytes will look back
// at; it goes into the payload one phase later, when nobody reads the old one any more: `flush` is the
// norm of the sub-block before, or NULL.
struct pt_norm {
    int C;
    const float *x, *weight, *bias, *lerp;
    size_t shift_at, flush_at;  // floats into the payload
    float *norm;
    const float *flush;
    bool is_last;  // the head's
};

struct pt_heads {
    int C, N;
    pt_head_weights z;
    const float *y, *r, *k, *v, *gate;
};

struct pt_time_mix {
    int C, N, is_first;
    pt_head_weights z;
    pt_weight ups[4];        // w a v g
    const float *downs[4];   // (rank,) each, activations applied
    const float *r, *k, *v;  // raw sums
    float *v_first, *k_out, *v_out, *gate, *y;
    size_t wkv_at;  // floats into the payload
};

// How many blocks share the products so that all multiprocessors have work, and which has what.
void pt_products_share(pt_products *p, int n_processors);
int pt_decode_shared_max(int width);  // bytes of shared memory that operands of that width need

int pt_embed_cuda(const pt_stream &on, const pt_weight &E, const int *tokens, int n, int stride,
                  const float *weight, const float *bias, float *x);
int pt_norm_products_cuda(const pt_stream &on, const pt_products &p, const pt_norm &norm,
                          const pt_call *call);
int pt_head_products_cuda(const pt_stream &on, const pt_products &p, const pt_heads &heads);
int pt_plain_products_cuda(const pt_stream &on, const pt_products &p, const float *x);
int pt_time_mix_cuda(const pt_stream &on, const pt_time_mix &t, const pt_call *call);

// ---- many rows (wide.cu, chunk.cu, gemm.cu)

struct pt_row {
    float *payload;
    int token;
    int is_continued;  // the row before is the same life, one byte earlier
    int is_end;        // the next row is another life
};

struct pt_run {  // rows of one life
    float *payload;
    int first, n;
};

enum { PT_CHUNK = 16 };
struct pt_chunk {  // up to PT_CHUNK rows of one life
    int first, n;
};

struct pt_wide_norm {
    int C, n_mix;
    const float *x, *weight, *bias, *lerp;
    const pt_row *rows;
    size_t shift_at, flush_at;
    float *norm;         // (n, C), written where a row ends its life's run
    const float *flush;  // as in pt_norm
    float *mixed;        // n_mix arrays of (n_max, C)
    size_t mixed_stride;
};

struct pt_wide_heads {
    int C, N, is_first;
    pt_head_weights z;
    float *w_up, *a_up, *v_up;  // become w, erase; v_up is free afterwards and holds kk
    float *k, *v, *v_first;
};

struct pt_wide_wkv {
    int C, N;
    const pt_run *runs;
    const float *r, *w, *k, *v, *kk, *erase;
    float *y;
    size_t wkv_at;
};

// The same in chunks. What a run's rows hold changes: w, kk and erase become what a chunk wants of
// them; p, q and u (n, C) are memory that nobody else uses.
struct pt_wide_chunks {
    int C, N;
    const pt_chunk *chunks;
    const pt_run *runs;
    const float *r, *k, *v;
    float *w, *kk, *erase, *p, *q, *u, *y;
    size_t wkv_at;
};

struct pt_wide_out {
    int C, N;
    pt_head_weights z;
    const float *y, *r, *k, *v, *gate;
    float *out;
};

int pt_wide_norm_cuda(const pt_stream &on, const pt_wide_norm &norm, int n);
int pt_wide_flush_cuda(const pt_stream &on, const pt_wide_norm &norm, int n);
int pt_wide_heads_cuda(const pt_stream &on, const pt_wide_heads &heads, int n);
int pt_wide_wkv_cuda(const pt_stream &on, const pt_wide_wkv &wkv, int n_runs);
int pt_wide_chunks_cuda(const pt_stream &on, const pt_wide_chunks &in, int n_chunks, int n_runs);
int pt_wide_out_cuda(const pt_stream &on, const pt_wide_out &out, int n);
int pt_wide_ends_cuda(const pt_stream &on, const float *x, const int *rows, int n, int C,
                      const float *weight, const float *bias, float *out);

// y (n, n_out) = (or what `after` says) x (n, n_in) W^T, for up to four products over the same n.
struct pt_gemm {
    pt_weight W;
    const float *x;
    float *y;
    float pre;  // x is multiplied by this power of two before it becomes f16, and y by its inverse
    int after;
};
enum { PT_GEMMS_MAX = 7 };
struct pt_gemms {
    int n;
    int first_block[PT_GEMMS_MAX + 1];
    pt_gemm of[PT_GEMMS_MAX];
};
int pt_gemm_cuda(const pt_stream &on, pt_gemms *gemms, int n_rows);

// ---- choosing (sample.cu)

struct pt_choice {
    parrot_sampler sampler;
    parrot_sampling how;
    int is_utf8, stop, n_vocab, room;
    int is_no_number;  // out: no logit that may be chosen is a number
    uint32_t banned[PARROT_CUDA_CHOICES / 32];
};
int pt_choose_cuda(const pt_stream &on, pt_choice *choice, pt_call *call, float *logits);

#endif
