// SPDX-License-Identifier: Apache-2.0
// What the files of native/src share. Arrow of dependence: kernels <- forward <- model, state.
#ifndef PT_INTERNAL_H
#define PT_INTERNAL_H

#include "parrot.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

// ---- little-endian bytes; never by casting a struct

static inline uint16_t pt_le16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t pt_le32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t pt_le64(const uint8_t *p) {
    return (uint64_t)pt_le32(p) | (uint64_t)pt_le32(p + 4) << 32;
}

// Fill `fault` (may be NULL) and return `code`.
int pt_fail(parrot_fault *fault, int code, int64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// The largest int16 activation: 127 * 256 + 127, so that it splits into two int8 exactly.
#define PT_Q16_MAX 32639.0f

// ---- matrices

enum pt_type { PT_F32 = 0, PT_F16 = 1, PT_Q8_0 = 8 };  // GGUF's numbers

enum {
    PT_BLOCK = 32,             // weights that share one f16 scale in Q8_0
    PT_BLOCK_SIZE = 34,        // bytes: f16 scale, 32 int8
    PT_GROUP = 16,             // output rows interleaved by repacking: one AVX-512 register of f32
    PT_GROUP_BLOCK = 544,      // bytes of a block of a group once repacked: 16 scales, 512 int8
    PT_CHUNK = 64,             // rows of tokens done together in prefill
    PT_THREADS_MAX = 256,
    PT_SHARED_ROWS_MIN = 4,    // fewer rows: each thread prepares its own operands, no barrier
};

// y = W x. W (n_out, n_in) row-major as in the file (`mapped`), or repacked (`packed`): then the file's
// bytes of it are gone.
typedef struct pt_matrix {
    enum pt_type type;
    uint32_t n_out, n_in;
    const uint8_t *mapped;  // borrowed from parrot_model.file
    const uint8_t *packed;  // NULL: compute from `mapped`
} pt_matrix;

// What a matrix multiplies: rows of n_in floats, and the same rows as int16 with one scale a row
// (value = scale * q) where a Q8_0 matrix reads them.
typedef struct pt_operand {
    float *f;
    int16_t *q;
    float *scale;
} pt_operand;

static inline size_t pt_groups(const pt_matrix *m) {
    return ((size_t)m->n_out + PT_GROUP - 1) / PT_GROUP;
}
size_t pt_matrix_size(const pt_matrix *m);         // bytes in the file
size_t pt_matrix_packed_size(const pt_matrix *m);  // bytes once repacked

// ---- kernels: one table a CPU, filled from one body of portable C plus intrinsics for Q8_0.
// Every table gives the same bits: integer sums are exact, float sums have one fixed order, and no
// multiply-add is fused.

typedef struct pt_head {  // one head of one layer for one byte; all (N,) but S (N, N)
    float *S;
    const float *r, *w, *k, *v, *kk, *iclr;
    float *y;
} pt_head;

typedef struct pt_kernels {
    const char *name;
    // y[row * y_stride + o] = (or +=) W[o] . x[row] for outputs of groups [first, last)
    void (*matmul)(const pt_matrix *m, size_t first, size_t last, const pt_operand *x,
                   size_t n_rows, float *y, size_t y_stride, bool accumulate);
    // Interleave the mapped matrix into `packed` (pt_matrix_packed_size bytes, 64-byte aligned).
    // False: its values do not fit the layout, and it is to be computed as it is mapped.
    bool (*pack)(const pt_matrix *m, uint8_t *packed);
    void (*quantize)(const float *x, size_t n, int16_t *q, float *scale);
    void (*layer_norm)(const float *x, const float *weight, const float *bias, size_t n, float *y);
    void (*lerp)(const float *x, const float *prev, const float *mix, size_t n, float *y);
    void (*tanh)(float *x, size_t n);
    void (*sigmoid)(float *x, size_t n);
    void (*relu_squared)(float *x, size_t n);
    void (*decay)(float *w, const float *w0, size_t n);
    void (*iclr)(float *a, const float *a0, size_t n);
    void (*value_residual)(float *v, const float *v_first, const float *gate, const float *v0,
                           size_t n);
    void (*removal_key)(const float *k, const float *k_k, size_t n, float *kk);
    void (*key)(float *k, const float *iclr, const float *k_a, size_t n);
    void (*wkv)(const pt_head *head, size_t n);
    void (*read_out)(float *y, const pt_head *head, const float *r_k, const float *ln_weight,
                     const float *ln_bias, const float *gate, size_t n);
    void (*embed)(const pt_matrix *m, uint32_t row, float *y);
} pt_kernels;

extern const pt_kernels pt_kernels_scalar;
#if defined(__x86_64__)
extern const pt_kernels pt_kernels_avx2, pt_kernels_avx512;
#elif defined(__aarch64__)
extern const pt_kernels pt_kernels_neon, pt_kernels_dotprod, pt_kernels_i8mm;
#endif

// Repack Q8_0. For each group of 16 rows, for each block of 32 inputs: the 16 rows' f16 scales, then
// chunks of `n_cols` inputs: row 0's n_cols weights, row 1's, ... row 15's.
void pt_pack_q8(const pt_matrix *m, size_t n_cols, uint8_t *packed);

// The kernels of that name, or the best this CPU runs for NULL; NULL if it cannot run them.
const pt_kernels *pt_kernels_find(const char *name);

// ---- cores

enum { PT_CORES_MAX = 256 };
typedef struct pt_cores {
    uint64_t bits[PT_CORES_MAX / 64];
} pt_cores;

#define PT_CORES_ROOT "/sys/devices/system/cpu"
pt_cores pt_cores_allowed(void);  // those this thread may run on
// Those `among` them that are about as fast as the fastest, as `root` (PT_CORES_ROOT) tells; all of
// them where it does not.
pt_cores pt_cores_big(const pt_cores *among, const char *root);
uint32_t pt_cores_count(const pt_cores *cores);
void pt_cores_stay(const pt_cores *cores);  // the calling thread runs on no others

// ---- low-rank updates (lora.c)

typedef struct pt_lora pt_lora;

// y[:, groups first to last] += B (A x) for n_rows rows of x, if the twin `model` updates `m`.
void pt_lora_add(const parrot_model *model, const pt_matrix *m, size_t first, size_t last,
                 const float *x, size_t n_rows, float *y, size_t y_stride);

// ---- threads

typedef struct pt_pool pt_pool;
typedef void pt_work_fn(void *arg, uint32_t thread, uint32_t n_threads);

// `cores`: where the threads it starts may run, NULL: anywhere. Returns NULL without memory or threads.
pt_pool *pt_pool_open(uint32_t n_threads, const pt_cores *cores);
void pt_pool_close(pt_pool *pool);
uint32_t pt_pool_threads(const pt_pool *pool);
// Run `fn` on every thread at once and return when all are done. If another caller is inside, or
// this process was forked from the one that opened the pool, `fn` runs on this thread alone.
void pt_pool_run(pt_pool *pool, pt_work_fn *fn, void *arg);
// Inside fn: wait until all threads arrived. With one thread, nothing.
void pt_pool_barrier(pt_pool *pool, uint32_t n_threads);

// The share [first, last) of n things that belongs to `thread`.
static inline void pt_share(size_t n, uint32_t thread, uint32_t n_threads, size_t *first,
                            size_t *last) {
    *first = n * thread / n_threads;
    *last = n * (thread + 1) / n_threads;
}

// ---- model

typedef struct pt_layer {
    const float *ln1_weight, *ln1_bias, *ln2_weight, *ln2_bias;
    const float *lerp;  // (6, C): r w k v a g
    const float *w0, *a0, *v0, *k_k, *k_a, *r_k, *ln_x_weight, *ln_x_bias, *ffn_x_k;
    pt_matrix w1, w2, a1, a2, v1, v2, g1, g2;
    pt_matrix receptance, key, value, output, ffn_key, ffn_value;
} pt_layer;

struct parrot_model {
    parrot_shape shape;
    uint8_t id[8];
    const uint8_t *file;  // its bytes: mapped memory, of our own or the file itself
    size_t file_size;
    uint8_t *packed;
    size_t packed_size;
    const float *ln0_weight, *ln0_bias, *ln_out_weight, *ln_out_bias;
    pt_matrix embedding, head;
    pt_layer *layers;
    const pt_kernels *kernels;
    pt_pool *pool;
    pt_lora *updates;  // NULL, or this is a twin that owns these and `layers`, and borrows the rest
    size_t n_updates;
};

// Read the header of a GGUF file of `size` bytes at `file`, and point `model`'s shape and tensors
// (allocating model->layers) into it. Nothing is trusted; nothing past `size` is read.
int pt_gguf_bind(parrot_model *model, const uint8_t *file, size_t size, const char *name,
                 parrot_fault *fault);

// XXH64, seed 0: the model id. Source: the xxHash specification, v0.1.1, section XXH64.
uint64_t pt_xxh64(const uint8_t *p, size_t size);
uint32_t pt_crc32(uint32_t crc, const void *bytes, size_t size);  // as zlib's

#endif
