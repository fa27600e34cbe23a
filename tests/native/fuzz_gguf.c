// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes as a model file. Twice: the header reader on a heap copy of exactly
// that size, so that one byte too far is seen; and a whole open, from memory, with the kernels that
// the file's last byte picks, then a few rows forward: a file that passes the checks must run too,
// whatever its weights are.
#define _GNU_SOURCE
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { N_ROWS = 5, WORK_MAX = 1 << 26, STATE_MAX = 1 << 22 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool binds(const uint8_t *bytes, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    parrot_model model = {0};
    parrot_fault fault = {0};
    if (!copy) return false;
    memcpy(copy, bytes, size);
    int err = pt_gguf_bind(&model, copy, size, "fuzz.gguf", &fault);
    if (err && (fault.code != err || fault.text[0] == '\0')) abort();  // an error without words
    free(model.layers);
    free(copy);
    return err == PARROT_OK;
}

static void live(const parrot_model *model) {
    const parrot_shape *shape = parrot_model_shape(model);
    size_t n_state = parrot_state_len(shape), work_size = parrot_work_size(model, N_ROWS);
    if (n_state == 0 || parrot_model_bytes_per_token(model) == 0) abort();
    if (work_size > WORK_MAX || n_state > STATE_MAX) return;  // fine, but slow to fuzz
    float *payload = calloc(2 * n_state, sizeof *payload);
    float *logits = calloc((size_t)N_ROWS * shape->n_vocab, sizeof *logits);
    void *work = aligned_alloc(64, (work_size + 63) / 64 * 64);
    if (payload && logits && work) {
        parrot_row rows[N_ROWS];
        for (int i = 0; i < N_ROWS; i++) {
            rows[i] = (parrot_row){i % (int32_t)shape->n_vocab, payload + (i > 2 ? n_state : 0)};
        }
        for (size_t n = N_ROWS; n >= 1; n -= 4) {
            if (parrot_forward(model, work, work_size, rows, n, PARROT_LOGITS_ALL, logits, NULL,
                               NULL)) {
                abort();
            }
            if (n == 1) break;
        }
    }
    free(work);
    free(logits);
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (!binds(bytes, size)) return 0;
    size_t n_cpus = 0;
    while (parrot_cpu_name(n_cpus)) n_cpus++;
    unsigned pick = bytes[size - 1];
    parrot_options options = {1, pick & 1 ? PARROT_MAPPED : 0, parrot_cpu_name(pick / 2 % n_cpus)};
    char path[64];
    int fd = memfd_create("fuzz.gguf", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    parrot_model *model;
    if (parrot_model_open(&model, path, &options, NULL) != PARROT_OK) abort();
    live(model);
    parrot_model_close(model);
    close(fd);
    return 0;
}
