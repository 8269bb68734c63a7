// Everything in kernels/ compiled for one instruction set, as a table. The including file sets ISA, TABLE, LANES and
// TILE_ROWS_1 … TILE_ROWS_4, TILE_VECTORS.
#include "simd.h"
#include "math.h"
#include "tile.h"
#include "elementwise.h"
#include "rows.h"
#include "resample.h"
#include "depthwise.h"
#include "batch_norm.h"
#include "transpose.h"
#include "attention.h"
#include "recurrent.h"
#include "text.h"

const deml_kernels TABLE = {
    .isa = ISA, .lanes = LANES, .max_vectors = TILE_VECTORS,
    .max_rows = {0, TILE_ROWS_1, TILE_ROWS_2, TILE_ROWS_3, TILE_ROWS_4},
    .tile = tile, .column_sums = column_sums, .copy_rows = copy_rows, .transpose = transpose,
    .normalize_u8 = normalize_u8, .normalize_f32 = normalize_f32,
    .update = update, .fma_peak = fma_peak,
    .depthwise_pixels = depthwise_pixels, .depthwise_weights = depthwise_weights,
    .activation_forward = activation_forward, .activation_backward = activation_backward,
    .add = add, .scale = scale, .multiply = multiply, .subtract = subtract,
    .sum_of_squares = sum_of_squares, .function = function, .dropout = dropout,
    .gate_forward = gate_forward, .gate_gradient = gate_gradient, .gate_input_gradient = gate_input_gradient,
    .max_pool_forward = max_pool_forward, .max_pool_backward = max_pool_backward,
    .avg_pool_forward = avg_pool_forward, .avg_pool_backward = avg_pool_backward,
    .upsample_forward = upsample_forward, .upsample_backward = upsample_backward,
    .adaptive_pool_forward = adaptive_pool_forward, .adaptive_pool_backward = adaptive_pool_backward,
    .layer_norm_forward = layer_norm_forward, .layer_norm_backward = layer_norm_backward,
    .layer_norm_parameters = layer_norm_parameters,
    .group_norm_forward = group_norm_forward, .group_norm_backward = group_norm_backward,
    .batch_norm_sums = batch_norm_sums, .batch_norm_squares = batch_norm_squares,
    .batch_norm_gradients = batch_norm_gradients, .batch_norm_forward = batch_norm_forward,
    .batch_norm_backward = batch_norm_backward,
    .softmax_forward = softmax_forward,
    .cross_entropy = cross_entropy, .compare_outputs = compare_outputs,
    .attention_forward = attention_forward, .attention_backward = attention_backward,
    .lstm_forward = lstm_forward, .lstm_backward = lstm_backward,
    .gru_forward = gru_forward, .gru_backward = gru_backward,
    .text_fields = text_fields, .text_numbers = text_numbers,
};
