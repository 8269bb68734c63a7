import Federation
import Foundation
import Reports
import Tensors

/// A setting of which a sweep tries several values.
public struct SweepAxis: Sendable, Equatable, Codable {
    /// Of the YAML file.
    public var key: String
    /// As they would be written there.
    public var values: [String]

    /// Reads `learning_rate=0.01,0.03,0.1`, or `learning_rate=0.001..1:7`: so many numbers from the first to the second,
    /// each the same multiple of the one before.
    public init(parsing text: String) throws(DeMLError) {
        let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
        guard parts.count == 2, !parts[1].isEmpty else {
            throw Self.error("'\(text)' is no setting with values")
        }
        key = parts[0].replacingOccurrences(of: "-", with: "_")
        guard RunConfiguration.keys.contains(key) else {
            throw Self.error("there is no setting '\(key)'")
        }
        guard !Self.fixedKeys.contains(key) else {
            throw Self.error("'\(key)' is not for a sweep to change")
        }
        values = try Self.range(parts[1]) ?? Self.list(parts[1])
        guard (2...Self.mostValues).contains(values.count) else {
            throw Self.error("'\(text)' has \(values.count) values, but 2 to \(Self.mostValues) are tried")
        }
        guard Set(values).count == values.count else { throw Self.error("'\(text)' has a value twice") }
    }

    /// What a sweep decides itself, or what would make its trials incomparable.
    private static let fixedKeys: Set<String> = [
        "rounds", "output", "fleet", "comparison", "repeat", "patience", "target_accuracy", "keep_deltas",
        "tensorboard",
        "data", "test_fraction", "validation_fraction", "seed",
    ]

    static let mostValues = 100

    /// Separated by commas, but not by those within brackets.
    private static func list(_ text: String) -> [String] {
        var values = [""]
        var depth = 0
        for character in text {
            if "[{".contains(character) { depth += 1 }
            if "]}".contains(character) { depth -= 1 }
            if character == ",", depth == 0 { values.append("") } else { values[values.count - 1].append(character) }
        }
        return values.map { $0.trimmingCharacters(in: .whitespaces) }
    }

    private static func range(_ text: String) throws(DeMLError) -> [String]? {
        guard let dots = text.range(of: "..") else { return nil }
        let rest = text[dots.upperBound...].split(separator: ":", omittingEmptySubsequences: false)
        guard rest.count == 2, let low = Double(text[..<dots.lowerBound]), let high = Double(rest[0]),
            let count = Int(rest[1]), low > 0, high > low, high.isFinite, (2...mostValues).contains(count)
        else { throw error("'\(text)' is no range") }
        return (0..<count).map { index in
            let share = Double(index) / Double(count - 1)
            return String(
                format: "%.3g", PortableMath.exp((1 - share) * PortableMath.log(low) + share * PortableMath.log(high)))
        }
    }

    private static func error(_ message: String) -> DeMLError {
        DeMLError(
            .usage, message, place: "--over",
            hint: "write --over learning_rate=0.01,0.03,0.1 or --over learning_rate=0.001..1:7")
    }
}
