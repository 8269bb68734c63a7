// Tables of text.
#include "internal.h"

long deml_text_fields(deml_isa isa, const uint8_t *text, long count, uint8_t separator, long most,
                      deml_text_field *fields, uint32_t *line_ends, long *lines) {
    return deml_isa_kernels(isa)->text_fields(text, count, separator, most, fields, line_ends, lines);
}

long deml_text_numbers(deml_isa isa, const uint8_t *text, const deml_text_field *fields, long stride, long count,
                       uint8_t decimal, double *numbers, uint32_t *others, deml_text_range *range) {
    return deml_isa_kernels(isa)->text_numbers(text, fields, stride, count, decimal, numbers, others, range);
}
