// SPDX-License-Identifier: Apache-2.0
// A model file, read (or mapped) and bound; its matrices repacked once for the CPU at hand; its threads.
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const error_names[] = {"ok",       "argument", "input/output", "format",
                                          "version",  "corrupt",  "mismatch",     "buffer too small",
                                          "no memory", "device",  "aborted"};

const char *parrot_error_name(int code) {
    const int n = sizeof error_names / sizeof *error_names;
    return code <= 0 && code > -n ? error_names[-code] : "unknown";
}

// ---- kernels

#if defined(__x86_64__)
#include <cpuid.h>
typedef struct features {
    bool avx2, avx512;
} features;

static bool has_all(unsigned seen, unsigned wanted) { return (seen & wanted) == wanted; }

// Asked of the CPU itself: __builtin_cpu_supports reads what the compiler's own library has found
// out, and in what zig builds that stays empty. XCR0 says which registers the system saves.
// Source: Intel SDM volume 1, sections 14.3 and 15.2 to 15.4.
static features find_features(void) {
    enum { XCR0_AVX = 0x6, XCR0_AVX512 = 0xe6 };
    features has = {false, false};
    unsigned a, b = 0, c = 0, d, saved, saved_high;
    bool is_asked = __get_cpuid(1, &a, &b, &c, &d);
    if (!is_asked || !has_all(c, (unsigned)bit_OSXSAVE | (unsigned)bit_F16C)) return has;
    __asm__("xgetbv" : "=a"(saved), "=d"(saved_high) : "c"(0));
    (void)saved_high;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return has;
    has.avx2 = has_all(saved, XCR0_AVX) && has_all(b, (unsigned)bit_AVX2);
    has.avx512 = has.avx2 && has_all(saved, XCR0_AVX512) && has_all(c, (unsigned)bit_AVX512VNNI) &&
                 has_all(b, (unsigned)bit_AVX512F | (unsigned)bit_AVX512BW | (unsigned)bit_AVX512VL);
    return has;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>
static bool has_dotprod(void) { return (getauxval(AT_HWCAP) & (1ul << 20)) != 0; }  // ASIMDDP
static bool has_i8mm(void) { return (getauxval(AT_HWCAP2) & (1ul << 13)) != 0; }
#endif

static const pt_kernels *kernels_at(size_t i) {
    const pt_kernels *found[5];
    size_t n = 0;
#if defined(__x86_64__)
    features has = find_features();
    if (has.avx512) found[n++] = &pt_kernels_avx512;
    if (has.avx2) found[n++] = &pt_kernels_avx2;
#elif defined(__aarch64__)
    if (has_i8mm()) found[n++] = &pt_kernels_i8mm;
    if (has_dotprod()) found[n++] = &pt_kernels_dotprod;
    found[n++] = &pt_kernels_neon;
#endif
    found[n++] = &pt_kernels_scalar;
    return i < n ? found[i] : NULL;
}

const char *parrot_cpu_name(size_t i) {
    const pt_kernels *kernels = kernels_at(i);
    return kernels ? kernels->name : NULL;
}

const pt_kernels *pt_kernels_find(const char *name) {
    if (!name) return kernels_at(0);
    const pt_kernels *kernels;
    for (size_t i = 0; (kernels = kernels_at(i)) != NULL; i++) {
        if (strcmp(kernels->name, name) == 0) return kernels;
    }
    return NULL;
}

// ---- repacking

size_t pt_matrix_packed_size(const pt_matrix *m) {
    size_t n = pt_groups(m) * PT_GROUP * m->n_in;
    if (m->type == PT_Q8_0) return n / PT_BLOCK * PT_BLOCK_SIZE;
    return m->type == PT_F16 ? n * 2 : n * 4;
}

size_t pt_matrix_size(const pt_matrix *m) {
    size_t n = (size_t)m->n_out * m->n_in;
    if (m->type == PT_Q8_0) return n / PT_BLOCK * PT_BLOCK_SIZE;
    return m->type == PT_F16 ? n * 2 : n * 4;
}

// `n_cols` is a constant at every call, so that the copies become single moves.
static inline void pack_group(const pt_matrix *m, size_t g, size_t n_cols, uint8_t *packed) {
    size_t n_blocks = m->n_in / PT_BLOCK, row_size = n_blocks * PT_BLOCK_SIZE;
    size_t n = m->n_out - g * PT_GROUP < PT_GROUP ? m->n_out - g * PT_GROUP : PT_GROUP;
    const uint8_t *rows = m->mapped + g * PT_GROUP * row_size;
    for (size_t b = 0; b < n_blocks; b++, packed += PT_GROUP_BLOCK, rows += PT_BLOCK_SIZE) {
        for (size_t i = 0; i < n; i++) memcpy(packed + 2 * i, rows + i * row_size, 2);
        for (size_t c = 0; c < PT_BLOCK; c += n_cols) {
            uint8_t *chunk = packed + 2 * PT_GROUP + c * PT_GROUP;
            for (size_t i = 0; i < n; i++) {
                memcpy(chunk + n_cols * i, rows + i * row_size + 2 + c, n_cols);
            }
        }
    }
}

void pt_pack_q8(const pt_matrix *m, size_t n_cols, uint8_t *packed) {
    size_t group_size = m->n_in / PT_BLOCK * PT_GROUP_BLOCK;
    if (m->n_out % PT_GROUP != 0) memset(packed, 0, pt_matrix_packed_size(m));  // rows past n_out
    for (size_t g = 0; g < pt_groups(m); g++) {
        uint8_t *to = packed + g * group_size;
        if (n_cols == 2) {
            pack_group(m, g, 2, to);
        } else if (n_cols == 4) {
            pack_group(m, g, 4, to);
        } else {
            pack_group(m, g, 8, to);
        }
    }
}

// Every matrix that a step multiplies, one after another; NULL past the last.
static pt_matrix *matrix_at(parrot_model *model, size_t i) {
    if (i == 0) return &model->head;
    pt_layer *l = (i - 1) / 14 < model->shape.n_layer ? &model->layers[(i - 1) / 14] : NULL;
    if (!l) return NULL;
    pt_matrix *of_layer[14] = {&l->receptance, &l->key, &l->value, &l->w1, &l->a1,
                               &l->v1,         &l->g1,  &l->w2,    &l->a2, &l->v2,
                               &l->g2,         &l->output, &l->ffn_key, &l->ffn_value};
    return of_layer[(i - 1) % 14];
}

static size_t packed_offset(size_t at) { return (at + 63) / 64 * 64; }

// Let the system have the whole pages of [from, from + size) back. They are not read again.
static void give_back(const uint8_t *from, size_t size) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)from + page - 1) / page * page;
    uintptr_t last = ((uintptr_t)from + size) / page * page;
    if (first < last) madvise((void *)first, last - first, MADV_DONTNEED);
}

