/// An exact amount of GLM: a decimal with 18 digits after the point, as the ERC-20 token has.
///
/// The daemon sends amounts as decimal strings, at times padded (`"1.000000000000000000"`), at times as numbers.
/// All of these read as the same value, and no value is ever rounded on reading.
public struct Amount: Hashable, Comparable, Sendable {
    /// The number of the smallest unit, 10⁻¹⁸ GLM.
    public var units: Int128

    /// Digits after the decimal point.
    public static let digits = 18
    static let one: Int128 = 1_000_000_000_000_000_000

    /// Nothing.
    public static let zero = Amount(units: 0)
    /// 10²⁰ GLM, more than there will ever be: sums stop here.
    public static let largest = Amount(units: 100 * one * one)

    /// In units of 10⁻¹⁸ GLM.
    public init(units: Int128) {
        self.units = units
    }

    /// Reads `[-]digits[.digits][e±digits]`. `nil` if the text is something else, has a non-zero digit beyond the
    /// 18th after the point, or is larger than 10²⁰ GLM.
    public init?(_ text: some StringProtocol) {
        var bytes = text.utf8[...]
        var negative = false
        if bytes.first == UInt8(ascii: "-") || bytes.first == UInt8(ascii: "+") {
            negative = bytes.first == UInt8(ascii: "-")
            bytes = bytes.dropFirst()
        }
        var digits: [UInt8] = []
        var pointAt: Int?
        var exponent = 0
        while let byte = bytes.first {
            bytes = bytes.dropFirst()
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                digits.append(byte - UInt8(ascii: "0"))
            case UInt8(ascii: ".") where pointAt == nil:
                pointAt = digits.count
            case UInt8(ascii: "e"), UInt8(ascii: "E"):
                guard let value = Int(String(decoding: bytes, as: UTF8.self)), abs(value) < 100 else { return nil }
                exponent = value
                bytes = bytes.dropFirst(bytes.count)
            default:
                return nil
            }
        }
        guard !digits.isEmpty, digits.count < 200 else { return nil }
        // The digit at index i stands for 10^(scale - i).
        let scale = (pointAt ?? digits.count) - 1 + exponent
        var value: Int128 = 0
        for position in stride(from: max(scale, 0), through: -Amount.digits, by: -1) {
            let index = scale - position
            let digit = digits.indices.contains(index) ? digits[index] : 0
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
            guard !overflow, scaled <= Amount.largest.units else { return nil }
            value = scaled + Int128(digit)
        }
        // The largest amount itself, which a ledger holds for what nobody can pay, is read.
        guard value <= Amount.largest.units else { return nil }
        let lastUsed = scale + Amount.digits
        for (index, digit) in digits.enumerated() where index > lastUsed && digit != 0 { return nil }
        units = negative ? -value : value
    }

    /// The amount nearest to `value` GLM; `nil` if it is not finite or larger than 10¹⁸.
    public init?(glm value: Double) {
        guard value.isFinite, abs(value) < 1e18 else { return nil }
        // In two steps, because 10¹⁸ times a large value passes the 53 bits of a Double.
        let whole = value.rounded(.towardZero)
        units = Int128(whole) * Amount.one + Int128(((value - whole) * 1e18).rounded())
    }

    /// The nearest `Double`, for display and scores; never for decisions about money.
    public var glm: Double {
        Double(units / Amount.one) + Double(units % Amount.one) / 1e18
    }

    public static func < (left: Amount, right: Amount) -> Bool { left.units < right.units }
    public static func + (left: Amount, right: Amount) -> Amount {
        let (sum, overflow) = left.units.addingReportingOverflow(right.units)
        if overflow { return Amount(units: left.units < 0 ? -largest.units : largest.units) }
        return Amount(units: min(max(sum, -largest.units), largest.units))
    }
    public static func - (left: Amount, right: Amount) -> Amount { left + Amount(units: -right.units) }
    public static func += (left: inout Amount, right: Amount) { left = left + right }
    public static func -= (left: inout Amount, right: Amount) { left = left - right }

    /// The amount times a factor that is not negative, rounded up to the next unit; saturates at 10²⁰ GLM.
    public func scaled(by factor: Double) -> Amount {
        precondition(factor >= 0, "an amount is scaled by a factor that is not negative")
        let product = Double(units) * factor
        guard product < 1e38 else { return .largest }
        return Amount(units: Int128(product.rounded(.up)))
    }
}

extension Amount: ExpressibleByFloatLiteral {
    /// The decimal as it stands in the source: `0.1` is exactly 0.1 GLM. One that is no amount, because it is too large or
    /// has more than 18 digits behind the point, is a programmer's mistake.
    public init(floatLiteral value: Double) {
        // The shortest text that reads as this Double is what was written.
        guard let amount = Amount("\(value)") else { preconditionFailure("\(value) is no amount of GLM") }
        self = amount
    }
}

extension Amount: CustomStringConvertible, LosslessStringConvertible, ExpressibleByIntegerLiteral {
    public init(integerLiteral value: Int64) {
        units = Int128(value) * Amount.one
    }

    /// A decimal number of GLM with 18 digits behind the point at most, as the daemon writes it.
    public init?(_ description: String) {
        self.init(description[...])
    }

    /// Without padding: `1`, `0.25`, `-0.000000000000000001`.
    public var description: String {
        let magnitude = units.magnitude
        let whole = magnitude / UInt128(Amount.one)
        var fraction = magnitude % UInt128(Amount.one)
        var text = (units < 0 ? "-" : "") + String(whole)
        guard fraction != 0 else { return text }
        var width = Amount.digits
        while fraction % 10 == 0 {
            fraction /= 10
            width -= 1
        }
        let digits = String(fraction)
        text += "." + String(repeating: "0", count: width - digits.count) + digits
        return text
    }
}
