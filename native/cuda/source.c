// SPDX-License-Identifier: Apache-2.0
// See source.h. The one file of the CUDA library that knows the structs of native/src.
#include "source.h"

#include "internal.h"

int pt_source_open(pt_source *source, const char *path, parrot_fault *fault) {
    static const parrot_options options = {1, PARROT_MAPPED, "scalar"};
    memset(source, 0, sizeof *source);
    int err = parrot_model_open(&source->model, path, &options, fault);
    if (err) return err;
    const parrot_model *m = source->model;
    source->shape = &m->shape;
    const pt_matrix *both[2] = {&m->embedding, &m->head};
    pt_source_matrix *to[2] = {&source->embedding, &source->head};
    for (int i = 0; i < 2; i++) {
        *to[i] = (pt_source_matrix){(int)both[i]->type, both[i]->n_out, both[i]->n_in,
                                    both[i]->mapped};
    }
    source->vectors[PT_LN0_WEIGHT] = m->ln0_weight;
    source->vectors[PT_LN0_BIAS] = m->ln0_bias;
    source->vectors[PT_LN_OUT_WEIGHT] = m->ln_out_weight;
    source->vectors[PT_LN_OUT_BIAS] = m->ln_out_bias;
    return PARROT_OK;
}

void pt_source_close(pt_source *source) {
    parrot_model_close(source->model);
    source->model = NULL;
}

pt_source_matrix pt_source_layer_matrix(const pt_source *source, uint32_t layer,
                                        enum pt_layer_matrix which) {
    const pt_layer *l = &source->model->layers[layer];
    const pt_matrix *all[PT_LAYER_MATRICES] = {
        [PT_RECEPTANCE] = &l->receptance, [PT_KEY] = &l->key,         [PT_VALUE] = &l->value,
        [PT_OUTPUT] = &l->output,         [PT_FFN_KEY] = &l->ffn_key, [PT_FFN_VALUE] = &l->ffn_value,
        [PT_W1] = &l->w1, [PT_W2] = &l->w2, [PT_A1] = &l->a1, [PT_A2] = &l->a2,
        [PT_V1] = &l->v1, [PT_V2] = &l->v2, [PT_G1] = &l->g1, [PT_G2] = &l->g2};
    const pt_matrix *m = all[which];
    return (pt_source_matrix){(int)m->type, m->n_out, m->n_in, m->mapped};
}

const float *pt_source_layer_vector(const pt_source *source, uint32_t layer,
                                    enum pt_layer_vector which) {
    const pt_layer *l = &source->model->layers[layer];
    const float *const all[PT_LAYER_VECTORS] = {
        [PT_LN1_WEIGHT] = l->ln1_weight,   [PT_LN1_BIAS] = l->ln1_bias,
        [PT_LN2_WEIGHT] = l->ln2_weight,   [PT_LN2_BIAS] = l->ln2_bias,
        [PT_W0] = l->w0, [PT_A0] = l->a0,  [PT_V0] = l->v0,
        [PT_K_K] = l->k_k, [PT_K_A] = l->k_a, [PT_R_K] = l->r_k,
        [PT_LN_X_WEIGHT] = l->ln_x_weight, [PT_LN_X_BIAS] = l->ln_x_bias,
        [PT_FFN_X_K] = l->ffn_x_k,         [PT_LERP] = l->lerp};
    return all[which];
}

int pt_source_fail(parrot_fault *fault, int code, const char *text) {
    return pt_fail(fault, code, -1, "%s", text);
}

static size_t weight_size(int type) {
    return type == PT_SOURCE_F32 ? 4 : type == PT_SOURCE_F16 ? 2 : 1;
}

size_t pt_device_rows_size(const pt_source_matrix *m) {
    return (size_t)m->n_out * pt_padded(m->n_in) * weight_size(m->type);
}

size_t pt_device_matrix_size(const pt_source_matrix *m) {
    size_t scales = m->type == PT_SOURCE_Q8 ? (size_t)m->n_out * (pt_padded(m->n_in) / PT_BLOCK) * 2
                                            : 0;
    return pt_device_rows_size(m) + scales;
}

void pt_device_pack(const pt_source_matrix *m, uint8_t *packed) {
    size_t n_pad = pt_padded(m->n_in), size = weight_size(m->type);
    if (m->type != PT_SOURCE_Q8) {
        for (size_t o = 0; o < m->n_out; o++) {
            uint8_t *row = packed + o * n_pad * size;
            memcpy(row, m->mapped + o * m->n_in * size, m->n_in * size);
            memset(row + m->n_in * size, 0, (n_pad - m->n_in) * size);
        }
        return;
    }
    size_t n_blocks = m->n_in / PT_BLOCK;  // rows of Q8_0 are whole blocks, so nothing is padded
    uint8_t *scale = packed + pt_device_rows_size(m);
    const uint8_t *from = m->mapped;
    for (size_t b = 0; b < (size_t)m->n_out * n_blocks; b++, from += PT_BLOCK_SIZE, scale += 2) {
        memcpy(scale, from, 2);
        for (size_t i = 0; i < PT_BLOCK; i++) {
            packed[b * PT_BLOCK + i] = (uint8_t)(from[2 + i] ^ 0x80);
        }
    }
}
