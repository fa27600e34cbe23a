// SPDX-License-Identifier: Apache-2.0
// The thread pool, and the law that it may not break: however a life is cut into calls, whichever
// kernels, layout and number of threads live it, the bits are the same (INV-8).
#include "check.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// ---- the pool

enum { PHASES = 3000, THREADS_MAX = 5 };

typedef struct relay {
    pt_pool *pool;
    uint32_t counts[THREADS_MAX];  // plain: the barrier alone orders them
    uint32_t n_calls;
} relay;

// Each thread counts a phase; past the barrier it must see that all others did.
static void run_relay(void *arg, uint32_t thread, uint32_t n_threads) {
    relay *r = arg;
    for (uint32_t phase = 1; phase <= PHASES; phase++) {
        r->counts[thread] = phase;
        pt_pool_barrier(r->pool, n_threads);
        for (uint32_t t = 0; t < n_threads; t++) {
            CHECK(r->counts[t] == phase, "phase %u: thread %u is at %u", phase, t, r->counts[t]);
        }
        pt_pool_barrier(r->pool, n_threads);
    }
}

static void test_barrier(void) {
    for (uint32_t n = 1; n <= 3; n++) {
        relay r = {.pool = pt_pool_open(n, NULL)};
        CHECK(r.pool && pt_pool_threads(r.pool) == n, "%u threads", n);
        pt_pool_run(r.pool, run_relay, &r);
        pt_pool_close(r.pool);
    }
}

// ---- cores

static void tell_capacity(const char *root, int core, const char *value) {
    char path[256];
    snprintf(path, sizeof path, "%s/cpu%d", root, core);
    CHECK(mkdir(path, 0700) == 0, "mkdir %s", path);
    snprintf(path, sizeof path, "%s/cpu%d/cpu_capacity", root, core);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(value, file) >= 0 && fclose(file) == 0, "write %s", path);
}

// Four little cores, two big, one biggest, and one of which nothing can be read.
static void test_big_cores(void) {
    const char *tmp = getenv("TMPDIR");
    char root[128], path[256];
    snprintf(root, sizeof root, "%s/parrot-cores-XXXXXX", tmp ? tmp : "/tmp");
    CHECK(mkdtemp(root), "no folder for the test");
    const char *told[] = {"530\n", "530\n", "530\n", "530\n", "880\n", "880\n", "1024\n", "?\n"};
    for (int core = 0; core < 8; core++) tell_capacity(root, core, told[core]);
    pt_cores all = {{0xff}}, little = {{0x0f}}, big = pt_cores_big(&all, root);
    CHECK(big.bits[0] == 0x70 && pt_cores_count(&big) == 3, "big: %llx",
          (unsigned long long)big.bits[0]);
    big = pt_cores_big(&little, root);  // the best of what is allowed
    CHECK(big.bits[0] == 0x0f, "little: %llx", (unsigned long long)big.bits[0]);
    big = pt_cores_big(&all, "/nonexistent");
    CHECK(big.bits[0] == 0xff, "untold: %llx", (unsigned long long)big.bits[0]);
    for (int core = 0; core < 8; core++) {
        snprintf(path, sizeof path, "%s/cpu%d/cpu_capacity", root, core);
        CHECK(unlink(path) == 0, "unlink %s", path);
        *strrchr(path, '/') = '\0';
        CHECK(rmdir(path) == 0, "rmdir %s", path);
    }
    CHECK(rmdir(root) == 0, "rmdir %s", root);
}

static void note_cores(void *arg, uint32_t thread, uint32_t n_threads) {
    (void)n_threads;
    ((pt_cores *)arg)[thread] = pt_cores_allowed();
}

