// SPDX-License-Identifier: Apache-2.0
// The step: rows of tokens in, payloads advanced, logits out.
//
// One body serves decoding (one row), prefill (many rows of one life) and batches (one row of many
// lives): every product W x reads its weights once for up to PT_CHUNK rows, and the recurrence walks
// the rows in order. All threads run the same function and meet at barriers:
//
//     a layer    norm, shift, six mixes -> r k v and four LoRA downs | LoRA ups, wkv, read-out |
//                output += | norm, shift -> ffn key | ffn value +=            ( | is a barrier )
//
// With few rows each thread prepares the operands (norm, mixes, int16) for itself: that work is
// smaller than a barrier. With many rows the threads share it and meet once more.
//
// Equations and names: parrot/model/reference.py, which judges this file.
#include "internal.h"

enum { N_MIX = 6 };
enum mix { MIX_R, MIX_W, MIX_K, MIX_V, MIX_A, MIX_G };  // order of time_mix_lerp_fused

// Operands that one thread, or all together, prepare. Rows of the widths named.
typedef struct prepared {
    float *norm;             // (rows, C) layer-normed x
    pt_operand mix[N_MIX];   // (rows, C)
    pt_operand lora[4];      // (rows, rank): w a v g
    pt_operand wide;         // (rows, F)
} prepared;

typedef struct work {
    float *x, *r, *w, *k, *v, *a, *g, *v_first, *v_gate, *y;  // (rows, C)
    float *lora[4];                                           // (rows, rank)
    float *ffn;                                               // (rows, F)
    prepared shared, *own;                                    // own: one a thread
} work;

typedef struct call {
    const parrot_model *model;
    work *work;
    const parrot_row *rows;
    size_t n_rows;  // of this chunk
    enum parrot_logits which;
    float *logits;
    bool is_last;  // the chunk ends the call: its last row is an end
    size_t n_logits;
} call;

// ---- work area: one carve, run on a mere address to measure it

static void *carve(char **at, size_t size) {
    char *p = *at;
    *at += (size + 63) / 64 * 64;
    return p;
}

static void carve_operand(char **at, pt_operand *operand, size_t n_rows, size_t width) {
    operand->f = carve(at, n_rows * width * sizeof(float));
    operand->q = carve(at, n_rows * width * sizeof(int16_t));
    operand->scale = carve(at, n_rows * sizeof(float));
}

static void carve_prepared(char **at, prepared *p, const parrot_shape *s, size_t n_rows) {
    const size_t ranks[4] = {s->rank_w, s->rank_a, s->rank_v, s->rank_g};
    p->norm = carve(at, (n_rows + 1) * s->n_embd * sizeof(float));
    for (int i = 0; i < N_MIX; i++) carve_operand(at, &p->mix[i], n_rows, s->n_embd);
    for (int i = 0; i < 4; i++) carve_operand(at, &p->lora[i], n_rows, ranks[i]);
    carve_operand(at, &p->wide, n_rows, s->n_ffn);
}

static bool is_shared(size_t n_rows, uint32_t n_threads) {
    return n_threads > 1 && n_rows >= PT_SHARED_ROWS_MIN;
}

// `is_real` tells memory from a mere address, which is measured and never written to.
static char *carve_work(char *at, work *out, const parrot_model *model, size_t n_rows,
                        bool is_real) {
    const parrot_shape *s = &model->shape;
    const uint32_t n_threads = parrot_model_threads(model);
    prepared measured;
    const size_t ranks[4] = {s->rank_w, s->rank_a, s->rank_v, s->rank_g};
    size_t width = n_rows * s->n_embd * sizeof(float);
    float **wide[] = {&out->x, &out->r, &out->w,       &out->k,      &out->v,
                      &out->a, &out->g, &out->v_first, &out->v_gate, &out->y};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) *wide[i] = carve(&at, width);
    for (int i = 0; i < 4; i++) out->lora[i] = carve(&at, n_rows * ranks[i] * sizeof(float));
    out->ffn = carve(&at, n_rows * s->n_ffn * sizeof(float));
    carve_prepared(&at, &out->shared, s, n_rows);
    // Threads work alone on up to PT_SHARED_ROWS_MIN - 1 rows; thread 0 uses `shared`.
    size_t own = n_rows < PT_SHARED_ROWS_MIN ? n_rows : PT_SHARED_ROWS_MIN - 1;
    out->own = carve(&at, n_threads * sizeof *out->own);
    for (uint32_t t = 1; t < n_threads; t++) {
        carve_prepared(&at, is_real ? &out->own[t] : &measured, s, own);
    }
    return at;
}

