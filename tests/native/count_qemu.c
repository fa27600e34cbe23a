// SPDX-License-Identifier: Apache-2.0
// A plugin for qemu-user that counts the instructions a program ran and prints the sum at its end.
// The declarations are those of QEMU's plugin interface, version 1, which Debian installs no header for.
#include <inttypes.h>
#include <stdio.h>

struct qemu_plugin_tb;
typedef uint64_t plugin_id;
enum { INLINE_ADD_U64 = 0 };

extern int qemu_plugin_version;
int qemu_plugin_version = 1;
int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id,
                                           void (*cb)(plugin_id, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *p,
                                              uint64_t n);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*cb)(plugin_id, void *), void *arg);

static uint64_t n_run;

static void count_block(plugin_id id, struct qemu_plugin_tb *tb) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &n_run,
                                             qemu_plugin_tb_n_insns(tb));
}

static void tell(plugin_id id, void *arg) {
    (void)id, (void)arg;
    fprintf(stderr, "Collected : %" PRIu64 "\n", n_run);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, count_block);
    qemu_plugin_register_atexit_cb(id, tell, NULL);
    return 0;
}
