import Foundation
import NeuralNetwork
import Tensors

/// Settings that belong together: a value that reads, writes and checks itself by one table of its settings.
protocol SettingGroup: Sendable, Equatable {
    /// Everything at its default.
    init()

    /// Every setting, in the order in which they are written and documented.
    static var settings: [Setting<Self>] { get }

    /// What is wrong in how settings go together; their ranges are checked by the table.
    func rules() -> [ConfigurationProblem]
}

extension SettingGroup {
    /// Everything that is wrong with the values, in the order of the settings.
    func problems() -> [ConfigurationProblem] {
        var found = Self.settings.compactMap { $0.problem(self) }
        let broken = Set(found.map(\.key))
        found += rules().filter { !broken.contains($0.key) }
        let order = Dictionary(uniqueKeysWithValues: Self.settings.enumerated().map { ($1.key, $0) })
        return found.enumerated()
            .sorted { (order[$0.element.key] ?? 0, $0.offset) < (order[$1.element.key] ?? 0, $1.offset) }
            .map(\.element)
    }

    /// Takes what a file says of this group's settings, and adds what is wrong with it.
    mutating func take(
        _ container: KeyedDecodingContainer<AnyKey>, _ problems: inout [ConfigurationProblem]
    ) {
        for setting in Self.settings {
            do { try setting.decode(&self, container) } catch {
                problems.append(ConfigurationProblem(setting.key, explanation(of: error)))
            }
        }
    }

    func write(to container: inout KeyedEncodingContainer<AnyKey>) throws {
        for setting in Self.settings { try setting.encode(self, &container) }
    }
}

/// What may happen to a setting when a run is resumed.
enum SettingResume: Sendable {
    /// It is part of what the run computes, and stays.
    case fixed
    /// It is only how it is computed.
    case free
    /// It may become larger.
    case mayGrow
}

/// One setting of a group: its key, how it is read, written and checked, and what a resume may do to it.
struct Setting<Group: Sendable>: Sendable {
    let key: String
    let resume: SettingResume
    /// For numbers.
    let range: NumberRange?
    let decode: @Sendable (inout Group, KeyedDecodingContainer<AnyKey>) throws -> Void
    let encode: @Sendable (Group, inout KeyedEncodingContainer<AnyKey>) throws -> Void
    let equal: @Sendable (Group, Group) -> Bool
    let text: @Sendable (Group) -> String
    /// What is wrong with the value alone.
    let problem: @Sendable (Group) -> ConfigurationProblem?
    /// Whether the second value is larger than the first, or the same.
    let grows: @Sendable (Group, Group) -> Bool

    /// A setting that is no number.
    init<Value: Codable & Equatable & Sendable>(
        _ key: String, _ path: WritableKeyPath<Group, Value> & Sendable, _ resume: SettingResume, _ expected: String,
        read: @escaping @Sendable (KeyedDecodingContainer<AnyKey>, AnyKey) throws -> Value = {
            try $0.decode(Value.self, forKey: $1)
        }
    ) {
        self.init(
            key, path, resume, expected, range: nil, read: read, problem: { _ in nil }, grows: { _, _ in false })
    }

    /// A number.
    init<Number: SettingNumber>(
        _ key: String, _ path: WritableKeyPath<Group, Number> & Sendable, _ resume: SettingResume, _ range: NumberRange
    ) {
        self.init(
            key, path, resume, Self.expectation(Number.self, range), range: range,
            read: { try $0.decode(Number.self, forKey: $1) },
            problem: { group in
                let value = group[keyPath: path]
                return range.contains(value.asDouble)
                    ? nil : ConfigurationProblem(key, range.problem(with: "\(value)"))
            },
            grows: { $0[keyPath: path].asDouble <= $1[keyPath: path].asDouble })
    }

