// SPDX-License-Identifier: Apache-2.0
// The emulated GPU: see cuda_runtime.h beside this.
#include "mma.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <ucontext.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

// ---- what was asked for

static long asked(const char *name, long otherwise) {
    const char *all = getenv("PARROT_EMULATED_GPU");
    const size_t n = strlen(name);
    for (const char *at = all; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        if (strncmp(at, name, n) == 0 && at[n] == '=') return strtol(at + n + 1, NULL, 10);
    }
    return otherwise;
}

[[noreturn]] static void broken(const char *what) {
    fprintf(stderr, "emulated GPU: %s (block %u,%u,%u thread %u)\n", what, blockIdx.x, blockIdx.y,
            blockIdx.z, threadIdx.x);
    abort();
}

// ---- fibers

namespace {

// A fiber's stack is an odd number of cache lines, or all stacks would fall on the same few sets.
enum { STACK_SIZE = (48 << 10) + 17 * 64 - 16, WARP = 32, SHARED_FREE = 48 << 10, SHARED_MAX = 99 << 10 };
enum state { READY, AT_WARP, AT_BLOCK, DONE };

struct fiber {
    void *stack_pointer;
    ucontext_t context;
    std::vector<char> stack;
    state at;
    unsigned thread, n_shuffles;
    float shuffled[2];
};

std::vector<fiber *> fibers;
std::vector<float> shared;
fiber *current, scheduler;
const std::function<void()> *body;
uint64_t order_state;

void fiber_main();

#if defined(__x86_64__)
// swapcontext asks the kernel for the signal mask each time; this saves what a call must keep, and no
// more: 100 times as fast.
extern "C" void emulated_switch(void **save, void *load);
__asm__(".text\n"
        ".type emulated_switch, @function\n"
        "emulated_switch:\n"
        "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "movq %rsp, (%rdi)\n"
        "movq %rsi, %rsp\n"
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n"
        "ret\n");

void switch_between(fiber *from, fiber *to) {
    emulated_switch(&from->stack_pointer, to->stack_pointer);
}

void prepare(fiber *f) {
    uintptr_t top = ((uintptr_t)f->stack.data() + f->stack.size()) / 16 * 16;
    void **at = (void **)(top - 64);  // six registers, where to return to, and a slot below a caller
    memset(at, 0, 64);
    at[6] = (void *)fiber_main;
    f->stack_pointer = at;
}
#else
void switch_between(fiber *from, fiber *to) { swapcontext(&from->context, &to->context); }

void prepare(fiber *f) {
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack.data();
    f->context.uc_stack.ss_size = f->stack.size();
    f->context.uc_link = NULL;
    makecontext(&f->context, fiber_main, 0);
}
#endif

void wait_at(state where) {
    current->at = where;
    switch_between(current, &scheduler);
}

void fiber_main() {
    (*body)();
    wait_at(DONE);
    broken("a thread went on after its end");
}

void resume(fiber *f) {
    current = f;
    threadIdx = dim3(f->thread);
    switch_between(&scheduler, f);
}

size_t count(size_t first, size_t n, state at) {
    return (size_t)std::count_if(fibers.begin() + (long)first, fibers.begin() + (long)(first + n),
                                 [at](const fiber *f) { return f->at == at; });
}

void release(size_t first, size_t n) {
    for (size_t i = first; i < first + n; i++) fibers[i]->at = READY;
}

// Let whoever may go on go on. Returns false when all are done.
bool meet(size_t n) {
    bool is_moving = false;
    for (size_t first = 0; first < n; first += WARP) {
        if (count(first, WARP, AT_WARP) == WARP) {
            release(first, WARP);
            is_moving = true;
        }
    }
    if (count(0, n, AT_BLOCK) == n) {
        release(0, n);
        is_moving = true;
    }
    if (count(0, n, DONE) == n) return false;
    if (!is_moving) broken("some threads wait where the others never come");
    return true;
}

uint64_t draw() {  // SplitMix64
    uint64_t z = order_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    return z ^ z >> 27;
}

void run_block(size_t n, size_t shared_size) {
    shared.assign(shared_size / sizeof(float) + 64, NAN);
    while (fibers.size() < n) {
        fibers.push_back(new fiber());
        fibers.back()->stack.resize(STACK_SIZE);
    }
    std::vector<fiber *> order(fibers.begin(), fibers.begin() + (long)n);
    for (size_t i = 0; i < n; i++) {
        prepare(fibers[i]);
        fibers[i]->at = READY;
        fibers[i]->thread = (unsigned)i;
        fibers[i]->n_shuffles = 0;
    }
    do {
        for (size_t i = n; order_state != 0 && i > 1; i--) std::swap(order[i - 1], order[draw() % i]);
        for (fiber *f : order) {
            if (f->at == READY) resume(f);
        }
    } while (meet(n));
}

}  // namespace

