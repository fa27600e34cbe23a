// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes as a state file, for the model that PARROT_FUZZ_MODEL names. Once as
// they are, which mostly ends at the checksum; and once with checksum and model id put right, so that
// payloads of any floats are lived from.
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { AT_ID = 8, AT_CRC = 40 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static parrot_model *model;
static float *payload, *logits;
static void *work;
static size_t work_size;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    const char *path = getenv("PARROT_FUZZ_MODEL");
    parrot_options options = {1, 0, NULL};
    parrot_fault fault = {0};
    if (parrot_model_open(&model, path ? path : "(PARROT_FUZZ_MODEL is not set)", &options, &fault)) {
        fprintf(stderr, "%s\n", fault.text);
        exit(1);
    }
    const parrot_shape *shape = parrot_model_shape(model);
    work_size = parrot_work_size(model, 1);
    payload = malloc(parrot_state_len(shape) * sizeof *payload);
    logits = malloc(shape->n_vocab * sizeof *logits);
    work = aligned_alloc(64, (work_size + 63) / 64 * 64);
    if (!payload || !logits || !work) exit(1);
    return 0;
}

// Read `file`; if it is a state, live two tokens in it and choose a third.
static void try_file(const uint8_t *file, size_t size) {
    parrot_fault fault = {0};
    uint64_t position = 0;
    int err = parrot_state_read(model, file, size, payload, &position, &fault);
    if (err) {
        if (fault.code != err || fault.text[0] == '\0') abort();  // an error without words
        return;
    }
    uint8_t header[PARROT_STATE_HEADER_SIZE];
    parrot_state_header(model, payload, position, header);
    if (memcmp(header, file, sizeof header) != 0) abort();  // a state reads and writes back the same
    const parrot_shape *shape = parrot_model_shape(model);
    for (int32_t token = 0; token < 2; token++) {
        parrot_row row = {token, payload};
        if (parrot_forward(model, work, work_size, &row, 1, PARROT_LOGITS_ENDS, logits, NULL, NULL)) {
            abort();
        }
    }
    parrot_sampler sampler = {.rng_state = position, .recent_len = 4};
    parrot_sampling how = {0.8f, 0.9f, 0.01f, 1.1f, 5};
    int32_t *order = malloc(shape->n_vocab * sizeof *order);
    if (order && parrot_sample(&sampler, &how, 0, 1, NULL, 0, logits, shape->n_vocab, order) >=
                     (int32_t)shape->n_vocab) {
        abort();
    }
    free(order);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) return 0;
    memcpy(copy, bytes, size);
    try_file(copy, size);
    if (size >= PARROT_STATE_HEADER_SIZE) {
        uint8_t zeros[8] = {0};
        memcpy(copy + AT_ID, parrot_model_id(model), 8);
        uint32_t crc = pt_crc32(pt_crc32(0, copy, AT_CRC), zeros, sizeof zeros);
        crc = pt_crc32(crc, copy + PARROT_STATE_HEADER_SIZE, size - PARROT_STATE_HEADER_SIZE);
        for (int i = 0; i < 4; i++) copy[AT_CRC + i] = (uint8_t)(crc >> 8 * i);
        try_file(copy, size);
    }
    free(copy);
    return 0;
}