    /// A number that may be left out.
    init<Number: SettingNumber>(
        _ key: String, _ path: WritableKeyPath<Group, Number?> & Sendable, _ resume: SettingResume,
        _ range: NumberRange, isLenient: Bool = false
    ) {
        let expected = Self.expectation(Number.self, range)
        self.init(
            key, path, resume, expected, range: range,
            read: { container, codingKey in
                // Options of Golem were kept as texts once, and may be written as such.
                if isLenient, let text = try? container.decode(String.self, forKey: codingKey) {
                    guard let number = Number(text) else {
                        throw ConfigurationProblem(key, "'\(text)' is not \(expected)")
                    }
                    return number
                }
                return try container.decode(Number.self, forKey: codingKey)
            },
            problem: { group in
                guard let value = group[keyPath: path], !range.contains(value.asDouble) else { return nil }
                return ConfigurationProblem(key, range.problem(with: "\(value)"))
            },
            grows: { _, _ in false })
    }

    private init<Value: Codable & Equatable & Sendable>(
        _ key: String, _ path: WritableKeyPath<Group, Value> & Sendable, _ resume: SettingResume, _ expected: String,
        range: NumberRange?, read: @escaping @Sendable (KeyedDecodingContainer<AnyKey>, AnyKey) throws -> Value,
        problem: @escaping @Sendable (Group) -> ConfigurationProblem?,
        grows: @escaping @Sendable (Group, Group) -> Bool
    ) {
        self.key = key
        self.resume = resume
        self.range = range
        self.problem = problem
        self.grows = grows
        decode = { group, container in
            let codingKey = AnyKey(key)
            guard container.contains(codingKey) else { return }
            do {
                // `nil` for an optional setting is a value; for any other it means "leave the default".
                if try container.decodeNil(forKey: codingKey) {
                    if let none = Optional<Any>.none as? Value { group[keyPath: path] = none }
                    return
                }
                group[keyPath: path] = try read(container, codingKey)
            } catch let error as DecodingError {
                switch error {
                case .typeMismatch, .valueNotFound: throw ConfigurationProblem(key, "is to be \(expected)")
                case .dataCorrupted(let context):
                    if let problem = context.underlyingError { throw problem }
                    throw ConfigurationProblem(key, "is to be \(expected)")
                default: throw error
                }
            }
        }
        encode = { group, container in try container.encode(group[keyPath: path], forKey: AnyKey(key)) }
        equal = { $0[keyPath: path] == $1[keyPath: path] }
        text = { group in
            canonicalJSON(group[keyPath: path])
        }
    }

    private static func expectation<Number: SettingNumber>(_ type: Number.Type, _ range: NumberRange) -> String {
        if Number.self == Int.self { return "a whole number" }
        return range.unit == "seconds" ? "a number of seconds" : "a number"
    }

    func mayChange(from was: Group, to now: Group) -> Bool {
        switch resume {
        case .free: true
        case .fixed: equal(was, now)
        case .mayGrow: grows(was, now)
        }
    }
}

/// What an error of a decoder says about a setting.
func explanation(of error: any Error) -> String {
    switch error {
    case let problem as ConfigurationProblem: problem.message
    case let error as DeMLError: error.summary
    case DecodingError.dataCorrupted(let context): context.debugDescription
    default: "\(error)"
    }
}

/// A coding key made of any text.
struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }

    init(_ key: String) { stringValue = key }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { return nil }
}

/// Problems of keys that no setting has, with the nearest that there is.
func unknownKeys(
    in container: KeyedDecodingContainer<AnyKey>, known: [String], prefix: String = ""
) -> [ConfigurationProblem] {
    container.allKeys.map(\.stringValue).filter { !known.contains($0) }.sorted().map { key in
        let near = known.map { (key: $0, distance: editDistance($0, key)) }
            .filter { $0.distance <= max(2, key.count / 3) }
            .min { $0.distance < $1.distance }
        let hint = near.map { "; did you mean '\($0.key)'?" } ?? ""
        return ConfigurationProblem(prefix + key, "unknown setting" + hint)
    }
}

/// Levenshtein's distance: insertions, deletions and replacements from one text to the other.
func editDistance(_ first: String, _ second: String) -> Int {
    let second = Array(second)
    var row = Array(0...second.count)
    for (i, letter) in first.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for j in second.indices {
            let above = row[j + 1]
            row[j + 1] = min(above + 1, row[j] + 1, diagonal + (letter == second[j] ? 0 : 1))
            diagonal = above
        }
    }
    return row[second.count]
}
