// SPDX-License-Identifier: Apache-2.0
// Every kernel set that this CPU has gives the bits of the scalar one (INV-8), and the scalar one is
// right: judged by plain double arithmetic, with bounds that follow from the number of roundings.
#include "check.h"
#include "pt_exp.h"

#include <float.h>
#include <math.h>

enum { ROWS_MAX = 64, IN_MAX = 96, OUT_MAX = 97, STRIDE = OUT_MAX + 3 };

static const pt_kernels *const scalar = &pt_kernels_scalar;

static const float specials[] = {NAN,   INFINITY, -INFINITY, 0.0f,  -0.0f, FLT_MAX,
                                 1e-41f, -1e-38f, 3e38f,     1e-30f, 127.0f, -1.0f};
enum { N_SPECIALS = sizeof specials / sizeof *specials };

static void fill(uint64_t *rng, float *x, size_t n, bool is_wild) {
    for (size_t i = 0; i < n; i++) {
        x[i] = random_float(rng) * 2.0f;
        if (is_wild && random_u64(rng) % 23 == 0) x[i] = specials[random_u64(rng) % N_SPECIALS];
    }
}

// ---- matrices

static bool has_lowest(const pt_matrix *m, bool is_wild) { return is_wild && m->n_in > PT_BLOCK; }

static void fill_matrix(uint64_t *rng, pt_matrix *m, uint8_t *bytes, bool is_wild) {
    size_t size = pt_matrix_size(m);
    if (m->type == PT_F32) {
        fill(rng, (float *)(void *)bytes, size / 4, is_wild);
    } else {
        for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)random_u64(rng);
        // Halves of an exponent below that of 2, unless infinities and NaN are wanted.
        size_t step = m->type == PT_F16 ? 2 : PT_BLOCK_SIZE;
        for (size_t i = 0; i < size && !is_wild; i += step) bytes[i + 1] &= 0xbf;
        // No -128, as quantisers have none, but in the wild ones of several blocks.
        for (size_t i = 0; i < size && m->type == PT_Q8_0 && !has_lowest(m, is_wild); i++) {
            if (i % PT_BLOCK_SIZE >= 2 && bytes[i] == 0x80) bytes[i] = 0x81;
        }
    }
    m->mapped = bytes;
}

// The scalar product, in double: off by at most a rounding for each term of the sum.
static void judge_scalar(const pt_matrix *m, const pt_operand *x, const float *y) {
    for (size_t o = 0; o < m->n_out; o++) {
        double sum = 0.0, size = 0.0;
        float row[IN_MAX];
        scalar->embed(m, (uint32_t)o, row);  // an embedding is one row of a matrix
        for (size_t i = 0; i < m->n_in; i++) {
            double in = (double)x->f[i];
            if (m->type == PT_Q8_0) in = (double)x->scale[0] * x->q[i];
            sum += (double)row[i] * in;
            size += fabs((double)row[i] * in);
        }
        CHECK(fabs((double)y[o] - sum) <= size * 6e-8 * (m->n_in + 2) + 1e-37,
              "type %d, %u x %u, output %zu: %.9g, exactly %.9g", (int)m->type, m->n_out, m->n_in, o,
              (double)y[o], sum);
    }
}

typedef struct product_case {
    pt_matrix m;
    pt_operand x;
    float *before, *want, *got;  // (ROWS_MAX, STRIDE)
    uint8_t *packed;
    bool must_pack;  // the values are those that every layout takes
} product_case;

// One kernel set, one layout, all outputs at once or cut in two at a group, against scalar's bits.
static void judge_product(const product_case *c, const pt_kernels *kernels, size_t n_rows,
                          bool accumulate) {
    size_t groups = pt_groups(&c->m), size = ROWS_MAX * STRIDE * sizeof(float);
    for (size_t cut = 0; cut < groups; cut += groups > 1 ? groups - 1 : 1) {
        memcpy(c->got, c->before, size);
        kernels->matmul(&c->m, 0, cut, &c->x, n_rows, c->got, STRIDE, accumulate);
        kernels->matmul(&c->m, cut, groups, &c->x, n_rows, c->got, STRIDE, accumulate);
        for (size_t i = 0; i < ROWS_MAX * STRIDE; i++) {
            CHECK(is_same(c->got[i], c->want[i]),
                  "%s, type %d, %u x %u, %s, %zu rows, add %d: row %zu, output %zu is %.9g (%08x), "
                  "scalar says %.9g (%08x)",
                  kernels->name, (int)c->m.type, c->m.n_out, c->m.n_in,
                  c->m.packed ? "packed" : "mapped", n_rows, accumulate, i / STRIDE, i % STRIDE,
                  (double)c->got[i], float_bits(c->got[i]), (double)c->want[i],
                  float_bits(c->want[i]));
        }
    }
}