static void test_workers_stay_on_their_cores(void) {
    pt_cores allowed = pt_cores_allowed(), one = {{0}}, seen[2] = {{{0}}};
    for (int i = 0; i < PT_CORES_MAX / 64 && pt_cores_count(&one) == 0; i++) {
        one.bits[i] = allowed.bits[i] & -allowed.bits[i];  // the first allowed core
    }
    pt_pool *pool = pt_pool_open(2, &one);
    CHECK(pool, "no pool");
    pt_pool_run(pool, note_cores, seen);
    CHECK(memcmp(&seen[0], &allowed, sizeof allowed) == 0, "the caller was moved");
    CHECK(memcmp(&seen[1], &one, sizeof one) == 0, "the worker roams");
    pt_pool_close(pool);
}

static void count_call(void *arg, uint32_t thread, uint32_t n_threads) {
    relay *r = arg;
    r->counts[thread] += n_threads;
}

// Jobs that come at once, and jobs that come after the workers have parked.
static void test_many_jobs(void) {
    relay r = {.pool = pt_pool_open(2, NULL)};
    CHECK(r.pool, "no pool");
    for (int i = 0; i < 2000; i++) {
        if (i % 400 == 0) usleep(20000);
        pt_pool_run(r.pool, count_call, &r);
    }
    CHECK(r.counts[0] == 4000 && r.counts[1] == 4000, "%u and %u", r.counts[0], r.counts[1]);
    pt_pool_close(r.pool);
    for (uint32_t i = 0; i < 40; i++) pt_pool_close(pt_pool_open(1 + i % THREADS_MAX, NULL));
    pt_pool_close(NULL);
}

static void call_again(void *arg, uint32_t thread, uint32_t n_threads) {
    relay *r = arg;
    (void)n_threads;
    if (thread == 0) {
        relay inner = {.pool = r->pool};
        pt_pool_run(r->pool, count_call, &inner);
        CHECK(inner.counts[0] == 1 && inner.counts[1] == 0, "a busy pool took a second job");
    }
}

static void test_busy_pool_runs_alone(void) {
    relay r = {.pool = pt_pool_open(2, NULL)};
    pt_pool_run(r.pool, call_again, &r);
    pt_pool_run(r.pool, count_call, &r);
    CHECK(r.counts[1] == 2, "the pool stayed busy");
    pt_pool_close(r.pool);
}

