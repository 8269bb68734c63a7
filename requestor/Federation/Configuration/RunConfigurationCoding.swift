import Foundation
import NeuralNetwork
import Tensors

/// One thing that is wrong with a configuration.
public struct ConfigurationProblem: Error, Sendable, Equatable, CustomStringConvertible {
    /// The key, as in the YAML file: "learning_rate".
    public var key: String
    /// What is wrong, and what would be right.
    public var message: String

    public init(_ key: String, _ message: String) {
        self.key = key
        self.message = message
    }

    public var description: String { "\(key): \(message)" }
}

/// Several problems as one error.
public struct ConfigurationError: Error, Sendable, CustomStringConvertible {
    public var problems: [ConfigurationProblem]

    public init(_ problems: [ConfigurationProblem]) {
        self.problems = problems
    }

    public var description: String { problems.map(\.description).joined(separator: "\n") }

    /// The same in the form of all errors, one problem a line.
    public var error: DeMLError {
        if problems.count == 1 {
            DeMLError(.usage, problems[0].message, place: problems[0].key)
        } else {
            DeMLError(
                .usage, "\(problems.count) settings are wrong\n" + problems.map { "  \($0)" }.joined(separator: "\n"))
        }
    }
}

/// A configuration as read from a file, with everything that is wrong with its keys and types. Decoding it does not throw
/// for such mistakes, so that they can be reported together with those that ``RunConfiguration/problems()`` finds.
public struct RunConfigurationFile: Decodable, Sendable {
    public var configuration: RunConfiguration
    public var problems: [ConfigurationProblem]

    public init(from decoder: any Decoder) throws {
        (configuration, problems) = try RunConfiguration.decode(from: decoder)
    }
}

extension RunConfiguration: Codable {
    public init(from decoder: any Decoder) throws {
        let (configuration, problems) = try Self.decode(from: decoder)
        guard problems.isEmpty else { throw ConfigurationError(problems) }
        self = configuration
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: AnyKey.self)
        for setting in Self.settings {
            try setting.encode(self, &container)
        }
    }

    static func decode(from decoder: any Decoder) throws -> (RunConfiguration, [ConfigurationProblem]) {
        let container = try decoder.container(keyedBy: AnyKey.self)
        var configuration = RunConfiguration()
        var problems: [ConfigurationProblem] = []
        for key in container.allKeys where !settings.contains(where: { $0.key == key.stringValue }) {
            let near = settings.map { (key: $0.key, distance: editDistance($0.key, key.stringValue)) }
                .filter { $0.distance <= max(2, key.stringValue.count / 3) }
                .min { $0.distance < $1.distance }
            let hint = near.map { "; did you mean '\($0.key)'?" } ?? ""
            problems.append(ConfigurationProblem(key.stringValue, "unknown setting" + hint))
        }
        problems.sort { $0.key < $1.key }
        for setting in settings {
            do {
                try setting.decode(&configuration, container)
            } catch {
                problems.append(ConfigurationProblem(setting.key, explanation(of: error)))
            }
        }
        return (configuration, problems)
    }

    /// Every setting, in the order in which they are written and documented.
    static let settings: [Setting] = [
        Setting("data", \.data, .fixed, "text"),
        Setting("test_fraction", \.testFraction, .fixed, "a number"),
        Setting("label_column", \.labelColumn, .fixed, "text"),
        Setting("model", \.model, .fixed, "a model description or the path of one"),
        Setting("initial_weights", \.initialWeights, .fixed, "text"),
        Setting("partition", \.partition, .fixed, "text"),
        Setting("seed", \.seed, .fixed, "a whole number from 0"),
        Setting("workers", \.workers, .fixed, "a whole number"),
        Setting("rounds", \.rounds, .mayGrow { $0.rounds >= $1.rounds }, "a whole number"),
        Setting("fraction", \.fraction, .fixed, "a number"),
        Setting("min_workers", \.minWorkers, .fixed, "a whole number"),
        Setting("retries", \.retries, .free, "a whole number"),
        Setting("timeout", \.timeout, .free, "a number of seconds"),
        Setting("straggler_factor", \.stragglerFactor, .free, "a number"),
        Setting("round_timeout", \.roundTimeout, .free, "a number of seconds"),
        Setting("target_accuracy", \.targetAccuracy, .free, "a number"),
        Setting("local_epochs", \.localEpochs, .fixed, "a whole number"),
        Setting("batch_size", \.batchSize, .fixed, "a whole number"),
        Setting("optimizer", \.optimizer, .fixed, "sgd, adam or adamw"),
        Setting("learning_rate", \.learningRate, .fixed, "a number"),
        Setting("learning_rate_decay", \.learningRateDecay, .fixed, "a number"),
        Setting("momentum", \.momentum, .fixed, "a number"),
        Setting("nesterov", \.nesterov, .fixed, "true or false"),
        Setting("weight_decay", \.weightDecay, .fixed, "a number"),
        Setting("beta1", \.beta1, .fixed, "a number"),
        Setting("beta2", \.beta2, .fixed, "a number"),
        Setting("epsilon", \.epsilon, .fixed, "a number"),
        Setting("label_smoothing", \.labelSmoothing, .fixed, "a number"),
        Setting("shuffle", \.shuffle, .fixed, "true or false"),
        Setting("max_seconds", \.maxSeconds, .fixed, "a number of seconds"),
        Setting("server_learning_rate", \.serverLearningRate, .fixed, "a number"),
        Setting("server_momentum", \.serverMomentum, .fixed, "a number"),
        Setting("server_nesterov", \.serverNesterov, .fixed, "true or false"),
        Setting("clip_norm", \.clipNorm, .fixed, "a number"),
        Setting("max_norm", \.maxNorm, .fixed, "a number"),
        Setting("fleet", \.fleet, .free, "local, simulated or golem"),
        Setting("parallel", \.parallel, .free, "a whole number"),
        Setting("threads", \.threads, .free, "a whole number"),
        Setting("golem", \.golem, .free, "names and values"),
        Setting("output", \.output, .free, "text"),
        Setting("comparison", \.comparison, .free, "true or false"),
        Setting("keep_deltas", \.keepDeltas, .free, "true or false"),
    ]

    /// A setting of a run that differs from what the run was started with, and must not.
    public struct Difference: Sendable, Equatable, CustomStringConvertible {
        public var key: String
        public var was: String
        public var now: String

        public var description: String { "\(key): was \(was), now \(now)" }
    }

    /// Settings that decide what comes out of a run and differ between `self`, the run as it was started, and `resumed`.
    /// What only decides where, how fast and how patiently it is done may change; `rounds` may grow.
    public func differences(resumed: RunConfiguration) -> [Difference] {
        Self.settings.filter { !$0.mayChange(self, resumed) }
            .map { Difference(key: $0.key, was: $0.text(self), now: $0.text(resumed)) }
    }

    /// All differing settings, for a table that compares runs.
    public func allDifferences(to other: RunConfiguration) -> [Difference] {
        Self.settings.filter { !$0.equal(self, other) }
            .map { Difference(key: $0.key, was: $0.text(self), now: $0.text(other)) }
    }

    private static func explanation(of error: any Error) -> String {
        switch error {
        case let problem as ConfigurationProblem: problem.message
        case let error as DeMLError: error.summary
        case DecodingError.dataCorrupted(let context): context.debugDescription
        default: "\(error)"
        }
    }
}