float *emulated_shared() {
    uintptr_t at = (uintptr_t)shared.data();
    return (float *)((at + 127) / 128 * 128);
}

void __syncthreads() { wait_at(AT_BLOCK); }

// Two slots a lane: a lane that runs ahead to its next shuffle must not overwrite what others still read.
float __shfl_xor_sync(unsigned mask, float x, int lanes) {
    if (mask != ~0u) broken("a shuffle of part of a warp");
    fiber *me = current;
    unsigned slot = me->n_shuffles++ % 2;
    me->shuffled[slot] = x;
    wait_at(AT_WARP);
    fiber *other = fibers[me->thread ^ (unsigned)lanes];
    if (other->n_shuffles < me->n_shuffles) broken("a shuffle that a lane did not take part in");
    return other->shuffled[slot];
}

void nvcuda::wmma::emulated_check_piece(const void *at, unsigned stride_size) {
    if ((uintptr_t)at % 32 != 0 || stride_size % 16 != 0) broken("a matrix piece is not aligned");
}

// ---- the device

struct emulated_graph {
    std::vector<std::function<cudaError_t()>> nodes;
};
struct emulated_stream {
    emulated_graph *capturing;
};
struct emulated_event {
    double ms;
};

namespace {

std::mutex device_mutex;
std::map<void *, size_t> allocated;
std::map<const void *, int> shared_allowed;
size_t n_allocated;
long n_launched, n_asked;
bool is_dead;

cudaError_t here(cudaError_t err = cudaSuccess) { return is_dead ? cudaErrorLaunchFailure : err; }

cudaError_t submit(cudaStream_t stream, std::function<cudaError_t()> work) {
    if (!stream->capturing) return is_dead ? cudaErrorLaunchFailure : work();
    stream->capturing->nodes.push_back(work);
    return cudaSuccess;
}

cudaError_t run(const cudaLaunchConfig_t &config, const std::function<void()> &kernel) {
    std::lock_guard<std::mutex> lock(device_mutex);
    long dies = asked("dies", 0);
    n_launched++;
    is_dead = is_dead || (dies > 0 && n_launched > dies);
    if (is_dead) return cudaErrorLaunchFailure;
    body = &kernel;
    gridDim = config.gridDim;
    blockDim = config.blockDim;
    order_state = (uint64_t)asked("seed", 0);
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; blockIdx.z++) {
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++) {
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) {
                run_block(blockDim.x, config.dynamicSmemBytes);
            }
        }
    }
    return cudaSuccess;
}

}  // namespace

cudaError_t emulated_launch(const cudaLaunchConfig_t &config, const void *kernel,
                            std::function<void()> work) {
    const dim3 grid = config.gridDim;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || config.blockDim.x % WARP != 0) {
        return cudaErrorInvalidConfiguration;
    }
    if (config.numAttrs > 0 && asked("code", 90) < 90) broken("overlaps, and does not wait");
    if (config.dynamicSmemBytes > SHARED_FREE &&
        (long)config.dynamicSmemBytes > shared_allowed[kernel]) {
        return cudaErrorInvalidValue;
    }
    return submit(config.stream, [config, work]() { return run(config, work); });
}

