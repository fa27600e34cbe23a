// SPDX-License-Identifier: Apache-2.0
// Files that are wrong, and checksums. Each copy under test is a heap block of its exact size, so that
// AddressSanitizer sees the first byte read past it.
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

static bytes read_whole(const char *corpus, const char *name) {
    char path[512];
    bytes file = {NULL, 0};
    snprintf(path, sizeof path, "%s/%s", corpus, name);
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL, "%s cannot be opened", path);
    file.data = malloc(1 << 20);
    CHECK(file.data != NULL, "no memory");
    file.size = fread(file.data, 1, 1 << 20, f);
    fclose(f);
    CHECK(file.size > 40 && file.size < 1 << 20, "%s has %zu bytes", path, file.size);
    return file;
}

// Read the first `size` bytes as a model. Returns its code; an error has words that end in a dot.
static int bind_copy(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    parrot_model model = {0};
    parrot_fault fault = {0};
    CHECK(copy != NULL, "no memory");
    memcpy(copy, data, size);
    int err = pt_gguf_bind(&model, copy, size, "x.gguf", &fault);
    if (err == PARROT_OK) {
        CHECK(model.shape.n_vocab >= 2 && model.layers, "a model without tokens passed");
    } else {
        size_t n = strlen(fault.text);
        CHECK(fault.code == err && strncmp(fault.text, "x.gguf: ", 8) == 0 &&
                  fault.text[n - 1] == '.',
              "code %d, words: %s", err, fault.text);
    }
    free(model.layers);
    free(copy);
    return err;
}

static int find_bytes(const bytes *file, const char *what) {
    size_t n = strlen(what);
    for (size_t i = 0; i + n <= file->size; i++) {
        if (memcmp(file->data + i, what, n) == 0) return (int)(i + n);
    }
    CHECK(false, "%s is not in the file", what);
    return -1;
}

static void test_models_cut_and_flipped(const char *corpus) {
    static const char *const names[] = {"gguf/f32", "gguf/f16", "gguf/q8"};
    for (int i = 0; i < 3; i++) {
        bytes file = read_whole(corpus, names[i]);
        CHECK(bind_copy(file.data, file.size) == PARROT_OK, "%s is refused", names[i]);
        size_t header = (size_t)find_bytes(&file, "output.weight") + 36;
        for (size_t size = 0; size < file.size; size += size < header ? 1 : 997) {
            CHECK(bind_copy(file.data, size) != PARROT_OK, "%s cut to %zu passed", names[i], size);
        }
        CHECK(bind_copy(file.data, file.size - 33) != PARROT_OK, "%s cut passed", names[i]);
        size_t n_refused = 0;
        for (size_t bit = 0; bit < header * 8; bit++) {
            file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            n_refused += bind_copy(file.data, file.size) != PARROT_OK;
            file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        CHECK(n_refused > header * 2, "%s: only %zu of %zu flips refused", names[i], n_refused,
              header * 8);
        free(file.data);
    }
}

// Numbers that a hostile file may claim: each refused, none believed.
static void test_absurd_numbers(const char *corpus) {
    static const struct {
        const char *after;
        int at, size;
        uint64_t value;
    } claims[] = {
        {"rwkv7.block_count", 4, 4, 0},
        {"rwkv7.block_count", 4, 4, 257},
        {"rwkv7.embedding_length", 4, 4, 0xffffffff},
        {"rwkv7.embedding_length", 4, 4, 1 << 15},
        {"rwkv7.feed_forward_length", 4, 4, 0x80000000},
        {"rwkv7.wkv.head_size", 4, 4, 15},
        {"rwkv7.wkv.head_size", 4, 4, 129},
        {"rwkv7.attention.gate_lora_rank", 4, 4, 0},
        {"rwkv7.attention.layer_norm_epsilon", 0, 4, 5},  // not a float
        {"rwkv7.attention.layer_norm_epsilon", 4, 4, 0x3f800000},  // 1.0
        {"GGUF", 0, 4, 2},                                // version
        {"GGUF", 4, 8, UINT64_MAX},                       // tensors
        {"GGUF", 4, 8, 1},                                // the others are missing
        {"GGUF", 12, 8, UINT64_MAX},                      // keys
        {"tokenizer.ggml.tokens", 8, 8, UINT64_MAX},      // items of an array
        {"tokenizer.ggml.token_type", 8, 8, UINT64_MAX / 4 + 1},  // times 4 overflows
        {"token_embd.weight", 0, 4, 5},                   // dimensions
        {"token_embd.weight", 12, 8, 0},                  // no tokens
        {"token_embd.weight", 12, 8, 1},
        {"token_embd.weight", 12, 8, (uint64_t)1 << 60},
        {"token_embd.weight", 4, 8, (uint64_t)1 << 63},
        {"token_embd.weight", 20, 4, 2},                  // a type we do not have
        {"token_embd.weight", 24, 8, 1},                  // offset not aligned
        {"token_embd.weight", 24, 8, UINT64_MAX - 31},
    };
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        bytes file = read_whole(corpus, "gguf/f32");
        uint8_t *to = file.data + find_bytes(&file, claims[i].after) + claims[i].at;
        for (int b = 0; b < claims[i].size; b++) to[b] = (uint8_t)(claims[i].value >> 8 * b);
        int err = bind_copy(file.data, file.size);
        CHECK(err == PARROT_E_CORRUPT || err == PARROT_E_FORMAT || err == PARROT_E_VERSION,
              "claim %zu about %s: code %d", i, claims[i].after, err);
        free(file.data);
    }
}

