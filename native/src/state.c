// SPDX-License-Identifier: Apache-2.0
// The state file (docs/formats.md): a 48-byte header, then the payload as little-endian f32. This
// code checks and copies; files are written by parrot/base/files.py alone, so that power cuts are
// tested in one place.
#include "internal.h"

#include <inttypes.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "parrot files are little-endian and are mapped as they are: a big-endian port needs a copy"
#endif

enum { STATE_VERSION = 1 };
enum { AT_VERSION = 4, AT_ID = 8, AT_LAYERS = 16, AT_EMBD = 20, AT_HEAD = 24, AT_POSITION = 32,
       AT_CRC = 40 };

static void put_le(uint8_t *p, uint64_t value, int size) {
    for (int i = 0; i < size; i++) p[i] = (uint8_t)(value >> 8 * i);
}

// CRC-32 of IEEE 802.3, reflected, as zlib's: eight bits at a time over a table of sixteen.
uint32_t pt_crc32(uint32_t crc, const void *bytes, size_t size) {
    static const uint32_t nibble[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    const uint8_t *p = bytes;
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc = nibble[(crc ^ p[i]) & 15] ^ crc >> 4;
        crc = nibble[(crc ^ p[i] >> 4) & 15] ^ crc >> 4;
    }
    return ~crc;
}

size_t parrot_state_len(const parrot_shape *s) {
    if (s->n_layer < 1 || s->n_layer > 256 || s->head_size < 16 || s->head_size > 128 ||
        s->n_embd < s->head_size || s->n_embd > 1u << 14 || s->n_embd % s->head_size != 0) {
        return 0;
    }
    return (size_t)s->n_layer * s->n_embd * (2 + (size_t)s->head_size);
}

static uint32_t checksum(const uint8_t *header, const void *payload, size_t payload_size) {
    static const uint8_t zeros[8] = {0};
    uint32_t crc = pt_crc32(0, header, AT_CRC);
    crc = pt_crc32(crc, zeros, sizeof zeros);
    return pt_crc32(crc, payload, payload_size);
}

void parrot_state_header(const parrot_model *model, const float *payload, uint64_t position,
                         uint8_t *header) {
    const parrot_shape *s = parrot_model_shape(model);
    memset(header, 0, PARROT_STATE_HEADER_SIZE);
    memcpy(header, "PST1", 4);
    put_le(header + AT_VERSION, STATE_VERSION, 4);
    memcpy(header + AT_ID, parrot_model_id(model), 8);
    put_le(header + AT_LAYERS, s->n_layer, 4);
    put_le(header + AT_EMBD, s->n_embd, 4);
    put_le(header + AT_HEAD, s->head_size, 4);
    put_le(header + AT_POSITION, position, 8);
    put_le(header + AT_CRC, checksum(header, payload, parrot_state_len(s) * 4), 4);
}

static int check_format(const uint8_t *file, size_t size, parrot_fault *fault) {
    if (size < PARROT_STATE_HEADER_SIZE || memcmp(file, "PST1", 4) != 0) {
        return pt_fail(fault, PARROT_E_FORMAT, 0,
                       "%zu bytes that do not begin with PST1, expected a parrot state; pass "
                       "another file.",
                       size);
    }
    if (pt_le32(file + AT_VERSION) != STATE_VERSION) {
        return pt_fail(fault, PARROT_E_VERSION, AT_VERSION,
                       "state version %" PRIu32 ", expected %d; it was written by a newer parrot, "
                       "update this one.",
                       pt_le32(file + AT_VERSION), STATE_VERSION);
    }
    return PARROT_OK;
}

static int check_shape(const parrot_shape *s, const uint8_t *file, parrot_fault *fault) {
    if (pt_le32(file + AT_LAYERS) == s->n_layer && pt_le32(file + AT_EMBD) == s->n_embd &&
        pt_le32(file + AT_HEAD) == s->head_size) {
        return PARROT_OK;
    }
    return pt_fail(fault, PARROT_E_MISMATCH, AT_LAYERS,
                   "a state of %" PRIu32 " layers of %" PRIu32 ", this model has %" PRIu32 " of %"
                   PRIu32 "; load the model that grew it.",
                   pt_le32(file + AT_LAYERS), pt_le32(file + AT_EMBD), s->n_layer, s->n_embd);
}

int parrot_state_read(const parrot_model *model, const uint8_t *file, size_t file_size,
                      float *payload, uint64_t *position, parrot_fault *fault) {
    const parrot_shape *s = parrot_model_shape(model);
    size_t payload_size = parrot_state_len(s) * 4;
    int err = check_format(file, file_size, fault);
    if (!err) err = check_shape(s, file, fault);
    if (err) return err;
    const uint8_t *from = file + PARROT_STATE_HEADER_SIZE;
    if (file_size != PARROT_STATE_HEADER_SIZE + payload_size) {
        return pt_fail(fault, PARROT_E_CORRUPT, (int64_t)file_size,
                       "%zu bytes, expected %zu; the copy was cut short, copy it again.", file_size,
                       PARROT_STATE_HEADER_SIZE + payload_size);
    }
    if (checksum(file, from, payload_size) != pt_le32(file + AT_CRC) ||
        pt_le32(file + AT_CRC + 4) != 0 || pt_le32(file + AT_HEAD + 4) != 0) {
        return pt_fail(fault, PARROT_E_CORRUPT, AT_CRC,
                       "the checksum does not match; the state is damaged, use an older copy.");
    }
    const uint8_t *id = parrot_model_id(model);
    if (memcmp(file + AT_ID, id, 8) != 0) {
        const uint8_t *g = file + AT_ID;
        return pt_fail(fault, PARROT_E_MISMATCH, AT_ID,
                       "grown by model %02x%02x%02x%02x, this model is %02x%02x%02x%02x; load that "
                       "model, or start fresh.",
                       g[0], g[1], g[2], g[3], id[0], id[1], id[2], id[3]);
    }
    memcpy(payload, from, payload_size);
    *position = pt_le64(file + AT_POSITION);
    return PARROT_OK;
}
