#include <isa-l.h>

/// What a level works with. Swift reads no macros that compute.
enum { deml_isal_level_2_bytes = ISAL_DEF_LVL2_DEFAULT };