static void test_forked_child_runs_alone(void) {
    relay r = {.pool = pt_pool_open(2, NULL)};
    pid_t child = fork();
    CHECK(child >= 0, "no child");
    if (child == 0) {
        pt_pool_run(r.pool, count_call, &r);
        pt_pool_close(r.pool);
        _exit(r.counts[0] == 1 && r.counts[1] == 0 ? 0 : 1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "the child ended with %d", status);
    pt_pool_close(r.pool);
}

// ---- lives

enum { N_PROMPT = 70, N_SAID = 40, N_LIFE = N_PROMPT + N_SAID };

typedef struct life {
    parrot_model *model;
    void *work;
    size_t work_size, n_state, n_vocab;
    float *payload, *logits;  // logits (N_PROMPT, V)
} life;

static life begin(const char *path, const char *cpu, uint32_t n_threads, uint32_t flags) {
    life l = {0};
    parrot_fault fault;
    parrot_options options = {n_threads, flags, cpu};
    CHECK(parrot_model_open(&l.model, path, &options, &fault) == PARROT_OK, "%s", fault.text);
    l.work_size = parrot_work_size(l.model, N_PROMPT);
    l.work = allocate(l.work_size);
    l.n_state = parrot_state_len(parrot_model_shape(l.model));
    l.n_vocab = parrot_model_shape(l.model)->n_vocab;
    l.payload = allocate(l.n_state * sizeof(float));
    memset(l.payload, 0, l.n_state * sizeof(float));
    l.logits = allocate(N_PROMPT * l.n_vocab * sizeof(float));
    return l;
}

static void end(life *l) {
    parrot_model_close(l->model);
    free(l->work);
    free(l->payload);
    free(l->logits);
}

static void live(life *l, const int32_t *tokens, size_t n) {
    parrot_row rows[N_PROMPT];
    size_t n_done = 0;
    for (size_t i = 0; i < n; i++) rows[i] = (parrot_row){tokens[i], l->payload};
    int err = parrot_forward(l->model, l->work, l->work_size, rows, n, PARROT_LOGITS_ALL, l->logits,
                             NULL, &n_done);
    CHECK(err == PARROT_OK && n_done == n, "forward: %s", parrot_error_name(err));
}

// Live a prompt in calls of `step` rows, then say what is likeliest; hash all logits, text, state.
static uint64_t hash_life(life *l, size_t step) {
    int32_t tokens[N_LIFE], order[1];
    uint64_t hashes[N_PROMPT + 2] = {0};
    memset(l->payload, 0, l->n_state * sizeof(float));
    for (int i = 0; i < N_PROMPT; i++) tokens[i] = (int32_t)((i * i + 7 * i) % (int)l->n_vocab);
    for (size_t i = 0; i < N_PROMPT; i += step) {
        size_t n = N_PROMPT - i < step ? N_PROMPT - i : step;
        live(l, tokens + i, n);
        for (size_t row = 0; row < n; row++) {
            hashes[i + row] = pt_xxh64((uint8_t *)(l->logits + row * l->n_vocab), l->n_vocab * 4);
        }
        memcpy(l->logits, l->logits + (n - 1) * l->n_vocab, l->n_vocab * sizeof(float));
    }
    parrot_sampler sampler = {.recent_len = 8};
    parrot_sampling how = {0.0f, 1.0f, 0.0f, 1.2f, 0};
    for (int i = N_PROMPT; i < N_LIFE; i++) {
        tokens[i] = parrot_sample(&sampler, &how, 0, 1, NULL, 0, l->logits, l->n_vocab, order);
        CHECK(tokens[i] >= 0, "token %d", tokens[i]);
        parrot_sampler_feed(&sampler, tokens[i], 0);
        live(l, tokens + i, 1);
    }
    hashes[N_PROMPT] = pt_xxh64((uint8_t *)tokens, sizeof tokens);
    hashes[N_PROMPT + 1] = pt_xxh64((uint8_t *)l->payload, l->n_state * sizeof(float));
    return pt_xxh64((uint8_t *)hashes, sizeof hashes);
}

void test_forward(const char *corpus) {
    static const char *const names[] = {"f32", "f16", "q8"};
    static const size_t steps[] = {1, 3, 7, 70};
    for (int i = 0; i < 3; i++) {
        char path[512];
        uint64_t want = 0;
        snprintf(path, sizeof path, "%s/gguf/%s", corpus, names[i]);
        for (size_t k = 0; parrot_cpu_name(k); k++) {
            for (uint32_t way = 0; way < 4; way++) {  // 1 or 2 threads, repacked or mapped
                life l = begin(path, parrot_cpu_name(k), 1 + way / 2, way & 1);
                for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
                    uint64_t hash = hash_life(&l, steps[s]);
                    if (want == 0) want = hash;
                    CHECK(hash == want, "%s with %s, %u threads, mapped %u, by %zu: another life",
                          names[i], parrot_cpu_name(k), 1 + way / 2, way & 1, steps[s]);
                }
                end(&l);
            }
        }
        printf("life %s %016llx\n", names[i], (unsigned long long)want);
    }
}

// ---- two callers, batches, misuse

typedef struct caller {
    life *life;
    uint64_t hash;
} caller;

static void *call_many(void *arg) {
    caller *c = arg;
    for (int i = 0; i < 3; i++) c->hash = hash_life(c->life, 7);
    return NULL;
}

static void test_two_callers_of_one_model(const char *corpus) {
    char path[512];
    snprintf(path, sizeof path, "%s/gguf/q8", corpus);
    life first = begin(path, NULL, 2, 0), second = begin(path, NULL, 2, 0);
    parrot_model *own = second.model;
    second.model = first.model;
    caller one = {&first, 0}, two = {&second, 0};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, call_many, &two) == 0, "no thread");
    call_many(&one);
    pthread_join(thread, NULL);
    CHECK(one.hash == two.hash, "two callers at once changed a life");
    second.model = own;
    end(&first);
    end(&second);
}

