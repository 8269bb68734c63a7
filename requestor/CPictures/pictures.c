// PNG by libpng's simplified interface, JPEG by libjpeg-turbo: its errors come by longjmp, which Swift must not see.
#include "CPictures.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

static int refuse(char *message, size_t room, const char *text) {
    snprintf(message, room, "%s", text);
    return 1;
}

static int decode_png(
    const unsigned char *bytes, size_t count, int maximum_side, deml_picture *picture, char *message, size_t room) {
    png_image image;
    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_memory(&image, bytes, count)) return refuse(message, room, image.message);
    if (image.width > (png_uint_32)maximum_side || image.height > (png_uint_32)maximum_side) {
        png_image_free(&image);
        return refuse(message, room, "the picture is too large");
    }
    image.format = image.format & PNG_FORMAT_FLAG_COLOR ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    picture->channels = image.format == PNG_FORMAT_RGB ? 3 : 1;
    picture->width = (int)image.width;
    picture->height = (int)image.height;
    picture->pixels = malloc(PNG_IMAGE_SIZE(image));
    if (!picture->pixels) {
        png_image_free(&image);
        return refuse(message, room, "there is not enough memory");
    }
    png_color white = {255, 255, 255};
    if (!png_image_finish_read(&image, &white, picture->pixels, 0, NULL)) {
        deml_picture_free(picture);
        return refuse(message, room, image.message);
    }
    return 0;
}

struct failure {
    struct jpeg_error_mgr manager;
    jmp_buf place;
    char text[JMSG_LENGTH_MAX];
};

static void fail(j_common_ptr info) {
    struct failure *failure = (struct failure *)info->err;
    failure->manager.format_message(info, failure->text);
    longjmp(failure->place, 1);
}

// Damaged data is a warning to libjpeg, which goes on with grey.
static void note(j_common_ptr info, int level) {
    if (level < 0) fail(info);
}

static int decode_jpeg(
    const unsigned char *bytes, size_t count, int maximum_side, deml_picture *picture, char *message, size_t room) {
    struct jpeg_decompress_struct info;
    struct failure failure;
    info.err = jpeg_std_error(&failure.manager);
    failure.manager.error_exit = fail;
    failure.manager.emit_message = note;
    if (setjmp(failure.place)) {
        jpeg_destroy_decompress(&info);
        deml_picture_free(picture);
        return refuse(message, room, failure.text);
    }
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, (unsigned char *)bytes, (unsigned long)count);
    jpeg_read_header(&info, TRUE);
    if (info.image_width > (JDIMENSION)maximum_side || info.image_height > (JDIMENSION)maximum_side) {
        jpeg_destroy_decompress(&info);
        return refuse(message, room, "the picture is too large");
    }
    if (info.num_components != 1 && info.num_components != 3) {
        jpeg_destroy_decompress(&info);
        return refuse(message, room, "the picture is neither grey nor of three colours");
    }
    info.out_color_space = info.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    // The exact transform, so that a picture is the same on every machine.
    info.dct_method = JDCT_ISLOW;
    info.do_fancy_upsampling = TRUE;
    jpeg_start_decompress(&info);
    picture->width = (int)info.output_width;
    picture->height = (int)info.output_height;
    picture->channels = info.output_components;
    size_t row = (size_t)info.output_width * (size_t)info.output_components;
    picture->pixels = malloc(row * info.output_height);
    if (!picture->pixels) {
        jpeg_destroy_decompress(&info);
        return refuse(message, room, "there is not enough memory");
    }
    while (info.output_scanline < info.output_height) {
        JSAMPROW line = picture->pixels + row * info.output_scanline;
        jpeg_read_scanlines(&info, &line, 1);
    }
    jpeg_finish_decompress(&info);
    jpeg_destroy_decompress(&info);
    return 0;
}

int deml_picture_decode(
    const unsigned char *bytes, size_t count, int maximum_side, deml_picture *picture, char *message, size_t room) {
    memset(picture, 0, sizeof *picture);
    if (count >= 8 && png_sig_cmp(bytes, 0, 8) == 0) {
        return decode_png(bytes, count, maximum_side, picture, message, room);
    }
    if (count >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff) {
        return decode_jpeg(bytes, count, maximum_side, picture, message, room);
    }
    return refuse(message, room, "the file is neither PNG nor JPEG");
}

void deml_picture_free(deml_picture *picture) {
    free(picture->pixels);
    picture->pixels = NULL;
}
