// Memory of scratch arenas.
#include "scratch.h"

#include <stdio.h>
#include <stdlib.h>

void deml_arena_free(deml_arena *arena) {
#if defined(DEML_CHECKED_SCRATCH)
    if (arena->base) ASAN_UNPOISON_MEMORY_REGION(arena->base, (size_t)arena->size);
#endif
    free(arena->base);
    *arena = (deml_arena){0};
}

bool deml_arena_reserve(deml_arena *arena, long bytes) {
    if (arena->size < bytes) {
        deml_arena_free(arena);
        if (bytes > LONG_MAX - DEML_SCRATCH_ALIGNMENT) return false;
        const long blocks = (bytes + DEML_SCRATCH_ALIGNMENT - 1) / DEML_SCRATCH_ALIGNMENT;
        arena->base = aligned_alloc(DEML_SCRATCH_ALIGNMENT, (size_t)(blocks * DEML_SCRATCH_ALIGNMENT));
        if (!arena->base) return false;
        arena->size = blocks * DEML_SCRATCH_ALIGNMENT;
    }
    deml_arena_release(arena, 0);
    return true;
}

void deml_arena_exceeded(const deml_arena *arena) {
    fprintf(stderr, "CKernels: scratch of %ld bytes is too small for %ld\n", arena->size, arena->used);
    abort();
}
