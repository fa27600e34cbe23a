// SPDX-License-Identifier: Apache-2.0
// A strict reader of GGUF v3 files that hold an RWKV-7 model (docs/formats.md).
//
// The file is hostile until proven otherwise. Three habits keep it harmless: a cursor that refuses
// to move past the end; every size through checked arithmetic before anything is touched; and a
// table of the tensors this architecture has, with the exact shape that the metadata implies, so
// that an unknown, missing, doubled or misshapen tensor is an error and not a surprise. No recursion
// and no allocation but one, for a layer count already found to be in range.
#include "internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    N_KV_MAX = 4096,
    NAME_MAX_LEN = 63,
    KEY_MAX_LEN = 255,
    LAYER_MAX = 256,
    EMBD_MAX = 1 << 14,
    FFN_MAX = 1 << 16,
    RANK_MAX = 1 << 12,
    VOCAB_MAX = 1 << 20,
};

int pt_fail(parrot_fault *fault, int code, int64_t offset, const char *format, ...) {
    if (fault) {
        va_list args;
        va_start(args, format);
        fault->code = code;
        fault->offset = offset;
        vsnprintf(fault->text, sizeof fault->text, format, args);
        va_end(args);
    }
    return code;
}

// ---- cursor

typedef struct cursor {
    const uint8_t *file;
    size_t size, at;
    const char *name;  // of the file, for messages
    parrot_fault *fault;
} cursor;

static int cut_short(cursor *c) {
    return pt_fail(c->fault, PARROT_E_CORRUPT, (int64_t)c->at,
                   "%s: the header runs past the end of the file at byte %zu; the copy was cut "
                   "short, copy it again.",
                   c->name, c->size);
}

static bool has(const cursor *c, uint64_t n) { return n <= c->size - c->at; }

static int take_u32(cursor *c, uint32_t *value) {
    if (!has(c, 4)) return cut_short(c);
    *value = pt_le32(c->file + c->at);
    c->at += 4;
    return PARROT_OK;
}

static int take_u64(cursor *c, uint64_t *value) {
    if (!has(c, 8)) return cut_short(c);
    *value = pt_le64(c->file + c->at);
    c->at += 8;
    return PARROT_OK;
}

// A string of at most `len_max` bytes without NUL or control bytes, copied into text[len_max + 1].
static int take_string(cursor *c, char *text, uint64_t len_max, const char *what) {
    uint64_t len = 0;
    int err = take_u64(c, &len);
    if (err) return err;
    if (!has(c, len)) return cut_short(c);
    if (len == 0 || len > len_max) {
        return pt_fail(c->fault, PARROT_E_CORRUPT, (int64_t)c->at,
                       "%s: a %s of %" PRIu64 " bytes, expected 1 to %" PRIu64
                       "; the file is damaged, copy it again.",
                       c->name, what, len, len_max);
    }
    memcpy(text, c->file + c->at, (size_t)len);
    text[len] = '\0';
    for (uint64_t i = 0; i < len; i++) {
        if ((uint8_t)text[i] < 0x20 || (uint8_t)text[i] > 0x7e) {
            return pt_fail(c->fault, PARROT_E_CORRUPT, (int64_t)(c->at + i),
                           "%s: a %s holds byte 0x%02x, expected plain ASCII; the file is damaged, "
                           "copy it again.",
                           c->name, what, (uint8_t)text[i]);
        }
    }
    c->at += (size_t)len;
    return PARROT_OK;
}

// ---- metadata

enum value_type { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, N_VALUE };
static const uint8_t value_size[N_VALUE] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static int skip_string(cursor *c) {
    uint64_t len = 0;
    int err = take_u64(c, &len);
    if (err) return err;
    if (!has(c, len)) return cut_short(c);
    c->at += (size_t)len;
    return PARROT_OK;
}

static int skip_value(cursor *c, uint32_t type) {
    uint64_t n = 1;
    if (type == ARRAY) {
        int err = take_u32(c, &type);
        if (!err) err = take_u64(c, &n);
        if (err) return err;
        if (type == ARRAY) type = N_VALUE;  // nested arrays: refused below
    }
    if (type >= N_VALUE) {
        return pt_fail(c->fault, PARROT_E_CORRUPT, (int64_t)c->at,
                       "%s: metadata of an unknown type at byte %zu; the file is damaged, copy it "
                       "again.",
                       c->name, c->at);
    }
    if (type != STRING) {
        if (n > (c->size - c->at) / value_size[type]) return cut_short(c);
        c->at += (size_t)n * value_size[type];
        return PARROT_OK;
    }
    for (uint64_t i = 0; i < n; i++) {  // each takes 8 bytes or more, so the file bounds the loop
        int err = skip_string(c);
        if (err) return err;
    }
    return PARROT_OK;
}