size_t parrot_work_size(const parrot_model *model, size_t n_rows) {
    work measured;
    if (n_rows < 1) n_rows = 1;
    if (n_rows > PT_CHUNK) n_rows = PT_CHUNK;
    char *origin = (char *)64;  // never touched; not NULL, which has no arithmetic
    size_t head = (sizeof(work) + 63) / 64 * 64;
    return head + (size_t)(carve_work(origin, &measured, model, n_rows, false) - origin);
}

// ---- one chunk, seen by one thread

typedef struct view {
    const call *c;
    const parrot_model *model;
    const pt_kernels *kernels;
    work *w;
    prepared *p;
    uint32_t thread, n_threads;
    size_t C, N, H, row_first, row_last;  // the rows whose operands this thread prepares
} view;

static void meet(const view *v) { pt_pool_barrier(v->model->pool, v->n_threads); }

// After operands were prepared: only needed if the threads shared the rows.
static void meet_shared(const view *v) {
    if (is_shared(v->c->n_rows, v->n_threads)) meet(v);
}

static float *layer_payload(const view *v, size_t row, uint32_t layer) {
    return v->c->rows[row].payload + (size_t)layer * v->C * (2 + v->N);
}

static bool continues(const view *v, size_t row) {
    return row > 0 && v->c->rows[row].payload == v->c->rows[row - 1].payload;
}

static bool ends(const view *v, size_t row) {
    return row + 1 == v->c->n_rows || v->c->rows[row + 1].payload != v->c->rows[row].payload;
}

// Make the int16 rows too if a matrix of Q8_0 will read them.
static void finish_operand(const view *v, const pt_operand *x, size_t row, size_t width,
                           bool is_q8) {
    if (is_q8) {
        v->kernels->quantize(x->f + row * width, width, x->q + row * width, x->scale + row);
    }
}

// y[:, share of outputs] = or += W x.
static void product(const view *v, const pt_matrix *m, const pt_operand *x, float *y,
                    size_t y_stride, bool accumulate) {
    size_t first, last;
    pt_share(pt_groups(m), v->thread, v->n_threads, &first, &last);
    v->kernels->matmul(m, first, last, x, v->c->n_rows, y, y_stride, accumulate);
    if (v->model->updates) pt_lora_add(v->model, m, first, last, x->f, v->c->n_rows, y, y_stride);
}

// Layer-norm this thread's rows into p->norm, whose row 0 is the row before `row_first`: the shift
// of the first row needs it when another thread prepares that one.
static void norm_rows(const view *v, const float *weight, const float *bias) {
    size_t first = v->row_first;
    if (first < v->row_last && first > 0 && continues(v, first)) first--;
    for (size_t row = first; row < v->row_last; row++) {
        float *to = v->p->norm + (row + 1) * v->C;
        if (row < v->row_first) to = v->w->y + row * v->C;  // scratch: y is free in this phase
        v->kernels->layer_norm(v->w->x + row * v->C, weight, bias, v->C, to);
    }
}

// What the token shift looks back at: the row before, or what the payload kept.
static const float *previous(const view *v, size_t row, const float *shift) {
    if (!continues(v, row)) return shift;
    return row == v->row_first ? v->w->y + (row - 1) * v->C : v->p->norm + row * v->C;
}

static void prepare_time_mix(const view *v, const pt_layer *l, uint32_t layer) {
    const pt_matrix *readers[N_MIX] = {&l->receptance, &l->w1, &l->key, &l->value, &l->a1, &l->g1};
    norm_rows(v, l->ln1_weight, l->ln1_bias);
    for (size_t row = v->row_first; row < v->row_last; row++) {
        const float *norm = v->p->norm + (row + 1) * v->C;
        const float *prev = previous(v, row, layer_payload(v, row, layer));
        for (int i = 0; i < N_MIX; i++) {
            pt_operand *mix = &v->p->mix[i];
            v->kernels->lerp(norm, prev, l->lerp + (size_t)i * v->C, v->C, mix->f + row * v->C);
            bool is_q8 = readers[i]->type == PT_Q8_0 || (i == MIX_V && l->v1.type == PT_Q8_0);
            finish_operand(v, mix, row, v->C, is_q8);
        }
    }
}