static void judge_kernels(product_case *c, size_t n_rows, bool accumulate) {
    const pt_kernels *kernels;
    for (size_t k = 0; parrot_cpu_name(k); k++) {
        kernels = pt_kernels_find(parrot_cpu_name(k));
        c->m.packed = NULL;
        judge_product(c, kernels, n_rows, accumulate);
        if (kernels == scalar) continue;  // it never packs
        memset(c->packed, 0xee, pt_matrix_packed_size(&c->m) + 64);
        bool is_packed = kernels->pack(&c->m, c->packed);
        CHECK(c->packed[pt_matrix_packed_size(&c->m)] == 0xee, "%s packs past the end",
              kernels->name);
        CHECK(is_packed || !c->must_pack, "%s refuses %u x %u", kernels->name, c->m.n_out, c->m.n_in);
        if (!is_packed) continue;
        c->m.packed = c->packed;
        judge_product(c, kernels, n_rows, accumulate);
    }
    c->m.packed = NULL;
}

static void test_products_of(product_case *c, uint64_t *rng, bool is_wild) {
    static const size_t all_rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 64};
    uint8_t *bytes = allocate(pt_matrix_size(&c->m));
    fill_matrix(rng, &c->m, bytes, is_wild);
    c->must_pack = c->m.type != PT_Q8_0 || !has_lowest(&c->m, is_wild);
    c->packed = allocate(pt_matrix_packed_size(&c->m) + 64);
    fill(rng, c->x.f, ROWS_MAX * c->m.n_in, false);
    if (is_wild) fill(rng, c->x.f, 5 * c->m.n_in, true);
    for (size_t t = 0; t < ROWS_MAX; t++) {
        scalar->quantize(c->x.f + t * c->m.n_in, c->m.n_in, c->x.q + t * c->m.n_in, c->x.scale + t);
    }
    fill(rng, c->before, ROWS_MAX * STRIDE, is_wild);
    for (size_t i = 0; i < sizeof all_rows / sizeof *all_rows; i++) {
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            memcpy(c->want, c->before, ROWS_MAX * STRIDE * sizeof(float));
            scalar->matmul(&c->m, 0, pt_groups(&c->m), &c->x, all_rows[i], c->want, STRIDE,
                           accumulate);
            if (!is_wild && !accumulate) judge_scalar(&c->m, &c->x, c->want);
            judge_kernels(c, all_rows[i], accumulate);
        }
    }
    free(c->packed);
    free(bytes);
}

static void test_products(void) {
    static const enum pt_type types[] = {PT_F32, PT_F16, PT_Q8_0};
    static const uint32_t outs[] = {1, 15, 16, 17, 32, OUT_MAX}, ins[] = {1, 3, 17, 32, IN_MAX};
    uint64_t rng = 1;
    product_case c;
    size_t size = ROWS_MAX * STRIDE * sizeof(float);
    c.x.f = allocate(ROWS_MAX * IN_MAX * sizeof(float));
    c.x.q = allocate(ROWS_MAX * IN_MAX * sizeof(int16_t));
    c.x.scale = allocate(ROWS_MAX * sizeof(float));
    c.before = allocate(size);
    c.want = allocate(size);
    c.got = allocate(size);
    for (int type = 0; type < 3; type++) {
        for (size_t o = 0; o < sizeof outs / sizeof *outs; o++) {
            for (size_t i = 0; i < sizeof ins / sizeof *ins; i++) {
                if (types[type] == PT_Q8_0 && ins[i] % PT_BLOCK != 0) continue;
                c.m = (pt_matrix){types[type], outs[o], ins[i], NULL, NULL};
                test_products_of(&c, &rng, false);
                test_products_of(&c, &rng, true);
            }
        }
    }
    float *all[] = {c.x.f, c.x.scale, c.before, c.want, c.got};
    for (int i = 0; i < 5; i++) free(all[i]);
    free(c.x.q);
}

// The largest sum there can be: 32 times -128 * 32639 must not overflow.
static void test_largest_q8_sum(void) {
    uint8_t *bytes = allocate(PT_BLOCK_SIZE);
    uint8_t *packed = allocate(PT_GROUP_BLOCK);
    float f[PT_BLOCK], y[2], scale[1];
    int16_t q[PT_BLOCK];
    for (int sign = -1; sign < 2; sign += 2) {
        for (int i = 0; i < PT_BLOCK; i++) f[i] = (float)sign;
        memset(bytes, 0x80, PT_BLOCK_SIZE);
        bytes[0] = 0x00, bytes[1] = 0x3c;  // 1.0
        for (size_t k = 0; parrot_cpu_name(k); k++) {
            const pt_kernels *kernels = pt_kernels_find(parrot_cpu_name(k));
            pt_matrix m = {PT_Q8_0, 1, PT_BLOCK, bytes, NULL};
            kernels->quantize(f, PT_BLOCK, q, scale);
            CHECK(q[0] == sign * 32639, "%s: one is %d", kernels->name, q[0]);
            if (kernels != scalar) {
                if (kernels->pack(&m, packed)) m.packed = packed;
            }
            kernels->matmul(&m, 0, 1, &(pt_operand){f, q, scale}, 1, y, 1, false);
            CHECK(fabsf(y[0] + 4096.0f * (float)sign) < 1e-2f, "%s: %g", kernels->name, (double)y[0]);
        }
    }
    free(packed);
    free(bytes);
}

