// SPDX-License-Identifier: Apache-2.0
// count_bytes MODEL KERNELS N: live N bytes on one thread, and nothing else, for instructions.sh.
#include "parrot.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    parrot_fault fault = {0};
    parrot_model *model = NULL;
    parrot_options options = {1, 0, argc > 3 ? argv[2] : NULL};
    if (argc != 4 || parrot_model_open(&model, argv[1], &options, &fault) != PARROT_OK) {
        fprintf(stderr, "count_bytes: %s\n", argc != 4 ? "MODEL KERNELS N" : fault.text);
        return 1;
    }
    const parrot_shape *shape = parrot_model_shape(model);
    size_t size = parrot_work_size(model, 1);
    void *work = aligned_alloc(64, (size + 63) / 64 * 64);
    float *payload = calloc(parrot_state_len(shape), sizeof *payload);
    float *logits = calloc(shape->n_vocab, sizeof *logits);
    if (!work || !payload || !logits) return 1;
    for (int i = 0; i < atoi(argv[3]); i++) {
        parrot_row row = {i * 37 % 256, payload};
        if (parrot_forward(model, work, size, &row, 1, PARROT_LOGITS_ENDS, logits, NULL, NULL)) {
            return 1;
        }
    }
    free(logits);
    free(payload);
    free(work);
    parrot_model_close(model);
    return 0;
}
