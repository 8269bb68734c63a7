/// Numbers as people and programs write them into tables.
package enum NumberText {
    /// The powers of ten that a Double holds exactly.
    private static let powers: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ]

    /// The powers of five that 64 bits hold.
    private static let fives: [UInt64] = (0...27).map { (0..<$0).reduce(1) { power, _ in power * 5 } }

    package static func number(_ text: String, decimal: UInt8 = UInt8(ascii: ".")) -> Double? {
        var text = text
        return text.withUTF8 { bytes in
            bytes.baseAddress.flatMap { number($0, bytes.count, readable: bytes.count, decimal: decimal) }
        }
    }

    /// A decimal number: sign, digits with a point (or what `decimal` says), exponent; correctly rounded. No NaN, no
    /// infinity, no hexadecimal, no digits grouped by thousands.
    /// - Parameter readable: so many bytes are there from `field` on, `count` or more. Where there are some more the number
    ///   is read in words of eight bytes.
    @inline(__always)
    package static func number(
        _ field: UnsafePointer<UInt8>, _ count: Int, readable: Int, decimal: UInt8
    ) -> Double? {
        guard count > 0, readable >= 17 else { return byDigits(field, count, decimal) }
        let isNegative = field[0] == UInt8(ascii: "-")
        let sign = isNegative || field[0] == UInt8(ascii: "+") ? 1 : 0
        guard count &- sign <= 16,
            let words = EightBytes.number(UnsafeRawPointer(field) + sign, count &- sign, decimal),
            words.mantissa <= 1 << 53
        else { return byDigits(field, count, decimal) }
        // Exact in one rounding: Clinger, "How to read floating point numbers accurately", 1990.
        let value = Double(Int64(truncatingIfNeeded: words.mantissa)) / powers[words.fraction]
        return Double(bitPattern: value.bitPattern | (isNegative ? 1 << 63 : 0))
    }

    /// Any decimal number, byte after byte.
    @inline(never)
    private static func byDigits(_ field: UnsafePointer<UInt8>, _ count: Int, _ decimal: UInt8) -> Double? {
        var index = 0
        var isNegative = false
        if count > 0, field[0] == UInt8(ascii: "-") || field[0] == UInt8(ascii: "+") {
            isNegative = field[0] == UInt8(ascii: "-")
            index = 1
        }
        var mantissa: UInt64 = 0
        var digits = 0
        var significant = 0
        var exponent = 0
        var hasPoint = false
        while index < count {
            let byte = field[index]
            if byte &- 0x30 <= 9 {
                digits &+= 1
                if significant > 0 || byte != 0x30 { significant &+= 1 }
                if significant <= 19 {
                    mantissa = mantissa &* 10 &+ UInt64(byte &- 0x30)
                    if hasPoint { exponent &-= 1 }
                } else if !hasPoint {
                    exponent &+= 1
                }
            } else if byte == decimal, !hasPoint {
                hasPoint = true
            } else {
                break
            }
            index &+= 1
        }
        guard digits > 0, count <= 400 else { return nil }
        if index < count, field[index] | 0x20 == UInt8(ascii: "e") {
            index += 1
            var isSmall = false
            if index < count, field[index] == UInt8(ascii: "-") || field[index] == UInt8(ascii: "+") {
                isSmall = field[index] == UInt8(ascii: "-")
                index += 1
            }
            let begin = index
            var power = 0
            while index < count, field[index] &- 0x30 <= 9 {
                power = min(power * 10 + Int(field[index] &- 0x30), 100_000)
                index += 1
            }
            guard index > begin else { return nil }
            exponent += isSmall ? -power : power
        }
        guard index == count else { return nil }
        if significant <= 19, let value = rounded(mantissa, exponent) { return isNegative ? -value : value }
        var text = String(decoding: UnsafeBufferPointer(start: field, count: count), as: UTF8.self)
        if decimal != UInt8(ascii: ".") { text = text.replacing(String(UnicodeScalar(decimal)), with: ".") }
        return Double(text)
    }

    /// `mantissa · 10^exponent`, rounded once, to nearest and even; nil where 128 bits do not suffice for it.
    private static func rounded(_ mantissa: UInt64, _ exponent: Int) -> Double? {
        if mantissa <= 1 << 53, exponent >= -22, exponent <= 22 {
            return exponent < 0 ? Double(mantissa) / powers[-exponent] : Double(mantissa) * powers[exponent]
        }
        guard mantissa > 0, exponent >= -27, exponent <= 27 else { return nil }
        // 10^e is 5^e · 2^e: a product or a quotient of whole numbers, of which the upper 63 or 64 bits are kept. That some
        // lower bit is set is kept in their lowest, which is beyond what a Double has: so it is rounded as the whole is.
        let top: UInt64
        let power: Int
        if exponent >= 0 {
            let (high, low) = mantissa.multipliedFullWidth(by: fives[exponent])
            guard high > 0 else { return scaled(low, by: exponent) }
            let shift = high.leadingZeroBitCount
            top = high << shift | low >> (64 - shift) | (low << shift != 0 ? 1 : 0)
            power = 64 - shift + exponent
        } else {
            let five = fives[-exponent]
            let shifts = (mantissa.leadingZeroBitCount, five.leadingZeroBitCount)
            let shifted = mantissa << shifts.0
            let (quotient, rest) = (five << shifts.1).dividingFullWidth((shifted >> 1, shifted << 63))
            top = quotient | (rest != 0 ? 1 : 0)
            power = shifts.1 - shifts.0 - 63 + exponent
        }
        return scaled(top, by: power)
    }

    /// `value · 2^power`, which is neither subnormal nor too large.
    private static func scaled(_ value: UInt64, by power: Int) -> Double {
        Double(value) * Double(bitPattern: UInt64(1023 + power) << 52)
    }

    /// A number as the name of a class: `1.0`, `1` and `01` are one.
    static func name(of value: Double) -> String {
        Int(exactly: value).map(String.init) ?? "\(value)"
    }
}