typedef struct metadata {
    uint32_t n_layer, n_embd, n_ffn, head_size, rank_w, rank_a, rank_v, rank_g, alignment;
    bool has_architecture;
} metadata;

// Keys this reader needs; each an u32 in [min, max].
typedef struct known_key {
    const char *name;
    size_t offset;
    uint32_t min, max;
    bool is_optional;
} known_key;

#define KEY(name, field, min, max) {name, offsetof(metadata, field), min, max, false}
static const known_key known_keys[] = {
    KEY("rwkv7.block_count", n_layer, 1, LAYER_MAX),
    KEY("rwkv7.embedding_length", n_embd, 16, EMBD_MAX),
    KEY("rwkv7.feed_forward_length", n_ffn, 16, FFN_MAX),
    KEY("rwkv7.wkv.head_size", head_size, 16, 128),
    KEY("rwkv7.attention.decay_lora_rank", rank_w, 1, RANK_MAX),
    KEY("rwkv7.attention.iclr_lora_rank", rank_a, 1, RANK_MAX),
    KEY("rwkv7.attention.value_residual_mix_lora_rank", rank_v, 1, RANK_MAX),
    KEY("rwkv7.attention.gate_lora_rank", rank_g, 1, RANK_MAX),
    {"general.alignment", offsetof(metadata, alignment), 8, 1 << 16, true},
};
enum { N_KEYS = sizeof known_keys / sizeof *known_keys };

static int read_known(cursor *c, const known_key *key, uint32_t type, metadata *meta) {
    uint32_t *slot = (uint32_t *)(void *)((char *)meta + key->offset);
    uint32_t value = 0;
    if (type != U32 || *slot != 0) {
        return pt_fail(c->fault, PARROT_E_CORRUPT, (int64_t)c->at,
                       "%s: key %s is %s, expected one 32-bit number; convert the model again.",
                       c->name, key->name, *slot ? "there twice" : "of another type");
    }
    int err = take_u32(c, &value);
    if (err) return err;
    if (value < key->min || value > key->max) {
        return pt_fail(c->fault, PARROT_E_CORRUPT, (int64_t)c->at - 4,
                       "%s: key %s is %" PRIu32 ", expected %" PRIu32 " to %" PRIu32
                       "; this build cannot run such a model.",
                       c->name, key->name, value, key->min, key->max);
    }
    *slot = value;
    return PARROT_OK;
}

static int read_architecture(cursor *c, uint32_t type, metadata *meta) {
    char text[KEY_MAX_LEN + 1];
    if (type != STRING || meta->has_architecture) {
        return pt_fail(c->fault, PARROT_E_CORRUPT, (int64_t)c->at,
                       "%s: key general.architecture is not one string; convert the model again.",
                       c->name);
    }
    int err = take_string(c, text, KEY_MAX_LEN, "architecture");
    if (err) return err;
    if (strcmp(text, "rwkv7") != 0) {
        return pt_fail(c->fault, PARROT_E_FORMAT, (int64_t)c->at,
                       "%s: architecture %s, expected rwkv7; pass an RWKV-7 model.", c->name, text);
    }
    meta->has_architecture = true;
    return PARROT_OK;
}

// The layer-norm epsilon is fixed by the architecture; a file that says another is refused.
static int read_epsilon(cursor *c, uint32_t type) {
    uint32_t bits = 0;
    float epsilon;
    if (type != F32) {
        return pt_fail(c->fault, PARROT_E_CORRUPT, (int64_t)c->at,
                       "%s: key rwkv7.attention.layer_norm_epsilon is not one 32-bit float; convert "
                       "the model again.",
                       c->name);
    }
    int err = take_u32(c, &bits);
    if (err) return err;
    memcpy(&epsilon, &bits, sizeof epsilon);
    if (!(epsilon > 0.99e-5f && epsilon < 1.01e-5f)) {
        return pt_fail(c->fault, PARROT_E_FORMAT, (int64_t)c->at - 4,
                       "%s: layer_norm_epsilon is %g, expected 1e-05; this is not a plain RWKV-7.",
                       c->name, (double)epsilon);
    }
    return PARROT_OK;
}

