#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A moment in UTC, exact to the nanosecond, as the daemon writes them (RFC 3339, 0 to 9 fraction digits).
///
/// Not a `Date`: a `Date` is a `Double`, and a rounded `eventDate` sent back as `afterTimestamp` repeats or loses
/// events.
public struct Timestamp: Hashable, Comparable, Sendable {
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    public var nanoseconds: Int64

    /// Since 1970, UTC.
    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// This moment, by a clock that was set by the system's when the program began, and that nobody sets again: between two
    /// moments lies the time that passed. What was rented for how long must not depend on who corrects the system's clock.
    public static func now() -> Timestamp { start.system + (ContinuousClock.now - start.steady) }

    /// The system's clock, which may jump.
    public static func system() -> Timestamp {
        Timestamp(nanoseconds: Int64((Date().timeIntervalSince1970 * 1e6).rounded()) * 1000)
    }

    private static let start = (system: system(), steady: ContinuousClock.now)

    /// This moment of ``now()`` as the system's clock shows it: what others are told, who have clocks of their own.
    package var bySystemClock: Timestamp { self + (Timestamp.system() - .now()) }

    /// Reads the time of an HTTP answer, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
    package init?(httpDate text: String) {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let words = text.split(separator: " ")
        guard words.count == 6, words[5] == "GMT", let month = months.firstIndex(of: String(words[2])) else {
            return nil
        }
        let number = month < 9 ? "0\(month + 1)" : "\(month + 1)"
        self.init("\(words[3])-\(number)-\(words[1])T\(words[4])Z")
    }

    /// Seconds since 1970.
    public var seconds: Double { Double(nanoseconds) / 1e9 }

    /// Milliseconds since 1970, as `golem.srv.comp.expiration` wants them.
    public var milliseconds: Int64 { nanoseconds / 1_000_000 }

    /// Since 1970, UTC.
    public init(milliseconds: Int64) {
        self.init(milliseconds, nanosecondsEach: 1_000_000)
    }

    /// Seconds since 1970.
    public init(wholeSeconds: Int64) {
        self.init(wholeSeconds, nanosecondsEach: 1_000_000_000)
    }

    /// What lies beyond the years that nanoseconds can count (1677 to 2262) becomes the first or the last of them.
    private init(_ count: Int64, nanosecondsEach unit: Int64) {
        let (value, isTooFar) = count.multipliedReportingOverflow(by: unit)
        nanoseconds = isTooFar ? (count < 0 ? .min : .max) : value
    }

    /// As Foundation has it.
    public var date: Date { Date(timeIntervalSince1970: seconds) }

    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.nanoseconds < right.nanoseconds }

    public static func + (left: Timestamp, right: Duration) -> Timestamp {
        Timestamp(nanoseconds: left.nanoseconds &+ right.wholeNanoseconds)
    }

    /// The time from `right` to `left`.
    public static func - (left: Timestamp, right: Timestamp) -> Duration {
        .nanoseconds(left.nanoseconds) - .nanoseconds(right.nanoseconds)
    }
}

extension Timestamp: CustomStringConvertible {
    /// Reads `2026-11-23T19:17:01[.fraction][Z|±hh:mm]`. Without a zone it is UTC (events of an activity come so).
    public init?(_ text: some StringProtocol) {
        let bytes = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int64? {
            guard range.upperBound <= bytes.count else { return nil }
            var value: Int64 = 0
            for byte in bytes[range] {
                guard byte >= 48, byte <= 57 else { return nil }
                value = value * 10 + Int64(byte - 48)
            }
            return value
        }
        guard bytes.count >= 19, let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
            bytes[4] == 45, bytes[7] == 45, bytes[10] == 84 || bytes[10] == 116 || bytes[10] == 32, bytes[13] == 58,
            bytes[16] == 58, (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second <= 60,
            (1700...2250).contains(year)
        else { return nil }
        var index = 19
        var fraction: Int64 = 0
        if index < bytes.count, bytes[index] == 46 {
            index += 1
            var unit: Int64 = 100_000_000
            let start = index
            while index < bytes.count, bytes[index] >= 48, bytes[index] <= 57 {
                fraction += Int64(bytes[index] - 48) * unit
                unit /= 10
                index += 1
            }
            guard index > start else { return nil }
        }
        var offset: Int64 = 0
        switch index < bytes.count ? bytes[index] : 0 {
        case 0:
            break
        case 90, 122:
            index += 1
        case 43, 45:
            guard index + 6 <= bytes.count, let hours = number(index + 1..<index + 3),
                let minutes = number(index + 4..<index + 6)
            else { return nil }
            offset = (hours * 60 + minutes) * 60 * (bytes[index] == 45 ? -1 : 1)
            index += 6
        default:
            return nil
        }
        guard index == bytes.count else { return nil }
        let days = Timestamp.days(year: year, month: month, day: day)
        nanoseconds = (days * 86_400 + hour * 3600 + minute * 60 + second - offset) * 1_000_000_000 + fraction
    }

    /// With as many fraction digits as the value has, up to nine.
    public var description: String {
        var days = nanoseconds / 86_400_000_000_000
        var rest = nanoseconds % 86_400_000_000_000
        if rest < 0 {
            rest += 86_400_000_000_000
            days -= 1
        }
        let (year, month, day) = Timestamp.civil(days: days)
        let second = rest / 1_000_000_000
        func padded(_ value: Int64, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        var text = "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T"
        text += "\(padded(second / 3600, 2)):\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))"
        let fraction = rest % 1_000_000_000
        if fraction != 0 {
            var digits = padded(fraction, 9)
            while digits.last == "0" { digits.removeLast() }
            text += "." + digits
        }
        return text + "Z"
    }

    // Civil calendar arithmetic after Howard Hinnant, "chrono-compatible low-level date algorithms".
    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = y / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func civil(days: Int64) -> (Int64, Int64, Int64) {
        let z = days + 719_468
        let era = z / 146_097
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }
}

extension Duration {
    /// Seconds as a `Double`, for prices and query strings.
    public var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }

    var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue &+ attoseconds / 1_000_000_000
    }
}