// ---- int16 rows

static void test_quantize(void) {
    uint64_t rng = 2;
    float x[70], scale, scales[2];
    int16_t q[70], want[70];
    for (size_t n = 1; n <= 70; n++) {
        for (int wild = 0; wild < 12; wild++) {
            fill(&rng, x, n, wild > 6);
            float size = wild == 1 ? 1e-38f : wild == 2 ? 1e38f : wild == 3 ? 0.0f : 1.0f;
            bool is_finite = true;
            for (size_t i = 0; i < n; i++) {
                x[i] *= size;
                is_finite &= isfinite(x[i]) != 0;
            }
            scalar->quantize(x, n, want, &scales[0]);
            for (size_t i = 0; i < n; i++) {
                CHECK(abs(want[i]) <= 32639, "q %d of %g", want[i], (double)x[i]);
                double error = fabs((double)scales[0] * want[i] - (double)x[i]);
                CHECK(!is_finite || error <= (double)scales[0] * 0.51 + 1e-30, "%g became %d x %g",
                      (double)x[i], want[i], (double)scales[0]);
            }
            CHECK(is_finite || scales[0] != scales[0], "a row that is not finite has scale %g",
                  (double)scales[0]);
            for (size_t k = 0; parrot_cpu_name(k); k++) {
                pt_kernels_find(parrot_cpu_name(k))->quantize(x, n, q, &scale);
                CHECK(is_same(scale, scales[0]) && memcmp(q, want, n * sizeof *q) == 0,
                      "%s: quantize differs from scalar at n = %zu", parrot_cpu_name(k), n);
            }
        }
    }
}

// ---- element by element

static void test_exp(void) {
    double worst = 0.0;
    for (float x = -87.3f; x <= 88.0f; x += 0.00173f) {
        double error = fabs((double)pt_exp(x) / exp((double)x) - 1.0);
        if (error > worst) worst = error;
    }
    CHECK(worst < 2e-7, "exp is off by %.2g of its value", worst);
    CHECK(pt_exp(0.0f) == 1.0f, "exp(0) is %.9g", (double)pt_exp(0.0f));
    CHECK(is_same(pt_exp(NAN), NAN), "exp(NaN) is %g", (double)pt_exp(NAN));
    CHECK(pt_exp(-INFINITY) == pt_exp(-87.3f) && pt_exp(INFINITY) == pt_exp(88.0f), "ends");
}

enum { WIDTH = 128, N_RESULTS = 12 };

// Every element-wise kernel on the same input; results (N_RESULTS, WIDTH), one kernel a row.
static void run_elementwise(const pt_kernels *kernels, const float *in, size_t n, float *results) {
    const float *a = in, *b = in + WIDTH, *c = in + 2 * WIDTH, *d = in + 3 * WIDTH;
    float *row[N_RESULTS];
    for (size_t i = 0; i < N_RESULTS; i++) {
        row[i] = results + i * WIDTH;
        memcpy(row[i], a, n * sizeof *a);
    }
    kernels->layer_norm(a, b, c, n, row[0]);
    kernels->lerp(a, b, c, n, row[1]);
    kernels->tanh(row[2], n);
    kernels->sigmoid(row[3], n);
    kernels->relu_squared(row[4], n);
    kernels->decay(row[5], b, n);
    kernels->iclr(row[6], b, n);
    kernels->value_residual(row[7], b, c, d, n);
    kernels->removal_key(a, b, n, row[8]);
    kernels->key(row[9], b, c, n);
    pt_head head = {.r = a, .k = b, .v = c};
    kernels->read_out(row[10], &head, d, b, c, a, n);
    kernels->layer_norm(row[11], b, c, n, row[11]);  // in place, as the embedding is
}

