// Tables of text (text.c). Part of CKernels.h.
#ifndef DEML_TEXT_H
#define DEML_TEXT_H

#include <stdbool.h>
#include <stdint.h>

/// A field of a text: the bytes from start to end. The highest bit of end is the caller's: such a field is never a number.
typedef struct {
    uint32_t start, end;
} deml_text_field;

/// What numbers have in common.
typedef struct {
    double minimum, maximum;
    /// All are whole, and none is -0.
    bool whole;
} deml_text_range;

/// Cuts text into fields: each ends before a separator or '\n', and the next begins after it. `line_ends`: the index of
/// each field that a '\n' ends. Looks at blocks of 64 bytes and stops before one that holds a quote, '\r', or a space or
/// tab at an end of a field; before one that is not whole; or where 64 more fields may be more than `most`, which is also
/// the room in `line_ends`.
/// Returns how many bytes it looked at; the fields that end there are those up to the last of `fields`. Count < 2^31.
long deml_text_fields(deml_isa isa, const uint8_t *text, long count, uint8_t separator, long most,
                      deml_text_field *fields, uint32_t *line_ends, long *lines);

/// Reads fields, `stride` apart, as decimal numbers: a sign or none, up to 16 digits with one decimal mark or none, no more
/// than 2^53 without the mark; rounded correctly. Others become NaN, and their places stand in `others`, whose number is
/// returned: they may be numbers that are written in another way. `range` is widened by the numbers.
long deml_text_numbers(deml_isa isa, const uint8_t *text, const deml_text_field *fields, long stride, long count,
                       uint8_t decimal, double *numbers, uint32_t *others, deml_text_range *range);

#endif