// The shift can be overwritten only once every thread has read it: one phase later.
static void store_shift(const view *v, uint32_t layer, size_t offset) {
    for (size_t row = v->row_first; row < v->row_last; row++) {
        bool is_mine = is_shared(v->c->n_rows, v->n_threads) || v->thread == 0;
        if (is_mine && ends(v, row)) {
            memcpy(layer_payload(v, row, layer) + offset, v->p->norm + (row + 1) * v->C,
                   v->C * sizeof(float));
        }
    }
}

static void project_down(const view *v, const pt_layer *l, uint32_t layer) {
    const parrot_shape *s = &v->model->shape;
    const pt_operand *mix = v->p->mix;
    product(v, &l->receptance, &mix[MIX_R], v->w->r, v->C, false);
    product(v, &l->key, &mix[MIX_K], v->w->k, v->C, false);
    product(v, &l->value, &mix[MIX_V], v->w->v, v->C, false);
    product(v, &l->w1, &mix[MIX_W], v->w->lora[0], s->rank_w, false);
    product(v, &l->a1, &mix[MIX_A], v->w->lora[1], s->rank_a, false);
    if (layer > 0) product(v, &l->v1, &mix[MIX_V], v->w->lora[2], s->rank_v, false);
    product(v, &l->g1, &mix[MIX_G], v->w->lora[3], s->rank_g, false);
}

static void prepare_lora(const view *v, const pt_layer *l, uint32_t layer) {
    const parrot_shape *s = &v->model->shape;
    const size_t ranks[4] = {s->rank_w, s->rank_a, s->rank_v, s->rank_g};
    const pt_matrix *readers[4] = {&l->w2, &l->a2, &l->v2, &l->g2};
    for (int i = 0; i < 4; i++) {
        if (i == 2 && layer == 0) continue;  // layer 0 has no value residual
        for (size_t row = v->row_first; row < v->row_last; row++) {
            float *f = v->p->lora[i].f + row * ranks[i];
            memcpy(f, v->w->lora[i] + row * ranks[i], ranks[i] * sizeof *f);
            if (i == 0) v->kernels->tanh(f, ranks[i]);
            if (i == 3) v->kernels->sigmoid(f, ranks[i]);
            finish_operand(v, &v->p->lora[i], row, ranks[i], readers[i]->type == PT_Q8_0);
        }
    }
}

// LoRA ups for the groups of 16 channels that this thread's heads cover.
static void project_up(const view *v, const pt_layer *l, uint32_t layer, size_t first,
                       size_t last) {
    const pt_kernels *kernels = v->kernels;
    const pt_operand *lora = v->p->lora;
    size_t n = v->c->n_rows;
    kernels->matmul(&l->w2, first, last, &lora[0], n, v->w->w, v->C, false);
    kernels->matmul(&l->a2, first, last, &lora[1], n, v->w->a, v->C, false);
    if (layer > 0) kernels->matmul(&l->v2, first, last, &lora[2], n, v->w->v_gate, v->C, false);
    kernels->matmul(&l->g2, first, last, &lora[3], n, v->w->g, v->C, false);
}

// One head, one row: from the raw projections to y, ready for the output matrix.
static void step_head(const view *v, const pt_layer *l, uint32_t layer, size_t row, size_t head) {
    const pt_kernels *kernels = v->kernels;
    const work *w = v->w;
    size_t N = v->N, c = head * N, at = row * v->C + c;
    float kk[128];
    kernels->decay(w->w + at, l->w0 + c, N);
    kernels->iclr(w->a + at, l->a0 + c, N);
    if (layer == 0) {
        memcpy(w->v_first + at, w->v + at, N * sizeof(float));
    } else {
        kernels->value_residual(w->v + at, w->v_first + at, w->v_gate + at, l->v0 + c, N);
    }
    kernels->removal_key(w->k + at, l->k_k + c, N, kk);
    kernels->key(w->k + at, w->a + at, l->k_a + c, N);
    float *wkv = layer_payload(v, row, layer) + 2 * v->C + head * N * N;
    pt_head h = {wkv, w->r + at, w->w + at, w->k + at, w->v + at, kk, w->a + at, w->y + at};
    kernels->wkv(&h, N);
    kernels->read_out(w->y + at, &h, l->r_k + c, l->ln_x_weight + c, l->ln_x_bias + c, w->g + at,
                      N);
}

