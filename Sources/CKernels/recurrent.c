// The functions of recurrent layers: calls of kernels/recurrent.h.
#include "internal.h"

static void run_step(deml_pool *pool, deml_body *body, const deml_recurrent_step *step) {
    enum { HIDDEN_BLOCK = 64 };  // as in kernels/recurrent.h
    deml_run(pool, (deml_call){body, step, step->batch * deml_ceil_div(step->hidden, HIDDEN_BLOCK), 1,
                               20.0 * HIDDEN_BLOCK, false});
}

void deml_lstm_forward(deml_pool *pool, const deml_recurrent_step *step) {
    run_step(pool, deml_pool_kernels(pool)->lstm_forward, step);
}
void deml_lstm_backward(deml_pool *pool, const deml_recurrent_step *step) {
    run_step(pool, deml_pool_kernels(pool)->lstm_backward, step);
}
void deml_gru_forward(deml_pool *pool, const deml_recurrent_step *step) {
    run_step(pool, deml_pool_kernels(pool)->gru_forward, step);
}
void deml_gru_backward(deml_pool *pool, const deml_recurrent_step *step) {
    run_step(pool, deml_pool_kernels(pool)->gru_backward, step);
}