const char *cudaGetErrorString(cudaError_t err) {
    return err == cudaErrorLaunchFailure ? "unspecified launch failure" : "an emulated error";
}
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaDriverGetVersion(int *version) {
    *version = (int)asked("driver", 13000);
    is_dead = false;  // a model that is opened asks first: the machine was started again
    n_launched = n_asked = 0;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int *n) {
    *n = (int)asked("gpus", 1);
    return *n > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int) {
    memset(prop, 0, sizeof *prop);
    long capability = asked("capability", 90);
    snprintf(prop->name, sizeof prop->name, "emulated GPU");
    prop->major = (int)capability / 10;
    prop->minor = (int)capability % 10;
    prop->multiProcessorCount = 4;
    prop->l2CacheSize = 1 << 20;
    prop->totalGlobalMem = (size_t)asked("memory", 4096) << 20;
    prop->sharedMemPerBlockOptin = SHARED_MAX;
    return here();
}
cudaError_t cudaSetDevice(int) { return here(); }
cudaError_t cudaDeviceSynchronize() { return here(); }

// What others take shows from the second question on: they took it in between.
static size_t free_now(bool is_first) {
    const size_t used = n_allocated + (is_first ? 0 : (size_t)asked("taken", 0) << 20);
    const size_t total = (size_t)asked("memory", 4096) << 20;
    return total > used ? total - used : 0;
}
cudaError_t cudaMemGetInfo(size_t *free_size, size_t *total) {
    *total = (size_t)asked("memory", 4096) << 20;
    *free_size = free_now(n_asked++ == 0);
    return here();
}

cudaError_t cudaMalloc(void **at, size_t size) {
    *at = NULL;
    if (is_dead) return cudaErrorLaunchFailure;
    if (size > free_now(false) || !(*at = aligned_alloc(256, (size + 255) / 256 * 256))) {
        return cudaErrorMemoryAllocation;
    }
    memset(*at, 0xff, size);
    std::lock_guard<std::mutex> lock(device_mutex);
    allocated[*at] = size;
    n_allocated += size;
    return cudaSuccess;
}
cudaError_t cudaFree(void *at) {
    std::lock_guard<std::mutex> lock(device_mutex);
    auto found = allocated.find(at);
    if (found != allocated.end()) {
        n_allocated -= found->second;
        allocated.erase(found);
        free(at);
    }
    return here();
}
cudaError_t cudaHostAlloc(void **at, size_t size, unsigned) {
    *at = asked("pinned", 1) ? aligned_alloc(256, (size + 255) / 256 * 256) : NULL;
    if (*at) memset(*at, 0xff, size);
    return *at ? here() : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void *at) {
    free(at);
    return here();
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t size, cudaMemcpyKind) {
    if (!is_dead) memcpy(to, from, size);
    return here();
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, cudaMemcpyKind,
                            cudaStream_t stream) {
    return submit(stream, [=]() {
        memcpy(to, from, size);
        return cudaSuccess;
    });
}
cudaError_t cudaMemsetAsync(void *at, int byte, size_t size, cudaStream_t stream) {
    return submit(stream, [=]() {
        memset(at, byte, size);
        return cudaSuccess;
    });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    *stream = new emulated_stream();
    return here();
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    delete stream;
    return here();
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return here(); }
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    stream->capturing = new emulated_graph();
    return here();
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    *graph = stream->capturing;
    stream->capturing = NULL;
    return here();
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
    *exec = new emulated_graph(*graph);
    return here();
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    for (const auto &node : exec->nodes) {
        cudaError_t err = submit(stream, node);
        if (err != cudaSuccess) return err;
    }
    return here();
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return here();
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete exec;
    return here();
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
    *event = new emulated_event();
    return here();
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->ms = 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
    return here();
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begun, cudaEvent_t ended) {
    *ms = (float)(ended->ms - begun->ms);
    return here();
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return here();
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *about, const void *) {
    about->ptxVersion = about->binaryVersion = (int)asked("code", 90);
    return here(about->ptxVersion > 0 ? cudaSuccess : cudaErrorNoKernelImageForDevice);
}
cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute, int value) {
    if (value > SHARED_MAX) return cudaErrorInvalidValue;
    shared_allowed[kernel] = value;
    return here();
}