/// One setting: its key, how it is read and written, and what a resume may do to it.
struct Setting: Sendable {
    enum Resume: Sendable {
        /// Part of what the run computes.
        case fixed
        /// Only how it is computed.
        case free
        /// May change as far as the closure (was, now), told in the order (now, was), allows.
        case mayGrow(@Sendable (_ now: RunConfiguration, _ was: RunConfiguration) -> Bool)
    }

    let key: String
    let resume: Resume
    let decode: @Sendable (inout RunConfiguration, KeyedDecodingContainer<AnyKey>) throws -> Void
    let encode: @Sendable (RunConfiguration, inout KeyedEncodingContainer<AnyKey>) throws -> Void
    let equal: @Sendable (RunConfiguration, RunConfiguration) -> Bool
    let text: @Sendable (RunConfiguration) -> String

    init<Value: Codable & Equatable & Sendable>(
        _ key: String, _ path: WritableKeyPath<RunConfiguration, Value> & Sendable, _ resume: Resume, _ expected: String
    ) {
        self.key = key
        self.resume = resume
        decode = { configuration, container in
            let codingKey = AnyKey(key)
            guard container.contains(codingKey) else { return }
            do {
                // `nil` for an optional setting is a value; for any other it means "leave the default".
                if try container.decodeNil(forKey: codingKey) {
                    if let none = Optional<Any>.none as? Value { configuration[keyPath: path] = none }
                    return
                }
                configuration[keyPath: path] = try Self.value(in: container, forKey: codingKey)
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
        encode = { configuration, container in
            try container.encode(configuration[keyPath: path], forKey: AnyKey(key))
        }
        equal = { $0[keyPath: path] == $1[keyPath: path] }
        text = { configuration in
            let value = configuration[keyPath: path]
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "\(value)"
        }
    }

    /// Reads a value; a map of texts also takes numbers and booleans, as YAML writes them.
    private static func value<Value: Codable>(
        in container: KeyedDecodingContainer<AnyKey>, forKey key: AnyKey
    ) throws -> Value {
        if Value.self == [String: String].self {
            let texts = try container.decode([String: ScalarText].self, forKey: key).mapValues(\.text)
            if let value = texts as? Value { return value }
        }
        return try container.decode(Value.self, forKey: key)
    }

    func mayChange(_ was: RunConfiguration, _ now: RunConfiguration) -> Bool {
        switch resume {
        case .free: true
        case .fixed: equal(was, now)
        case .mayGrow(let allowed): allowed(now, was)
        }
    }
}

/// A text, number or boolean, as the text a person wrote.
private struct ScalarText: Decodable {
    var text: String

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let text = try? container.decode(String.self) {
            self.text = text
        } else if let whole = try? container.decode(Int.self) {
            text = "\(whole)"
        } else if let number = try? container.decode(Double.self) {
            text = "\(number)"
        } else {
            text = "\(try container.decode(Bool.self))"
        }
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
