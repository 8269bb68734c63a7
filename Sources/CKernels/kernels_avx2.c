// AVX2 and FMA: 8 lanes, 16 registers.
#if defined(__x86_64__)
#include "internal.h"

#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define __FMA__ 1
#define ISA DEML_AVX2
#define TABLE deml_kernels_avx2
#define LANES 8
#define TILE_VECTORS 2
#define TILE_ROWS_1 8
#define TILE_ROWS_2 6
#define TILE_ROWS_3 0
#define TILE_ROWS_4 3
#include "kernels/table.h"
#pragma clang attribute pop
#endif
