/// Numbers as people and programs write them into tables.
enum NumberText {
    /// The powers of ten that a Double holds exactly.
    private static let powers: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ]

    static func number(_ text: String, decimal: UInt8 = UInt8(ascii: ".")) -> Double? {
        var text = text
        return text.withUTF8 { bytes in
            bytes.baseAddress.flatMap { number($0, bytes.count, decimal: decimal) }
        }
    }

    /// A decimal number: sign, digits with a point (or what `decimal` says), exponent; correctly rounded. No NaN, no
    /// infinity, no hexadecimal, no digits grouped by thousands.
    static func number(_ field: UnsafePointer<UInt8>, _ count: Int, decimal: UInt8) -> Double? {
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
                if significant <= 18 {
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
        // Exact in one rounding: Clinger, "How to read floating point numbers accurately", 1990.
        if significant <= 18, mantissa <= 1 << 53, exponent >= -22, exponent <= 22 {
            let value = exponent < 0 ? Double(mantissa) / powers[-exponent] : Double(mantissa) * powers[exponent]
            return isNegative ? -value : value
        }
        var text = String(decoding: UnsafeBufferPointer(start: field, count: count), as: UTF8.self)
        if decimal != UInt8(ascii: ".") { text = text.replacing(String(UnicodeScalar(decimal)), with: ".") }
        return Double(text)
    }

    /// A number as the name of a class: `1.0`, `1` and `01` are one.
    static func name(of value: Double) -> String {
        Int(exactly: value).map(String.init) ?? "\(value)"
    }
}
