#ifndef DEML_CPICTURES_H
#define DEML_CPICTURES_H

#include <stddef.h>

/// A picture of 8 bits a sample, row by row: 1 channel (grey) or 3 (red, green, blue).
typedef struct {
    int width;
    int height;
    int channels;
    unsigned char *pixels;
} deml_picture;

/// Decodes a PNG or JPEG file. Alpha is laid on white. Pictures wider or higher than `maximum_side` are refused before
/// memory is taken for them.
/// Returns 0, or another number with a sentence in `message`, which has `room` bytes. What was decoded is to be freed.
int deml_picture_decode(
    const unsigned char *bytes, size_t count, int maximum_side, deml_picture *picture, char *message, size_t room);

void deml_picture_free(deml_picture *picture);

#endif