static void time_mix(const view *v, const pt_layer *l, uint32_t layer) {
    prepare_time_mix(v, l, layer);
    meet_shared(v);
    project_down(v, l, layer);
    meet(v);
    store_shift(v, layer, 0);
    prepare_lora(v, l, layer);
    meet_shared(v);
    size_t first, last;
    if (v->N % PT_GROUP == 0) {  // heads are whole groups: what a thread computes, it consumes
        pt_share(v->H, v->thread, v->n_threads, &first, &last);
        project_up(v, l, layer, first * v->N / PT_GROUP, last * v->N / PT_GROUP);
    } else {
        pt_share(pt_groups(&l->w2), v->thread, v->n_threads, &first, &last);
        project_up(v, l, layer, first, last);
        meet(v);
        pt_share(v->H, v->thread, v->n_threads, &first, &last);
    }
    for (size_t head = first; head < last; head++) {
        for (size_t row = 0; row < v->c->n_rows; row++) step_head(v, l, layer, row, head);
    }
    meet(v);
    pt_operand *y = &v->p->mix[MIX_R];
    for (size_t row = v->row_first; row < v->row_last; row++) {
        memcpy(y->f + row * v->C, v->w->y + row * v->C, v->C * sizeof(float));
        finish_operand(v, y, row, v->C, l->output.type == PT_Q8_0);
    }
    meet_shared(v);
    product(v, &l->output, y, v->w->x, v->C, true);
    meet(v);
}

static void channel_mix(const view *v, const pt_layer *l, uint32_t layer) {
    size_t F = v->model->shape.n_ffn, first, last;
    pt_operand *mix = &v->p->mix[MIX_K];
    norm_rows(v, l->ln2_weight, l->ln2_bias);
    for (size_t row = v->row_first; row < v->row_last; row++) {
        const float *prev = previous(v, row, layer_payload(v, row, layer) + v->C);
        v->kernels->lerp(v->p->norm + (row + 1) * v->C, prev, l->ffn_x_k, v->C,
                         mix->f + row * v->C);
        finish_operand(v, mix, row, v->C, l->ffn_key.type == PT_Q8_0);
    }
    meet_shared(v);
    product(v, &l->ffn_key, mix, v->w->ffn, F, false);
    pt_share(pt_groups(&l->ffn_key), v->thread, v->n_threads, &first, &last);
    first *= PT_GROUP;
    last = last * PT_GROUP < F ? last * PT_GROUP : F;
    for (size_t row = 0; row < v->c->n_rows && first < last; row++) {
        v->kernels->relu_squared(v->w->ffn + row * F + first, last - first);
    }
    meet(v);
    store_shift(v, layer, v->C);
    pt_operand *wide = &v->p->wide;
    for (size_t row = v->row_first; row < v->row_last; row++) {
        memcpy(wide->f + row * F, v->w->ffn + row * F, F * sizeof(float));
        finish_operand(v, wide, row, F, l->ffn_value.type == PT_Q8_0);
    }
    meet_shared(v);
    product(v, &l->ffn_value, wide, v->w->x, v->C, true);
    meet(v);
}

static void embed_rows(const view *v) {
    for (size_t row = v->row_first; row < v->row_last; row++) {
        if (!is_shared(v->c->n_rows, v->n_threads) && v->thread != 0) break;
        float *x = v->w->x + row * v->C;
        v->kernels->embed(&v->model->embedding, (uint32_t)v->c->rows[row].token, x);
        v->kernels->layer_norm(x, v->model->ln0_weight, v->model->ln0_bias, v->C, x);
    }
    meet(v);
}

static bool wants_logits(const view *v, size_t row) {
    if (v->c->which == PARROT_LOGITS_ALL) return true;
    if (v->c->which == PARROT_LOGITS_NONE) return false;
    return row + 1 == v->c->n_rows ? v->c->is_last : ends(v, row);
}