typedef struct pack_job {
    parrot_model *model;
} pack_job;

static void pack_share(void *arg, uint32_t thread, uint32_t n_threads) {
    parrot_model *model = ((pack_job *)arg)->model;
    size_t at = 0;
    pt_matrix *m;
    for (size_t i = 0; (m = matrix_at(model, i)) != NULL; i++) {
        uint8_t *packed = model->packed + at;
        if (i % n_threads == thread) {
            if (model->kernels->pack(m, packed)) {
                m->packed = packed;
                give_back(m->mapped, pt_matrix_size(m));  // memory never holds the model twice
            }
        }
        at = packed_offset(at + pt_matrix_packed_size(m));
    }
}

// Interleave all matrices into one private mapping. Without the memory for it, the model computes
// from the file's bytes, slower; parrot_model_is_repacked tells.
static void repack(parrot_model *model) {
    size_t size = 0;
    pt_matrix *m;
    for (size_t i = 0; (m = matrix_at(model, i)) != NULL; i++) {
        size = packed_offset(size + pt_matrix_packed_size(m));
    }
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
#ifdef MADV_HUGEPAGE
    madvise(memory, size, MADV_HUGEPAGE);  // a hint: without it the pages are small
#endif
    model->packed = memory;
    model->packed_size = size;
    pack_job job = {model};
    pt_pool_run(model->pool, pack_share, &job);
}

// ---- open and close

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int cannot_be_read(const char *path, const char *why, parrot_fault *fault) {
    return pt_fail(fault, PARROT_E_IO, -1, "%s: cannot be read: %s; check the disk.", path, why);
}

// Fill `to` with the file's `size` bytes.
static int read_whole(int fd, uint8_t *to, size_t size, const char *path, parrot_fault *fault) {
    for (size_t at = 0; at < size;) {
        ssize_t n = pread(fd, to + at, size - at, (off_t)at);
        if (n < 0 && errno != EINTR) return cannot_be_read(path, strerror(errno), fault);
        if (n == 0) return cannot_be_read(path, "it was cut short meanwhile", fault);
        if (n > 0) at += (size_t)n;
    }
    return PARROT_OK;
}

// The file's bytes in memory of our own: someone who cuts a mapped file short ends every process
// that reads it there (SIGBUS), and what was checked stays as it was checked. The file is mapped if
// that is asked for, or if there is no such memory.
static int hold_file(parrot_model *model, int fd, bool is_mapped, const char *path,
                     parrot_fault *fault) {
    void *held = MAP_FAILED;
    if (!is_mapped) {
        held = mmap(NULL, model->file_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                    0);
    }
    bool is_ours = held != MAP_FAILED;
#ifdef MADV_HUGEPAGE
    if (is_ours) madvise(held, model->file_size, MADV_HUGEPAGE);  // fewer faults while it is filled
#endif
    if (!is_ours) held = mmap(NULL, model->file_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (held == MAP_FAILED) {
        return pt_fail(fault, PARROT_E_IO, -1, "%s: cannot be mapped: %s; free some memory.", path,
                       strerror(errno));
    }
    model->file = held;
    return is_ours ? read_whole(fd, held, model->file_size, path, fault) : PARROT_OK;
}

static int open_file(parrot_model *model, const char *path, bool is_mapped, parrot_fault *fault) {
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not hang us
    if (fd < 0) {
        return pt_fail(fault, PARROT_E_IO, -1, "%s: cannot be opened: %s; check the path.", path,
                       strerror(errno));
    }
    int err = PARROT_OK;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        err = pt_fail(fault, PARROT_E_IO, -1, "%s: not a regular file; pass a .gguf.", path);
    } else if (status.st_size == 0) {
        err = pt_fail(fault, PARROT_E_FORMAT, 0, "%s: 0 bytes, expected a GGUF file; copy it again.",
                      base_name(path));
    } else {
        model->file_size = (size_t)status.st_size;
        err = hold_file(model, fd, is_mapped, path, fault);
    }
    close(fd);
    return err;
}

