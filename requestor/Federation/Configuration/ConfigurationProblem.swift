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
