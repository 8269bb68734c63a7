// Which instruction sets there are, and which one to use.
#include <stdlib.h>

#include "internal.h"

int deml_kernels_version(void) { return 1; }

static const char *const names[DEML_ISA_COUNT] = {"portable", "avx2", "avx512", "neon"};

const char *deml_isa_name(deml_isa isa) { return (unsigned)isa < DEML_ISA_COUNT ? names[isa] : "unknown"; }

bool deml_isa_available(deml_isa isa) {
    switch (isa) {
    case DEML_PORTABLE: return true;
#if defined(__x86_64__)
    case DEML_AVX2: __builtin_cpu_init(); return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case DEML_AVX512:
        return deml_isa_available(DEML_AVX2) && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
#elif defined(__aarch64__)
    case DEML_NEON: return true;
#endif
    default: return false;
    }
}

const deml_kernels *deml_isa_kernels(deml_isa isa) {
    switch (isa) {
#if defined(__x86_64__)
    case DEML_AVX2: return &deml_kernels_avx2;
    case DEML_AVX512: return &deml_kernels_avx512;
#elif defined(__aarch64__)
    case DEML_NEON: return &deml_kernels_neon;
#endif
    default: return &deml_kernels_portable;
    }
}

deml_isa deml_isa_default(void) {
    const char *wanted = getenv("DEML_ISA");
    for (int isa = 0; wanted && isa < DEML_ISA_COUNT; isa++)
        if (strcmp(wanted, names[isa]) == 0 && deml_isa_available((deml_isa)isa)) return (deml_isa)isa;
    const deml_isa best_first[] = {DEML_AVX512, DEML_AVX2, DEML_NEON};
    for (size_t i = 0; i < sizeof best_first / sizeof *best_first; i++)
        if (deml_isa_available(best_first[i])) return best_first[i];
    return DEML_PORTABLE;
}

double deml_fma_peak_operations(deml_pool *pool, long iterations) {
    return deml_pool_kernels(pool)->fma_peak(iterations);
}