// A batch of lives, some of several rows, one of which comes back later: as each life by itself.
static void test_batch_is_each_life_alone(const char *corpus) {
    static const int whose[] = {0, 0, 1, 2, 2, 2, 0, 3, 1, 1, 1, 1, 2};
    enum { N = sizeof whose / sizeof *whose, LIVES = 4 };
    char path[512];
    snprintf(path, sizeof path, "%s/gguf/f16", corpus);
    life l = begin(path, NULL, 2, 0);
    float *batch = allocate(LIVES * l.n_state * sizeof *batch), *want = allocate(N * l.n_vocab * 4);
    parrot_row rows[N];
    memset(batch, 0, LIVES * l.n_state * sizeof *batch);
    for (int i = 0; i < N; i++) {
        rows[i] = (parrot_row){(i * 5) % (int)l.n_vocab, batch + (size_t)whose[i] * l.n_state};
    }
    CHECK(parrot_forward(l.model, l.work, l.work_size, rows, N, PARROT_LOGITS_ALL, want, NULL,
                         NULL) == PARROT_OK, "batch");
    for (int who = 0; who < LIVES; who++) {
        memset(l.payload, 0, l.n_state * sizeof(float));
        for (int i = 0; i < N; i++) {
            if (whose[i] != who) continue;
            live(&l, &rows[i].token, 1);
            CHECK(memcmp(l.logits, want + (size_t)i * l.n_vocab, l.n_vocab * 4) == 0,
                  "row %d of life %d differs in a batch", i, who);
        }
        CHECK(memcmp(l.payload, batch + (size_t)who * l.n_state, l.n_state * 4) == 0, "state %d",
              who);
    }
    free(batch);
    free(want);
    end(&l);
}

static void test_misuse_is_told(const char *corpus) {
    char path[512];
    snprintf(path, sizeof path, "%s/gguf/f32", corpus);
    life l = begin(path, NULL, 2, 0);
    parrot_row row = {0, l.payload};
    size_t n_done = 9;
    volatile int abort = 1;
    const size_t small = parrot_work_size(l.model, 1);
    static const int32_t wrong[] = {-1, 16, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        row.token = wrong[i];
        CHECK(parrot_forward(l.model, l.work, l.work_size, &row, 1, PARROT_LOGITS_NONE, NULL, NULL,
                             NULL) == PARROT_E_ARG, "token %d", row.token);
    }
    row.token = 3;
    CHECK(parrot_forward(l.model, l.work, small - 1, &row, 1, PARROT_LOGITS_NONE, NULL, NULL,
                         NULL) == PARROT_E_SMALL, "a small area");
    CHECK(parrot_forward(l.model, (char *)l.work + 4, l.work_size, &row, 1, PARROT_LOGITS_NONE,
                         NULL, NULL, NULL) == PARROT_E_ARG, "a skew area");
    CHECK(parrot_forward(l.model, l.work, l.work_size, &row, 1, PARROT_LOGITS_ALL, NULL, NULL,
                         NULL) == PARROT_E_ARG, "no room for logits");
    CHECK(parrot_forward(l.model, l.work, l.work_size, &row, 1, PARROT_LOGITS_NONE, NULL, &abort,
                         &n_done) == PARROT_E_ABORTED && n_done == 0, "abort");
    for (size_t i = 0; i < l.n_state; i++) CHECK(l.payload[i] == 0.0f, "a refused call lived");
    end(&l);
}

void test_threads(const char *corpus) {
    test_barrier();
    test_many_jobs();
    test_big_cores();
    test_workers_stay_on_their_cores();
    test_busy_pool_runs_alone();
    test_forked_child_runs_alone();
    test_two_callers_of_one_model(corpus);
    test_batch_is_each_life_alone(corpus);
    test_misuse_is_told(corpus);
}
