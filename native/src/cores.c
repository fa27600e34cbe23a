// SPDX-License-Identifier: Apache-2.0
// Which cores to think on. Every product is cut into equal shares, so one slow core holds up all the
// others: where Linux tells of big and little cores (RK3588: four Cortex-A76, four A55), only the big
// ones are used.
#define _GNU_SOURCE
#include "internal.h"

#include <sched.h>
#include <stdio.h>

enum { BIG_PERCENT = 75 };  // of the largest capacity; an A55 beside an A76 has 52

static bool has_core(const pt_cores *cores, uint32_t core) {
    return (cores->bits[core / 64] >> core % 64 & 1) != 0;
}

uint32_t pt_cores_count(const pt_cores *cores) {
    uint32_t n = 0;
    for (uint32_t core = 0; core < PT_CORES_MAX; core++) n += has_core(cores, core);
    return n;
}

static unsigned capacity(const char *root, uint32_t core) {
    char path[256];
    unsigned value = 0;
    int length = snprintf(path, sizeof path, "%s/cpu%u/cpu_capacity", root, (unsigned)core);
    FILE *file = length > 0 && length < (int)sizeof path ? fopen(path, "r") : NULL;
    if (!file) return 0;  // this kernel does not say
    if (fscanf(file, "%5u", &value) != 1) value = 0;
    fclose(file);
    return value;
}

pt_cores pt_cores_allowed(void) {
    pt_cores allowed = {{0}};
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_ZERO(&set);
    for (uint32_t core = 0; core < PT_CORES_MAX && core < CPU_SETSIZE; core++) {
        if (CPU_ISSET(core, &set)) allowed.bits[core / 64] |= 1ull << core % 64;
    }
    return allowed;
}

pt_cores pt_cores_big(const pt_cores *among, const char *root) {
    unsigned largest = 0, found[PT_CORES_MAX] = {0};
    for (uint32_t core = 0; core < PT_CORES_MAX; core++) {
        if (has_core(among, core)) found[core] = capacity(root, core);
        if (found[core] > largest) largest = found[core];
    }
    pt_cores big = {{0}};
    for (uint32_t core = 0; core < PT_CORES_MAX; core++) {
        bool is_big = found[core] * 100 >= largest * BIG_PERCENT;
        if (has_core(among, core) && is_big) big.bits[core / 64] |= 1ull << core % 64;
    }
    return big;
}

void pt_cores_stay(const pt_cores *cores) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (uint32_t core = 0; core < PT_CORES_MAX && core < CPU_SETSIZE; core++) {
        if (has_core(cores, core)) CPU_SET(core, &set);
    }
    // Refused (a core went offline): the thread runs anywhere, which costs time and nothing else.
    (void)sched_setaffinity(0, sizeof set, &set);
}
