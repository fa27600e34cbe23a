// SPDX-License-Identifier: Apache-2.0
// Ask librime for candidates: one line of keys in, its first five candidates out, tab-separated.
// Used by tools/bench_ime.py as the peer. Build: cc -O2 rime_candidates.c -lrime
// Arguments: schema id, folder for librime's compiled data. Ends with "ms <sum> keys <n>" on stderr.

#include <rime_api.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define N_CANDIDATES 5

static double cpu_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void print_candidates(RimeApi *rime, RimeSessionId session) {
    RIME_STRUCT(RimeContext, context);
    if (rime->get_context(session, &context)) {
        for (int i = 0; i < context.menu.num_candidates && i < N_CANDIDATES; i++) {
            printf("%s%s", i ? "\t" : "", context.menu.candidates[i].text);
        }
        rime->free_context(&context);
    }
    puts("");
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    RimeApi *rime = rime_get_api();
    RIME_STRUCT(RimeTraits, traits);
    traits.shared_data_dir = "/usr/share/rime-data";
    traits.user_data_dir = argv[2];
    traits.app_name = "rime.bench";
    traits.distribution_name = traits.distribution_code_name = traits.distribution_version = "bench";
    traits.log_dir = "";
    traits.min_log_level = 3;
    rime->setup(&traits);
    rime->initialize(&traits);
    if (rime->start_maintenance(True)) rime->join_maintenance_thread();
    RimeSessionId session = rime->create_session();
    if (!rime->select_schema(session, argv[1])) return 3;
    char line[512];
    double spent_ms = 0;
    int n_keys = 0;
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        rime->clear_composition(session);
        double start = cpu_ms();
        for (char *key = line; *key; key++, n_keys++) rime->process_key(session, *key, 0);
        spent_ms += cpu_ms() - start;
        print_candidates(rime, session);
    }
    fprintf(stderr, "ms %.3f keys %d\n", spent_ms, n_keys);
    rime->finalize();
    return 0;
}