// Neither matrix has a row: the vocabulary was once believed to be 0, and divided by.
static void test_empty_vocabulary(const char *corpus) {
    bytes file = read_whole(corpus, "gguf/f32");
    memset(file.data + find_bytes(&file, "token_embd.weight") + 12, 0, 8);
    memset(file.data + find_bytes(&file, "output.weight") + 12, 0, 8);
    CHECK(bind_copy(file.data, file.size) == PARROT_E_CORRUPT, "an empty vocabulary passed");
    free(file.data);
}

static void test_state_files(const char *corpus) {
    char path[512];
    parrot_model *model;
    parrot_fault fault;
    snprintf(path, sizeof path, "%s/gguf/f32", corpus);
    CHECK(parrot_model_open(&model, path, NULL, &fault) == PARROT_OK, "%s", fault.text);
    bytes file = read_whole(corpus, "state/plain"), other = read_whole(corpus, "state/other-model");
    size_t len = parrot_state_len(parrot_model_shape(model));
    float *payload = malloc(len * sizeof *payload);
    uint64_t position = 0;
    CHECK(payload && file.size == 48 + 4 * len, "%zu bytes for %zu floats", file.size, len);
    CHECK(parrot_state_read(model, file.data, file.size, payload, &position, &fault) == PARROT_OK,
          "%s", fault.text);
    CHECK(position == 77 && memcmp(payload, file.data + 48, 4 * len) == 0, "read wrong");
    uint8_t header[PARROT_STATE_HEADER_SIZE];
    parrot_state_header(model, payload, 77, header);
    CHECK(memcmp(header, file.data, sizeof header) == 0, "the header is not that of the format");
    CHECK(parrot_state_read(model, other.data, other.size, payload, &position, &fault) ==
              PARROT_E_MISMATCH,
          "another model's state was taken");
    memset(payload, 0x5a, 4 * len);
    for (size_t size = 0; size < file.size; size++) {
        uint8_t *copy = malloc(size + 1);
        CHECK(copy != NULL, "no memory");
        memcpy(copy, file.data, size);
        CHECK(parrot_state_read(model, copy, size, payload, &position, &fault) < 0, "%zu", size);
        free(copy);
    }
    for (size_t bit = 0; bit < 8 * file.size; bit += bit < 8 * 48 ? 1 : 61) {
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(parrot_state_read(model, file.data, file.size, payload, &position, &fault) < 0,
              "bit %zu flipped, and it passed", bit);
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CHECK(payload[0] == payload[len - 1] && position == 77, "a refused file was copied");
    parrot_model_close(model);
    free(payload);
    free(file.data);
    free(other.data);
}

static int open_code(const char *path) {
    parrot_model *model;
    parrot_fault fault = {0};
    int err = parrot_model_open(&model, path, NULL, &fault);
    CHECK(err == PARROT_OK || (model == NULL && fault.text[0]), "%s: no words", path);
    parrot_model_close(model);
    return err;
}

static void test_paths(void) {
    char folder[] = "/tmp/parrot-test-XXXXXX", path[64];
    CHECK(mkdtemp(folder) != NULL, "no folder");
    CHECK(open_code(folder) == PARROT_E_IO, "a folder was opened");
    snprintf(path, sizeof path, "%s/pipe", folder);
    CHECK(open_code(path) == PARROT_E_IO, "a missing file was opened");
    CHECK(mkfifo(path, 0600) == 0, "no pipe");
    CHECK(open_code(path) == PARROT_E_IO, "a pipe was opened");  // and does not hang
    unlink(path);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0 && open_code(path) == PARROT_E_FORMAT, "an empty file was opened");
    close(fd);
    unlink(path);
    rmdir(folder);
    CHECK(open_code("/dev/zero") == PARROT_E_IO, "a device was opened");
}

