// Plain C for any machine; on x86-64 without FMA instructions (kernels/simd.h computes them exactly).
#include "internal.h"

#define ISA DEML_PORTABLE
#define TABLE deml_kernels_portable
#define LANES 4
#define TILE_VECTORS 2
#define TILE_ROWS_1 4
#define TILE_ROWS_2 2
#define TILE_ROWS_3 0
#define TILE_ROWS_4 0
#include "kernels/table.h"