static int read_pair(cursor *c, metadata *meta) {
    char name[KEY_MAX_LEN + 1];
    uint32_t type = 0;
    int err = take_string(c, name, KEY_MAX_LEN, "metadata key");
    if (!err) err = take_u32(c, &type);
    if (err) return err;
    if (strcmp(name, "general.architecture") == 0) return read_architecture(c, type, meta);
    if (strcmp(name, "rwkv7.attention.layer_norm_epsilon") == 0) return read_epsilon(c, type);
    for (size_t i = 0; i < N_KEYS; i++) {
        if (strcmp(name, known_keys[i].name) == 0) {
            return read_known(c, &known_keys[i], type, meta);
        }
    }
    return skip_value(c, type);
}

static int check_metadata(cursor *c, metadata *meta) {
    if (!meta->has_architecture) {
        return pt_fail(c->fault, PARROT_E_FORMAT, -1,
                       "%s: no key general.architecture, expected rwkv7; pass an RWKV-7 model.",
                       c->name);
    }
    for (size_t i = 0; i < N_KEYS; i++) {
        const known_key *key = &known_keys[i];
        const uint32_t *slot = (const uint32_t *)(const void *)((char *)meta + key->offset);
        if (!key->is_optional && *slot == 0) {
            return pt_fail(c->fault, PARROT_E_CORRUPT, -1,
                           "%s: key %s is missing; convert the model again.", c->name, key->name);
        }
    }
    if (meta->alignment == 0) meta->alignment = 32;  // GGUF's default
    if (meta->alignment & (meta->alignment - 1)) {
        return pt_fail(c->fault, PARROT_E_CORRUPT, -1,
                       "%s: alignment %" PRIu32 " is not a power of two; convert the model again.",
                       c->name, meta->alignment);
    }
    if (meta->n_embd % meta->head_size != 0) {
        return pt_fail(c->fault, PARROT_E_CORRUPT, -1,
                       "%s: embedding_length %" PRIu32 " is not a multiple of head_size %" PRIu32
                       "; convert the model again.",
                       c->name, meta->n_embd, meta->head_size);
    }
    return PARROT_OK;
}

// ---- tensors

typedef enum dim { D1, DC, DF, DV, D6, DW, DA, DG, DRV, N_DIM } dim;  // what a dimension must equal

typedef struct known_tensor {
    const char *name;
    size_t offset;    // in parrot_model or pt_layer: a float pointer or a pt_matrix
    dim in, out, mid;  // ne[0], ne[1]; `mid` = D6 marks {C, 1, 1, 6}
    bool is_matrix;
} known_tensor;

#define VEC(name, owner, field, n) {name, offsetof(owner, field), n, D1, D1, false}
#define MAT(name, owner, field, n_in, n_out) {name, offsetof(owner, field), n_in, n_out, D1, true}

static const known_tensor model_tensors[] = {
    MAT("token_embd.weight", parrot_model, embedding, DC, DV),
    VEC("token_embd_norm.weight", parrot_model, ln0_weight, DC),
    VEC("token_embd_norm.bias", parrot_model, ln0_bias, DC),
    VEC("output_norm.weight", parrot_model, ln_out_weight, DC),
    VEC("output_norm.bias", parrot_model, ln_out_bias, DC),
    MAT("output.weight", parrot_model, head, DC, DV),
};
static const known_tensor layer_tensors[] = {
    VEC("attn_norm.weight", pt_layer, ln1_weight, DC),
    VEC("attn_norm.bias", pt_layer, ln1_bias, DC),
    VEC("attn_norm_2.weight", pt_layer, ln2_weight, DC),
    VEC("attn_norm_2.bias", pt_layer, ln2_bias, DC),
    {"time_mix_lerp_fused.weight", offsetof(pt_layer, lerp), DC, D1, D6, false},
    VEC("time_mix_w0.weight", pt_layer, w0, DC),
    MAT("time_mix_w1.weight", pt_layer, w1, DC, DW),
    MAT("time_mix_w2.weight", pt_layer, w2, DW, DC),
    VEC("time_mix_a0.weight", pt_layer, a0, DC),
    MAT("time_mix_a1.weight", pt_layer, a1, DC, DA),
    MAT("time_mix_a2.weight", pt_layer, a2, DA, DC),
    VEC("time_mix_v0.weight", pt_layer, v0, DC),
    MAT("time_mix_v1.weight", pt_layer, v1, DC, DRV),
    MAT("time_mix_v2.weight", pt_layer, v2, DRV, DC),
    MAT("time_mix_g1.weight", pt_layer, g1, DC, DG),
    MAT("time_mix_g2.weight", pt_layer, g2, DG, DC),
    VEC("time_mix_k_k.weight", pt_layer, k_k, DC),
    VEC("time_mix_k_a.weight", pt_layer, k_a, DC),
    VEC("time_mix_r_k.weight", pt_layer, r_k, DC),
    MAT("time_mix_receptance.weight", pt_layer, receptance, DC, DC),
    MAT("time_mix_key.weight", pt_layer, key, DC, DC),
    MAT("time_mix_value.weight", pt_layer, value, DC, DC),
    MAT("time_mix_output.weight", pt_layer, output, DC, DC),
    VEC("time_mix_ln.weight", pt_layer, ln_x_weight, DC),
    VEC("time_mix_ln.bias", pt_layer, ln_x_bias, DC),
    VEC("channel_mix_lerp_k.weight", pt_layer, ffn_x_k, DC),
    MAT("channel_mix_key.weight", pt_layer, ffn_key, DC, DF),
    MAT("channel_mix_value.weight", pt_layer, ffn_value, DF, DC),
};
enum {
    N_MODEL_TENSORS = sizeof model_tensors / sizeof *model_tensors,
    N_LAYER_TENSORS = sizeof layer_tensors / sizeof *layer_tensors,
};

