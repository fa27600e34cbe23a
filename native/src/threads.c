// SPDX-License-Identifier: Apache-2.0
// A pool of threads that all run the same function, with a barrier between its phases.
//
// A decoded byte takes 0.1 to 3 ms and has some five phases a layer, so waiting must cost well under a
// microsecond: waiters spin, then yield. Between calls the workers spin for about a tenth of a
// millisecond (the next byte usually comes at once) and then park on a condition variable, so that
// an idle parrot uses no CPU. The lock guards only parking and waking.
#include "internal.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SPINS_BEFORE_YIELD = 2000,  // about 50 us
    YIELDS_BEFORE_PARK = 64,
};

struct pt_pool {
    uint32_t n_threads;
    pid_t owner;
    pt_work_fn *fn;
    void *arg;
    bool is_closing;
    atomic_uint job;  // counts jobs given out
    atomic_uint n_parked, n_arrived, n_running;
    atomic_flag is_busy;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t *threads;  // n_threads - 1
};

typedef struct start_arg {
    pt_pool *pool;
    uint32_t thread;
    bool is_bound;
    pt_cores cores;
} start_arg;

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Spin, then yield, until *value differs from `old`; false when patience ended.
static bool wait_change(atomic_uint *value, unsigned old, unsigned yields_max) {
    for (unsigned yields = 0; yields_max == 0 || yields < yields_max; yields++) {
        for (int i = 0; i < SPINS_BEFORE_YIELD; i++) {
            if (atomic_load_explicit(value, memory_order_acquire) != old) return true;
            relax();
        }
        sched_yield();
    }
    return false;
}

static void park(pt_pool *pool, unsigned old) {
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->n_parked, 1);
    while (atomic_load(&pool->job) == old) pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->n_parked, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker(void *arg) {
    start_arg start = *(start_arg *)arg;
    free(arg);
    pt_pool *pool = start.pool;
    if (start.is_bound) pt_cores_stay(&start.cores);
    for (unsigned seen = 0;; seen++) {
        if (!wait_change(&pool->job, seen, YIELDS_BEFORE_PARK)) park(pool, seen);
        if (pool->is_closing) return NULL;
        pool->fn(pool->arg, start.thread, pool->n_threads);
        atomic_fetch_sub_explicit(&pool->n_running, 1, memory_order_release);
    }
}

// Publish fn and arg (or is_closing), already written, to every worker.
static void give_job(pt_pool *pool) {
    atomic_fetch_add(&pool->job, 1);
    if (atomic_load(&pool->n_parked) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
}

static bool start_thread(pt_pool *pool, uint32_t thread, const pt_cores *cores) {
    start_arg *arg = malloc(sizeof *arg);
    if (!arg) return false;
    *arg = (start_arg){.pool = pool, .thread = thread, .is_bound = cores != NULL};
    if (cores) arg->cores = *cores;
    if (pthread_create(&pool->threads[thread - 1], NULL, worker, arg) == 0) return true;
    free(arg);
    return false;
}

pt_pool *pt_pool_open(uint32_t n_threads, const pt_cores *cores) {
    pt_pool *pool = calloc(1, sizeof *pool);
    if (!pool) return NULL;
    pool->threads = calloc(n_threads, sizeof *pool->threads);
    if (!pool->threads) {
        free(pool);
        return NULL;
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    atomic_flag_clear(&pool->is_busy);
    pool->owner = getpid();
    pool->n_threads = 1;
    for (uint32_t i = 1; i < n_threads; i++) {
        if (!start_thread(pool, i, cores)) {
            pt_pool_close(pool);
            return NULL;
        }
        pool->n_threads = i + 1;
    }
    return pool;
}

void pt_pool_close(pt_pool *pool) {
    if (!pool) return;
    if (pool->owner == getpid()) {  // a forked child has the struct but not the threads
        pool->is_closing = true;
        give_job(pool);
        for (uint32_t i = 1; i < pool->n_threads; i++) pthread_join(pool->threads[i - 1], NULL);
        pthread_cond_destroy(&pool->wake);
        pthread_mutex_destroy(&pool->lock);
    }
    free(pool->threads);
    free(pool);
}

uint32_t pt_pool_threads(const pt_pool *pool) { return pool->n_threads; }

void pt_pool_run(pt_pool *pool, pt_work_fn *fn, void *arg) {
    bool is_alone = pool->n_threads == 1 || pool->owner != getpid() ||
                    atomic_flag_test_and_set_explicit(&pool->is_busy, memory_order_acquire);
    if (is_alone) {
        fn(arg, 0, 1);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    atomic_store(&pool->n_arrived, 0);
    atomic_store(&pool->n_running, pool->n_threads - 1);
    give_job(pool);
    fn(arg, 0, pool->n_threads);
    for (unsigned left; (left = atomic_load_explicit(&pool->n_running, memory_order_acquire)) > 0;) {
        wait_change(&pool->n_running, left, 0);
    }
    atomic_flag_clear_explicit(&pool->is_busy, memory_order_release);
}

// One word counts arrivals since the job began and is also what the waiters look at: a second one, on
// this line or its own, costs another trip between the cores.
void pt_pool_barrier(pt_pool *pool, uint32_t n_threads) {
    if (n_threads == 1) return;
    unsigned seen = atomic_fetch_add_explicit(&pool->n_arrived, 1, memory_order_acq_rel) + 1;
    unsigned all = (seen + n_threads - 1) / n_threads * n_threads;
    while (seen < all) {
        wait_change(&pool->n_arrived, seen, 0);
        seen = atomic_load_explicit(&pool->n_arrived, memory_order_acquire);
    }
}
