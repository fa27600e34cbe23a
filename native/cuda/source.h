// SPDX-License-Identifier: Apache-2.0
// A model file as the CUDA library sees it: flat lists of matrices and vectors, still in the mapped
// file, and the arithmetic that lays a matrix out for the device. Plain C, so that a CPU runs and tests
// all of it; native/src reads and checks the file.
#ifndef PT_SOURCE_H
#define PT_SOURCE_H

#include "parrot.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PT_SOURCE_F32 = 0, PT_SOURCE_F16 = 1, PT_SOURCE_Q8 = 8 };  // GGUF's numbers
enum { PT_PAD = 32 };  // rows are padded to this many weights with zeros: every load is whole

typedef struct pt_source_matrix {
    int type;
    uint32_t n_out, n_in;
    const uint8_t *mapped;
} pt_source_matrix;

enum pt_layer_matrix {
    PT_RECEPTANCE, PT_KEY, PT_VALUE, PT_OUTPUT, PT_FFN_KEY, PT_FFN_VALUE,
    PT_W1, PT_W2, PT_A1, PT_A2, PT_V1, PT_V2, PT_G1, PT_G2, PT_LAYER_MATRICES
};
enum pt_layer_vector {
    PT_LN1_WEIGHT, PT_LN1_BIAS, PT_LN2_WEIGHT, PT_LN2_BIAS, PT_W0, PT_A0, PT_V0, PT_K_K, PT_K_A,
    PT_R_K, PT_LN_X_WEIGHT, PT_LN_X_BIAS, PT_FFN_X_K, PT_LERP /* (6, C) */, PT_LAYER_VECTORS
};
enum pt_model_vector {
    PT_LN0_WEIGHT, PT_LN0_BIAS, PT_LN_OUT_WEIGHT, PT_LN_OUT_BIAS, PT_MODEL_VECTORS
};

typedef struct pt_source {
    parrot_model *model;  // owned; opened mapped, on one thread
    const parrot_shape *shape;
    pt_source_matrix embedding, head;
    const float *vectors[PT_MODEL_VECTORS];
} pt_source;

int pt_source_open(pt_source *source, const char *path, parrot_fault *fault);
void pt_source_close(pt_source *source);
pt_source_matrix pt_source_layer_matrix(const pt_source *source, uint32_t layer,
                                        enum pt_layer_matrix which);
const float *pt_source_layer_vector(const pt_source *source, uint32_t layer,
                                    enum pt_layer_vector which);
// Fill `fault` (may be NULL) with that sentence and return `code`.
int pt_source_fail(parrot_fault *fault, int code, const char *text);

// ---- the device's layout: rows of n_pad weights, one after another. F32 and F16 as they are; Q8_0 as
// bytes 128 + q, and the f16 scales apart: (n_out, n_pad / 32), behind the rows.

static inline size_t pt_padded(size_t n_in) { return (n_in + PT_PAD - 1) / PT_PAD * PT_PAD; }
size_t pt_device_rows_size(const pt_source_matrix *m);    // bytes of all rows
size_t pt_device_matrix_size(const pt_source_matrix *m);  // and of the scales
void pt_device_pack(const pt_source_matrix *m, uint8_t *packed);

#ifdef __cplusplus
}
#endif
#endif
