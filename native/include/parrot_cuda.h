// SPDX-License-Identifier: Apache-2.0
// libparrot_cuda: the same step as parrot.h on a GPU, the state kept there. Loaded at run time where
// there is one; nothing else of parrot needs it.
//
// The payload of a state is that of parrot.h, float for float: what was grown on the GPU goes on on the
// CPU, and back. Results are those of the CPU but for rounding: sums have another order here, one that is
// the same on every call (INV-8 on one GPU).
//
// Threads: calls on one parrot_cuda wait for each other. Errors: as in parrot.h. Once a GPU stopped
// answering, every later call returns PARROT_E_DEVICE; close still frees what the host holds.
#ifndef PARROT_CUDA_H
#define PARROT_CUDA_H

#include "parrot.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    PARROT_CUDA_VERSION = 2,  // of this interface; the loader wants exactly its own
    PARROT_CUDA_ROWS = 1024,  // rows of one forward call at most
    PARROT_CUDA_SAY = 16,     // tokens of one say call at most
    PARROT_CUDA_CHOICES = 1024,  // the largest vocabulary that say chooses from
};

enum { PARROT_CUDA_PLAIN = 1 };  // no graph, no overlap of kernels: for tests of both ways

typedef struct parrot_cuda parrot_cuda;              // a model on a GPU
typedef struct parrot_cuda_state parrot_cuda_state;  // a life on that GPU

typedef struct parrot_cuda_device {
    char name[256];
    int32_t major, minor, n_processors;  // compute capability, multiprocessors
    int32_t driver;                      // 13000: 13.0
    uint64_t memory, memory_free, l2_size;
    uint64_t model_size;  // bytes that the weights take there
} parrot_cuda_device;

PARROT_API int parrot_cuda_version(void);

// Check the driver and the GPU, then put the model file there. On failure *cuda is NULL.
PARROT_API int parrot_cuda_open(parrot_cuda **cuda, const char *path, int32_t device, uint32_t flags,
                                parrot_fault *fault);
PARROT_API void parrot_cuda_close(parrot_cuda *cuda);  // NULL does nothing; close the states first
PARROT_API void parrot_cuda_describe(const parrot_cuda *cuda, parrot_cuda_device *about);

// A state of all zeros. Close may be called on any thread, and does nothing with NULL.
PARROT_API int parrot_cuda_state_open(parrot_cuda *cuda, parrot_cuda_state **state,
                                      parrot_fault *fault);
PARROT_API void parrot_cuda_state_close(parrot_cuda_state *state);
// `payload` holds parrot_state_len floats. On failure the host's floats are as they were.
PARROT_API int parrot_cuda_state_upload(parrot_cuda_state *state, const float *payload,
                                        parrot_fault *fault);
PARROT_API int parrot_cuda_state_download(parrot_cuda_state *state, float *payload,
                                          parrot_fault *fault);
PARROT_API int parrot_cuda_state_copy(parrot_cuda_state *to, const parrot_cuda_state *from,
                                      parrot_fault *fault);

// states[i] lives the next counts[i] tokens; no state twice, no count of 0, PARROT_CUDA_ROWS tokens in all
// at most, and at least one. `which` and the order of `logits` are parrot_forward's. To be able to stop,
// call it with fewer tokens.
PARROT_API int parrot_cuda_forward(parrot_cuda *cuda, const int32_t *tokens,
                                   parrot_cuda_state *const *states, const int32_t *counts,
                                   size_t n_states, enum parrot_logits which, float *logits,
                                   parrot_fault *fault);

// Choose a token from `logits` (V), live it, and so on, up to n_max (<= PARROT_CUDA_SAY) times, without
// the host between. It ends early when `stop` (-1: none) was chosen; that token is lived and is the last
// of `tokens`. `room` is what parrot_sample is given for the first token, and falls by one with each.
// Leaves the last logits in `logits`; returns how many tokens were said in *n_said. The sampler moves
// on as parrot_sample and parrot_sampler_feed would move it.
PARROT_API int parrot_cuda_say(parrot_cuda_state *state, parrot_sampler *sampler,
                               const parrot_sampling *how, int is_utf8, size_t room, int32_t stop,
                               const int32_t *banned, size_t n_banned, size_t n_max, float *logits,
                               int32_t *tokens, size_t *n_said, parrot_fault *fault);

// Bytes per second that a copy on the device moves, read and written counted: the bound of decoding.
PARROT_API double parrot_cuda_copy_bandwidth(parrot_cuda *cuda, size_t size);
// Microseconds of a forward call by the device's own clock (events), the mean of `n` in a row; with
// several models in turn, so that weights leave the L2 cache between their uses. `states` holds n_states
// of each model, those of rotated[0] first, used by nobody else meanwhile; tokens and counts are those of
// forward, and so is what travels: tokens there, the first logits back. All on one GPU, at most 64 models.
// 0: it could not be measured.
PARROT_API double parrot_cuda_forward_us(parrot_cuda *const *rotated, size_t n_rotated,
                                         parrot_cuda_state *const *states, const int32_t *tokens,
                                         const int32_t *counts, size_t n_states, size_t n);

// For tests: floats of the work memory as the last forward call left them, so that two GPUs can be
// compared kernel by kernel. `stage` is one of the names in forward.cu; PARROT_E_ARG for another one.
PARROT_API int parrot_cuda_probe(parrot_cuda *cuda, const char *stage, size_t n, float *floats,
                                 parrot_fault *fault);

#ifdef __cplusplus
}
#endif
#endif
