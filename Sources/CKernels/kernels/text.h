// Tables of text: where fields end, and the decimal numbers in them. Whole numbers and one division, so every instruction
// set gives the same bytes.

typedef uint8_t text_block __attribute__((ext_vector_type(64)));
typedef bool text_bits __attribute__((ext_vector_type(64)));

/// A bit for each of 64 bytes that is `byte`, the first byte's lowest.
INLINE uint64_t text_equal(const text_block *block, uint8_t byte) {
    const text_bits equal = __builtin_convertvector(*block == byte, text_bits);
    uint64_t bits;
    memcpy(&bits, &equal, sizeof bits);
    return bits;
}

static long text_fields(const uint8_t *text, long count, uint8_t separator, long most, deml_text_field *fields,
                        uint32_t *line_ends, long *lines) {
    long at = 0, found = 0, line = 0;
    uint32_t start = 0;
    // Of the byte before the block: whether a field may begin after it, and whether it is a space.
    uint64_t after_mark = 1, after_space = 0;
    for (; at + 64 <= count && found + 64 <= most; at += 64) {
        text_block block;
        memcpy(&block, text + at, sizeof block);
        if (text_equal(&block, '"') | text_equal(&block, '\r')) break;
        uint64_t ends = text_equal(&block, '\n');
        const uint64_t marks = text_equal(&block, separator) | ends;
        const uint64_t spaces = (text_equal(&block, ' ') | text_equal(&block, '\t')) & ~marks;
        if ((spaces & (marks << 1 | after_mark)) | (marks & (spaces << 1 | after_space))) break;
        after_mark = marks >> 63;
        after_space = spaces >> 63;
        for (; ends; ends &= ends - 1)
            line_ends[line++] = (uint32_t)(found + __builtin_popcountll(marks & ((ends & -ends) - 1)));
        for (uint64_t rest = marks; rest; rest &= rest - 1) {
            const uint32_t end = (uint32_t)at + (uint32_t)__builtin_ctzll(rest);
            fields[found++] = (deml_text_field){start, end};
            start = end + 1;
        }
    }
    *lines = line;
    return at;
}

// Where vectors are short, one number at a time is faster.
enum { TEXT_LANES = LANES >= 8 ? LANES / 2 : 1 };
typedef uint64_t text_words __attribute__((ext_vector_type(TEXT_LANES)));
typedef int64_t text_masks __attribute__((ext_vector_type(TEXT_LANES)));
typedef double text_doubles __attribute__((ext_vector_type(TEXT_LANES)));
typedef uint16_t text_quarters __attribute__((ext_vector_type(TEXT_LANES * 4)));

#define TEXT_ALL(byte) (0x0101010101010101u * (uint64_t)(byte))

INLINE text_words text_choose(text_masks mask, text_words yes, text_words no) {
    return (yes & (text_words)mask) | (no & ~(text_words)mask);
}
INLINE bool text_any(text_masks mask) { return __builtin_reduce_or(mask) != 0; }
/// The highest bit of every byte that is 0.
INLINE text_words text_zero_bytes(text_words word) {
    return ~(((word & TEXT_ALL(0x7f)) + TEXT_ALL(0x7f)) | word) & TEXT_ALL(0x80);
}
/// The word without the byte whose lowest bit is `place`; those before it move up, and `first` goes before them.
INLINE text_words text_without(text_words place, text_words word, text_words first) {
    const text_words before = place - 1, after = ~(before | ((place << 8) - place));
    return (word & after) | ((word & before) << 8) | first;
}
/// Eight values from 0 to 9 as a number, the lowest byte being the first digit.
INLINE text_words text_value(text_words digits) {
    const text_words pairs = ((digits << 3) + (digits << 1) + (digits >> 8)) & 0x00ff00ff00ff00ff;
    const text_words fours = ((text_words)((text_quarters)pairs * 100) + (pairs >> 16)) & 0x0000ffff0000ffff;
    return (fours & 0xffffffff) * 10000 + (fours >> 32);
}

/// The powers of ten up to 10^15, by their exponent.
static const double text_powers[16] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                       1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

static const uint8_t text_nothing[17] = {0};

