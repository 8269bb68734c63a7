/// The numbers that a setting may have, and their unit. Every number of a configuration has one, so that nothing that
/// computes with it can be led out of the range of its type.
public struct NumberRange: Sendable, Equatable {
    public var lower: Double
    public var upper: Double
    /// Whether the bounds themselves are allowed.
    public var includesLower: Bool
    public var includesUpper: Bool
    /// A number outside that is allowed too, and what it means: 0, for never.
    public var exception: (value: Double, meaning: String)?
    /// What is counted or measured, in the plural; empty for a plain number.
    public var unit: String

    init(
        _ lower: Double, _ upper: Double, _ unit: String = "", includesLower: Bool = true, includesUpper: Bool = true,
        or exception: (value: Double, meaning: String)? = nil
    ) {
        self.lower = lower
        self.upper = upper
        self.includesLower = includesLower
        self.includesUpper = includesUpper
        self.exception = exception
        self.unit = unit
    }

    /// A count.
    static func count(_ range: ClosedRange<Int>, _ unit: String) -> NumberRange {
        NumberRange(Double(range.lowerBound), Double(range.upperBound), unit)
    }

    /// A time that a clock can wait for: a millisecond to a year.
    static let seconds = NumberRange(0.001, 31_536_000, "seconds")
    /// A factor or norm above 0 that single precision can hold.
    static let positive = NumberRange(0, 1e12, includesLower: false)
    /// From 0, 0 included, to below 1.
    static let belowOne = NumberRange(0, 1, includesUpper: false)
    /// Above 0, up to 1 included.
    static let share = NumberRange(0, 1, includesLower: false)
    /// An amount of GLM above 0.
    static let price = NumberRange(0, 1e9, "GLM")

    /// False for a NaN, too.
    public func contains(_ value: Double) -> Bool {
        if let exception, value == exception.value { return true }
        return (includesLower ? value >= lower : value > lower) && (includesUpper ? value <= upper : value < upper)
    }

    /// `is to be from 1 to 1000000 clients, not 0`
    func problem(with value: String) -> String {
        let other = exception.map { ", or \(Self.text($0.value)) for \($0.meaning)" } ?? ""
        return "is to be \(description)\(other), not \(value)"
    }

    /// `from 0 to below 1`
    public var description: String {
        "\(includesLower ? "from" : "above") \(Self.text(lower)) \(includesUpper ? "to" : "to below") \(Self.text(upper))"
            + (unit.isEmpty ? "" : " \(unit)")
    }

    /// Whole numbers without a fraction.
    private static func text(_ value: Double) -> String { Int(exactly: value).map(String.init) ?? "\(value)" }

    public static func == (first: NumberRange, second: NumberRange) -> Bool {
        first.description == second.description && first.exception?.value == second.exception?.value
    }
}

/// A type of number that a setting may be of.
protocol SettingNumber: Codable, Equatable, Sendable, LosslessStringConvertible {
    /// As near as a `Double` comes.
    var asDouble: Double { get }
}

extension Double: SettingNumber {
    var asDouble: Double { self }
}

extension Int: SettingNumber {
    var asDouble: Double { Double(self) }
}