static void head_logits(const view *v) {
    size_t V = v->model->shape.n_vocab, n = 0;
    pt_operand *x = &v->p->mix[MIX_R];
    for (size_t row = 0; row < v->c->n_rows; row++) {
        if (!wants_logits(v, row)) continue;
        if (is_shared(v->c->n_rows, v->n_threads) && (row < v->row_first || row >= v->row_last)) {
            n++;
            continue;
        }
        v->kernels->layer_norm(v->w->x + row * v->C, v->model->ln_out_weight,
                               v->model->ln_out_bias, v->C, x->f + n * v->C);
        finish_operand(v, x, n, v->C, v->model->head.type == PT_Q8_0);
        n++;
    }
    if (n == 0) return;
    meet_shared(v);
    size_t first, last;
    pt_share(pt_groups(&v->model->head), v->thread, v->n_threads, &first, &last);
    v->kernels->matmul(&v->model->head, first, last, x, n, v->c->logits, V, false);
}

static void run_chunk(void *arg, uint32_t thread, uint32_t n_threads) {
    const call *c = arg;
    const parrot_shape *s = &c->model->shape;
    view v = {.c = c,
              .model = c->model,
              .kernels = c->model->kernels,
              .w = c->work,
              .thread = thread,
              .n_threads = n_threads,
              .C = s->n_embd,
              .N = s->head_size,
              .H = s->n_embd / s->head_size,
              .row_first = 0,
              .row_last = c->n_rows};
    v.p = &c->work->shared;
    if (is_shared(c->n_rows, n_threads)) {
        pt_share(c->n_rows, thread, n_threads, &v.row_first, &v.row_last);
    } else if (thread > 0) {
        v.p = &c->work->own[thread];
    }
    embed_rows(&v);
    for (uint32_t layer = 0; layer < s->n_layer; layer++) {
        time_mix(&v, &c->model->layers[layer], layer);
        channel_mix(&v, &c->model->layers[layer], layer);
    }
    head_logits(&v);
}

// ---- chunks

// Rows of the next chunk: at most PT_CHUNK, and no payload in two separate runs, whose order in time
// the phases of a chunk could not keep.
static size_t chunk_len(const parrot_row *rows, size_t n_rows, size_t n_max) {
    size_t n = 1;
    for (; n < n_rows && n < n_max; n++) {
        if (rows[n].payload == rows[n - 1].payload) continue;
        for (size_t i = 0; i + 1 < n; i++) {
            if (rows[i].payload == rows[n].payload) return n;
        }
    }
    return n;
}

// Rows a work area of that size can take at once, or 0.
static size_t rows_that_fit(const parrot_model *model, size_t work_size, size_t n_rows) {
    size_t n = n_rows < PT_CHUNK ? n_rows : PT_CHUNK;
    while (n > 0 && parrot_work_size(model, n) > work_size) n--;
    return n;
}

int parrot_forward(const parrot_model *model, void *area, size_t work_size, const parrot_row *rows,
                   size_t n_rows, enum parrot_logits which, float *logits,
                   const volatile int *abort, size_t *n_done) {
    if (n_done) *n_done = 0;
    if (n_rows == 0) return PARROT_OK;
    size_t n_max = rows_that_fit(model, work_size, n_rows);
    if (n_max == 0) return PARROT_E_SMALL;
    if ((uintptr_t)area % 64 != 0 || (which != PARROT_LOGITS_NONE && !logits)) return PARROT_E_ARG;
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].token < 0 || (uint32_t)rows[i].token >= model->shape.n_vocab) {
            return PARROT_E_ARG;
        }
    }
    work *w = area;
    carve_work((char *)area + (sizeof *w + 63) / 64 * 64, w, model, n_max, true);
    for (size_t done = 0; done < n_rows;) {
        if (abort && *abort) return PARROT_E_ABORTED;
        size_t n = chunk_len(rows + done, n_rows - done, n_max);
        bool is_last = done + n == n_rows || rows[done + n].payload != rows[done + n - 1].payload;
        call c = {model, w, rows + done, n, which, logits, is_last, 0};
        pt_pool_run(model->pool, run_chunk, &c);
        if (which != PARROT_LOGITS_NONE) {
            view v = {.c = &c};
            for (size_t row = 0; row < n; row++) {
                if (wants_logits(&v, row)) logits += model->shape.n_vocab;
            }
        }
        done += n;
        if (n_done) *n_done = done;
    }
    return PARROT_OK;
}