/// Eight bytes of a text in a word, the first one lowest, and what can be asked of all of them at once.
///
/// Lemire, "Number parsing at a gigabyte per second", Software: Practice and Experience 51, 2021; and "Quickly parsing eight
/// digits", 2018.
enum EightBytes {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highs: UInt64 = 0x8080_8080_8080_8080
    private static let zeros: UInt64 = 0x3030_3030_3030_3030

    @inline(__always)
    static func all(_ byte: UInt8) -> UInt64 { ones &* UInt64(byte) }

    @inline(__always)
    static func load(_ text: UnsafeRawPointer) -> UInt64 { text.loadUnaligned(as: UInt64.self) }

    /// The highest bit of every byte of the word that is not 0; the other bits are anything.
    @inline(__always)
    static func nonzeroBytes(_ word: UInt64) -> UInt64 { ((word & ~highs) &+ ~highs) | word }

    /// The highest bit of every byte of the word that is 0: where two words are equal, if it is their `^`.
    @inline(__always)
    static func zeroBytes(_ word: UInt64) -> UInt64 { ~nonzeroBytes(word) & highs }

    /// The highest bits of all bytes side by side, the lowest byte's first.
    @inline(__always)
    static func bits(_ highBits: UInt64) -> UInt64 {
        (((highBits & highs) >> 7) &* 0x0102_0408_1020_4080) >> 56
    }

    /// Up to 16 bytes that are digits with one point or none, at least one digit: all digits as one number, and how many of
    /// them stand behind the point; nil where they are something else. 16 bytes are read if there are more than eight, else
    /// eight.
    @inline(__always)
    static func number(
        _ text: UnsafeRawPointer, _ count: Int, _ decimal: UInt8
    ) -> (mantissa: UInt64, fraction: Int)? {
        guard count > 8 else {
            guard count > 0 else { return nil }
            let word = padded(load(text), count)
            let point = zeroBytes(word ^ all(decimal))
            guard point != 0 else { return digits(word).map { ($0, 0) } }
            guard count > 1 else { return nil }
            let place = point.trailingZeroBitCount &- 7
            return digits(without(place, word, first: 0x30)).map { ($0, (56 &- place) >> 3) }
        }
        let upper = padded(load(text), count &- 8)
        let lower = load(text + (count &- 8))
        let point = zeroBytes(lower ^ all(decimal))
        if point != 0 {
            let place = point.trailingZeroBitCount &- 7
            return digits(upper << 8 | 0x30, without(place, lower, first: upper >> 56)).map { ($0, (56 &- place) >> 3) }
        }
        let upperPoint = zeroBytes(upper ^ all(decimal))
        guard upperPoint != 0 else { return digits(upper, lower).map { ($0, 0) } }
        let place = upperPoint.trailingZeroBitCount &- 7
        return digits(without(place, upper, first: 0x30), lower).map { ($0, (120 &- place) >> 3) }
    }

    /// The first `count` bytes of a word, 1 to 8, moved to its end; zeros before them.
    @inline(__always)
    private static func padded(_ word: UInt64, _ count: Int) -> UInt64 {
        let free = UInt64(truncatingIfNeeded: 64 &- count &* 8)
        return word &<< free | ~(~0 &<< free) & zeros
    }

    /// The word without the byte at a bit; those before it move up, and `first` goes before them.
    @inline(__always)
    private static func without(_ place: Int, _ word: UInt64, first: UInt64) -> UInt64 {
        let before: UInt64 = ~(~0 &<< UInt64(truncatingIfNeeded: place))
        return word & ~(before | 0xff &<< UInt64(truncatingIfNeeded: place)) | (word & before) << 8 | first
    }

    @inline(__always)
    private static func areDigits(_ values: UInt64) -> Bool { ((values &+ all(0x76)) | values) & highs == 0 }

    @inline(__always)
    private static func digits(_ word: UInt64) -> UInt64? {
        let values = word ^ zeros
        return areDigits(values) ? value(values) : nil
    }

    @inline(__always)
    private static func digits(_ upper: UInt64, _ lower: UInt64) -> UInt64? {
        let (upper, lower) = (upper ^ zeros, lower ^ zeros)
        return areDigits(upper) && areDigits(lower) ? value(upper) &* 100_000_000 &+ value(lower) : nil
    }

    /// Eight values from 0 to 9 as a number, the lowest byte being the first digit.
    @inline(__always)
    private static func value(_ values: UInt64) -> UInt64 {
        let pairs = values &* 10 &+ values >> 8
        let mask: UInt64 = 0x0000_00ff_0000_00ff
        return ((pairs & mask) &* 0x000f_4240_0000_0064 &+ (pairs >> 16 & mask) &* 0x0000_2710_0000_0001) >> 32
    }
}