static int start(parrot_model *model, const parrot_options *options, parrot_fault *fault) {
    pt_cores allowed = pt_cores_allowed(), big = pt_cores_big(&allowed, PT_CORES_ROOT);
    uint32_t n_big = pt_cores_count(&big), n_threads = options->n_threads;
    if (n_threads == 0) n_threads = n_big < 1 ? 1 : n_big > 8 ? 8 : n_big;  // more do not help
    if (n_threads > PT_THREADS_MAX) {
        return pt_fail(fault, PARROT_E_ARG, -1, "threads: %u, expected 1 to %d; ask for fewer.",
                       (unsigned)n_threads, PT_THREADS_MAX);
    }
    model->kernels = pt_kernels_find(options->cpu);
    if (!model->kernels) {
        return pt_fail(fault, PARROT_E_DEVICE, -1,
                       "PARROT_CPU: %s kernels cannot run on this CPU, the best here are %s; unset "
                       "it.",
                       options->cpu, parrot_cpu_name(0));
    }
    bool is_mixed = n_big < pt_cores_count(&allowed);
    model->pool = pt_pool_open(n_threads, is_mixed && n_threads <= n_big ? &big : NULL);
    if (!model->pool) {
        return pt_fail(fault, PARROT_E_NOMEM, -1,
                       "threads: %u could not be started; ask for fewer.", (unsigned)n_threads);
    }
    uint64_t id = pt_xxh64(model->file, model->file_size);
    for (int i = 0; i < 8; i++) model->id[i] = (uint8_t)(id >> (56 - 8 * i));
    bool is_mapped = (options->flags & PARROT_MAPPED) || model->kernels == &pt_kernels_scalar;
    if (!is_mapped) repack(model);
    return PARROT_OK;
}

int parrot_model_open(parrot_model **out, const char *path, const parrot_options *options,
                      parrot_fault *fault) {
    static const parrot_options defaults = {0, 0, NULL};
    *out = NULL;
    parrot_model *model = calloc(1, sizeof *model);
    if (!model) return pt_fail(fault, PARROT_E_NOMEM, -1, "%s: no memory; close programs.", path);
    if (!options) options = &defaults;
    int err = open_file(model, path, options->flags & PARROT_MAPPED, fault);
    if (!err) {
        err = pt_gguf_bind(model, model->file, model->file_size, base_name(path), fault);
    }
    if (!err) err = start(model, options, fault);
    if (err) {
        parrot_model_close(model);
        return err;
    }
    *out = model;
    return PARROT_OK;
}

void parrot_model_close(parrot_model *model) {
    if (!model) return;
    if (!model->updates) {  // a twin borrows these
        pt_pool_close(model->pool);
        if (model->packed) munmap(model->packed, model->packed_size);
        if (model->file) munmap((void *)(uintptr_t)model->file, model->file_size);
    }
    free(model->updates);
    free(model->layers);
    free(model);
}

// ---- what a model tells of itself

const parrot_shape *parrot_model_shape(const parrot_model *model) { return &model->shape; }
const uint8_t *parrot_model_id(const parrot_model *model) { return model->id; }
const char *parrot_model_cpu(const parrot_model *model) { return model->kernels->name; }
uint32_t parrot_model_threads(const parrot_model *model) { return pt_pool_threads(model->pool); }
int parrot_model_is_repacked(const parrot_model *model) { return model->packed != NULL; }

uint64_t parrot_model_bytes_per_token(const parrot_model *model) {
    const parrot_shape *s = &model->shape;
    uint64_t n = 0;
    const pt_matrix *m;
    for (size_t i = 0; (m = matrix_at((parrot_model *)(uintptr_t)model, i)) != NULL; i++) {
        n += pt_matrix_size(m);
    }
    const pt_layer *first = &model->layers[0];
    n -= pt_matrix_size(&first->v1) + pt_matrix_size(&first->v2);  // never read: no value residual
    n += pt_matrix_size(&model->embedding) / s->n_vocab;
    uint64_t vectors = 4 + (uint64_t)s->n_layer * 19;  // (C,) each: 4 norms of the model; a layer's
    return n + vectors * s->n_embd * sizeof(float);
}
