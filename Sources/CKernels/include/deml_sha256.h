// SHA-256 (sha256.c). Part of CKernels.h.
#ifndef DEML_SHA256_H
#define DEML_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// A stream that is hashed; a plain value, which may be copied to go on in two ways.
typedef struct {
    uint32_t state[8];
    uint64_t count;
    uint8_t block[64];
    bool uses_instructions;
} deml_sha256;

/// Begins a stream. `plain`: without the processor's instructions, to compare with.
void deml_sha256_begin(deml_sha256 *hash, bool plain);
void deml_sha256_update(deml_sha256 *hash, const void *bytes, size_t count);
/// The digest of what came so far; the stream may go on.
void deml_sha256_end(const deml_sha256 *hash, uint8_t digest[32]);

#endif
