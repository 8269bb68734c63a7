#pragma once

#include <stddef.h>

/// A file of the page.
typedef struct {
    const char *name;
    const unsigned char *bytes;
    size_t count;
} PageAsset;

/// All of them; they live as long as the program.
const PageAsset *page_assets(size_t *count);