static long text_numbers(const uint8_t *text, const deml_text_field *fields, long stride, long count, uint8_t decimal,
                         double *numbers, uint32_t *others, deml_text_range *range) {
    text_doubles least = range->minimum, most = range->maximum;
    bool whole = range->whole;
    long other = 0;
    for (long row = 0; row < count; row += TEXT_LANES) {
        const long some = count - row < TEXT_LANES ? count - row : TEXT_LANES;
        // The 16 bytes before each field's end; how many of them are digits or a point.
        struct {
            uint64_t upper[TEXT_LANES], lower[TEXT_LANES], length[TEXT_LANES], negative[TEXT_LANES];
        } read;
        if (some < TEXT_LANES) memset(&read, 0, sizeof read);
        for (long lane = 0; lane < some; lane++) {
            const deml_text_field field = fields[(row + lane) * stride];
            // Fields without 16 bytes before their end are read in another way; so are those with a flag in `end`.
            const bool is_there = field.end >= 16 && field.end <= INT32_MAX && field.end > field.start;
            const uint8_t *end = is_there ? text + field.end : text_nothing + 16;
            const uint32_t size = is_there ? field.end - field.start : 0;
            const uint8_t first = *(end - size);
            memcpy(read.upper + lane, end - 16, 8);
            memcpy(read.lower + lane, end - 8, 8);
            read.negative[lane] = first == '-';
            read.length[lane] = (uint64_t)size - (first == '-' || first == '+');
        }
        text_words upper, lower, length, negative;
        memcpy(&upper, read.upper, sizeof upper);
        memcpy(&lower, read.lower, sizeof lower);
        memcpy(&length, read.length, sizeof length);
        memcpy(&negative, read.negative, sizeof negative);
        text_masks valid = (length > 0) & (length <= 16);
        // What stands before the digits becomes zeros.
        const text_words size = text_choose(valid, length, (text_words)1);
        const text_masks is_short = size <= 8;
        const text_words lower_free = text_choose(is_short, 64 - size * 8, (text_words)0);
        const text_words upper_free = text_choose(is_short, (text_words)0, 128 - size * 8) & 63;
        const text_words lower_fill = ((text_words)1 << lower_free) - 1;
        const text_words upper_fill = text_choose(is_short, ~(text_words)0, ((text_words)1 << upper_free) - 1);
        lower = (lower & ~lower_fill) | (lower_fill & TEXT_ALL('0'));
        upper = (upper & ~upper_fill) | (upper_fill & TEXT_ALL('0'));
        // The point is taken out.
        text_words lower_point = text_zero_bytes(lower ^ TEXT_ALL(decimal)) >> 7;
        text_words upper_point = text_zero_bytes(upper ^ TEXT_ALL(decimal)) >> 7;
        lower_point &= -lower_point;
        upper_point &= -upper_point;
        const text_masks in_lower = lower_point != 0, in_upper = ~in_lower & (upper_point != 0);
        const text_masks has_point = in_lower | in_upper;
        lower = text_choose(in_lower, text_without(lower_point, lower, upper >> 56), lower);
        upper = text_choose(in_lower, upper << 8 | '0',
                            text_choose(in_upper, text_without(upper_point, upper, (text_words)'0'), upper));
        // The exponent of 2^(8·byte) tells the byte.
        const text_doubles place = __builtin_convertvector(
            text_choose(has_point, text_choose(in_lower, lower_point, upper_point), (text_words)1), text_doubles);
        const text_words byte = (((text_words)place >> 52) - 1023) >> 3;
        const text_words fraction =
            text_choose(has_point, text_choose(in_lower, 7 - byte, 15 - byte), (text_words)0) & 15;

        lower ^= TEXT_ALL('0');
        upper ^= TEXT_ALL('0');
        const text_words no_digits = (lower + TEXT_ALL(0x76)) | lower | (upper + TEXT_ALL(0x76)) | upper;
        const text_words digits = text_value(upper) * 100000000 + text_value(lower);
        valid &= ((no_digits & TEXT_ALL(0x80)) == 0) & (digits <= (uint64_t)1 << 53) & ((size > 1) | ~has_point);
        text_doubles power;
        for (long lane = 0; lane < TEXT_LANES; lane++) power[lane] = text_powers[fraction[lane]];
        // Exact in one rounding: Clinger, "How to read floating point numbers accurately", 1990.
        const text_doubles magnitude = __builtin_convertvector(digits, text_doubles) / power;
        const text_doubles number = (text_doubles)((text_words)magnitude | negative << 63);
        const text_words smaller = (text_words)(valid & (number < least)), larger = (text_words)(valid & (number > most));
        least = (text_doubles)text_choose((text_masks)smaller, (text_words)number, (text_words)least);
        most = (text_doubles)text_choose((text_masks)larger, (text_words)number, (text_words)most);
        const text_words kept = text_choose(valid, (text_words)number, (text_words)(text_doubles)__builtin_nan(""));
        memcpy(numbers + row, &kept, (size_t)some * sizeof(double));
        if (text_any(valid == 0))
            for (long lane = 0; lane < some; lane++)
                if (numbers[row + lane] != numbers[row + lane]) others[other++] = (uint32_t)(row + lane);
        // A number without a fraction is whole, unless it is -0.
        if (whole && text_any(valid & ((fraction != 0) | ((negative != 0) & (digits == 0)))))
            for (long lane = 0; lane < some && whole; lane++) {
                const double value = numbers[row + lane], back = value == value ? (double)(int64_t)value : value;
                whole = memcmp(&back, &value, sizeof back) == 0;
            }
    }
    for (long lane = 0; lane < TEXT_LANES; lane++) {
        if (least[lane] < range->minimum) range->minimum = least[lane];
        if (most[lane] > range->maximum) range->maximum = most[lane];
    }
    range->whole = whole;
    return other;
}