static void test_hashes(void) {
    static const struct {
        size_t n;
        uint64_t hash;
        uint32_t crc;
    } known[] = {  // of bytes i % 251, by the packages xxhash 3 and zlib
        {0, 0xef46db3751d8e999, 0},            {1, 0xe934a84adb052768, 0xd202ef8d},
        {4, 0xffced8604453cc1e, 0x8bb98613},   {7, 0x14cc643f630c72d2, 0xad5809f9},
        {8, 0x884a173614b81b8d, 0x88aa689f},   {31, 0xc346d2b59b4d8ee1, 0x4d786d77},
        {32, 0xcbf59c5116ff32b4, 0x91267e8a},  {33, 0x0c535d1acafb8ead, 0xe4908305},
        {100, 0x6ac1e58032166597, 0x58c932f5}, {1000, 0xf306f04aa88b54d3, 0x721746a6}};
    uint8_t text[1001];
    for (size_t i = 0; i < 1000; i++) text[1 + i] = (uint8_t)(i % 251);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = known[i].n;
        CHECK(pt_xxh64(text + 1, n) == known[i].hash, "xxh64 of %zu bytes", n);
        CHECK(pt_crc32(0, text + 1, n) == known[i].crc, "crc32 of %zu bytes", n);
        CHECK(pt_crc32(pt_crc32(0, text + 1, n / 3), text + 1 + n / 3, n - n / 3) == known[i].crc,
              "crc32 of %zu bytes in two parts", n);
    }
    CHECK(pt_crc32(0, "123456789", 9) == 0xcbf43926, "crc32 check value");
}

static void test_error_names(void) {
    for (int code = -12; code <= 2; code++) {
        bool is_known = code <= 0 && code >= PARROT_E_ABORTED;
        CHECK(is_known != (strcmp(parrot_error_name(code), "unknown") == 0), "code %d", code);
    }
    CHECK(strcmp(parrot_error_name(INT32_MIN), "unknown") == 0, "INT32_MIN");
    CHECK(parrot_read_bandwidth(256, SIZE_MAX / 2) == 0.0, "half of all memory was read");
}

void test_files(const char *corpus) {
    test_hashes();
    test_error_names();
    test_paths();
    test_models_cut_and_flipped(corpus);
    test_absurd_numbers(corpus);
    test_empty_vocabulary(corpus);
    test_state_files(corpus);
}
