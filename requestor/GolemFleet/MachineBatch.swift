/// One thing that a machine is asked to do.
package enum MachineStep: Sendable, Equatable {
    /// A file from here, to an absolute path on a volume.
    case upload(String, to: String)
    /// A program by its absolute path, with arguments.
    case run([String])
    /// A file from a volume to a path here, at most so many bytes long.
    case download(String, into: String, maximumBytes: Int)
}

extension MachineStep {
    /// It goes through our own daemon.
    var isTransfer: Bool { if case .run = self { false } else { true } }
}

/// Steps that are performed in order until one fails. Adding a step gives the key to its result, so that no result can
/// be taken for that of another step.
package struct MachineBatch: Sendable, Equatable {
    /// Stands for one step of the batch that gave it.
    package struct Key: Sendable, Hashable {
        fileprivate let index: Int
    }

    package private(set) var steps: [MachineStep] = []

    package init() {}

    package mutating func add(_ step: MachineStep) -> Key {
        steps.append(step)
        return Key(index: steps.count - 1)
    }
}

/// What became of every step of a batch, that of steps which were not reached included.
package struct MachineBatchResults: Sendable, Equatable {
    private var results: [StepResult]

    /// Nothing is done yet.
    package init(of batch: MachineBatch) {
        results = Array(repeating: .notReached, count: batch.steps.count)
    }

    package subscript(key: MachineBatch.Key) -> StepResult { results[key.index] }

    /// The result of the step in this position of `MachineBatch.steps`; a position outside is no step and is ignored.
    package subscript(position: Int) -> StepResult {
        get { results.indices.contains(position) ? results[position] : .notReached }
        set {
            guard results.indices.contains(position) else { return }
            results[position] = newValue
        }
    }
}

/// What became of one step.
package struct StepResult: Sendable, Equatable {
    package enum Outcome: Sendable, Equatable { case done, failed, notReached }

    package var outcome: Outcome
    /// The end of what a program wrote.
    package var stdout: String
    package var stderr: String
    /// What went wrong, in a sentence.
    package var message: String?
    /// Of a program that failed: its exit code, or the bare number of the signal that ended it.
    package var exitCode: Int?

    package init(
        _ outcome: Outcome, stdout: String = "", stderr: String = "", message: String? = nil, exitCode: Int? = nil
    ) {
        self.outcome = outcome
        self.stdout = stdout
        self.stderr = stderr
        self.message = message
        self.exitCode = exitCode
    }

    /// The last bytes of a text, as many as anybody will look at: how long it is a stranger decides.
    static func end(of text: String?) -> String {
        String(decoding: (text ?? "").utf8.suffix(mostBytesOfText), as: UTF8.self)
    }

    static let mostBytesOfText = 64 << 10

    package static let notReached = StepResult(.notReached)

    package var isDone: Bool { outcome == .done }

    /// Why it is not done, for a message.
    package var reason: String {
        switch outcome {
        case .done: "it is done"
        case .failed: message ?? "no reason given"
        case .notReached: "the machine never came to it"
        }
    }
}
