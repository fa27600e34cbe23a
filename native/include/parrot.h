// SPDX-License-Identifier: Apache-2.0
// parrot: RWKV-7 inference whose state is never reset. This header is the whole public surface.
//
//     parrot_model *model;
//     parrot_fault fault;
//     if (parrot_model_open(&model, "parrot.gguf", NULL, &fault)) { puts(fault.text); ... }
//     const parrot_shape *shape = parrot_model_shape(model);
//     float *payload = calloc(parrot_state_len(shape), sizeof(float));   // a state: all zeros
//     void *work = aligned_alloc(64, parrot_work_size(model, 1));
//     parrot_row row = {.token = 'H', .payload = payload};
//     parrot_forward(model, work, &row, 1, PARROT_LOGITS_ENDS, logits, NULL, NULL);
//
// Ownership is one of three words: borrows (until return, or until the named close), copies, takes.
// Threads: a parrot_model never changes after open and may be shared by any number of threads; a
// payload and a work area belong to one call at a time.
// Errors: functions that can fail return PARROT_OK or a negative parrot_error, and say where, what
// and what to do in the caller's parrot_fault. Nothing prints, nothing exits.
#ifndef PARROT_H
#define PARROT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(PARROT_BUILD) && defined(__GNUC__)
#define PARROT_API __attribute__((visibility("default")))
#else
#define PARROT_API
#endif

enum parrot_error {
    PARROT_OK = 0,
    PARROT_E_ARG = -1,       // the caller broke the contract
    PARROT_E_IO = -2,        // the operating system refused
    PARROT_E_FORMAT = -3,    // not our file
    PARROT_E_VERSION = -4,   // our file, a version this build does not read
    PARROT_E_CORRUPT = -5,   // checksum or bounds are wrong
    PARROT_E_MISMATCH = -6,  // whole, but belongs to another model
    PARROT_E_SMALL = -7,     // the caller's buffer is too small
    PARROT_E_NOMEM = -8,
    PARROT_E_DEVICE = -9,   // the accelerator, or a CPU feature asked for, is not there
    PARROT_E_ABORTED = -10,  // the abort flag was seen; *n_done rows were lived
};

// What went wrong, in one sentence: `where: seen, expected; what to do.`
typedef struct parrot_fault {
    int code;
    int64_t offset;  // in the file, or -1
    char text[512];
} parrot_fault;

typedef struct parrot_shape {
    uint32_t n_layer;    // L
    uint32_t n_embd;     // C = H * N
    uint32_t head_size;  // N
    uint32_t n_ffn;      // F
    uint32_t n_vocab;    // V
    uint32_t rank_w, rank_a, rank_v, rank_g;  // of the decay, iclr, value-residual, gate LoRA
} parrot_shape;

typedef struct parrot_model parrot_model;

typedef struct parrot_options {
    uint32_t n_threads;  // 0: one a core this process may use
    uint32_t flags;      // PARROT_MAPPED
    const char *cpu;     // NULL: the best this CPU has; else a name of parrot_cpu_name
} parrot_options;

// Compute from the mapped file and spend no memory on a copy. The file must then stay as it is: one
// that is cut short ends the process (SIGBUS); to replace it, write another and rename it over.
enum { PARROT_MAPPED = 1 };

// ---- model

// Read `path`, check every byte of its header, repack the matrices for this CPU. `options` may be
// NULL. On failure *model is NULL and `fault` (may be NULL) holds the sentence.
PARROT_API int parrot_model_open(parrot_model **model, const char *path,
                                 const parrot_options *options, parrot_fault *fault);
PARROT_API void parrot_model_close(parrot_model *model);  // NULL is a harmless no-op

PARROT_API const parrot_shape *parrot_model_shape(const parrot_model *model);
PARROT_API const uint8_t *parrot_model_id(const parrot_model *model);  // 8 bytes, borrowed
PARROT_API const char *parrot_model_cpu(const parrot_model *model);    // kernels in use
PARROT_API uint32_t parrot_model_threads(const parrot_model *model);
PARROT_API int parrot_model_is_repacked(const parrot_model *model);
// Bytes of weights that one decoded token reads (matrices, vectors; one row of the embedding).
PARROT_API uint64_t parrot_model_bytes_per_token(const parrot_model *model);

// The names of the kernel sets this machine can run, best first; NULL past the last.
PARROT_API const char *parrot_cpu_name(size_t i);

// ---- LoRA: a low-rank update of one matrix, y += B (A x)

enum { PARROT_LORA_RANK_MAX = 64 };
enum parrot_matrix {
    PARROT_RECEPTANCE = 0,
    PARROT_KEY = 1,
    PARROT_VALUE = 2,
    PARROT_OUTPUT = 3,
    PARROT_FFN_KEY = 4,
    PARROT_FFN_VALUE = 5,
};

typedef struct parrot_lora {
    uint32_t layer, matrix;  // which one: 0 ... n_layer - 1, enum parrot_matrix
    uint32_t rank;           // 1 ... PARROT_LORA_RANK_MAX
    const float *a;          // (rank, n_in)
    const float *b;          // (n_out, rank), any scale already in it
} parrot_lora;

