// NEON of AArch64: 4 lanes, 32 registers.
#if defined(__aarch64__)
#include "internal.h"

#define ISA DEML_NEON
#define TABLE deml_kernels_neon
#define LANES 4
#define TILE_VECTORS 4
#define TILE_ROWS_1 12
#define TILE_ROWS_2 12
#define TILE_ROWS_3 8
#define TILE_ROWS_4 6
#include "kernels/table.h"
#endif