typedef struct tensor_header {
    char name[NAME_MAX_LEN + 1];
    uint32_t n_dims, type;
    uint64_t ne[4], offset;
    size_t at;  // where the header stands
} tensor_header;

static int read_tensor_header(cursor *c, tensor_header *t) {
    t->at = c->at;
    int err = take_string(c, t->name, NAME_MAX_LEN, "tensor name");
    if (!err) err = take_u32(c, &t->n_dims);
    if (err) return err;
    if (t->n_dims < 1 || t->n_dims > 4) {
        return pt_fail(c->fault, PARROT_E_CORRUPT, (int64_t)c->at - 4,
                       "%s: tensor %s has %" PRIu32 " dimensions, expected 1 to 4; the file is "
                       "damaged, copy it again.",
                       c->name, t->name, t->n_dims);
    }
    for (uint32_t i = 0; i < 4; i++) {
        t->ne[i] = 1;
        if (i < t->n_dims && (err = take_u64(c, &t->ne[i]))) return err;
    }
    err = take_u32(c, &t->type);
    if (!err) err = take_u64(c, &t->offset);
    return err;
}

// Find the table entry and the object that owns the slot, or NULL for an unknown name.
static const known_tensor *find_tensor(parrot_model *model, const char *name, char **owner,
                                       uint32_t *layer) {
    *layer = UINT32_MAX;
    *owner = (char *)model;
    const known_tensor *table = model_tensors;
    size_t n = N_MODEL_TENSORS;
    if (strncmp(name, "blk.", 4) == 0) {
        char *end;
        if (name[4] < '0' || name[4] > '9' || (name[4] == '0' && name[5] != '.')) return NULL;
        unsigned long i = strtoul(name + 4, &end, 10);
        if (*end != '.' || i >= model->shape.n_layer) return NULL;
        *layer = (uint32_t)i;
        *owner = (char *)&model->layers[i];
        table = layer_tensors;
        n = N_LAYER_TENSORS;
        name = end + 1;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name, table[i].name) == 0) return &table[i];
    }
    return NULL;
}

static bool is_bound(const char *owner, const known_tensor *known) {
    if (!known->is_matrix) return *(const float *const *)(const void *)(owner + known->offset) != NULL;
    return ((const pt_matrix *)(const void *)(owner + known->offset))->mapped != NULL;
}

// The vocabulary is not in the metadata: it is what the embedding says, and the head must agree.
static bool shape_fits(parrot_model *model, const known_tensor *known, tensor_header *t,
                       uint32_t layer) {
    const parrot_shape *s = &model->shape;
    if (known->out == DV && s->n_vocab == 0) {
        if (t->ne[1] < 2 || t->ne[1] > VOCAB_MAX) return false;
        model->shape.n_vocab = (uint32_t)t->ne[1];
    }
    // llama.cpp wants value-residual tensors in layer 0 too, where they are unused and carry the
    // rank of the iclr LoRA.
    bool is_dummy = layer == 0 && t->ne[known->in == DRV ? 0 : 1] == s->rank_a;
    uint32_t rank_v = is_dummy ? s->rank_a : s->rank_v;
    uint64_t want[N_DIM] = {1,         s->n_embd, s->n_ffn,  s->n_vocab, 6,
                            s->rank_w, s->rank_a, s->rank_g, rank_v};
    return t->ne[0] == want[known->in] && t->ne[1] == want[known->out] && t->ne[2] == 1 &&
           t->ne[3] == want[known->mid];
}

