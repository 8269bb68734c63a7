// AVX-512 (F, BW, DQ, VL): 16 lanes, 32 registers.
#if defined(__x86_64__)
#include "internal.h"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#define __FMA__ 1
#define ISA DEML_AVX512
#define TABLE deml_kernels_avx512
#define LANES 16
#define TILE_VECTORS 4
#define TILE_ROWS_1 12
#define TILE_ROWS_2 12
#define TILE_ROWS_3 8
#define TILE_ROWS_4 6
#include "kernels/table.h"
#pragma clang attribute pop
#endif
