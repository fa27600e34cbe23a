// SPDX-License-Identifier: Apache-2.0
// greedy MODEL TEXT N: hear TEXT, a turn in control bytes, then say the N likeliest bytes, raw, on
// standard output. Which kernels did it, and how long it took, goes to standard error.
#include "parrot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static parrot_model *model;
static void *work;
static size_t work_size;
static float *payload, *logits;

// Live one byte; return the likeliest next one, the smallest of equals, or -1.
static int live(int token) {
    parrot_row row = {token, payload};
    if (parrot_forward(model, work, work_size, &row, 1, PARROT_LOGITS_ENDS, logits, NULL, NULL)) {
        return -1;
    }
    int best = 0;
    for (int i = 1; i < 256; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return best;
}

int main(int argc, char **argv) {
    parrot_fault fault = {0};
    parrot_options options = {1, 0, NULL};
    if (argc != 4 || parrot_model_open(&model, argv[1], &options, &fault) != PARROT_OK) {
        fprintf(stderr, "greedy: %s\n", argc != 4 ? "MODEL TEXT N" : fault.text);
        return 1;
    }
    const parrot_shape *shape = parrot_model_shape(model);
    work_size = (parrot_work_size(model, 1) + 63) / 64 * 64;
    work = aligned_alloc(64, work_size);
    payload = calloc(parrot_state_len(shape), sizeof *payload);
    logits = calloc(shape->n_vocab, sizeof *logits);
    if (!work || !payload || !logits || shape->n_vocab != 256) return 1;
    clock_t begun = clock();
    live(0x00);
    live(0x02);
    for (const char *c = argv[2]; *c; c++) live((unsigned char)*c);
    live(0x03);
    int next = live(0x06);
    for (int i = 0; i < atoi(argv[3]); i++) {
        if (next < 0) return 1;
        putchar(next);
        next = live(next);
    }
    fprintf(stderr, "greedy: %s kernels, %.1f s\n", parrot_model_cpu(model),
            (double)(clock() - begun) / CLOCKS_PER_SEC);
    free(logits);
    free(payload);
    free(work);
    parrot_model_close(model);
    return 0;
}
