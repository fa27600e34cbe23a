// SPDX-License-Identifier: Apache-2.0
// Low-rank updates beside a model's matrices: y += B (A x), in F32.
//
// A model with updates is a twin: it borrows the weights and threads of the model it was made from
// and owns only its layers' descriptions and the updates, so making one costs no more than copying
// them. A and B are matrices like any other, so every kernel set and any grouping of rows gives the
// same bits (INV-8). Each thread computes A x for itself: it is small, and a barrier costs more.
#include "internal.h"

#include <stdlib.h>

enum { LORA_ROWS = 8 };  // done together, so that A x fits the stack

struct pt_lora {
    const pt_matrix *of;  // in the twin's layers
    pt_matrix a, b;
};

void pt_lora_add(const parrot_model *model, const pt_matrix *m, size_t first, size_t last,
                 const float *x, size_t n_rows, float *y, size_t y_stride) {
    const pt_lora *lora = model->updates, *end = lora + model->n_updates;
    while (lora < end && lora->of != m) lora++;
    if (lora == end) return;
    const pt_kernels *kernels = model->kernels;
    float down[LORA_ROWS * PARROT_LORA_RANK_MAX];
    const size_t n_in = lora->a.n_in, rank = lora->a.n_out;
    for (size_t t = 0; t < n_rows; t += LORA_ROWS) {
        size_t n = n_rows - t < LORA_ROWS ? n_rows - t : LORA_ROWS;
        // The kernels only read an operand; pt_operand has no const twin.
        pt_operand wide = {.f = (float *)(uintptr_t)(x + t * n_in)}, narrow = {.f = down};
        kernels->matmul(&lora->a, 0, pt_groups(&lora->a), &wide, n, down, rank, false);
        kernels->matmul(&lora->b, first, last, &narrow, n, y + t * y_stride, y_stride, true);
    }
}

static pt_matrix *matrix_of(pt_layer *l, uint32_t which) {
    pt_matrix *of_layer[] = {&l->receptance, &l->key,     &l->value,
                             &l->output,     &l->ffn_key, &l->ffn_value};
    return which < sizeof of_layer / sizeof *of_layer ? of_layer[which] : NULL;
}

static size_t rounded(size_t size) { return (size + 63) / 64 * 64; }

static pt_matrix plain(const float *values, uint32_t n_out, uint32_t n_in) {
    return (pt_matrix){.type = PT_F32, .n_out = n_out, .n_in = n_in, .mapped = (const void *)values};
}

static bool fits(const parrot_model *model, const parrot_lora *updates, size_t i) {
    const parrot_lora *u = &updates[i];
    for (size_t j = 0; j < i; j++) {
        if (updates[j].layer == u->layer && updates[j].matrix == u->matrix) return false;
    }
    return u->layer < model->shape.n_layer && u->rank >= 1 && u->rank <= PARROT_LORA_RANK_MAX &&
           !model->updates && matrix_of(&model->layers[u->layer], u->matrix);
}

// Check the updates and add up what their packed copies need; 0 if one does not fit the model.
static size_t memory_of(const parrot_model *model, const parrot_lora *updates, size_t n) {
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        if (!fits(model, updates, i)) return 0;
        const parrot_lora *u = &updates[i];
        const pt_matrix *m = matrix_of(&model->layers[u->layer], u->matrix);
        pt_matrix a = plain(u->a, u->rank, m->n_in), b = plain(u->b, m->n_out, u->rank);
        size += rounded(pt_matrix_packed_size(&a)) + rounded(pt_matrix_packed_size(&b));
    }
    return size;
}

// Repack `values` at *at, and move *at behind it.
static pt_matrix packed(const pt_kernels *kernels, pt_matrix values, uint8_t **at) {
    if (kernels->pack(&values, *at)) values.packed = *at;
    values.mapped = NULL;  // the caller's, borrowed only until now
    *at += rounded(pt_matrix_packed_size(&values));
    return values;
}

int parrot_model_adapt(parrot_model **out, const parrot_model *model, const parrot_lora *updates,
                       size_t n, parrot_fault *fault) {
    *out = NULL;
    size_t size = memory_of(model, updates, n);
    if (size == 0) {
        return pt_fail(fault, PARROT_E_ARG, -1,
                       "lora: an update does not fit this model; train it on this model.");
    }
    size_t n_layer = model->shape.n_layer, head = rounded(n * sizeof(pt_lora));
    parrot_model *twin = malloc(sizeof *twin);
    pt_layer *layers = malloc(n_layer * sizeof *layers);
    pt_lora *owned = aligned_alloc(64, head + size);
    if (!twin || !layers || !owned) {
        free(twin);
        free(layers);
        free(owned);
        return pt_fail(fault, PARROT_E_NOMEM, -1, "lora: no memory for it; close programs.");
    }
    *twin = *model;
    memcpy(layers, model->layers, n_layer * sizeof *layers);
    twin->layers = layers;
    twin->updates = owned;
    twin->n_updates = n;
    uint8_t *at = (uint8_t *)owned + head;
    for (size_t i = 0; i < n; i++) {
        const pt_matrix *m = matrix_of(&layers[updates[i].layer], updates[i].matrix);
        const parrot_lora *u = &updates[i];
        owned[i].a = packed(model->kernels, plain(u->a, u->rank, m->n_in), &at);
        owned[i].b = packed(model->kernels, plain(u->b, m->n_out, u->rank), &at);
        owned[i].of = m;
    }
    *out = twin;
    return PARROT_OK;
}
