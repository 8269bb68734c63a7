// Scratch memory: an arena that blocks are cut from, one after the other.
//
// How much a call needs is found by running the very function that cuts the memory, without any: a body that is run
// with a measuring arena gets NULL for each block, adds up their sizes, and returns without computing. There is no
// second formula that could be wrong.
//
// In a build with the address sanitizer every block is checked on its own: memory that is not cut is poisoned, there is
// a gap behind each block, and a block is full of NaN at first.
#ifndef DEML_SCRATCH_H
#define DEML_SCRATCH_H

#include <limits.h>
#include <stdbool.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define DEML_CHECKED_SCRATCH 1
#endif
#endif

enum {
    DEML_SCRATCH_ALIGNMENT = 64,
#if defined(DEML_CHECKED_SCRATCH)
    DEML_SCRATCH_GAP = 4096,
#else
    DEML_SCRATCH_GAP = 0,
#endif
};

/// a·b and a + b of numbers that are not negative; LONG_MAX if that is too much.
static inline long deml_times(long a, long b) {
    long result;
    return __builtin_mul_overflow(a, b, &result) ? LONG_MAX : result;
}
static inline long deml_plus(long a, long b) {
    long result;
    return __builtin_add_overflow(a, b, &result) ? LONG_MAX : result;
}

typedef struct {
    char *base;
    long size, used, peak;  // bytes; peak: the most that was ever in use
    bool measuring;         // there is no memory: blocks are NULL, only the peak is of interest
} deml_arena;

/// Memory for at least `bytes`; what was cut before is lost. False, and an empty arena, if there is none.
bool deml_arena_reserve(deml_arena *arena, long bytes);
void deml_arena_free(deml_arena *arena);
/// Says that a block does not fit, which is a mistake in these files, and ends the process: better than to go on.
__attribute__((noreturn)) void deml_arena_exceeded(const deml_arena *arena);

/// Gives back what was cut since `used` was `mark`.
static inline void deml_arena_release(deml_arena *arena, long mark) {
    arena->used = mark;
#if defined(DEML_CHECKED_SCRATCH)
    if (!arena->measuring && arena->base) ASAN_POISON_MEMORY_REGION(arena->base + mark, (size_t)(arena->size - mark));
#endif
}

/// The next block of `count` floats, aligned to 64 bytes.
static inline float *deml_cut(deml_arena *arena, long count) {
    const long from = arena->used, bytes = deml_times(count, (long)sizeof(float));
    const long end = deml_plus(deml_plus(from, bytes), DEML_SCRATCH_GAP + DEML_SCRATCH_ALIGNMENT - 1);
    arena->used = end == LONG_MAX ? LONG_MAX : end / DEML_SCRATCH_ALIGNMENT * DEML_SCRATCH_ALIGNMENT;
    if (arena->used > arena->peak) arena->peak = arena->used;
    if (arena->measuring) return NULL;
    if (arena->used > arena->size) deml_arena_exceeded(arena);
    char *block = arena->base + from;
#if defined(DEML_CHECKED_SCRATCH)
    ASAN_UNPOISON_MEMORY_REGION(block, (size_t)bytes);
    memset(block, 0xff, (size_t)bytes);
#endif
    return (float *)block;
}

#endif
