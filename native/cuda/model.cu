// SPDX-License-Identifier: Apache-2.0
// Opening a model on a GPU: what is checked, what is uploaded, where things lie; and states.
#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <new>

namespace {

enum { ALIGN = 256, COMPUTE_MIN = 80, DRIVER_MIN = 13000 };
enum { SHARED_FREE = 48 << 10 };  // bytes a block has without asking

int fail(parrot_fault *fault, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int fail(parrot_fault *fault, int code, const char *format, ...) {
    char text[sizeof fault->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return pt_source_fail(fault, code, text);
}

// ---- is there a GPU that can run it

int check_driver(int device, parrot_fault *fault) {
    int driver = 0, n = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        return fail(fault, PARROT_E_DEVICE,
                    "cuda:%d: no NVIDIA driver answers here; install one, or use --device cpu.",
                    device);
    }
    if (driver < DRIVER_MIN) {
        return fail(fault, PARROT_E_DEVICE,
                    "cuda:%d: the driver speaks CUDA %d.%d, expected %d.%d or newer; update the NVIDIA "
                    "driver, or use --device cpu.",
                    device, driver / 1000, driver % 1000 / 10, DRIVER_MIN / 1000,
                    DRIVER_MIN % 1000 / 10);
    }
    cudaError_t err = cudaGetDeviceCount(&n);
    if (err != cudaSuccess && err != cudaErrorNoDevice) {
        return fail(fault, PARROT_E_DEVICE,
                    "cuda:%d: the driver answers: %s; see nvidia-smi, or use --device cpu.", device,
                    cudaGetErrorString(err));
    }
    if (n == 0) {
        return fail(fault, PARROT_E_DEVICE,
                    "cuda:%d: the driver sees no GPU; check CUDA_VISIBLE_DEVICES and nvidia-smi, or "
                    "use --device cpu.",
                    device);
    }
    if (device < 0 || device >= n) {
        return fail(fault, PARROT_E_DEVICE,
                    "cuda:%d: not there, this machine has cuda:0 to cuda:%d; choose one of them.",
                    device, n - 1);
    }
    return PARROT_OK;
}

int largest(int a, int b) { return a > b ? a : b; }

int ranks_padded(const parrot_shape &s) {
    const uint32_t rank_v = s.rank_v > s.rank_a ? s.rank_v : s.rank_a;  // in layer 0 it is iclr's
    return (int)(pt_padded(s.rank_w) + pt_padded(s.rank_a) + pt_padded(rank_v) + pt_padded(s.rank_g));
}

int shared_needed(const parrot_shape &s) {
    int width = largest((int)s.n_embd, (int)s.n_ffn);
    return largest(pt_decode_shared_max(width), (ranks_padded(s) + 12 * PT_HEAD_MAX) * 4);
}

// Load every kernel now: a kernel that is first met while a graph is recorded would be loaded in the
// middle of it. The code that was chosen also says whether a kernel can begin before the last has ended,
// for only code for 9.0 and later waits then; code for 8.0, compiled by the driver of a newer GPU, does not.
int load_kernels(parrot_cuda *cuda, int shared, int shared_max, parrot_fault *fault) {
    pt_kernels all = {};
    pt_decode_kernels(&all);
    const int n_decode = all.n;
    pt_wide_kernels(&all);
    pt_chunk_kernels(&all);
    pt_gemm_kernels(&all);
    pt_sample_kernels(&all);
    bool is_waiting = true;
    for (int i = 0; i < all.n; i++) {
        cudaFuncAttributes about = {};
        int err = (int)cudaFuncGetAttributes(&about, all.of[i]);
        if (err == (int)cudaErrorNoKernelImageForDevice || err == (int)cudaErrorInvalidDeviceFunction ||
            err == (int)cudaErrorUnsupportedPtxVersion) {
            cudaGetLastError();
            return fail(fault, PARROT_E_DEVICE,
                        "cuda:%d: this library holds no code for %s, compute capability %d.%d; build it "
                        "again with: make cuda, or use --device cpu.",
                        cuda->device, cuda->about.name, cuda->about.major, cuda->about.minor);
        }
        // The most that the GPU allows, whatever this model needs: another one may be open.
        if (!err && i < n_decode && shared > SHARED_FREE) {
            err = (int)cudaFuncSetAttribute(all.of[i], cudaFuncAttributeMaxDynamicSharedMemorySize,
                                            shared_max);
        }
        if (err) return pt_cuda_fail(cuda, err, "loading its kernels", fault);
        is_waiting = is_waiting && about.ptxVersion >= 90;
    }
    cuda->on.can_overlap =
        is_waiting && cuda->about.major >= 9 && !(cuda->flags & PARROT_CUDA_PLAIN);
    return PARROT_OK;
}

int check_device(parrot_cuda *cuda, parrot_fault *fault) {
    cudaDeviceProp prop;
    cudaError_t err = cudaGetDeviceProperties(&prop, cuda->device);
    if (err == cudaSuccess) err = cudaSetDevice(cuda->device);
    if (err != cudaSuccess) return pt_cuda_fail(cuda, (int)err, "asking for its properties", fault);
    parrot_cuda_device *about = &cuda->about;
    snprintf(about->name, sizeof about->name, "%s", prop.name);
    about->major = prop.major;
    about->minor = prop.minor;
    about->n_processors = prop.multiProcessorCount;
    about->memory = prop.totalGlobalMem;
    about->l2_size = (uint64_t)prop.l2CacheSize;
    cudaDriverGetVersion(&about->driver);
    if (prop.major * 10 + prop.minor < COMPUTE_MIN) {
        return fail(fault, PARROT_E_DEVICE,
                    "cuda:%d: %s has compute capability %d.%d, expected %d.%d or newer; use --device "
                    "cpu.",
                    cuda->device, prop.name, prop.major, prop.minor, COMPUTE_MIN / 10,
                    COMPUTE_MIN % 10);
    }
    int shared = shared_needed(cuda->shape);
    if ((size_t)shared > prop.sharedMemPerBlockOptin) {
        return fail(fault, PARROT_E_DEVICE,
                    "cuda:%d: this model's width needs %d bytes of shared memory a block, %s has %zu; "
                    "use --device cpu.",
                    cuda->device, shared, prop.name, prop.sharedMemPerBlockOptin);
    }
    return load_kernels(cuda, shared, (int)prop.sharedMemPerBlockOptin, fault);
}

// ---- memory: one carve, run on no memory to measure it

template <typename T> T *carve(unsigned char **at, size_t n) {
    T *p = (T *)*at;
    *at += (n * sizeof(T) + ALIGN - 1) / ALIGN * ALIGN;
    return p;
}

struct uploader {
    parrot_cuda *cuda;
    unsigned char *at, *packed;  // packed: NULL while measuring
    size_t packed_size;
    int err;
};

void upload(uploader *u, void *to, const void *from, size_t size) {
    if (u->packed && !u->err) {
        u->err = (int)cudaMemcpy(to, from, size, cudaMemcpyHostToDevice);
    }
}

pt_weight put_matrix(uploader *u, const pt_source_matrix &m) {
    size_t size = pt_device_matrix_size(&m);
    pt_weight W = {m.type, (int)m.n_out, (int)m.n_in, (int)pt_padded(m.n_in), NULL, NULL};
    W.rows = carve<unsigned char>(&u->at, size);
    W.scales = (const __half *)(W.rows + pt_device_rows_size(&m));
    if (size > u->packed_size && !u->packed) u->packed_size = size;
    if (u->packed && !u->err) pt_device_pack(&m, u->packed);
    upload(u, (void *)W.rows, u->packed, size);
    return W;
}

const float *put_vector(uploader *u, const float *from, size_t n) {
    float *to = carve<float>(&u->at, n);
    upload(u, to, from, n * sizeof(float));
    return to;
}

void put_weights(uploader *u, const pt_source &source) {
    parrot_cuda *cuda = u->cuda;
    const size_t C = cuda->shape.n_embd;
    cuda->embedding = put_matrix(u, source.embedding);
    cuda->head = put_matrix(u, source.head);
    for (int i = 0; i < PT_MODEL_VECTORS; i++) {
        cuda->vectors[i] = put_vector(u, source.vectors[i], C);
    }
    for (uint32_t layer = 0; layer < cuda->shape.n_layer; layer++) {
        pt_cuda_layer *l = &cuda->layers[layer];
        for (int i = 0; i < PT_LAYER_MATRICES; i++) {
            l->W[i] = put_matrix(u, pt_source_layer_matrix(&source, layer, (pt_layer_matrix)i));
        }
        for (int i = 0; i < PT_LAYER_VECTORS; i++) {
            const float *from = pt_source_layer_vector(&source, layer, (pt_layer_vector)i);
            l->v[i] = put_vector(u, from, i == PT_LERP ? 6 * C : C);
        }
    }
}

unsigned char *carve_work(parrot_cuda *cuda, unsigned char *at) {
    const parrot_shape &s = cuda->shape;
    const size_t R = PARROT_CUDA_ROWS, C = s.n_embd, ranks[4] = {s.rank_w, s.rank_a, s.rank_v, s.rank_g};
    pt_cuda_work *w = &cuda->w;
    float **wide[] = {&w->x, &w->r,      &w->k,    &w->v, &w->v_first, &w->w,       &w->a,
                      &w->v_gate, &w->gate, &w->y, &w->out,     &w->norm[0], &w->norm[1]};
    for (float **p : wide) *p = carve<float>(&at, R * C);
    w->mixed = carve<float>(&at, 6 * R * C);
    for (int i = 0; i < 4; i++) w->downs[i] = carve<float>(&at, R * ranks[i]);
    w->ffn = carve<float>(&at, R * s.n_ffn);
    w->ends = carve<float>(&at, cuda->n_logits_max * C);
    w->logits = carve<float>(&at, cuda->n_logits_max * s.n_vocab);
    w->rows = carve<pt_row>(&at, R);
    w->runs = carve<pt_run>(&at, R);
    w->chunks = carve<pt_chunk>(&at, R);
    w->tokens = carve<int>(&at, R);
    w->end_rows = carve<int>(&at, R);
    w->call = carve<pt_call>(&at, 1);
    w->choice = carve<pt_choice>(&at, 1);
    return at;
}

unsigned char *carve_pinned(parrot_cuda *cuda, unsigned char *at) {
    const size_t R = PARROT_CUDA_ROWS;
    cuda->logits = carve<float>(&at, cuda->n_logits_max * cuda->shape.n_vocab);
    cuda->rows = carve<pt_row>(&at, R);
    cuda->runs = carve<pt_run>(&at, R);
    cuda->chunks = carve<pt_chunk>(&at, R);
    cuda->tokens = carve<int>(&at, R);
    cuda->end_rows = carve<int>(&at, R);
    cuda->call = carve<pt_call>(&at, 1);
    cuda->choice = carve<pt_choice>(&at, 1);
    return at;
}

int no_memory(parrot_cuda *cuda, size_t needed, parrot_fault *fault) {
    return fail(fault, PARROT_E_NOMEM,
                "cuda:%d: %llu MB free, this model needs %llu MB; close what else uses the GPU, or choose "
                "a smaller model.",
                cuda->device, (unsigned long long)cuda->about.memory_free >> 20,
                (unsigned long long)(needed + (1 << 20) - 1) >> 20);
}

// Weights, work and pinned memory; then the weights' bytes.
int fill_memory(parrot_cuda *cuda, const pt_source &source, parrot_fault *fault) {
    unsigned char *const origin = (unsigned char *)ALIGN;  // never touched; only measured from
    uploader u = {cuda, origin, NULL, 0, 0};
    put_weights(&u, source);
    const size_t weights = (size_t)(u.at - origin);
    const size_t work = (size_t)(carve_work(cuda, origin) - origin);
    const size_t pinned = (size_t)(carve_pinned(cuda, origin) - origin);
    size_t free_size = 0, total = 0;
    int err = (int)cudaMemGetInfo(&free_size, &total);
    if (err) return pt_cuda_fail(cuda, err, "asking for its memory", fault);
    cuda->about.memory_free = free_size;
    cuda->about.model_size = weights;
    if (weights + work > free_size) return no_memory(cuda, weights + work, fault);
    u.packed = (unsigned char *)malloc(u.packed_size);
    if (!u.packed) {
        return fail(fault, PARROT_E_NOMEM, "%s",
                    "model: no memory to lay out a matrix for the GPU; close programs.");
    }
    err = (int)cudaMalloc((void **)&cuda->weights, weights);
    if (!err) err = (int)cudaMalloc((void **)&cuda->work, work);
    if (!err && cudaHostAlloc((void **)&cuda->pinned, pinned, 0) != cudaSuccess) {
        cudaGetLastError();
        free(u.packed);
        return fail(fault, PARROT_E_NOMEM,
                    "cuda:%d: no %zu MB of this machine's own memory to talk to the GPU with; close "
                    "programs.",
                    cuda->device, (pinned + (1 << 20) - 1) >> 20);
    }
    if (!err) {
        carve_work(cuda, cuda->work);
        carve_pinned(cuda, cuda->pinned);
        u.at = cuda->weights;
        put_weights(&u, source);
        err = u.err ? u.err : (int)cudaDeviceSynchronize();  // the last bytes may still travel
    }
    free(u.packed);
    if (err == (int)cudaErrorMemoryAllocation) {  // somebody took it in between, or it lies in pieces
        cudaGetLastError();
        cudaFree(cuda->weights);
        cuda->weights = NULL;
        if (cudaMemGetInfo(&free_size, &total) == cudaSuccess) cuda->about.memory_free = free_size;
        return no_memory(cuda, weights + work, fault);
    }
    return err ? pt_cuda_fail(cuda, err, "uploading the model", fault) : PARROT_OK;
}

int open_on(parrot_cuda *cuda, const char *path, parrot_fault *fault) {
    pt_source source;
    int err = pt_source_open(&source, path, fault);
    if (err) return err;
    cuda->shape = *source.shape;
    cuda->layers = new (std::nothrow) pt_cuda_layer[cuda->shape.n_layer];
    cuda->n_logits_max = PT_LOGITS_MAX / cuda->shape.n_vocab;
    if (cuda->n_logits_max > PARROT_CUDA_ROWS) cuda->n_logits_max = PARROT_CUDA_ROWS;
    if (cuda->n_logits_max < 1) cuda->n_logits_max = 1;
    if (!cuda->layers) err = fail(fault, PARROT_E_NOMEM, "%s", "model: no memory; close programs.");
    if (!err) err = check_device(cuda, fault);
    if (!err) err = fill_memory(cuda, source, fault);
    pt_source_close(&source);
    if (err) return err;
    int launch = (int)cudaStreamCreateWithFlags(&cuda->on.stream, cudaStreamNonBlocking);
    cuda->alone.stream = cuda->on.stream;
    if (!launch && !(cuda->flags & PARROT_CUDA_PLAIN)) launch = pt_cuda_graphs(cuda);
    if (!launch) launch = (int)cudaStreamSynchronize(cuda->on.stream);
    return launch ? pt_cuda_fail(cuda, launch, "recording the step", fault) : PARROT_OK;
}

}  // namespace

// ---- errors

int pt_cuda_fail(parrot_cuda *cuda, int err, const char *doing, parrot_fault *fault) {
    cudaGetLastError();  // it has been seen
    if (err == (int)cudaErrorMemoryAllocation) {
        return fail(fault, PARROT_E_NOMEM,
                    "cuda:%d: no memory left on the GPU while %s; close states or programs.",
                    cuda->device, doing);
    }
    cuda->is_lost = true;
    return fail(fault, PARROT_E_DEVICE,
                "cuda:%d: the GPU stopped answering while %s: %s; open the model again, the state is the "
                "last one that was brought back.",
                cuda->device, doing, cudaGetErrorString((cudaError_t)err));
}

int pt_cuda_enter(parrot_cuda *cuda, parrot_fault *fault) {
    if (cuda->is_lost) {
        return fail(fault, PARROT_E_DEVICE,
                    "cuda:%d: the GPU stopped answering in an earlier call; open the model again.",
                    cuda->device);
    }
    int err = (int)cudaSetDevice(cuda->device);
    return err ? pt_cuda_fail(cuda, err, "choosing it", fault) : PARROT_OK;
}

// ---- open and close

int parrot_cuda_version(void) { return PARROT_CUDA_VERSION; }

int parrot_cuda_open(parrot_cuda **out, const char *path, int32_t device, uint32_t flags,
                     parrot_fault *fault) {
    *out = NULL;
    int err = check_driver(device, fault);
    if (err) return err;
    parrot_cuda *cuda = new (std::nothrow) parrot_cuda();
    if (!cuda) return fail(fault, PARROT_E_NOMEM, "%s", "model: no memory; close programs.");
    cuda->device = device;
    cuda->flags = flags;
    err = open_on(cuda, path, fault);
    if (err) {
        parrot_cuda_close(cuda);
        return err;
    }
    *out = cuda;
    return PARROT_OK;
}

void parrot_cuda_close(parrot_cuda *cuda) {
    if (!cuda) return;
    cudaSetDevice(cuda->device);
    if (cuda->step) cudaGraphExecDestroy(cuda->step);
    if (cuda->say) cudaGraphExecDestroy(cuda->say);
    for (pt_cuda_graph &graph : cuda->batches) {
        if (graph.exec) cudaGraphExecDestroy(graph.exec);
    }
    if (cuda->on.stream) cudaStreamDestroy(cuda->on.stream);
    cudaFree(cuda->weights);
    cudaFree(cuda->work);
    cudaFreeHost(cuda->pinned);
    cudaGetLastError();
    delete[] cuda->layers;
    delete cuda;
}

void parrot_cuda_describe(const parrot_cuda *cuda, parrot_cuda_device *about) {
    *about = cuda->about;
}

// ---- states

size_t pt_cuda_state_len(const parrot_cuda *cuda) { return parrot_state_len(&cuda->shape); }

int parrot_cuda_state_open(parrot_cuda *cuda, parrot_cuda_state **out, parrot_fault *fault) {
    *out = NULL;
    parrot_cuda_state *state = new (std::nothrow) parrot_cuda_state();
    if (!state) return fail(fault, PARROT_E_NOMEM, "%s", "state: no memory; close programs.");
    std::lock_guard<std::mutex> lock(cuda->mutex);
    state->cuda = cuda;
    const size_t size = pt_cuda_state_len(cuda) * sizeof(float);
    int err = pt_cuda_enter(cuda, fault);
    if (!err) {
        int launch = (int)cudaMalloc((void **)&state->payload, size);
        if (!launch) launch = (int)cudaMemsetAsync(state->payload, 0, size, cuda->on.stream);
        if (!launch) launch = (int)cudaStreamSynchronize(cuda->on.stream);
        if (launch) err = pt_cuda_fail(cuda, launch, "making a state", fault);
    }
    if (err) {
        cudaFree(state->payload);
        delete state;
        return err;
    }
    *out = state;
    return PARROT_OK;
}

void parrot_cuda_state_close(parrot_cuda_state *state) {
    if (!state) return;
    {
        std::lock_guard<std::mutex> lock(state->cuda->mutex);
        cudaSetDevice(state->cuda->device);
        cudaFree(state->payload);
        cudaGetLastError();
    }
    delete state;
}

static int move_state(parrot_cuda *cuda, void *to, const void *from, cudaMemcpyKind kind,
                      const char *doing, parrot_fault *fault) {
    std::lock_guard<std::mutex> lock(cuda->mutex);
    int err = pt_cuda_enter(cuda, fault);
    if (err) return err;
    const size_t size = pt_cuda_state_len(cuda) * sizeof(float);
    int launch = (int)cudaMemcpyAsync(to, from, size, kind, cuda->on.stream);
    if (!launch) launch = (int)cudaStreamSynchronize(cuda->on.stream);
    return launch ? pt_cuda_fail(cuda, launch, doing, fault) : PARROT_OK;
}

int parrot_cuda_state_upload(parrot_cuda_state *state, const float *payload, parrot_fault *fault) {
    return move_state(state->cuda, state->payload, payload, cudaMemcpyHostToDevice,
                      "uploading a state", fault);
}

// Through memory of its own, so that a copy that breaks off leaves the caller's floats alone.
int parrot_cuda_state_download(parrot_cuda_state *state, float *payload, parrot_fault *fault) {
    const size_t size = pt_cuda_state_len(state->cuda) * sizeof(float);
    void *whole = malloc(size);
    if (!whole) return fail(fault, PARROT_E_NOMEM, "%s", "state: no memory; close programs.");
    int err = move_state(state->cuda, whole, state->payload, cudaMemcpyDeviceToHost,
                         "downloading a state", fault);
    if (!err) memcpy(payload, whole, size);
    free(whole);
    return err;
}

int parrot_cuda_state_copy(parrot_cuda_state *to, const parrot_cuda_state *from,
                           parrot_fault *fault) {
    if (to->cuda != from->cuda) {
        return fail(fault, PARROT_E_ARG, "%s", "state: a copy stays on its GPU; open one there.");
    }
    return move_state(to->cuda, to->payload, from->payload, cudaMemcpyDeviceToDevice,
                      "copying a state", fault);
}