static int wrong_shape(cursor *c, const tensor_header *t) {
    return pt_fail(c->fault, PARROT_E_CORRUPT, (int64_t)t->at,
                   "%s: tensor %s is %" PRIu64 " x %" PRIu64 " x %" PRIu64 " x %" PRIu64
                   ", which its metadata does not allow; convert the model again.",
                   c->name, t->name, t->ne[0], t->ne[1], t->ne[2], t->ne[3]);
}

static int wrong_type(cursor *c, const tensor_header *t, const char *want) {
    return pt_fail(c->fault, PARROT_E_FORMAT, (int64_t)t->at,
                   "%s: tensor %s has type %" PRIu32 ", expected %s; quantize the model again with "
                   "parrot model quantize.",
                   c->name, t->name, t->type, want);
}

// Bytes of the tensor. Its dimensions are known to be those of the shape, so 64 bits cannot overflow
// (at most 2^20 x 2^14 x 4); a size_t of 32 bits could.
static uint64_t tensor_size(const tensor_header *t) {
    uint64_t n = t->ne[0] * t->ne[1] * t->ne[3];
    if (t->type == PT_Q8_0) return n / PT_BLOCK * PT_BLOCK_SIZE;
    return t->type == PT_F16 ? n * 2 : n * 4;
}

static int bind_tensor(cursor *c, parrot_model *model, tensor_header *t, size_t data_at,
                       uint32_t alignment) {
    char *owner;
    uint32_t layer;
    const known_tensor *known = find_tensor(model, t->name, &owner, &layer);
    if (!known || is_bound(owner, known)) {
        return pt_fail(c->fault, PARROT_E_CORRUPT, (int64_t)t->at,
                       "%s: tensor %s is %s; convert the model again.", c->name, t->name,
                       known ? "there twice" : "not one that RWKV-7 has");
    }
    if (!shape_fits(model, known, t, layer)) return wrong_shape(c, t);
    if (known->is_matrix && t->type != PT_F32 && t->type != PT_F16 && t->type != PT_Q8_0) {
        return wrong_type(c, t, "F32, F16 or Q8_0");
    }
    if (!known->is_matrix && t->type != PT_F32) return wrong_type(c, t, "F32");
    if (t->type == PT_Q8_0 && t->ne[0] % PT_BLOCK != 0) return wrong_shape(c, t);
    uint64_t size = tensor_size(t);
    if (t->offset % alignment != 0 || t->offset > c->size - data_at ||
        size > c->size - data_at - t->offset) {
        return pt_fail(c->fault, PARROT_E_CORRUPT, (int64_t)t->at,
                       "%s: tensor %s has %" PRIu64 " bytes at offset %" PRIu64
                       " of the data, but the file has %zu; the copy was cut short, copy it again.",
                       c->name, t->name, size, t->offset, c->size);
    }
    const uint8_t *bytes = c->file + data_at + t->offset;
    if (known->is_matrix) {
        *(pt_matrix *)(void *)(owner + known->offset) = (pt_matrix){
            (enum pt_type)t->type, (uint32_t)t->ne[1], (uint32_t)t->ne[0], bytes, NULL};
    } else {
        *(const float **)(void *)(owner + known->offset) = (const float *)(const void *)bytes;
    }
    return PARROT_OK;
}

static int check_bound(cursor *c, parrot_model *model) {
    for (size_t i = 0; i < N_MODEL_TENSORS; i++) {
        if (!is_bound((const char *)model, &model_tensors[i])) {
            return pt_fail(c->fault, PARROT_E_CORRUPT, -1,
                           "%s: tensor %s is missing; convert the model again.", c->name,
                           model_tensors[i].name);
        }
    }
    for (uint32_t layer = 0; layer < model->shape.n_layer; layer++) {
        for (size_t i = 0; i < N_LAYER_TENSORS; i++) {
            if (!is_bound((const char *)&model->layers[layer], &layer_tensors[i])) {
                return pt_fail(c->fault, PARROT_E_CORRUPT, -1,
                               "%s: tensor blk.%" PRIu32 ".%s is missing; convert the model again.",
                               c->name, layer, layer_tensors[i].name);
            }
        }
    }
    return PARROT_OK;
}

