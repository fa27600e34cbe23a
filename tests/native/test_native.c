// SPDX-License-Identifier: Apache-2.0
// The C library's own tests: test_native CORPUS [kernels|files|sampler|threads|forward|lora]...
// Without names, all of them. Returns 0, or prints what is wrong and returns 1.
#include "check.h"

int main(int argc, char **argv) {
    static const char *const names[] = {"kernels", "files", "sampler", "threads", "forward",
                                        "lora"};
    CHECK(argc > 1, "usage: test_native CORPUS [NAME]...");
    printf("kernel sets:");
    for (size_t i = 0; parrot_cpu_name(i); i++) printf(" %s", parrot_cpu_name(i));
    printf("\n");
    for (int i = 0; i < 6; i++) {
        bool is_wanted = argc == 2;
        for (int j = 2; j < argc; j++) is_wanted |= strcmp(argv[j], names[i]) == 0;
        if (!is_wanted) continue;
        if (i == 0) test_kernels();
        if (i == 1) test_files(argv[1]);
        if (i == 2) test_sampler();
        if (i == 3) test_threads(argv[1]);
        if (i == 4) test_forward(argv[1]);
        if (i == 5) test_lora(argv[1]);
        printf("%s: ok\n", names[i]);
        fflush(stdout);
    }
    return 0;
}