// Make a twin of `model` with n updates, at most one a matrix; it copies them. The twin borrows the
// weights and threads of `model`, which stays as it is and must be closed after it. Its id and states
// are those of `model`, so a life may change from one to the other between two calls. `model` is not
// a twin itself. Returns PARROT_E_ARG for an update that does not fit.
PARROT_API int parrot_model_adapt(parrot_model **twin, const parrot_model *model,
                                  const parrot_lora *updates, size_t n, parrot_fault *fault);

// ---- state: floats of the caller. Per layer shift_att (C), shift_ffn (C), wkv (H, N, N) with row =
// value channel, column = key channel. All zeros is a parrot that has lived nothing.

PARROT_API size_t parrot_state_len(const parrot_shape *shape);  // floats; 0 if the shape is absurd

enum { PARROT_STATE_HEADER_SIZE = 48 };

// Write the 48-byte header of a state file (docs/formats.md) for this payload.
PARROT_API void parrot_state_header(const parrot_model *model, const float *payload,
                                    uint64_t position, uint8_t *header);
// Check a whole state file and copy it out. `payload` holds parrot_state_len floats and is left
// untouched on failure. Returns PARROT_E_FORMAT, _VERSION, _CORRUPT or _MISMATCH.
PARROT_API int parrot_state_read(const parrot_model *model, const uint8_t *file, size_t file_size,
                                 float *payload, uint64_t *position, parrot_fault *fault);

// ---- forward

// One token of one life. Consecutive rows with the same payload are consecutive in time.
typedef struct parrot_row {
    int32_t token;
    float *payload;
} parrot_row;

enum parrot_logits {
    PARROT_LOGITS_NONE = 0,
    PARROT_LOGITS_ENDS = 1,  // for the last row of each run of equal payloads, in order
    PARROT_LOGITS_ALL = 2,   // for every row
};

// Bytes of work area that calls with up to `n_rows` rows need; more rows are done in chunks, so it
// grows no further than a chunk. 64-byte aligned memory of the caller.
PARROT_API size_t parrot_work_size(const parrot_model *model, size_t n_rows);

// Feed rows, advance their payloads, write logits (n, V). `work_size` is what the area holds.
// The result is the same, bit for bit, however rows are grouped into calls, on any number of threads
// and with any kernel set (INV-8). No allocation, lock, log line or disk access (INV-3).
// `abort` (may be NULL) is looked at before each chunk of rows: not 0 ends the call with
// PARROT_E_ABORTED, and *n_done (may be NULL) rows were lived whole.
// Returns PARROT_E_ARG for a token outside the vocabulary: then nothing was lived.
PARROT_API int parrot_forward(const parrot_model *model, void *work, size_t work_size,
                              const parrot_row *rows, size_t n_rows, enum parrot_logits which,
                              float *logits, const volatile int *abort, size_t *n_done);

// ---- sampling

typedef struct parrot_sampling {
    float temperature;  // 0: greedy. Otherwise logits are divided by it
    float top_p;        // keep the likeliest tokens whose probabilities reach this sum; 1: all
    float min_p;        // drop tokens less likely than this share of the likeliest; 0: none
    float repetition;   // divide positive, multiply negative logits of recent tokens; 1: off
    int32_t top_k;      // keep this many; 0: all
} parrot_sampling;

enum { PARROT_RECENT_MAX = 256 };

// One stream of choices. Zero it, set rng_state to the seed and recent_len to the penalty's reach.
typedef struct parrot_sampler {
    uint64_t rng_state;
    uint32_t recent_len, recent_n;                // window, tokens seen in all
    int32_t recent[PARROT_RECENT_MAX];
    uint8_t utf8_need, utf8_low, utf8_high;       // continuation bytes due; range of the next one
} parrot_sampler;

// Choose a token from logits (V), which it overwrites. `scratch` holds V int32. `is_utf8`, for byte
// vocabularies: bytes that would break a UTF-8 character are never chosen, nor one that begins a
// character longer than `room` bytes. `banned` (may be NULL): n_banned tokens never chosen. Returns
// the token, or PARROT_E_ARG when a parameter is out of range or no allowed logit is finite.
PARROT_API int32_t parrot_sample(parrot_sampler *sampler, const parrot_sampling *how, int is_utf8,
                                 size_t room, const int32_t *banned, size_t n_banned,
                                 float *logits, size_t n_vocab, int32_t *scratch);
// Tell the sampler of a token that was said (or forced): keeps the window and the UTF-8 state.
PARROT_API void parrot_sampler_feed(parrot_sampler *sampler, int32_t token, int is_utf8);

// Bytes per second that `n_threads` threads read from memory together, the best of three passes over
// `size` bytes each (many times the caches): what bounds decoding. 0 without memory or threads.
PARROT_API double parrot_read_bandwidth(uint32_t n_threads, size_t size);

PARROT_API const char *parrot_error_name(int code);  // never NULL

#ifdef __cplusplus
}
#endif
#endif