// ---- file

static const char *looks_like(const uint8_t *p) {
    if (memcmp(p, "PK\3\4", 4) == 0) return "a zip archive or .pth, run: parrot model import";
    if (memcmp(p, "\x1f\x8b", 2) == 0) return "gzip, unpack it and pass the .gguf inside";
    if (memcmp(p, "PST1", 4) == 0) return "a parrot state, pass it with --soul";
    if (memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0) return "zstd, unpack it and pass the .gguf inside";
    return "not a model, pass a .gguf";
}

static int read_preamble(cursor *c, uint64_t *n_tensors, uint64_t *n_pairs) {
    uint32_t version = 0;
    if (c->size < 24) {
        return pt_fail(c->fault, PARROT_E_FORMAT, 0,
                       "%s: %zu bytes, expected a GGUF file; pass a .gguf.", c->name, c->size);
    }
    if (memcmp(c->file, "GGUF", 4) != 0) {
        return pt_fail(c->fault, PARROT_E_FORMAT, 0,
                       "%s: first bytes are %02x %02x %02x %02x, expected 47 47 55 46; this is %s.",
                       c->name, c->file[0], c->file[1], c->file[2], c->file[3],
                       looks_like(c->file));
    }
    c->at = 4;
    int err = take_u32(c, &version);
    if (!err) err = take_u64(c, n_tensors);
    if (!err) err = take_u64(c, n_pairs);
    if (err) return err;
    if (version != 3) {
        return pt_fail(c->fault, PARROT_E_VERSION, 4,
                       "%s: GGUF version %" PRIu32 ", expected 3; convert the model again.",
                       c->name, version);
    }
    if (*n_tensors > N_MODEL_TENSORS + (uint64_t)LAYER_MAX * N_LAYER_TENSORS ||
        *n_pairs > N_KV_MAX) {
        return pt_fail(c->fault, PARROT_E_CORRUPT, 8,
                       "%s: %" PRIu64 " tensors and %" PRIu64
                       " keys, more than any RWKV-7; the file is damaged, copy it again.",
                       c->name, *n_tensors, *n_pairs);
    }
    return PARROT_OK;
}

static int read_tensors(cursor *c, parrot_model *model, uint64_t n_tensors, uint32_t alignment) {
    tensor_header t;
    size_t first = c->at;
    for (uint64_t i = 0; i < n_tensors; i++) {  // once to find where the data begins,
        int err = read_tensor_header(c, &t);
        if (err) return err;
    }
    size_t data_at = (c->at + alignment - 1) / alignment * alignment;
    if (data_at > c->size) return cut_short(c);
    c->at = first;
    for (uint64_t i = 0; i < n_tensors; i++) {  // once to bind
        int err = read_tensor_header(c, &t);
        if (!err) err = bind_tensor(c, model, &t, data_at, alignment);
        if (err) return err;
    }
    return check_bound(c, model);
}

int pt_gguf_bind(parrot_model *model, const uint8_t *file, size_t size, const char *name,
                 parrot_fault *fault) {
    cursor c = {file, size, 0, name, fault};
    metadata meta = {0};
    uint64_t n_tensors = 0, n_pairs = 0;
    int err = read_preamble(&c, &n_tensors, &n_pairs);
    for (uint64_t i = 0; !err && i < n_pairs; i++) err = read_pair(&c, &meta);
    if (!err) err = check_metadata(&c, &meta);
    if (err) return err;
    model->shape = (parrot_shape){.n_layer = meta.n_layer,
                                  .n_embd = meta.n_embd,
                                  .head_size = meta.head_size,
                                  .n_ffn = meta.n_ffn,
                                  .rank_w = meta.rank_w,
                                  .rank_a = meta.rank_a,
                                  .rank_v = meta.rank_v,
                                  .rank_g = meta.rank_g};
    model->layers = calloc(meta.n_layer, sizeof *model->layers);
    if (!model->layers) {
        return pt_fail(fault, PARROT_E_NOMEM, -1,
                       "%s: no memory for %" PRIu32 " layers; close other programs.", name,
                       meta.n_layer);
    }
    return read_tensors(&c, model, n_tensors, meta.alignment);
}