static void test_elementwise(void) {
    uint64_t rng = 3;
    float in[4 * WIDTH], want[N_RESULTS * WIDTH] = {0}, got[N_RESULTS * WIDTH] = {0};
    for (size_t n = 1; n <= WIDTH; n += n < 34 ? 1 : 11) {
        for (int wild = 0; wild < 3; wild++) {
            fill(&rng, in, 4 * WIDTH, wild == 2);
            for (size_t i = 0; i < 4 * WIDTH && wild == 1; i++) in[i] *= 100.0f;
            run_elementwise(scalar, in, n, want);
            for (size_t k = 0; parrot_cpu_name(k); k++) {
                run_elementwise(pt_kernels_find(parrot_cpu_name(k)), in, n, got);
                for (size_t i = 0; i < N_RESULTS * WIDTH; i++) {
                    CHECK(is_same(want[i], got[i]), "%s, operation %zu, n = %zu: %.9g, scalar %.9g",
                          parrot_cpu_name(k), i / WIDTH, n, (double)got[i], (double)want[i]);
                }
            }
        }
    }
}

// ---- the recurrence

// S' = S diag(w) - (S kk)(kk iclr)^T + v k^T, y = S' r in double; S (N, N) before, y (N).
static void judge_wkv(const float *S, const pt_head *h, const float *after, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double erased = 0.0, y = 0.0, size = 1.0;
        for (size_t j = 0; j < n; j++) erased += (double)S[i * n + j] * (double)h->kk[j];
        for (size_t j = 0; j < n; j++) {
            double s = (double)S[i * n + j] * (double)h->w[j] -
                       erased * (double)h->kk[j] * (double)h->iclr[j] +
                       (double)h->v[i] * (double)h->k[j];
            CHECK(fabs(s - (double)after[i * n + j]) < 1e-4, "S[%zu][%zu]: %g, exactly %g", i, j,
                  (double)after[i * n + j], s);
            y += s * (double)h->r[j];
            size += fabs(s * (double)h->r[j]);
        }
        CHECK(fabs(y - (double)h->y[i]) < 1e-5 * size, "y[%zu]: %g, exactly %g", i,
              (double)h->y[i], y);
    }
}

static void test_wkv(void) {
    static const size_t sizes[] = {16, 24, 64, 100, 128};
    uint64_t rng = 4;
    float *S = allocate(3 * WIDTH * WIDTH * sizeof *S), *want = S + WIDTH * WIDTH;
    float *got = want + WIDTH * WIDTH, in[6 * WIDTH], y[2][WIDTH];
    for (size_t i = 0; i < 5; i++) {
        size_t n = sizes[i];
        for (int wild = 0; wild < 4; wild++) {
            fill(&rng, S, n * n, wild == 3);
            fill(&rng, in, 6 * WIDTH, wild == 3);
            pt_head head = {want, in, in + WIDTH, in + 2 * WIDTH, in + 3 * WIDTH, in + 4 * WIDTH,
                            in + 5 * WIDTH, y[0]};
            memcpy(want, S, n * n * sizeof *S);
            scalar->wkv(&head, n);
            if (wild < 3) judge_wkv(S, &head, want, n);
            for (size_t k = 0; parrot_cpu_name(k); k++) {
                memcpy(got, S, n * n * sizeof *S);
                head.S = got;
                head.y = y[1];
                pt_kernels_find(parrot_cpu_name(k))->wkv(&head, n);
                for (size_t j = 0; j < n * n; j++) {
                    CHECK(is_same(want[j], got[j]) && is_same(y[0][j % n], y[1][j % n]),
                          "%s: head size %zu, S[%zu]: %.9g, scalar %.9g", parrot_cpu_name(k), n, j,
                          (double)got[j], (double)want[j]);
                }
            }
        }
    }
    free(S);
}

// Every half there is, through the embedding of every kernel set, against ldexp.
static void test_halves(void) {
    uint8_t *bytes = allocate(2 << 16);
    float *got = allocate(sizeof(float) << 16);
    for (uint32_t h = 0; h < 1 << 16; h++) {
        bytes[2 * h] = (uint8_t)h;
        bytes[2 * h + 1] = (uint8_t)(h >> 8);
    }
    pt_matrix m = {PT_F16, 1, 1 << 16, bytes, NULL};
    for (size_t k = 0; parrot_cpu_name(k); k++) {
        pt_kernels_find(parrot_cpu_name(k))->embed(&m, 0, got);
        for (int h = 0; h < 1 << 16; h++) {
            int exponent = h >> 10 & 31, mantissa = h & 1023;
            double size = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
            if (exponent == 31) size = mantissa ? (double)NAN : (double)INFINITY;
            float want = (float)(h >> 15 ? -size : size);
            CHECK(is_same(got[h], want), "%s: half %04x is %.9g, not %.9g", parrot_cpu_name(k),
                  (unsigned)h, (double)want, (double)got[h]);
        }
    }
    free(got);
    free(bytes);
}

void test_kernels(void) {
    CHECK(pt_kernels_find("scalar") == scalar && pt_kernels_find("none") == NULL, "find");
    test_exp();
    test_halves();
    test_quantize();
    test_products();
    test_largest_q8_sum();
    test_elementwise();
    test_wkv();
}
